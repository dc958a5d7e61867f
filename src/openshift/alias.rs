//! What the `from` of a tag names inside of OpenShift: a tag or an image of a stream (semantics 1.8, 2.1 to 2.4).

use super::id::{StreamId, TagId};
use super::image_stream::TagReference;
use super::meta::ObjectReference;
use super::names::split_optional;
use super::{DOCKER_IMAGE, IMAGE_STREAM_IMAGE, IMAGE_STREAM_TAG};

/// What a tag takes its image from, where that is a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamSource {
    /// A tag: an alias, if it is one of the own stream; otherwise it is copied when written, and never followed by the server.
    Tag(TagId),
    /// An image that a stream has.
    Image {
        /// The stream.
        stream: StreamId,
        /// The digest, or the beginning of it, with or without the algorithm.
        id: String,
    },
}

impl StreamSource {
    /// The stream that is named.
    pub fn stream(&self) -> &StreamId {
        match self {
            Self::Tag(tag) => &tag.stream,
            Self::Image { stream, .. } => stream,
        }
    }
}

/// What a `from` names; none for images of registries and for names that the server refuses.
///
/// `<tag>`, `<stream>:<tag>`, `<id>` or `<stream>@<id>`: without a stream it is the tag's own, without a namespace the own one.
/// So `T` with the namespace `x` is a tag of the stream of the same name in `x`, as the server has it.
pub fn stream_source(own: &StreamId, from: &ObjectReference) -> Option<StreamSource> {
    let namespace = namespace_of(own, from);
    let stream = |name: Option<&str>| StreamId::new(namespace, name.unwrap_or(&own.name));
    let (name, version) = parts(from)?;
    Some(match from.kind == IMAGE_STREAM_TAG {
        true => StreamSource::Tag(stream(name).tag(version)),
        false => StreamSource::Image { stream: stream(name), id: version.to_owned() },
    })
}

/// Whether the name of a `from` has the form that its kind wants; false for images of registries.
pub fn is_stream_source(from: &ObjectReference) -> bool {
    parts(from).is_some()
}

fn parts(from: &ObjectReference) -> Option<(Option<&str>, &str)> {
    match from.kind.as_str() {
        IMAGE_STREAM_TAG => split_optional(&from.name, ':'),
        IMAGE_STREAM_IMAGE => split_optional(&from.name, '@'),
        _ => None,
    }
}

/// The tag that a tag names with `from: {kind: ImageStreamTag}`, of its own stream or another one.
pub fn alias_target(own: &StreamId, tag: &TagReference) -> Option<TagId> {
    match stream_source(own, tag.from.as_ref()?)? {
        StreamSource::Tag(target) => Some(target),
        StreamSource::Image { .. } => None,
    }
}

/// A tag with one spelling for what can be spelled in two ways (semantics 1.6, 2.3): the own namespace is left out, and so is
/// that of a registry's image, which imports drop; an alias of the own stream is `T`, not `stream:T`.
pub fn normalised(own: &StreamId, tag: &TagReference) -> TagReference {
    let mut tag = tag.clone();
    if let Some(from) = &mut tag.from {
        let (_, namespace, name) = spelling(own, from);
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        (from.namespace, from.name) = (namespace, name);
    }
    tag
}

/// Whether two tags name the same source, in whatever spelling.
pub fn is_same_source(own: &StreamId, one: Option<&ObjectReference>, other: Option<&ObjectReference>) -> bool {
    one.map(|from| spelling(own, from)) == other.map(|from| spelling(own, from))
}

/// Kind, namespace and name in the one spelling.
fn spelling<'a>(own: &StreamId, from: &'a ObjectReference) -> (&'a str, &'a str, &'a str) {
    let is_own = from.namespace.is_empty() || from.namespace == own.namespace;
    let namespace = if is_own || from.kind == DOCKER_IMAGE { "" } else { &from.namespace };
    let target = from.name.strip_prefix(&own.name).and_then(|rest| rest.strip_prefix(':'));
    let target = target.filter(|_| from.kind == IMAGE_STREAM_TAG && is_own);
    (&from.kind, namespace, target.unwrap_or(&from.name))
}

/// The other way to name what a tag of the own stream names: `stream:T` for `T`, and back.
pub fn other_spelling(own: &StreamId, name: &str) -> String {
    match name.split_once(':') {
        Some((_, target)) => target.to_owned(),
        None => format!("{}:{name}", own.name),
    }
}

/// The namespace that a `from` means.
pub(super) fn namespace_of<'a>(own: &'a StreamId, from: &'a ObjectReference) -> &'a str {
    if from.namespace.is_empty() { &own.namespace } else { &from.namespace }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(kind: &str, namespace: &str, name: &str) -> ObjectReference {
        ObjectReference { kind: kind.to_owned(), namespace: namespace.to_owned(), name: name.to_owned() }
    }

    fn check(kind: &str, namespace: &str, name: &str, expected: &str) {
        let shown = match stream_source(&StreamId::new("shop", "web"), &from(kind, namespace, name)) {
            Some(StreamSource::Tag(tag)) => tag.to_string(),
            Some(StreamSource::Image { stream, id }) => format!("{stream}@{id}"),
            None => "nothing".to_owned(),
        };
        assert_eq!(shown, expected, "{kind} {namespace} {name}");
    }

    #[test]
    fn from_names_a_tag_or_an_image_of_a_stream() {
        for namespace in ["", "shop"] {
            check(IMAGE_STREAM_TAG, namespace, "1.4", "shop/web:1.4");
            check(IMAGE_STREAM_TAG, namespace, "web:1.4", "shop/web:1.4");
            check(IMAGE_STREAM_TAG, namespace, "base:1.4", "shop/base:1.4");
            check(IMAGE_STREAM_IMAGE, namespace, "sha256:ab", "shop/web@sha256:ab");
        }
        // A bare name in another namespace is of the stream of the same name there.
        check(IMAGE_STREAM_TAG, "platform", "1.4", "platform/web:1.4");
        check(IMAGE_STREAM_IMAGE, "platform", "ab", "platform/web@ab");
        check(IMAGE_STREAM_IMAGE, "platform", "base@ab", "platform/base@ab");
        for malformed in ["", ":1.4", "base:", "a:b:c"] {
            check(IMAGE_STREAM_TAG, "", malformed, "nothing");
        }
        for malformed in ["", "@ab", "base@", "a@b@c"] {
            check(IMAGE_STREAM_IMAGE, "", malformed, "nothing");
        }
        check(DOCKER_IMAGE, "", "quay.io/a/b:1", "nothing");
    }

    #[test]
    fn two_spellings_are_one_tag() {
        let own = StreamId::new("shop", "web");
        let name = |kind: &str, namespace: &str, name: &str| {
            let tag = TagReference { from: Some(from(kind, namespace, name)), ..TagReference::default() };
            let from = normalised(&own, &tag).from.unwrap_or_default();
            format!("{} {}", from.namespace, from.name)
        };
        assert_eq!(name(IMAGE_STREAM_TAG, "shop", "web:1"), " 1");
        assert_eq!(name(IMAGE_STREAM_TAG, "other", "web:1"), "other web:1");
        assert_eq!(name(DOCKER_IMAGE, "any", "a/b:1"), " a/b:1");
        assert_eq!(other_spelling(&own, "1"), "web:1");
        assert_eq!(other_spelling(&own, "web:1"), "1");
    }
}
