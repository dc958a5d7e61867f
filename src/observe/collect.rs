//! Asking, with bounded concurrency.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use futures::StreamExt;
use jiff::Timestamp;

use crate::model::{Desired, Live, Observed, PassState, Policy, Question, Resolution, Upstream};
use crate::openshift::{Digest, ImageReference, StreamId, import_order};
use crate::ports::{LiveState, Looking, Memory, PortError, Progress, Registry};
use crate::rules::other_source;

use super::questions::{Questions, questions};

/// Questions under way at once, over all registries; each adapter bounds what one host gets.
const CONCURRENCY: usize = 64;

/// What is asked.
pub struct Sources<'a, L, R, M, P> {
    /// The target.
    pub live: &'a L,
    /// The registries.
    pub registry: &'a R,
    /// What they said before.
    pub memory: &'a M,
    /// Who hears of progress.
    pub progress: &'a P,
}

impl<L, R, M, P> Clone for Sources<'_, L, R, M, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<L, R, M, P> Copy for Sources<'_, L, R, M, P> {}

/// What is known before anything is asked.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Streams that have nothing to do at this version.
    pub settled: &'a BTreeMap<StreamId, String>,
    /// The target itself is asked, whatever was heard of it.
    pub anew: bool,
}

/// Looks at the target and asks the registries.
///
/// # Errors
///
/// When the target as a whole cannot be read.
pub async fn collect(
    sources: Sources<'_, impl LiveState, impl Registry, impl Memory, impl Progress>,
    desired: &Desired,
    known: Known<'_>,
    (policy, state): (&Policy, &PassState),
    now: Timestamp,
) -> Result<Live, PortError> {
    let Sources { live, registry, memory, progress } = sources;
    let mut namespaces: BTreeSet<String> =
        desired.streams.keys().chain(desired.held.keys()).map(|id| id.namespace.clone()).collect();
    // Where tags are copied from has to be looked at as well.
    let tags = desired.streams.iter().flat_map(|(id, stream)| stream.tags.values().map(move |tag| (id, tag)));
    let sources = tags.filter_map(|(id, tag)| other_source(id, &tag.reference));
    namespaces.extend(sources.map(|source| source.namespace));
    let observation =
        live.observe(Looking { namespaces: &namespaces, settled: known.settled, anew: known.anew }).await?;
    let mut observed = Live {
        observed_at: now,
        listed: observation.listed,
        streams: observation.streams,
        unreadable: observation.unreadable,
        settled: observation.settled,
        settled_tags: observation.settled_tags,
        scope: observation.scope,
        ..Live::default()
    };

    let relevant = |id: &&StreamId| !observed.settled.contains(*id);
    let all: BTreeSet<Question> = desired
        .streams
        .iter()
        .filter(|(id, _)| relevant(id))
        .flat_map(|(id, stream)| stream.tags.values().filter_map(|tag| tag.question(&id.namespace)))
        .collect();
    let all: Vec<Question> = all.into_iter().collect();
    let mut remembered = memory.upstream(&all);
    // That something is not there is only believed for a while by who looks again and again.
    remembered.retain(|_, upstream| state.patient || upstream.answer != Observed::Absent);
    let Questions { resolve, list } = questions(desired, &observed, (policy, state), &remembered, now);
    observed.upstream = remembered;

    let listings = ask(list, |question| async move {
        let answer = registry.tags(&question).await;
        (question, answer)
    })
    .await;
    let mut resolve = resolve;
    for (question, answer) in listings {
        if let Observed::Known(tags) = &answer {
            resolve.extend(first_tags(&question, tags.clone(), policy));
        }
        observed.listings.insert((question.namespace.clone(), question.reference.repository()), answer);
    }

    let answers = ask_told("asking registries", resolve, progress, |question| async move {
        let answer = registry.resolve(&question).await;
        (question, Upstream { answer, checked_at: now })
    })
    .await;
    let answers: BTreeMap<Question, Upstream> = answers.into_iter().collect();
    memory.keep_upstream(&answers);
    observed.upstream.extend(answers);
    observed.lists = lists(&observed, registry);
    Ok(observed)
}

/// Asks all questions, a bounded number at a time, in turns over the registries: one that is slow does not hold up the rest.
pub(super) async fn ask<A>(questions: impl IntoIterator<Item = Question>, one: impl Fn(Question) -> A) -> Vec<A::Output>
where
    A: Future,
{
    let mut hosts: BTreeMap<String, VecDeque<Question>> = BTreeMap::new();
    for question in questions {
        hosts.entry(question.reference.registry.clone()).or_default().push_back(question);
    }
    let mut turns = Vec::new();
    while !hosts.is_empty() {
        turns.extend(hosts.values_mut().filter_map(VecDeque::pop_front));
        hosts.retain(|_, left| !left.is_empty());
    }
    futures::stream::iter(turns).map(one).buffer_unordered(CONCURRENCY).collect().await
}

/// Likewise, and tells how far it has come.
pub(super) async fn ask_told<A: Future>(
    what: &str,
    questions: impl IntoIterator<Item = Question, IntoIter: ExactSizeIterator>,
    progress: &impl Progress,
    one: impl Fn(Question) -> A,
) -> Vec<A::Output> {
    let questions = questions.into_iter();
    progress.begin(what, questions.len());
    let answers = ask(questions, |question| {
        let asked = one(question);
        async move {
            let answer = asked.await;
            progress.advance(1);
            answer
        }
    })
    .await;
    progress.end();
    answers
}

/// What is known of the lists that tags have now: with it, a list that moved is told apart from an image that did.
fn lists(live: &Live, registry: &impl Registry) -> BTreeMap<Digest, Resolution> {
    let heads = live.streams.values().flat_map(|live| &live.stream.status.tags).filter_map(|tag| tag.items.first());
    let digests: BTreeSet<Digest> = heads.filter_map(|head| Digest::parse(&head.image)).collect();
    let moved = |digest: &Digest| {
        let is_now = |upstream: &Upstream| upstream.answer.known().is_some_and(|now| now.digest == *digest);
        !live.upstream.values().any(is_now)
    };
    // Only where some list was read at all is there anything to compare with.
    if !live.upstream.values().any(|upstream| upstream.answer.known().is_some_and(|now| !now.platforms.is_empty())) {
        return BTreeMap::new();
    }
    let known = digests.into_iter().filter(moved).filter_map(|digest| registry.known(&digest));
    known.filter(|list| !list.platforms.is_empty()).map(|list| (list.digest.clone(), list)).collect()
}

/// Questions for the tags that a repository import brings in: the first in the server's order (semantics 3.4).
fn first_tags(listed: &Question, mut tags: Vec<String>, policy: &Policy) -> Vec<Question> {
    import_order(&mut tags);
    tags.truncate(policy.repository_tags);
    let question =
        |tag: String| Question { reference: ImageReference { tag, ..listed.reference.clone() }, ..listed.clone() };
    tags.into_iter().map(question).collect()
}
