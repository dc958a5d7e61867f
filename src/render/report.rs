//! What became of a plan, for a terminal.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::model::{Outcome, Plan, Precondition, Report, Step};
use crate::source::inert;

use super::names::count;
use super::outcomes::{reasons, summary_line};
use super::paint::Paint;
use super::plan::listed;
use super::rolls::followed_text;
use super::table::fold;

/// The steps that did not do what was planned, each with why and what next; then a line that sums up.
pub fn report_text(plan: &Plan, report: &Report, paint: Paint) -> String {
    let mut out = String::new();
    for (why, about) in reasons(plan, report) {
        let _ = writeln!(out, "{}", fold(&why, paint.width, 4));
        let _ = writeln!(out, "    {}", fold(&listed(about), paint.width.map(|width| width.saturating_sub(4)), 6));
    }
    let steps = plan.steps.iter().map(|step| (step.id, subject(step)));
    let updates =
        plan.updates.iter().map(|update| (update.id, format!("update {}", inert(&update.workload.to_string(), 300))));
    let mut groups: BTreeMap<(&str, String), Vec<String>> = BTreeMap::new();
    for (id, subject) in steps.chain(updates) {
        let Some(outcome) = report.outcomes.get(&id) else { continue };
        let (word, why) = match outcome {
            Outcome::Applied | Outcome::AlreadySo => continue,
            Outcome::Diverged { expected, actual } => {
                ("diverged", format!("expected {}, got {}", inert(expected, 120), inert(actual, 120)))
            }
            Outcome::Stale { precondition, actual } => {
                ("stale", format!("{}, but {}", planned_for(precondition), inert(actual, 200)))
            }
            Outcome::Failed { error, again } => {
                let next = if *again { "; run again to try once more" } else { "" };
                ("failed", format!("{}{next}", inert(error, 500)))
            }
            Outcome::Skipped { behind: Some(behind) } => ("skipped", format!("it needs step {behind}")),
            // Said once, below: a run that is stopped early leaves thousands.
            Outcome::Skipped { behind: None } => continue,
        };
        groups.entry((word, why)).or_default().push(format!("{id} {subject}"));
    }
    // Equal reasons are one, with a count.
    for ((word, why), about) in groups {
        let _ = writeln!(out, "{} {}", paint.red(word), fold(&listed(about), paint.width, 4));
        let _ = writeln!(out, "    {}", fold(&why, paint.width.map(|width| width.saturating_sub(4)), 6));
    }
    let stopped = report.count(|outcome| matches!(outcome, Outcome::Skipped { behind: None }));
    if stopped > 0 {
        let steps = count(stopped, "step was", "steps were");
        let _ = writeln!(out, "{} the run was stopped before {steps} begun; run again to go on", paint.red("stopped"));
    }
    followed_text(&mut out, report, paint);
    let _ = writeln!(out, "{}", paint.bold(&report_line(plan, report)));
    out
}

fn subject(step: &Step) -> String {
    use crate::model::Action;
    let stream = inert(&step.action.stream().to_string(), 300);
    match &step.action {
        Action::CreateStream { .. } => format!("create {stream}"),
        Action::UpdateStream { .. } => format!("change {stream}"),
        Action::SetTag { after, .. } => format!("set {stream}:{}", inert(&after.name, 128)),
        Action::Follow { tag, .. } => format!("follow {stream}:{}", inert(tag, 128)),
        Action::Import { images, .. } => format!("import {} into {stream}", count(images.len(), "tag", "tags")),
        Action::DeleteTag { tag, .. } => format!("remove {stream}:{}", inert(tag, 128)),
        Action::DeleteStream { .. } => format!("remove {stream}"),
    }
}

/// What a step was planned for.
pub fn planned_for(precondition: &Precondition) -> String {
    match precondition {
        Precondition::StreamAbsent { .. } => "planned for a stream that was not there".to_owned(),
        Precondition::ResourceVersion { version, .. } => format!("planned for version {}", inert(version, 40)),
        Precondition::WorkloadAt { image, .. } => format!("planned with the image {}", inert(image, 200)),
        Precondition::TagAt { tag, reference: None } => format!("planned with `{tag}` without an image"),
        Precondition::TagAt { tag, reference: Some(image) } => format!("planned with `{tag}` at {}", inert(image, 200)),
    }
}

/// A report in one line.
pub fn report_line(plan: &Plan, report: &Report) -> String {
    let seconds = (report.finished.as_millisecond() - report.started.as_millisecond()).max(0);
    let summary = summary_line(plan, report);
    if report.outcomes.is_empty() {
        return summary;
    }
    format!("{summary} in {}.{} s", seconds / 1000, seconds % 1000 / 100)
}
