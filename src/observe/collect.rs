//! Asking, with bounded concurrency.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use jiff::Timestamp;

use crate::model::{Desired, ImageReference, Live, Observed, Policy, Question, StreamId, Upstream, import_order};
use crate::ports::{LiveState, Memory, PortError, Progress, Registry};

use super::questions::{Questions, questions};

/// Questions under way at once, over all registries; each adapter bounds what one host gets.
const CONCURRENCY: usize = 64;

/// Whom to ask.
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

/// Looks at the target and asks the registries.
///
/// # Errors
///
/// When the target as a whole cannot be read.
pub async fn collect(
    sources: Sources<'_, impl LiveState, impl Registry, impl Memory, impl Progress>,
    desired: &Desired,
    settled: &BTreeMap<StreamId, String>,
    policy: &Policy,
    now: Timestamp,
) -> Result<Live, PortError> {
    let Sources { live, registry, memory, progress } = sources;
    let namespaces: BTreeSet<String> =
        desired.streams.keys().chain(desired.held.keys()).map(|id| id.namespace.clone()).collect();
    let observation = live.observe(&namespaces, settled).await?;
    let mut observed = Live {
        observed_at: now,
        listed: observation.listed,
        streams: observation.streams,
        settled: observation.settled,
        settled_tags: observation.settled_tags,
        scope: observation.scope,
        ..Live::default()
    };

    let relevant = |id: &&StreamId| !observed.settled.contains(*id);
    let tags = desired.streams.iter().filter(|(id, _)| relevant(id)).flat_map(|(_, stream)| stream.tags.values());
    let all: Vec<Question> = tags.filter_map(|tag| tag.question()).collect::<BTreeSet<_>>().into_iter().collect();
    let remembered = memory.upstream(&all);
    let Questions { resolve, list } = questions(desired, &observed, policy, &remembered, now);
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
        observed.listings.insert(question.reference.repository(), answer);
    }

    progress.begin("asking registries", resolve.len());
    let answers = ask(resolve, |question| async move {
        let answer = registry.resolve(&question).await;
        progress.advance(1);
        (question, Upstream { answer, checked_at: now })
    })
    .await;
    progress.end();
    let answers: BTreeMap<Question, Upstream> = answers.into_iter().collect();
    memory.keep_upstream(&answers);
    observed.upstream.extend(answers);
    Ok(observed)
}

async fn ask<A>(questions: BTreeSet<Question>, one: impl Fn(Question) -> A) -> Vec<A::Output>
where
    A: Future,
{
    futures::stream::iter(questions).map(one).buffer_unordered(CONCURRENCY).collect().await
}

/// Questions for the tags that a repository import brings in: the first in the server's order (semantics 3.4).
fn first_tags(listed: &Question, mut tags: Vec<String>, policy: &Policy) -> Vec<Question> {
    import_order(&mut tags);
    tags.truncate(policy.repository_tags);
    let question = |tag: String| Question {
        reference: ImageReference { tag, ..listed.reference.clone() },
        insecure: listed.insecure,
    };
    tags.into_iter().map(question).collect()
}
