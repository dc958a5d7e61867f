//! Nothing is written by who does not lead.

use jiff::Timestamp;
use tokio::sync::watch;

use crate::model::{Plan, Report, Update};
use crate::ports::{Command, Performed, PortError, Target};

/// A target that is written only as long as this process leads: asked before every step, since what a pass waits for may last
/// longer than a Lease.
pub struct Guarded<'a, T> {
    /// The target.
    pub target: &'a T,
    /// Whether this process leads now.
    pub leads: &'a watch::Receiver<bool>,
}

impl<T> Guarded<'_, T> {
    fn check(&self) -> Result<(), PortError> {
        if *self.leads.borrow() {
            return Ok(());
        }
        let why = "another process may be writing to it: this one does not hold its lock or Lease any more".to_owned();
        Err(PortError::Unusable { what: "the target".to_owned(), why })
    }
}

impl<T: Target> Target for Guarded<'_, T> {
    async fn perform(&self, command: Command<'_>) -> Result<Performed, PortError> {
        self.check()?;
        self.target.perform(command).await
    }

    async fn update(&self, update: &Update) -> Result<Performed, PortError> {
        self.check()?;
        self.target.update(update).await
    }

    async fn begin(&self, plan: &Plan, now: Timestamp) -> Result<i64, PortError> {
        self.check()?;
        self.target.begin(plan, now).await
    }

    async fn finish(&self, run: i64, report: &Report) -> Result<(), PortError> {
        self.target.finish(run, report).await
    }
}
