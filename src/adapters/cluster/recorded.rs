//! Every recorded exchange, both ways: what we would send in its place, what we make of its answer.

use serde_json::{Value, json};

use crate::model::{Identities, ImportFailure, ImportItem, ImportResult, Observed, Question, WorkloadId};
use crate::openshift::{Digest, ImageStreamImport, StreamId, TagReference};

use super::owned::{Object, Owner, UNRECORDED};
use super::request::Api;
use super::wanted::Wanted;
use super::{reply, request};

/// All exchanges: place, request, response.
fn exchanges() -> Vec<(String, Value, Value)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded/openshift");
    let mut files: Vec<_> = std::fs::read_dir(folder).expect("the recordings").flatten().map(|it| it.path()).collect();
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a recording");
        let scenario: Value = serde_json::from_str(&text).expect("JSON");
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for (at, exchange) in scenario["exchanges"].as_array().into_iter().flatten().enumerate() {
            let place = format!("{name}[{at}] {}", exchange["note"].as_str().unwrap_or_default());
            all.push((place, exchange["request"].clone(), exchange["response"].clone()));
        }
    }
    assert!(all.len() > 200, "{}", all.len());
    all
}

/// Method, path and parameters of the query, in order.
fn line(method: &str, uri: &str) -> (String, String, Vec<String>) {
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    // What ours always say besides: strictness, and pages of a size of our own.
    let ours = |part: &&str| !part.is_empty() && *part != "fieldValidation=Strict" && !part.starts_with("limit=");
    let mut query: Vec<String> = query.split('&').filter(ours).map(str::to_owned).collect();
    query.sort();
    (method.to_owned(), path.to_owned(), query)
}

/// Whether a value holds everything of another one. What Go leaves out is what is empty.
fn holds(value: &Value, part: &Value) -> bool {
    match (value, part) {
        (Value::Object(value), Value::Object(part)) => part.iter().all(|(key, part)| {
            let is_empty = part.is_null() || part.as_array().is_some_and(Vec::is_empty);
            match value.get(key) {
                Some(value) => holds(value, part),
                // Nothing, and what holds nothing.
                None => is_empty || part.as_object().is_some_and(|part| holds(&json!({}), &json!(part))),
            }
        }),
        (Value::Array(value), Value::Array(part)) => {
            part.iter().all(|part| value.iter().any(|value| holds(value, part)))
        }
        (value, part) => value == part,
    }
}

fn body(request: &Value) -> Value {
    match &request["body"] {
        Value::String(text) => serde_json::from_str(text).expect("JSON"),
        body => body.clone(),
    }
}

#[test]
fn our_requests_are_such_requests() {
    let mut built = 0;
    for (place, recorded, response) in exchanges() {
        let (method, uri) =
            (recorded["method"].as_str().unwrap_or_default(), recorded["path"].as_str().unwrap_or_default());
        let path = uri.split('?').next().unwrap_or_default();
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let Some(at) = parts.iter().position(|part| *part == "namespaces") else { continue };
        let (namespace, resource, name) = (parts[at + 1], parts[at + 2], parts.get(at + 3).copied());
        let stream = StreamId::new(namespace, name.unwrap_or_default());
        let given = body(&recorded);
        let query = |key: &str| uri.split(['?', '&']).find_map(|part| part.strip_prefix(&format!("{key}=")));
        let kind = request::KINDS.iter().copied().find(|kind| kind.resource == resource);
        let ours = match (method, resource, name) {
            ("GET", "imagestreams", Some(_)) => request::get(Api::OpenShift, &stream),
            ("GET", "imagestreams", None) => request::list(Api::OpenShift, Some(namespace), None),
            ("GET", _, Some(name)) if kind.is_some() => {
                let id = WorkloadId { kind: String::new(), namespace: namespace.to_owned(), name: name.to_owned() };
                request::workload(kind.expect("a kind"), &id)
            }
            ("PATCH", "imagestreams", Some(_)) if recorded["contentType"] == "application/apply-patch+yaml" => {
                if query("dryRun").is_some() {
                    continue;
                }
                let manager = query("fieldManager").expect("a manager");
                let version = &given["metadata"]["resourceVersion"];
                let seen = Object { raw: json!({"metadata": {"resourceVersion": version}}) };
                let mut wanted = Wanted::new(&stream, Some(&seen).filter(|_| version.is_string()), manager);
                for tag in given["spec"]["tags"].as_array().into_iter().flatten() {
                    let tag: TagReference = serde_json::from_value(tag.clone()).expect("a tag");
                    let action = crate::model::Action::SetTag { stream: stream.clone(), before: None, after: tag };
                    wanted.change(&action, manager, false);
                }
                request::apply(Api::OpenShift, &stream, wanted.object(), manager, query("force").is_some())
            }
            ("POST", "imagestreamimports", None) => {
                let asked: ImageStreamImport = serde_json::from_value(given.clone()).expect("an import");
                let from = |image: &Value| image["from"]["name"].as_str().and_then(|name| name.parse().ok());
                if !asked.spec.import {
                    let reference = from(&given["spec"]["images"][0]).expect("a reference");
                    let request = request::look_up(namespace, &Question::new("", &reference, true));
                    assert_eq!(
                        line(method, uri),
                        line(request.method().as_str(), &request.uri().to_string()),
                        "{place}"
                    );
                    let ours: Value = serde_json::from_slice(request.body()).expect("JSON");
                    assert_eq!(ours["spec"]["import"], false, "{place}");
                    built += 1;
                    continue;
                }
                // A repository is imported tag by tag; requests that are refused are never built.
                if asked.spec.repository.is_some()
                    || asked.spec.images.iter().any(|image| image.to.is_none())
                    || response["status"] == 422
                {
                    continue;
                }
                let items: Vec<ImportItem> = asked
                    .spec
                    .images
                    .iter()
                    .map(|image| ImportItem {
                        tag: image.to.as_ref().map(|to| to.name.clone()).unwrap_or_default(),
                        from: image.from.name.clone(),
                        import_policy: image.import_policy,
                        reference_policy: image.reference_policy,
                        result: ImportResult::Failure(ImportFailure { reason: String::new(), message: String::new() }),
                    })
                    .collect();
                let stream = StreamId::new(namespace, asked.metadata.name.clone());
                let manager = query("fieldManager").unwrap_or("unknown");
                let mut request = request::import(&stream, &items, manager, None);
                if query("fieldManager").is_none() {
                    // Others name themselves in the user agent.
                    *request.uri_mut() = path.parse().expect("a path");
                }
                request
            }
            ("DELETE", "imagestreamtags", Some(name)) => {
                let (stream, tag) = name.split_once(':').expect("a tag");
                request::delete_tag(&StreamId::new(namespace, stream), tag)
            }
            ("DELETE", "imagestreams", Some(_)) => {
                let uid = given["preconditions"]["uid"].as_str().unwrap_or_default();
                request::delete_stream(Api::OpenShift, &stream, uid, "1")
            }
            // What others send: creation without apply, patches, views.
            _ => continue,
        };
        assert_eq!(line(method, uri), line(ours.method().as_str(), &ours.uri().to_string()), "{place}");
        if let Some(kind) = recorded["contentType"].as_str() {
            assert_eq!(ours.headers()["content-type"], kind, "{place}");
            let ours: Value = serde_json::from_slice(ours.body()).expect("JSON");
            assert!(holds(&ours, &given), "{place}: {ours} lacks something of {given}");
        }
        built += 1;
    }
    assert!(built > 90, "{built}");
}

#[test]
fn we_read_such_answers() {
    let (mut refusals, mut streams, mut imports) = (0, 0, 0);
    for (place, recorded, response) in exchanges() {
        let status = u16::try_from(response["status"].as_u64().expect("a status")).expect("a status");
        let answer = &response["body"];
        let bytes = answer.to_string().into_bytes();
        if status >= 300 {
            let code = http::StatusCode::from_u16(status).expect("a status");
            let refused = reply::refused(code, &bytes);
            assert_eq!(
                (refused.code, refused.reason.as_str()),
                (status, answer["reason"].as_str().unwrap_or_default()),
                "{place}"
            );
            assert!(!refused.message.is_empty(), "{place}");
            let causes = answer["details"]["causes"].as_array().into_iter().flatten();
            let conflicts = causes.filter(|cause| cause["reason"] == "FieldManagerConflict").count();
            assert_eq!(refused.managers.len(), conflicts, "{place}");
            let is_stale =
                answer["message"].as_str().is_some_and(|text| text.starts_with("Operation cannot be fulfilled"));
            assert!(!is_stale || refused.is_stale(), "{place}");
            refusals += 1;
            continue;
        }
        match answer["kind"].as_str() {
            Some("ImageStream") => {
                let object = reply::object(&bytes).expect("a stream");
                let stream = object.stream().expect("a stream");
                assert_eq!(stream.metadata.name, answer["metadata"]["name"].as_str().unwrap_or_default(), "{place}");
                owners(&place, &object, answer);
                streams += 1;
            }
            Some("ImageStreamList") => {
                let page = reply::page(&bytes).expect("a page");
                let next = answer["metadata"]["continue"].as_str().filter(|text| !text.is_empty());
                assert_eq!(page.next.as_deref(), next, "{place}");
                assert_eq!(page.items.len(), answer["items"].as_array().map_or(0, Vec::len), "{place}");
            }
            Some("ImageStreamImport") if body(&recorded)["spec"]["import"] == false => {
                let digest = &answer["status"]["images"][0]["image"]["metadata"]["name"];
                let Ok(Observed::Known(found)) = reply::looked_up("x", &bytes) else { panic!("{place}") };
                assert_eq!(json!(found.digest.as_str()), *digest, "{place}");
            }
            Some("ImageStreamImport") => {
                let found = reply::imported(&bytes).unwrap_or_else(|error| panic!("{place}: {error}"));
                assert!(found.stream.is_some(), "{place}");
                let results = answer["status"]["images"].as_array().into_iter().flatten();
                for (found, result) in found.images.iter().zip(results) {
                    match found {
                        Ok(digest) => {
                            assert_eq!(json!(digest), result["image"]["metadata"]["name"], "{place}");
                            assert!(Digest::parse(digest).is_some(), "{place}");
                        }
                        Err(message) => {
                            assert_eq!(result["status"]["status"], "Failure", "{place}");
                            assert!(!message.is_empty(), "{place}");
                        }
                    }
                }
                imports += 1;
            }
            _ => {}
        }
    }
    assert!(refusals > 20 && streams > 70 && imports > 25, "{refusals} {streams} {imports}");
}

/// Whose the tags of a stream are, for each manager that its managed fields name.
fn owners(place: &str, object: &Object, answer: &Value) {
    let entries = answer["metadata"]["managedFields"].as_array().into_iter().flatten();
    for entry in entries.filter(|entry| entry["operation"] == "Apply") {
        let manager = entry["manager"].as_str().unwrap_or_default();
        // The recordings are of another program, which keeps no source.
        let owner = Owner::new(manager, Identities::of(UNRECORDED));
        let owned = object.owned(&owner);
        let tags = entry["fieldsV1"]["f:spec"]["f:tags"].as_object().into_iter().flatten();
        for (key, _) in tags.filter(|(key, _)| key.starts_with("k:")) {
            let key: Value = serde_json::from_str(&key[2..]).expect("a key");
            let name = key["name"].as_str().unwrap_or_default();
            assert!(object.claims(manager, name), "{place}: {name}");
            assert!(owned.tags.contains_key(name) || owned.others.contains_key(name), "{place}: {name}");
        }
        // Applying it again, unchanged, is in nobody's way.
        assert_eq!(object.conflicts(&owner, &object.applied(manager)), Vec::new(), "{place}");
    }
}
