//! `Image` of `image.openshift.io/v1`, the parts that matter here (semantics 1.3).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::meta::{ObjectMeta, null_default};

/// An image, named by its digest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Image {
    /// The name is the digest of the manifest.
    pub metadata: ObjectMeta,
    /// Where the image was *first* seen.
    pub docker_image_reference: String,
    /// Media type of the manifest.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub docker_image_manifest_media_type: String,
    /// Base layer first; empty for a manifest list.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub docker_image_layers: Vec<ImageLayer>,
    /// The images of a manifest list.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub docker_image_manifests: Vec<ImageManifest>,
}

/// A layer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ImageLayer {
    /// Digest.
    pub name: String,
    /// Bytes as stored in the registry.
    pub size: i64,
    /// Media type.
    pub media_type: String,
}

/// An image of a manifest list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ImageManifest {
    /// Digest.
    pub digest: String,
    /// Media type of the manifest.
    pub media_type: String,
    /// Bytes of the manifest.
    pub manifest_size: i64,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `linux`, `windows`.
    pub os: String,
    /// `v7`, `v8`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub variant: String,
}
