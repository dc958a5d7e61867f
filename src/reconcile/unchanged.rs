//! Nothing has changed and there was nothing to do: the same plan, without doing all of it again.
//!
//! A plan is a pure function of what was read, what is live, the policy and the time. Where all of these are known to be
//! what they were when it came out empty, complete and without a finding worth showing, it is that plan again.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::findings::Severity;
use crate::model::{Plan, Refresh};
use crate::ports::{Listing, LiveState, Memory};
use crate::source::{Hasher, hash_of};

use super::observe_and_plan::Prediction;
use super::read::ReadSource;
use super::request::PlanRequest;
use super::selection::Reading;

/// Raised whenever the meaning of what is hashed changes.
const VERSION: u32 = 3;

/// A plan that found nothing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recalled {
    /// From when on it has to be made again.
    pub until: Option<Timestamp>,
    /// The plan.
    pub plan: Plan,
}

/// Identifies everything that an unchanged plan depends on, the state of the target too; none where something cannot be
/// identified: files on disk that have to be read first, a target that does not count its changes, a question that was asked.
pub(super) fn key(
    listing: &Listing,
    reading: &Reading,
    request: &PlanRequest<'_>,
    live: &impl LiveState,
) -> Option<[u8; 32]> {
    let PlanRequest { policy, state, server, tool, look_at_all } = request;
    if *look_at_all || state.refresh != Refresh::None || listing.truncated {
        return None;
    }
    let Reading { selection, identity, limits, options, findings, no_local_registry } = reading;
    let read = (
        selection.identity(),
        identity,
        limits.file_bytes,
        limits.total_bytes,
        limits.files,
        options,
        findings,
        no_local_registry,
    );
    let refused: Vec<(&str, &str)> = listing.refused.iter().map(|entry| (&*entry.path, entry.kind.word())).collect();
    let mut hasher = Hasher::default();
    hasher.part(live.identity());
    hasher.part(live.version()?);
    hasher.part(tool);
    hasher.part(hash_of(VERSION, &read, 64)?);
    hasher.part(hash_of(VERSION, &(policy, state, server), 64)?);
    hasher.part(hash_of(VERSION, &(refused, &listing.folder), 64)?);
    for entry in &listing.entries {
        hasher.part(&*entry.path);
        hasher.part(entry.id.as_deref()?);
    }
    Some(hasher.finish())
}

/// Remembers a plan, if it is one that may serve again.
pub(super) fn remember(memory: &impl Memory, key: [u8; 32], read: &ReadSource, made: &Prediction) {
    let Prediction { plan, due, .. } = made;
    let silent = read.assembled.findings.iter().all(|finding| finding.severity == Severity::Info);
    if silent && plan.is_empty() && plan.deferred.is_empty() && read.assembled.desired.incomplete.is_empty() {
        let recalled = Recalled { until: *due, plan: Plan { id: plan.id(), ..plan.clone() } };
        if let Ok(bytes) = serde_json::to_vec(&recalled) {
            memory.keep_definitions(&[(key, bytes)]);
        }
    }
}

/// The plan that was remembered, with the time of now.
pub(super) fn recall(memory: &impl Memory, key: [u8; 32], listing: &Listing, now: Timestamp) -> Option<Recalled> {
    let bytes = memory.definitions(&[key]).remove(&key)?;
    let recalled: Recalled = serde_json::from_slice(&bytes).ok()?;
    if recalled.until.is_some_and(|until| now >= until) {
        return None;
    }
    let Recalled { until, mut plan } = recalled;
    plan.observed_at = now;
    // The same files can be those of another commit.
    plan.revision.commit.clone_from(&listing.revision.commit);
    plan.revision.source.clone_from(&listing.revision.source);
    Some(Recalled { until, plan })
}
