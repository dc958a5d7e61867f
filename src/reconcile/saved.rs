//! A saved plan, held to what its definitions and the policy of today make of the target as it is.
//!
//! The file says which of the steps are wanted and what each relies on; what is carried out is planned again. So nothing in the file is
//! believed: a step that the planner does not give is not done, whoever wrote it down.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    Action, Deferred, Desired, ImportItem, ImportResult, Live, Observed, Outcome, Plan, Precondition, Question, Reason,
    Refresh, RollImage, Step, StepId, Update, Wait,
};
use crate::openshift::{Digest, ImageStream, StreamId};
use crate::planner;
use crate::ports::{Progress, Registry};
use crate::rules::{self, State};

use super::failure::Failure;
use super::opener::Opener;
use super::read::ReadSource;
use super::session::Connected;
use super::stale::{StaleStep, stale_steps};

/// A saved plan that was held to its definitions.
#[derive(Debug)]
pub struct HeldPlan {
    /// Its steps as they are planned now.
    pub plan: Plan,
    /// What has become of those that cannot be done any more.
    pub decided: BTreeMap<StepId, Outcome>,
    /// Those that are stale, and not so already.
    pub stale: Vec<StaleStep>,
}

/// A step of a saved plan that is not planned now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deviation {
    /// The step.
    pub step: StepId,
    /// What it is about, as it is printed.
    pub about: String,
    /// Why it is not planned.
    pub why: DeviationReason,
}

/// Why a step of a saved plan is not planned now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviationReason {
    /// The registry has another image there now, or none.
    OtherImage {
        /// The reference.
        from: String,
        /// What it is now.
        now: String,
    },
    /// It has to wait.
    Blocked(Wait),
    /// The definitions do not ask for it.
    NotDefined,
    /// A later commit of the source defines it otherwise.
    Redefined {
        /// The commit that the source is at.
        commit: String,
    },
}

impl DeviationReason {
    /// Time alone may be behind it, so that a new plan is what helps.
    pub fn is_stale(&self) -> bool {
        match self {
            Self::OtherImage { .. } | Self::Redefined { .. } | Self::Blocked(Wait::Unknown(_)) => true,
            Self::Blocked(_) | Self::NotDefined => false,
        }
    }
}

/// What the images of a saved plan say of references, in the place of registries.
pub fn answers(saved: &Plan) -> BTreeMap<Question, Digest> {
    let mut answers = BTreeMap::new();
    for step in &saved.steps {
        let Action::Import { stream, images, repository: _ } = &step.action else { continue };
        for item in images {
            if let (Ok(reference), ImportResult::Image { digest }) = (item.from.parse(), &item.result) {
                let question = Question::new(&stream.namespace, &reference, item.import_policy.insecure);
                answers.insert(question, digest.clone());
            }
        }
    }
    answers
}

impl<O: Opener, P: Progress> Connected<'_, '_, O, P> {
    /// Plans what was read again, and gives the steps of the saved plan that come of it; those that do not, whatever else may have
    /// happened, are deviations. What has become stale is neither.
    ///
    /// # Errors
    ///
    /// When the target as a whole cannot be read.
    pub async fn hold(&self, saved: &Plan, read: &ReadSource) -> Result<Result<HeldPlan, Vec<Deviation>>, Failure> {
        let mut request = self.request()?;
        request.look_at_all = true;
        request.state.refresh = refresh(saved, &read.assembled.desired);
        let now = self.plan(read, &request, None).await?.plan;
        let (stale, live) = stale_steps(saved, self.live).await?;
        Ok(hold(saved, now, stale, &self.done(saved, &live)))
    }

    /// The steps of a saved plan that the target is as they leave it.
    fn done(&self, saved: &Plan, live: &Live) -> BTreeSet<StepId> {
        let streams: BTreeMap<StreamId, ImageStream> =
            live.streams.iter().map(|(id, live)| (id.clone(), live.stream.clone())).collect();
        let server = self.settings.server(self.live);
        let is_done = |step: &&Step| {
            let id = step.action.stream();
            let state = State { id, stream: streams.get(id), others: &streams, server: &server };
            matches!(live.stream(id), Observed::Known(_) | Observed::Absent) && rules::is_satisfied(state, &step.action)
        };
        saved.steps.iter().filter(is_done).map(|step| step.id).collect()
    }

    /// The steps of a saved plan whose definitions cannot be read; those that policy or ownership forbids are deviations.
    ///
    /// # Errors
    ///
    /// When the target as a whole cannot be read.
    pub async fn unheld(&self, saved: Plan) -> Result<Result<HeldPlan, Vec<Deviation>>, Failure> {
        let Self { session, settings, live, memory } = *self;
        let (stale, now) = stale_steps(&saved, live).await?;
        let registry = session.opener.registries(settings, live, memory, &Desired::default()).await?;
        let (policy, state) = (settings.policy(live), settings.pass_state(live, (session.clock)())?);
        let forbidden = planner::forbidden(&saved, &now, (&policy, &state), |question| registry.forbids(question));
        if forbidden.is_empty() {
            let done = self.done(&saved, &now);
            let stale = stale.into_iter().filter(|it| !done.contains(&it.step)).collect();
            return Ok(Ok(HeldPlan { plan: saved, decided: BTreeMap::new(), stale }));
        }
        let about = |id: &StepId| {
            let step = saved.steps.iter().find(|step| step.id == *id).map(|step| step.action.stream().to_string());
            let update = saved.updates.iter().find(|update| update.id == *id).map(|update| update.workload.to_string());
            step.or(update).unwrap_or_default()
        };
        let deviation = |(step, wait)| Deviation { step, about: about(&step), why: DeviationReason::Blocked(wait) };
        Ok(Err(forbidden.into_iter().map(deviation).collect()))
    }
}

/// What the saved plan imports is looked at again, also where nothing is due.
fn refresh(saved: &Plan, desired: &Desired) -> Refresh {
    let mut names: BTreeSet<(StreamId, Option<String>)> = BTreeSet::new();
    for step in &saved.steps {
        let Action::Import { stream, images, repository: _ } = &step.action else { continue };
        let Some(defined) = desired.streams.get(stream) else { continue };
        for item in images {
            let is_own = defined.tags.contains_key(&item.tag);
            names.insert((stream.clone(), is_own.then(|| item.tag.clone())));
        }
    }
    if names.is_empty() { Refresh::None } else { Refresh::Some(names) }
}

/// Holds the saved steps to those that are planned `now`. `done`: those that the target is as they leave it.
fn hold(
    saved: &Plan,
    now: Plan,
    mut stale: Vec<StaleStep>,
    done: &BTreeSet<StepId>,
) -> Result<HeldPlan, Vec<Deviation>> {
    let mut held = Held { now: &now, ids: BTreeMap::new(), decided: BTreeMap::new() };
    let mut stuck: BTreeMap<&StreamId, &StaleStep> = BTreeMap::new();
    for it in &stale {
        stuck.entry(&it.stream).or_insert(it);
    }
    let (mut matched, mut kept, mut deviations) = (Vec::new(), Vec::new(), Vec::new());
    for step in &saved.steps {
        let stale = stuck.get(step.action.stream());
        // A run that was interrupted is made again: what it has done is so, and stale by its own doing. Nothing more is done about it: the
        // planner has not given it, and who has written it down is not known. What follows on the stream is held to the version that the
        // plan was made for.
        if stale.is_some() && done.contains(&step.id) {
            held.decided.insert(step.id, Outcome::AlreadySo);
            kept.push(step.clone());
            continue;
        }
        match (held.planned(&step.action), stale) {
            (Some((action, planned)), _) => {
                held.ids.extend(planned.iter().map(|planned| (planned.id, step.id)));
                matched.push((step, action, planned));
            }
            (None, Some(stale)) => {
                held.decided.insert(step.id, outcome(stale));
                kept.push(step.clone());
            }
            (None, None) if held.skips(step.id, &step.after) => kept.push(step.clone()),
            (None, None) => deviations.push(held.deviation(step)),
        }
    }
    let mut updates = Vec::new();
    for update in &saved.updates {
        match held.update(update) {
            Some(update) => updates.push(update),
            None => {
                // It may have been done by an earlier run, or no longer be wanted: in either case it is not done.
                if !held.skips(update.id, &update.after) {
                    held.decided.insert(update.id, outdated(update));
                }
                updates.push(update.clone());
            }
        }
    }
    if !deviations.is_empty() {
        return Err(deviations);
    }
    let mut begun = BTreeSet::new();
    let matched = matched.into_iter().map(|(saved, action, planned)| held.step(saved, action, &planned, &mut begun));
    let mut steps: Vec<Step> = matched.chain(kept).collect();
    let decided = held.decided.clone();
    stale.retain(|it| !done.contains(&it.step));
    steps.sort_by_key(|step| step.id);
    Ok(HeldPlan { plan: Plan { steps, updates, ..now }, decided, stale })
}

/// What becomes of an update that is not planned now.
fn outdated(update: &Update) -> Outcome {
    let image = update.images.first().and_then(|image| image.before.clone()).unwrap_or_default();
    let precondition = Precondition::WorkloadAt { workload: update.workload.clone(), image };
    Outcome::Stale { precondition, actual: "it is not to get these images now".to_owned() }
}

/// What becomes of a step that is stale. Where that is not known, it may be tried again.
fn outcome(stale: &StaleStep) -> Outcome {
    let (precondition, actual) = (stale.precondition.clone(), stale.actual.clone());
    match stale.is_known {
        true => Outcome::Stale { precondition, actual },
        false => Outcome::Failed { error: actual, again: true },
    }
}

struct Held<'a> {
    now: &'a Plan,
    /// The number in the saved plan of what is planned now.
    ids: BTreeMap<StepId, StepId>,
    decided: BTreeMap<StepId, Outcome>,
}

impl<'a> Held<'a> {
    /// A step, as it is planned now, under the number that it was saved under.
    fn step(&self, saved: &Step, action: Action, planned: &[&'a Step], begun: &mut BTreeSet<StreamId>) -> Step {
        let id = saved.id;
        let mut requires: Vec<Precondition> = saved.requires.clone();
        let own = planned.iter().flat_map(|step| &step.requires).filter(|it| !it.is_version());
        // The first step on a stream relies on the version that was seen; what follows, on how that step leaves it.
        let stream = action.stream().clone();
        let first = self.now.steps.iter().find(|step| *step.action.stream() == stream);
        let version = first.into_iter().flat_map(|step| &step.requires).filter(|it| it.is_version());
        let is_first = begun.insert(stream.clone());
        let version = version.filter(|_| is_first);
        for precondition in version.chain(own) {
            if !requires.contains(precondition) {
                requires.push(precondition.clone());
            }
        }
        let after: BTreeSet<StepId> =
            planned.iter().flat_map(|step| &step.after).filter_map(|id| self.ids.get(id).copied()).collect();
        let moves = planned.iter().flat_map(|step| step.moves.iter().cloned()).collect();
        let (reason, origin) =
            planned.first().map_or((Reason::Missing, None), |step| (step.reason.clone(), step.origin.clone()));
        Step { id, action, reason, origin, requires, after: after.into_iter().filter(|it| *it != id).collect(), moves }
    }

    /// What it comes after is stale, so that it cannot be planned: then it is skipped.
    fn skips(&mut self, id: StepId, after: &[StepId]) -> bool {
        let behind = after.iter().find(|before| self.decided.contains_key(before)).copied();
        if behind.is_some() {
            self.decided.insert(id, Outcome::Skipped { behind });
        }
        behind.is_some()
    }

    /// The steps that are planned now and do the same: one, or the imports of one stream.
    fn planned(&self, action: &'a Action) -> Option<(Action, Vec<&'a Step>)> {
        let Action::Import { stream, images, repository } = action else {
            let step = self.now.steps.iter().find(|step| step.action == *action)?;
            return Some((step.action.clone(), vec![step]));
        };
        let (mut found, mut steps): (Vec<ImportItem>, Vec<&Step>) = (Vec::new(), Vec::new());
        for image in images {
            let (step, item) = self.imports(stream).find(|(_, item)| is_same(item, image))?;
            found.push(item.clone());
            if !steps.iter().any(|known| known.id == step.id) {
                steps.push(step);
            }
        }
        let completes =
            |step: &&Step| matches!(&step.action, Action::Import { repository: now, .. } if now == repository);
        if steps.is_empty() || (repository.is_some() && !steps.iter().any(completes)) {
            return None;
        }
        let action = Action::Import { stream: stream.clone(), images: found, repository: repository.clone() };
        Some((action, steps))
    }

    /// What is imported now into a stream.
    fn imports(&self, stream: &'a StreamId) -> impl Iterator<Item = (&'a Step, &'a ImportItem)> + use<'a> {
        self.now.steps.iter().flat_map(move |step| match &step.action {
            Action::Import { stream: of, images, .. } if of == stream => {
                images.iter().map(|item| (step, item)).collect::<Vec<_>>()
            }
            _ => Vec::new(),
        })
    }

    /// An update that gives images which the workload is to get now, too. That it still has those that the saved plan has seen is checked
    /// by whoever writes it.
    fn update(&self, saved: &Update) -> Option<Update> {
        let now = self.now.updates.iter().find(|now| now.workload == saved.workload)?;
        let gets = |image: &RollImage| {
            let same = |now: &RollImage| {
                (&now.container, &now.tag, &now.after) == (&image.container, &image.tag, &image.after)
            };
            now.images.iter().any(same)
        };
        // What it comes after is to be in the plan as well: a plan that left it out would give an image that its tag does not have.
        let after = now.after.iter().map(|id| self.ids.get(id).copied()).collect::<Option<Vec<StepId>>>()?;
        let (images, uid) = (saved.images.clone(), saved.uid.clone());
        images.iter().all(gets).then(|| Update { id: saved.id, images, uid, after, ..now.clone() })
    }

    fn deviation(&self, saved: &'a Step) -> Deviation {
        let stream = saved.action.stream();
        let tags = saved.action.tags();
        let is_about = |deferred: &&Deferred| {
            deferred.stream == *stream
                && deferred.tag.as_ref().is_none_or(|tag| tags.is_empty() || tags.contains(&&**tag))
        };
        let other = match &saved.action {
            Action::Import { images, .. } => images.iter().find_map(|image| {
                let same = |(_, item): &(&Step, &ImportItem)| item.tag == image.tag && item.from == image.from;
                let (_, now) = self.imports(stream).find(same).filter(|(_, item)| !is_same(item, image))?;
                let now = match &now.result {
                    ImportResult::Image { digest } => digest.to_string(),
                    ImportResult::Failure(failure) => failure.reason.clone(),
                };
                Some(DeviationReason::OtherImage { from: image.from.clone(), now })
            }),
            _ => None,
        };
        let blocked = || {
            let mut waits = self.now.deferred.iter().filter(is_about);
            waits.find(|it| !it.wait.is_note()).map(|it| DeviationReason::Blocked(it.wait.clone()))
        };
        let why = other.or_else(blocked).unwrap_or(DeviationReason::NotDefined);
        let tag = tags.first().map_or(String::new(), |tag| format!(":{tag}"));
        Deviation { step: saved.id, about: format!("{stream}{tag}"), why }
    }
}

/// One import and another do the same. The words of a failure may be others each time.
fn is_same(one: &ImportItem, other: &ImportItem) -> bool {
    let result = match (&one.result, &other.result) {
        (ImportResult::Failure(one), ImportResult::Failure(other)) => one.reason == other.reason,
        (one, other) => one == other,
    };
    let ImportItem { tag, from, import_policy, reference_policy, result: _ } = one;
    result
        && (tag, from, import_policy, reference_policy)
            == (&other.tag, &other.from, &other.import_policy, &other.reference_policy)
}
