//! How far long work has come, for whoever waits.

/// Hears of progress.
pub trait Progress: Sync {
    /// Work of that name and size begins.
    fn begin(&self, what: &str, total: usize);

    /// Some more of it is done.
    fn advance(&self, by: usize);

    /// It has ended.
    fn end(&self);
}

/// Nobody waits.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn begin(&self, _: &str, _: usize) {}
    fn advance(&self, _: usize) {}
    fn end(&self) {}
}
