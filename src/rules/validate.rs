//! What the server refuses in a stream (semantics 1.10).

use crate::openshift::{
    DOCKER_IMAGE, IMAGE_STREAM_IMAGE, IMAGE_STREAM_TAG, ImageReference, ImageStream, StreamId, TagReference,
    is_stream_name,
};

use super::refusal::Cause;

/// Everything wrong with a stream, in the server's order.
pub(super) fn stream(id: &StreamId, stream: &ImageStream) -> Vec<Cause> {
    let mut causes = Vec::new();
    if !is_stream_name(&id.name) {
        let detail = "must match \"[a-z0-9]+(?:[._-][a-z0-9]+)*\"";
        causes.push(Cause::invalid("metadata.name", &id.name, detail));
    }
    if !id.fits() {
        causes.push(Cause::invalid("metadata.name", &id.name, "'namespace/name' cannot be longer than 255 characters"));
    }
    let repository = &stream.spec.docker_image_repository;
    if !repository.is_empty() {
        let field = "spec.dockerImageRepository";
        match repository.parse::<ImageReference>() {
            Err(error) => causes.push(Cause::invalid(field, repository, &error.to_string())),
            Ok(parsed) if parsed.digest.is_some() => {
                causes.push(Cause::invalid(field, repository, "the repository name may not contain an ID"));
            }
            Ok(parsed) if !parsed.tag.is_empty() => {
                causes.push(Cause::invalid(field, repository, "the repository name may not contain a tag"));
            }
            Ok(_) => {}
        }
    }
    causes.extend(stream.spec.tags.iter().flat_map(tag));
    causes
}

fn tag(tag: &TagReference) -> Vec<Cause> {
    let field = |path: &str| format!("spec.tags[{}].{path}", tag.name);
    let mut causes = Vec::new();
    let Some(from) = &tag.from else { return causes };
    if from.name.is_empty() {
        causes.push(Cause::required(field("from.name"), ""));
    }
    match from.kind.as_str() {
        DOCKER_IMAGE => {
            if let Some(error) = (!from.name.is_empty()).then(|| from.name.parse::<ImageReference>().err()).flatten() {
                causes.push(Cause::invalid(field("from.name"), &from.name, &error.to_string()));
            }
        }
        IMAGE_STREAM_TAG | IMAGE_STREAM_IMAGE if tag.import_policy.scheduled => {
            let detail = "only tags pointing to Docker repositories may be scheduled for background import";
            // The value is a boolean: no quotes around it.
            let mut cause = Cause::invalid(field("importPolicy.scheduled"), "", detail);
            cause.message = format!("Invalid value: true: {detail}");
            causes.push(cause);
        }
        IMAGE_STREAM_TAG | IMAGE_STREAM_IMAGE => {}
        _ => {
            let detail = "valid values are 'DockerImage', 'ImageStreamImage', 'ImageStreamTag'";
            causes.push(Cause::required(field("from.kind"), detail));
        }
    }
    causes
}
