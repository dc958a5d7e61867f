//! A plan as Markdown, for a comment on a pull request.
//!
//! Whatever comes from outside stands in a code span, on one line, and nowhere else: there it mentions nobody, links to nothing,
//! loads nothing and commands nothing, on GitHub, GitLab, Gitea and Forgejo alike. (A backslash or an entity would not do: they are
//! undone before mentions are looked for.)

use std::fmt::Write;

use crate::findings::{Diagnostic, Severity};
use crate::model::{Action, Difference, ImageChange, Move, Plan, Review};
use crate::source::inert;

use super::names::{count, image, reason, wait};
use super::plan::plan_counts;
use super::review::installed;
use super::rolls::roll_cells;

/// Comments on GitHub hold 65,536 characters; what is left over is for whoever puts the plan into a frame of their own.
const LIMIT: usize = 60_000;
/// By its first line a comment of ours is found again, to be edited in place.
const MARKER: &str = "<!-- streamkeeper:plan -->";
/// Rows of a table that are shown as rows, however much room there is: who wants all of them has the plan.
const ROWS: usize = 400;

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Detail {
    /// Numbers alone.
    Counts,
    /// Rows of what is risky and of images; the rest as numbers.
    Risks,
    /// Rows, without what differs in each image.
    Rows,
    /// What differs in each image, without layers.
    Differences,
    /// All of it.
    All,
}

/// A plan as tables. What does not fit into a comment is told by numbers instead, table by table; no row is cut.
pub fn plan_markdown(plan: &Plan, findings: &[Diagnostic]) -> String {
    for detail in [Detail::All, Detail::Differences, Detail::Rows, Detail::Risks] {
        let out = at(plan, findings, detail);
        if out.chars().count() <= LIMIT {
            return out;
        }
    }
    at(plan, findings, Detail::Counts)
}

fn at(plan: &Plan, findings: &[Diagnostic], detail: Detail) -> String {
    let review = plan.review.as_deref();
    let mut out = format!("{MARKER}\n\n### Streamkeeper: {}\n\n", plan_counts(plan));
    let commit = plan.revision.short_commit().map_or("none".to_owned(), code);
    let _ = write!(out, "Plan {}, commit {commit}", code(&plan.id()));
    if let Some(base) = review.and_then(|review| review.base.as_ref()) {
        let _ = write!(out, ", since {}", code(base.short_commit().unwrap_or("none")));
    }
    out.push_str("\n\n");
    wrong(&mut out, findings, detail);
    if let Some(review) = review {
        risks(&mut out, review, detail);
        images(&mut out, review, detail);
        definitions(&mut out, review, detail);
    }
    steps(&mut out, plan, detail);
    workloads(&mut out, plan, detail);
    waiting(&mut out, plan, detail);
    out
}

/// What is wrong with the definitions.
fn wrong(out: &mut String, findings: &[Diagnostic], detail: Detail) {
    let rows = findings.iter().filter(|finding| finding.severity > Severity::Info).map(|finding| {
        let place = code(&format!("{}:{}", finding.place.path, finding.place.line));
        format!("| {} | {} | {} | {place} |\n", code(finding.code.id()), word(finding.severity), code(&finding.message))
    });
    let head = "| Rule | Severity | Finding | Where |\n| --- | --- | --- | --- |\n";
    table(out, "Findings", ("finding", "findings"), head, rows.collect(), detail > Detail::Counts);
}

fn risks(out: &mut String, review: &Review, detail: Detail) {
    let rows = review.risks.iter().map(|risk| {
        let place =
            risk.origin.as_ref().map_or(String::new(), |origin| code(&format!("{}:{}", origin.path, origin.line)));
        format!(
            "| {} | {} | {} | {} | {place} |\n",
            code(risk.rule.id()),
            word(risk.severity),
            code(&risk.about.to_string()),
            code(&risk.message)
        )
    });
    let title = if review.waived > 0 { format!("Risks ({} waived)", review.waived) } else { "Risks".to_owned() };
    let head = "| Rule | Severity | About | Evidence | Where |\n| --- | --- | --- | --- | --- |\n";
    table(out, &title, ("risk", "risks"), head, rows.collect(), detail > Detail::Counts);
}

/// A word of a closed list, whatever the plan says.
fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "**error**",
        Severity::Warning => "warning",
        Severity::Info => "info",
    }
}

fn images(out: &mut String, review: &Review, detail: Detail) {
    let shown = |summary: &Option<crate::model::ImageSummary>| {
        summary.as_ref().map_or("none".to_owned(), |summary| code(&image(&summary.pull_spec)))
    };
    let tags = |change: &ImageChange| {
        let first = change.tags.first().map(|tag| code(&tag.to_string())).unwrap_or_default();
        if change.tags.len() > 1 { format!("{first} and {} more", change.tags.len() - 1) } else { first }
    };
    let rows = review.images.iter().map(|change| {
        format!(
            "| {} | {} → {} | {} |\n",
            tags(change),
            shown(&change.before),
            shown(&change.after),
            code(&change.line)
        )
    });
    let head = "| Tags | Image | What changes |\n| --- | --- | --- |\n";
    table(out, "Images", ("image changes", "images change"), head, rows.collect(), detail > Detail::Counts);
    if detail < Detail::Differences {
        return;
    }
    for change in review.images.iter().filter(|change| !change.differences.is_empty() || !change.layers_new.is_empty())
    {
        let packages =
            change.packages.as_ref().map(crate::model::PackageChanges::differences).filter(|number| *number > 0);
        let packages = packages.map_or(String::new(), |number| format!(", {}", count(number, "package", "packages")));
        let number = count(change.differences.len(), "difference", "differences");
        let _ = writeln!(out, "<details><summary>{number}{packages}</summary>\n");
        let _ = writeln!(out, "{}\n", tags(change));
        differences(out, "What", &change.differences);
        if let Some(packages) = &change.packages {
            let _ = writeln!(out, "Packages: {}\n", code(&installed(packages)));
            differences(out, "Package", &packages.changes);
            if packages.differences() > packages.changes.len() {
                let _ = writeln!(out, "{} more are in no plan.\n", packages.differences() - packages.changes.len());
            }
        }
        if detail == Detail::All {
            let layer = |sign: &'static str| {
                move |layer: &crate::model::Layer| {
                    format!(
                        "| {sign} | {} | {} | {} |\n",
                        code(&layer.digest),
                        layer.size,
                        clipped(&layer.command, 200)
                    )
                }
            };
            let new = change.layers_new.iter().map(layer("new"));
            let rows: Vec<String> = new.chain(change.layers_dropped.iter().map(layer("dropped"))).collect();
            let head = "| | Layer | Bytes | Made by |\n| --- | --- | --- | --- |\n";
            table(out, "", ("layer", "layers"), head, rows, true);
        }
        if let Some(commits) = &change.commits {
            let _ = writeln!(out, "Commits: {}\n", link(commits));
        }
        out.push_str("</details>\n\n");
    }
}

fn differences(out: &mut String, what: &str, differences: &[Difference]) {
    let value = |value: &Option<String>| value.as_deref().map_or("none".to_owned(), |it| clipped(it, 200));
    let row = |it: &Difference| format!("| {} | {} | {} |\n", code(&it.what), value(&it.before), value(&it.after));
    let head = format!("| {what} | Before | After |\n| --- | --- | --- |\n");
    table(out, "", ("difference", "differences"), &head, differences.iter().map(row).collect(), true);
}

fn definitions(out: &mut String, review: &Review, detail: Detail) {
    let rows = review.definitions.iter().map(|change| {
        let tag = change.tag.as_ref().map_or(String::new(), |tag| format!(":{tag}"));
        let line = |line: &Option<String>| line.as_deref().map_or("none".to_owned(), |it| clipped(it, 300));
        let place = code(&format!("{}:{}", change.origin.path, change.origin.line));
        format!(
            "| {} | {} | {} | {place} |\n",
            code(&format!("{}{tag}", change.stream)),
            line(&change.before),
            line(&change.after)
        )
    });
    let head = "| Stream or tag | Before | After | Where |\n| --- | --- | --- | --- |\n";
    let what = ("definition changes", "definitions change");
    table(out, "Definitions", what, head, rows.collect(), detail >= Detail::Rows);
}

fn steps(out: &mut String, plan: &Plan, detail: Detail) {
    let pending = plan.review.iter().flat_map(|review| &review.pending);
    let pending: std::collections::BTreeSet<_> = pending.collect();
    let mut own = Vec::new();
    let mut others = Vec::new();
    for step in &plan.steps {
        let what = match &step.action {
            Action::CreateStream { tags, .. } => format!("create stream with {}", count(tags.len(), "tag", "tags")),
            Action::UpdateStream { .. } => "change stream".to_owned(),
            Action::SetTag { before: None, after, .. } => format!("add tag {}", code(&after.name)),
            Action::SetTag { after, .. } => format!("change tag {}", code(&after.name)),
            Action::Follow { tag, source, .. } => format!("move {} with {}", code(tag), code(&source.to_string())),
            Action::Import { images, .. } => {
                let tags: Vec<String> = images.iter().take(20).map(|item| code(&item.tag)).collect();
                let more = if images.len() > 20 { format!(" and {} more", images.len() - 20) } else { String::new() };
                format!("import {}{more}", tags.join(", "))
            }
            Action::DeleteTag { tag, .. } => format!("**remove** tag {}", code(tag)),
            Action::DeleteStream { .. } => "**remove** stream".to_owned(),
        };
        let stream = code(&step.action.stream().to_string());
        let place =
            step.origin.as_ref().map_or(String::new(), |origin| code(&format!("{}:{}", origin.path, origin.line)));
        let rows = if pending.contains(&step.id) { &mut others } else { &mut own };
        rows.push(format!("| {stream} | {what} | {} | {place} |\n", code(&reason(&step.reason))));
        for Move { tag, before, after } in step.moves.iter().take(20) {
            let shown =
                |image_: &Option<String>| image_.as_deref().map_or("none".to_owned(), |spec| code(&image(spec)));
            rows.push(format!("| | {} | {} → {} | |\n", code(tag), shown(before), shown(after)));
        }
    }
    let head = "| Stream | Step | Why | Where |\n| --- | --- | --- | --- |\n";
    table(out, "Steps", ("row of steps", "rows of steps"), head, own, detail >= Detail::Rows);
    table(out, "Pending anyway", ("row of steps", "rows of steps"), head, others, detail >= Detail::Differences);
}

fn workloads(out: &mut String, plan: &Plan, detail: Detail) {
    let rolls = plan.rolls.iter().map(|roll| {
        let (what, images) = roll_cells(roll);
        let pods = roll.replicas.map_or(String::new(), |number| number.to_string());
        let workload = code(&roll.workload.to_string());
        let strategy = if roll.strategy.is_empty() { String::new() } else { clipped(&roll.strategy, 40) };
        format!("| {workload} | {pods} | {} | {} | {} |\n", strategy, code(&what), clipped(&images, 300))
    });
    let unseen = plan.unseen.iter().map(|unseen| format!("| | | | not looked at | {} |\n", code(&unseen.to_string())));
    let head = "| Workload | Pods | Strategy | What becomes of it | Images |\n| --- | --- | --- | --- | --- |\n";
    let rows = rolls.chain(unseen).collect();
    table(out, "What will roll", ("workload", "workloads"), head, rows, detail >= Detail::Rows);
    let unused: Vec<_> = plan.review.iter().flat_map(|review| &review.unused).collect();
    if !unused.is_empty() {
        let tags: Vec<String> = unused.iter().take(10).map(|tag| code(&tag.to_string())).collect();
        let more = if unused.len() > 10 { format!(" and {} more", unused.len() - 10) } else { String::new() };
        let _ = writeln!(out, "Nobody follows {}{more}.\n", tags.join(", "));
    }
}

fn waiting(out: &mut String, plan: &Plan, detail: Detail) {
    let rows = plan.deferred.iter().map(|deferred| {
        let tag = deferred.tag.as_deref().map_or(String::new(), |tag| format!(":{tag}"));
        let kind = if deferred.wait.is_note() { "behind" } else { "blocked" };
        format!(
            "| {} | {kind} | {} |\n",
            code(&format!("{}{tag}", deferred.stream)),
            clipped(&wait(&deferred.wait), 400)
        )
    });
    let head = "| Tag | | Why |\n| --- | --- | --- |\n";
    table(out, "Blocked", ("change is blocked", "changes are blocked"), head, rows.collect(), detail >= Detail::Rows);
}

/// Hosts of sources that a link may lead to: anybody can write a label.
const HOSTS: [&str; 4] =
    ["https://github.com/", "https://gitlab.com/", "https://codeberg.org/", "https://bitbucket.org/"];

/// A link, where it leads to a well-known host and has nothing in it but plain characters; otherwise the address as text.
fn link(url: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:".contains(&byte);
    if HOSTS.iter().any(|host| url.starts_with(host)) && url.bytes().all(plain) && url.len() < 300 {
        format!("[what was committed between them](<{url}>)")
    } else {
        code(url)
    }
}

/// A table, or how many rows it would have.
fn table(out: &mut String, title: &str, (one, many): (&str, &str), head: &str, rows: Vec<String>, shown: bool) {
    if rows.is_empty() {
        return;
    }
    if !title.is_empty() {
        let _ = writeln!(out, "#### {title}\n");
    }
    if !shown {
        let _ = writeln!(out, "{}, too many to be shown here.\n", count(rows.len(), one, many));
        return;
    }
    out.push_str(head);
    rows.iter().take(ROWS).for_each(|row| out.push_str(row));
    if rows.len() > ROWS {
        let _ = writeln!(out, "\n{} more rows are not shown here.", rows.len() - ROWS);
    }
    out.push('\n');
}

/// Text from outside as code: nothing in it is markup, mentions nobody and loads nothing.
fn code(text: &str) -> String {
    clipped(text, 300)
}

/// Likewise, so much of it.
fn clipped(text: &str, most: usize) -> String {
    let text = inert(text, most);
    if text.is_empty() {
        return "(empty)".to_owned();
    }
    // What ends the code has one more than the longest run in it; a pipe would end a cell even there.
    let mut longest = 0;
    let mut run = 0;
    for char in text.chars() {
        run = if char == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let fence = "`".repeat(longest + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{}{pad}{fence}", text.replace('|', "\\|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_is_code() {
        assert_eq!(code("a`b|c\u{1b}"), "``a`b\\|c\\u{1b}``");
        assert_eq!(code("`x"), "`` `x ``");
        assert_eq!(code(""), "(empty)");
        assert_eq!(code("a\nb"), "`a b`", "on one line");
    }
}
