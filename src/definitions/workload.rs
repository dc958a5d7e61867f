//! Workloads that follow tags: the annotation, DeploymentConfigs, BuildConfigs (semantics 5).

use crate::findings::Code;
use crate::model::{DefinedWorkload, Manner, Workload, WorkloadId, WorkloadTrigger};
use crate::openshift::{
    ANNOTATED_KINDS, Container, FieldPath, IGNORED_KINDS, IMAGE_STREAM_TAG, TRIGGERS_ANNOTATION, TagId,
    is_image_change, is_tag_kind, pod_path, trigger_tag,
};
use crate::rules;
use crate::source::{Node, inert};

use super::lowering::{Context, Lowering};
use super::reader::Reader;
use super::template::{self, has_placeholder};
use super::triggers::{self, Pods};

/// Whether objects of that kind can follow tags.
pub(super) fn is_workload(kind: &str) -> bool {
    ANNOTATED_KINDS.contains(&kind)
        || IGNORED_KINDS.contains(&kind)
        || matches!(kind, "DeploymentConfig" | "BuildConfig")
}

/// Reads what a workload follows. One that follows nothing is passed over.
pub(super) fn read(lowering: &mut Lowering<'_>, kind: &str, node: &Node, context: &Context) {
    let default_namespace = lowering.options.namespace.clone();
    let text = |path: &[&str]| node.at(path).and_then(Node::text).filter(|text| !text.is_empty());
    let namespace = text(&["metadata", "namespace"]).map_or(default_namespace, str::to_owned);
    let name = text(&["metadata", "name"]).unwrap_or_default().to_owned();
    for path in [["metadata", "namespace"], ["metadata", "name"]] {
        if let Some(at) = node.at(&path).filter(|at| at.text().is_none()) {
            let _ = lowering.reader.text(at, &path.join("."));
        }
    }
    if let Some(triggers) = node.at(&["spec", "triggers"]) {
        lowering.report_inside(triggers);
    }
    let reader = &mut lowering.reader;
    let origin = reader.origin(node.at(&["metadata", "name"]).unwrap_or(node).span);
    let mut found = Vec::new();
    match kind {
        "BuildConfig" => {
            lowering.out.counts.triggers.build_configs += image_changes(node).count();
            lowering.out.built.extend(output(node, &namespace));
            let id = WorkloadId { kind: kind.to_owned(), namespace: namespace.clone(), name: name.clone() };
            let uses = rules::build_uses(&node.to_json(), &namespace);
            lowering.out.uses.extend(uses.into_iter().map(|tag| (id.clone(), tag)));
            build_triggers(reader, node, &namespace, context, &mut found);
        }
        "DeploymentConfig" => {
            lowering.out.counts.triggers.deployment_configs += image_changes(node).count();
            deployment_config_triggers(reader, node, &namespace, context, &mut found);
        }
        _ => {}
    }
    ignored_on_template(reader, kind, node);
    if let Some(annotation) = node.at(&["metadata", "annotations", TRIGGERS_ANNOTATION]) {
        lowering.out.counts.triggers.annotations += 1;
        if !ANNOTATED_KINDS.contains(&kind) {
            let message = format!("OpenShift's trigger controller ignores the annotation on a {kind}");
            reader.report(reader.finding(Code::TriggerWorkload, annotation, message));
        }
        template::report_missing(reader, annotation, &context.missing);
        found.extend(triggers::annotation(reader, annotation, &Pods::of(node, pod_path(kind)), &namespace));
    }
    let id = WorkloadId { kind: kind.to_owned(), namespace, name };
    let defined = defined(node, &id);
    if found.is_empty() && !defined.as_ref().is_some_and(|defined| defined.workload.looks_up) {
        lowering.out.counts.passed_over += 1;
        return;
    }
    lowering.out.workloads.push(Workload { id, triggers: found, origin, defined });
}

/// Reports trigger annotations where no controller looks: on kinds that follow no tags, and on pod templates.
pub(super) fn ignored_annotations(reader: &mut Reader<'_>, node: &Node) {
    let kind = node.get("kind").and_then(Node::text).unwrap_or_default();
    let places = [&["metadata", "annotations", TRIGGERS_ANNOTATION][..], IN_TEMPLATE];
    for (at, place) in places.into_iter().enumerate() {
        let Some(annotation) = node.at(place) else { continue };
        let on = if at == 0 { "a" } else { "the pod template of a" };
        let message = format!("OpenShift's trigger controller ignores the annotation on {on} {}", inert(kind, 60));
        reader.report(reader.finding(Code::TriggerWorkload, annotation, message));
    }
}

const IN_TEMPLATE: &[&str] = &["spec", "template", "metadata", "annotations", TRIGGERS_ANNOTATION];

/// Likewise, on the pod template of a workload.
fn ignored_on_template(reader: &mut Reader<'_>, kind: &str, node: &Node) {
    if let Some(annotation) = node.at(IN_TEMPLATE) {
        let message = format!("OpenShift's trigger controller ignores the annotation on the pod template of a {kind}");
        let finding = reader.finding(Code::TriggerWorkload, annotation, message);
        reader.report(finding.help(format!("move it to the metadata of the {kind}")));
    }
}

/// The workload as controllers would see it, with the places of its images in the file.
fn defined(node: &Node, id: &WorkloadId) -> Option<Box<DefinedWorkload>> {
    let mut object = node.to_json();
    object.get_mut("metadata")?.as_object_mut()?.insert("namespace".to_owned(), id.namespace.as_str().into());
    let workload = rules::read_workload(&id.kind, &object, Manner::Ours)?;
    let pod = node.at(pod_path(&id.kind));
    let items =
        ["initContainers", "containers"].map(|list| pod.and_then(|pod| pod.get(list)).map_or(&[][..], Node::items));
    let place = |item: &Node| {
        let image = item.get("image").filter(|image| image.text().is_some() && !image.is_null());
        image.map(|image| image.span)
    };
    let places: Vec<_> = items.into_iter().flatten().map(place).collect();
    (places.len() == workload.images.len() && !places.is_empty())
        .then(|| Box::new(DefinedWorkload { workload, places }))
}

/// The tag that a build pushes to.
fn output(node: &Node, namespace: &str) -> Option<TagId> {
    let to = node.at(&["spec", "output", "to"])?;
    let is_tag = to.get("kind").and_then(Node::text) == Some(IMAGE_STREAM_TAG);
    let name = to.get("name").and_then(Node::text).filter(|_| is_tag)?;
    trigger_tag(name, to.get("namespace").and_then(Node::text).unwrap_or_default(), namespace)
}

fn deployment_config_triggers(
    reader: &mut Reader<'_>,
    node: &Node,
    namespace: &str,
    context: &Context,
    found: &mut Vec<WorkloadTrigger>,
) {
    let pods = Pods::of(node, &["spec", "template", "spec"]);
    for trigger in image_changes(node) {
        check_type(reader, trigger);
        let Some(parameters) = trigger.get("imageChangeParams") else { continue };
        let Some(tag) = source(reader, parameters.get("from"), parameters, namespace, context) else { continue };
        let automatic = parameters.get("automatic").and_then(Node::text) == Some("true");
        let mut paths = Vec::new();
        for name in parameters.get("containerNames").map_or(&[][..], Node::items) {
            let Some(text) = name.text() else { continue };
            match pods.named(text) {
                Some(init) => paths.push(FieldPath { init, container: Container::Named(text.to_owned()) }),
                None if has_placeholder(text) || pods.is_templated() => {}
                None => {
                    let message = format!("there is no container `{}`", inert(text, 80));
                    let finding = reader.finding(Code::TriggerContainer, name, message);
                    reader.report(finding.help(pods.list()));
                }
            }
        }
        found.push(WorkloadTrigger { tag, paths, paused: !automatic });
    }
}

fn build_triggers(
    reader: &mut Reader<'_>,
    node: &Node,
    namespace: &str,
    context: &Context,
    found: &mut Vec<WorkloadTrigger>,
) {
    let strategy = ["dockerStrategy", "sourceStrategy", "customStrategy"]
        .iter()
        .find_map(|strategy| node.at(&["spec", "strategy", strategy, "from"]));
    for trigger in image_changes(node) {
        check_type(reader, trigger);
        let parameters = trigger.get("imageChange").filter(|parameters| !parameters.is_null());
        let from = parameters.and_then(|parameters| parameters.get("from")).filter(|from| !from.is_null());
        // Without `from` the build follows the image it builds on (semantics 5.5).
        let Some(tag) = source(reader, from.or(strategy), parameters.unwrap_or(trigger), namespace, context) else {
            continue;
        };
        let paused = parameters.and_then(|parameters| parameters.get("paused")).and_then(Node::text) == Some("true");
        found.push(WorkloadTrigger { tag, paths: Vec::new(), paused });
    }
}

/// The entries of `spec.triggers` that are image changes, in either spelling.
fn image_changes(node: &Node) -> impl Iterator<Item = &Node> {
    let triggers = node.at(&["spec", "triggers"]).map_or(&[][..], Node::items);
    triggers.iter().filter(|trigger| trigger.get("type").and_then(Node::text).is_some_and(is_image_change))
}

/// Reports the type of a trigger that is not spelled as the server has it.
fn check_type(reader: &mut Reader<'_>, trigger: &Node) {
    if let Some(at) = trigger.get("type").filter(|kind| kind.text() == Some("imageChange")) {
        let message = "the trigger type is written `ImageChange`";
        reader.report(reader.finding(Code::TriggerField, at, message).fix(at.span, "ImageChange"));
    }
}

/// The tag that a trigger of a DeploymentConfig or BuildConfig follows.
fn source(
    reader: &mut Reader<'_>,
    from: Option<&Node>,
    trigger: &Node,
    namespace: &str,
    context: &Context,
) -> Option<TagId> {
    let Some(from) = from else {
        let message = "an image change trigger without `from`, and nothing to take its place";
        let help = "name an ImageStreamTag in `from`, or remove the trigger: it never fires";
        reader.report(reader.finding(Code::TriggerKind, trigger, message).help(help));
        return None;
    };
    let before = reader.findings.len();
    template::report_missing(reader, from, &context.missing);
    if reader.findings.len() > before {
        return None;
    }
    let kind = from.get("kind");
    // A DeploymentConfig's `from.kind` has a default (semantics 5.4).
    if let Some(other) = kind.and_then(Node::text).filter(|kind| !is_tag_kind(kind))
        && !has_placeholder(other)
    {
        let message = format!("triggers follow ImageStreamTags, not a `{}`", inert(other, 60));
        let help = "follow an ImageStreamTag, or remove the trigger: it never fires";
        reader.report(reader.finding(Code::TriggerKind, kind.unwrap_or(from), message).help(help));
        return None;
    }
    let name = from.get("name");
    let text = name.and_then(Node::text).unwrap_or_default();
    let namespace = from.get("namespace").and_then(Node::text).filter(|text| !text.is_empty()).unwrap_or(namespace);
    triggers::tag(reader, name.unwrap_or(from), text, namespace)
}
