//! How a session ends before its time: what failed, and what to do next.

use std::error::Error;

use crate::config::ConfigError;
use crate::ports::{PortError, SourceError};

/// What kind of failure it is: each has an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Something did not work.
    Failed,
    /// Definitions are invalid, or a policy is not met.
    Refused,
    /// A saved plan is no longer the plan.
    Stale,
    /// The request makes no sense.
    Usage,
}

/// An error that ends a session.
#[derive(Debug)]
pub struct Failure {
    /// Which kind.
    pub kind: FailureKind,
    /// What failed, with its causes.
    pub error: Box<dyn Error + Send + Sync>,
    /// What to do next.
    pub hint: Option<String>,
}

impl Failure {
    fn new(kind: FailureKind, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind, error: error.into(), hint: None }
    }

    /// Something did not work.
    pub fn failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(FailureKind::Failed, error)
    }

    /// Definitions are invalid, or a policy is not met.
    pub fn refused(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(FailureKind::Refused, error)
    }

    /// A saved plan is no longer the plan.
    pub fn stale(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(FailureKind::Stale, error)
    }

    /// The request makes no sense.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Usage, message.into())
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Whether it is the config that is broken: then the last valid one may serve.
    pub fn is_config(&self) -> bool {
        self.error.is::<ConfigError>()
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        let hint = match &error {
            SourceError::Missing { .. } => Some("name the source with `--source PATH` or `--source URL`"),
            SourceError::NoRepository { .. } => {
                Some("a folder outside of Git has no revisions: leave out the flag that names one")
            }
            SourceError::NoRevision { .. } => {
                Some("name a branch, a tag or a commit that the repository has; a shallow clone lacks older ones")
            }
            SourceError::Ambiguous { .. } => Some("write the full name of the one that is meant"),
            SourceError::NotUnderstood { .. } | SourceError::TooLarge { .. } | SourceError::Failed { .. } => None,
        };
        let hint = hint.map(str::to_owned);
        match error {
            SourceError::Ambiguous { .. } => Self { hint, ..Self::refused(error) },
            error => Self { hint, ..Self::failed(error) },
        }
    }
}

impl From<PortError> for Failure {
    fn from(error: PortError) -> Self {
        Self::failed(error)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::refused(error).hint("`streamkeeper schema config` prints what a config may hold")
    }
}
