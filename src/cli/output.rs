//! What several commands print.

use serde::Serialize;

use crate::findings::{Diagnostic, Severity};
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

/// A plan in a format. `findings`: what is wrong with its definitions, for the formats that others read. From `fail_on` on, a risk fails.
pub(super) fn plan(
    plan: &Plan,
    findings: &[Diagnostic],
    (format, fail_on): (PlanFormat, Option<Severity>),
    console: &Console,
) -> Result<String, Failure> {
    let least = fail_on.unwrap_or(Severity::Error).min(Severity::Error);
    let reported = || {
        let of_definitions = findings.iter().filter(|finding| finding.severity > Severity::Info).cloned();
        let mut all = render::reported_findings(&of_definitions.collect::<Vec<_>>());
        all.extend(render::reported(plan));
        all
    };
    Ok(match format {
        PlanFormat::Text => render::plan_text(plan, console.out_paint()),
        PlanFormat::Markdown => render::plan_markdown(plan, findings),
        PlanFormat::Mermaid => render::rolls_mermaid(plan),
        PlanFormat::Json => pretty(plan)?,
        PlanFormat::Github => render::reported_github(&reported()),
        PlanFormat::Gitlab => pretty(&render::reported_gitlab(&reported()))?,
        PlanFormat::Sarif => pretty(&render::reported_sarif(&reported(), TOOL))?,
        PlanFormat::Junit => render::plan_junit(plan, &reported(), least),
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
        ReportFormat::Text if plan.is_in_sync() => {}
        ReportFormat::Text => console.out(&render::report_text(plan, report, console.out_paint())),
    }
    Ok(())
}

/// Whether a plan has a risk that is at least so severe.
pub(super) fn fail_on(plan: &Plan, least: Option<Severity>, console: &Console) -> Exit {
    let Some(least) = least else { return Exit::Done };
    let risks = plan.review.iter().flat_map(|review| &review.risks);
    let refused: Vec<_> = risks.filter(|risk| risk.severity >= least).collect();
    let Some(first) = refused.first() else { return Exit::Done };
    let more = if refused.len() > 1 { format!(" and {} more", refused.len() - 1) } else { String::new() };
    console.because(&format!("`--fail-on {least}`: {} {}: {}{more}", first.rule, first.about, first.message));
    Exit::Refused
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

/// Whether what is wrong with the definitions refuses what was asked for; then that is why it ends as it does.
pub(super) fn stops(read: &ReadSource, strict: bool, console: &Console) -> bool {
    let stops = read.stops(strict);
    if stops {
        let least = if strict { Severity::Warning } else { Severity::Error };
        let mut all = read.assembled.findings.iter().filter(|finding| finding.severity >= least);
        let first = all
            .next()
            .map_or(String::new(), |first| format!("{}:{}: {}", first.place.path, first.place.line, first.message));
        let more = all.count();
        let more = if more > 0 { format!(" and {more} more findings") } else { String::new() };
        console.because(&format!("{first}{more}"));
    }
    stops
}

/// Says what it took to ask registries, if anything.
pub(super) fn tally(tally: &crate::model::Tally, console: &Console) {
    if tally.requests > 0 || tally.refused > 0 {
        console.say(&render::tally(tally));
    }
}
