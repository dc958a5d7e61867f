//! From bytes to what is wanted.
//!
//! [`read`] turns one file into the streams and workloads it defines and everything wrong with them; [`assemble`] puts the
//! files of a revision together, checks what only shows across files, and lets the config have its say. A file is read
//! without knowing its path, so that what it says can be cached by its content. Nothing is thrown: all findings of a run
//! are shown. Pure; may name `findings`, `model`,
//! `openshift`, `rules` and `source`.
//! Tests: `tests/definitions` (a sample for every rule), `tests/it/corpus.rs` (real files).

mod aliases;
mod assemble;
mod fields;
mod file;
mod kustomize;
mod lowering;
mod reader;
mod select;
mod snapshot;
mod stream;
mod template;
mod triggers;
mod upstream;
mod workload;

pub use assemble::{Assembled, FileEntry, Files, assemble};
pub use file::read;
pub use kustomize::{Kustomization, kustomization};
pub use lowering::{Counts, FileDefinitions, FoundStream, ReadOptions, Triggers};
pub use select::{Candidate, candidate, mentions_streams};
pub use snapshot::{Snapshot, snapshot};
