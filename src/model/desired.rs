//! What Git says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::openshift::{FieldPath, ImageLookupPolicy, StreamId, TagId, TagReference};
use crate::source::Span;

use super::live::{Ignorance, Question};
use super::live_workload::LiveWorkload;
use super::revision::Revision;
use super::workload::WorkloadId;

/// Everything the definitions of a revision say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Desired {
    /// Which revision.
    pub revision: Revision,
    /// The streams that are right.
    pub streams: BTreeMap<StreamId, DesiredStream>,
    /// The streams that are defined but have errors: left alone, neither changed nor removed.
    pub held: BTreeMap<StreamId, Held>,
    /// The workloads that follow tags.
    pub workloads: Vec<Workload>,
    /// Tags that builds name, each with the build.
    pub uses: Vec<(WorkloadId, TagId)>,
    /// What could not be read: with any entry here, nothing is removed.
    pub incomplete: Vec<Ignorance>,
    /// Paths that are there and were not looked into (filtered out, passed over, links and what is below them): what was
    /// once defined there is not removed.
    pub unread: BTreeSet<String>,
    /// Of those, files that were looked into because something was once defined there: why they do not say that it is gone.
    pub broken: BTreeMap<String, String>,
    /// Which part of the source was read, in words.
    pub scope: String,
}

/// A wanted stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredStream {
    /// Labels; only these are ours, others on the live stream are left alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations; only these are ours, others on the live stream are left alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Whether workloads may name the stream as an image.
    #[serde(default)]
    pub lookup_policy: ImageLookupPolicy,
    /// Deprecated: import a whole repository. Empty for none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub docker_image_repository: String,
    /// Why tags that are not in the definition are not removed; none: they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keeps_tags: Option<String>,
    /// The tags. Boxed, as a map's nodes have room for eleven and most streams have one or two.
    #[serde(default)]
    pub tags: BTreeMap<String, Box<DesiredTag>>,
    /// Where it is defined.
    pub origin: Origin,
    /// Hash of all of this but where it stands: equal content, equal definition. Empty where nobody has computed it.
    #[serde(default)]
    pub content: String,
}

/// A wanted tag.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredTag {
    /// The tag, its `generation` always `None`.
    pub reference: TagReference,
    /// Where it is defined.
    pub origin: Origin,
}

/// A workload with image triggers, as its definition has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    /// Which one.
    pub id: WorkloadId,
    /// What it follows.
    pub triggers: Vec<WorkloadTrigger>,
    /// Where it is defined.
    pub origin: Origin,
    /// As the controllers would see it, were it applied as it is defined. None where its definition is not whole: a patch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defined: Option<Box<DefinedWorkload>>,
}

/// A workload as its definition has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefinedWorkload {
    /// The workload; it has no identity and no status.
    pub workload: LiveWorkload,
    /// Where in the file each of its images stands, in the order of `workload.images`; none for one that is left out.
    pub places: Vec<Option<Span>>,
}

/// One trigger of a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadTrigger {
    /// The tag it follows.
    pub tag: TagId,
    /// The image fields it writes; for a build, none.
    pub paths: Vec<FieldPath>,
    /// Held back by its definition (`paused`, `automatic: false`).
    pub paused: bool,
}

/// A defined stream that is left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The rule it breaks.
    pub rule: String,
    /// How, in a sentence.
    pub detail: String,
    /// Where.
    pub origin: Origin,
}

/// Where in the source something is defined.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Origin {
    /// Path in the source.
    #[serde(default = "no_path", skip_serializing_if = "is_no_path")]
    #[serde(serialize_with = "path_out", deserialize_with = "path_in")]
    #[schemars(with = "String")]
    pub path: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl DesiredTag {
    /// What is asked of a registry for it.
    pub fn question(&self, namespace: &str) -> Option<Question> {
        Question::of(namespace, &self.reference)
    }
}

fn path_out<S: serde::Serializer>(path: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(path)
}

fn no_path() -> Arc<str> {
    Arc::from("")
}

fn is_no_path(path: &Arc<str>) -> bool {
    path.is_empty()
}

fn path_in<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
    String::deserialize(deserializer).map(Arc::from)
}
