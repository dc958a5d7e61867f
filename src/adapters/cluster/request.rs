//! Requests to the image API, as values: built here, sent elsewhere. Pure.

use http::Request;
use http::header::{ACCEPT, CONTENT_TYPE};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::model::{ImportItem, Question, WorkloadId};
use crate::openshift::{CUSTOM_API_VERSION, CUSTOM_GROUP, IMAGE_API_VERSION, StreamId};

/// Objects of one page: what kubectl asks for.
const PAGE: usize = 500;
/// Where OpenShift's image API is.
const BASE: &str = "/apis/image.openshift.io/v1";

/// Which API image streams are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// OpenShift's own: its server imports, and its controllers act.
    OpenShift,
    /// The custom resource: what `rules` say is written by us.
    Kubernetes,
}

impl Api {
    fn version(self) -> &'static str {
        match self {
            Self::OpenShift => IMAGE_API_VERSION,
            Self::Kubernetes => CUSTOM_API_VERSION,
        }
    }

    fn base(self) -> String {
        format!("/apis/{}", self.version())
    }

    /// The group alone.
    pub(super) fn group(self) -> &'static str {
        match self {
            Self::OpenShift => "image.openshift.io",
            Self::Kubernetes => CUSTOM_GROUP,
        }
    }
}

/// Whether there is such an API at all.
pub(super) fn discover(api: Api) -> Request<Vec<u8>> {
    bare("GET", &api.base())
}

/// A page of the streams of a namespace, or of all namespaces.
pub(super) fn list(api: Api, namespace: Option<&str>, after: Option<&str>) -> Request<Vec<u8>> {
    bare("GET", &page(&api.base(), namespace, "imagestreams", after))
}

/// A kind of workload, and where the API has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// As objects name it.
    pub(super) name: &'static str,
    /// Group; empty for the core.
    pub(super) group: &'static str,
    /// Name in paths.
    pub(super) resource: &'static str,
    /// There are many of them, and few that anybody has annotated: metadata is looked at first.
    pub(super) is_rare: bool,
}

/// Workloads that OpenShift's trigger controllers act on, and those that they are said to act on and do not (semantics 5.1).
///
pub(super) const KINDS: &[Kind] = &[
    kind("Deployment", "apps", "deployments", false),
    kind("StatefulSet", "apps", "statefulsets", false),
    kind("DaemonSet", "apps", "daemonsets", false),
    kind("CronJob", "batch", "cronjobs", false),
    kind("DeploymentConfig", "apps.openshift.io", "deploymentconfigs", false),
    kind("BuildConfig", "build.openshift.io", "buildconfigs", false),
    kind("Job", "batch", "jobs", true),
    kind("ReplicaSet", "apps", "replicasets", true),
    kind("ReplicationController", "", "replicationcontrollers", true),
    kind("Pod", "", "pods", true),
];

const fn kind(name: &'static str, group: &'static str, resource: &'static str, is_rare: bool) -> Kind {
    Kind { name, group, resource, is_rare }
}

impl Kind {
    /// Group and version, as objects name them.
    pub(super) fn version(self) -> String {
        if self.group.is_empty() { "v1".to_owned() } else { format!("{}/v1", self.group) }
    }

    fn base(self) -> String {
        if self.group.is_empty() { "/api/v1".to_owned() } else { format!("/apis/{}/v1", self.group) }
    }
}

/// A page of the workloads of a kind, in a namespace or in all.
pub(super) fn workloads(kind: Kind, namespace: Option<&str>, after: Option<&str>) -> Request<Vec<u8>> {
    let mut request = bare("GET", &page(&kind.base(), namespace, kind.resource, after));
    if kind.is_rare {
        let metadata = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
        request.headers_mut().insert(ACCEPT, http::HeaderValue::from_static(metadata));
    }
    request
}

/// One workload.
pub(super) fn workload(kind: Kind, id: &WorkloadId) -> Request<Vec<u8>> {
    let (namespace, name) = (segment(&id.namespace), segment(&id.name));
    bare("GET", &format!("{}/namespaces/{namespace}/{}/{name}", kind.base(), kind.resource))
}

/// Server-side apply of the images of a workload, and of nothing else.
pub(super) fn update(kind: Kind, id: &WorkloadId, wanted: &Value, manager: &str) -> Request<Vec<u8>> {
    let (namespace, name) = (segment(&id.namespace), segment(&id.name));
    let path = format!(
        "{}/namespaces/{namespace}/{}/{name}?fieldManager={}&fieldValidation=Strict&force=true",
        kind.base(),
        kind.resource,
        segment(manager)
    );
    with("PATCH", &path, "application/apply-patch+yaml", wanted)
}

fn page(base: &str, namespace: Option<&str>, resource: &str, after: Option<&str>) -> String {
    let within = namespace.map_or(String::new(), |namespace| format!("/namespaces/{}", segment(namespace)));
    let after = after.map_or(String::new(), |token| format!("&continue={}", segment(token)));
    format!("{base}{within}/{resource}?limit={PAGE}{after}")
}

/// What changes in a list after a version. The server ends it after a while.
pub(super) fn watch(list: &Request<Vec<u8>>, version: &str) -> Request<Vec<u8>> {
    let query = "watch=1&allowWatchBookmarks=true&timeoutSeconds=240";
    bare("GET", &format!("{}?{query}&resourceVersion={}", list.uri().path(), segment(version)))
}

/// One stream.
pub(super) fn get(api: Api, stream: &StreamId) -> Request<Vec<u8>> {
    bare("GET", &of(api, stream, "imagestreams", &stream.name))
}

/// Server-side apply of everything that `manager` wants of a stream; what it does not name any more, it gives up.
/// With `force`, what others have written is changed: whether that is theirs to keep was looked at before, at the version
/// that it names.
pub(super) fn apply(api: Api, stream: &StreamId, wanted: &Value, manager: &str, force: bool) -> Request<Vec<u8>> {
    // A field that the server does not know is a mistake of ours: it must not be dropped in silence.
    let force = if force { "&force=true" } else { "" };
    let query = format!("?fieldManager={}&fieldValidation=Strict{force}", segment(manager));
    let path = of(api, stream, "imagestreams", &stream.name) + &query;
    let mut wanted = wanted.clone();
    wanted["apiVersion"] = api.version().into();
    // YAML is a superset of JSON, and this is the only name that every server knows for it.
    with("PATCH", &path, "application/apply-patch+yaml", &wanted)
}

/// Status of a stream at a version, in place of the one it has. Only where there is no server of image streams that writes it.
pub(super) fn status(stream: &StreamId, version: &str, status: &Value, manager: &str) -> Request<Vec<u8>> {
    let path = of(Api::Kubernetes, stream, "imagestreams", &stream.name);
    let path = format!("{path}/status?fieldManager={}&fieldValidation=Strict", segment(manager));
    let body = json!({"metadata": {"resourceVersion": version}, "status": status});
    with("PATCH", &path, "application/merge-patch+json", &body)
}

/// Import of images into tags that are there, with the policies that the tags have, so that nothing else changes
/// (semantics 3.8).
pub(super) fn import(
    stream: &StreamId,
    images: &[ImportItem],
    manager: &str,
    version: Option<&str>,
) -> Request<Vec<u8>> {
    let images: Vec<Value> = images
        .iter()
        .map(|item| {
            let ImportItem { tag, from, import_policy, reference_policy, result: _ } = item;
            json!({
                "from": {"kind": "DockerImage", "name": from},
                "to": {"name": tag},
                "importPolicy": import_policy,
                "referencePolicy": reference_policy,
            })
        })
        .collect();
    // With a version, only the stream that was seen is written, and none is made anew (semantics 3.1).
    let mut metadata = json!({"name": stream.name, "namespace": stream.namespace});
    if let Some(version) = version {
        metadata["resourceVersion"] = version.into();
    }
    let body = json!({
        "apiVersion": IMAGE_API_VERSION,
        "kind": "ImageStreamImport",
        "metadata": metadata,
        "spec": {"import": true, "images": images},
        "status": {},
    });
    let path = format!(
        "{BASE}/namespaces/{}/imagestreamimports?fieldManager={}",
        segment(&stream.namespace),
        segment(manager)
    );
    with("POST", &path, "application/json", &body)
}

/// What an image is, with all its platforms: an import that imports nothing.
pub(super) fn look_up(namespace: &str, question: &Question) -> Request<Vec<u8>> {
    let image = json!({
        "from": {"kind": "DockerImage", "name": question.reference.to_string()},
        "importPolicy": {"insecure": question.insecure, "importMode": "PreserveOriginal"},
    });
    look(namespace, &json!({"import": false, "images": [image]}))
}

/// The tags of a repository, likewise.
pub(super) fn look_up_repository(namespace: &str, question: &Question) -> Request<Vec<u8>> {
    let repository = json!({
        "from": {"kind": "DockerImage", "name": question.reference.repository()},
        "importPolicy": {"insecure": question.insecure},
    });
    look(namespace, &json!({"import": false, "repository": repository}))
}

fn look(namespace: &str, spec: &Value) -> Request<Vec<u8>> {
    let body = json!({
        "apiVersion": IMAGE_API_VERSION,
        "kind": "ImageStreamImport",
        // The name of no stream: none is read or written.
        "metadata": {"name": "streamkeeper", "namespace": namespace},
        "spec": spec,
        "status": {},
    });
    with("POST", &format!("{BASE}/namespaces/{}/imagestreamimports", segment(namespace)), "application/json", &body)
}

/// A Lease (coordination.k8s.io/v1).
pub(super) fn lease(namespace: &str, name: &str) -> Request<Vec<u8>> {
    bare("GET", &lease_path(namespace, name))
}

/// A Lease that is not there yet.
pub(super) fn make_lease(
    namespace: &str,
    name: &str,
    spec: &Value,
    (annotation, value): (&str, &str),
) -> Request<Vec<u8>> {
    let body = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": name, "namespace": namespace, "annotations": {annotation: value}}, "spec": spec,
    });
    with("POST", lease_path(namespace, "").trim_end_matches('/'), "application/json", &body)
}

/// A Lease in the place of the one that was read, at its version.
pub(super) fn write_lease(namespace: &str, name: &str, lease: &Value) -> Request<Vec<u8>> {
    with("PUT", &lease_path(namespace, name), "application/json", lease)
}

fn lease_path(namespace: &str, name: &str) -> String {
    format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases/{}", segment(namespace), segment(name))
}

/// An Event (events.k8s.io/v1) about an object.
pub(super) fn event(
    regarding: &Value,
    is_warning: bool,
    reason: &str,
    note: &str,
    manager: &str,
    now: Timestamp,
) -> Request<Vec<u8>> {
    let namespace = regarding["namespace"].as_str().unwrap_or_default();
    let body = json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"generateName": "streamkeeper-", "namespace": namespace},
        "eventTime": format!("{now:.6}"),
        "reportingController": "streamkeeper.io/streamkeeper",
        "reportingInstance": manager,
        "action": "Reconcile",
        "reason": reason,
        "type": if is_warning { "Warning" } else { "Normal" },
        "regarding": regarding,
        "note": note,
    });
    let path =
        format!("/apis/events.k8s.io/v1/namespaces/{}/events?fieldManager={}", segment(namespace), segment(manager));
    with("POST", &path, "application/json", &body)
}

/// All pull secrets of a namespace. On OpenShift the stream that is named need not exist (semantics 6.6).
pub(super) fn pull_secrets(api: Api, namespace: &str) -> Request<Vec<u8>> {
    let namespace = segment(namespace);
    bare(
        "GET",
        &match api {
            Api::OpenShift => format!("{BASE}/namespaces/{namespace}/imagestreams/streamkeeper/secrets"),
            Api::Kubernetes => {
                let selector = segment("type=kubernetes.io/dockerconfigjson");
                format!("/api/v1/namespaces/{namespace}/secrets?fieldSelector={selector}")
            }
        },
    )
}

/// Removal of a tag from spec and status (semantics 2.7).
pub(super) fn delete_tag(stream: &StreamId, tag: &str) -> Request<Vec<u8>> {
    bare("DELETE", &of(Api::OpenShift, stream, "imagestreamtags", &format!("{}:{tag}", stream.name)))
}

/// Removal of a stream that is still the one that was seen, at the version that was seen.
pub(super) fn delete_stream(api: Api, stream: &StreamId, uid: &str, version: &str) -> Request<Vec<u8>> {
    let body = json!({
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "preconditions": {"uid": uid, "resourceVersion": version},
    });
    with("DELETE", &of(api, stream, "imagestreams", &stream.name), "application/json", &body)
}

/// Server-side apply of a CustomResourceDefinition.
pub(super) fn install(definition: &Value) -> Request<Vec<u8>> {
    let path = format!("{}?fieldManager=streamkeeper&fieldValidation=Strict&force=true", definition_path(definition));
    with("PATCH", &path, "application/apply-patch+yaml", definition)
}

/// The same, as the server has it.
pub(super) fn installed(definition: &Value) -> Request<Vec<u8>> {
    bare("GET", &definition_path(definition))
}

fn definition_path(definition: &Value) -> String {
    let name = segment(definition["metadata"]["name"].as_str().unwrap_or_default());
    format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}")
}

fn of(api: Api, stream: &StreamId, resource: &str, name: &str) -> String {
    let base = api.base();
    format!("{base}/namespaces/{}/{resource}/{}", segment(&stream.namespace), segment(name))
}

fn bare(method: &str, path: &str) -> Request<Vec<u8>> {
    let request = Request::builder().method(method).uri(path).header(ACCEPT, "application/json");
    request.body(Vec::new()).expect("method and path are made of what both may hold")
}

fn with(method: &str, path: &str, content_type: &str, body: &Value) -> Request<Vec<u8>> {
    let request = Request::builder().method(method).uri(path).header(ACCEPT, "application/json");
    let request = request.header(CONTENT_TYPE, content_type);
    request.body(body.to_string().into_bytes()).expect("method and path are made of what both may hold")
}

/// A name as a part of a path or query (RFC 3986: everything but unreserved characters, and `:` and `@`, which image API
/// names have, is escaped).
fn segment(text: &str) -> String {
    const SEGMENT: AsciiSet =
        NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':').remove(b'@');
    utf8_percent_encode(text, &SEGMENT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_place() {
        let stream = StreamId::new("../kube-system", "a/b?c#d e");
        let uri = delete_tag(&stream, "x y").uri().to_string();
        assert_eq!(
            uri,
            "/apis/image.openshift.io/v1/namespaces/..%2Fkube-system/imagestreamtags/a%2Fb%3Fc%23d%20e:x%20y"
        );
        let uri = list(Api::OpenShift, Some("n"), Some("a&b=c")).uri().to_string();
        assert!(uri.ends_with("?limit=500&continue=a%26b%3Dc"), "{uri}");
    }
}
