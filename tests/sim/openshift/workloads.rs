//! Workloads, and the trigger controller that acts on them by `rules`.

use serde_json::{Value, json};
use streamkeeper::model::{Manner, RollImage};
use streamkeeper::rules::{self, Fires};

use super::machinery::strategic_patch;
use super::{Held, Query, Reply, Request, World, found, not_found, status};

/// Kinds that have a place here: kind, group, resource.
const KINDS: &[(&str, &str, &str)] = &[
    ("Deployment", "apps", "deployments"),
    ("StatefulSet", "apps", "statefulsets"),
    ("DaemonSet", "apps", "daemonsets"),
    ("ReplicaSet", "apps", "replicasets"),
    ("CronJob", "batch", "cronjobs"),
    ("Job", "batch", "jobs"),
    ("ReplicationController", "", "replicationcontrollers"),
    ("Pod", "", "pods"),
    ("DeploymentConfig", "apps.openshift.io", "deploymentconfigs"),
    ("BuildConfig", "build.openshift.io", "buildconfigs"),
];

impl World {
    pub(super) fn workload(
        &mut self,
        request: &Request,
        (group, resource, name): (&str, &str, &str),
        namespace: Option<&str>,
        query: &Query,
    ) -> Reply {
        let Some((kind, ..)) = KINDS.iter().find(|(_, is, plural)| *is == group && *plural == resource) else {
            return status(404, "NotFound", "the server could not find the requested resource", &json!({}));
        };
        let key = |name: &str| (resource.to_owned(), namespace.unwrap_or_default().to_owned(), name.to_owned());
        match (&*request.method, name) {
            ("GET", "") => {
                let limit: usize = query.get("limit").and_then(|text| text.parse().ok()).unwrap_or(usize::MAX);
                let after: usize = query.get("continue").and_then(|text| text.parse().ok()).unwrap_or(0);
                let mine = self
                    .workloads
                    .iter()
                    .filter(|((of, within, _), _)| of == resource && namespace.is_none_or(|it| it == within));
                let all: Vec<Value> = mine.map(|(_, object)| object.clone()).collect();
                let mut items: Vec<Value> =
                    all.iter().skip(after).take(limit).map(|object| self.shown(object.clone())).collect();
                if request.header("accept").is_some_and(|accept| accept.contains("as=PartialObjectMetadataList")) {
                    items.iter_mut().for_each(|item| *item = json!({"metadata": item["metadata"]}));
                }
                let next =
                    if after + items.len() < all.len() { (after + items.len()).to_string() } else { String::new() };
                self.slow = self.slow.saturating_sub(1);
                found(
                    "200 OK",
                    &json!({"kind": format!("{kind}List"), "metadata": {"continue": next, "resourceVersion": self.version.to_string()}, "items": items}),
                )
            }
            ("GET", name) => match self.workloads.get(&key(name)).cloned() {
                Some(object) => {
                    let object = self.shown(object);
                    self.slow = self.slow.saturating_sub(1);
                    found("200 OK", &object)
                }
                None => not_found(group, resource, name),
            },
            ("POST", "") => {
                let mut object: Value = serde_json::from_str(&request.body).unwrap();
                object["metadata"]["namespace"] = namespace.unwrap().into();
                object["metadata"]["generation"] = 1.into();
                let name = object["metadata"]["name"].as_str().unwrap().to_owned();
                self.workloads.insert(key(&name), object.clone());
                self.run_triggers();
                found("201 Created", &object)
            }
            ("PATCH", name) if request.header("content-type") == Some("application/apply-patch+yaml") => {
                let wanted: Value = serde_json::from_str(&request.body).unwrap();
                let Some(object) = self.workloads.get(&key(name)) else { return not_found(group, resource, name) };
                if wanted["metadata"]["resourceVersion"] != object["metadata"]["resourceVersion"] {
                    return super::stale(name);
                }
                let (mut object, manager) = (object.clone(), query["fieldManager"].clone());
                strategic_patch(&mut object["spec"], &wanted["spec"]);
                take_order(&mut object["spec"], &wanted["spec"]);
                let generation = object["metadata"]["generation"].as_i64().unwrap_or(1);
                object["metadata"]["generation"] = (generation + 1).into();
                own(&mut object, &manager, &wanted["spec"]);
                self.keep_workload(resource, object.clone());
                found("200 OK", &object)
            }
            ("PATCH", name) => {
                let Some(object) = self.workloads.get_mut(&key(name)) else { return not_found(group, resource, name) };
                strategic_patch(object, &serde_json::from_str(&request.body).unwrap());
                let object = object.clone();
                self.run_triggers();
                found("200 OK", &object)
            }
            _ => status(405, "MethodNotAllowed", "nobody has asked for that yet", &json!({})),
        }
    }

    /// With the status that its controller has written by now.
    fn shown(&self, mut object: Value) -> Value {
        let generation = object["metadata"]["generation"].as_i64().unwrap_or(1);
        if self.slow > 0 {
            object["status"]["observedGeneration"] = (generation - 1).into();
        } else {
            let replicas = object["spec"]["replicas"].as_i64().unwrap_or(1);
            for field in ["replicas", "updatedReplicas", "availableReplicas", "readyReplicas"] {
                object["status"][field] = replicas.into();
            }
            object["status"]["observedGeneration"] = generation.into();
        }
        if self.failing {
            object["status"]["conditions"] = json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "it has timed out progressing"}]);
        }
        object
    }

    /// Somebody puts a workload there, or in the place of the one that is there.
    pub fn deploy(&mut self, resource: &str, object: &Value) {
        let mut object = object.clone();
        if let Some(before) = self.workloads.get(&key_of(resource, &object)) {
            take_away(&mut object, before);
        }
        self.keep_workload(resource, object);
    }

    fn keep_workload(&mut self, resource: &str, mut object: Value) {
        let key = key_of(resource, &object);
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        object["metadata"]["uid"] = format!("{key:?}").into();
        self.workloads.insert(key, object);
        self.run_triggers();
    }

    /// OpenShift's trigger controller: looks at every workload and does what is due.
    pub fn run_triggers(&mut self) {
        if !self.triggers {
            return;
        }
        let streams = Held(&self.streams);
        for ((resource, ..), object) in &mut self.workloads {
            let Some((kind, ..)) = KINDS.iter().find(|(_, _, plural)| plural == resource) else { continue };
            let Some(workload) = rules::read_workload(kind, object, Manner::OpenShift) else { continue };
            match rules::fires(&workload, &streams, Manner::OpenShift) {
                Fires::Never { .. } => {}
                Fires::Writes(writes) if writes.is_empty() => {}
                Fires::Writes(writes) => {
                    let pod = match *kind {
                        "CronJob" => "/spec/jobTemplate/spec/template/spec",
                        _ => "/spec/template/spec",
                    };
                    let pod = object.pointer_mut(pod).unwrap();
                    for write in &writes {
                        for list in ["initContainers", "containers"] {
                            for container in pod[list].as_array_mut().into_iter().flatten() {
                                if container["name"] == *write.container {
                                    container["image"] = write.after.clone().into();
                                }
                            }
                        }
                    }
                    for trigger in object["spec"]["triggers"].as_array_mut().into_iter().flatten() {
                        let from = trigger["imageChangeParams"]["from"]["name"].as_str().unwrap_or_default().to_owned();
                        if let Some(write) =
                            writes.iter().find(|write| from == format!("{}:{}", write.tag.stream.name, write.tag.tag))
                        {
                            trigger["imageChangeParams"]["lastTriggeredImage"] = write.after.clone().into();
                        }
                    }
                    let generation = object["metadata"]["generation"].as_i64().unwrap_or(1);
                    object["metadata"]["generation"] = (generation + 1).into();
                }
                Fires::Builds(builds) if builds.is_empty() => {}
                Fires::Builds(builds) => {
                    let entry = |write: &RollImage| {
                        let from = json!({"namespace": write.tag.stream.namespace, "name": format!("{}:{}", write.tag.stream.name, write.tag.tag)});
                        json!({"from": from, "lastTriggeredImageID": write.after})
                    };
                    object["status"]["imageChangeTriggers"] = builds.iter().map(entry).collect();
                    let last = object["status"]["lastVersion"].as_i64().unwrap_or_default();
                    object["status"]["lastVersion"] = (last + 1).into();
                }
            }
        }
    }
}

/// Resource, namespace and name.
fn key_of(resource: &str, object: &Value) -> (String, String, String) {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
    (resource.to_owned(), text("/metadata/namespace"), text("/metadata/name"))
}

/// Who applied an image that another one has taken the place of keeps the container, and loses the image (server-side apply).
fn take_away(object: &mut Value, before: &Value) {
    if object["metadata"]["managedFields"] != before["metadata"]["managedFields"] {
        return;
    }
    let pod = |object: &Value| {
        let spec = &object["spec"];
        let spec = spec.get("jobTemplate").map_or(spec, |job| &job["spec"]);
        spec.get("template").map_or(spec, |template| &template["spec"]).clone()
    };
    let (now, was) = (pod(object), pod(before));
    for list in ["initContainers", "containers"] {
        for item in now[list].as_array().into_iter().flatten() {
            let same = was[list].as_array().into_iter().flatten().any(|other| other == item);
            let key = format!("k:{}", json!({"name": item["name"]}));
            for entry in object["metadata"]["managedFields"].as_array_mut().into_iter().flatten().filter(|_| !same) {
                for way in [
                    "/fieldsV1/f:spec/f:template/f:spec",
                    "/fieldsV1/f:spec/f:jobTemplate/f:spec/f:template/f:spec",
                    "/fieldsV1/f:spec",
                ] {
                    let fields = entry.pointer_mut(way).and_then(|pod| pod.get_mut(format!("f:{list}"))?.get_mut(&key));
                    if let Some(fields) = fields.and_then(Value::as_object_mut) {
                        fields.remove("f:image");
                    }
                }
            }
        }
    }
}

/// As the real server has it: items of a list that are applied take the order in which they are applied.
fn take_order(live: &mut Value, applied: &Value) {
    match (live, applied) {
        (Value::Object(live), Value::Object(applied)) => {
            for (key, applied) in applied {
                if let Some(live) = live.get_mut(key) {
                    take_order(live, applied);
                }
            }
        }
        (Value::Array(live), Value::Array(applied)) => {
            let at = |item: &Value| applied.iter().position(|other| other["name"] == item["name"]);
            let slots: Vec<usize> = (0..live.len()).filter(|place| at(&live[*place]).is_some()).collect();
            let mut moved: Vec<Value> = slots.iter().map(|slot| live[*slot].clone()).collect();
            moved.sort_by_key(at);
            for (slot, item) in slots.into_iter().zip(moved) {
                live[slot] = item;
            }
        }
        _ => {}
    }
}

/// Notes that a manager applies the images of a spec (as much of server-side apply as matters here).
pub fn own(object: &mut Value, manager: &str, spec: &Value) {
    let lists = |pod: &Value| {
        let mut lists = serde_json::Map::new();
        for list in ["initContainers", "containers"] {
            let mut items = serde_json::Map::new();
            for item in pod[list].as_array().into_iter().flatten() {
                let key = format!("k:{}", json!({"name": item["name"]}));
                items.insert(key, json!({".": {}, "f:name": {}, "f:image": {}}));
            }
            if !items.is_empty() {
                lists.insert(format!("f:{list}"), items.into());
            }
        }
        Value::from(lists)
    };
    let template = |spec: &Value| json!({"f:template": {"f:spec": lists(&spec["template"]["spec"])}});
    let fields = match spec.get("jobTemplate") {
        Some(job) => json!({"f:jobTemplate": {"f:spec": template(&job["spec"])}}),
        None if spec.get("template").is_some() => template(spec),
        None => lists(spec),
    };
    let entries = object["metadata"].as_object_mut().unwrap().entry("managedFields").or_insert_with(|| json!([]));
    let entries = entries.as_array_mut().unwrap();
    entries.retain(|entry| entry["manager"] != manager);
    entries.push(json!({"manager": manager, "operation": "Apply", "fieldsV1": {"f:spec": fields}}));
}
