//! Observe and plan, given what was read.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::model::{
    Cause, Desired, Ignorance, Live, OTHER_NAMESPACES, Observed, OnFailure, Plan, Policy, StreamId, Upstream,
};
use crate::observe;
use crate::planner::{self, PlanInput};
use crate::ports::{LiveState, Memory, PortError, Progress, Registry, Settled, Which, Workloads};
use crate::rules::Server;

/// Everything a pass needs besides the definitions.
pub struct Pass<'a, L, R, M, P> {
    /// The target, to look at.
    pub live: &'a L,
    /// The registries.
    pub registry: &'a R,
    /// What is remembered.
    pub memory: &'a M,
    /// Who hears of progress.
    pub progress: &'a P,
    /// What people allow.
    pub policy: &'a Policy,
    /// How the target is set up.
    pub server: &'a Server,
    /// Name and version of the program.
    pub tool: &'a str,
    /// Look at everything, also at streams that had nothing to do and have not changed since.
    pub look_at_all: bool,
}

/// A plan with what it was made from.
#[derive(Debug)]
pub struct Planned {
    /// The plan.
    pub plan: Plan,
    /// What was known.
    pub live: Live,
    /// From when on there may be something to do although nothing changes.
    pub due: Option<Timestamp>,
}

impl<L: LiveState, R: Registry, M: Memory, P: Progress> Pass<'_, L, R, M, P> {
    /// Looks at the world and plans.
    ///
    /// # Errors
    ///
    /// When the target as a whole cannot be read.
    pub async fn plan(&self, desired: &Desired, now: Timestamp) -> Result<Planned, PortError> {
        let target = self.live.identity();
        let rules = self.rules(&target);
        let (settled, before) = self.settled(desired, &rules, now);
        let Self { live, registry, memory, progress, policy, server, tool, look_at_all: _ } = *self;
        let known = observe::Known { settled: &settled, anew: self.look_at_all };
        let sources = observe::Sources { live, registry, memory, progress };
        let mut live = observe::collect(sources, desired, known, policy, now).await?;
        let server = &server.seen(live.streams.iter().map(|(id, live)| (id, &live.stream)));
        let mut plan = self.plan_known(desired, &mut live, server, &target, now).await;
        let ours = policy.workloads.as_ref();
        if ours.is_some() || planner::moves(&plan) {
            let namespaces = desired.streams.keys().map(|id| id.namespace.clone()).collect();
            let which = Which::All { namespaces: &namespaces, anew: self.look_at_all };
            let Workloads { mut seen, unseen } = self.live.workloads(which).await;
            if !self.live.has_workloads() {
                let defined = desired.workloads.iter().filter_map(|workload| workload.defined.as_ref());
                seen.extend(defined.map(|defined| defined.workload.clone()));
            }
            if policy.on_failure == OnFailure::Hold {
                live.failing = planner::failing(&seen, &live);
                // Where this account has nothing to do, it need not look.
                let is_elsewhere = |it: &&Ignorance| it.cause == Cause::Forbidden && it.asked == OTHER_NAMESPACES;
                live.unseen_followers = unseen.iter().find(|unseen| !is_elsewhere(unseen)).cloned();
                if !live.failing.is_empty() || live.unseen_followers.is_some() {
                    plan = self.plan_known(desired, &mut live, server, &target, now).await;
                }
            }
            let input = PlanInput { desired, live: &live, policy, server, target: &target, tool };
            match ours {
                Some(ours) => (plan.updates, plan.rolls) = planner::updates(&input, &plan, &seen, ours),
                None => plan.rolls = planner::rolls(&input, &plan, &seen),
            }
            plan.unseen = unseen;
        }
        let due = self.remember(desired, &rules, &live, &plan, before);
        Ok(Planned { plan, live, due })
    }

    /// Plans with images whose bytes were seen.
    async fn plan_known(
        &self,
        desired: &Desired,
        live: &mut Live,
        server: &Server,
        target: &str,
        now: Timestamp,
    ) -> Plan {
        let Self { registry, progress, policy, tool, .. } = *self;
        loop {
            let plan = planner::plan(&PlanInput { desired, live, policy, server, target, tool });
            // A registry's word for a digest is enough to compare with. Before one is planned, its bytes were seen; an image
            // that cannot be had is not known, and the plan is made again without it: each round knows less, so this ends.
            let unseen = observe::unseen(&plan, registry, progress).await;
            if unseen.is_empty() {
                return plan;
            }
            for (question, ignorance) in unseen {
                live.upstream.insert(question, Upstream { answer: Observed::Unknown(ignorance), checked_at: now });
            }
        }
    }

    /// Streams for which this definition left nothing to do, which is still so unless the target has changed since; and when
    /// the first of them is due again.
    fn settled(
        &self,
        desired: &Desired,
        rules: &str,
        now: Timestamp,
    ) -> (BTreeMap<StreamId, String>, Option<Timestamp>) {
        if self.look_at_all || self.policy.refresh != crate::model::Refresh::None {
            return (BTreeMap::new(), None);
        }
        let mut settled = self.memory.settled(rules);
        settled.retain(|id, known| {
            let same = desired.streams.get(id).is_some_and(|stream| stream.content == known.definition);
            let pushed = self.policy.pushed.iter().any(|(stream, _)| stream == id);
            same && !pushed && known.due.is_none_or(|due| now < due)
        });
        // A stream whose tags copy another one's must be looked at together with it.
        let mut open: Vec<(StreamId, StreamId)> = Vec::new();
        for (id, sources) in planner::sources(desired) {
            open.extend(sources.into_iter().map(|source| (id.clone(), source)));
        }
        loop {
            let before = settled.len();
            for (one, other) in &open {
                if !settled.contains_key(one) || !settled.contains_key(other) {
                    settled.remove(one);
                    settled.remove(other);
                }
            }
            if settled.len() == before {
                break;
            }
        }
        let due = settled.values().filter_map(|known| known.due).min();
        (settled.into_iter().map(|(id, known)| (id, known.version)).collect(), due)
    }

    /// Remembers the streams that nothing is to be done for. Gives when the first of all is due, `before` being those that
    /// were settled already.
    fn remember(
        &self,
        desired: &Desired,
        rules: &str,
        live: &Live,
        plan: &Plan,
        before: Option<Timestamp>,
    ) -> Option<Timestamp> {
        let busy: BTreeSet<&StreamId> = plan
            .steps
            .iter()
            .map(|step| step.action.stream())
            .chain(plan.deferred.iter().map(|deferred| &deferred.stream))
            .collect();
        let mut settled = BTreeMap::new();
        // What has to wait for something else is due like everything else.
        let mut first = before;
        for (id, stream) in &desired.streams {
            let Some(seen) = live.streams.get(id) else { continue };
            let due = planner::due(id, stream, live, self.policy);
            first = [first, due].into_iter().flatten().min();
            if busy.contains(id) || stream.content.is_empty() {
                continue;
            }
            let Some(version) = seen.stream.metadata.resource_version.clone() else { continue };
            settled.insert(id.clone(), Settled { version, definition: stream.content.clone(), due });
        }
        if !settled.is_empty() {
            self.memory.keep_settled(rules, &settled);
        }
        first
    }

    /// Identifies the policy that definitions were judged by: what was settled under another one is not settled.
    fn rules(&self, target: &str) -> String {
        let Self { policy, server, tool, .. } = self;
        let intervals = (policy.schedule_interval, policy.check_interval, policy.adapts);
        let Policy { repository_tags, schedule, spread, .. } = policy;
        format!("{target} {tool} {intervals:?} {server:?} {repository_tags} {schedule:?} {spread}")
    }
}
