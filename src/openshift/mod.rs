//! OpenShift's and Kubernetes' nouns as data, and what their text means.
//!
//! What the API server reads and writes, with its own names and its own spelling of `null`; names of streams and tags, image
//! references, alias targets, trigger annotations. What streams *do* is in [`crate::rules`]. Pure; may name no other room, and
//! every room may name it.
//! Tests: round trips of the recorded exchanges in `tests/it/recorded.rs`.

mod alias;
mod custom;
mod field_path;
mod host;
mod id;
mod image;
mod image_reference;
mod image_stream;
mod image_stream_import;
mod meta;
mod names;
mod tag_order;
mod trigger;

pub use alias::{
    StreamSource, alias_target, is_same_source, is_stream_source, normalised, other_spelling, stream_source,
};
pub use custom::{CUSTOM_API_VERSION, CUSTOM_GROUP, custom_resource_definition};
pub use field_path::{Container, FieldPath, Quotes, container_at};
pub use host::{normal_host, split_port};
pub use id::{StreamId, TagId};
pub use image::{Image, ImageLayer, ImageManifest};
pub use image_reference::{Digest, ImageReference, InvalidReference, short_digest, short_image};
pub use image_stream::{
    ImageLookupPolicy, ImageStream, ImageStreamSpec, ImageStreamStatus, ImportMode, NamedTagEventList,
    ReferencePolicyType, TagEvent, TagEventCondition, TagImportPolicy, TagReference, TagReferencePolicy, is_imported,
};
pub use image_stream_import::{
    ImageImportSpec, ImageImportStatus, ImageStreamImport, ImageStreamImportSpec, ImageStreamImportStatus,
    LocalReference, RepositoryImportSpec, RepositoryImportStatus,
};
pub use meta::{ObjectMeta, ObjectReference, Status, StatusCause, StatusDetails};
pub use names::{is_namespace, is_stream_name, is_tag_name, parse_name, split_image, split_tag};
pub use tag_order::import_order;
pub use trigger::{
    ANNOTATED_KINDS, AnnotationFault, AnnotationTrigger, IGNORED_KINDS, PathFault, Paused, RESOLVE_NAMES_ANNOTATION,
    TRIGGERS_ANNOTATION, TagFault, TriggerEntry, TriggerSource, is_image_change, is_repeat, is_tag_kind,
    parse_triggers, pod_metadata_path, pod_path, trigger_tag,
};

/// The group and version every definition is lowered to.
pub const IMAGE_API_VERSION: &str = "image.openshift.io/v1";

/// `from.kind` of a tag that is imported from a registry.
pub const DOCKER_IMAGE: &str = "DockerImage";
/// `from.kind` of a tag that is an alias or a snapshot of another tag.
pub const IMAGE_STREAM_TAG: &str = "ImageStreamTag";
/// `from.kind` of a tag that is pinned to one image of a stream.
pub const IMAGE_STREAM_IMAGE: &str = "ImageStreamImage";

/// Written by an import that changed the stream (semantics 1.4).
pub const REPOSITORY_CHECK_ANNOTATION: &str = "openshift.io/image.dockerRepositoryCheck";
/// `"true"`: the whole stream may be pulled insecurely (semantics 1.4).
pub const INSECURE_REPOSITORY_ANNOTATION: &str = "openshift.io/image.insecureRepository";
/// Which architecture of a manifest list a `Legacy` import takes (semantics 3.6).
pub const PREFER_ARCH_ANNOTATION: &str = "importer.image.openshift.io/prefer-arch";
/// Which operating system of a manifest list a `Legacy` import takes (semantics 3.6).
pub const PREFER_OS_ANNOTATION: &str = "importer.image.openshift.io/prefer-os";
