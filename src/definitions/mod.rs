//! From bytes to what is wanted.
//!
//! [`read`] turns one file into the streams and workloads it defines and everything wrong with them; [`assemble`] puts the
//! files of a revision together, checks what only shows across files, and lets the config have its say. A file is read
//! without knowing its path, so that what it says can be cached by its content. Nothing is thrown: all findings of a run
//! are shown. Pure; may name `api`, `text` and `model`.
//! Tests: `tests/definitions` (a sample for every rule), `tests/it/corpus.rs` (real files).

mod aliases;
mod assemble;
mod fields;
mod file;
mod reader;
mod select;
mod snapshot;
mod stream;
mod template;
mod triggers;
mod upstream;
mod workload;

pub use assemble::{Assembled, FileEntry, Ruling, SeverityRule, Waiver, assemble, judge};
pub use file::{Counts, FileDefinitions, FoundStream, ReadOptions, Triggers, read};
pub use select::{Candidate, candidate, mentions_streams};
pub use snapshot::{Snapshot, snapshot};
