//! The trigger annotation of workloads (semantics 5.2).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::id::{StreamId, TagId};
use super::names::split_tag;

/// Annotation on a workload (not on its pod template): a JSON array of [`AnnotationTrigger`].
pub const TRIGGERS_ANNOTATION: &str = "image.openshift.io/triggers";

/// Annotation on a workload or its pod template: names of its images are looked up in streams of its namespace (semantics
/// 1.11). Its value is `*`.
pub const RESOLVE_NAMES_ANNOTATION: &str = "alpha.image.policy.openshift.io/resolve-names";

/// Kinds whose annotation OpenShift's trigger controller handles (semantics 5.1).
pub const ANNOTATED_KINDS: &[&str] = &["Deployment", "DaemonSet", "StatefulSet", "CronJob"];

/// Kinds that the documentation lists and the controller ignores (semantics 5.1).
pub const IGNORED_KINDS: &[&str] = &["Job", "Pod", "ReplicaSet", "ReplicationController"];

/// Where a workload of that kind has the spec of its pods.
pub fn pod_path(kind: &str) -> &'static [&'static str] {
    match kind {
        "CronJob" => &["spec", "jobTemplate", "spec", "template", "spec"],
        "Pod" => &["spec"],
        _ => &["spec", "template", "spec"],
    }
}

/// Where a workload of that kind has the metadata of its pods.
pub fn pod_metadata_path(kind: &str) -> &'static [&'static str] {
    match kind {
        "CronJob" => &["spec", "jobTemplate", "spec", "template", "metadata"],
        "Pod" => &["metadata"],
        _ => &["spec", "template", "metadata"],
    }
}

/// The tag that `stream:tag` in a trigger or the output of a build means, in that namespace or, where it names none, in the
/// object's own. None for any other form.
pub fn trigger_tag(name: &str, namespace: &str, own: &str) -> Option<TagId> {
    let (stream, tag) = split_tag(name)?;
    Some(StreamId::new(if namespace.is_empty() { own } else { namespace }, stream).tag(tag))
}

impl TriggerSource {
    /// The tag that it names, in a workload of that namespace.
    pub fn tag(&self, own: &str) -> Option<TagId> {
        trigger_tag(&self.name, &self.namespace, own)
    }
}

/// One entry of the annotation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AnnotationTrigger {
    /// The tag to follow.
    pub from: TriggerSource,
    /// Which image field takes its pull spec.
    pub field_path: String,
    /// Holds the trigger back. A string here voids the whole annotation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
}

/// The tag a trigger follows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TriggerSource {
    /// `ImageStreamTag`.
    pub kind: String,
    /// `stream:tag`.
    pub name: String,
    /// Empty: the namespace of the workload.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Must be empty, or the trigger is never looked at.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_version: String,
}
