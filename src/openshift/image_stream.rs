//! `ImageStream` of `image.openshift.io/v1` (semantics 1.2).

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DOCKER_IMAGE;
use super::meta::{ObjectMeta, ObjectReference, null_default};

/// A named set of tags, each with the history of the images it stood for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ImageStream {
    /// `ImageStream`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// `image.openshift.io/v1`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_version: String,
    /// Name, namespace, labels, annotations, generation.
    pub metadata: ObjectMeta,
    /// The wish.
    pub spec: ImageStreamSpec,
    /// What was observed.
    pub status: ImageStreamStatus,
}

/// What a stream should be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ImageStreamSpec {
    /// Whether workloads of the namespace may name the stream as an image.
    #[serde(deserialize_with = "null_default")]
    pub lookup_policy: ImageLookupPolicy,
    /// Deprecated: import a whole repository.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub docker_image_repository: String,
    /// Sorted by name, names unique: the server keeps a map (semantics 1.2).
    #[serde(deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<TagReference>,
}

/// `spec.lookupPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ImageLookupPolicy {
    /// Pods of the namespace may use the stream's name as their image (semantics 1.11).
    pub local: bool,
}

/// One wished tag (`spec.tags[]`).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TagReference {
    /// Name of the tag.
    pub name: String,
    /// Copied onto the ImageStreamTag; two keys steer the importer (semantics 1.4).
    #[serde(deserialize_with = "null_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Where the image comes from; none: only pushes fill the tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<ObjectReference>,
    /// The pull spec itself is the value: never imported.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_false")]
    pub reference: bool,
    /// Assigned by the server; `Some(0)` in a request asks for a new import (semantics 1.7).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// How the image is imported.
    #[serde(deserialize_with = "null_default")]
    pub import_policy: TagImportPolicy,
    /// Which pull spec users of the tag get.
    #[serde(deserialize_with = "null_default")]
    pub reference_policy: TagReferencePolicy,
}

/// `importPolicy` of a tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TagImportPolicy {
    /// TLS is not verified, plain http is a fallback.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_false")]
    pub insecure: bool,
    /// Imported again from time to time.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_false")]
    pub scheduled: bool,
    /// What becomes of a manifest list.
    #[serde(deserialize_with = "null_default")]
    pub import_mode: ImportMode,
}

/// What an import makes of a manifest list (semantics 3.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ImportMode {
    /// One platform of it is chosen.
    #[default]
    #[serde(alias = "")]
    Legacy,
    /// The list itself is the image.
    PreserveOriginal,
}

/// `referencePolicy` of a tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TagReferencePolicy {
    /// `Source` or `Local`.
    #[serde(rename = "type", deserialize_with = "null_default")]
    pub kind: ReferencePolicyType,
}

/// Which pull spec resolving a tag gives (semantics 2.9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum ReferencePolicyType {
    /// That of the place the image came from.
    #[default]
    #[serde(alias = "")]
    Source,
    /// That of the integrated registry, where there is one.
    Local,
}

/// What became of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ImageStreamStatus {
    /// Where the integrated registry serves the stream, or a copy of the spec's repository (semantics 1.9).
    #[serde(deserialize_with = "null_default")]
    pub docker_image_repository: String,
    /// The same as seen from outside, where that is configured.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub public_docker_image_repository: String,
    /// Sorted by tag.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<NamedTagEventList>,
}

/// The history of one tag (`status.tags[]`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NamedTagEventList {
    /// Name of the tag.
    pub tag: String,
    /// Newest first; `null` when there are only conditions.
    #[serde(deserialize_with = "null_default", serialize_with = "empty_as_null")]
    pub items: Vec<TagEvent>,
    /// At most one: `ImportSuccess` is `False`.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<TagEventCondition>,
}

/// One image a tag stood for (`status.tags[].items[]`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TagEvent {
    /// When the event was made; kept when it is collapsed (semantics 2.5).
    pub created: Option<Timestamp>,
    /// Pull spec, normally `repository@digest`.
    pub docker_image_reference: String,
    /// Name of the image, its digest; empty for references.
    pub image: String,
    /// Generation of the spec tag that caused the event.
    pub generation: i64,
}

/// Why an import failed (`status.tags[].conditions[]`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TagEventCondition {
    /// `ImportSuccess`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `False`; success removes the condition.
    pub status: String,
    /// When this text was first written.
    pub last_transition_time: Option<Timestamp>,
    /// `NotFound`, `Unauthorized`, `InternalError`, …
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Stream generation the import aimed at.
    pub generation: i64,
}

/// Whether a tag is filled by imports (semantics 4.1).
pub fn is_imported(tag: &TagReference) -> bool {
    !tag.reference && tag.from.as_ref().is_some_and(|from| from.kind == DOCKER_IMAGE)
}

impl ImageStream {
    /// The wished tag of that name.
    pub fn spec_tag(&self, name: &str) -> Option<&TagReference> {
        self.spec.tags.iter().find(|tag| tag.name == name)
    }

    /// The history of the tag of that name.
    pub fn status_tag(&self, name: &str) -> Option<&NamedTagEventList> {
        self.status.tags.iter().find(|tag| tag.tag == name)
    }

    /// The newest generation of a tag that an import or copy has dealt with, in success or failure; none before the first.
    pub fn observed_generation(&self, tag: &str) -> Option<i64> {
        let list = self.status_tag(tag)?;
        let head = list.items.first().map(|head| head.generation);
        head.max(list.conditions.first().map(|condition| condition.generation))
    }

    /// Whether the server's import controller still has to import the tag (semantics 4.1).
    pub fn is_import_pending(&self, tag: &TagReference) -> bool {
        is_imported(tag) && tag.generation > self.observed_generation(&tag.name)
    }

    /// The tags that have an image, by name, each with the current one.
    pub fn heads(&self) -> impl Iterator<Item = (&str, &TagEvent)> {
        self.status.tags.iter().filter_map(|list| {
            let head = list.items.first().filter(|head| !head.image.is_empty())?;
            Some((list.tag.as_str(), head))
        })
    }

    /// The current image of a tag: everything that uses a tag uses this (semantics 0.3).
    pub fn head(&self, name: &str) -> Option<&TagEvent> {
        self.status_tag(name).and_then(|tag| tag.items.first())
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_false(value: &bool) -> bool {
    !*value
}

fn empty_as_null<S: serde::Serializer>(items: &[TagEvent], serializer: S) -> Result<S::Ok, S::Error> {
    if items.is_empty() { serializer.serialize_none() } else { serializer.collect_seq(items) }
}
