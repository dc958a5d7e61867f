//! Requests to the image API, as values: built here, sent elsewhere. Pure.

use http::Request;
use http::header::{ACCEPT, CONTENT_TYPE};
use serde_json::{Value, json};

use crate::api::IMAGE_API_VERSION;
use crate::model::{ImportItem, StreamId};

/// Objects of one page: what kubectl asks for.
const PAGE: usize = 500;
const BASE: &str = "/apis/image.openshift.io/v1";

/// Whether there is an image API at all.
pub(super) fn discover() -> Request<Vec<u8>> {
    bare("GET", BASE)
}

/// A page of the streams of a namespace, or of all namespaces.
pub(super) fn list(namespace: Option<&str>, after: Option<&str>) -> Request<Vec<u8>> {
    let within = namespace.map_or(String::new(), |namespace| format!("/namespaces/{}", segment(namespace)));
    let after = after.map_or(String::new(), |token| format!("&continue={}", segment(token)));
    bare("GET", &format!("{BASE}{within}/imagestreams?limit={PAGE}{after}"))
}

/// One stream.
pub(super) fn get(stream: &StreamId) -> Request<Vec<u8>> {
    bare("GET", &of(stream, "imagestreams", &stream.name))
}

/// Server-side apply of everything that `manager` wants of a stream; what it does not name any more, it gives up.
/// With force: whether others apply what it changes was looked at before, at the version that it names.
pub(super) fn apply(stream: &StreamId, wanted: &Value, manager: &str) -> Request<Vec<u8>> {
    // A field that the server does not know is a mistake of ours: it must not be dropped in silence.
    let query = format!("?fieldManager={}&fieldValidation=Strict&force=true", segment(manager));
    let path = of(stream, "imagestreams", &stream.name) + &query;
    // YAML is a superset of JSON, and this is the only name that every server knows for it.
    with("PATCH", &path, "application/apply-patch+yaml", wanted)
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

/// Removal of a tag from spec and status (semantics 2.7).
pub(super) fn delete_tag(stream: &StreamId, tag: &str) -> Request<Vec<u8>> {
    bare("DELETE", &of(stream, "imagestreamtags", &format!("{}:{tag}", stream.name)))
}

/// Removal of a stream that is still the one that was seen, at the version that was seen.
pub(super) fn delete_stream(stream: &StreamId, uid: &str, version: &str) -> Request<Vec<u8>> {
    let body = json!({
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "preconditions": {"uid": uid, "resourceVersion": version},
    });
    with("DELETE", &of(stream, "imagestreams", &stream.name), "application/json", &body)
}

fn of(stream: &StreamId, resource: &str, name: &str) -> String {
    format!("{BASE}/namespaces/{}/{resource}/{}", segment(&stream.namespace), segment(name))
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
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':' | b'@');
    let escape = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(escape).collect()
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
        let uri = list(Some("n"), Some("a&b=c")).uri().to_string();
        assert!(uri.ends_with("?limit=500&continue=a%26b%3Dc"), "{uri}");
    }
}
