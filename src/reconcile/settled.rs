//! Streams that had nothing to do: not looked at again until they, their definition or the policy changes, or they are due.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::model::{Desired, Live, Plan, Policy, Refresh};
use crate::openshift::StreamId;
use crate::planner;
use crate::ports::{Memory, Settled};
use crate::source::hash_of;

use super::request::PlanRequest;

/// Identifies what streams were settled by: by other rules they are not.
pub(super) fn rules(request: &PlanRequest<'_>, target: &str) -> String {
    let PlanRequest { policy, state, server, tool, .. } = request;
    let Policy { schedule_interval, check_interval, adapts, repository_tags, schedule, .. } = policy;
    let owner = (&policy.identities, &policy.previous_managers);
    let intervals = (schedule_interval, check_interval, adapts, state.spread);
    hash_of(2, &(target, tool, intervals, server, repository_tags, schedule, owner), 32).unwrap_or_default()
}

/// Streams for which this definition left nothing to do, which is still so unless the target has changed since, with their
/// versions; and when the first of them is due again.
pub(super) fn recall(
    memory: &impl Memory,
    desired: &Desired,
    request: &PlanRequest<'_>,
    rules: &str,
    now: Timestamp,
) -> (BTreeMap<StreamId, String>, Option<Timestamp>) {
    if request.look_at_all || request.state.refresh != Refresh::None {
        return (BTreeMap::new(), None);
    }
    let mut settled = memory.settled(rules);
    settled.retain(|id, known| {
        let same = desired.streams.get(id).is_some_and(|stream| stream.content == known.definition);
        let pushed = request.state.pushed.iter().any(|(stream, _)| stream == id);
        same && !pushed && known.due.is_none_or(|due| now < due)
    });
    // A stream whose tags copy another one's must be looked at together with it.
    let sources = planner::sources(desired);
    let pairs = || sources.iter().flat_map(|(id, sources)| sources.iter().map(move |source| (*id, source)));
    loop {
        let before = settled.len();
        for (one, other) in pairs() {
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

/// Remembers the streams that nothing is to be done for. Gives when the first of all is due, `before` being those that were
/// settled already.
pub(super) fn remember(
    memory: &impl Memory,
    desired: &Desired,
    request: &PlanRequest<'_>,
    rules: &str,
    (live, plan): (&Live, &Plan),
    before: Option<Timestamp>,
) -> Option<Timestamp> {
    let busy: BTreeSet<&StreamId> = plan
        .steps
        .iter()
        .map(|step| step.action.stream())
        .chain(plan.deferred.iter().map(|deferred| &deferred.stream))
        .collect();
    let mut settled = BTreeMap::new();
    // What is blocked by something else is due like everything else.
    let mut first = before;
    for (id, stream) in &desired.streams {
        let Some(seen) = live.streams.get(id) else { continue };
        let due = planner::due(id, stream, live, &request.policy, &request.state);
        first = [first, due].into_iter().flatten().min();
        if busy.contains(id) || stream.content.is_empty() {
            continue;
        }
        let Some(version) = seen.stream.metadata.resource_version.clone() else { continue };
        settled.insert(id.clone(), Settled { version, definition: stream.content.clone(), due });
    }
    if !settled.is_empty() {
        memory.keep_settled(rules, &settled);
    }
    first
}
