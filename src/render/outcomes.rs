//! What became of steps, in the units of a plan: streams, tags, images.

use std::collections::BTreeMap;

use crate::model::{Action, ImportResult, Outcome, Plan, Report, Step};
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
    fn add(&mut self, action: &Action, outcome: &Outcome) {
        match outcome {
            // An import that writes down a failure is one, also the second time.
            Outcome::Applied | Outcome::Diverged { .. } => {}
            Outcome::AlreadySo => {
                self.unchanged += 1;
                return;
            }
            Outcome::Stale { .. } => {
                self.stale += 1;
                return;
            }
            Outcome::Failed { .. } => {
                self.failed += 1;
                return;
            }
            Outcome::Skipped { .. } => {
                self.skipped += 1;
                return;
            }
        }
        match action {
            Action::CreateStream { .. } => self.created += 1,
            Action::UpdateStream { .. } => self.changed += 1,
            Action::SetTag { .. } => self.set += 1,
            Action::Import { images, .. } => {
                let failed = images.iter().filter(|item| matches!(item.result, ImportResult::Failure(_))).count();
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
    steps.iter().for_each(|(step, outcome)| counts.add(&step.action, outcome));
    let stream = steps.first().map_or(String::new(), |(step, _)| inert(&step.action.stream().to_string(), 300));
    format!("{stream}: {}", counts.text().join(", "))
}

/// What became of a plan, in numbers: what was done, and what was not.
pub fn summary_line(plan: &Plan, report: &Report) -> String {
    let mut counts = Counts::default();
    for step in &plan.steps {
        if let Some(outcome) = report.outcomes.get(&step.id) {
            counts.add(&step.action, outcome);
        }
    }
    for update in &plan.updates {
        match report.outcomes.get(&update.id) {
            Some(Outcome::Applied | Outcome::Diverged { .. }) => counts.workloads += 1,
            Some(Outcome::AlreadySo) => counts.unchanged += 1,
            Some(Outcome::Stale { .. }) => counts.stale += 1,
            Some(Outcome::Failed { .. }) => counts.failed += 1,
            Some(Outcome::Skipped { .. }) => counts.skipped += 1,
            None => {}
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
        let Action::Import { stream, images, .. } = &step.action else { continue };
        for item in images {
            let ImportResult::Failure(failure) = &item.result else { continue };
            let (code, message) = failure.cause(&item.from);
            // The reference stands with its tag.
            let message = message.split(": `").next().unwrap_or_default();
            let about = format!("{}:{} ({})", stream, item.tag, item.from);
            groups.entry(format!("{}[{code}] {message}", code.severity())).or_default().push(inert(&about, 400));
        }
    }
    for deferred in plan.blocked() {
        groups.entry(format!("blocked: {}", block(plan, deferred))).or_default().extend(deferred_names(&[deferred]));
    }
    groups.into_iter().collect()
}
