//! Files that were passed over because no image stream is in them, and in which something was defined once: read to their end, they say
//! whether it is gone.

use std::collections::{BTreeMap, BTreeSet};

use crate::definitions::{self, Candidate};
use crate::model::{DeferredAction, Desired, Plan, Wait};
use crate::source::{Limits, Node, SourceText, inert, parse};

use super::read::ReadSource;

/// The definitions without those doubts of a plan that a second look settles; none where there is nothing to look at. Files without an
/// image stream are many and are not parsed otherwise.
pub(super) fn settle(read: &ReadSource, plan: &Plan, file_bytes: u64) -> Option<Desired> {
    let desired = &read.assembled.desired;
    let is_removal = |action| matches!(action, DeferredAction::DeleteStream | DeferredAction::DeleteTag);
    let removals = plan.deferred.iter().filter(|deferred| is_removal(deferred.action));
    let asked: BTreeSet<&str> = removals
        .filter_map(|deferred| match &deferred.wait {
            Wait::Unknown(ignorance) if desired.unread.contains(&ignorance.asked) => Some(&*ignorance.asked),
            _ => None,
        })
        .collect();
    let (mut gone, mut broken) = (BTreeSet::new(), BTreeMap::new());
    for path in asked {
        match says_nothing(read, path, file_bytes) {
            None => {}
            Some(Ok(())) => drop(gone.insert(path)),
            Some(Err(why)) => drop(broken.insert(path.to_owned(), why)),
        }
    }
    if gone.is_empty() && broken.is_empty() {
        return None;
    }
    let unread = desired.unread.iter().filter(|path| !gone.contains(&***path)).cloned().collect();
    Some(Desired { unread, broken, ..desired.clone() })
}

/// Whether a file that was passed over is whole and defines no stream; an error says why that is not so. None where it was left out for
/// another reason.
fn says_nothing(read: &ReadSource, path: &str, file_bytes: u64) -> Option<Result<(), String>> {
    let entry = read.entries.iter().find(|entry| *entry.path == *path)?;
    let bytes = read.source.reader().ok()?.read(entry, file_bytes).ok()?;
    let mentions =
        [Candidate::Named, Candidate::Bare].map(|candidate| definitions::mentions_streams(candidate, &bytes));
    if mentions.contains(&true) {
        return None;
    }
    let Ok(text) = String::from_utf8(bytes) else { return Some(Err("is not UTF-8".to_owned())) };
    let is_template = text.contains("{{");
    let parsed = parse(&SourceText::new(text), Limits::default());
    if let Some(problem) = parsed.problems.first() {
        let line = problem.place.line;
        return Some(Err(format!("is neither YAML nor JSON: line {line}: {}", inert(&problem.message, 200))));
    }
    // Some templates can be read as YAML, too; and what is encrypted value by value (SOPS) has a kind that is none.
    let is_object = |document: &Node| {
        let kind = document.get("kind").and_then(Node::text).unwrap_or_default();
        !kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    if is_template || !parsed.documents.iter().all(is_object) {
        return Some(Err("is a template, is encrypted, or does not hold Kubernetes objects".to_owned()));
    }
    Some(match (parsed.complete, parsed.documents.is_empty()) {
        (true, false) => Ok(()),
        (true, true) => Err("is empty; delete it if what it defined is to go".to_owned()),
        (false, _) => Err("cannot be read to its end".to_owned()),
    })
}
