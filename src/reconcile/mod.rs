//! One pass: read, observe, plan; and carry out.
//!
//! The one code path of `plan`, `apply`, the daemon and the tests. It joins the rooms and decides nothing of its own.
//! Tests: `tests/it/cli.rs`, `tests/it/properties.rs`.

mod pass;
mod quiet;
mod read;

pub use pass::{Pass, Planned};
pub use quiet::{Inputs, Quiet, recall, remember};
pub use read::{Limits, List, ReadSource, Reading, Selection, definitions, list};
