//! From a tag to a pull spec, from a manifest list to one image, and when a tag counts as changed.

use crate::model::{PlatformImage, Resolution};
use crate::openshift::{
    Digest, ImageReference, ImageStream, ImportMode, PREFER_ARCH_ANNOTATION, PREFER_OS_ANNOTATION, ReferencePolicyType,
    TagReference,
};

use super::Server;

/// The pull spec that users of a tag get; none without a current image (semantics 2.9, standard resolution).
pub fn resolve(stream: &ImageStream, tag: &str) -> Option<String> {
    let head = stream.head(tag)?;
    let local = stream.spec_tag(tag).is_some_and(|tag| tag.reference_policy.kind == ReferencePolicyType::Local);
    let repository = &stream.status.docker_image_repository;
    if local && !repository.is_empty() && !head.image.is_empty() && repository.parse::<ImageReference>().is_ok() {
        return Some(format!("{repository}@{}", head.image));
    }
    Some(head.docker_image_reference.clone())
}

/// Whether another source is named, so that the tag needs another image (semantics 1.7, without generation 0).
///
/// `from.kind` is compared too: the server does not, which statement 8 calls a defect to tolerate.
pub fn source_changed(before: &TagReference, after: &TagReference, namespace: &str) -> bool {
    let Some(from) = after.from.as_ref().filter(|from| !(from.kind.is_empty() && from.name.is_empty())) else {
        return false;
    };
    let Some(was) = &before.from else { return true };
    fn namespace_of<'a>(from: &'a crate::openshift::ObjectReference, own: &'a str) -> &'a str {
        if from.namespace.is_empty() { own } else { &from.namespace }
    }
    namespace_of(was, namespace) != namespace_of(from, namespace)
        || was.name != from.name
        || was.kind != from.kind
        || before.reference != after.reference
        || before.import_policy.import_mode != after.import_policy.import_mode
}

/// Operating system and architecture that a tag wants (semantics 3.6).
pub fn platform<'a>(tag: &'a TagReference, server: &'a Server) -> (&'a str, &'a str) {
    preferred_platform(tag, (&server.platform.0, &server.platform.1))
}

/// The same, where the server has `usual`.
pub fn preferred_platform<'a>(tag: &'a TagReference, usual: (&'a str, &'a str)) -> (&'a str, &'a str) {
    // The annotations steer imports by tag only (statement 97).
    let by_tag = tag.from.as_ref().is_some_and(|from| !from.name.contains('@'));
    let wish = |annotation: &str| tag.annotations.get(annotation).filter(|_| by_tag);
    let os = wish(PREFER_OS_ANNOTATION).map_or(usual.0, String::as_str);
    let architecture = wish(PREFER_ARCH_ANNOTATION).map_or(usual.1, String::as_str);
    (os, architecture)
}

/// The image an import takes from what a reference resolves to (semantics 3.6). `None` for a list with no images.
pub fn choose_image<'a>(tag: &TagReference, resolution: &'a Resolution, server: &Server) -> Option<&'a Digest> {
    if resolution.platforms.is_empty() {
        // A list without images cannot be told from an image here; the readers refuse such lists.
        return Some(&resolution.digest);
    }
    if tag.import_policy.import_mode == ImportMode::PreserveOriginal {
        return Some(&resolution.digest);
    }
    let (os, architecture) = platform(tag, server);
    let find = |os: &str, architecture: &str| {
        resolution.platforms.iter().find(|image: &&PlatformImage| image.os == os && image.architecture == architecture)
    };
    find(os, architecture)
        .or_else(|| find("linux", "amd64"))
        .or_else(|| resolution.platforms.first())
        .map(|image| &image.digest)
}
