//! Values of files, read again when the files change: tokens and certificates are renewed while a process runs.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::reconcile::Failure;

/// Files are looked at once in so long.
const EVERY: Duration = Duration::from_secs(1);

/// What tells one state of a file from another: its inode, size and time of change.
type Mark = Option<(u64, u64, i64, i64)>;

/// A value that was read from files.
pub(super) struct Reread<T> {
    load: Box<dyn Fn() -> Result<T, Failure> + Send + Sync>,
    paths: Vec<PathBuf>,
    state: Mutex<State<T>>,
}

struct State<T> {
    value: Arc<T>,
    marks: Vec<Mark>,
    looked: Instant,
}

impl<T> Reread<T> {
    /// Reads it for the first time.
    ///
    /// # Errors
    ///
    /// When it cannot be read. Later on, what was read last counts then.
    pub(super) fn new(
        paths: &[&Path],
        load: impl Fn() -> Result<T, Failure> + Send + Sync + 'static,
    ) -> Result<Self, Failure> {
        let paths: Vec<PathBuf> = paths.iter().map(|path| (*path).to_owned()).collect();
        // Marked before it is read: a change meanwhile is read again.
        let marks = marks(&paths);
        let state = Mutex::new(State { value: Arc::new(load()?), marks, looked: Instant::now() });
        Ok(Self { load: Box::new(load), paths, state })
    }

    /// The value that the files have now, or had a moment ago.
    pub(super) fn current(&self) -> Arc<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() < EVERY {
            return Arc::clone(&state.value);
        }
        state.looked = Instant::now();
        let marks = marks(&self.paths);
        if marks != state.marks {
            state.marks = marks;
            let files: Vec<String> = self.paths.iter().map(|path| path.display().to_string()).collect();
            match (self.load)() {
                Ok(value) => {
                    state.value = Arc::new(value);
                    tracing::info!(files = files.join(", "), "read again");
                }
                Err(failure) => {
                    let error = crate::source::chain(&*failure.error);
                    tracing::warn!(%error, "cannot be read again; what was read before counts");
                }
            }
        }
        Arc::clone(&state.value)
    }
}

impl<T> fmt::Debug for Reread<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Reread").field("paths", &self.paths).finish_non_exhaustive()
    }
}

fn marks(paths: &[PathBuf]) -> Vec<Mark> {
    let mark = |path: &PathBuf| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.ino(), metadata.size(), metadata.mtime(), metadata.mtime_nsec()))
    };
    paths.iter().map(mark).collect()
}
