//! The exchanges recorded from a real API server, replayed through `rules`.
//!
//! Each file starts from an empty namespace. A request becomes what it means to `rules::answer`, the answer is compared with
//! the recorded one: spec, status, history, generations, conditions, refusals. Left out are uids, times, resource versions
//! and managed fields. What API machinery does before an image stream's own rules see it (merging patches, field
//! ownership) is taken from the recording.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use serde_json::{Value, json};
use streamkeeper::model::{ImportFailure, ImportItem, ImportResult};
use streamkeeper::openshift::{
    Digest, ImageReference, ImageStream, ImageStreamImport, ObjectReference, StreamId, TagReference,
};
use streamkeeper::rules::{self, Effect, Refusal, Request, Server, State};

const NAMESPACE: &str = "conformance";

/// Where the real server does what the semantics call a defect to tolerate, and our rules do the better thing.
struct Tolerated {
    file: &'static str,
    /// From this exchange on.
    from: usize,
    /// An alias that the server leaves behind when its target changes by PATCH of the stream (statement 44).
    alias: &'static str,
}

const TOLERATED: &[Tolerated] = &[Tolerated { file: "generations.json", from: 7, alias: "a" }];

/// Answers to a GET that were changed in the recorder's hands before they were written down: they show what the PUT behind
/// them sends, under the old resource version.
const OVERWRITTEN: &[(&str, usize)] = &[("conflicts.json", 1), ("tag_deletion.json", 1)];

struct Replay {
    streams: BTreeMap<StreamId, ImageStream>,
    server: Server,
    /// OpenShift's import controller ran between the requests.
    controller: bool,
    compared: usize,
}

/// What an exchange was compared with.
enum Expect {
    Stream,
    Nothing,
}

impl Replay {
    fn answer(&mut self, name: &str, request: &Request<'_>) -> Result<Option<ImageStream>, Refusal> {
        let id = StreamId::new(NAMESPACE, name);
        let state = State { id: &id, stream: self.streams.get(&id), others: &self.streams, server: &self.server };
        let Effect { stream, .. } = rules::answer(state, request, Timestamp::UNIX_EPOCH)?;
        match stream.clone() {
            Some(stream) => self.streams.insert(id, stream),
            None => self.streams.remove(&id),
        };
        Ok(stream)
    }

    fn stored(&self, name: &str) -> Option<ImageStream> {
        self.streams.get(&StreamId::new(NAMESPACE, name)).cloned()
    }

    fn exchange(&mut self, at: usize, place: &str, request: &Value, response: &Value) {
        if OVERWRITTEN.iter().any(|(file, index)| place.starts_with(file) && *index == at) {
            return;
        }
        let method = request["method"].as_str().unwrap();
        let path = request["path"].as_str().unwrap();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let Some(rest) = path.strip_prefix("/apis/image.openshift.io/v1/namespaces/conformance/") else { return };
        let (resource, name) = rest.split_once('/').unwrap_or((rest, ""));
        let status = response["status"].as_u64().unwrap();
        let body = &request["body"];
        // Refused before the rules of image streams are asked: versions, permissions, ownership, strictness, enum values
        // (which our types cannot even hold), and dry runs.
        let before_us = matches!(status, 400 | 401 | 403)
            || (status == 409 && method != "POST")
            || query.contains("dryRun")
            || (status == 422 && place.contains("unknown reference policy"))
            || (status == 422 && place.contains("unknown import mode"))
            || request["as"].as_str().is_some_and(|user| user.contains("nobody"));
        if before_us {
            return;
        }
        let result = match (method, resource) {
            ("GET", "imagestreams") if !name.is_empty() => {
                if self.controller {
                    self.run_import_controller(name, &response["body"]);
                }
                match self.stored(name) {
                    Some(stream) => Ok((Some(stream), Expect::Stream)),
                    None => {
                        assert_eq!(status, 404, "{place}: we have no such stream");
                        self.compared += 1;
                        return;
                    }
                }
            }
            ("POST", "imagestreams") => {
                let stream = read_stream(body);
                let name = stream.metadata.name.clone();
                self.answer(&name, &Request::Create(&stream)).map(|stream| (stream, Expect::Stream))
            }
            ("PUT", "imagestreams") => {
                self.answer(name, &Request::Update(&read_stream(body))).map(|stream| (stream, Expect::Stream))
            }
            ("PATCH", "imagestreams") => self.patch(name, request, response).map(|stream| (stream, Expect::Stream)),
            ("DELETE", "imagestreams") => self.answer(name, &Request::Delete).map(|_| (None, Expect::Nothing)),
            ("DELETE", "imagestreamtags" | "imagetags") => {
                let (stream, tag) = name.split_once(':').unwrap();
                self.answer(stream, &Request::DeleteTag(tag)).map(|_| (None, Expect::Nothing))
            }
            ("POST" | "PATCH", "imagestreamtags") => {
                let full = body["metadata"]["name"].as_str().unwrap_or(name);
                let (stream, tag) = full.split_once(':').unwrap();
                if method == "POST" && self.stored(stream).is_some_and(|stored| stored.spec_tag(tag).is_some()) {
                    assert_eq!(status, 409, "{place}");
                    self.compared += 1;
                    return;
                }
                let mut wanted = if method == "POST" {
                    read(&body["tag"])
                } else {
                    patched(&self.stored(stream).unwrap(), tag, body)
                };
                tag.clone_into(&mut wanted.name);
                self.answer(stream, &Request::PutTag(&wanted)).map(|_| (None, Expect::Nothing))
            }
            ("POST", "imagestreamimports") => self.import(body, response),
            _ => return,
        };
        self.compared += 1;
        match result {
            Ok((stream, expect)) => {
                assert!(status < 300, "{place}: the server refused: {}", response["body"]["message"]);
                let recorded = if resource == "imagestreamimports" {
                    &response["body"]["status"]["import"]
                } else {
                    &response["body"]
                };
                if let (Expect::Stream, Some(stream)) = (expect, stream) {
                    let (mut ours, theirs) = (normal(&stream), normal(&read_stream(recorded)));
                    let tolerated = TOLERATED.iter().find(|known| place.starts_with(known.file) && known.from <= at);
                    if let Some(known) = tolerated {
                        // Must still differ, or the entry is to be taken out.
                        assert_ne!(ours.status_tag(known.alias), theirs.status_tag(known.alias), "{place}");
                        ours.status.tags.retain(|list| list.tag != known.alias);
                    }
                    assert_eq!(pretty(&ours), pretty(&theirs), "{place}: left is ours, right the server's");
                }
            }
            Err(refusal) => {
                assert!(status >= 400, "{place}: the server took it, we refuse: {refusal}");
                let answer: streamkeeper::openshift::Status = serde_json::from_value(response["body"].clone()).unwrap();
                assert_eq!(refusal.status(), answer, "{place}: left is ours, right the server's");
            }
        }
    }

    fn patch(&mut self, name: &str, request: &Value, response: &Value) -> Result<Option<ImageStream>, Refusal> {
        let body = &request["body"];
        let content_type = request["contentType"].as_str().unwrap();
        let stored = self.stored(name);
        let wanted = if content_type.contains("strategic") {
            let mut stream = stored.unwrap();
            for tag in body["spec"]["tags"].as_array().into_iter().flatten() {
                let name = tag["name"].as_str().unwrap();
                let merged = patched(&stream, name, &json!({ "tag": tag }));
                stream.spec.tags.retain(|other| other.name != name);
                stream.spec.tags.push(merged);
            }
            stream
        } else {
            // Merge patch, JSON patch and apply: what they merge to is the recorded spec, generations aside.
            let mut stream = read_stream(&response["body"]);
            for tag in &mut stream.spec.tags {
                tag.generation = None;
            }
            stream
        };
        match self.stored(name) {
            Some(_) => self.answer(name, &Request::Update(&wanted)),
            None => self.answer(name, &Request::Create(&wanted)),
        }
    }

    fn import(&mut self, body: &Value, response: &Value) -> Result<(Option<ImageStream>, Expect), Refusal> {
        let request: ImageStreamImport = read(body);
        let name = request.metadata.name.clone();
        rules::check_import(&name, &request.spec)?;
        let answered: ImageStreamImport = match response["status"].as_u64() {
            Some(201) => read(&response["body"]),
            // A refused request has no answers for its images: anything will do, the rules must refuse first.
            _ => ImageStreamImport::default(),
        };
        let mut items = Vec::new();
        for image in answered.status.repository.iter().flat_map(|repository| &repository.images) {
            let repository = answered.spec.repository.as_ref().unwrap();
            items.push(ImportItem {
                tag: image.tag.clone(),
                from: format!("{}:{}", repository.from.name, image.tag),
                import_policy: repository.import_policy,
                reference_policy: repository.reference_policy,
                result: result_of(&image.status, image.image.as_ref().map(|image| &*image.metadata.name)),
            });
        }
        for (at, spec) in request.spec.images.iter().enumerate() {
            let tag = spec.to.as_ref().map(|to| to.name.clone()).or_else(|| default_tag(&spec.from));
            let answer = answered.status.images.get(at);
            let result = answer.map_or_else(failure, |answer| {
                result_of(&answer.status, answer.image.as_ref().map(|image| &*image.metadata.name))
            });
            if let Some(tag) = tag {
                let (import_policy, reference_policy) = (spec.import_policy, spec.reference_policy);
                items.push(ImportItem { tag, from: spec.from.name.clone(), import_policy, reference_policy, result });
            }
        }
        if !request.spec.import && answered.status.import.is_none() {
            return Ok((None, Expect::Nothing));
        }
        self.answer(&name, &Request::Import(&items)).map(|stream| (stream, Expect::Stream))
    }

    /// Imports what OpenShift's controller would (semantics 4.1), with the results that the recording shows.
    fn run_import_controller(&mut self, name: &str, recorded: &Value) {
        let recorded = read_stream(recorded);
        let Some(stored) = self.stored(name) else { return };
        let mut items = Vec::new();
        for tag in &recorded.spec.tags {
            let mine = stored.spec_tag(&tag.name);
            let from_repository = mine.is_none() && !stored.spec.docker_image_repository.is_empty();
            let due = mine.is_some_and(|mine| stored.is_import_pending(mine));
            if !due && !from_repository {
                continue;
            }
            let list = recorded.status_tag(&tag.name).unwrap();
            let result = match list.conditions.first() {
                Some(condition) => ImportResult::Failure(ImportFailure {
                    reason: condition.reason.clone(),
                    message: condition.message.clone(),
                }),
                None => ImportResult::Image { digest: Digest::parse(&list.items[0].image).unwrap() },
            };
            items.push(ImportItem {
                tag: tag.name.clone(),
                from: tag.from.as_ref().unwrap().name.clone(),
                import_policy: tag.import_policy,
                reference_policy: tag.reference_policy,
                result,
            });
        }
        if !items.is_empty() {
            self.answer(name, &Request::Import(&items)).unwrap();
        }
    }
}

fn failure() -> ImportResult {
    ImportResult::Failure(ImportFailure { reason: "Unknown".to_owned(), message: String::new() })
}

fn result_of(status: &streamkeeper::openshift::Status, image: Option<&str>) -> ImportResult {
    match image {
        Some(image) if status.status == "Success" => ImportResult::Image { digest: Digest::parse(image).unwrap() },
        _ => ImportResult::Failure(ImportFailure { reason: status.reason.clone(), message: status.message.clone() }),
    }
}

fn default_tag(from: &ObjectReference) -> Option<String> {
    let parsed: ImageReference = from.name.parse().ok()?;
    Some(parsed.tag).filter(|tag| !tag.is_empty())
}

fn patched(stream: &ImageStream, tag: &str, patch: &Value) -> TagReference {
    let mut current = serde_json::to_value(stream.spec_tag(tag).cloned().unwrap_or_default()).unwrap();
    merge(&mut current, &patch["tag"]);
    let mut merged: TagReference = read(&current);
    tag.clone_into(&mut merged.name);
    merged
}

fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, patch) => *into = patch.clone(),
    }
}

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    // Apply bodies are recorded as text.
    match value {
        Value::String(text) => serde_json::from_str(text).unwrap(),
        value => serde_json::from_value(value.clone()).unwrap(),
    }
}

fn read_stream(value: &Value) -> ImageStream {
    read(value)
}

fn normal(stream: &ImageStream) -> ImageStream {
    let mut stream = stream.clone();
    stream.kind.clear();
    stream.api_version.clear();
    stream.metadata.uid = None;
    stream.metadata.resource_version = None;
    stream.metadata.creation_timestamp = None;
    if let Some(check) = stream.metadata.annotations.get_mut(streamkeeper::openshift::REPOSITORY_CHECK_ANNOTATION) {
        check.clear();
    }
    for list in &mut stream.status.tags {
        list.items.iter_mut().for_each(|event| event.created = None);
        list.conditions.iter_mut().for_each(|condition| condition.last_transition_time = None);
    }
    stream
}

fn pretty(stream: &ImageStream) -> String {
    serde_json::to_string_pretty(stream).unwrap()
}

fn replay(file: &str, at_least: usize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded/openshift").join(file);
    let scenario: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let host = "image-registry.openshift-image-registry.svc:5000".to_owned();
    let server = Server { internal_registry: Some(host), ..Server::default() };
    let controller = file == "automatic_imports.json";
    let mut replay = Replay { streams: BTreeMap::new(), server, controller, compared: 0 };
    for (at, exchange) in scenario["exchanges"].as_array().unwrap().iter().enumerate() {
        let place = format!("{file}[{at}] {}", exchange["note"].as_str().unwrap());
        if file == "validation.json" {
            // Each request of this scenario met an empty namespace: the recorder cleaned up in between.
            replay.streams.clear();
        }
        replay.exchange(at, &place, &exchange["request"], &exchange["response"]);
    }
    assert!(replay.compared >= at_least, "{file}: only {} exchanges were compared", replay.compared);
}

/// One test a file; the number is how many exchanges must at least have been compared.
macro_rules! replays {
    ($($name:ident: $least:literal;)*) => {$(
        #[test]
        fn $name() {
            replay(concat!(stringify!($name), ".json"), $least);
        }
    )*};
}

replays! {
    aliases: 17;
    automatic_imports: 9;
    conflicts: 4;
    create_defaults: 8;
    generations: 11;
    history: 7;
    image_stream_tags: 4;
    imports: 22;
    owned_imports: 15;
    server_side_apply: 5;
    tag_deletion: 10;
    triggers_deployments: 2;
    validation: 17;
}
