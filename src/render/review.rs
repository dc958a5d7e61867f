//! What a plan means, for a terminal; and what will roll, as a diagram.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::findings::{Code, Severity};
use crate::model::{Action, Difference, ImageChange, PackageChanges, Plan, Review, Risk, RollEffect};
use crate::openshift::{StreamId, TagId, TagReference, alias_target};
use crate::source::{inert, short_hash};

use super::names::{count, image};
use super::paint::Paint;
use super::table::{cut, fold};

/// Differences of an image that are shown on a terminal.
const SHOWN: usize = 12;

/// The review of a plan, after its steps.
pub(super) fn review_text(out: &mut String, review: &Review, paint: Paint) {
    if let Some(base) = &review.base {
        let title = format!("Changed since {base}");
        let _ = writeln!(out, "{}", paint.bold(&title));
        if review.definitions.is_empty() {
            let _ = writeln!(out, "    no definition");
        }
        for change in &review.definitions {
            let tag = change.tag.as_ref().map_or(String::new(), |tag| format!(":{tag}"));
            let sign = match (&change.before, &change.after) {
                (None, _) => paint.green("+"),
                (_, None) => paint.red("-"),
                _ => paint.yellow("~"),
            };
            let name = inert(&format!("{}{tag}", change.stream), 300);
            let place = format!("{}:{}", inert(&change.origin.path, 200), change.origin.line);
            let _ = writeln!(out, "  {sign} {name}  {}", paint.dim(&place));
            for (sign, line) in [("-", &change.before), ("+", &change.after)] {
                if let Some(line) = line {
                    let _ = writeln!(out, "{}", cut(&format!("      {sign} {}", inert(line, 500)), paint.width));
                }
            }
        }
        if !review.pending.is_empty() {
            let _ = writeln!(out, "    {} pending anyway", count(review.pending.len(), "step is", "steps are"));
        }
        out.push('\n');
    }
    images_text(out, &review.images, paint);
    if !review.unused.is_empty() {
        let tags: Vec<String> = review.unused.iter().take(10).map(|tag| inert(&tag.to_string(), 200)).collect();
        let more =
            if review.unused.len() > 10 { format!(" and {} more", review.unused.len() - 10) } else { String::new() };
        let line = format!("Moves, and nobody follows: {}{more}", tags.join(", "));
        let _ = writeln!(out, "{}\n", fold(&line, paint.width, 4));
    }
    let is_shown =
        |risk: &&Risk| risk.step.is_some() || !(risk.rule.is_of_imports() || risk.rule == Code::ChangeBlocked);
    if review.risks.iter().any(|risk| is_shown(&risk)) || review.waived > 0 {
        let waived = if review.waived > 0 { format!(" ({} waived)", review.waived) } else { String::new() };
        let _ = writeln!(out, "{}", paint.bold(&format!("Risks{waived}")));
        // What is blocked is shown with its cause.
        for risk in review.risks.iter().filter(is_shown) {
            let severity = match risk.severity {
                Severity::Error => paint.red("error"),
                Severity::Warning => paint.yellow("warning"),
                Severity::Info => "info".to_owned(),
            };
            let line = format!("{}: {}", inert(&risk.about.to_string(), 300), inert(&risk.message, 500));
            let _ = writeln!(
                out,
                "    {severity}[{}] {}",
                risk.rule.id(),
                fold(&line, paint.width.map(|it| it.saturating_sub(20)), 6)
            );
        }
        out.push('\n');
    }
}

fn images_text(out: &mut String, images: &[ImageChange], paint: Paint) {
    if images.is_empty() {
        return;
    }
    let _ = writeln!(out, "{}", paint.bold("Images"));
    for change in images {
        let tags: Vec<String> = change.tags.iter().take(3).map(|tag| inert(&tag.to_string(), 200)).collect();
        let more = if change.tags.len() > 3 { format!(" and {} more", change.tags.len() - 3) } else { String::new() };
        let shown = |summary: &Option<crate::model::ImageSummary>| {
            summary.as_ref().map_or("none".to_owned(), |summary| image(&summary.pull_spec))
        };
        let _ = writeln!(out, "    {}{more}", tags.join(", "));
        let pair = format!("      {} -> {}", shown(&change.before), shown(&change.after));
        let _ = writeln!(out, "{}", cut(&pair, paint.width));
        let line = fold(&inert(&change.line, 600), paint.width.map(|it| it.saturating_sub(6)), 8);
        let _ = writeln!(out, "      {}", paint.bold(&line));
        differences_text(out, "        ", &change.differences, change.differences.len(), paint);
        if let Some(packages) = &change.packages {
            let _ = writeln!(out, "        packages: {}", inert(&installed(packages), 200));
            differences_text(out, "          ", &packages.changes, packages.differences(), paint);
        }
        if let Some(commits) = &change.commits {
            let _ = writeln!(out, "        commits: {}", inert(commits, 300));
        }
    }
    out.push('\n');
}

/// The first of them, and how many there are beside.
fn differences_text(out: &mut String, indent: &str, differences: &[Difference], all: usize, paint: Paint) {
    for difference in differences.iter().take(SHOWN) {
        let value = |value: &Option<String>| value.as_deref().map_or("none".to_owned(), |it| inert(it, 200));
        let (before, after) = (value(&difference.before), value(&difference.after));
        let line = format!("{indent}{}: {before} -> {after}", inert(&difference.what, 100));
        let _ = writeln!(out, "{}", cut(&line, paint.width));
    }
    let shown = differences.len().min(SHOWN);
    if all > shown {
        let _ = writeln!(out, "{indent}{} more; `--format markdown` shows more", all - shown);
    }
}

/// What is installed in an image, in a few words.
pub(super) fn installed(packages: &PackageChanges) -> String {
    match (packages.before.is_empty(), packages.after.is_empty()) {
        (true, true) => "neither image has a list of what is installed".to_owned(),
        (true, false) => "the old image has no list of what is installed".to_owned(),
        (false, true) => "the new image has no list of what is installed".to_owned(),
        (false, false) => {
            let changes = count(packages.differences(), "difference", "differences");
            format!("{} installed by {}, {changes}", packages.installed, packages.after.join(" and "))
        }
    }
}

/// What will roll, as a Mermaid flowchart: tags, what follows them, and what follows that.
pub fn rolls_mermaid(plan: &Plan) -> String {
    let mut out = "```mermaid\nflowchart LR\n".to_owned();
    let mut known: BTreeSet<String> = BTreeSet::new();
    let mut node = |out: &mut String, name: &str, (open, close): (&str, &str)| {
        let id = id(name);
        if known.insert(id.clone()) {
            let _ = writeln!(out, "  {id}{open}\"{}\"{close}", label(name));
        }
        id
    };
    let mut used = BTreeSet::new();
    for roll in &plan.rolls {
        let workload = roll.workload.to_string();
        let word = match &roll.effect {
            RollEffect::RollsOut => "rolls out",
            RollEffect::Builds => "builds",
            RollEffect::Waits { .. } => "waits",
            RollEffect::Ignores { .. } | RollEffect::Loses => continue,
            RollEffect::AfterBuild { build } => {
                let (from, to) =
                    (node(&mut out, &build.to_string(), ("[", "]")), node(&mut out, &workload, ("[", "]")));
                let _ = writeln!(out, "  {from} -. after the build .-> {to}");
                continue;
            }
        };
        for change in &roll.images {
            let tag = change.tag.to_string();
            let (from, to) = (node(&mut out, &tag, ("([", "])")), node(&mut out, &workload, ("[", "]")));
            let _ = writeln!(out, "  {from} -- {word} --> {to}");
            used.insert(tag);
        }
    }
    let (mut gone, mut copied) = (BTreeSet::new(), BTreeSet::new());
    for step in &plan.steps {
        for (from, to) in copies(&step.action).into_iter().filter(|pair| copied.insert(pair.clone())) {
            let (from, to) = (from.to_string(), to.to_string());
            used.extend([from.clone(), to.clone()]);
            let (from, to) = (node(&mut out, &from, ("([", "])")), node(&mut out, &to, ("([", "])")));
            let _ = writeln!(out, "  {from} -- copied to --> {to}");
        }
        for change in &step.moves {
            let tag = step.action.stream().tag(&change.tag).to_string();
            if change.after.is_none() {
                gone.insert(node(&mut out, &tag, ("([", "])")));
            } else if !used.contains(&tag) {
                node(&mut out, &tag, ("([", "])"));
            }
        }
    }
    if !gone.is_empty() {
        let gone: Vec<String> = gone.into_iter().collect();
        let _ = writeln!(out, "  classDef removed stroke:#c00,stroke-dasharray:5 5,color:#c00");
        let _ = writeln!(out, "  class {} removed", gone.join(","));
    }
    out.push_str("```\n");
    out
}

/// Tags that a step makes copies of, each with the tag of another stream that it copies to.
fn copies(action: &Action) -> Vec<(TagId, TagId)> {
    let other = |id: &StreamId, tag: &TagReference| {
        let source = alias_target(id, tag).filter(|source| source.stream != *id)?;
        Some((source, id.tag(&tag.name)))
    };
    match action {
        Action::Follow { stream, tag, source } if source.stream != *stream => vec![(source.clone(), stream.tag(tag))],
        Action::SetTag { stream, after, .. } => other(stream, after).into_iter().collect(),
        Action::CreateStream { stream, tags, .. } => tags.iter().filter_map(|tag| other(stream, tag)).collect(),
        _ => Vec::new(),
    }
}

/// A name of a node: letters and digits, another one for every name.
fn id(name: &str) -> String {
    format!("n{}", short_hash(name, 10))
}

/// Plain characters only: labels have a markup of their own.
fn label(name: &str) -> String {
    let plain = |char: char| if char.is_ascii_alphanumeric() || "-_./: @".contains(char) { char } else { '_' };
    name.chars().take(120).map(plain).collect()
}
