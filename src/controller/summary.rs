//! What plans and reports come to, in what is reported of a pass.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::model::{Action, Deferred, Desired, ImportItem, ImportResult, Outcome, PassState, Plan, Report};
use crate::render;
use crate::source::inert;

use super::hints::names;
use super::status::{LINES, PassStatus};

/// What a pass has found and done.
pub(super) struct PassResult {
    pub(super) desired: Desired,
    pub(super) plan: Plan,
    pub(super) report: Option<Report>,
    /// Findings that are errors.
    pub(super) errors: usize,
    pub(super) due: Option<Timestamp>,
    /// Something is gone: a second look has to find the same.
    pub(super) second: bool,
    /// Why it is not the newest config that counted.
    pub(super) broken: Option<String>,
}

impl PassResult {
    /// What is reported of the pass.
    pub(super) fn status(&self, began: Timestamp) -> PassStatus {
        let Self { plan, report, errors, broken, .. } = self;
        let mut status = PassStatus { began, errors: *errors, config_error: broken.clone(), ..PassStatus::default() };
        let blocked = || plan.deferred.iter().filter(|deferred| !deferred.wait.is_note());
        let line = |it: &Deferred| format!("{}: {}", inert(&it.stream.to_string(), 300), render::wait(&it.wait));
        status.deferred = blocked().count();
        status.waits = blocked().take(LINES).map(line).collect();
        for reason in plan.steps.iter().flat_map(|step| refused(&step.action)) {
            *status.failed_imports.entry(reason.to_owned()).or_default() += 1;
        }
        if report.is_none() && !plan.is_empty() {
            status.steps.insert("skipped".to_owned(), plan.steps.len() + plan.updates.len());
        }
        for outcome in report.iter().flat_map(|report| report.outcomes.values()) {
            *status.steps.entry(word(outcome).to_owned()).or_default() += 1;
            let why = match outcome {
                Outcome::Failed { error, .. } => Some(error),
                Outcome::Stale { actual, .. } => Some(actual),
                Outcome::Applied | Outcome::AlreadySo | Outcome::Diverged { .. } | Outcome::Skipped { .. } => None,
            };
            if status.failures.len() < LINES {
                status.failures.extend(why.map(|why| inert(why, 600)));
            }
        }
        status
    }

    /// Whether some of the source could not be read, for a reason other than its findings.
    pub(super) fn is_unread(&self) -> bool {
        !self.desired.incomplete.is_empty() && self.errors == 0
    }
}

/// Tags of repositories that something was pushed to are asked for although they are not due.
pub(super) fn pushed(state: &mut PassState, desired: &Desired, hints: &BTreeSet<String>) {
    if hints.is_empty() {
        return;
    }
    let mut asked = BTreeSet::new();
    for (id, stream) in &desired.streams {
        for tag in stream.tags.values() {
            let repository =
                tag.question(&id.namespace).map(|question| question.reference.with_defaults().repository());
            if repository.is_some_and(|repository| hints.iter().any(|hint| names(hint, &repository))) {
                asked.insert((id.clone(), tag.reference.name.clone()));
            }
        }
    }
    state.pushed = asked;
}

/// Why registries refuse the images of a step, in words of a closed list.
fn refused(action: &Action) -> Vec<&'static str> {
    let Action::Import { images, .. } = action else { return Vec::new() };
    let reason = |item: &ImportItem| match &item.result {
        ImportResult::Image { .. } => None,
        ImportResult::Failure(failure) => Some(match failure.reason.as_str() {
            "NotFound" => "NotFound",
            "Unauthorized" => "Unauthorized",
            "Forbidden" => "Forbidden",
            _ => "Other",
        }),
    };
    images.iter().filter_map(reason).collect()
}

/// What became of a step, in a word.
pub(super) fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Applied => "applied",
        Outcome::AlreadySo => "alreadySo",
        Outcome::Diverged { .. } => "diverged",
        Outcome::Stale { .. } => "stale",
        Outcome::Failed { .. } => "failed",
        Outcome::Skipped { .. } => "skipped",
    }
}
