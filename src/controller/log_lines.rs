//! Log lines of a reconciler: what it changes, and what is wrong, each once.

use std::collections::BTreeSet;
use std::sync::Mutex;

use crate::findings::{Diagnostic, Severity};
use crate::model::{Move, Outcome, Plan, Report, Wait};
use crate::openshift::short_image;
use crate::render;
use crate::source::inert;

/// Faults that were logged and are there still.
#[derive(Default)]
pub(super) struct Faults(Mutex<BTreeSet<String>>);

/// Faults of one pass that are logged; a source of thousands of broken files is not a line for each.
const LINES: usize = 100;

/// A line at INFO for each tag that got another image, and for each other change.
pub(super) fn changes(reconciler: &str, plan: &Plan, report: &Report) {
    let commit = plan.revision.commit.as_deref().unwrap_or("none");
    let is_done = |outcome: &&Outcome| matches!(outcome, Outcome::Applied | Outcome::Diverged { .. });
    for step in &plan.steps {
        if report.outcomes.get(&step.id).filter(is_done).is_none() {
            continue;
        }
        let stream = inert(&step.action.stream().to_string(), 300);
        let (action, cause) = (step.action.kind(), render::reason(&step.reason));
        if step.moves.is_empty() {
            tracing::info!(reconciler, stream, action, cause, commit, "changed");
        }
        for Move { tag, before, after } in &step.moves {
            let digest = |image: &Option<String>| image.as_deref().map_or("none".to_owned(), digest);
            let (tag, from, to) = (inert(tag, 128), digest(before), digest(after));
            tracing::info!(reconciler, stream, tag, from, to, action, cause, commit, "changed");
        }
    }
    for update in &plan.updates {
        if report.outcomes.get(&update.id).filter(is_done).is_some() {
            let (workload, cause) = (inert(&update.workload.to_string(), 300), render::reason(&update.reason));
            tracing::info!(reconciler, workload, cause, commit, "changed");
        }
    }
}

/// The whole digest of a pull spec; of one without, all of it.
fn digest(pull_spec: &str) -> String {
    let digest = pull_spec.split_once('@').map_or(pull_spec, |(_, digest)| digest);
    inert(if digest.is_empty() { short_image(pull_spec) } else { digest }, 200)
}

impl Faults {
    /// Logs what is wrong with definitions, and what is blocked and was not asked to be, once until it changes.
    pub(super) fn log(&self, reconciler: &str, findings: &[Diagnostic], plan: &Plan) {
        let Ok(mut known) = self.0.lock() else { return };
        let mut now = BTreeSet::new();
        let is_new = |key: &String, now: &mut BTreeSet<String>| {
            let is_new = now.len() < LINES && !known.contains(key);
            now.insert(key.clone());
            is_new
        };
        for finding in findings.iter().filter(|finding| finding.severity > Severity::Info) {
            let (code, text) = (finding.code.id(), inert(&finding.message, 500));
            let (file, line) = (inert(&finding.place.path, 300), finding.place.line);
            if !is_new(&format!("{code} {file}:{line} {text}"), &mut now) {
                continue;
            }
            match finding.severity {
                Severity::Error => tracing::error!(reconciler, code, file, line, text, "finding"),
                Severity::Warning | Severity::Info => tracing::warn!(reconciler, code, file, line, text, "finding"),
            }
        }
        for deferred in plan.blocked().filter(|deferred| !matches!(deferred.wait, Wait::Held { .. })) {
            let tag = deferred.tag.as_deref().unwrap_or_default();
            let (stream, tag) = (inert(&deferred.stream.to_string(), 300), inert(tag, 128));
            let cause = deferred.wait.import_cause();
            // When it may be asked again is another time with each pass.
            let text = cause.map_or_else(|| deferred.wait.by(), |(code, message)| format!("{code} {message}"));
            if is_new(&format!("{stream}:{tag} {}", text.split(" until ").next().unwrap_or_default()), &mut now) {
                tracing::warn!(reconciler, stream, tag, text, "blocked");
            }
        }
        *known = now;
    }
}
