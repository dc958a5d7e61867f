//! What is written to a target.

use jiff::Timestamp;

use crate::model::{Action, Plan, Precondition, Report, Revision, StepId, Update};

use super::PortError;

/// A target, to change.
pub trait Target: Sync {
    /// Does one step, or says why not. When it returns, what it says is durable.
    ///
    /// # Errors
    ///
    /// When the step could not be done; the target is then as before.
    fn perform(&self, command: Command<'_>) -> impl Future<Output = Result<Performed, PortError>> + Send;

    /// Gives a workload its images, or says why not.
    ///
    /// # Errors
    ///
    /// When it could not be done; the workload is then as before.
    fn update(&self, update: &Update) -> impl Future<Output = Result<Performed, PortError>> + Send {
        let message = format!("this target has no workloads, such as {}", update.workload);
        async { Ok(Performed::Refused { message }) }
    }

    /// Writes down what will be tried, before it is. Gives the number of the run.
    ///
    /// # Errors
    ///
    /// When it cannot be written: then nothing may be tried.
    fn begin(&self, plan: &Plan, now: Timestamp) -> impl Future<Output = Result<i64, PortError>> + Send;

    /// Writes down what became of it.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    fn finish(&self, run: i64, report: &Report) -> impl Future<Output = Result<(), PortError>> + Send;
}

/// One step, as a request.
#[derive(Clone, Debug)]
pub struct Command<'a> {
    /// What to do.
    pub action: &'a Action,
    /// What must be so, checked together with the write.
    pub requires: Vec<Precondition>,
    /// On whose behalf.
    pub provenance: Provenance<'a>,
    /// The time it is written with.
    pub now: Timestamp,
}

/// On whose behalf something is written: what `history` shows.
#[derive(Clone, Copy, Debug)]
pub struct Provenance<'a> {
    /// The run.
    pub run: i64,
    /// The step.
    pub step: StepId,
    /// The definitions.
    pub revision: &'a Revision,
    /// File of the definition; empty where it is gone.
    pub path: &'a str,
    /// Why, in a few words.
    pub reason: &'a str,
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Performed {
    /// Done, and durable. The stream is now at this version, or gone.
    Applied {
        /// Precondition for a next step on the same stream; none when it is gone.
        now: Option<Precondition>,
    },
    /// It was so already.
    AlreadySo {
        /// Likewise; none as well when it is not this plan that made it so, and nothing can be relied on.
        now: Option<Precondition>,
    },
    /// Done, with another image than planned: the target looked it up itself.
    Diverged {
        /// The image of the plan.
        expected: String,
        /// The image there is.
        actual: String,
        /// As for a step that was done.
        now: Option<Precondition>,
    },
    /// Not done: something it relies on is no longer so.
    Stale {
        /// What.
        precondition: Precondition,
        /// What is so instead.
        actual: String,
    },
    /// Not done: the target's rules refuse it.
    Refused {
        /// In the target's words.
        message: String,
    },
}
