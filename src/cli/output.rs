//! What several commands print.

use serde::Serialize;

use crate::findings::Severity;
use crate::model::{Plan, Report};
use crate::ports::Source;
use crate::reconcile::{ReadSource, Settings};
use crate::render;

use super::args::{PlanFormat, ReportFormat};
use super::console::Console;
use super::failure::{Exit, Failure};
use super::lines::Files;
use super::process::TOOL;

/// Pretty JSON with a line break at its end.
pub(super) fn pretty(value: &impl Serialize) -> Result<String, Failure> {
    Ok(serde_json::to_string_pretty(value).map_err(Failure::failed)? + "\n")
}

/// YAML.
pub(super) fn yaml(value: &impl Serialize) -> Result<String, Failure> {
    serde_saphyr::to_string(value).map_err(Failure::failed)
}

/// A plan in a format.
pub(super) fn plan(plan: &Plan, format: PlanFormat, console: &Console) -> Result<String, Failure> {
    Ok(match format {
        PlanFormat::Text => render::plan_text(plan, console.out_paint()),
        PlanFormat::Markdown => render::plan_markdown(plan),
        PlanFormat::Mermaid => render::rolls_mermaid(plan),
        PlanFormat::Json => pretty(plan)?,
        PlanFormat::Github => render::reported_github(&render::reported(plan)),
        PlanFormat::Gitlab => pretty(&render::reported_gitlab(&render::reported(plan)))?,
        PlanFormat::Sarif => pretty(&render::reported_sarif(&render::reported(plan), TOOL))?,
        PlanFormat::Junit => render::plan_junit(plan),
    })
}

/// Shows a plan that is about to be carried out; of one without steps, only what waits where the report is for a program.
pub(super) fn show(plan: &Plan, format: ReportFormat, console: &Console) {
    if !plan.is_empty() || format == ReportFormat::Text || !plan.deferred.is_empty() {
        console.say(render::plan_text(plan, console.err_paint()).trim_end());
    }
}

/// Prints a report.
pub(super) fn report(plan: &Plan, report: &Report, format: ReportFormat, console: &Console) -> Result<(), Failure> {
    match format {
        ReportFormat::Json => console.out(&pretty(report)?),
        ReportFormat::Text if plan.is_empty() => {}
        ReportFormat::Text => console.out(&render::report_text(plan, report, console.out_paint())),
    }
    Ok(())
}

/// Whether a plan has a risk that is at least so severe.
pub(super) fn fail_on(plan: &Plan, least: Option<Severity>) -> Exit {
    let worst = plan.review.iter().flat_map(|review| &review.risks).map(|risk| risk.severity).max();
    if least.is_some_and(|least| worst >= Some(least)) { Exit::Refused } else { Exit::Done }
}

/// Shows what is wrong with the definitions of a plan. With `--strict` that may be the end.
pub(super) fn findings(
    source: &dyn Source,
    settings: &Settings,
    read: &ReadSource,
    console: &Console,
) -> Result<(), Failure> {
    let findings = &read.assembled.findings;
    let mut lines = Files::new(source, &read.entries, settings.limits().file_bytes);
    // Notes are for `validate`: a plan is read for what changes.
    let worth: Vec<_> = findings.iter().filter(|finding| finding.severity > Severity::Info).cloned().collect();
    let text = render::findings_text(&worth, &mut lines, console.err_paint());
    if !text.is_empty() {
        console.say(text.trim_end_matches('\n'));
    }
    if settings.options.strict && read.stops(true) {
        return Err(Failure::refused(render::strict_refusal(findings, read.assembled.found, read.assembled.waived)));
    }
    Ok(())
}

/// Says that a source defines no stream, if so.
pub(super) fn nothing_defined(read: &ReadSource, console: &Console) {
    if read.assembled.found.0 == 0 {
        console.say(&format!("no ImageStream is defined in {}", read.assembled.desired.revision.source));
    }
}

/// Says what it took to ask registries, if anything.
pub(super) fn tally(tally: &crate::model::Tally, console: &Console) {
    if tally.requests > 0 || tally.refused > 0 {
        console.say(&render::tally(tally));
    }
}
