//! Carrying a plan out, and looking whether dependents follow.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::executor;
use crate::model::{Desired, Live, Outcome, Plan, Reason, Report, StepId};
use crate::planner;
use crate::ports::{PortError, Progress, Target};

use super::failure::Failure;
use super::opener::Opener;
use super::session::Connected;

pub use crate::executor::Patience;

/// A plan that was carried out.
pub struct Executed<'p> {
    /// The plan.
    pub plan: &'p Plan,
    /// What became of each step.
    pub report: Report,
}

/// A plan that was carried out, and whose dependents were looked at.
pub struct Verified<'p> {
    /// The plan.
    pub plan: &'p Plan,
    /// What became of each step, and of each dependent.
    pub report: Report,
}

/// Something that a plan has changed on the target: who applied it before, and what it is now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Applied {
    /// The stream or workload, as it is printed.
    pub name: String,
    /// What was applied.
    pub wanted: String,
    /// The field manager that has changed it before, where it is known.
    pub with: Option<String>,
}

impl<'c, O: Opener, P: Progress> Connected<'c, '_, O, P> {
    /// The target, opened to change it.
    ///
    /// # Errors
    ///
    /// When another process writes to it, or it cannot be opened.
    pub async fn writer(&self) -> Result<O::Writer<'c>, Failure> {
        self.session.opener.writer(self.settings, self.live).await
    }

    /// Carries a plan out; of steps that are `decided` it is known what has become. Cancelling `stop` lets the steps under way end and
    /// starts no others.
    ///
    /// # Errors
    ///
    /// When the journal cannot be written: then nothing was tried, or everything was and only the report is missing.
    pub async fn execute<'p>(
        &self,
        plan: &'p Plan,
        decided: &BTreeMap<StepId, Outcome>,
        target: &impl Target,
        stop: &CancellationToken,
    ) -> Result<Executed<'p>, PortError> {
        let workloads = self.settings.config.policy.workloads.at_once;
        let at_once = workloads.map_or(executor::UPDATES, NonZeroUsize::get);
        let execution = executor::Execution {
            reason: &self.session.reason,
            clock: &Timestamp::now,
            updates_at_once: at_once,
            decided,
            stop,
            progress: self.session.progress,
        };
        let report = execution.execute(plan, target).await?;
        Ok(Executed { plan, report })
    }

    /// Looks whether dependents have their images, until they have or patience ends.
    pub async fn verify<'p>(
        &self,
        executed: Executed<'p>,
        patience: Patience,
        stop: &CancellationToken,
    ) -> Verified<'p> {
        let Executed { plan, mut report } = executed;
        let progress = self.session.progress;
        report.workloads = executor::follow(plan, &report, self.live, patience, Timestamp::now, (stop, progress)).await;
        Verified { plan, report }
    }

    /// A plan without steps, carried out.
    pub fn nothing_to_execute<'p>(&self, plan: &'p Plan) -> Verified<'p> {
        Verified { plan, report: Report::of(plan, (self.session.clock)()) }
    }
}

impl Verified<'_> {
    /// What was changed back to what Git says, and who had changed it.
    pub fn applied(&self, desired: &Desired, live: &Live) -> BTreeSet<Applied> {
        applied(self.plan, &self.report.outcomes, desired, live)
    }
}

fn applied(plan: &Plan, outcomes: &BTreeMap<StepId, Outcome>, desired: &Desired, live: &Live) -> BTreeSet<Applied> {
    let is_done = |id: &StepId| outcomes.get(id).is_some_and(|outcome| *outcome == Outcome::Applied);
    let mut all = BTreeSet::new();
    for step in plan.steps.iter().filter(|step| is_done(&step.id)) {
        let id = step.action.stream();
        // An image that has moved, or is missing, is no conflict.
        if let (Reason::Changed { .. } | Reason::Drifted { .. }, Some(stream)) = (&step.reason, desired.streams.get(id))
        {
            let with = live.streams.get(id).and_then(|live| live.owned.last_writer.clone());
            all.insert(Applied { name: id.to_string(), wanted: stream.content.clone(), with });
        }
    }
    for update in plan.updates.iter().filter(|update| is_done(&update.id)) {
        if let Reason::Drifted { by, .. } = &update.reason {
            let (name, wanted) = (update.workload.to_string(), planner::wanted(&update.images));
            all.insert(Applied { name, wanted, with: by.clone() });
        }
    }
    all
}
