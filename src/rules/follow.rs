//! Tags that follow tags (semantics 2.1 to 2.4).

use crate::api::{IMAGE_STREAM_TAG, TagReference};
use crate::model::{StreamId, TagId};

/// What a tag that names another tag follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AliasTarget {
    /// A tag of its own stream: it follows by itself.
    Own(String),
    /// A tag of another stream: copied when written, never followed by the server.
    Other(TagId),
}

/// The tag that a tag names with `from: {kind: ImageStreamTag}`; none for other kinds and names that are no tag.
///
/// `T` and `stream:T` in the own namespace are the own stream (statement 50).
pub fn alias_target(stream: &StreamId, tag: &TagReference) -> Option<AliasTarget> {
    let from = tag.from.as_ref().filter(|from| from.kind == IMAGE_STREAM_TAG)?;
    let namespace = if from.namespace.is_empty() { &stream.namespace } else { &from.namespace };
    let (name, target) = match from.name.split_once(':') {
        None if *namespace == stream.namespace => return Some(AliasTarget::Own(from.name.clone())),
        None => (stream.name.as_str(), from.name.as_str()),
        Some((_, rest)) if rest.contains(':') => return None,
        Some((name, target)) => (name, target),
    };
    if name == stream.name && *namespace == stream.namespace {
        return Some(AliasTarget::Own(target.to_owned()));
    }
    Some(AliasTarget::Other(StreamId::new(namespace, name).tag(target)))
}
