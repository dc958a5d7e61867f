//! OpenShift's image API, acting by `rules`: lists in pages, server-side apply with ownership, imports, deletions. Stricter
//! than the real one: writes without a field manager, without strict validation, or of fields it does not know are refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use serde_json::{Value, json};
use streamkeeper::api::{ImageStream, ImportMode, TagImportPolicy, TagReference};
use streamkeeper::model::{Digest, ImageReference, ImportFailure, ImportItem, ImportResult, StreamId};
use streamkeeper::rules::{self, RefusalReason, Server as Rules, State};

use super::managed::{self, Managers};
use super::server::{Reply, Request, Server};

const BASE: &str = "/apis/image.openshift.io/v1";

/// A stream as it is stored.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    pub stream: ImageStream,
    pub managers: Managers,
}

/// What a cluster holds.
#[derive(Debug, Default)]
pub struct World {
    pub streams: BTreeMap<StreamId, Stored>,
    /// By pull spec with all defaults: digest of the whole, and of its image for linux/amd64. What is not there is not found.
    pub images: BTreeMap<String, (String, String)>,
    /// Namespaces that the account may not see.
    pub forbidden: BTreeSet<String>,
    /// The account may not list all namespaces at once.
    pub narrow: bool,
    /// What applies are answered with besides.
    pub warning: Option<String>,
    /// OpenShift's import controller runs, and is quicker than we are.
    pub controller: bool,
    /// So many more requests that write are answered; the one after them is done or not, as it says, and from then on nobody
    /// answers any more.
    pub vanishes: Option<(usize, bool)>,
    /// Statuses to answer the next requests that write with, instead of doing them.
    pub faults: Vec<(u16, Option<&'static str>)>,
    pub version: u64,
}

/// A cluster that listens on loopback.
#[derive(Clone)]
pub struct OpenShift {
    pub server: Server,
    pub world: Arc<Mutex<World>>,
}

impl OpenShift {
    pub fn start() -> Self {
        let world: Arc<Mutex<World>> = Arc::default();
        let held = Arc::clone(&world);
        let server = Server::start(move |request| {
            let mut world = held.lock().unwrap();
            match world.vanishes {
                Some((0, is_done)) => {
                    // The last one, once.
                    if is_done && request.method != "GET" {
                        world.vanishes = Some((0, false));
                        world.answer(request);
                    }
                    Reply::Cut(Vec::new())
                }
                Some((left, is_done)) if request.method != "GET" => {
                    world.vanishes = Some((left - 1, is_done));
                    world.answer(request)
                }
                _ => world.answer(request),
            }
        });
        Self { server, world }
    }

    /// A kubeconfig for it.
    pub fn kubeconfig(&self) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: sim\nclusters: [{{name: sim, cluster: {{server: 'http://{}'}}}}]\nusers: [{{name: sim, user: {{token: hunter2canary}}}}]\ncontexts: [{{name: sim, context: {{cluster: sim, user: sim, namespace: default}}}}]\n",
            self.server.host
        )
    }
}

fn status(code: u16, reason: &str, message: &str) -> Reply {
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason, "code": code});
    Reply::new(&format!("{code} {reason}"), &[("Content-Type", "application/json")], body.to_string())
}

fn found(code: &str, body: &Value) -> Reply {
    Reply::new(code, &[("Content-Type", "application/json")], body.to_string())
}

fn stale(name: &str) -> Reply {
    let message = format!(
        "Operation cannot be fulfilled on imagestreams.image.openshift.io \"{name}\": the object has been modified; please apply your changes to the latest version and try again"
    );
    status(409, "Conflict", &message)
}

fn unescape(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let hex: String = bytes.by_ref().take(2).map(char::from).collect();
            out.push(u8::from_str_radix(&hex, 16).unwrap());
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).unwrap()
}

impl World {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_795_000_000 + i64::try_from(self.version).unwrap()).unwrap()
    }

    /// As the server sends it.
    pub fn object(stored: &Stored) -> Value {
        let mut object = serde_json::to_value(&stored.stream).unwrap();
        object["kind"] = "ImageStream".into();
        object["apiVersion"] = "image.openshift.io/v1".into();
        object["metadata"]["managedFields"] = managed::managed(&stored.managers);
        for tag in object.pointer_mut("/spec/tags").and_then(Value::as_array_mut).into_iter().flatten() {
            // As Go writes what is not set.
            tag.as_object_mut().unwrap().entry("annotations").or_insert(Value::Null);
        }
        object
    }

    fn store(&mut self, id: &StreamId, mut stored: Stored) -> Value {
        let before = self.streams.get(id);
        let same = before.is_some_and(|before| {
            let plain = |stored: &Stored| {
                let mut stream = stored.stream.clone();
                stream.metadata.resource_version = None;
                stream
            };
            plain(before) == plain(&stored) && before.managers == stored.managers
        });
        if !same {
            self.version += 1;
            stored.stream.metadata.resource_version = Some(self.version.to_string());
        } else if let Some(before) = before {
            stored.stream.metadata.resource_version.clone_from(&before.stream.metadata.resource_version);
        }
        if stored.stream.metadata.uid.is_none() {
            stored.stream.metadata.uid = Some(format!("uid-{}", self.version));
            stored.stream.metadata.creation_timestamp = Some(self.now());
        }
        let object = Self::object(&stored);
        self.streams.insert(id.clone(), stored);
        object
    }

    fn perform(&mut self, id: &StreamId, request: &rules::Request<'_>) -> Result<Option<ImageStream>, Reply> {
        let others: BTreeMap<StreamId, ImageStream> =
            self.streams.iter().map(|(id, stored)| (id.clone(), stored.stream.clone())).collect();
        let server = Rules::default();
        let state = State { id, stream: others.get(id), others: &others, server: &server };
        match rules::answer(state, request, self.now()) {
            Ok(effect) => Ok(effect.stream),
            Err(refusal) => {
                let (code, reason) = match refusal.reason {
                    RefusalReason::Invalid => (422, "Invalid"),
                    RefusalReason::NotFound => (404, "NotFound"),
                    RefusalReason::AlreadyExists => (409, "AlreadyExists"),
                };
                Err(status(code, reason, &refusal.message))
            }
        }
    }

    fn answer(&mut self, request: &Request) -> Reply {
        if request.header("authorization") != Some("Bearer hunter2canary") {
            return status(401, "Unauthorized", "Unauthorized");
        }
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let query: BTreeMap<String, String> = query
            .split('&')
            .filter_map(|part| part.split_once('='))
            .map(|(name, value)| (name.to_owned(), unescape(value)))
            .collect();
        if path == BASE {
            return found("200 OK", &json!({"kind": "APIResourceList", "resources": []}));
        }
        let Some(rest) = path.strip_prefix(&format!("{BASE}/")) else {
            return status(404, "NotFound", "the server could not find the requested resource");
        };
        let parts: Vec<String> = rest.split('/').map(unescape).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let writes = request.method != "GET";
        if writes && let Some((code, after)) = (!self.faults.is_empty()).then(|| self.faults.remove(0)) {
            let reply = status(code, "Fault", "not now");
            return after.map_or(status(code, "Fault", "not now"), |after| reply.header("Retry-After", after));
        }
        match (request.method.as_str(), parts.as_slice()) {
            ("GET", ["imagestreams"]) => self.list(None, &query),
            ("GET", ["namespaces", namespace, "imagestreams"]) => self.list(Some(namespace), &query),
            (_, ["namespaces", namespace, ..]) if self.forbidden.contains(*namespace) => {
                Self::forbids("write", namespace)
            }
            ("GET", ["namespaces", namespace, "imagestreams", name]) => {
                match self.streams.get(&StreamId::new(*namespace, *name)) {
                    Some(stored) => found("200 OK", &Self::object(stored)),
                    None => Self::missing(name),
                }
            }
            ("PATCH", ["namespaces", namespace, "imagestreams", name]) => {
                self.apply(&StreamId::new(*namespace, *name), request, &query)
            }
            ("DELETE", ["namespaces", namespace, "imagestreams", name]) => {
                self.delete(&StreamId::new(*namespace, *name), request)
            }
            ("DELETE", ["namespaces", namespace, "imagestreamtags", name]) => {
                let (stream, tag) = name.split_once(':').unwrap();
                self.delete_tag(&StreamId::new(*namespace, stream), tag)
            }
            ("POST", ["namespaces", namespace, "imagestreamimports"]) => self.import(namespace, request),
            _ => status(405, "MethodNotAllowed", "the server does not allow this method on the requested resource"),
        }
    }

    fn forbids(verb: &str, namespace: &str) -> Reply {
        let message = format!(
            "imagestreams.image.openshift.io is forbidden: User \"sim\" cannot {verb} resource \"imagestreams\" in API group \"image.openshift.io\" in the namespace \"{namespace}\""
        );
        status(403, "Forbidden", &message)
    }

    fn missing(name: &str) -> Reply {
        status(404, "NotFound", &format!("imagestreams.image.openshift.io \"{name}\" not found"))
    }

    fn list(&self, namespace: Option<&str>, query: &BTreeMap<String, String>) -> Reply {
        match namespace {
            None if self.narrow || !self.forbidden.is_empty() => {
                return status(
                    403,
                    "Forbidden",
                    "imagestreams.image.openshift.io is forbidden: User \"sim\" cannot list resource \"imagestreams\" in API group \"image.openshift.io\" at the cluster scope",
                );
            }
            Some(namespace) if self.forbidden.contains(namespace) => return Self::forbids("list", namespace),
            _ => {}
        }
        let limit: usize = query.get("limit").and_then(|text| text.parse().ok()).unwrap_or(usize::MAX);
        let after: usize = query.get("continue").and_then(|text| text.parse().ok()).unwrap_or(0);
        let all: Vec<&Stored> = self
            .streams
            .iter()
            .filter(|(id, _)| namespace.is_none_or(|it| id.namespace == it))
            .map(|(_, stored)| stored)
            .collect();
        let items: Vec<Value> = all.iter().skip(after).take(limit).map(|stored| Self::object(stored)).collect();
        let next = if after + items.len() < all.len() { (after + items.len()).to_string() } else { String::new() };
        found(
            "200 OK",
            &json!({"kind": "ImageStreamList", "apiVersion": "image.openshift.io/v1", "metadata": {"resourceVersion": self.version.to_string(), "continue": next}, "items": items}),
        )
    }

    fn apply(&mut self, id: &StreamId, request: &Request, query: &BTreeMap<String, String>) -> Reply {
        let (Some(manager), Some("application/apply-patch+yaml")) =
            (query.get("fieldManager"), request.header("content-type"))
        else {
            return status(400, "BadRequest", "fieldManager is required for apply patch");
        };
        if query.get("fieldValidation").map(String::as_str) != Some("Strict") {
            return status(400, "BadRequest", "this server wants strict validation");
        }
        let wanted: Value = serde_json::from_str(&request.body).unwrap();
        let mut stored = self.streams.get(id).cloned().unwrap_or_default();
        let is_new = !self.streams.contains_key(id);
        if let Some(version) = wanted["metadata"]["resourceVersion"].as_str()
            && stored.stream.metadata.resource_version.as_deref() != Some(version)
        {
            return stale(&id.name);
        }
        let known = serde_json::from_value::<ImageStream>(wanted.clone()).is_ok_and(|stream| {
            // What our types do not hold is unknown to the server as well.
            let tags = serde_json::to_value(&stream.spec.tags).unwrap();
            let names = |value: &Value| value.as_array().map_or(0, Vec::len);
            names(&tags) == names(&wanted["spec"]["tags"])
        });
        if !known {
            return status(400, "BadRequest", "strict decoding error: unknown field");
        }
        let live = serde_json::to_value(&stored.stream).unwrap();
        let force = query.get("force").is_some_and(|force| force == "true");
        let merged = match managed::apply(&live, &mut stored.managers, manager, &wanted, force) {
            Ok(merged) => merged,
            Err(conflicts) => {
                let causes: Vec<Value> = conflicts.iter().map(|(manager, path)| json!({"reason": "FieldManagerConflict", "message": format!("conflict with \"{manager}\""), "field": managed::shown(path)})).collect();
                let message = format!("Apply failed with {} conflict", causes.len());
                let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": "Conflict", "details": {"causes": causes}, "code": 409});
                return found("409 Conflict", &body);
            }
        };
        let mut stream: ImageStream = serde_json::from_value(merged).unwrap();
        stream.metadata.name.clone_from(&id.name);
        stream.metadata.namespace.clone_from(&id.namespace);
        let means = if is_new { rules::Request::Create(&stream) } else { rules::Request::Update(&stream) };
        match self.perform(id, &means) {
            Ok(stream) => {
                stored.stream = stream.unwrap();
                let object = self.store(id, stored);
                if self.controller {
                    self.import_controller(id, false);
                }
                let reply = found(if is_new { "201 Created" } else { "200 OK" }, &object);
                match &self.warning {
                    Some(warning) => reply.header("Warning", &format!("299 - \"{warning}\"")),
                    None => reply,
                }
            }
            Err(reply) => reply,
        }
    }

    fn import(&mut self, namespace: &str, request: &Request) -> Reply {
        let body: Value = serde_json::from_str(&request.body).unwrap();
        let id = StreamId::new(namespace, body["metadata"]["name"].as_str().unwrap());
        if let Some(version) = body["metadata"]["resourceVersion"].as_str() {
            match self.streams.get(&id) {
                None => return Self::missing(&id.name),
                Some(stored) if stored.stream.metadata.resource_version.as_deref() != Some(version) => {
                    return stale(&id.name);
                }
                Some(_) => {}
            }
        }
        let asked = body["spec"]["images"].as_array().unwrap();
        // So that a client that asks for more at once than the real server answers quickly is noticed.
        assert!(asked.len() <= 3, "an import of {} images", asked.len());
        let mut items = Vec::new();
        let mut results = Vec::new();
        for image in asked {
            let from = image["from"]["name"].as_str().unwrap();
            let import_policy: TagImportPolicy = serde_json::from_value(image["importPolicy"].clone()).unwrap();
            let result = self.look_up(from, import_policy);
            results.push(match &result {
                ImportResult::Image { digest } => json!({"status": {"metadata": {}, "status": "Success"}, "image": {"metadata": {"name": digest}, "dockerImageReference": from}}),
                ImportResult::Failure(failure) => json!({"status": {"metadata": {}, "status": "Failure", "reason": failure.reason, "message": failure.message, "code": 404}}),
            });
            items.push(ImportItem {
                tag: image["to"]["name"].as_str().unwrap().to_owned(),
                from: from.to_owned(),
                import_policy,
                reference_policy: serde_json::from_value(image["referencePolicy"].clone()).unwrap(),
                result,
            });
        }
        match self.perform(&id, &rules::Request::Import(&items)) {
            Ok(stream) => {
                let mut stored = self.streams.get(&id).cloned().unwrap_or_default();
                stored.stream = stream.unwrap();
                let object = self.store(&id, stored);
                let mut answer = body.clone();
                answer["status"] = json!({"import": object, "images": results});
                found("201 Created", &answer)
            }
            Err(reply) => reply,
        }
    }

    /// What a pull spec is, as the cluster sees it.
    fn look_up(&self, from: &str, policy: TagImportPolicy) -> ImportResult {
        let reference: ImageReference = from.parse().unwrap();
        match self.images.get(&reference.with_defaults().to_string()) {
            Some((whole, amd64)) => {
                let digest = if policy.import_mode == ImportMode::PreserveOriginal { whole } else { amd64 };
                ImportResult::Image { digest: Digest::parse(digest).unwrap() }
            }
            None => {
                let message = format!("dockerimage.image.openshift.io \"{from}\" not found");
                ImportResult::Failure(ImportFailure { reason: "NotFound".to_owned(), message })
            }
        }
    }

    /// OpenShift's import controller: imports what is newer in spec than in status, all of a stream at once; `all` as when
    /// everything is due.
    pub fn import_controller(&mut self, id: &StreamId, all: bool) {
        let Some(stored) = self.streams.get(id) else { return };
        let due = |tag: &&TagReference| {
            let head = stored.stream.head(&tag.name).map_or(-1, |head| head.generation);
            rules::is_imported(tag) && (all || tag.generation.is_some_and(|generation| generation > head))
        };
        let items: Vec<ImportItem> = stored
            .stream
            .spec
            .tags
            .iter()
            .filter(due)
            .map(|tag| {
                let from = tag.from.as_ref().unwrap().name.clone();
                let result = self.look_up(&from, tag.import_policy);
                ImportItem {
                    tag: tag.name.clone(),
                    from,
                    import_policy: tag.import_policy,
                    reference_policy: tag.reference_policy,
                    result,
                }
            })
            .collect();
        if items.is_empty() {
            return;
        }
        if let Ok(stream) = self.perform(id, &rules::Request::Import(&items)) {
            let mut stored = self.streams[id].clone();
            stored.stream = stream.unwrap();
            self.store(id, stored);
        }
    }

    /// Somebody changes a stream with `oc edit`: nobody applies what they wrote.
    pub fn edit(&mut self, id: &StreamId, change: impl FnOnce(&mut ImageStream)) {
        let mut stored = self.streams[id].clone();
        change(&mut stored.stream);
        let stream = self.perform(id, &rules::Request::Update(&stored.stream)).unwrap_or_else(|_| panic!("{id}"));
        stored.stream = stream.unwrap();
        self.store(id, stored);
    }

    fn delete_tag(&mut self, id: &StreamId, tag: &str) -> Reply {
        match self.perform(id, &rules::Request::DeleteTag(tag)) {
            Ok(stream) => {
                let mut stored = self.streams.get(id).cloned().unwrap_or_default();
                stored.stream = stream.unwrap();
                let key = format!("k:{}", json!({ "name": tag }));
                for owned in stored.managers.values_mut() {
                    owned.retain(|path| !path.contains(&key));
                }
                self.store(id, stored);
                found("200 OK", &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}))
            }
            Err(reply) => reply,
        }
    }

    fn delete(&mut self, id: &StreamId, request: &Request) -> Reply {
        let Some(stored) = self.streams.get(id) else { return Self::missing(&id.name) };
        let options: Value = serde_json::from_str(&request.body).unwrap_or_default();
        let (uid, version) =
            (options["preconditions"]["uid"].as_str(), options["preconditions"]["resourceVersion"].as_str());
        if uid.is_none() || version.is_none() {
            return status(400, "BadRequest", "this server wants preconditions");
        }
        if stored.stream.metadata.uid.as_deref() != uid || stored.stream.metadata.resource_version.as_deref() != version
        {
            return stale(&id.name);
        }
        self.streams.remove(id);
        self.version += 1;
        found("200 OK", &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}))
    }

    /// Somebody else writes: a stream as they want it, owned by `manager`.
    pub fn put(&mut self, manager: &str, wanted: &Value) {
        let id = StreamId::new(
            wanted["metadata"]["namespace"].as_str().unwrap(),
            wanted["metadata"]["name"].as_str().unwrap(),
        );
        let request = Request {
            method: "PATCH".to_owned(),
            path: String::new(),
            head: "PATCH / HTTP/1.1\r\ncontent-type: application/apply-patch+yaml\r\n".to_owned(),
            body: wanted.to_string(),
        };
        let query = BTreeMap::from([
            ("fieldManager".to_owned(), manager.to_owned()),
            ("fieldValidation".to_owned(), "Strict".to_owned()),
            ("force".to_owned(), "true".to_owned()),
        ]);
        let reply = self.apply(&id, &request, &query);
        let bytes = String::from_utf8(reply.bytes(false)).unwrap();
        assert!(bytes.starts_with("HTTP/1.1 20"), "{bytes}");
    }
}
