//! From what is wanted and what is known to a plan.
//!
//! Pure: no clock, no file, no network; the same input gives the same plan. Every step that is planned is also performed,
//! by [`crate::rules`], on a copy of the world, so that later steps are planned against what earlier ones leave behind and
//! each step can say which tags it moves. May name `findings`, `model`, `openshift`, `rules` and
//! `source`.
//! Tests: `tests/it/properties.rs` (thousands of random ones).

mod builder;
mod due;
mod follows;
mod imports;
mod input;
mod predicted;
mod prune;
mod rolls;
mod streams;
mod unverified;
mod updates;
mod why;
mod workload_edits;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Desired, Plan};
use crate::openshift::StreamId;
use crate::rules::other_source;

use builder::Builder;

pub use due::{due, retry};
pub use input::PlanInput;
pub use predicted::ChangedStreams;
pub use rolls::{failing, moves, rolls};
pub use unverified::forbidden;
pub use updates::{updates, wanted};
pub use why::equalities;
pub use workload_edits::{WorkloadEdit, WorkloadEdits, not_shared, workload_edits};

/// Makes the plan. Also gives what its steps leave behind, for [`rolls`] and [`updates`].
///
/// In this order: streams and tags, imports, tags that copy other streams, and last what is to be removed.
pub fn plan(input: &PlanInput<'_>) -> (Plan, ChangedStreams) {
    let mut builder = Builder::new(input);
    streams::plan(&mut builder);
    imports::plan(&mut builder);
    follows::plan(&mut builder);
    prune::plan(&mut builder);
    builder.finish()
}

/// The streams that each stream's tags copy from: what moves there concerns them.
pub fn sources(desired: &Desired) -> BTreeMap<&StreamId, BTreeSet<StreamId>> {
    let mut sources: BTreeMap<&StreamId, BTreeSet<StreamId>> = BTreeMap::new();
    for (id, stream) in &desired.streams {
        for source in stream.tags.values().filter_map(|tag| other_source(id, &tag.reference)) {
            sources.entry(id).or_default().insert(source);
        }
    }
    sources
}
