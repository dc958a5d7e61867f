//! What registries have to be asked. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::model::{Desired, Live, Observed, PassState, Policy, Question, Upstream};
use crate::openshift::{ImageReference, StreamId};
use crate::rules::import_due;

/// What to ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Questions {
    /// References to resolve.
    pub resolve: BTreeSet<Question>,
    /// Repositories to list.
    pub list: BTreeSet<Question>,
}

/// The questions that `remembered` answers do not settle.
///
/// Asked is what has to be imported, what was asked for, and what nobody has looked at for as long as the policy says. A
/// digest never moves: it is only asked about to be imported.
pub fn questions(
    desired: &Desired,
    live: &Live,
    (policy, state): (&Policy, &PassState),
    remembered: &BTreeMap<Question, Upstream>,
    now: Timestamp,
) -> Questions {
    let mut questions = Questions::default();
    for (id, stream) in &desired.streams {
        if live.settled.contains(id) {
            continue;
        }
        let current = live.streams.get(id).map(|live| &live.stream);
        for tag in stream.tags.values() {
            let Some(question) = tag.question(&id.namespace) else { continue };
            let fresh = remembered.get(&question).is_some_and(|upstream| {
                let moved = current.and_then(|stream| stream.head(&tag.reference.name)?.created);
                let until = policy.until(state, id, &tag.reference, upstream.checked_at, moved);
                // What was answered in the future was answered before the clock was set.
                upstream.checked_at <= now && until.is_some_and(|until| now < until)
            });
            // An answer that it is not there is good for a while, too.
            let condition = current.and_then(|stream| stream.status_tag(&tag.reference.name)?.conditions.first());
            let is_pushed = state.pushed.contains(&(id.clone(), tag.reference.name.clone()));
            let waits = state.patient
                && !is_pushed
                && (fresh || !tag.reference.import_policy.scheduled)
                && remembered.get(&question).is_some_and(|upstream| {
                    let retry = condition.and_then(|condition| Policy::retry(condition, upstream.checked_at));
                    let is_no = upstream.answer == Observed::Absent && upstream.checked_at <= now;
                    is_no && retry.is_some_and(|retry| now < retry)
                });
            let fresh = fresh && !is_pushed;
            let asked = state.refresh.asks(id, &tag.reference.name);
            let imports = import_due(id, current, &tag.reference).is_some() && !waits;
            if asked || imports || (!fresh && !waits && question.reference.digest.is_none()) {
                questions.resolve.insert(question);
            }
        }
        if let Some(repository) = repository(&id.namespace, &stream.docker_image_repository) {
            let imported = live.streams.get(id).and_then(|live| live.owned.repository.as_ref());
            let listed = imported == Some(&stream.docker_image_repository);
            if !listed || state.refresh.asks(id, "") {
                questions.list.insert(repository);
            }
        }
    }
    questions
}

/// The question that lists a repository; none for no repository.
pub fn repository(namespace: &str, text: &str) -> Option<Question> {
    let reference: ImageReference = text.parse().ok()?;
    let reference = ImageReference { tag: String::new(), ..reference.with_defaults() };
    Some(Question { namespace: namespace.to_owned(), reference, insecure: false })
}

/// The namespaces whose definitions ask each question: each has logins of its own on a cluster.
pub fn asking_namespaces(desired: &Desired) -> BTreeMap<Question, Vec<String>> {
    let mut wanted: BTreeMap<Question, Vec<String>> = BTreeMap::new();
    let mut want = |question: Question, id: &StreamId| {
        let namespaces = wanted.entry(question).or_default();
        if !namespaces.contains(&id.namespace) {
            namespaces.push(id.namespace.clone());
        }
    };
    for (id, stream) in &desired.streams {
        for question in stream.tags.values().filter_map(|tag| tag.question(&id.namespace)) {
            want(question, id);
        }
        if let Some(repository) = repository(&id.namespace, &stream.docker_image_repository) {
            want(repository, id);
        }
    }
    wanted
}
