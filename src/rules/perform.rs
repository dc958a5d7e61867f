//! The meaning of a plan's action, in requests.

use jiff::Timestamp;

use crate::model::{Action, StreamHeader};
use crate::openshift::ImageStream;

use super::refusal::Refusal;
use super::{Effect, Request, State, answer, write};

/// What an action makes of a stream. Deterministic: the same state, action and time give the same effect.
///
/// # Errors
///
/// What the API server would refuse.
pub fn perform(state: State<'_>, action: &Action, now: Timestamp) -> Result<Effect, Refusal> {
    match action {
        Action::CreateStream { header, tags, .. } => {
            let mut stream = write::new_stream(state.id);
            set_header(&mut stream, &StreamHeader::default(), header);
            stream.spec.tags.clone_from(tags);
            answer(state, &Request::Create(&stream), now)
        }
        Action::UpdateStream { before, after, .. } => {
            let mut stream = stored(state)?;
            set_header(&mut stream, before, after);
            answer(state, &Request::Update(&stream), now)
        }
        Action::SetTag { after, .. } => answer(state, &Request::PutTag(after), now),
        Action::Follow { tag, .. } => answer(state, &Request::Follow(tag), now),
        Action::Import { images, .. } => answer(state, &Request::Import(images), now),
        Action::DeleteTag { tag, .. } => answer(state, &Request::DeleteTag(tag), now),
        Action::DeleteStream { .. } => answer(state, &Request::Delete, now),
    }
}

fn stored(state: State<'_>) -> Result<ImageStream, Refusal> {
    state.stream.cloned().ok_or_else(|| Refusal::not_found("imagestreams", &state.id.name))
}

/// Sets what `after` names, takes away what only `before` names, leaves what neither names.
fn set_header(stream: &mut ImageStream, before: &StreamHeader, after: &StreamHeader) {
    let StreamHeader { labels, annotations, lookup_policy, docker_image_repository } = after;
    for (map, was, is) in [
        (&mut stream.metadata.labels, &before.labels, labels),
        (&mut stream.metadata.annotations, &before.annotations, annotations),
    ] {
        map.retain(|key, _| !was.contains_key(key) || is.contains_key(key));
        map.extend(is.clone());
    }
    stream.spec.lookup_policy = *lookup_policy;
    stream.spec.docker_image_repository.clone_from(docker_image_repository);
}
