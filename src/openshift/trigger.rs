//! The trigger annotation of workloads (semantics 5.2).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::IMAGE_STREAM_TAG;
use super::field_path::{FieldPath, Quotes};
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

/// Whether a trigger of a DeploymentConfig or BuildConfig is an image change (the older spelling is read as well).
pub fn is_image_change(kind: &str) -> bool {
    matches!(kind, "ImageChange" | "imageChange")
}

/// Whether the `from.kind` of such a trigger is one that it can have: the server fills in a missing one (semantics 5.4).
pub fn is_tag_kind(kind: &str) -> bool {
    kind.is_empty() || kind == IMAGE_STREAM_TAG
}

/// Why the annotation has no entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnnotationFault {
    /// It is not JSON: why.
    NotJson(String),
    /// It is JSON, and no array.
    NotAnArray,
}

/// Why an entry follows no tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagFault {
    /// It names something else than an ImageStreamTag.
    Kind(String),
    /// Its `apiVersion` takes it out of the controller's index.
    ApiVersion,
    /// Its name is not `stream:tag`.
    NotStreamTag(String),
}

/// Why an entry writes no image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathFault {
    /// The path does not begin where the kind has its pods: the entry is skipped.
    OtherBase,
    /// It is not the image of a container: the whole object is left as it is.
    NotAPath,
}

/// `paused` of an entry, as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Paused {
    /// `false`, or not given.
    #[default]
    No,
    /// `true`.
    Yes,
    /// A string: the server's decoder refuses the whole annotation.
    Text(String),
    /// Neither: likewise.
    Other(String),
}

/// One entry of the annotation as it is written, right or wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TriggerEntry {
    /// The entry, without `paused`.
    pub trigger: AnnotationTrigger,
    /// Whether it is held back.
    pub paused: Paused,
    /// Fields that triggers do not have.
    pub unknown_fields: Vec<String>,
    /// A field of another type than it has: the server's decoder refuses the whole annotation.
    pub mistyped: Option<String>,
}

impl TriggerEntry {
    fn read(entry: &Value) -> Self {
        let mut mistyped = None;
        let object = match entry {
            Value::Object(object) => Some(object),
            Value::Null => None,
            _ => {
                mistyped = Some("an entry is no object".to_owned());
                None
            }
        };
        let field = |name: &str| object.and_then(|object| object.get(name)).unwrap_or(&Value::Null);
        let from = field("from");
        let mut text = |value: &Value, name: &str| match value {
            Value::String(text) => text.clone(),
            // As Go reads it.
            Value::Null => String::new(),
            _ => {
                mistyped = Some(format!("`{name}` is no string"));
                String::new()
            }
        };
        let source = TriggerSource {
            kind: text(&from["kind"], "from.kind"),
            name: text(&from["name"], "from.name"),
            namespace: text(&from["namespace"], "from.namespace"),
            api_version: text(&from["apiVersion"], "from.apiVersion"),
        };
        let field_path = text(field("fieldPath"), "fieldPath");
        if !matches!(from, Value::Object(_) | Value::Null) {
            mistyped = Some("`from` is no object".to_owned());
        }
        let paused = match field("paused") {
            Value::Null | Value::Bool(false) => Paused::No,
            Value::Bool(true) => Paused::Yes,
            Value::String(text) => Paused::Text(text.clone()),
            other => Paused::Other(other.to_string()),
        };
        let is_known = |name: &&String| matches!(name.as_str(), "from" | "fieldPath" | "paused");
        let unknown_fields = object.into_iter().flat_map(|object| object.keys()).filter(|name| !is_known(name));
        Self {
            trigger: AnnotationTrigger { from: source, field_path, paused: None },
            paused,
            unknown_fields: unknown_fields.cloned().collect(),
            mistyped,
        }
    }
}

/// Reads the annotation: every entry, right or wrong. What is wrong with one is for the caller to weigh: a reader of definitions
/// reports it, a controller may give up the whole object.
///
/// # Errors
///
/// When it is no JSON array.
pub fn parse_triggers(text: &str) -> Result<Vec<TriggerEntry>, AnnotationFault> {
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Array(entries)) => Ok(entries.iter().map(TriggerEntry::read).collect()),
        Ok(_) => Err(AnnotationFault::NotAnArray),
        Err(error) => Err(AnnotationFault::NotJson(error.to_string())),
    }
}

/// Whether an entry writes the path that an earlier one writes: then none of the annotation counts (semantics 5.2).
pub fn is_repeat(entries: &[TriggerEntry], at: usize) -> bool {
    entries[..at].iter().any(|earlier| earlier.trigger.field_path == entries[at].trigger.field_path)
}

impl AnnotationTrigger {
    /// The tag that it follows, in a workload of the namespace `own`.
    ///
    /// # Errors
    ///
    /// Why it follows none.
    pub fn tag(&self, own: &str) -> Result<TagId, TagFault> {
        let TriggerSource { kind, name, namespace, api_version } = &self.from;
        if kind != IMAGE_STREAM_TAG {
            return Err(TagFault::Kind(kind.clone()));
        }
        if !api_version.is_empty() {
            return Err(TagFault::ApiVersion);
        }
        trigger_tag(name, namespace, own).ok_or_else(|| TagFault::NotStreamTag(name.clone()))
    }

    /// The image field that it writes, in an object with its pods at `base`.
    ///
    /// # Errors
    ///
    /// Why it writes none.
    pub fn path(&self, base: &str) -> Result<(FieldPath, Quotes), PathFault> {
        let is_below = self.field_path.strip_prefix(base).is_some_and(|rest| rest.starts_with('.'));
        if !is_below {
            return Err(PathFault::OtherBase);
        }
        FieldPath::parse(&self.field_path, base).ok_or(PathFault::NotAPath)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str) -> TriggerEntry {
        parse_triggers(&format!("[{text}]")).expect("an array").remove(0)
    }

    #[test]
    fn entries_are_read_right_or_wrong() {
        assert_eq!(parse_triggers("{}"), Err(AnnotationFault::NotAnArray));
        assert!(matches!(parse_triggers("[,]"), Err(AnnotationFault::NotJson(_))));
        // Null is what is not given, as Go reads it.
        let nothing = r#"{"from": null, "fieldPath": null, "paused": null}"#;
        for text in [nothing, "null", "{}"] {
            assert_eq!(entry(text), TriggerEntry::default(), "{text}");
        }
        assert_eq!(entry(r#"{"paused": "true"}"#).paused, Paused::Text("true".to_owned()));
        assert_eq!(entry(r#"{"paused": 1}"#).paused, Paused::Other("1".to_owned()));
        assert_eq!(entry(r#"{"pause": true}"#).unknown_fields, ["pause"]);
        for mistyped in ["1", r#"{"from": "x"}"#, r#"{"from": {"name": 1}}"#, r#"{"fieldPath": []}"#] {
            assert!(entry(mistyped).mistyped.is_some(), "{mistyped}");
        }
    }

    #[test]
    fn an_entry_follows_a_tag_or_says_why_not() {
        let tag = |kind: &str, version: &str, name: &str, namespace: &str| {
            let (kind, name) = (kind.to_owned(), name.to_owned());
            let from = TriggerSource { kind, name, namespace: namespace.to_owned(), api_version: version.to_owned() };
            AnnotationTrigger { from, ..AnnotationTrigger::default() }.tag("shop").map(|tag| tag.to_string())
        };
        assert_eq!(tag(IMAGE_STREAM_TAG, "", "web:1", ""), Ok("shop/web:1".to_owned()));
        assert_eq!(tag(IMAGE_STREAM_TAG, "", "web:1", "base"), Ok("base/web:1".to_owned()));
        assert_eq!(tag("DockerImage", "", "web:1", ""), Err(TagFault::Kind("DockerImage".to_owned())));
        assert_eq!(tag(IMAGE_STREAM_TAG, "v1", "web:1", ""), Err(TagFault::ApiVersion));
        for name in ["web", ":1", "web:", "a:b:c"] {
            assert_eq!(tag(IMAGE_STREAM_TAG, "", name, ""), Err(TagFault::NotStreamTag(name.to_owned())));
        }
        let path = |field_path: &str| {
            let trigger = AnnotationTrigger { field_path: field_path.to_owned(), ..AnnotationTrigger::default() };
            trigger.path("spec.template.spec").map(|_| ())
        };
        assert_eq!(path("spec.template.spec.containers[0].image"), Ok(()));
        assert_eq!(path("spec.template.spec.containers[0].command"), Err(PathFault::NotAPath));
        assert_eq!(path("spec.containers[0].image"), Err(PathFault::OtherBase));
    }
}
