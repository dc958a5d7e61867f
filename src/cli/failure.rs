//! How a command ends.

use std::process::{ExitCode, Termination};

use crate::reconcile::FailureKind;

pub(super) use crate::reconcile::Failure;

/// Exit codes, the same for every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, or nothing to do.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// Changes are pending (only with `--exit-code`).
    Pending = 2,
    /// Refused: definitions invalid, or a policy not met.
    Refused = 3,
    /// The plan is stale.
    Stale = 4,
    /// Done in part: a step failed or was deferred.
    Partial = 5,
    /// Wrong usage.
    Usage = 64,
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self as u8)
    }
}

impl From<FailureKind> for Exit {
    fn from(kind: FailureKind) -> Self {
        match kind {
            FailureKind::Failed => Self::Failed,
            FailureKind::Refused => Self::Refused,
            FailureKind::Stale => Self::Stale,
            FailureKind::Usage => Self::Usage,
        }
    }
}
