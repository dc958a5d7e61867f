//! What became of steps, in the units of a plan: streams, tags, images.

use std::collections::BTreeMap;

use crate::model::{Action, Outcome, Plan, Report, Step};
use crate::source::inert;

use super::names::count;
use super::plan::{block, deferred_names};

/// Numbers of what was done.
#[derive(Default)]
pub(super) struct Counts {
    created: usize,
    changed: usize,
    set: usize,
    imported: usize,
    not_imported: usize,
    copied: usize,
    tags_deleted: usize,
    streams_deleted: usize,
    workloads: usize,
    unchanged: usize,
    stale: usize,
    failed: usize,
    skipped: usize,
}

impl Counts {
    /// Counts an outcome; `done` counts what was done.
    fn add(&mut self, outcome: &Outcome, done: impl FnOnce(&mut Self)) {
        match outcome {
            Outcome::Applied | Outcome::Diverged { .. } => done(self),
            Outcome::AlreadySo => self.unchanged += 1,
            Outcome::Stale { .. } => self.stale += 1,
            Outcome::Failed { .. } => self.failed += 1,
            Outcome::Skipped { .. } => self.skipped += 1,
        }
    }

    /// Counts what was done by a step.
    fn done(&mut self, action: &Action) {
        match action {
            Action::CreateStream { .. } => self.created += 1,
            Action::UpdateStream { .. } => self.changed += 1,
            Action::SetTag { .. } => self.set += 1,
            Action::Import { images, .. } => {
                let failed = action.failed_imports().count();
                self.imported += images.len() - failed;
                self.not_imported += failed;
            }
            Action::Follow { .. } => self.copied += 1,
            Action::DeleteTag { .. } => self.tags_deleted += 1,
            Action::DeleteStream { .. } => self.streams_deleted += 1,
        }
    }

    fn text(&self) -> Vec<String> {
        let all = [
            (self.created, "stream created", "streams created"),
            (self.changed, "stream updated", "streams updated"),
            (self.set, "tag updated", "tags updated"),
            (self.imported, "image imported", "images imported"),
            (self.copied, "tag copied", "tags copied"),
            (self.tags_deleted, "tag deleted", "tags deleted"),
            (self.streams_deleted, "stream deleted", "streams deleted"),
            (self.workloads, "workload updated", "workloads updated"),
            (self.unchanged, "step unchanged", "steps unchanged"),
            (self.not_imported, "import failed", "imports failed"),
            (self.failed, "step failed", "steps failed"),
            (self.stale, "step stale", "steps stale"),
            (self.skipped, "step skipped", "steps skipped"),
        ];
        all.into_iter().filter(|(number, ..)| *number > 0).map(|(number, one, many)| count(number, one, many)).collect()
    }
}

/// What became of the steps on one stream, on a line.
pub fn stream_line(steps: &[(&Step, Outcome)]) -> String {
    let mut counts = Counts::default();
    steps.iter().for_each(|(step, outcome)| counts.add(outcome, |it| it.done(&step.action)));
    let stream = steps.first().map_or(String::new(), |(step, _)| inert(&step.action.stream().to_string(), 300));
    format!("{stream}: {}", counts.text().join(", "))
}

/// What became of a plan, in numbers: what was done, and what was not.
pub fn summary_line(plan: &Plan, report: &Report) -> String {
    let mut counts = Counts::default();
    for step in &plan.steps {
        if let Some(outcome) = report.outcomes.get(&step.id) {
            counts.add(outcome, |it| it.done(&step.action));
        }
    }
    for update in &plan.updates {
        if let Some(outcome) = report.outcomes.get(&update.id) {
            counts.add(outcome, |it| it.workloads += 1);
        }
    }
    let mut parts = counts.text();
    parts.extend(super::plan::blocked_counts(plan).into_iter().map(|part| format!("{part} blocked")));
    if parts.is_empty() { "nothing to do".to_owned() } else { parts.join(", ") }
}

/// Why something was not done: equal reasons once, each with what it is about.
pub(super) fn reasons(plan: &Plan, report: &Report) -> Vec<(String, Vec<String>)> {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for step in plan.steps.iter().filter(|step| report.outcomes.get(&step.id).is_some_and(Outcome::is_success)) {
        for (item, failure) in step.action.failed_imports() {
            let (code, message) = failure.cause(&item.from);
            // The reference stands with its tag.
            let message = message.split(": `").next().unwrap_or_default();
            let about = format!("{}:{} ({})", step.action.stream(), item.tag, item.from);
            groups.entry(format!("{}[{code}] {message}", code.severity())).or_default().push(inert(&about, 400));
        }
    }
    for deferred in plan.blocked() {
        groups.entry(format!("blocked: {}", block(plan, deferred))).or_default().extend(deferred_names(&[deferred]));
    }
    groups.into_iter().collect()
}
