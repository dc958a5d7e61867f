//! What holds for one pass of a running process, beside what people have decided.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::openshift::StreamId;

/// The state of the process that plans. A single command has the default but for what its flags say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PassState {
    /// What to import although it is not due.
    pub refresh: Refresh,
    /// Why nothing is removed, where nothing is.
    pub no_removals: Option<String>,
    /// Nothing at all is changed now: why, and until when.
    pub frozen: Option<String>,
    /// Streams and workloads, as they are printed, that are in conflict backoff: another field manager changes them back.
    pub conflicts: BTreeMap<String, Conflict>,
    /// Tags that something was pushed to: what was known of them is old.
    pub pushed: BTreeSet<(StreamId, String)>,
    /// Tags are due each at a moment of its own, spread over their interval, not all of them at once.
    pub spread: bool,
    /// An import that has failed is retried with backoff, not in each pass.
    pub patient: bool,
}

/// Another field manager changes back what was applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Conflict {
    /// What was applied, each time: the content of a stream's definition, or the images of a workload. Anything else is not in
    /// conflict.
    pub wanted: String,
    /// With which field manager, and until when the object is left alone.
    pub why: String,
}

/// What to import although it is not due.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Refresh {
    /// Nothing.
    #[default]
    None,
    /// Everything.
    All,
    /// These streams, or single tags of them.
    Some(BTreeSet<(StreamId, Option<String>)>),
}

impl Refresh {
    /// Whether that tag is asked for.
    pub fn asks(&self, stream: &StreamId, tag: &str) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Some(asked) => {
                asked.contains(&(stream.clone(), None)) || asked.contains(&(stream.clone(), Some(tag.to_owned())))
            }
        }
    }
}
