//! What plans and reports come to, in what a lane says of them.

use std::collections::BTreeSet;

use crate::daemon;
use crate::model::{
    Action, Desired, ImportItem, ImportResult, Live as Known, Outcome, Plan, Policy, Reason, Report, StepId,
};
use crate::planner;
use crate::text::{Diagnostic, Severity};

/// What a plan has made what it should be: its name, what was wanted, and who else has written it last.
pub(super) fn written(
    desired: &Desired,
    plan: &Plan,
    live: &Known,
    report: &Report,
) -> BTreeSet<(String, String, Option<String>)> {
    let is_done = |id: &StepId| report.outcomes.get(id).is_some_and(|outcome| *outcome == Outcome::Applied);
    let mut all = BTreeSet::new();
    for step in plan.steps.iter().filter(|step| is_done(&step.id)) {
        // An image that has moved, or is missing, is nobody's change.
        if let (Reason::Changed { .. } | Reason::Drifted { .. }, Some(stream)) =
            (&step.reason, desired.streams.get(step.action.stream()))
        {
            let with = live.streams.get(step.action.stream()).and_then(|live| live.owned.last_writer.clone());
            all.insert((step.action.stream().to_string(), stream.content.clone(), with));
        }
    }
    for update in plan.updates.iter().filter(|update| is_done(&update.id)) {
        if let Reason::Drifted { by, .. } = &update.reason {
            all.insert((update.workload.to_string(), planner::wanted(&update.images), by.clone()));
        }
    }
    all
}

/// Tags that follow upstream, of repositories that something was pushed to, are asked for although they are not due.
pub(super) fn pushed(policy: &mut Policy, desired: &Desired, hints: &BTreeSet<String>) {
    if hints.is_empty() {
        return;
    }
    let mut asked = BTreeSet::new();
    for (id, stream) in &desired.streams {
        for tag in stream.tags.values() {
            let repository = tag.question().map(|question| question.reference.with_defaults().repository());
            if repository.is_some_and(|repository| hints.iter().any(|hint| daemon::names(hint, &repository))) {
                asked.insert((id.clone(), tag.reference.name.clone()));
            }
        }
    }
    policy.pushed = asked;
}

pub(super) fn count_errors(findings: &[Diagnostic]) -> usize {
    findings.iter().filter(|finding| finding.severity == Severity::Error).count()
}

/// Why registries refuse the images of a step, in words of a closed list.
pub(super) fn refused(action: &Action) -> Vec<&'static str> {
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
