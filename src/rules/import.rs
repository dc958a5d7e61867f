//! Writing what an import found (semantics 3.8).

use jiff::Timestamp;

use crate::model::{ImportFailure, ImportItem, ImportResult};
use crate::openshift::{
    DOCKER_IMAGE, Digest, ImageReference, ImageStream, ImageStreamImportSpec, NamedTagEventList, ObjectReference,
    REPOSITORY_CHECK_ANNOTATION, TagEvent, TagEventCondition, TagReference,
};

use super::refusal::{Cause, Refusal};
use super::{Effect, State, events, write};

/// What the server refuses in an import before it looks anything up (semantics 3.2, step 1).
///
/// # Errors
///
/// The refusal, with all its causes.
pub fn check_import(stream: &str, spec: &ImageStreamImportSpec) -> Result<(), Refusal> {
    let mut causes = Vec::new();
    if spec.images.is_empty() && spec.repository.is_none() {
        let message = "Invalid value: null: you must specify at least one image or a repository import".to_owned();
        causes.push(Cause { field: "spec.images".to_owned(), reason: "FieldValueInvalid", message });
    }
    for (at, image) in spec.images.iter().enumerate() {
        causes.extend(check_from(&format!("spec.images[{at}].from"), &image.from));
    }
    if let Some(repository) = &spec.repository {
        causes.extend(check_from("spec.repository.from", &repository.from));
        if repository.from.name.parse().is_ok_and(|from: ImageReference| !from.tag.is_empty() || from.digest.is_some())
        {
            let detail = "you must specify an image repository with no tag or digest";
            causes.push(Cause::invalid("spec.repository.from.name", &repository.from.name, detail));
        }
    }
    if causes.is_empty() { Ok(()) } else { Err(Refusal::invalid("ImageStreamImport", stream, causes)) }
}

fn check_from(field: &str, from: &ObjectReference) -> Option<Cause> {
    if from.kind != DOCKER_IMAGE {
        return Some(Cause::invalid(format!("{field}.kind"), &from.kind, "only DockerImage is supported"));
    }
    if from.name.is_empty() {
        return Some(Cause::required(format!("{field}.name"), ""));
    }
    let error = from.name.parse::<ImageReference>().err()?;
    Some(Cause::invalid(format!("{field}.name"), &from.name, &error.to_string()))
}

/// ImageStreamImport with `import: true`, its images looked up. A failed image never fails the request.
pub(super) fn import(state: State<'_>, items: &[ImportItem], now: Timestamp) -> Result<Effect, Refusal> {
    let mut stream = state.stream.cloned().unwrap_or_else(|| write::new_stream(state.id));
    let generation = state.stream.map_or(0, |stream| stream.metadata.generation) + 1;
    let before = stream.clone();
    let mut touched = Vec::new();
    for item in items {
        match &item.result {
            ImportResult::Image { digest } => {
                if success(&mut stream, item, digest, generation, now) {
                    touched.push(item.tag.clone());
                }
            }
            ImportResult::Failure(failure) => fail(&mut stream, item, failure, generation, now),
        }
    }
    let checked = stream.metadata.annotations.contains_key(REPOSITORY_CHECK_ANNOTATION);
    if state.stream.is_some() && stream == before && checked {
        return Ok(Effect { stream: Some(stream), changed: false });
    }
    stream.metadata.annotations.insert(REPOSITORY_CHECK_ANNOTATION.to_owned(), now.to_string());
    if state.stream.is_none() {
        stream.metadata.creation_timestamp = Some(now);
    }
    write::store(state, state.stream, stream, &touched, now)
}

/// What pods pull for an import that brings in this image.
fn pull_spec(item: &ImportItem, digest: &Digest) -> String {
    // What does not parse was refused before it was looked up; should it come here all the same, it stays as written.
    item.from.parse().map_or_else(|_| item.from.clone(), |from: ImageReference| from.at(digest))
}

/// Whether a tag has exactly the image that an import would bring in, and nothing newer is asked for.
pub(super) fn has_image(stream: &ImageStream, item: &ImportItem, digest: &Digest) -> bool {
    let spec = stream.spec_tag(&item.tag).and_then(|tag| tag.generation);
    stream.head(&item.tag).is_some_and(|head| {
        head.image == digest.as_str()
            && head.docker_image_reference == pull_spec(item, digest)
            && spec.is_some_and(|generation| generation <= head.generation)
    })
}

/// The sentence that a failed import leaves behind (statement 82).
pub(super) fn failure_message(failure: &ImportFailure) -> &str {
    if failure.message.is_empty() { "unknown error prevented import" } else { &failure.message }
}

/// Says whether the tag got an event.
fn success(stream: &mut ImageStream, item: &ImportItem, digest: &Digest, generation: i64, now: Timestamp) -> bool {
    let pull_spec = pull_spec(item, digest);
    let current = has_image(stream, item, digest);
    let event =
        TagEvent { created: Some(now), docker_image_reference: pull_spec, image: digest.to_string(), generation };
    if !current {
        let tag = spec_tag(stream, item);
        let (reference, mut policy) = (tag.reference, tag.reference_policy);
        if tag.generation.is_none() {
            policy = item.reference_policy;
        }
        let annotations = std::mem::take(&mut tag.annotations);
        *tag = TagReference { annotations, reference, reference_policy: policy, ..wanted(item) };
        events::add(stream, &item.tag, event);
    }
    // Always: the request's policy, and no failure any more (statement 86).
    spec_tag(stream, item).import_policy = item.import_policy;
    if let Some(list) = stream.status.tags.iter_mut().find(|list| list.tag == item.tag) {
        list.conditions.clear();
    }
    !current
}

fn fail(stream: &mut ImageStream, item: &ImportItem, failure: &ImportFailure, generation: i64, now: Timestamp) {
    let is_new = stream.spec_tag(&item.tag).is_none();
    if is_new {
        let policy = item.reference_policy;
        *spec_tag(stream, item) = TagReference { reference_policy: policy, ..wanted(item) };
    }
    let message = failure_message(failure).to_owned();
    let at = match stream.status.tags.binary_search_by(|list| list.tag.as_str().cmp(&item.tag)) {
        Ok(at) => at,
        Err(at) => {
            let list = NamedTagEventList { tag: item.tag.clone(), ..NamedTagEventList::default() };
            stream.status.tags.insert(at, list);
            at
        }
    };
    let list = &mut stream.status.tags[at];
    // The same failure again is not written (statement 82).
    if list.conditions.iter().any(|condition| condition.reason == failure.reason && condition.message == message) {
        return;
    }
    list.conditions = vec![TagEventCondition {
        kind: "ImportSuccess".to_owned(),
        status: "False".to_owned(),
        last_transition_time: Some(now),
        reason: failure.reason.clone(),
        message,
        generation,
    }];
    spec_tag(stream, item).generation = Some(0);
}

/// The spec tag of an item, made if it is missing; a new one has no generation yet.
fn spec_tag<'a>(stream: &'a mut ImageStream, item: &ImportItem) -> &'a mut TagReference {
    let at = match stream.spec.tags.binary_search_by(|tag| tag.name.as_str().cmp(&item.tag)) {
        Ok(at) => at,
        Err(at) => {
            stream.spec.tags.insert(at, TagReference { name: item.tag.clone(), ..TagReference::default() });
            at
        }
    };
    &mut stream.spec.tags[at]
}

fn wanted(item: &ImportItem) -> TagReference {
    TagReference {
        name: item.tag.clone(),
        from: Some(ObjectReference {
            kind: DOCKER_IMAGE.to_owned(),
            name: item.from.clone(),
            namespace: String::new(),
        }),
        generation: Some(0),
        import_policy: item.import_policy,
        ..TagReference::default()
    }
}
