//! What of a plan's preconditions does not hold, looked at before anything is done; every step checks again.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Live, Plan, Precondition, StepId};
use crate::openshift::StreamId;
use crate::ports::{LiveState, Looking, PortError};
use crate::rules::{self, Check};

/// A precondition that does not hold, or of which that is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaleStep {
    /// The step.
    pub step: StepId,
    /// The stream that it writes.
    pub stream: StreamId,
    /// What it relies on.
    pub precondition: Precondition,
    /// What is so instead; where that is not known, why not.
    pub actual: String,
    /// Whether that is known at all.
    pub is_known: bool,
}

/// The preconditions of a plan that do not hold now, and the streams that they were held to.
///
/// # Errors
///
/// When the target as a whole cannot be read.
pub async fn stale_steps(plan: &Plan, target: &impl LiveState) -> Result<(Vec<StaleStep>, Live), PortError> {
    let own = plan.steps.iter().map(|step| step.action.stream());
    let others = plan.steps.iter().flat_map(|step| &step.requires).filter_map(Precondition::stream);
    let namespaces = own.chain(others).map(|stream| stream.namespace.clone()).collect();
    let settled = BTreeMap::new();
    let seen = target.observe(Looking { namespaces: &namespaces, settled: &settled, anew: true }).await?;
    let live = Live { listed: seen.listed, streams: seen.streams, unreadable: seen.unreadable, ..Live::default() };
    let mut written: BTreeSet<&StreamId> = BTreeSet::new();
    let mut stale = Vec::new();
    for step in &plan.steps {
        let stream = step.action.stream();
        for precondition in &step.requires {
            // Workloads are no part of what a plan decides.
            let Some(about) = precondition.stream() else { continue };
            // What an earlier step writes is as it is to be only then.
            if matches!(precondition, Precondition::TagAt { .. }) && written.contains(about) {
                continue;
            }
            let (actual, is_known) = match rules::check(precondition, live.stream(about).map(|live| &live.stream)) {
                Check::Holds => continue,
                Check::Stale { actual } => (actual, true),
                Check::Unknown(ignorance) => (ignorance.to_string(), false),
            };
            let (stream, precondition) = (stream.clone(), precondition.clone());
            stale.push(StaleStep { step: step.id, stream, precondition, actual, is_known });
        }
        written.insert(stream);
    }
    Ok((stale, live))
}
