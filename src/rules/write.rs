//! Writing streams and tags: generations, then events, then aliases (semantics 1.7, 1.8, 2.3, 6.1).

use jiff::Timestamp;

use crate::openshift::{IMAGE_API_VERSION, ImageStream, ImageStreamStatus, NamedTagEventList, StreamId, TagReference};

use super::refusal::{Cause, Refusal};
use super::resolve::source_changed;
use super::{Effect, Server, State, events, validate};

/// POST of a stream: status and generations of the client are not taken (statement 1).
pub(super) fn create(state: State<'_>, request: &ImageStream, now: Timestamp) -> Result<Effect, Refusal> {
    if state.stream.is_some() {
        return Err(Refusal::already_exists("imagestreams", &state.id.name));
    }
    let mut stream = ImageStream { status: ImageStreamStatus::default(), ..request.clone() };
    stream.metadata.creation_timestamp = Some(now);
    store(state, None, stream, &[], now)
}

/// PUT of a stream: status stays as it is (statement 13).
pub(super) fn update(state: State<'_>, request: &ImageStream, now: Timestamp) -> Result<Effect, Refusal> {
    let stored = found(state)?;
    let stream = ImageStream { status: stored.status.clone(), ..request.clone() };
    store(state, Some(stored), stream, &[], now)
}

/// PUT of an ImageStreamTag: the tag is replaced whole.
pub(super) fn put_tag(state: State<'_>, tag: &TagReference, now: Timestamp) -> Result<Effect, Refusal> {
    let Some(stored) = state.stream else {
        let mut stream = new_stream(state.id);
        stream.spec.tags.push(tag.clone());
        return create(state, &stream, now);
    };
    let mut stream = stored.clone();
    stream.spec.tags.retain(|other| other.name != tag.name);
    stream.spec.tags.push(tag.clone());
    store(state, Some(stored), stream, &[], now)
}

/// Takes the image of the named tag over once more.
pub(super) fn follow(state: State<'_>, name: &str, now: Timestamp) -> Result<Effect, Refusal> {
    let stored = found(state)?;
    let not_found = || Refusal::not_found("imagestreamtags", &format!("{}:{name}", state.id.name));
    let tag = stored.spec_tag(name).ok_or_else(not_found)?;
    let from = tag.from.as_ref().ok_or_else(not_found)?;
    let mut stream = stored.clone();
    let head =
        |stream: &ImageStream| stream.head(name).map(|head| (head.image.clone(), head.docker_image_reference.clone()));
    let before = head(&stream);
    let mut trial = stream.clone();
    trial.metadata.generation += 1;
    let event = events::copied(state, &mut trial, tag, from, now).map_err(|cause| wrapped(state.id, &[cause]))?;
    if event.as_ref().map(|event| (event.image.clone(), event.docker_image_reference.clone())) == before {
        return Ok(Effect { stream: Some(stream), changed: false });
    }
    // A new write with another source would raise the generation of the stream and of the tag: so does this.
    stream.metadata.generation += 1;
    let generation = stream.metadata.generation;
    for tag in stream.spec.tags.iter_mut().filter(|tag| tag.name == name) {
        tag.generation = Some(generation);
    }
    if let Some(event) = event {
        events::add(&mut stream, name, event);
    }
    events::propagate(state.id, &mut stream, &[]);
    Ok(Effect { stream: Some(stream), changed: true })
}

/// DELETE of an ImageStreamTag: spec and status both go (statement 153).
pub(super) fn delete_tag(state: State<'_>, tag: &str) -> Result<Effect, Refusal> {
    let stored = state.stream.ok_or_else(|| Refusal::not_found("imagestreams", &state.id.name))?;
    if stored.spec_tag(tag).is_none() && stored.status_tag(tag).is_none() {
        return Err(Refusal::not_found("imagestreamtags", &format!("{}:{tag}", state.id.name)));
    }
    let mut stream = stored.clone();
    stream.spec.tags.retain(|other| other.name != tag);
    stream.status.tags.retain(|other: &NamedTagEventList| other.tag != tag);
    if stream.spec != stored.spec {
        stream.metadata.generation += 1;
    }
    Ok(Effect { stream: Some(stream), changed: true })
}

/// DELETE of a stream.
pub(super) fn delete(state: State<'_>) -> Result<Effect, Refusal> {
    found(state)?;
    Ok(Effect { stream: None, changed: true })
}

/// A stream with a name and nothing else.
pub(super) fn new_stream(id: &StreamId) -> ImageStream {
    let mut stream = ImageStream {
        kind: "ImageStream".to_owned(),
        api_version: IMAGE_API_VERSION.to_owned(),
        ..ImageStream::default()
    };
    stream.metadata.name.clone_from(&id.name);
    stream.metadata.namespace.clone_from(&id.namespace);
    stream
}

fn found(state: State<'_>) -> Result<&ImageStream, Refusal> {
    state.stream.ok_or_else(|| Refusal::not_found("imagestreams", &state.id.name))
}

fn wrapped(id: &StreamId, causes: &[Cause]) -> Refusal {
    Refusal::invalid("ImageStream", &id.name, vec![Cause::inside(&id.name, causes)])
}

/// The common end of all writes. `stream` is what was asked for, with the status to start from; `touched` are tags that
/// an import has just given an event.
pub(super) fn store(
    state: State<'_>,
    stored: Option<&ImageStream>,
    mut stream: ImageStream,
    touched: &[String],
    now: Timestamp,
) -> Result<Effect, Refusal> {
    tags_as_map(&mut stream.spec.tags);
    assign_generations(stored, &mut stream, &state.id.namespace);
    fill_status_generations(&mut stream);
    // Events before validation, and both shown together: recorded for an empty `from.name`.
    let events = events::on_write(state, stored, &mut stream, now);
    let mut causes: Vec<Cause> = events.err().map(|inner| Cause::inside(&state.id.name, &inner)).into_iter().collect();
    causes.extend(validate::stream(state.id, &stream));
    if !causes.is_empty() {
        return Err(Refusal::invalid("ImageStream", &state.id.name, causes));
    }
    events::propagate(state.id, &mut stream, touched);
    set_repositories(state.id, &mut stream, state.server);
    if let Some(stored) = stored {
        stream.metadata.uid.clone_from(&stored.metadata.uid);
        stream.metadata.creation_timestamp = stored.metadata.creation_timestamp;
        stream.metadata.resource_version.clone_from(&stored.metadata.resource_version);
    }
    let changed = stored.is_none_or(|stored| *stored != stream);
    Ok(Effect { stream: Some(stream), changed })
}

/// The server keeps a map: sorted by name, of equal names the last (statement 14).
fn tags_as_map(tags: &mut Vec<TagReference>) {
    tags.reverse();
    tags.sort_by(|a, b| a.name.cmp(&b.name));
    tags.dedup_by(|later, first| later.name == first.name);
}

/// Semantics 1.7, in its order.
fn assign_generations(stored: Option<&ImageStream>, stream: &mut ImageStream, namespace: &str) {
    let Some(stored) = stored else {
        stream.metadata.generation = 1;
        for tag in &mut stream.spec.tags {
            tag.generation = Some(1);
        }
        return;
    };
    for tag in stream.spec.tags.iter_mut().filter(|tag| tag.generation != Some(0)) {
        if let Some(was) = stored.spec_tag(&tag.name) {
            tag.generation = was.generation;
        }
    }
    let raised = stored.metadata.generation + i64::from(stream.spec != stored.spec);
    stream.metadata.generation = raised;
    for tag in &mut stream.spec.tags {
        let was = stored.spec_tag(&tag.name);
        if tag.generation == Some(0) || was.is_none_or(|was| source_changed(was, tag, namespace)) {
            tag.generation = Some(raised);
        }
    }
}

/// Heads that carry no generation yet take that of their spec tag (semantics 1.8, status path).
fn fill_status_generations(stream: &mut ImageStream) {
    let generation = stream.metadata.generation;
    let spec: Vec<(String, Option<i64>)> =
        stream.spec.tags.iter().map(|tag| (tag.name.clone(), tag.generation)).collect();
    for list in &mut stream.status.tags {
        if let Some(head) = list.items.first_mut().filter(|head| head.generation == 0) {
            let own = spec.iter().find(|(name, _)| *name == list.tag).and_then(|(_, generation)| *generation);
            head.generation = own.unwrap_or(generation);
        }
    }
}

/// Semantics 1.9.
fn set_repositories(id: &StreamId, stream: &mut ImageStream, server: &Server) {
    stream.status.docker_image_repository = match &server.internal_registry {
        Some(host) => format!("{host}/{id}"),
        None => stream.spec.docker_image_repository.clone(),
    };
}
