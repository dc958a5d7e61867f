//! The traits at the edge, and what can go wrong there.
//!
//! Reading and writing are two traits: whoever plans cannot write. Nothing here does anything; adapters do. May name
//! `model`, `openshift` and `source`.

mod live;
mod memory;
mod progress;
mod registry;
mod source;
mod target;

pub use live::{LiveState, Looking, Observation, TargetKind, Which, Workloads};
pub use memory::{Memory, NoMemory, Settled};
pub use progress::{NoProgress, Progress};
pub use registry::Registry;
pub use source::{BlobReader, Entry, Found, Listing, Refused, RefusedEntry, Source, SourceError};
pub use target::{Command, Performed, Provenance, Target};

/// A failure at the edge; the cause is its source.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// Somebody else is writing.
    #[error("{what} is in use by another process")]
    Busy {
        /// What.
        what: String,
    },
    /// It is there and cannot be used.
    #[error("{what} cannot be used: {why}")]
    Unusable {
        /// What.
        what: String,
        /// Why, and what to do.
        why: String,
    },
    /// The system below failed.
    #[error("failed to {action}")]
    Failed {
        /// What was tried, such as `write the store`.
        action: String,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl PortError {
    /// The system below failed.
    pub fn failed(action: impl Into<String>, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Failed { action: action.into(), source: source.into() }
    }

    /// The error and its causes on one line.
    pub fn chain(&self) -> String {
        crate::source::chain(self)
    }
}
