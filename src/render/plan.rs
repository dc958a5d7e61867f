//! A plan for a terminal.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::model::{Action, Deferred, DeferredAction, ImportResult, Move, Plan, Step, StreamHeader, Wait};
use crate::openshift::{StreamId, TagReference};
use crate::source::inert;

use super::names::{count, image, next, reason, wait};
use super::paint::Paint;
use super::review::review_text;
use super::rolls::{rolls_count, rolls_text};
use super::table::{cut, fold};

/// A plan as text: what changes by stream, what waits, a line that sums up.
pub fn plan_text(plan: &Plan, paint: Paint) -> String {
    let mut out = String::new();
    let mut streams: BTreeMap<(bool, &StreamId), Vec<&Step>> = BTreeMap::new();
    for step in &plan.steps {
        streams.entry((step.action.is_removal(), step.action.stream())).or_default().push(step);
    }
    for ((_, id), steps) in &streams {
        stream(&mut out, id, steps, paint);
    }
    if let Some(review) = &plan.review {
        review_text(&mut out, review, paint);
    }
    rolls_text(&mut out, plan, paint);
    blocked(&mut out, plan, paint);
    behind(&mut out, plan, paint);
    if !plan.is_empty() {
        let _ = writeln!(out, "{}", paint.dim(&format!("Plan ID: {}", plan.id())));
    }
    let _ = writeln!(out, "{}", paint.bold(&fold(&plan_line(plan), paint.width, 6)));
    if let Some(line) = blocked_line(plan) {
        let _ = writeln!(out, "{}", paint.yellow(&fold(&line, paint.width, 6)));
    }
    out
}

fn stream(out: &mut String, id: &StreamId, steps: &[&Step], paint: Paint) {
    let creates = steps.iter().any(|step| matches!(step.action, Action::CreateStream { .. }));
    let deletes = steps.iter().any(|step| matches!(step.action, Action::DeleteStream { .. }));
    let sign = match (creates, deletes) {
        (true, _) => paint.green("+"),
        (_, true) => paint.red("-"),
        _ => paint.yellow("~"),
    };
    let origin = steps.iter().find_map(|step| step.origin.as_ref());
    let place =
        origin.map_or(String::new(), |origin| paint.dim(&format!("  {}:{}", inert(&origin.path, 200), origin.line)));
    let _ = writeln!(out, "{sign} {}{place}", paint.bold(&inert(&id.to_string(), 300)));
    for step in steps {
        for line in action(step, paint) {
            let _ = writeln!(out, "    {line}");
        }
        for Move { tag, before, after } in &step.moves {
            let before = before.as_deref().map_or("none".to_owned(), image);
            let after = after.as_deref().map_or("none".to_owned(), image);
            let line = format!("{}: {before} -> {after}", inert(tag, 128));
            let _ = writeln!(out, "      {}", cut(&line, paint.width.map(|width| width.saturating_sub(6))));
        }
    }
    out.push('\n');
}

/// What a step does, a line for each thing.
fn action(step: &Step, paint: Paint) -> Vec<String> {
    let width = paint.width.map(|width| width.saturating_sub(4));
    let why = format!(" ({})", reason(&step.reason));
    match &step.action {
        Action::CreateStream { header, tags, .. } => {
            let mut lines = vec![format!("{} stream, {}", paint.green("create"), count(tags.len(), "tag", "tags"))];
            lines.extend(
                header_lines(&StreamHeader::default(), header)
                    .into_iter()
                    .map(|line| format!("  {}", cut(&line, width))),
            );
            lines.extend(tags.iter().map(|tag| cut(&format!("  tag {}", tag_line(tag)), width)));
            lines
        }
        Action::UpdateStream { before, after, .. } => {
            let mut lines = vec![format!("{} stream", paint.yellow("change"))];
            lines.extend(header_lines(before, after).into_iter().map(|line| cut(&format!("  {line}"), width)));
            lines
        }
        Action::SetTag { before: None, after, .. } => {
            vec![format!(
                "{} tag {}",
                paint.green("add"),
                cut(&tag_line(after), width.map(|width| width.saturating_sub(8)))
            )]
        }
        Action::SetTag { before: Some(before), after, .. } => {
            let mut lines = vec![format!("{} tag {}{why}", paint.yellow("change"), inert(&after.name, 128))];
            lines.push(cut(&format!("  - {}", tag_line(before)), width));
            lines.push(cut(&format!("  + {}", tag_line(after)), width));
            lines
        }
        Action::Follow { tag, source, .. } => {
            vec![format!("{} {} with {}", paint.yellow("move"), inert(tag, 128), inert(&source.to_string(), 400))]
        }
        Action::Import { images, .. } => {
            let one = |item: &crate::model::ImportItem| {
                let failure = match &item.result {
                    // Which image it is shows below, with the aliases that move with it.
                    ImportResult::Image { .. } => String::new(),
                    ImportResult::Failure(failure) => {
                        let (code, message) = failure.cause(&item.from);
                        let message = message.split(": ").next().unwrap_or_default();
                        paint.red(&format!(": {message} [{code}]"))
                    }
                };
                let (tag, from) = (inert(&item.tag, 128), inert(&item.from, 300));
                format!("{} {tag} from {from}{failure}{why}", paint.green("import"))
            };
            images.iter().map(|item| fold(&one(item), width, 6)).collect()
        }
        Action::DeleteTag { tag, .. } => vec![format!("{} tag {}{why}", paint.red("remove"), inert(tag, 128))],
        Action::DeleteStream { .. } => vec![format!("{} stream{why}", paint.red("remove"))],
    }
}

/// A tag's definition on a line.
pub(super) fn tag_line(tag: &TagReference) -> String {
    let TagReference { name, annotations, from, reference, generation: _, import_policy, reference_policy } = tag;
    let mut line = inert(name, 128);
    match from {
        Some(from) => {
            let namespace =
                if from.namespace.is_empty() { String::new() } else { format!("{}/", inert(&from.namespace, 80)) };
            let _ = write!(line, " from {} {namespace}{}", inert(&from.kind, 40), inert(&from.name, 300));
        }
        None => line.push_str(" (filled by pushes)"),
    }
    let mut notes = Vec::new();
    if *reference {
        notes.push("reference".to_owned());
    }
    if import_policy.scheduled {
        notes.push("scheduled".to_owned());
    }
    if import_policy.insecure {
        notes.push("insecure".to_owned());
    }
    if import_policy.import_mode != crate::openshift::ImportMode::Legacy {
        notes.push("keeps manifest lists".to_owned());
    }
    if reference_policy.kind != crate::openshift::ReferencePolicyType::Source {
        notes.push("local pull spec".to_owned());
    }
    if !annotations.is_empty() {
        notes.push(count(annotations.len(), "annotation", "annotations"));
    }
    if !notes.is_empty() {
        let _ = write!(line, " [{}]", notes.join(", "));
    }
    line
}

/// The differences of two headers, a line each.
fn header_lines(before: &StreamHeader, after: &StreamHeader) -> Vec<String> {
    let StreamHeader { labels, annotations, lookup_policy, docker_image_repository } = after;
    let mut lines = Vec::new();
    for (name, was, is) in [("label", &before.labels, labels), ("annotation", &before.annotations, annotations)] {
        for (key, value) in is.iter().filter(|(key, value)| was.get(*key) != Some(*value)) {
            lines.push(format!("{name} {} = {}", inert(key, 120), inert(value, 200)));
        }
        for key in was.keys().filter(|key| !is.contains_key(*key)) {
            lines.push(format!("{name} {} removed", inert(key, 120)));
        }
    }
    if before.lookup_policy != *lookup_policy {
        lines.push(format!("lookupPolicy.local = {}", lookup_policy.local));
    }
    if before.docker_image_repository != *docker_image_repository {
        lines.push(format!("dockerImageRepository = {}", inert(docker_image_repository, 300)));
    }
    lines
}

fn blocked(out: &mut String, plan: &Plan, paint: Paint) {
    // Much that is blocked for one reason is one group: an outage of a registry is not a page a tag.
    let mut groups: BTreeMap<(String, DeferredAction), Vec<&Deferred>> = BTreeMap::new();
    for deferred in plan.blocked() {
        groups.entry((block(plan, deferred), deferred.action)).or_default().push(deferred);
    }
    if groups.is_empty() {
        return;
    }
    let _ = writeln!(out, "{}", paint.yellow("Blocked"));
    for ((why, action), deferred) in groups {
        let what = match action {
            DeferredAction::Reconcile => "everything on",
            DeferredAction::Import => "import of",
            DeferredAction::Follow => "copy to",
            DeferredAction::DeleteTag => "removal of",
            DeferredAction::DeleteStream => "removal of stream",
        };
        let _ = writeln!(
            out,
            "    {what} {}",
            fold(&listed(deferred_names(&deferred)), paint.width.map(|width| width.saturating_sub(4)), 6)
        );
        let _ = writeln!(out, "      {}", fold(&why, paint.width.map(|width| width.saturating_sub(6)), 8));
    }
    out.push('\n');
}

/// By what something is blocked; the same for all that is blocked by it. The reference of an image stands with its tag.
pub(super) fn block(plan: &Plan, deferred: &Deferred) -> String {
    let Some((code, message)) = deferred.wait.import_cause().filter(|_| deferred.action == DeferredAction::Import)
    else {
        return wait(&deferred.wait);
    };
    let judged = plan.review.iter().flat_map(|review| &review.risks).find(|risk| risk.rule == code);
    let severity = judged.map_or(code.severity(), |risk| risk.severity);
    let message = match deferred.wait {
        Wait::NotFound { .. } => "image not found".to_owned(),
        _ => message,
    };
    format!("{severity}[{code}] {message}{}", next(&deferred.wait))
}

/// What it is about, each with the image that it needs.
pub(super) fn deferred_names(deferred: &[&Deferred]) -> Vec<String> {
    let name = |deferred: &&Deferred| {
        let tag = deferred.tag.as_deref().map_or(String::new(), |tag| format!(":{tag}"));
        let image = match &deferred.wait {
            Wait::NotFound { reference } => format!(" ({})", inert(reference, 300)),
            Wait::Unknown(ignorance) if deferred.action == DeferredAction::Import => {
                format!(" ({})", inert(&ignorance.asked, 300))
            }
            _ => String::new(),
        };
        format!("{}{image}", inert(&format!("{}{tag}", deferred.stream), 200))
    };
    deferred.iter().map(name).collect()
}

/// The first of some names, and how many there are beside.
pub(super) fn listed(mut names: Vec<String>) -> String {
    const SHOWN: usize = 5;
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", names.join(", "))
}

fn behind(out: &mut String, plan: &Plan, paint: Paint) {
    let of = |scheduled: bool| {
        let is_it = move |deferred: &&Deferred| match deferred.wait {
            Wait::Behind { .. } => !scheduled,
            Wait::Scheduled { .. } => scheduled,
            _ => false,
        };
        plan.deferred.iter().filter(is_it).collect::<Vec<_>>()
    };
    for (title, deferred, next) in [
        ("Behind their upstream, and not followed", of(false), "to import them: --refresh STREAM:TAG"),
        (
            "Behind their upstream, until OpenShift imports them on its schedule",
            of(true),
            "to import them now: --refresh STREAM:TAG; always: `import: ours` in the config",
        ),
    ] {
        if deferred.is_empty() {
            continue;
        }
        let _ = writeln!(out, "{}", paint.bold(title));
        for deferred in deferred {
            let (Wait::Behind { upstream, current } | Wait::Scheduled { upstream, current }) = &deferred.wait else {
                continue;
            };
            let tag = deferred.tag.as_deref().unwrap_or_default();
            let line = format!("{}:{}: {} -> {}", deferred.stream, tag, image(current), upstream.short());
            let _ = writeln!(out, "    {}", cut(&inert(&line, 400), paint.width.map(|width| width.saturating_sub(4))));
        }
        let _ = writeln!(out, "    {next}\n");
    }
}

/// A plan in one line.
pub fn plan_line(plan: &Plan) -> String {
    let what = if plan.is_comparison() { "Definitions" } else { "Plan" };
    format!("{what}: {} ({}, {})", plan_counts(plan), count(plan.streams, "stream", "streams"), plan.revision)
}

/// What is blocked, in numbers; none where nothing is.
pub fn blocked_line(plan: &Plan) -> Option<String> {
    let parts = blocked_counts(plan);
    (!parts.is_empty()).then(|| format!("Blocked: {}", parts.join(", ")))
}

/// What is blocked, in numbers, by what it is.
pub(super) fn blocked_counts(plan: &Plan) -> Vec<String> {
    let mut counts = [0_usize; 4];
    for deferred in plan.blocked() {
        counts[match deferred.action {
            DeferredAction::Import => 0,
            DeferredAction::Reconcile => 1,
            DeferredAction::Follow => 2,
            DeferredAction::DeleteTag | DeferredAction::DeleteStream => 3,
        }] += 1;
    }
    let names =
        [("import", "imports"), ("change", "changes"), ("copy of a tag", "copies of tags"), ("removal", "removals")];
    let parts = counts.iter().zip(names).filter(|(number, _)| **number > 0);
    parts.map(|(number, (one, many))| count(*number, one, many)).collect()
}

/// What differs between two revisions, in numbers.
fn compared(plan: &Plan) -> String {
    let mut counts = [0_usize; 3];
    for change in plan.review.iter().flat_map(|review| &review.definitions) {
        counts[match (&change.before, &change.after) {
            (None, _) => 0,
            (_, None) => 2,
            (Some(_), Some(_)) => 1,
        }] += 1;
    }
    let words = ["added", "changed", "removed"];
    let parts = counts.iter().zip(words).filter(|(number, _)| **number > 0);
    let parts: Vec<String> = parts.map(|(number, word)| format!("{number} {word}")).collect();
    if parts.is_empty() { "no change".to_owned() } else { parts.join(", ") }
}

/// What a plan does, in numbers.
pub(super) fn plan_counts(plan: &Plan) -> String {
    if plan.is_comparison() {
        return compared(plan);
    }
    let mut counts = [0_usize; 6];
    for step in &plan.steps {
        match &step.action {
            Action::CreateStream { .. } => counts[0] += 1,
            Action::UpdateStream { .. } | Action::SetTag { .. } => counts[1] += 1,
            Action::Import { images, .. } => counts[2] += images.len(),
            Action::Follow { .. } => counts[3] += 1,
            Action::DeleteTag { .. } => counts[4] += 1,
            Action::DeleteStream { .. } => counts[5] += 1,
        }
    }
    let names = [
        ("stream to create", "streams to create"),
        ("change", "changes"),
        ("import", "imports"),
        ("tag follows", "tags follow"),
        ("tag to remove", "tags to remove"),
        ("stream to remove", "streams to remove"),
    ];
    let parts: Vec<String> = counts
        .iter()
        .zip(names)
        .filter(|(number, _)| **number > 0)
        .map(|(number, (one, many))| count(*number, one, many))
        .collect();
    let updates = plan.updates.len();
    let updates = (updates > 0).then(|| count(updates, "workload to update", "workloads to update"));
    let parts: Vec<String> = parts.into_iter().chain(updates).collect();
    let blocked = plan.blocked().count();
    let behind = plan.deferred.len() - blocked;
    let mut parts = vec![parts.join(", ")];
    parts.retain(|part| !part.is_empty());
    parts.extend((blocked > 0).then(|| format!("{blocked} blocked")));
    let what = if parts.is_empty() { "nothing to do".to_owned() } else { parts.join("; ") };
    let mut line = format!("{what}{}", rolls_count(plan));
    if behind > 0 {
        let _ = write!(line, "; {behind} behind upstream");
    }
    line
}
