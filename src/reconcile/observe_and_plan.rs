//! Observe and plan, given what was read.

use jiff::Timestamp;

use crate::model::{Cause, Desired, Ignorance, Live, OTHER_NAMESPACES, Observed, OnFailure, Plan, Upstream};
use crate::observe::{self, Sources};
use crate::planner::{self, ChangedStreams, PlanInput};
use crate::ports::{LiveState, Memory, PortError, Progress, Registry, Which, Workloads};
use crate::rules::Server;

use super::request::PlanRequest;
use super::settled;

/// A plan with what it was made from.
#[derive(Debug)]
pub struct Prediction {
    /// The plan.
    pub plan: Plan,
    /// What was known.
    pub live: Live,
    /// From when on there may be something to do although nothing changes.
    pub due: Option<Timestamp>,
}

/// Observes the target and the registries, and plans.
///
/// # Errors
///
/// When the target as a whole cannot be read.
pub async fn observe_and_plan<L: LiveState, R: Registry, M: Memory, P: Progress>(
    sources: Sources<'_, L, R, M, P>,
    desired: &Desired,
    request: &PlanRequest<'_>,
    now: Timestamp,
) -> Result<Prediction, PortError> {
    let target = sources.live.identity();
    let rules = settled::rules(request, &target);
    let (settled, before) = settled::recall(sources.memory, desired, request, &rules, now);
    let known = observe::Known { settled: &settled, anew: request.look_at_all };
    let mut live = observe::collect(sources, desired, known, (&request.policy, &request.state), now).await?;
    let server = &request.server.seen(live.streams.iter().map(|(id, live)| (id, &live.stream)));
    let line = Line { sources, desired, request, server, target: &target };
    let (mut plan, mut changed) = line.plan(&mut live, now).await;
    if request.policy.workloads.is_some() || planner::moves(&plan) {
        let Workloads { seen, unseen } = line.workloads().await;
        if request.policy.on_failure == OnFailure::Hold {
            live.failing = planner::failing(&seen, &live);
            // Where this account has nothing to do, it need not look.
            let is_elsewhere = |it: &&Ignorance| it.cause == Cause::Forbidden && it.asked == OTHER_NAMESPACES;
            live.unseen_followers = unseen.iter().find(|unseen| !is_elsewhere(unseen)).cloned();
            if !live.failing.is_empty() || live.unseen_followers.is_some() {
                (plan, changed) = line.plan(&mut live, now).await;
            }
        }
        let input = line.input(&live);
        match &request.policy.workloads {
            Some(policy) => (plan.updates, plan.rolls) = planner::updates(&input, (&plan, &changed), &seen, policy),
            None => plan.rolls = planner::rolls(&input, &plan, &changed, &seen),
        }
        plan.unseen = unseen;
    }
    let due = settled::remember(sources.memory, desired, request, &rules, (&live, &plan), before);
    Ok(Prediction { plan, live, due })
}

/// What planning needs again and again.
struct Line<'a, L, R, M, P> {
    sources: Sources<'a, L, R, M, P>,
    desired: &'a Desired,
    request: &'a PlanRequest<'a>,
    server: &'a Server,
    target: &'a str,
}

impl<L: LiveState, R: Registry, M: Memory, P: Progress> Line<'_, L, R, M, P> {
    fn input<'i>(&'i self, live: &'i Live) -> PlanInput<'i> {
        let PlanRequest { policy, state, tool, .. } = self.request;
        PlanInput { desired: self.desired, live, policy, state, server: self.server, target: self.target, tool }
    }

    /// Plans with images whose bytes were seen.
    async fn plan(&self, live: &mut Live, now: Timestamp) -> (Plan, ChangedStreams) {
        loop {
            let (plan, changed) = planner::plan(&self.input(live));
            // A registry's word for a digest is enough to compare with. Before one is planned, its bytes were seen; an image
            // that cannot be had is not known, and the plan is made again without it: each round knows less, so this ends.
            let unseen = observe::unseen(&plan, self.sources.registry, self.sources.progress).await;
            if unseen.is_empty() {
                return (plan, changed);
            }
            for (question, reason) in unseen {
                live.upstream.insert(question, Upstream { answer: Observed::Unknown(reason), checked_at: now });
            }
        }
    }

    /// The workloads of the target; of one that holds none, those of the definitions are what depends on tags.
    async fn workloads(&self) -> Workloads {
        let namespaces = self.desired.streams.keys().map(|id| id.namespace.clone()).collect();
        let which = Which::All { namespaces: &namespaces, anew: self.request.look_at_all };
        let mut workloads = self.sources.live.workloads(which).await;
        if !self.sources.live.has_workloads() {
            let defined = self.desired.workloads.iter().filter_map(|workload| workload.defined.as_ref());
            workloads.seen.extend(defined.map(|defined| defined.workload.clone()));
        }
        workloads
    }
}

/// The equal fields that differ in spelling, each with the rule that makes them equal (`--why`).
pub(super) fn equalities(
    desired: &Desired,
    live: &Live,
    request: &PlanRequest<'_>,
    target: &str,
) -> Vec<crate::model::Equality> {
    let PlanRequest { policy, state, server, tool, .. } = request;
    planner::equalities(&PlanInput { desired, live, policy, state, server, target, tool })
}
