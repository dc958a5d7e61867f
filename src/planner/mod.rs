//! From what is wanted and what is known to a plan.
//!
//! Pure: no clock, no file, no network; the same input gives the same plan. Every step that is planned is also performed,
//! by [`crate::rules`], on a copy of the world, so that later steps are planned against what earlier ones leave behind and
//! each step can say which tags it moves. May name `api`, `model` and `rules`.
//! Tests: `tests/plans` (worlds in files), `tests/it/properties.rs` (thousands of random ones).

mod builder;
mod follows;
mod imports;
mod prune;
mod rolls;
mod streams;
mod updates;
mod why;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use crate::api::IMAGE_STREAM_IMAGE;
use crate::model::{Desired, DesiredStream, DesiredTag, Live, Plan, Policy, StreamId, Wait, WorkloadId};
use crate::rules::{AliasTarget, Server, alias_target};

use builder::Builder;

pub use rolls::{failing, moves, rolls};
pub use updates::{updates, wanted};
pub use why::equalities;

/// Everything a plan depends on.
pub struct PlanInput<'a> {
    /// What Git says.
    pub desired: &'a Desired,
    /// What is known.
    pub live: &'a Live,
    /// What people allow.
    pub policy: &'a Policy,
    /// How the target is set up.
    pub server: &'a Server,
    /// What identifies the target.
    pub target: &'a str,
    /// Name and version of the program.
    pub tool: &'a str,
}

/// Makes the plan.
///
/// In this order: streams and tags, imports, tags that copy other streams, and last what is to be removed.
pub fn plan(input: &PlanInput<'_>) -> Plan {
    let mut builder = Builder::new(input);
    streams::plan(&mut builder);
    imports::plan(&mut builder);
    follows::plan(&mut builder);
    prune::plan(&mut builder);
    builder.finish()
}

/// From when on a stream that has nothing to do now may have something to do although nothing changed: when the answers on
/// its upstream tags have grown old. None: never.
pub fn due(id: &StreamId, stream: &DesiredStream, live: &Live, policy: &Policy) -> Option<Timestamp> {
    let moments = stream.tags.values().filter_map(|tag| {
        let question = tag.question().filter(|question| question.reference.digest.is_none())?;
        // Who keeps at it looks at what nobody follows when everything is looked at.
        if policy.spread && !tag.reference.import_policy.scheduled {
            return None;
        }
        let checked = live.upstream.get(&question).map_or(live.observed_at, |upstream| upstream.checked_at);
        let moved = live.streams.get(id).and_then(|live| live.stream.head(&tag.reference.name)?.created);
        policy.until(id, &tag.reference, checked, moved)
    });
    moments.min()
}

/// When the first of the imports that have failed is to be tried again.
pub fn retry(desired: &Desired, live: &Live, now: Timestamp) -> Option<Timestamp> {
    let mut first: Option<Timestamp> = None;
    for (id, stream) in &desired.streams {
        let Some(current) = live.streams.get(id) else { continue };
        for list in &current.stream.status.tags {
            let Some(condition) = list.conditions.first() else { continue };
            let question = stream.tags.get(&list.tag).and_then(|tag| tag.question());
            let asked = question.and_then(|question| live.upstream.get(&question)).map(|upstream| upstream.checked_at);
            let retry = Policy::retry(condition, asked.filter(|asked| *asked <= now).unwrap_or(now));
            // What is due is tried by the pass that has just been, or cannot be: not at once again.
            let retry = retry.map(|retry| if retry <= now { now + SignedDuration::from_mins(1) } else { retry });
            first = [first, retry].into_iter().flatten().min();
        }
    }
    first
}

/// A tag waits for a workload that does not run its image.
fn held(workload: &WorkloadId, why: &str) -> Wait {
    Wait::Held { by: format!("{workload}, which does not roll out with the image that it has: {why}") }
}

/// The streams that each stream's tags copy from: what moves there concerns them.
pub fn sources(desired: &Desired) -> BTreeMap<&StreamId, BTreeSet<StreamId>> {
    let mut sources: BTreeMap<&StreamId, BTreeSet<StreamId>> = BTreeMap::new();
    for (id, stream) in &desired.streams {
        for tag in stream.tags.values() {
            let from = tag.reference.from.as_ref().filter(|from| from.kind == IMAGE_STREAM_IMAGE);
            let image = from.and_then(|from| {
                let namespace = if from.namespace.is_empty() { &id.namespace } else { &from.namespace };
                Some(StreamId::new(namespace, from.name.split_once('@')?.0))
            });
            let source = match alias_target(id, &tag.reference) {
                Some(AliasTarget::Other(source)) => Some(source.stream),
                Some(AliasTarget::Own(_)) | None => image.filter(|image| image != id),
            };
            if let Some(source) = source {
                sources.entry(id).or_default().insert(source);
            }
        }
    }
    sources
}

/// Tags that are written after everything they may copy is in place: they name another stream, or an image.
fn is_copied(id: &StreamId, tag: &DesiredTag) -> bool {
    let names_image = tag.reference.from.as_ref().is_some_and(|from| from.kind == IMAGE_STREAM_IMAGE);
    names_image || matches!(alias_target(id, &tag.reference), Some(AliasTarget::Other(_)))
}
