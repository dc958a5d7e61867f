//! From what was read to a plan.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::model::{self, Equality, Live, Plan, Refresh, Tally};
use crate::observe::Sources;
use crate::planner;
use crate::ports::{LiveState, Progress, Registry};
use crate::source::hash_of;

use super::doubts;
use super::failure::Failure;
use super::observe_and_plan::{self, Prediction};
use super::open::Listed;
use super::opener::Opener;
use super::read::ReadSource;
use super::request::PlanRequest;
use super::session::Connected;
use super::unchanged::{self, Recalled};

/// A plan, with what it was made from.
pub struct Planned<R> {
    /// The plan.
    pub plan: Plan,
    /// What was known.
    pub live: Live,
    /// From when on there may be something to do although nothing changes.
    pub due: Option<Timestamp>,
    /// When the first of the imports that have failed is to be tried again.
    pub retry: Option<Timestamp>,
    /// What upstream tags were asked of.
    pub(super) registry: R,
}

impl<R: Registry> Planned<R> {
    /// What it took to ask.
    pub fn tally(&self) -> Tally {
        self.registry.tally()
    }
}

impl<'c, O: Opener, P: Progress> Connected<'c, '_, O, P> {
    /// The request of a single plan: what config and flags say. The controller adds what it knows of earlier passes.
    ///
    /// # Errors
    ///
    /// When `--refresh` names what is no name.
    pub fn request(&self) -> Result<PlanRequest<'c>, Failure> {
        Ok(PlanRequest {
            policy: self.settings.policy(self.live),
            state: self.settings.pass_state(self.live, (self.session.clock)())?,
            server: self.settings.server(self.live),
            tool: self.session.tool,
            look_at_all: false,
        })
    }

    /// Identifies what an unchanged plan depends on; none where that is not known before reading.
    pub fn key(&self, listed: &Listed<'_>, request: &PlanRequest<'_>) -> Option<[u8; 32]> {
        unchanged::key(&listed.list.listing, &listed.reading, request, self.live)
    }

    /// The plan of an earlier session, where nothing of what it depends on has changed and there was nothing to do.
    pub fn recall(&self, key: Option<[u8; 32]>, listed: &Listed<'_>) -> Option<Recalled> {
        unchanged::recall(&**self.memory, key?, &listed.list.listing, (self.session.clock)())
    }

    /// Observes and plans. With a `key`, a plan that finds nothing to do is remembered under it.
    ///
    /// # Errors
    ///
    /// When the target as a whole cannot be read, or `--refresh` names what is not defined.
    pub async fn plan(
        &self,
        read: &ReadSource,
        request: &PlanRequest<'_>,
        key: Option<[u8; 32]>,
    ) -> Result<Planned<O::Registry<'c>>, Failure> {
        let desired = &read.assembled.desired;
        check_refresh(&request.state.refresh, desired)?;
        let Self { session, settings, live, memory } = *self;
        let registry = session.opener.registries(settings, live, memory, desired).await?;
        let sources = Sources { live, registry: &registry, memory: &**memory, progress: session.progress };
        let now = (session.clock)();
        let mut made = observe_and_plan::observe_and_plan(sources, desired, request, now).await?;
        if let Some(desired) = doubts::settle(read, &made.plan, settings.limits().file_bytes) {
            made = observe_and_plan::observe_and_plan(sources, &desired, request, now).await?;
        }
        if let Some(key) = key {
            unchanged::remember(&**memory, key, read, &made);
        }
        let retry = planner::retry(desired, &made.live, (session.clock)());
        let Prediction { mut plan, live, due } = made;
        plan.inputs = Some(self.inputs(request, read, &plan));
        plan.id = plan.id();
        Ok(Planned { plan, live, due, retry, registry })
    }

    /// What a plan was made from, beside the definitions and the target.
    fn inputs(&self, request: &PlanRequest<'_>, read: &ReadSource, plan: &Plan) -> model::Inputs {
        let paths: BTreeSet<&str> = plan.steps.iter().filter_map(|step| Some(&*step.origin.as_ref()?.path)).collect();
        let entries = read.entries.iter().filter(|entry| paths.contains(&*entry.path));
        let files = entries.filter_map(|entry| Some((entry.path.to_string(), entry.id.clone()?)));
        model::Inputs {
            config: self.settings.fingerprint().unwrap_or_default(),
            policy: hash_of(1, &request.policy, 16).unwrap_or_default(),
            files: files.collect(),
        }
    }

    /// Where Git and the target differ in spelling alone, each with the rule that makes them equal.
    pub fn equalities(&self, read: &ReadSource, request: &PlanRequest<'_>, live: &Live) -> Vec<Equality> {
        observe_and_plan::equalities(&read.assembled.desired, live, request, &self.live.identity())
    }
}

fn check_refresh(refresh: &Refresh, desired: &model::Desired) -> Result<(), Failure> {
    let Refresh::Some(names) = refresh else { return Ok(()) };
    let is_unknown = |(id, tag): &&(crate::openshift::StreamId, Option<String>)| {
        let stream = desired.streams.get(id);
        stream.is_none_or(|stream| tag.as_ref().is_some_and(|tag| !stream.tags.contains_key(tag)))
    };
    match names.iter().find(is_unknown) {
        None => Ok(()),
        Some((id, tag)) => {
            let tag = tag.as_ref().map_or(String::new(), |tag| format!(":{tag}"));
            Err(Failure::usage(format!("`--refresh {id}{tag}` names nothing that is defined")))
        }
    }
}
