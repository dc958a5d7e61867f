//! OpenShift's API, acting by `rules`: image streams with server-side apply and ownership, imports, views of tags; workloads
//! with the trigger controller. It answers recorded requests as recorded (`tests/it/recorded_server.rs`). To those who write
//! it is stricter than the real one (`World::strict`): writes without a field manager, without strict validation, deletions
//! without preconditions are refused.

pub mod custom;
mod imports;
mod machinery;
mod streams;
mod views;
mod watches;
pub mod workloads;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use streamkeeper::openshift::{ImageStream, StreamId};
use streamkeeper::rules::{self, Refusal, Server as Rules, State, Streams};

use super::managed::{self, Managers};
use super::server::{Reply, Request, Server};

pub const BASE: &str = "/apis/image.openshift.io/v1";

/// A stream as it is stored.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    pub stream: ImageStream,
    pub managers: Managers,
    /// While there are any, a deletion waits.
    pub finalizers: Vec<String>,
    pub deleting: bool,
}

/// A fault that strikes one request.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// It is answered with that status, and with `Retry-After`; nothing is done.
    Answer(u16, Option<&'static str>),
    /// The connection is cut before anything is done.
    Cut,
    /// It is done, and the connection cut.
    CutAfter,
    /// It is done, and nobody says so for longer than anybody waits.
    SilentAfter,
}

/// What a cluster holds.
#[derive(Debug)]
pub struct World {
    pub streams: BTreeMap<StreamId, Stored>,
    /// Streams of the custom resource.
    pub custom: BTreeMap<StreamId, custom::Custom>,
    /// There is no image API of OpenShift's; the custom resource is installed, or not.
    pub plain: Option<bool>,
    /// By kind (the resource's name), namespace and name.
    pub workloads: BTreeMap<(String, String, String), Value>,
    /// By pull spec with all defaults: digest of the whole, and of its image for linux/amd64. What is not there is not found.
    pub images: BTreeMap<String, (String, String)>,
    /// By pull spec: what looking it up fails with, as a `Status`.
    pub failures: BTreeMap<String, Value>,
    /// By repository: its tags.
    pub repositories: BTreeMap<String, Vec<String>>,
    /// Images of manifest lists by digest: digest, os, architecture.
    pub lists: BTreeMap<String, Vec<(String, String, String)>>,
    /// An object that is no stream, in every list of them.
    pub malformed: Option<Value>,
    /// Pull secrets by namespace.
    pub secrets: BTreeMap<String, Vec<Value>>,
    /// Namespaces that there are; none: all that anybody names.
    pub namespaces: Option<BTreeSet<String>>,
    /// Namespaces that the account may not see.
    pub forbidden: BTreeSet<String>,
    /// Resources that the account may not see in any namespace.
    pub hidden: BTreeSet<String>,
    /// The account may not list all namespaces at once.
    pub narrow: bool,
    /// What applies are answered with besides.
    pub warning: Option<String>,
    /// OpenShift's import controller runs, and is quicker than we are.
    pub controller: bool,
    /// OpenShift's trigger controller runs.
    pub triggers: bool,
    /// So many looks at workloads show their roll-out unfinished.
    pub slow: usize,
    /// Events that were written.
    pub events: Vec<Value>,
    /// Looks that watches have taken.
    pub watches: usize,
    /// Watches are cut, and none begins.
    pub cut_watches: bool,
    /// What was deleted: at which version, of which resource, and what it was.
    pub gone: Vec<(u64, String, Value)>,
    /// Versions before this one are forgotten.
    pub oldest: u64,
    /// Leases by `namespace/name`.
    pub leases: BTreeMap<String, Value>,
    /// Roll-outs do not come to an end, and say so.
    pub failing: bool,
    /// So many more requests that write are answered; the one after them is done or not, as it says, and from then on nobody
    /// answers any more.
    pub vanishes: Option<(usize, bool)>,
    /// What strikes the next requests that write.
    pub faults: Vec<Fault>,
    /// So many pages of lists have grown too old when they are asked for.
    pub expired: usize,
    /// A namespace that is gone after so many requests that write.
    pub loses: Option<(usize, String)>,
    /// What somebody else applies just before the next write of ours.
    pub intruder: Option<Value>,
    pub strict: bool,
    pub rules: Rules,
    pub version: u64,
}

impl Default for World {
    fn default() -> Self {
        Self {
            streams: BTreeMap::new(),
            custom: BTreeMap::new(),
            plain: None,
            workloads: BTreeMap::new(),
            images: BTreeMap::new(),
            failures: BTreeMap::new(),
            repositories: BTreeMap::new(),
            lists: BTreeMap::new(),
            malformed: None,
            secrets: BTreeMap::new(),
            namespaces: None,
            forbidden: BTreeSet::new(),
            hidden: BTreeSet::new(),
            narrow: false,
            warning: None,
            controller: false,
            triggers: false,
            slow: 0,
            events: Vec::new(),
            watches: 0,
            cut_watches: false,
            gone: Vec::new(),
            oldest: 0,
            leases: BTreeMap::new(),
            failing: false,
            vanishes: None,
            faults: Vec::new(),
            expired: 0,
            loses: None,
            intruder: None,
            strict: true,
            rules: Rules::default(),
            version: 0,
        }
    }
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
            if let Some(reply) = watches::watch(&held, request) {
                return reply;
            }
            let mut world = held.lock().unwrap();
            let writes = request.method != "GET";
            match world.vanishes {
                Some((0, is_done)) => {
                    // The last one, once.
                    if is_done && writes {
                        world.vanishes = Some((0, false));
                        world.answer(request);
                    }
                    return Reply::Cut(Vec::new());
                }
                Some((left, is_done)) if writes => world.vanishes = Some((left - 1, is_done)),
                _ => {}
            }
            let fault = (writes && !world.faults.is_empty()).then(|| world.faults.remove(0));
            match fault {
                None => world.answer(request),
                Some(Fault::Answer(code, after)) => {
                    let reply = status(code, "Fault", "not now", &json!({}));
                    after.map_or(status(code, "Fault", "not now", &json!({})), |after| {
                        reply.header("Retry-After", after)
                    })
                }
                Some(Fault::Cut) => Reply::Cut(Vec::new()),
                Some(Fault::CutAfter) => {
                    world.answer(request);
                    Reply::Cut(Vec::new())
                }
                Some(Fault::SilentAfter) => {
                    world.answer(request);
                    Reply::Drip { head: "HTTP/1.1 200 OK\r\n".to_owned(), every: Duration::from_secs(5), times: 2 }
                }
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

/// An error as the API server says it.
fn status(code: u16, reason: &str, message: &str, details: &Value) -> Reply {
    let mut body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason, "code": code});
    if details.as_object().is_some_and(|details| !details.is_empty()) {
        body["details"] = details.clone();
    }
    Reply::new(&format!("{code} {reason}"), &[("Content-Type", "application/json")], body.to_string())
}

fn found(code: &str, body: &Value) -> Reply {
    Reply::new(code, &[("Content-Type", "application/json")], body.to_string())
}

fn success(details: &Value) -> Reply {
    let mut body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
    if details.as_object().is_some_and(|details| !details.is_empty()) {
        body["details"] = details.clone();
    }
    found("200 OK", &body)
}

fn refused(refusal: &Refusal) -> Reply {
    let body = serde_json::to_value(refusal.status()).unwrap();
    let code = body["code"].as_u64().unwrap();
    let details = body.get("details").cloned().unwrap_or(json!({}));
    status(u16::try_from(code).unwrap(), body["reason"].as_str().unwrap(), &refusal.message, &details)
}

fn stale(name: &str) -> Reply {
    let message = format!(
        "Operation cannot be fulfilled on imagestreams.image.openshift.io \"{name}\": the object has been modified; please apply your changes to the latest version and try again"
    );
    status(409, "Conflict", &message, &json!({"name": name, "group": "image.openshift.io", "kind": "imagestreams"}))
}

fn not_found(group: &str, resource: &str, name: &str) -> Reply {
    let full = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
    let details = json!({"name": name, "group": group, "kind": resource});
    status(404, "NotFound", &format!("{full} \"{name}\" not found"), &details)
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

/// The streams of a world, as rules see them.
struct Held<'a>(&'a BTreeMap<StreamId, Stored>);

impl Streams for Held<'_> {
    fn stream(&self, id: &StreamId) -> Option<&ImageStream> {
        self.0.get(id).map(|stored| &stored.stream)
    }
}

/// The query of a request.
type Query = BTreeMap<String, String>;

impl World {
    /// A Lease, written only at the version that was read.
    fn lease(&mut self, request: &Request, name: &str) -> Reply {
        let asked: Value = serde_json::from_str(&request.body).unwrap_or_default();
        let key = match asked["metadata"]["name"].as_str() {
            Some(given) if name.ends_with('/') => format!("{name}{given}"),
            _ => name.to_owned(),
        };
        let is = self.leases.get(&key).cloned();
        match (&*request.method, is) {
            ("GET", Some(lease)) => return found("200 OK", &lease),
            ("POST", Some(_)) => return status(409, "AlreadyExists", "it exists", &json!({})),
            ("POST", None) => {}
            ("PUT", Some(lease)) if lease["metadata"]["resourceVersion"] == asked["metadata"]["resourceVersion"] => {}
            ("PUT", Some(_)) => return stale(name),
            _ => return not_found("coordination.k8s.io", "leases", name),
        }
        let time = asked["spec"]["renewTime"].as_str().unwrap_or_default();
        let is_micro = time.ends_with('Z') && time.split_once('.').is_some_and(|(_, rest)| rest.len() == 7);
        if !is_micro || asked["spec"]["leaseDurationSeconds"].as_u64().is_none_or(|seconds| seconds == 0) {
            return status(422, "Invalid", "the lease is invalid", &json!({}));
        }
        self.version += 1;
        let mut lease = asked;
        lease["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.leases.insert(key, lease.clone());
        found("200 OK", &lease)
    }

    /// Takes an Event, with what a real server asks of one (events.k8s.io/v1, `ValidateEventCreate`).
    fn event(&mut self, request: &Request, namespace: Option<&str>) -> Reply {
        let event: Value = serde_json::from_str(&request.body).unwrap();
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let is_micro = text("/eventTime").ends_with('Z')
            && text("/eventTime").split_once('.').is_some_and(|(_, rest)| rest.len() == 7);
        let is_right = request.method == "POST"
            && is_micro
            && text("/reportingController").contains('/')
            && (1..=128).contains(&text("/reportingInstance").len())
            && (1..=128).contains(&text("/action").len())
            && (1..=128).contains(&text("/reason").len())
            && matches!(text("/type"), "Normal" | "Warning")
            && text("/note").len() <= 1024
            && Some(text("/regarding/namespace")) == namespace;
        if !is_right {
            return status(422, "Invalid", "the event is invalid", &json!({}));
        }
        self.events.push(event.clone());
        found("201 Created", &event)
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_795_000_000 + i64::try_from(self.version).unwrap()).unwrap()
    }

    fn perform(&mut self, id: &StreamId, request: &rules::Request<'_>) -> Result<Option<ImageStream>, Reply> {
        let others = Held(&self.streams);
        let state = State { id, stream: others.stream(id), others: &others, server: &self.rules };
        rules::answer(state, request, self.now()).map(|effect| effect.stream).map_err(|refusal| refused(&refusal))
    }

    fn answer(&mut self, request: &Request) -> Reply {
        let writes = request.method != "GET";
        if writes && let Some((left, namespace)) = self.loses.clone() {
            if left == 0 {
                self.streams.retain(|id, _| id.namespace != namespace);
                let all = self.streams.keys().map(|id| id.namespace.clone());
                self.namespaces = Some(all.filter(|other| *other != namespace).collect());
                self.loses = None;
            } else {
                self.loses = Some((left - 1, namespace));
            }
        }
        if let Some(wanted) = self.intruder.take_if(|_| writes) {
            self.put("intruder", &wanted);
        }
        let user = match request.header("authorization") {
            Some("Bearer hunter2canary") => "sim",
            Some("Bearer developer") => "developer",
            _ => return status(401, "Unauthorized", "Unauthorized", &json!({})),
        };
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let query: Query = query
            .split('&')
            .filter_map(|part| part.split_once('='))
            .map(|(name, value)| (name.to_owned(), unescape(value)))
            .collect();
        if path == BASE && self.plain.is_none() || path == "/apis/image.streamkeeper.io/v1" && self.plain == Some(true)
        {
            return found("200 OK", &json!({"kind": "APIResourceList", "resources": []}));
        }
        let parts: Vec<String> = path.trim_start_matches('/').split('/').map(unescape).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let (group, rest) = match parts.as_slice() {
            ["apis", group, _, rest @ ..] => (*group, rest),
            ["api", _, rest @ ..] => ("", rest),
            _ => return status(404, "NotFound", "the server could not find the requested resource", &json!({})),
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] => (Some(*namespace), rest),
            rest => (None, rest),
        };
        let (resource, name) = match rest {
            [resource] => (*resource, ""),
            [resource, name] => (*resource, *name),
            ["imagestreams", name, "status"] => ("imagestreams/status", *name),
            ["imagestreams", _, "secrets"] => ("imagestreams/secrets", "all"),
            _ => return status(404, "NotFound", "the server could not find the requested resource", &json!({})),
        };
        if let Some(reply) = self.forbids(user, request, (group, resource, name), namespace) {
            return reply;
        }
        let creates = matches!(&*request.method, "POST" | "PATCH");
        if let (Some(all), Some(namespace)) = (&self.namespaces, namespace)
            && !all.contains(namespace)
            && creates
        {
            let details = json!({"name": namespace, "kind": "namespaces"});
            return status(404, "NotFound", &format!("namespaces \"{namespace}\" not found"), &details);
        }
        if group == "apiextensions.k8s.io" {
            if request.method == "PATCH" {
                self.plain = Some(true);
            }
            return found("200 OK", &json!({"status": {"conditions": [{"type": "Established", "status": "True"}]}}));
        }
        if group == "events.k8s.io" {
            return self.event(request, namespace);
        }
        if group == "coordination.k8s.io" {
            return self.lease(request, &format!("{}/{name}", namespace.unwrap()));
        }
        if group.is_empty() && resource == "secrets" {
            let selected = query.get("fieldSelector").is_some_and(|it| it == "type=kubernetes.io/dockerconfigjson");
            assert!(selected, "no other secret is anybody's business");
            let items = self.secrets.get(namespace.unwrap()).cloned().unwrap_or_default();
            return found("200 OK", &json!({"kind": "SecretList", "apiVersion": "v1", "metadata": {}, "items": items}));
        }
        if group == "image.streamkeeper.io" && self.plain == Some(true) {
            let id = StreamId::new(namespace.unwrap_or_default(), name);
            return self.custom(request, &id, resource.ends_with("/status"), &query);
        }
        if group == "image.openshift.io" && self.plain.is_some() {
            return status(404, "NotFound", "the server could not find the requested resource", &json!({}));
        }
        if group != "image.openshift.io" {
            return self.workload(request, (group, resource, name), namespace, &query);
        }
        let id = StreamId::new(namespace.unwrap_or_default(), name);
        match (request.method.as_str(), resource, name) {
            ("GET", "imagestreams/secrets", _) => {
                let items = self.secrets.get(&id.namespace).cloned().unwrap_or_default();
                found(
                    "200 OK",
                    &json!({"kind": "SecretList", "apiVersion": "image.openshift.io/v1", "metadata": {}, "items": items}),
                )
            }
            ("GET", "imagestreams", "") => self.list(namespace, &query),
            ("GET", "imagestreams", _) => self.read(&id),
            ("POST", "imagestreams", "") => self.create(namespace.unwrap(), request, &query),
            ("PUT", "imagestreams", _) => self.replace(&id, request, &query),
            ("PATCH", "imagestreams", _) => self.patch(&id, request, &query),
            ("DELETE", "imagestreams", _) => self.delete(&id, request),
            ("DELETE", "imagestreamtags" | "imagetags", _) => {
                let (stream, tag) = name.split_once(':').unwrap();
                self.delete_tag(&StreamId::new(&id.namespace, stream), tag)
            }
            (_, "imagestreamtags" | "imagetags" | "imagestreamimages", _) => {
                self.view(resource, namespace.unwrap(), name, request)
            }
            ("POST", "imagestreamimports", "") => self.import(namespace.unwrap(), request),
            _ => status(
                405,
                "MethodNotAllowed",
                "the server does not allow this method on the requested resource",
                &json!({}),
            ),
        }
    }

    /// What an account may not do.
    fn forbids(
        &self,
        user: &str,
        request: &Request,
        (group, resource, name): (&str, &str, &str),
        namespace: Option<&str>,
    ) -> Option<Reply> {
        let everywhere = namespace.is_none() && (self.narrow || !self.forbidden.is_empty());
        let here = namespace.is_some_and(|namespace| self.forbidden.contains(namespace));
        if !(user == "developer" || everywhere || here || self.hidden.contains(resource)) {
            return None;
        }
        let verb = match (&*request.method, name) {
            ("GET", "") => "list",
            ("GET", _) => "get",
            ("POST", _) => "create",
            ("PUT", _) => "update",
            ("PATCH", _) => "patch",
            _ => "delete",
        };
        let full = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
        let what = if name.is_empty() { full } else { format!("{full} \"{name}\"") };
        let place = namespace
            .map_or("at the cluster scope".to_owned(), |namespace| format!("in the namespace \"{namespace}\""));
        let message = format!(
            "{what} is forbidden: User \"{user}\" cannot {verb} resource \"{resource}\" in API group \"{group}\" {place}"
        );
        let mut details = json!({"group": group, "kind": resource});
        if !name.is_empty() {
            details["name"] = name.into();
        }
        Some(status(403, "Forbidden", &message, &details))
    }
}
