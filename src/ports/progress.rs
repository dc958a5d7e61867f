//! How far long work has come, for whoever waits.

use crate::model::{Outcome, Step};

/// Hears of progress.
pub trait Progress: Sync {
    /// Work of that name and size begins.
    fn begin(&self, what: &str, total: usize);

    /// Some more of it is done.
    fn advance(&self, by: usize);

    /// It has ended.
    fn end(&self);

    /// All steps of a plan on one stream have ended, with these outcomes.
    fn stream_ended(&self, steps: &[(&Step, Outcome)]) {
        let _ = steps;
    }
}

/// Nobody waits.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn begin(&self, _: &str, _: usize) {}
    fn advance(&self, _: usize) {}
    fn end(&self) {}
}
