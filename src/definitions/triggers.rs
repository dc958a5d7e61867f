//! The trigger annotation: JSON inside YAML, with everything that goes wrong in it (semantics 5.2).

use serde_json::Value as Json;

use crate::findings::Code;
use crate::model::WorkloadTrigger;
use crate::openshift::{
    AnnotationFault, AnnotationTrigger, Container, FieldPath, Paused, Quotes, TagFault, TagId, TriggerEntry,
    container_at, is_repeat, parse_triggers, trigger_tag,
};
use crate::source::{Node, inert};

use super::reader::Reader;
use super::template::has_placeholder;

/// Triggers of one annotation that are read, and containers of a pod that are told apart: far more than anyone has.
const TRIGGERS: usize = 1000;
const CONTAINERS: usize = 1000;

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
            let names = items.iter().map(|item| item.get("name").and_then(Node::text).unwrap_or_default());
            names.take(CONTAINERS + 1).collect()
        };
        let (init, containers) = (names("initContainers"), names("containers"));
        // A patch has no containers of its own: it is laid over a workload that is elsewhere.
        let is_whole = !containers.is_empty() && containers.len() <= CONTAINERS && init.len() <= CONTAINERS;
        let templated = init.iter().chain(&containers).any(|name| has_placeholder(name)) || !is_whole;
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
            self.init.iter().chain(&self.containers).take(10).map(|name| format!("`{}`", inert(name, 60))).collect();
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
    let entries = match parse_triggers(node.text().unwrap_or_default()) {
        Ok(entries) => entries,
        Err(fault) => {
            let message = match fault {
                AnnotationFault::NotAnArray => "the annotation is not a JSON array".to_owned(),
                AnnotationFault::NotJson(error) => format!("the annotation is not JSON: {}", inert(&error, 120)),
            };
            reader.report(reader.finding(Code::TriggerSyntax, node, message));
            return Vec::new();
        }
    };
    if entries.len() > TRIGGERS {
        let message = format!("the annotation has more than {TRIGGERS} triggers; none of them is read");
        reader.report(reader.finding(Code::TooComplex, node, message));
        return Vec::new();
    }
    let mut triggers = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        let field = &entry.trigger.field_path;
        if !field.is_empty() && is_repeat(&entries, at) {
            let message = format!("two triggers write `{}`", inert(field, 120));
            reader.report(reader.finding(Code::TriggerPath, node, message));
            continue;
        }
        triggers.extend(trigger(reader, node, entry, pods, namespace));
    }
    triggers
}

fn trigger(
    reader: &mut Reader<'_>,
    node: &Node,
    entry: &TriggerEntry,
    pods: &Pods<'_>,
    namespace: &str,
) -> Option<WorkloadTrigger> {
    for key in &entry.unknown_fields {
        let finding = reader.finding(Code::TriggerField, node, format!("triggers have no field `{}`", inert(key, 60)));
        reader.report(if key == "pause" { finding.help("did you mean `paused`?") } else { finding });
    }
    let (paused, mistyped) = match &entry.paused {
        Paused::No => (false, None),
        Paused::Yes => (true, None),
        Paused::Text(text) => (text == "true", Some(Json::from(text.as_str()).to_string())),
        Paused::Other(value) => (false, Some(value.clone())),
    };
    if let Some(value) = mistyped {
        let message = format!("`paused` is not a boolean: {}", inert(&value, 40));
        let finding = reader.finding(Code::TriggerPaused, node, message);
        reader.report(finding.help("write `true` or `false` without quotes"));
    }
    let from = &entry.trigger.from;
    match entry.trigger.tag(namespace) {
        Err(TagFault::Kind(kind)) => {
            let message = format!("a trigger follows an ImageStreamTag, not `{}`", inert(&kind, 60));
            reader.report(reader.finding(Code::TriggerKind, node, message));
            return None;
        }
        Err(TagFault::ApiVersion) => {
            let message = "`from.apiVersion` takes the trigger out of the controller's sight";
            reader.report(reader.finding(Code::TriggerKind, node, message).help("leave it out"));
            return None;
        }
        // Said with its placeholders, where it has any.
        Ok(_) | Err(TagFault::NotStreamTag(_)) => {}
    }
    let namespace = if from.namespace.is_empty() { namespace } else { &from.namespace };
    let tag = tag(reader, node, &from.name, namespace)?;
    let path = path(reader, node, &entry.trigger, pods)?;
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

fn path(reader: &mut Reader<'_>, node: &Node, trigger: &AnnotationTrigger, pods: &Pods<'_>) -> Option<FieldPath> {
    let field = &trigger.field_path;
    let Ok((parsed, quotes)) = trigger.path(&pods.base) else {
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
