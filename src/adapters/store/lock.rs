//! One writer at a time, with a clear word to the second.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::ports::PortError;

/// Tries before a taken lock is called taken, and the time between them.
const PATIENCE: u32 = 10;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

/// Holds the store for writing. The system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, or says who has it.
    pub(super) fn take(folder: &Path) -> Result<Self, PortError> {
        let path = folder.join("lock");
        let failed = |error| PortError::failed(format!("lock the store `{}`", folder.display()), error);
        let flags = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
        let mut file = options.open(&path).map_err(failed)?;
        // A moment of patience: a writer that is just ending, or a process that another part of this program is just starting
        // and that has not let go of what it inherited.
        let mut patience = PATIENCE;
        let locked = loop {
            match file.try_lock() {
                Err(TryLockError::WouldBlock) if patience > 0 => {
                    patience -= 1;
                    std::thread::sleep(PAUSE);
                }
                result => break result,
            }
        };
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                let holder = holder.trim().parse::<u32>().map_or(String::new(), |pid| format!(" (process {pid})"));
                return Err(PortError::Unusable {
                    what: format!("the store `{}`", folder.display()),
                    why: format!("another process is writing to it{holder}; wait for it to end, or name another store"),
                });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // For the message above only: a stale number does no harm.
        let written =
            file.set_len(0).and_then(|()| file.rewind()).and_then(|()| write!(file, "{}", std::process::id()));
        written.map_err(failed)?;
        Ok(Self { _file: file })
    }
}
