//! How a command ends.

use std::error::Error;
use std::process::{ExitCode, Termination};

use crate::config::ConfigError;
use crate::ports::{PortError, SourceError};

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

/// An error that ends the program, with its exit code and what to do next.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    pub(super) error: Box<dyn Error + Send + Sync>,
    pub(super) hint: Option<String>,
}

impl Failure {
    pub(super) fn new(exit: Exit, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { exit, error: error.into(), hint: None }
    }

    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message.into())
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        let hint = match &error {
            SourceError::Missing { .. } => Some("name the source with `--source PATH` or `--source URL`"),
            SourceError::NoRepository { .. } => Some("leave out `--revision` to read the files as they are"),
            SourceError::NoRevision { .. } => {
                Some("`--revision` takes a branch, a tag or a commit that the repository has")
            }
            SourceError::NotUnderstood { .. } | SourceError::TooLarge { .. } | SourceError::Failed { .. } => None,
        };
        Self { hint: hint.map(str::to_owned), ..Self::new(Exit::Failed, error) }
    }
}

impl From<PortError> for Failure {
    fn from(error: PortError) -> Self {
        Self::new(Exit::Failed, error)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(Exit::Refused, error).hint("`streamkeeper schema config` prints what a config may hold")
    }
}
