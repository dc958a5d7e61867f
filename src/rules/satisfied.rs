//! Whether a stream is already what an action would make it: how a plan that was interrupted is told from one that is stale.

use crate::model::{Action, ImportResult, StreamHeader};
use crate::openshift::{ImageStream, TagReference};

use super::State;
use super::events;
use super::import::{failure_message, has_image};

/// Whether an action has nothing left to do.
pub fn is_satisfied(state: State<'_>, action: &Action) -> bool {
    match (action, state.stream) {
        (Action::DeleteStream { .. }, stream) => stream.is_none(),
        (Action::DeleteTag { tag, .. }, stream) => {
            stream.is_none_or(|stream| stream.spec_tag(tag).is_none() && stream.status_tag(tag).is_none())
        }
        (_, None) => false,
        (Action::CreateStream { header, tags, .. }, Some(stream)) => {
            has_header(stream, header)
                && tags.iter().all(|tag| stream.spec_tag(&tag.name).is_some_and(|is| is_same(is, tag)))
        }
        (Action::UpdateStream { before, after, .. }, Some(stream)) => {
            let gone = |key: &String| !after.labels.contains_key(key) && stream.metadata.labels.contains_key(key);
            let gone_annotation =
                |key: &String| !after.annotations.contains_key(key) && stream.metadata.annotations.contains_key(key);
            has_header(stream, after)
                && !before.labels.keys().any(gone)
                && !before.annotations.keys().any(gone_annotation)
        }
        (Action::SetTag { after, .. }, Some(stream)) => {
            stream.spec_tag(&after.name).is_some_and(|is| is_same(is, after))
        }
        (Action::Follow { tag, source, .. }, Some(stream)) => {
            let other = if source.stream == *state.id { Some(stream) } else { state.others.stream(&source.stream) };
            let head = other.and_then(|other| other.head(&source.tag));
            head.is_some_and(|head| stream.head(tag).is_some_and(|mine| events::same_image(mine, head)))
        }
        (Action::Import { images, .. }, Some(stream)) => images.iter().all(|item| match &item.result {
            ImportResult::Image { digest } => {
                has_image(stream, item, digest)
                    && stream.status_tag(&item.tag).is_some_and(|list| list.conditions.is_empty())
            }
            ImportResult::Failure(failure) => stream.status_tag(&item.tag).is_some_and(|list| {
                list.conditions.iter().any(|is| is.reason == failure.reason && is.message == failure_message(failure))
            }),
        }),
    }
}

/// Equal but for the generation, which the server assigns.
pub fn is_same(a: &TagReference, b: &TagReference) -> bool {
    let TagReference { name, annotations, from, reference, generation: _, import_policy, reference_policy } = a;
    *name == b.name
        && *annotations == b.annotations
        && *from == b.from
        && *reference == b.reference
        && *import_policy == b.import_policy
        && *reference_policy == b.reference_policy
}

fn has_header(stream: &ImageStream, header: &StreamHeader) -> bool {
    let StreamHeader { labels, annotations, lookup_policy, docker_image_repository } = header;
    labels.iter().all(|(key, value)| stream.metadata.labels.get(key) == Some(value))
        && annotations.iter().all(|(key, value)| stream.metadata.annotations.get(key) == Some(value))
        && stream.spec.lookup_policy == *lookup_policy
        && stream.spec.docker_image_repository == *docker_image_repository
}
