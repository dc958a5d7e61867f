//! The history of a tag: what a write puts into it, how it grows, and how aliases follow.

use jiff::Timestamp;

use crate::openshift::{
    DOCKER_IMAGE, ImageReference, ImageStream, NamedTagEventList, ObjectReference, StreamId, StreamSource, TagEvent,
    TagId, TagReference, alias_target, stream_source,
};

use super::State;

use super::refusal::Cause;
use super::resolve::source_changed;

/// Adds an event by the collapse rules (semantics 2.5). Says whether anything changed.
pub(super) fn add(stream: &mut ImageStream, tag: &str, event: TagEvent) -> bool {
    let at = match stream.status.tags.binary_search_by(|list| list.tag.as_str().cmp(tag)) {
        Ok(at) => at,
        Err(at) => {
            stream.status.tags.insert(at, NamedTagEventList { tag: tag.to_owned(), ..NamedTagEventList::default() });
            at
        }
    };
    let list = &mut stream.status.tags[at];
    match list.items.first_mut() {
        None => list.items.push(event),
        Some(head) => {
            let same_reference = head.docker_image_reference == event.docker_image_reference;
            let same_image = head.image == event.image;
            if same_reference && same_image && head.generation == event.generation {
                return false;
            }
            if same_reference || same_image {
                // `created` stays: it is still the same entry.
                *head = TagEvent { created: head.created, ..event };
            } else {
                list.items.insert(0, event);
            }
        }
    }
    list.conditions.clear();
    true
}

/// Whether two events stand for the same image at the same place.
pub(super) fn same_image(a: &TagEvent, b: &TagEvent) -> bool {
    a.image == b.image && a.docker_image_reference == b.docker_image_reference
}

/// Writes the events of tags that are new or name another source (semantics 1.8). `stored` is the stream before.
pub(super) fn on_write(
    state: State<'_>,
    stored: Option<&ImageStream>,
    stream: &mut ImageStream,
    now: Timestamp,
) -> Result<(), Vec<Cause>> {
    let generation = stream.metadata.generation;
    let changed = |tag: &&TagReference| {
        let was = stored.and_then(|stored| stored.spec_tag(&tag.name));
        was.is_none_or(|was| source_changed(was, tag, &state.id.namespace))
    };
    // Targets before the aliases that follow them: the server's order is random, ours fills whole chains.
    let mut tags: Vec<TagReference> = stream.spec.tags.iter().filter(changed).cloned().collect();
    tags.sort_by_cached_key(|tag| (chain_length(state.id, stream, tag), tag.name.clone()));
    let mut causes = Vec::new();
    for tag in &tags {
        let Some(from) = &tag.from else { continue };
        match (from.kind.as_str(), tag.reference) {
            (DOCKER_IMAGE, false) if !from.name.is_empty() => {}
            (DOCKER_IMAGE, true) if !from.name.is_empty() => {
                let reference = from.name.clone();
                let event = TagEvent {
                    created: Some(now),
                    docker_image_reference: reference,
                    image: String::new(),
                    generation,
                };
                add(stream, &tag.name, event);
            }
            _ => match copied(state, stream, tag, from, now) {
                Ok(Some(event)) => {
                    add(stream, &tag.name, event);
                }
                Ok(None) => {}
                Err(cause) => causes.push(cause),
            },
        }
    }
    if causes.is_empty() { Ok(()) } else { Err(causes) }
}

/// The event of a tag that names another tag or an image of a stream; none where the other tag is empty.
pub(super) fn copied(
    state: State<'_>,
    stream: &mut ImageStream,
    tag: &TagReference,
    from: &ObjectReference,
    now: Timestamp,
) -> Result<Option<TagEvent>, Cause> {
    let field = format!("spec.tags[{}].from.name", tag.name);
    let form = || Cause::invalid(&field, &from.name, "must be of the form <tag>, <repo>:<tag>, <id>, or <repo>@<id>");
    let generation = stream.metadata.generation;
    let named = stream_source(state.id, from).ok_or_else(form)?;
    let source_id = named.stream();
    let own = source_id == state.id;
    let not_found = || {
        let message = format!("Not found: \"{}\"", from.name);
        Cause { field: field.clone(), reason: "FieldValueNotFound", message }
    };
    let source: &ImageStream = if own { stream } else { state.others.stream(source_id).ok_or_else(not_found)? };

    let mut event = match &named {
        StreamSource::Tag(target) => match source.head(&target.tag) {
            None => return Ok(None),
            Some(head) => TagEvent { generation, ..head.clone() },
        },
        StreamSource::Image { id, .. } => {
            let head = find_image(source, id).map_err(|problem| {
                Cause::invalid(&field, &from.name, &format!("error generating tag event: {problem}"))
            })?;
            TagEvent { created: Some(now), generation, ..head.clone() }
        }
    };
    if !tag.reference && !own {
        move_repository(state, source_id, &mut event);
    }
    // The server edits the source's own head in place: it takes the new generation (statement 29, and recorded). Not where
    // the source has an import before it: that head would then look like the image that is still to come.
    if own && let StreamSource::Tag(TagId { tag: target, .. }) = &named {
        let wished = stream.spec_tag(target).and_then(|tag| tag.generation);
        let list = stream.status.tags.iter_mut().find(|list| list.tag == *target);
        if let Some(head) = list.and_then(|list| list.items.first_mut())
            && wished.is_none_or(|wished| wished <= head.generation)
        {
            head.generation = generation;
        }
    }
    Ok(Some(event))
}

/// The event of the image whose digest begins with `id` (with or without the algorithm).
fn find_image<'a>(stream: &'a ImageStream, id: &str) -> Result<&'a TagEvent, String> {
    let matches = |event: &&TagEvent| {
        event.image.starts_with(id) || event.image.split_once(':').is_some_and(|(_, hex)| hex.starts_with(id))
    };
    let mut found = stream.status.tags.iter().flat_map(|list| &list.items).filter(matches);
    let first = found.next().ok_or_else(|| format!("imagestreamimage.image.openshift.io \"{id}\" not found"))?;
    if found.any(|event| event.image != first.image) {
        return Err(format!("multiple images match the prefix \"{id}\""));
    }
    Ok(first)
}

/// An image of the integrated registry is named in the stream that uses it, so that pulls are allowed there
/// (semantics 1.8 step 4).
fn move_repository(state: State<'_>, source: &StreamId, event: &mut TagEvent) {
    let Some(host) = &state.server.internal_registry else { return };
    let Ok(reference) = event.docker_image_reference.parse::<ImageReference>() else { return };
    if reference.repository() == format!("{host}/{source}")
        && let Some(digest) = &reference.digest
    {
        event.docker_image_reference = format!("{host}/{}@{digest}", state.id);
    }
}

/// The tag of its own stream that a tag is an alias of.
fn own_target(id: &StreamId, tag: &TagReference) -> Option<String> {
    alias_target(id, tag).filter(|target| target.stream == *id).map(|target| target.tag)
}

/// How many aliases of its own stream a tag goes through; a circle counts as far as it is long.
fn chain_length(id: &StreamId, stream: &ImageStream, tag: &TagReference) -> usize {
    let mut tag = tag;
    for length in 0..=stream.spec.tags.len() {
        let Some(target) = own_target(id, tag) else { return length };
        match stream.spec_tag(&target) {
            Some(next) => tag = next,
            None => return length,
        }
    }
    stream.spec.tags.len()
}

/// Gives every alias of its own stream the current image of what it follows, until nothing moves (semantics 2.3; the
/// server stops after one hop, which is called a defect to tolerate). Only aliases whose *image* differs move, except
/// behind the `touched` tags, whose aliases take over the generation too, as the server does on imports.
pub(super) fn propagate(id: &StreamId, stream: &mut ImageStream, touched: &[String]) {
    let mut aliases: Vec<(usize, String, String)> = stream
        .spec
        .tags
        .iter()
        .filter_map(|tag| Some((chain_length(id, stream, tag), tag.name.clone(), own_target(id, tag)?)))
        .collect();
    aliases.sort();
    let mut touched = touched.to_vec();
    // Sorted by length of the chain, one round reaches the end of every chain; circles settle in as many as they have.
    for _ in 0..=aliases.len() {
        let mut moved = false;
        for (_, alias, target) in &aliases {
            let Some(head) = stream.head(target).cloned() else { continue };
            let same = stream.head(alias).is_some_and(|mine| same_image(mine, &head));
            if same && !touched.contains(target) {
                continue;
            }
            if add(stream, alias, head) {
                moved = true;
                if !touched.contains(alias) {
                    touched.push(alias.clone());
                }
            }
        }
        if !moved {
            return;
        }
    }
}
