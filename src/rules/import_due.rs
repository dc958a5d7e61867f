//! Whether a tag has to be imported, whatever upstream has.

use crate::openshift::{ImageStream, StreamId, TagEventCondition, TagReference, is_same_source};

/// Why a tag has to be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportDue<'a> {
    /// Its last import failed.
    Failed(&'a TagEventCondition),
    /// It has no image, or is not in the spec.
    Missing,
    /// It names another source.
    SourceChanged,
    /// Its spec is newer than what was imported (semantics 4.1).
    SpecAhead,
}

/// Why a tag of the stream `own` has to be imported to be what `wanted` says; none when its image is the one that was asked for.
pub fn import_due<'a>(own: &StreamId, stream: Option<&'a ImageStream>, wanted: &TagReference) -> Option<ImportDue<'a>> {
    let Some(stream) = stream else { return Some(ImportDue::Missing) };
    let list = stream.status_tag(&wanted.name);
    if let Some(condition) = list.and_then(|list| list.conditions.first()) {
        return Some(ImportDue::Failed(condition));
    }
    let (Some(head), Some(spec)) = (list.and_then(|list| list.items.first()), stream.spec_tag(&wanted.name)) else {
        return Some(ImportDue::Missing);
    };
    if !is_same_source(own, spec.from.as_ref(), wanted.from.as_ref())
        || spec.reference != wanted.reference
        || spec.import_policy.import_mode != wanted.import_policy.import_mode
    {
        return Some(ImportDue::SourceChanged);
    }
    spec.generation.is_some_and(|generation| generation > head.generation).then_some(ImportDue::SpecAhead)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openshift::{DOCKER_IMAGE, NamedTagEventList, ObjectReference, TagEvent};

    fn tag(namespace: &str, name: &str) -> TagReference {
        let from =
            ObjectReference { kind: DOCKER_IMAGE.to_owned(), namespace: namespace.to_owned(), name: name.to_owned() };
        TagReference { name: "1".to_owned(), from: Some(from), generation: Some(2), ..TagReference::default() }
    }

    #[test]
    fn a_tag_is_due_for_one_of_four_reasons() {
        let own = StreamId::new("shop", "web");
        let wanted = tag("", "quay.io/a/b:1");
        assert_eq!(import_due(&own, None, &wanted), Some(ImportDue::Missing));
        let mut stream = ImageStream::default();
        stream.spec.tags = vec![wanted.clone()];
        assert_eq!(import_due(&own, Some(&stream), &wanted), Some(ImportDue::Missing));
        let item = TagEvent { generation: 2, ..TagEvent::default() };
        let list = NamedTagEventList { tag: "1".to_owned(), items: vec![item], conditions: Vec::new() };
        stream.status.tags = vec![list];
        assert_eq!(import_due(&own, Some(&stream), &wanted), None);
        // A registry's image has no namespace: what stands there is no other source, neither the own one nor another.
        for namespace in ["shop", "other"] {
            stream.spec.tags = vec![tag(namespace, "quay.io/a/b:1")];
            assert_eq!(import_due(&own, Some(&stream), &wanted), None, "{namespace}");
        }
        assert_eq!(import_due(&own, Some(&stream), &tag("", "quay.io/a/b:2")), Some(ImportDue::SourceChanged));
        stream.spec.tags[0].generation = Some(3);
        assert_eq!(import_due(&own, Some(&stream), &wanted), Some(ImportDue::SpecAhead));
        stream.status.tags[0].conditions = vec![TagEventCondition::default()];
        assert!(matches!(import_due(&own, Some(&stream), &wanted), Some(ImportDue::Failed(_))));
    }
}
