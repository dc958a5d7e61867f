//! Workloads as trigger controllers read them: the annotation, DeploymentConfigs, BuildConfigs (semantics 5), and how far their
//! last change has come (kstatus).

use std::collections::BTreeSet;

use serde_json::Value;

use crate::model::{ConfigTrigger, ContainerImage, LiveWorkload, Manner, Rollout, Triggers, WorkloadId};
use crate::openshift::{
    ANNOTATED_KINDS, AnnotationFault, AnnotationTrigger, IMAGE_STREAM_TAG, Paused, RESOLVE_NAMES_ANNOTATION,
    TRIGGERS_ANNOTATION, TagId, TriggerEntry, is_image_change, is_repeat, is_tag_kind, parse_triggers,
    pod_metadata_path, pod_path, trigger_tag,
};

/// Reads an object of that kind; none if it has no image triggers, or belongs to a controller that copies its own
/// annotations to it (a Deployment's ReplicaSets).
pub fn read_workload(kind: &str, object: &Value, manner: Manner) -> Option<LiveWorkload> {
    let metadata = &object["metadata"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let id =
        WorkloadId { kind: kind.to_owned(), namespace: text(&metadata["namespace"]), name: text(&metadata["name"]) };
    let pod = pod_path(kind).iter().fold(object, |place, key| &place[*key]);
    let is_template_marked = || {
        let metadata = pod_metadata_path(kind).iter().fold(object, |place, key| &place[*key]);
        metadata["annotations"][RESOLVE_NAMES_ANNOTATION] == "*"
    };
    let is_marked = || metadata["annotations"][RESOLVE_NAMES_ANNOTATION] == "*" || is_template_marked();
    // A Job's image cannot be changed, whatever names it.
    let looks_up = manner == Manner::Ours && kind != "Job" && !is_controlled(metadata) && is_marked();
    let triggers = match kind {
        "DeploymentConfig" => Triggers::DeploymentConfig(deployment_config(object, &id.namespace)),
        "BuildConfig" => Triggers::BuildConfig(build_config(object, &id.namespace)),
        _ => match annotation(kind, metadata, &id.namespace, manner) {
            Some(triggers) => triggers,
            None if looks_up => Triggers::Annotation(Vec::new()),
            None => return None,
        },
    };
    let follows = match &triggers {
        Triggers::Annotation(list) => looks_up || !list.is_empty(),
        Triggers::DeploymentConfig(list) | Triggers::BuildConfig(list) => !list.is_empty(),
        Triggers::Void { .. } => true,
    };
    let uses = if kind == "BuildConfig" { build_uses(object, &id.namespace) } else { BTreeSet::new() };
    let follows = follows || !uses.is_empty();
    let uid = text(&metadata["uid"]);
    let images = images(pod, &metadata["managedFields"], kind);
    let spec = &object["spec"];
    let strategies = [&spec["strategy"]["type"], &spec["updateStrategy"]["type"]];
    let output = &spec["output"]["to"];
    let pushes = || trigger_tag(&text(&output["name"]), &text(&output["namespace"]), &id.namespace);
    let output = (kind == "BuildConfig" && output["kind"] == IMAGE_STREAM_TAG).then(pushes).flatten();
    follows.then(|| LiveWorkload {
        triggers,
        images,
        looks_up,
        rollout: rollout(kind, object),
        uid,
        // A number of a file that nobody has typed yet is text.
        replicas: spec["replicas"].as_u64().or_else(|| spec["replicas"].as_str()?.parse().ok()),
        strategy: strategies.into_iter().find_map(Value::as_str).unwrap_or_default().to_owned(),
        output,
        uses,
        id,
    })
}

/// The tags that a BuildConfig names: what it builds on, what it copies files from, what it follows, and what it pushes to.
pub fn build_uses(object: &Value, namespace: &str) -> BTreeSet<TagId> {
    let spec = &object["spec"];
    let strategies = ["dockerStrategy", "sourceStrategy", "customStrategy"];
    let strategies = strategies.iter().map(|name| &spec["strategy"][name]["from"]);
    let sources = spec["source"]["images"].as_array().into_iter().flatten().map(|image| &image["from"]);
    let followed = image_changes(object).map(|trigger| &trigger["imageChange"]["from"]);
    let all = strategies.chain(sources).chain(followed).chain([&spec["output"]["to"]]);
    all.filter(|from| kind_of(from) == IMAGE_STREAM_TAG).filter_map(|from| tag(from, namespace)).collect()
}

/// Whether [`read_workload`] may find something, by metadata alone: a mark on the template of its pods is not seen.
pub fn may_follow(object: &Value) -> bool {
    let metadata = &object["metadata"];
    let has = |name: &str| metadata["annotations"].get(name).is_some();
    !is_controlled(metadata) && (has(TRIGGERS_ANNOTATION) || has(RESOLVE_NAMES_ANNOTATION))
}

/// It belongs to a controller that copies its own annotations to it: a ReplicaSet has its Deployment's, a Job its CronJob's.
fn is_controlled(metadata: &Value) -> bool {
    metadata["ownerReferences"].as_array().is_some_and(|owners| !owners.is_empty())
}

fn images(pod: &Value, managed: &Value, kind: &str) -> Vec<ContainerImage> {
    // Who applies something of a container: with its image, and without.
    let appliers = |list: &str, name: &str| -> (Vec<String>, Vec<String>) {
        let key = format!("k:{}", serde_json::json!({ "name": name }));
        let entries = managed.as_array().into_iter().flatten().filter(|entry| entry["operation"] == "Apply");
        let container = |entry: &Value| {
            let pod = pod_path(kind).iter().fold(&entry["fieldsV1"], |place, key| &place[format!("f:{key}")]);
            let fields = pod[format!("f:{list}")].get(&key)?;
            Some((entry["manager"].as_str()?.to_owned(), fields.get("f:image").is_some()))
        };
        let (with, without): (Vec<_>, Vec<_>) = entries.filter_map(container).partition(|(_, with)| *with);
        let names = |all: Vec<(String, bool)>| all.into_iter().map(|(name, _)| name).collect();
        (names(with), names(without))
    };
    let of = |list: &str, init: bool| -> Vec<ContainerImage> {
        let items = pod[list].as_array().into_iter().flatten();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let one = |item: &Value| {
            let name = text(&item["name"]);
            let (appliers, lost_by) = appliers(list, &name);
            ContainerImage { init, appliers, lost_by, image: text(&item["image"]), name }
        };
        items.map(one).collect()
    };
    [of("initContainers", true), of("containers", false)].concat()
}

/// The annotation, as the controller reads it: all of it or nothing. None without one.
fn annotation(kind: &str, metadata: &Value, namespace: &str, manner: Manner) -> Option<Triggers> {
    let text = metadata["annotations"][TRIGGERS_ANNOTATION].as_str()?;
    let read = parse_triggers(text);
    if !ANNOTATED_KINDS.contains(&kind) && is_controlled(metadata) {
        return None;
    }
    let why = match manner {
        Manner::OpenShift if !ANNOTATED_KINDS.contains(&kind) => {
            Some(format!("OpenShift's trigger controller ignores the annotation on a {kind}"))
        }
        Manner::Ours if kind == "Job" => {
            Some("a Job's image cannot be changed, suspended or not: use a CronJob, or make the Job again".to_owned())
        }
        Manner::OpenShift | Manner::Ours => None,
    };
    let entries = match (read, why) {
        (Ok(entries), None) => entries,
        (read, Some(why)) => return Some(Triggers::Void { why, tags: tags(&read.unwrap_or_default(), namespace) }),
        (Err(fault), None) => {
            let error = match fault {
                AnnotationFault::NotJson(error) => error,
                AnnotationFault::NotAnArray => "it is no array".to_owned(),
            };
            let why = format!("its annotation cannot be read, so none of it counts: {error}");
            return Some(Triggers::Void { why, tags: Vec::new() });
        }
    };
    Some(match void(&entries, manner) {
        Some(why) => Triggers::Void { why, tags: tags(&entries, namespace) },
        None => Triggers::Annotation(entries.into_iter().map(|entry| valid(entry, manner)).collect()),
    })
}

/// The tags that entries name.
fn tags(entries: &[TriggerEntry], namespace: &str) -> Vec<TagId> {
    let named = |entry: &TriggerEntry| trigger_tag(&entry.trigger.from.name, &entry.trigger.from.namespace, namespace);
    entries.iter().filter_map(named).collect()
}

/// Why none of the entries counts: one cannot be decoded, or two write the same field (semantics 5.2).
fn void(entries: &[TriggerEntry], manner: Manner) -> Option<String> {
    let undecodable = |entry: &TriggerEntry| match (&entry.mistyped, &entry.paused) {
        (Some(why), _) => Some(why.clone()),
        (None, Paused::Other(value)) => Some(format!("`paused` is `{value}`")),
        (None, Paused::Text(text)) if manner == Manner::OpenShift => Some(format!("`paused` is the string `{text}`")),
        (None, _) => None,
    };
    if let Some(why) = entries.iter().find_map(undecodable) {
        return Some(format!("its annotation cannot be read, so none of it counts: {why}"));
    }
    let repeat = (0..entries.len()).find(|at| is_repeat(entries, *at))?;
    Some(format!("two of its triggers write `{}`, so none of them counts", entries[repeat].trigger.field_path))
}

/// An entry that can be decoded.
fn valid(entry: TriggerEntry, manner: Manner) -> AnnotationTrigger {
    let paused = match entry.paused {
        Paused::Yes => Some(true),
        Paused::Text(text) if manner == Manner::Ours => Some(text == "true"),
        Paused::No | Paused::Text(_) | Paused::Other(_) => None,
    };
    AnnotationTrigger { paused, ..entry.trigger }
}

fn image_changes(object: &Value) -> impl Iterator<Item = &Value> {
    let triggers = object["spec"]["triggers"].as_array().into_iter().flatten();
    triggers.filter(|trigger| trigger["type"].as_str().is_some_and(is_image_change))
}

fn deployment_config(object: &Value, namespace: &str) -> Vec<ConfigTrigger> {
    let one = |trigger: &Value| {
        let parameters = &trigger["imageChangeParams"];
        let names = parameters["containerNames"].as_array().into_iter().flatten();
        if !is_tag_kind(kind_of(&parameters["from"])) {
            return None;
        }
        Some(ConfigTrigger {
            tag: tag(&parameters["from"], namespace)?,
            containers: names.filter_map(|name| name.as_str().map(str::to_owned)).collect(),
            active: parameters["automatic"] == true,
            fired: parameters["lastTriggeredImage"].as_str().unwrap_or_default().to_owned(),
        })
    };
    image_changes(object).filter_map(one).collect()
}

fn build_config(object: &Value, namespace: &str) -> Vec<ConfigTrigger> {
    let strategy = ["dockerStrategy", "sourceStrategy", "customStrategy"];
    let strategy = strategy.iter().map(|name| &object["spec"]["strategy"][name]["from"]).find(|from| from.is_object());
    let one = |trigger: &Value| {
        let change = &trigger["imageChange"];
        // Without `from` the build follows the image it builds on.
        let from = Some(&change["from"]).filter(|from| from.is_object()).or(strategy)?;
        if !is_tag_kind(kind_of(from)) {
            return None;
        }
        let tag = tag(from, namespace)?;
        let entries = object["status"]["imageChangeTriggers"].as_array().into_iter().flatten();
        let mut entries = entries.filter(|entry| self::tag(&entry["from"], namespace).as_ref() == Some(&tag));
        let fired = entries.find_map(|entry| entry["lastTriggeredImageID"].as_str());
        let fired = fired.or(change["lastTriggeredImageID"].as_str()).unwrap_or_default().to_owned();
        Some(ConfigTrigger { tag, containers: Vec::new(), active: change["paused"] != true, fired })
    };
    image_changes(object).filter_map(one).collect()
}

fn kind_of(from: &Value) -> &str {
    from["kind"].as_str().unwrap_or_default()
}

fn tag(from: &Value, namespace: &str) -> Option<TagId> {
    trigger_tag(from["name"].as_str()?, from["namespace"].as_str().unwrap_or_default(), namespace)
}

/// How far a rollout has come, read as kstatus and `kubectl rollout status` do.
fn rollout(kind: &str, object: &Value) -> Rollout {
    let (spec, status) = (&object["spec"], &object["status"]);
    let number = |value: &Value| value.as_i64().unwrap_or_default();
    if !matches!(kind, "Deployment" | "StatefulSet" | "DaemonSet" | "DeploymentConfig") {
        return Rollout::None;
    }
    // Its pods are replaced when somebody deletes them.
    if matches!(kind, "StatefulSet" | "DaemonSet") && spec["updateStrategy"]["type"] == "OnDelete" {
        return Rollout::None;
    }
    if spec["paused"] == true {
        return Rollout::Paused;
    }
    if number(&status["observedGeneration"]) < number(&object["metadata"]["generation"]) {
        return Rollout::Progressing("its controller has not seen the change yet".to_owned());
    }
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let mut failed =
        conditions.filter(|condition| condition["type"] == "Progressing" && condition["status"] == "False");
    if let Some(failed) = failed.next() {
        let message = failed["message"].as_str().unwrap_or_default();
        return Rollout::failed(message);
    }
    let wanted = spec["replicas"].as_i64().unwrap_or(1);
    let (wanted, updated, ready) = match kind {
        "DaemonSet" => {
            let updated = number(&status["updatedNumberScheduled"]);
            (number(&status["desiredNumberScheduled"]), updated, number(&status["numberAvailable"]))
        }
        "StatefulSet" => {
            // Those below the partition stay as they are.
            let strategy = &spec["updateStrategy"];
            let partition = number(&strategy["rollingUpdate"]["partition"]).min(wanted);
            (wanted, number(&status["updatedReplicas"]) + partition, number(&status["readyReplicas"]))
        }
        _ => {
            if number(&status["replicas"]) > number(&status["updatedReplicas"]) {
                let left = number(&status["replicas"]) - number(&status["updatedReplicas"]);
                return Rollout::Progressing(format!("{left} old pods are still there"));
            }
            (wanted, number(&status["updatedReplicas"]), number(&status["availableReplicas"]))
        }
    };
    if updated < wanted {
        return Rollout::Progressing(format!("{updated} of {wanted} pods are new"));
    }
    if ready < wanted {
        return Rollout::Progressing(format!("{ready} of {wanted} pods are ready"));
    }
    Rollout::Complete
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rollouts_are_read_as_kubectl_reads_them() {
        let check = |kind: &str, spec: Value, status: Value| {
            rollout(kind, &json!({"metadata": {"generation": 2}, "spec": spec, "status": status}))
        };
        let done = json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3, "readyReplicas": 3});
        assert_eq!(check("Deployment", json!({"replicas": 3}), done.clone()), Rollout::Complete);
        assert_eq!(check("StatefulSet", json!({"replicas": 3}), done.clone()), Rollout::Complete);
        assert_eq!(check("Deployment", json!({"replicas": 3, "paused": true}), done.clone()), Rollout::Paused);
        assert_eq!(check("CronJob", json!({}), json!({})), Rollout::None);
        let progressing = |kind: &str, spec: Value, status: Value| {
            assert!(
                matches!(check(kind, spec.clone(), status.clone()), Rollout::Progressing(_)),
                "{kind} {spec} {status}"
            );
        };
        progressing("Deployment", json!({"replicas": 4}), done.clone());
        progressing("Deployment", json!({"replicas": 3}), json!({"observedGeneration": 1}));
        progressing(
            "Deployment",
            json!({"replicas": 1}),
            json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 1}),
        );
        progressing(
            "DaemonSet",
            json!({}),
            json!({"observedGeneration": 2, "desiredNumberScheduled": 2, "updatedNumberScheduled": 1}),
        );
        let partition =
            json!({"replicas": 3, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}});
        let status = json!({"observedGeneration": 2, "updatedReplicas": 1, "readyReplicas": 3});
        assert_eq!(check("StatefulSet", partition, status), Rollout::Complete);
        let late = json!({"observedGeneration": 2, "conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "late"}]});
        assert_eq!(check("Deployment", json!({}), late), Rollout::Failed("late".to_owned()));
    }
}
