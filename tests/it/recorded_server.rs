//! The simulated OpenShift server is asked what a real one was asked, over HTTP, and has to answer as that one did.
//!
//! Left out of the comparison: uids, times, resource versions, tokens of lists, managed fields ([`ownership_is_as_recorded`]
//! looks at those), and what images hold. What registries said is taken from the recording: they are outside the server.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};
use streamkeeper::openshift::ImageReference;

use crate::sim::managed::{self, Managers};
use crate::sim::openshift::OpenShift;
use crate::support::manifest_folder;

/// Answers that were changed in the recorder's hands before they were written down.
const OVERWRITTEN: &[(&str, usize)] = &[("conflicts", 1), ("tag_deletion", 1)];

pub fn recorded(name: &str) -> Vec<Value> {
    let path = manifest_folder().join("tests/recorded/openshift").join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let scenario: Value = serde_json::from_str(&text).unwrap();
    scenario["exchanges"].as_array().unwrap().clone()
}

/// Sends a recorded request: status and body of the answer.
fn send(host: &str, request: &Value) -> (u64, Value) {
    let token = match request["as"].as_str() {
        Some("developer") => "developer",
        Some("nobody") => "nobody",
        _ => "hunter2canary",
    };
    let body = match &request["body"] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        body => body.to_string(),
    };
    let kind = request["contentType"].as_str().unwrap_or("application/json");
    let head = format!(
        "{} {} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        request["method"].as_str().unwrap(),
        request["path"].as_str().unwrap(),
        body.len(),
    );
    let mut connection = TcpStream::connect(host).unwrap();
    connection.write_all(head.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    let mut chunk = [0; 8192];
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
            if body.len() >= length.parse::<usize>().unwrap() {
                let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                return (status, serde_json::from_str(body).unwrap());
            }
        }
        let read = connection.read(&mut chunk).unwrap();
        assert!(read > 0, "the server went away: {}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&chunk[..read]);
    }
}

/// Without what differs from run to run, and without what is empty.
fn normal(value: &Value) -> Value {
    const LEFT_OUT: &[&str] = &[
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "managedFields",
        "created",
        "lastTransitionTime",
        "continue",
        "dockerImageMetadata",
        "dockerImageMetadataVersion",
        "dockerImageManifestMediaType",
        "dockerImageManifest",
        "dockerImageLayers",
        "dockerImageManifests",
        "manifests",
        "manifest",
        "openshift.io/image.dockerRepositoryCheck",
        "image.openshift.io/dockerLayersOrder",
    ];
    match value {
        Value::Object(map) => {
            let mut kept = serde_json::Map::new();
            for (key, value) in map {
                let value = normal(value);
                let is_empty = value.is_null()
                    || value == json!({})
                    || value == json!([])
                    || value == json!("")
                    || (value == json!(0) && key != "generation");
                if !LEFT_OUT.contains(&key.as_str()) && !is_empty {
                    kept.insert(key.clone(), value);
                }
            }
            // Identities in sentences.
            if let Some(Value::String(message)) = kept.get_mut("message")
                && let Some((before, _)) = message.split_once(" in record (")
            {
                *message = format!("{before} in record");
            }
            Value::Object(kept)
        }
        Value::Array(items) => Value::Array(items.iter().map(normal).collect()),
        other => other.clone(),
    }
}

/// What the registries said when the answer was recorded.
fn prime(cluster: &OpenShift, response: &Value) {
    let mut world = cluster.world.lock().unwrap();
    let spec = &response["spec"];
    let images = spec["images"].as_array().into_iter().flatten();
    let results = response["status"]["images"].as_array().into_iter().flatten();
    let mut said: Vec<(String, Value)> = images
        .zip(results)
        .map(|(image, result)| (image["from"]["name"].as_str().unwrap().to_owned(), result.clone()))
        .collect();
    if let Some(repository) = spec["repository"]["from"]["name"].as_str() {
        let results = response["status"]["repository"]["images"].as_array().into_iter().flatten();
        let mut tags = Vec::new();
        for result in results {
            let tag = result["tag"].as_str().unwrap().to_owned();
            said.push((format!("{repository}:{tag}"), result.clone()));
            tags.push(tag);
        }
        world.repositories.insert(repository.to_owned(), tags);
    }
    for (from, result) in said {
        match result["image"]["metadata"]["name"].as_str() {
            Some(digest) => {
                let reference: ImageReference = from.parse().unwrap();
                let image = (digest.to_owned(), digest.to_owned());
                world.failures.remove(&from);
                world.images.insert(reference.with_defaults().to_string(), image);
            }
            None => drop(world.failures.insert(from, result["status"].clone())),
        }
    }
}

/// What OpenShift's own controllers found in the registries before a stream was read, in the two recordings in which they ran.
fn prime_controller(cluster: &OpenShift, exchanges: &[Value]) {
    let mut world = cluster.world.lock().unwrap();
    for stream in exchanges.iter().map(|exchange| &exchange["response"]["body"]) {
        for tag in stream["spec"]["tags"].as_array().into_iter().flatten() {
            let Some(from) = tag["from"]["name"].as_str() else { continue };
            let lists = stream["status"]["tags"].as_array().into_iter().flatten();
            let Some(list) = lists.into_iter().find(|list| list["tag"] == tag["name"]) else { continue };
            if let Some(condition) = list["conditions"].get(0) {
                let status = json!({"metadata": {}, "status": "Failure", "reason": condition["reason"], "message": condition["message"]});
                world.failures.insert(from.to_owned(), status);
            } else if let Some(image) = list["items"][0]["image"].as_str()
                && list["items"][0]["generation"] == tag["generation"]
            {
                let reference: ImageReference = from.parse().unwrap();
                world.images.insert(reference.with_defaults().to_string(), (image.to_owned(), image.to_owned()));
            }
        }
        if let Some(repository) = stream["spec"]["dockerImageRepository"].as_str() {
            let tags = stream["spec"]["tags"].as_array().into_iter().flatten();
            let names: Vec<String> = tags.filter_map(|tag| Some(tag["name"].as_str()?.to_owned())).collect();
            world.repositories.entry(repository.to_owned()).or_default().extend(names);
        }
    }
}

/// A workload as far as triggers are concerned: the defaults of its kind are the business of another server.
fn workload(object: &Value) -> Value {
    let mut spec = &object["spec"];
    if spec.get("jobTemplate").is_some() {
        spec = &spec["jobTemplate"]["spec"];
    }
    let pod = &spec["template"]["spec"];
    let images = |list: &str| -> Vec<Value> {
        let items = pod[list].as_array().into_iter().flatten();
        items.map(|item| json!([item["name"], item["image"]])).collect()
    };
    json!({
        "name": object["metadata"]["name"],
        "annotations": object["metadata"]["annotations"],
        "images": [images("initContainers"), images("containers")],
    })
}

/// The first place in which two values differ.
fn difference(ours: &Value, theirs: &Value, way: &str) -> Option<String> {
    match (ours, theirs) {
        (Value::Object(one), Value::Object(other)) => {
            let keys: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            keys.into_iter().find_map(|key| {
                let side = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or_default();
                difference(&side(one), &side(other), &format!("{way}.{key}"))
            })
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let mut pairs = one.iter().zip(other).enumerate();
            pairs.find_map(|(at, (one, other))| difference(one, other, &format!("{way}[{at}]")))
        }
        (one, other) if one == other => None,
        (one, other) => Some(format!("{way}: {one} | {other}")),
    }
}

fn replay(name: &str, compared_at_least: usize) {
    let cluster = OpenShift::start();
    {
        let mut world = cluster.world.lock().unwrap();
        world.strict = false;
        world.rules.internal_registry = Some("image-registry.openshift-image-registry.svc:5000".to_owned());
        world.namespaces = Some(["conformance".to_owned()].into());
    }
    let exchanges = recorded(name);
    let controller = name == "automatic_imports";
    if controller {
        prime_controller(&cluster, &exchanges);
    }
    if name == "triggers_deployments" {
        cluster.world.lock().unwrap().triggers = true;
    }
    let mut compared = 0;
    for (at, exchange) in exchanges.iter().enumerate() {
        let place = format!("{name}[{at}] {}", exchange["note"].as_str().unwrap());
        let (request, response) = (&exchange["request"], &exchange["response"]);
        let path = request["path"].as_str().unwrap();
        if name == "validation" {
            cluster.world.lock().unwrap().streams.clear();
        }
        if OVERWRITTEN.contains(&(name, at)) {
            continue;
        }
        // These kinds were switched off on the server that was recorded: nothing acts on their triggers.
        let off = ["deploymentconfigs", "buildconfigs"].iter().any(|kind| path.contains(kind));
        if off {
            cluster.world.lock().unwrap().triggers = false;
        }
        prime(&cluster, &response["body"]);
        if controller && request["method"] == "GET" {
            // The controller has run by the time somebody looks.
            let mut world = cluster.world.lock().unwrap();
            let ids: Vec<_> = world.streams.keys().cloned().collect();
            for id in ids {
                world.import_controller(&id, false);
            }
        }
        let mut request = request.clone();
        // Versions and identities are our own: a current one stays current, an old one old.
        if let Some(version) = request["body"]["metadata"].get("resourceVersion") {
            let seen = exchanges
                .iter()
                .take(at)
                .rev()
                .map(|exchange| &exchange["response"]["body"]["metadata"]["resourceVersion"]);
            let latest = seen.clone().find(|version| version.is_string());
            let old = exchange["response"]["status"] == 409 || latest != Some(version);
            let world = cluster.world.lock().unwrap();
            let name = path.split('?').next().unwrap().rsplit('/').next().unwrap();
            let id = streamkeeper::openshift::StreamId::new("conformance", name);
            let current = world.streams.get(&id).and_then(|stored| stored.stream.metadata.resource_version.clone());
            request["body"]["metadata"]["resourceVersion"] =
                if old && exchange["response"]["status"] == 409 { "0".into() } else { json!(current) };
        }
        let (status, body) = send(&cluster.server.host, &request);
        assert_eq!(status, response["status"].as_u64().unwrap(), "{place}: {body}");
        let is_workload = !path.starts_with("/apis/image.openshift.io") && status < 300;
        let (mut ours, theirs) = if is_workload {
            (workload(&body), workload(&response["body"]))
        } else {
            (normal(&body), normal(&response["body"]))
        };
        if is_workload && request["method"] == "POST" {
            // The real controller came a moment after the answer, the simulated one a moment before it.
            ours["images"] = theirs["images"].clone();
        }
        let difference = difference(&ours, &theirs, "");
        assert_eq!(difference, None, "{place}: left is the simulated server, right the real one");
        compared += 1;
    }
    assert!(compared >= compared_at_least, "{name}: only {compared} exchanges were compared");
}

#[test]
fn ownership_is_as_recorded() {
    let mut compared = 0;
    for file in ["server_side_apply.json", "owned_imports.json"] {
        let path = manifest_folder().join("tests/recorded/openshift").join(file);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let recorded: Value = serde_json::from_str(&text).unwrap();
        let mut streams: BTreeMap<String, (Value, Managers)> = BTreeMap::new();
        for exchange in recorded["exchanges"].as_array().unwrap() {
            let (request, response) = (&exchange["request"], &exchange["response"]);
            let note = exchange["note"].as_str().unwrap();
            let path = request["path"].as_str().unwrap();
            let name = path.split('?').next().unwrap().rsplit('/').next().unwrap().to_owned();
            if request["contentType"] != "application/apply-patch+yaml" || path.contains("dryRun") {
                // Whatever else was written: its outcome, with the owners that server-side apply knows of.
                if let (true, Some((live, _))) =
                    (path.contains(&format!("imagestreams/{name}")), streams.get_mut(&name))
                    && response["body"]["kind"] == "ImageStream"
                {
                    *live = response["body"].clone();
                }
                continue;
            }
            let manager = path.split("fieldManager=").nth(1).unwrap().split('&').next().unwrap();
            let wanted: Value = serde_json::from_str(request["body"].as_str().unwrap()).unwrap();
            let (live, managers) = streams.entry(name).or_default();
            // Managers of another kind (`Update`) own as well: only what apply has to do with is simulated.
            let others = response["body"]["metadata"]["managedFields"]
                .as_array()
                .is_some_and(|entries| entries.iter().any(|entry| entry["operation"] == "Update"));
            let result = managed::apply(live, managers, manager, &wanted, path.contains("force=true"));
            let status = response["status"].as_u64().unwrap();
            match result {
                Ok(object) => {
                    assert!(status < 300, "{file}: {note}");
                    if !others {
                        let applied = |value: &Value| {
                            let mut entries: Vec<Value> = value.as_array().cloned().unwrap_or_default();
                            entries.iter_mut().for_each(|entry| entry["time"] = Value::Null);
                            entries.sort_by_key(|entry| entry["manager"].to_string());
                            entries
                        };
                        let ours = applied(&managed::managed(managers));
                        assert_eq!(ours, applied(&response["body"]["metadata"]["managedFields"]), "{file}: {note}");
                        let names = |value: &Value| -> Vec<String> {
                            let mut names: Vec<String> = value["spec"]["tags"]
                                .as_array()
                                .into_iter()
                                .flatten()
                                .map(|tag| format!("{} {}", tag["name"], tag["from"]))
                                .collect();
                            names.sort();
                            names
                        };
                        assert_eq!(names(&object), names(&response["body"]), "{file}: {note}");
                        compared += 1;
                    }
                    *live = response["body"].clone();
                }
                Err(conflicts) => {
                    assert_eq!(status, 409, "{file}: {note}: {conflicts:?}");
                    let fields: Vec<String> = conflicts.iter().map(|(_, path)| managed::shown(path)).collect();
                    let recorded: Vec<&str> = response["body"]["details"]["causes"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .filter_map(|cause| cause["field"].as_str())
                        .collect();
                    assert_eq!(fields, recorded, "{file}: {note}");
                    compared += 1;
                }
            }
        }
    }
    assert!(compared >= 10, "{compared}");
}

/// One test a file; the number is how many exchanges must at least have been compared.
macro_rules! replays {
    ($($name:ident: $least:literal;)*) => {$(
        #[test]
        fn $name() {
            replay(stringify!($name), $least);
        }
    )*};
}

replays! {
    aliases: 18;
    automatic_imports: 10;
    conflicts: 8;
    create_defaults: 10;
    generations: 12;
    history: 13;
    image_stream_tags: 8;
    imports: 27;
    owned_imports: 19;
    permissions: 5;
    server_side_apply: 9;
    tag_deletion: 10;
    triggers_deployments: 41;
    validation: 21;
}
