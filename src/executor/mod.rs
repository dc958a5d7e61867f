//! Carrying a plan out.
//!
//! Walks the steps in the order of their dependencies, checks what each relies on, makes one request a step and records
//! what became of it; [`follow`] then looks whether dependents have their images. Decides nothing: it never looks at a reason.
//! May name `model`, `openshift`, `ports` and `rules`.
//! Tests: `tests/it/properties.rs` (interrupted after any step), `tests/it/crash.rs`.

mod follow;

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::model::{Outcome, Plan, Precondition, Report, Step, StepId, Update};
use crate::openshift::StreamId;
use crate::ports::{Command, Performed, PortError, Progress, Provenance, Target};

pub use follow::{Patience, follow};

/// Steps under way at once, never two on one stream.
const CONCURRENCY: usize = 64;

/// Workloads written at once, when nobody says how many.
pub const UPDATES: usize = 16;

/// What became of something that was tried.
fn outcome(result: Result<Performed, PortError>) -> Outcome {
    match result {
        Ok(Performed::Applied { .. }) => Outcome::Applied,
        Ok(Performed::AlreadySo { .. }) => Outcome::AlreadySo,
        Ok(Performed::Diverged { expected, actual, .. }) => Outcome::Diverged { expected, actual },
        Ok(Performed::Stale { precondition, actual }) => Outcome::Stale { precondition, actual },
        Ok(Performed::Refused { message }) => Outcome::Failed { error: message, again: false },
        Err(error) => Outcome::Failed { error: error.chain(), again: true },
    }
}

/// How plans are carried out.
pub struct Execution<'a, F, C, P> {
    /// The reason of a step in words, for the journal.
    pub reason: &'a F,
    /// The clock.
    pub clock: &'a C,
    /// Workloads written at once.
    pub updates_at_once: usize,
    /// What is known to have become of steps and updates already: they are not tried.
    pub decided: &'a BTreeMap<StepId, Outcome>,
    /// Cancelled, it lets the steps under way end and starts no others.
    pub stop: &'a CancellationToken,
    /// Hears how far it has come.
    pub progress: &'a P,
}

impl<F: Fn(&Step) -> String, C: Fn() -> Timestamp, P: Progress> Execution<'_, F, C, P> {
    /// Carries a plan out. Cancelling `stop` lets the steps under way end and starts no others.
    ///
    /// # Errors
    ///
    /// When the journal cannot be written: then nothing was tried, or everything was and only the report is missing.
    pub async fn execute(&self, plan: &Plan, target: &impl Target) -> Result<Report, PortError> {
        let Self { reason, clock, updates_at_once, decided, stop, progress } = self;
        let started = clock();
        let run = target.begin(plan, started).await?;
        progress.begin("applying", plan.steps.len() + plan.updates.len());
        let mut walk = Walk::new(plan, decided);
        let mut under_way = FuturesUnordered::new();
        loop {
            while under_way.len() < CONCURRENCY && !stop.is_cancelled() {
                let next = walk.next();
                walk.ended(*progress);
                let Some(step) = next else { break };
                let requires = walk.requires(step);
                let reason = reason(step);
                // Image streams keep time to the second.
                let now = Timestamp::from_second(clock().as_second()).unwrap_or_default();
                under_way.push(async move {
                    let path = step.origin.as_ref().map_or("", |origin| &origin.path);
                    let provenance = Provenance { run, step: step.id, revision: &plan.revision, path, reason: &reason };
                    let command = Command { action: &step.action, requires, provenance, now };
                    (step, target.perform(command).await)
                });
            }
            let Some((step, result)) = under_way.next().await else { break };
            progress.advance(1);
            walk.record(step, result);
            walk.ended(*progress);
        }
        let mut outcomes = walk.outcomes();
        let behind = |update: &Update| {
            update.after.iter().find(|step| !outcomes.get(step).is_some_and(Outcome::is_success)).copied()
        };
        let updates = plan.updates.iter().map(|update| (update, behind(update)));
        let tries: Vec<_> = updates
            .map(|(update, behind)| async move {
                let outcome = match behind {
                    _ if decided.contains_key(&update.id) => decided[&update.id].clone(),
                    Some(behind) => Outcome::Skipped { behind: Some(behind) },
                    None if stop.is_cancelled() => Outcome::Skipped { behind: None },
                    None => outcome(target.update(update).await),
                };
                progress.advance(1);
                (update.id, outcome)
            })
            .collect();
        let results: Vec<(StepId, Outcome)> =
            futures::stream::iter(tries).buffer_unordered((*updates_at_once).max(1)).collect().await;
        outcomes.extend(results);
        progress.end();
        let report = Report { started, outcomes, ..Report::of(plan, clock()) };
        target.finish(run, &report).await?;
        Ok(report)
    }
}

/// Which steps are done, ready, waiting.
struct Walk<'a> {
    waiting: BTreeMap<StepId, &'a Step>,
    decided: &'a BTreeMap<StepId, Outcome>,
    /// Streams that a step is under way on.
    busy: BTreeSet<&'a StreamId>,
    outcomes: BTreeMap<StepId, Outcome>,
    /// How each stream was left by its last step.
    left: BTreeMap<&'a StreamId, Option<Precondition>>,
    /// Steps that take nothing away and are not done: removals wait for them.
    gentle: usize,
    /// The first such step that did not succeed: then nothing is removed.
    failed: Option<StepId>,
    /// What the first step on each stream relies on.
    first: BTreeMap<&'a StreamId, &'a [Precondition]>,
    /// The steps on each stream, until all of them have ended.
    streams: BTreeMap<&'a StreamId, Vec<&'a Step>>,
    /// Streams on which a step has ended since it was last looked.
    touched: BTreeSet<&'a StreamId>,
}

impl<'a> Walk<'a> {
    fn new(plan: &'a Plan, decided: &'a BTreeMap<StepId, Outcome>) -> Self {
        let mut streams: BTreeMap<&StreamId, Vec<&Step>> = BTreeMap::new();
        for step in &plan.steps {
            streams.entry(step.action.stream()).or_default().push(step);
        }
        Self {
            decided,
            streams,
            touched: BTreeSet::new(),
            waiting: plan.steps.iter().map(|step| (step.id, step)).collect(),
            busy: BTreeSet::new(),
            outcomes: BTreeMap::new(),
            left: BTreeMap::new(),
            gentle: plan.steps.iter().filter(|step| !step.action.is_removal()).count(),
            failed: None,
            first: plan.steps.iter().rev().map(|step| (step.action.stream(), &*step.requires)).collect(),
        }
    }

    /// The next step that can be done. Steps behind one that failed are skipped on the way.
    fn next(&mut self) -> Option<&'a Step> {
        loop {
            let ready = self.waiting.values().copied().find(|step| {
                let done = step.after.iter().all(|before| self.outcomes.contains_key(before));
                done && !self.busy.contains(step.action.stream()) && (self.gentle == 0 || !step.action.is_removal())
            })?;
            self.waiting.remove(&ready.id);
            if let Some(outcome) = self.decided.get(&ready.id) {
                // What follows on the stream relies on what this one did.
                self.left.entry(ready.action.stream()).or_insert(None);
                self.settle(ready, outcome.clone());
                continue;
            }
            let failed = ready.after.iter().find(|before| !self.outcomes.get(before).is_some_and(Outcome::is_success));
            // What was to take the place of what goes may not be there.
            let failed = failed.copied().or(self.failed.filter(|_| ready.action.is_removal()));
            match failed {
                Some(behind) => self.settle(ready, Outcome::Skipped { behind: Some(behind) }),
                None => {
                    self.busy.insert(ready.action.stream());
                    return Some(ready);
                }
            }
        }
    }

    /// What the step relies on: for a stream that this plan has already written, how it left it. One that was so already
    /// without this plan's doing is still to be as the plan saw it.
    fn requires(&self, step: &Step) -> Vec<Precondition> {
        let mut requires = step.requires.clone();
        match self.left.get(step.action.stream()) {
            Some(Some(left)) => requires.push(left.clone()),
            Some(None) => {
                requires.extend(self.first.get(step.action.stream()).copied().unwrap_or_default().iter().cloned())
            }
            None => {}
        }
        requires
    }

    fn record(&mut self, step: &'a Step, result: Result<Performed, PortError>) {
        let stream = step.action.stream();
        self.busy.remove(stream);
        if let Ok(Performed::Applied { now } | Performed::AlreadySo { now } | Performed::Diverged { now, .. }) = &result
        {
            self.left.insert(stream, now.clone());
        }
        let outcome = outcome(result);
        self.settle(step, outcome);
    }

    /// Reports each stream whose last step has ended.
    fn ended(&mut self, progress: &impl Progress) {
        for stream in std::mem::take(&mut self.touched) {
            let Some(steps) = self.streams.get(stream) else { continue };
            let ended: Vec<(&Step, Outcome)> =
                steps.iter().filter_map(|step| Some((*step, self.outcomes.get(&step.id)?.clone()))).collect();
            if ended.len() == steps.len() {
                progress.stream_ended(&ended);
                self.streams.remove(stream);
            }
        }
    }

    fn settle(&mut self, step: &'a Step, outcome: Outcome) {
        self.touched.insert(step.action.stream());
        if !step.action.is_removal() {
            self.gentle -= 1;
            if !outcome.is_success() {
                self.failed.get_or_insert(step.id);
            }
        }
        self.outcomes.insert(step.id, outcome);
    }

    /// All outcomes; what was never begun was skipped.
    fn outcomes(self) -> BTreeMap<StepId, Outcome> {
        let mut outcomes = self.outcomes;
        for id in self.waiting.into_keys() {
            outcomes.insert(id, Outcome::Skipped { behind: None });
        }
        outcomes
    }
}
