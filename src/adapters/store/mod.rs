//! The embedded target: SQLite in a folder, acting by `rules`.
//!
//! `store.db` is the state: streams with spec, status and history, whose each tag is and from which commit, the
//! journal of plans and reports. `cache-N.db`, in another directory, is what is remembered to ask and read less; it may be deleted at
//! any time.
//! A step is durable before it is reported done; steps of many streams share a commit. Readers work while a writer works;
//! writers are kept apart by a lock file, since SQLite would let them interleave.
//! SQLite (`rusqlite`, compiled in) saves us crash safety, concurrent readers and queries.
//! Tests: `tests/it/cli.rs`, `tests/it/crash.rs`, `tests/it/properties.rs`.

mod cache;
mod lock;
mod ownership;
mod read;
mod schema;
mod write;

use std::path::{Path, PathBuf};

pub use cache::Cache;
pub use read::Reader;
pub use write::Writer;

use crate::adapters::private_dir;
use crate::ports::PortError;

/// Target of plans made before there is a store.
pub const NEW_STORE: &str = "store new";

/// Files of a store.
const FILES: [&str; 5] = ["store.db", "store.db-wal", "store.db-shm", "lock", ".gitignore"];

/// Refuses a store that is a link, or any part of which is one, and one of another user.
///
/// # Errors
///
/// When it is.
pub fn refuse_links(folder: &Path) -> Result<(), PortError> {
    if folder.symlink_metadata().is_err() {
        return Ok(());
    }
    let unusable = |error: std::io::Error| PortError::Unusable {
        what: format!("the store `{}`", folder.display()),
        why: error.to_string(),
    };
    private_dir::check(folder).map_err(unusable)?;
    FILES.iter().try_for_each(|file| private_dir::check_file(&folder.join(file))).map_err(unusable)
}

fn database(folder: &Path) -> PathBuf {
    folder.join("store.db")
}

/// An SQLite error as ours, with what to do about the ones that people meet.
fn failed(action: &str, folder: &Path, error: rusqlite::Error) -> PortError {
    use rusqlite::ErrorCode;
    let what = || format!("the store `{}`", folder.display());
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => PortError::Unusable {
            what: what(),
            why: format!(
                "`{}` is damaged or not a database; nothing was changed. Restore it from a backup, or move it away: the next \
                 apply makes a new store from Git",
                database(folder).display()
            ),
        },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => PortError::Busy { what: what() },
        Some(ErrorCode::DiskFull) => PortError::Unusable {
            what: what(),
            why: "the disk is full; nothing of this step was written. Make room and run again".to_owned(),
        },
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen) => {
            PortError::Unusable { what: what(), why: format!("it cannot be opened: {error}") }
        }
        _ => PortError::failed(format!("{action} {}", what()), error),
    }
}
