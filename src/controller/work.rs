//! A reconciler as the loop sees it: looks, passes, and what is reported of them.

use std::collections::BTreeMap;
use std::time::Instant;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::model::{Plan, Report, StepId};
use crate::reconcile::Failure;
use crate::source::{chain, inert};

use super::commit_status::{CommitStatus, State};
use super::host::Host;
use super::machine::{Ended, Look, Pass};
use super::open;
use super::reconciler::{Reconciler, SPANS};
use super::run::Work;
use super::status::PassStatus;
use super::summary::{PassResult, word};

impl<H: Host> Reconciler<H> {
    /// What is reported of a pass, and how it goes on.
    fn settle(&self, began: Timestamp, result: Result<PassResult, Failure>) -> (PassStatus, Ended) {
        let result = match result {
            Ok(result) => result,
            Err(failure) => {
                let error = Some(inert(&chain(&*failure.error), 600));
                let status = PassStatus { began, error, ..PassStatus::default() };
                return (status, Ended { again: true, ..Ended::default() });
            }
        };
        let status = result.status(began);
        let (unread, now) = (result.is_unread(), (self.shared.clock)());
        let PassResult { plan, report, due, second, .. } = &result;
        let mut ended = Ended::of(plan, report.as_ref(), unread, *due, now);
        ended.changed |= *second;
        if let Some(report) = report {
            self.count(plan, report);
        }
        self.shared.metrics.streams(self.name(), plan.streams);
        self.shared.board.lane(self.name(), |lane| {
            lane.revision.clone_from(&plan.revision.commit);
            lane.streams = plan.streams;
            lane.target.clone_from(&plan.target);
        });
        (status, ended)
    }

    /// Sends the source's host how far its commit has come, when that is news.
    fn report_commit(&self, status: &PassStatus, is_lasting: bool) {
        let (mut commit, mut streams) = (None, 0);
        self.shared.board.lane(self.name(), |lane| (commit, streams) = (lane.revision.clone(), lane.streams));
        let report = commit.and_then(|commit| CommitStatus::of(self.name(), &commit, streams, status));
        let Ok(mut last) = self.of_commit.lock() else { return };
        let is_news = |report: &CommitStatus| {
            last.as_ref().is_none_or(|last| (&last.commit, last.state) != (&report.commit, report.state))
        };
        // As with notifications: trouble that is over in a moment is none.
        let lasts = |report: &CommitStatus| report.state == State::Success || is_lasting;
        if let Some(report) = report.filter(|report| is_news(report) && lasts(report))
            && self.shared.notifier.tell_of_commit(&self.host.source_url(), report.clone())
        {
            *last = Some(report);
        }
    }

    /// Counts what became of a plan's steps, and how long its commit has waited for that.
    fn count(&self, plan: &Plan, report: &Report) {
        let metrics = &self.shared.metrics;
        let steps = plan.steps.iter().map(|step| (step.id, step.action.kind()));
        let kinds: BTreeMap<StepId, &str> = steps.chain(plan.updates.iter().map(|it| (it.id, "update"))).collect();
        for (id, outcome) in &report.outcomes {
            metrics.step(self.name(), kinds.get(id).copied().unwrap_or("other"), word(outcome));
        }
        let mut before = None;
        self.shared.board.lane(self.name(), |lane| before.clone_from(&lane.revision));
        if let (Some(committed), true) = (plan.revision.committed, before != plan.revision.commit) {
            metrics.applied(self.name(), committed, Timestamp::now());
        }
    }

    /// One line a pass.
    fn log(&self, asked: Pass, milliseconds: u64, status: &PassStatus) {
        let (lane, cause) = (self.name(), asked.cause.to_string());
        match &status.error {
            Some(error) => tracing::error!(lane, cause, milliseconds, error, "pass failed"),
            None => {
                let mut revision = None;
                self.shared.board.lane(lane, |lane| revision.clone_from(&lane.revision));
                let steps: Vec<String> = status.steps.iter().map(|(word, count)| format!("{count} {word}")).collect();
                let (steps, deferred, errors) = (steps.join(", "), status.deferred, status.errors);
                tracing::info!(lane, cause, revision, steps, deferred, errors, milliseconds, "pass");
            }
        }
    }
}

impl<H: Host> Work for Reconciler<H> {
    async fn look(&self) -> Look {
        let host = self.host.clone();
        let asking = tokio::task::spawn_blocking(move || host.ask());
        let asked = match open::wait(asking, open::ASK, &CancellationToken::new()).await {
            Ok(asked) => asked,
            Err(failure) => Err(chain(&*failure.error)),
        };
        let (board, metrics) = (&self.shared.board, &self.shared.metrics);
        let Ok(mut seen) = self.seen.lock() else { return Look::Failed };
        match asked {
            Ok(commit) => {
                board.lane(self.name(), |lane| lane.source_error = None);
                let look = if *seen == commit { Look::Same } else { Look::Moved };
                metrics.looked(self.name(), if look == Look::Same { "same" } else { "moved" });
                *seen = commit;
                look
            }
            Err(error) => {
                let error = inert(&error, 600);
                metrics.looked(self.name(), "failed");
                tracing::warn!(lane = self.name(), error, "the source cannot be asked");
                board.lane(self.name(), |lane| lane.source_error = Some(error));
                Look::Failed
            }
        }
    }

    async fn pass(&self, asked: Pass, stop: CancellationToken) -> Ended {
        let (began, clock) = ((self.shared.clock)(), Instant::now());
        let (board, name) = (&self.shared.board, self.name());
        board.lane(name, |lane| lane.busy = true);
        let hints = self.shared.hints.take(name);
        let span = tracing::info_span!(target: SPANS, "pass", lane = name, cause = %asked.cause, full = asked.full);
        let result = self.try_pass(asked, &stop, &hints).instrument(span).await;
        if result.is_err() {
            // What was not looked at is still to be looked at.
            self.shared.hints.put_back(name, hints);
        }
        let (status, mut ended) = self.settle(began, result);
        let took = clock.elapsed();
        self.shared.metrics.ended(name, asked, took, &status);
        board.ended(name, asked, took, status.clone());
        let now = (self.shared.clock)();
        let mut is_lasting = false;
        if let Ok(mut told) = self.told.lock() {
            told.ended(name, &status, now).into_iter().for_each(|notice| self.shared.notifier.tell(notice));
            is_lasting = told.is_lasting(now);
            // Trouble that lasts is reported when it has, though nothing else happens.
            ended.due = [ended.due, told.next().filter(|_| !ended.again)].into_iter().flatten().min();
        }
        self.report_commit(&status, is_lasting);
        self.log(asked, u64::try_from(took.as_millis()).unwrap_or(u64::MAX), &status);
        ended
    }

    fn waits(&self, until: Option<Timestamp>) {
        self.shared.board.lane(self.name(), |lane| lane.next = until);
    }

    fn queued(&self, since: Option<Timestamp>) {
        self.shared.metrics.waiting(self.name(), since);
        self.shared.board.lane(self.name(), |lane| lane.waiting_since = since);
    }

    fn stands(&self, leads: bool) {
        tracing::info!(lane = self.name(), leads, "standing");
        self.shared.metrics.leads(self.name(), leads);
        self.shared.board.lane(self.name(), |lane| lane.leads = leads);
    }

    fn answered(&self, since: Timestamp) {
        self.shared.metrics.answered(self.name(), since, Timestamp::now());
    }
}
