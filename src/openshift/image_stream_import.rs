//! `ImageStreamImport` of `image.openshift.io/v1` (semantics 3.1 and 3.10).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::image::{Image, ImageManifest};
use super::image_stream::{ImageStream, TagImportPolicy, TagReferencePolicy};
use super::meta::{ObjectMeta, ObjectReference, Status, null_default};

/// Asks the server to look images up and, with `import`, to tag them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ImageStreamImport {
    /// `ImageStreamImport`.
    pub kind: String,
    /// `image.openshift.io/v1`.
    pub api_version: String,
    /// Name and namespace of the stream.
    pub metadata: ObjectMeta,
    /// The request.
    pub spec: ImageStreamImportSpec,
    /// The answer.
    pub status: ImageStreamImportStatus,
}

/// What to import.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ImageStreamImportSpec {
    /// Write the result; without it images are only looked up.
    pub import: bool,
    /// A whole repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<RepositoryImportSpec>,
    /// Single images.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<ImageImportSpec>,
}

/// One image to import.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ImageImportSpec {
    /// The pull spec.
    pub from: ObjectReference,
    /// The tag it goes to; by default the tag of `from` (semantics 1.5).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<LocalReference>,
    /// Written to the spec tag as it stands (semantics 3.8).
    #[serde(deserialize_with = "null_default")]
    pub import_policy: TagImportPolicy,
    /// Written to the spec tag if that is new.
    #[serde(deserialize_with = "null_default")]
    pub reference_policy: TagReferencePolicy,
}

/// Names something of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LocalReference {
    /// The name.
    pub name: String,
}

/// A repository to import.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RepositoryImportSpec {
    /// The repository, without tag or digest.
    pub from: ObjectReference,
    /// For every tag of it.
    #[serde(deserialize_with = "null_default")]
    pub import_policy: TagImportPolicy,
    /// For every tag of it.
    #[serde(deserialize_with = "null_default")]
    pub reference_policy: TagReferencePolicy,
}

/// What came of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ImageStreamImportStatus {
    /// The stream after the write; none for a look-up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub import: Option<ImageStream>,
    /// What came of the repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<RepositoryImportStatus>,
    /// One entry for each image of the request, in its order.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<ImageImportStatus>,
}

/// What came of one image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ImageImportStatus {
    /// `Success`, or why not.
    pub status: Status,
    /// The image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// The images of a manifest list.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<ImageManifest>,
    /// Tag of the *source*.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tag: String,
}

/// What came of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RepositoryImportStatus {
    /// `Success`, or why not.
    pub status: Status,
    /// One entry for each tag that was tried.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<ImageImportStatus>,
    /// Tags beyond the limit.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub additional_tags: Vec<String>,
}
