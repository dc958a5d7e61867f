//! A registry that behaves, stricter than real ones: it refuses what the distribution specification does not ask for, and
//! `registry::the_simulated_registry_answers_as_a_real_one_does` holds its answers to a real one's.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::server::{Reply, Request, Server};

pub const IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// `sha256:…` of bytes.
pub fn digest(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    streamkeeper::openshift::Digest::sha256(digest.as_ref()).to_string()
}

/// What a registry holds.
#[derive(Clone, Debug, Default)]
pub struct Content {
    /// By `repository@digest`: media type and bytes.
    pub manifests: BTreeMap<String, (String, Vec<u8>)>,
    /// By `repository@digest`.
    pub blobs: BTreeMap<String, Vec<u8>>,
    /// Digest by repository and tag.
    pub tags: BTreeMap<String, BTreeMap<String, String>>,
    /// What refers to an image, by `repository@digest`; none: a registry without such lists.
    pub referrers: Option<BTreeMap<String, Vec<serde_json::Value>>>,
}

impl Content {
    /// An image with that content, and its digest.
    pub fn image(&mut self, repository: &str, architecture: &str, content: &str) -> String {
        let config = json!({"architecture": architecture, "os": "linux", "config": {"Labels": {"content": content}}});
        self.image_named(repository, &config, Vec::new())
    }

    /// An image with that config, and layers of those sizes by content.
    pub fn image_of(&mut self, repository: &str, config: &serde_json::Value, layers: &[(&str, u64)]) -> String {
        let layer = |(content, size): &(&str, u64)| json!({"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "digest": digest(content.as_bytes()), "size": size});
        self.image_named(repository, config, layers.iter().map(layer).collect())
    }

    /// An image with that config, and these archives as layers: their media type says how they are packed.
    pub fn image_with(&mut self, repository: &str, config: &serde_json::Value, layers: &[(&str, Vec<u8>)]) -> String {
        for (_, bytes) in layers {
            self.blobs.insert(format!("{repository}@{}", digest(bytes)), bytes.clone());
        }
        let layer = |(media_type, bytes): &(&str, Vec<u8>)| json!({"mediaType": media_type, "digest": digest(bytes), "size": bytes.len()});
        self.image_named(repository, config, layers.iter().map(layer).collect())
    }

    /// An image with that config, and layers as a manifest names them.
    fn image_named(&mut self, repository: &str, config: &serde_json::Value, layers: Vec<serde_json::Value>) -> String {
        let config = config.to_string();
        let named = digest(config.as_bytes());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": IMAGE,
            "config": {"mediaType": CONFIG, "size": config.len(), "digest": named},
            "layers": layers,
        })
        .to_string();
        self.blobs.insert(format!("{repository}@{named}"), config.into_bytes());
        self.manifest(repository, IMAGE, manifest.as_bytes())
    }

    /// A list over images that are there, each for an operating system and architecture.
    pub fn list_of(&mut self, repository: &str, images: &[(&str, &str, &str)]) -> String {
        let manifests: Vec<_> = images
            .iter()
            .map(|(os, architecture, digest)| {
                let size = self.manifests[&format!("{repository}@{digest}")].1.len();
                json!({"mediaType": IMAGE, "digest": digest, "size": size, "platform": {"os": os, "architecture": architecture}})
            })
            .collect();
        let list = json!({"schemaVersion": 2, "mediaType": LIST, "manifests": manifests}).to_string();
        self.manifest(repository, LIST, list.as_bytes())
    }

    /// A list over images that are there.
    pub fn list(&mut self, repository: &str, images: &[(&str, &str)]) -> String {
        let manifests: Vec<_> = images
            .iter()
            .map(|(architecture, digest)| {
                let size = self.manifests[&format!("{repository}@{digest}")].1.len();
                json!({"mediaType": IMAGE, "digest": digest, "size": size, "platform": {"os": "linux", "architecture": architecture}})
            })
            .collect();
        let list = json!({"schemaVersion": 2, "mediaType": LIST, "manifests": manifests}).to_string();
        self.manifest(repository, LIST, list.as_bytes())
    }

    pub fn manifest(&mut self, repository: &str, media_type: &str, bytes: &[u8]) -> String {
        let digest = digest(bytes);
        self.manifests.insert(format!("{repository}@{digest}"), (media_type.to_owned(), bytes.to_vec()));
        digest
    }

    pub fn tag(&mut self, repository: &str, tag: &str, digest: &str) {
        self.tags.entry(repository.to_owned()).or_default().insert(tag.to_owned(), digest.to_owned());
    }
}

/// An error as the specification has it.
pub fn error(status: &str, code: &str, message: &str) -> Reply {
    let body = json!({"errors": [{"code": code, "message": message, "detail": null}]}).to_string();
    Reply::new(status, &[("Content-Type", "application/json; charset=utf-8")], body)
}

/// Answers a request as the specification says.
pub fn answer(content: &Content, request: &Request) -> Reply {
    let is_polite = request.header("user-agent").is_some_and(|agent| agent.starts_with("streamkeeper/"));
    if !is_polite || request.header("host").is_none() || !matches!(request.method.as_str(), "GET" | "HEAD") {
        return error("400 Bad Request", "UNSUPPORTED", "not a request that this registry takes");
    }
    let Some(rest) = request.path.strip_prefix("/v2/") else { return error("404 Not Found", "UNSUPPORTED", "no API") };
    if let Some((repository, reference)) = rest.split_once("/manifests/") {
        return manifest(content, request, repository, reference);
    }
    if let Some((repository, digest)) = rest.split_once("/blobs/") {
        return match content.blobs.get(&format!("{repository}@{digest}")) {
            Some(bytes) => {
                let headers = [("Content-Type", "application/octet-stream"), ("Docker-Content-Digest", digest)];
                Reply::new("200 OK", &headers, bytes.clone())
            }
            None => error("404 Not Found", "BLOB_UNKNOWN", "blob unknown to registry"),
        };
    }
    if let Some((repository, query)) = rest.split_once("/tags/list") {
        return tags(content, repository, query);
    }
    if let (Some((repository, digest)), Some(referrers)) = (rest.split_once("/referrers/"), &content.referrers) {
        let found = referrers.get(&format!("{repository}@{digest}")).cloned().unwrap_or_default();
        let body = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": found}).to_string();
        return Reply::new("200 OK", &[("Content-Type", INDEX)], body);
    }
    error("404 Not Found", "UNSUPPORTED", "no such call")
}

fn manifest(content: &Content, request: &Request, repository: &str, reference: &str) -> Reply {
    if !content.tags.contains_key(repository) {
        return error("404 Not Found", "MANIFEST_UNKNOWN", "manifest unknown");
    }
    let digest = if reference.contains(':') {
        Some(reference)
    } else {
        content.tags[repository].get(reference).map(String::as_str)
    };
    let found = digest.and_then(|digest| Some((digest, content.manifests.get(&format!("{repository}@{digest}"))?)));
    let Some((digest, (media_type, bytes))) = found else {
        return error("404 Not Found", "MANIFEST_UNKNOWN", "manifest unknown");
    };
    // As old registries do: they compare whole lines.
    if !request.headers("accept").any(|line| line == media_type) {
        return error("404 Not Found", "MANIFEST_UNKNOWN", "not in a media type that was accepted");
    }
    let etag = format!("\"{digest}\"");
    let headers = [("Content-Type", media_type.as_str()), ("Docker-Content-Digest", digest), ("Etag", etag.as_str())];
    Reply::new("200 OK", &headers, bytes.clone())
}

fn tags(content: &Content, repository: &str, query: &str) -> Reply {
    let Some(tags) = content.tags.get(repository) else {
        return error("404 Not Found", "NAME_UNKNOWN", "repository name not known to registry");
    };
    let value =
        |name: &str| query.trim_start_matches('?').split('&').find_map(|part| part.strip_prefix(&format!("{name}=")));
    let count: usize = value("n").and_then(|text| text.parse().ok()).unwrap_or(100);
    let after = value("last").unwrap_or_default();
    let mut rest = tags.keys().filter(|tag| tag.as_str() > after).peekable();
    let page: Vec<&String> = rest.by_ref().take(count).collect();
    let reply = Reply::new(
        "200 OK",
        &[("Content-Type", "application/json; charset=utf-8")],
        json!({"name": repository, "tags": page}).to_string(),
    );
    match (rest.peek(), page.last()) {
        (Some(_), Some(last)) => {
            reply.header("Link", &format!("</v2/{repository}/tags/list?last={last}&n={count}>; rel=\"next\""))
        }
        _ => reply,
    }
}

/// A registry whose content can change.
#[derive(Clone)]
pub struct Registry {
    pub server: Server,
    pub content: Arc<Mutex<Content>>,
}

impl Registry {
    pub fn start(content: Content) -> Self {
        Self::wrapped(content, |_, reply| reply)
    }

    /// One whose answers are changed on the way.
    pub fn wrapped(content: Content, wrap: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static) -> Self {
        let content = Arc::new(Mutex::new(content));
        let held = Arc::clone(&content);
        let server = Server::start(move |request| {
            let reply = answer(&held.lock().unwrap(), request);
            wrap(request, reply)
        });
        Self { server, content }
    }

    /// One that wants to see a login: what stands behind `Basic`.
    pub fn with_login(content: Content, login: &str) -> Self {
        let wanted = format!("Basic {login}");
        Self::wrapped(content, move |request, reply| {
            if request.header("authorization") == Some(&wanted) {
                return reply;
            }
            let challenge = r#"Basic realm="lab""#;
            error("401 Unauthorized", "UNAUTHORIZED", "authentication required").header("WWW-Authenticate", challenge)
        })
    }

    /// One that takes so many requests and then answers 429. With `warns`, each answer says how many are left.
    pub fn limited(content: Content, limit: u64, warns: bool, retry_after: &'static str) -> Self {
        let taken = AtomicU64::new(0);
        Self::wrapped(content, move |_, reply| {
            let taken = taken.fetch_add(1, Ordering::SeqCst) + 1;
            let reply = if taken > limit {
                let reply = error("429 Too Many Requests", "TOOMANYREQUESTS", "you have reached your pull rate limit");
                if retry_after.is_empty() { reply } else { reply.header("Retry-After", retry_after) }
            } else {
                reply
            };
            if warns {
                let left = limit.saturating_sub(taken).to_string();
                reply
                    .header("RateLimit-Limit", &format!("{limit};w=21600"))
                    .header("RateLimit-Remaining", &format!("{left};w=21600"))
            } else {
                reply
            }
        })
    }
}
