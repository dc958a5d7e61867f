//! The trigger annotation: JSON inside YAML, with everything that goes wrong in it (semantics 5.2).

use serde_json::Value as Json;

use crate::findings::Code;
use crate::model::WorkloadTrigger;
use crate::openshift::{Container, FieldPath, IMAGE_STREAM_TAG, Quotes, TagId, container_at, trigger_tag};
use crate::source::{Node, inert};

use super::reader::Reader;
use super::template::has_placeholder;

/// The containers of a pod template.
pub(super) struct Pods<'n> {
    base: String,
    init: Vec<&'n str>,
    containers: Vec<&'n str>,
    templated: bool,
}

impl<'n> Pods<'n> {
    /// Reads the containers under the path of a pod's spec.
    pub(super) fn of(node: &'n Node, base: &[&str]) -> Self {
        let pod = node.at(base);
        let names = |list: &str| -> Vec<&'n str> {
            let items = pod.and_then(|pod| pod.get(list)).map_or(&[][..], Node::items);
            items.iter().map(|item| item.get("name").and_then(Node::text).unwrap_or_default()).collect()
        };
        let (init, containers) = (names("initContainers"), names("containers"));
        // A patch has no containers of its own: it is laid over a workload that is elsewhere.
        let templated = init.iter().chain(&containers).any(|name| has_placeholder(name)) || containers.is_empty();
        Self { base: base.join("."), init, containers, templated }
    }

    /// Nothing can be said of the containers: names are placeholders, or the object is a patch.
    pub(super) fn is_templated(&self) -> bool {
        self.templated
    }

    /// Whether the container of that name is an init container; none if there is no such container. Init containers are
    /// searched first, as the controller does.
    pub(super) fn named(&self, name: &str) -> Option<bool> {
        let path = FieldPath { init: false, container: Container::Named(name.to_owned()) };
        container_at(&path, &self.init, &self.containers).map(|(init, _)| init)
    }

    /// The names there are, as a hint.
    pub(super) fn list(&self) -> String {
        let names: Vec<String> =
            self.init.iter().chain(&self.containers).map(|name| format!("`{}`", inert(name, 60))).collect();
        if names.is_empty() {
            "the pod template has no containers".to_owned()
        } else {
            format!("there are {}", names.join(", "))
        }
    }
}

/// Reads the annotation; each trigger that is right is returned, whatever is wrong with its neighbours.
pub(super) fn annotation(
    reader: &mut Reader<'_>,
    node: &Node,
    pods: &Pods<'_>,
    namespace: &str,
) -> Vec<WorkloadTrigger> {
    let text = node.text().unwrap_or_default();
    let list = match serde_json::from_str::<Json>(text) {
        Ok(Json::Array(list)) => list,
        Ok(_) => {
            reader.report(reader.finding(Code::TriggerSyntax, node, "the annotation is not a JSON array"));
            return Vec::new();
        }
        Err(error) => {
            let message = format!("the annotation is not JSON: {}", inert(&error.to_string(), 120));
            reader.report(reader.finding(Code::TriggerSyntax, node, message));
            return Vec::new();
        }
    };
    let mut triggers = Vec::new();
    let mut paths: Vec<&str> = Vec::new();
    for entry in &list {
        let field = entry.get("fieldPath").and_then(Json::as_str).unwrap_or_default();
        if paths.contains(&field) && !field.is_empty() {
            let message = format!("two triggers write `{}`", inert(field, 120));
            reader.report(reader.finding(Code::TriggerPath, node, message));
            continue;
        }
        paths.push(field);
        triggers.extend(trigger(reader, node, entry, field, pods, namespace));
    }
    triggers
}

fn trigger(
    reader: &mut Reader<'_>,
    node: &Node,
    entry: &Json,
    field: &str,
    pods: &Pods<'_>,
    namespace: &str,
) -> Option<WorkloadTrigger> {
    for key in entry.as_object().into_iter().flat_map(|object| object.keys()) {
        if !matches!(key.as_str(), "from" | "fieldPath" | "paused") {
            let finding =
                reader.finding(Code::TriggerField, node, format!("triggers have no field `{}`", inert(key, 60)));
            reader.report(if key == "pause" { finding.help("did you mean `paused`?") } else { finding });
        }
    }
    let paused = match entry.get("paused") {
        None | Some(Json::Null) => false,
        Some(Json::Bool(paused)) => *paused,
        Some(other) => {
            let finding = reader.finding(
                Code::TriggerPaused,
                node,
                format!("`paused` is not a boolean: {}", inert(&other.to_string(), 40)),
            );
            reader.report(finding.help("write `true` or `false` without quotes"));
            other.as_str() == Some("true")
        }
    };
    let from = entry.get("from");
    let text = |key: &str| from.and_then(|from| from.get(key)).and_then(Json::as_str).unwrap_or_default();
    if text("kind") != IMAGE_STREAM_TAG {
        let message = format!("a trigger follows an ImageStreamTag, not `{}`", inert(text("kind"), 60));
        reader.report(reader.finding(Code::TriggerKind, node, message));
        return None;
    }
    if !text("apiVersion").is_empty() {
        let message = "`from.apiVersion` takes the trigger out of the controller's sight";
        reader.report(reader.finding(Code::TriggerKind, node, message).help("leave it out"));
        return None;
    }
    let namespace = if text("namespace").is_empty() { namespace } else { text("namespace") };
    let tag = tag(reader, node, text("name"), namespace)?;
    let path = path(reader, node, field, pods)?;
    Some(WorkloadTrigger { tag, paths: vec![path], paused })
}

/// The tag of `stream:tag`; anything else is a finding.
pub(super) fn tag(reader: &mut Reader<'_>, node: &Node, name: &str, namespace: &str) -> Option<TagId> {
    for (what, text) in [("the tag to follow", name), ("the namespace of the tag to follow", namespace)] {
        if has_placeholder(text) {
            let message = format!("{what} is an unexpanded placeholder: `{}`", inert(text, 120));
            let help =
                "in a Template declare the parameter, or give its value with `--param`; otherwise render it first";
            reader.report(reader.finding(Code::Placeholder, node, message).help(help));
            return None;
        }
    }
    let tag = trigger_tag(name, namespace, namespace);
    if tag.is_none() {
        let message = format!("a trigger follows `stream:tag`, not `{}`", inert(name, 120));
        reader.report(reader.finding(Code::TriggerTag, node, message));
    }
    tag
}

fn path(reader: &mut Reader<'_>, node: &Node, field: &str, pods: &Pods<'_>) -> Option<FieldPath> {
    let Some((parsed, quotes)) = FieldPath::parse(field, &pods.base) else {
        let message = format!("`{}` is not the image of a container", inert(field, 160));
        let help = format!(
            "write `{base}.containers[?(@.name==\"web\")].image` or `{base}.containers[0].image`",
            base = pods.base
        );
        reader.report(reader.finding(Code::TriggerPath, node, message).help(help));
        return None;
    };
    if quotes == Quotes::Odd {
        let message = "OpenShift's controller refuses this way to name a container, and stops every trigger here";
        let finding = reader.finding(Code::TriggerQuotes, node, message);
        reader.report(finding.help("use `[?(@.name==\"web\")]` with double quotes, or an index"));
    }
    let found = container_at(&parsed, &pods.init, &pods.containers);
    let is_placeholder = matches!(&parsed.container, Container::Named(name) if has_placeholder(name));
    if found.is_none() && !pods.is_templated() && !is_placeholder {
        let message = format!("there is no container at `{}`", inert(field, 160));
        reader.report(reader.finding(Code::TriggerContainer, node, message).help(pods.list()));
        return None;
    }
    let init = found.map_or(parsed.init, |(init, _)| init);
    Some(FieldPath { init, container: parsed.container })
}
