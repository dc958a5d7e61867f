//! Registries that behave: the real one, and the simulated one, which is held to it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use streamkeeper::adapters::registry::{
    Content as Kind, Credentials, HostConfig, Registries, RegistryMemory, Settings,
};
use streamkeeper::model::{Cause, Observed, Question, Resolution};
use streamkeeper::openshift::{Digest, ImageReference};
use streamkeeper::ports::Registry;

use crate::real_registry::RealRegistry;
use crate::sim;
use crate::sim::registry::{Content, INDEX, error};
use crate::sim::server::{Reply, Request, Server};
use crate::support::{digest, run};

/// Remembers while the test lives.
#[derive(Default)]
pub struct Kept {
    content: Mutex<BTreeMap<(Kind, Digest), Fetched>>,
    listings: Mutex<BTreeMap<String, BTreeSet<String>>>,
    pub layers: Mutex<BTreeMap<Digest, String>>,
    pub pauses: Mutex<BTreeMap<String, Timestamp>>,
}

/// Media type and bytes.
type Fetched = (String, Vec<u8>);

impl RegistryMemory for Kept {
    fn content(&self, kind: Kind, digest: &Digest) -> Option<(String, Vec<u8>)> {
        self.content.lock().unwrap().get(&(kind, digest.clone())).cloned()
    }

    fn keep_content(&self, kind: Kind, digest: &Digest, media_type: &str, bytes: &[u8]) {
        self.content.lock().unwrap().insert((kind, digest.clone()), (media_type.to_owned(), bytes.to_vec()));
    }

    fn listing(&self, repository: &str) -> Option<BTreeSet<String>> {
        self.listings.lock().unwrap().get(repository).cloned()
    }

    fn keep_listing(&self, repository: &str, tags: &BTreeSet<String>) {
        self.listings.lock().unwrap().insert(repository.to_owned(), tags.clone());
    }

    fn with_layers(&self, layers: &Digest) -> Option<String> {
        self.layers.lock().unwrap().get(layers).cloned()
    }

    fn keep_layers(&self, layers: &Digest, image: &str) {
        self.layers.lock().unwrap().insert(layers.clone(), image.to_owned());
    }

    fn pause(&self, host: &str) -> Option<Timestamp> {
        self.pauses.lock().unwrap().get(host).copied()
    }

    fn keep_pause(&self, host: &str, until: Timestamp) {
        self.pauses.lock().unwrap().insert(host.to_owned(), until);
    }
}

/// A question in the form that definitions ask it.
pub fn question(reference: &str, insecure: bool) -> Question {
    let reference: ImageReference = reference.parse().unwrap();
    Question::new("", &reference, insecure)
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(future)
}

/// A host of the tests: on loopback, and that is meant.
pub fn on_loopback() -> HostConfig {
    HostConfig { private: true, ..HostConfig::default() }
}

/// Settings that know these hosts.
pub fn settings(hosts: &[(&str, HostConfig)]) -> Settings {
    let hosts = hosts.iter().map(|(name, config)| ((*name).to_owned(), config.clone())).collect();
    Settings { hosts, ..Settings::default() }
}

/// Registries that know a host on loopback, without logins.
pub fn registries(host: &str) -> Registries {
    Registries::new(settings(&[(host, on_loopback())]), Credentials::default(), Arc::new(Kept::default()))
}

/// What a host of the tests says of a reference, asked as a definition with `insecure` asks.
pub fn resolve(server: &Server, reference: &str) -> Observed<Resolution> {
    block_on(registries(&server.host).resolve(&question(&format!("{}/{reference}", server.host), true)))
}

/// Why there is no answer.
pub fn unknown<T: std::fmt::Debug>(answer: Observed<T>) -> (Cause, String) {
    match answer {
        Observed::Unknown(ignorance) => (ignorance.cause, ignorance.detail),
        other => panic!("{other:?}"),
    }
}

pub fn docker_config(folder: &Path, host: &str, login: &str) -> Credentials {
    let (user, password) = login.split_once(':').unwrap();
    let text = format!("{{\"auths\": {{\"{host}\": {{\"username\": \"{user}\", \"password\": \"{password}\"}}}}}}");
    std::fs::write(folder.join("config.json"), text).unwrap();
    Credentials::from_file(&folder.join("config.json")).unwrap()
}

/// Writes a config that lets the program reach these hosts.
pub fn allow(source: &Path, hosts: &[&str], more: &str) {
    let hosts: String = hosts.iter().map(|host| format!("  - {{host: '{host}', private: true{more}}}\n")).collect();
    std::fs::write(source.join("streamkeeper.yaml"), format!("registries:\n{hosts}")).unwrap();
}

/// A stream whose tags are imported from these references.
pub fn stream(name: &str, tags: &[(&str, &str)], policy: &str) -> String {
    let tags: String = tags
        .iter()
        .map(|(tag, from)| format!("    - {{name: '{tag}', from: {{kind: DockerImage, name: '{from}'}}, importPolicy: {{insecure: true{policy}}}}}\n"))
        .collect();
    format!(
        "---\napiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata: {{name: {name}}}\nspec:\n  tags:\n{tags}"
    )
}

#[test]
fn the_main_job_on_a_real_registry() {
    let folder = tempfile::tempdir().unwrap();
    let Some(registry) = RealRegistry::start(folder.path(), "") else { return };
    let host = registry.host.clone();
    let (amd64, arm64) = (registry.image("lab/app", "amd64", "a"), registry.image("lab/app", "arm64", "b"));
    let list = registry.list("lab/app", &[("arm64", arm64.clone()), ("amd64", amd64.clone())]);
    registry.tag("lab/app", "1.0", &amd64.0);
    registry.tag("lab/app", "multi", &list);
    let source = folder.path().join("source");
    std::fs::create_dir_all(&source).unwrap();
    allow(&source, &[&host, "127.0.0.1:1"], "");
    let define = |more: &str| {
        let tag = |name: &str, image: &str, policy: &str| {
            format!(
                "    - name: \"{name}\"\n      from: {{kind: DockerImage, name: '{host}/{image}'}}\n      importPolicy: {{insecure: true{policy}}}\n"
            )
        };
        let text = format!(
            "apiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata: {{name: app}}\nspec:\n  tags:\n{}{}{}{}{more}",
            tag("1.0", "lab/app:1.0", ""),
            tag("legacy", "lab/app:multi", ""),
            tag("whole", "lab/app:multi", ", importMode: PreserveOriginal"),
            tag("pinned", &format!("lab/app@{}", arm64.0), ""),
        );
        std::fs::write(source.join("app.yaml"), text).unwrap();
    };
    define("");
    let (code, out, err) = run(folder.path(), &["apply", "-s", "source", "--yes"]);
    assert_eq!(code, 0, "{out}{err}");
    let (_, out, _) = run(folder.path(), &["get", "istag", "app", "-s", "source", "-o", "wide"]);
    for (tag, digest) in [("1.0", &amd64.0), ("legacy", &amd64.0), ("whole", &list), ("pinned", &arm64.0)] {
        let line = out.lines().find(|line| line.contains(&format!("app:{tag} "))).unwrap();
        assert!(line.contains(&format!("@{digest}")), "{tag}: {line}");
    }
    assert_eq!(run(folder.path(), &["plan", "-s", "source", "--exit-code"]).0, 0);
    // A tag that does not exist fails alone, is written down once, and heals.
    define(&format!(
        "    - name: later\n      from: {{kind: DockerImage, name: '{host}/lab/app:later'}}\n      importPolicy: {{insecure: true}}\n"
    ));
    let (code, out, err) = run(folder.path(), &["apply", "-s", "source", "--yes"]);
    assert!(matches!(code, 0 | 5), "{out}{err}");
    let (_, out, _) = run(folder.path(), &["describe", "app", "-s", "source"]);
    assert!(out.contains("! error: Import failed (NotFound)"), "{out}");
    let (code, out, _) = run(folder.path(), &["plan", "-s", "source", "--exit-code"]);
    assert_eq!(code, 2, "nothing to write, and not what is wanted: {out}");
    assert!(out.contains("image not found") && !out.contains("nothing to do"), "{out}");
    registry.tag("lab/app", "later", &arm64.0);
    let (code, out, err) = run(folder.path(), &["apply", "-s", "source", "--yes"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(err.contains("failed since"), "{err}");
    // The whole repository.
    let text = format!(
        "apiVersion: v1\nkind: ImageStream\nmetadata: {{name: all}}\nspec: {{dockerImageRepository: {host}/lab/app}}\n"
    );
    std::fs::write(source.join("all.yaml"), text).unwrap();
    allow(&source, &[&host, "127.0.0.1:1"], ", insecure: true");
    let (code, out, err) = run(folder.path(), &["apply", "-s", "source", "--yes"]);
    assert_eq!(code, 0, "{out}{err}");
    let (_, out, _) = run(folder.path(), &["get", "istag", "all", "-s", "source", "-o", "name"]);
    assert_eq!(out.lines().count(), 3, "{out}");
    // Down: what is there stays, what is new waits, and nothing fails.
    drop(registry);
    define("    - name: new\n      from: {kind: DockerImage, name: '127.0.0.1:1/lab/app:new'}\n");
    let (code, out, err) = run(folder.path(), &["apply", "-s", "source", "--yes", "--refresh"]);
    assert_eq!(code, 5, "{out}{err}");
    assert!(err.contains("unreachable"), "{err}");
    let (_, out, _) = run(folder.path(), &["get", "istag", "app", "-s", "source", "-o", "name"]);
    // `later` is no longer defined, and its removal waits with what is to take its place.
    assert_eq!(out.lines().count(), 5, "tags that were there have their image: {out}");
}

#[test]
fn the_simulated_registry_answers_as_a_real_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let Some(real) = RealRegistry::start(folder.path(), "") else { return };
    let (amd64, arm64) = (real.image("lab/app", "amd64", "a"), real.image("lab/app", "arm64", "b"));
    let list = real.list("lab/app", &[("amd64", amd64.clone()), ("arm64", arm64.clone())]);
    for (tag, digest) in [("1.0", &amd64.0), ("2.0", &arm64.0), ("multi", &list)] {
        real.tag("lab/app", tag, digest);
    }
    // The same images, read out of the real one.
    let mut content = Content::default();
    for digest in [&amd64.0, &arm64.0, &list] {
        let (_, headers, bytes) = ask(&real.host, "GET", &format!("lab/app/manifests/{digest}"));
        content.manifest("lab/app", &headers["content-type"], &bytes);
    }
    for (tag, digest) in [("1.0", &amd64.0), ("2.0", &arm64.0), ("multi", &list)] {
        content.tag("lab/app", tag, digest);
    }
    let simulated = sim::registry::Registry::start(content);
    for path in [
        "lab/app/manifests/1.0",
        "lab/app/manifests/multi",
        &format!("lab/app/manifests/{}", arm64.0),
        "lab/app/manifests/none",
        "lab/none/manifests/1",
        &format!("lab/app/manifests/sha256:{}", "0".repeat(64)),
        &format!("lab/app/blobs/sha256:{}", "0".repeat(64)),
        "lab/app/tags/list?n=1000",
        "lab/none/tags/list",
    ] {
        for method in ["GET", "HEAD"] {
            if method == "HEAD" && path.contains("tags/list") {
                continue;
            }
            let (status, headers, bytes) = ask(&real.host, method, path);
            let (simulated_status, simulated_headers, simulated_bytes) = ask(&simulated.server.host, method, path);
            assert_eq!(simulated_status, status, "{method} {path}");
            for name in ["content-type", "docker-content-digest", "link", "etag"] {
                assert_eq!(simulated_headers.get(name), headers.get(name), "{method} {path}: {name}");
            }
            // (Pages are the specification's: Debian's registry sends all tags at once.)
            let code = |bytes: &[u8]| {
                let value: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
                value.pointer("/errors/0/code").cloned()
            };
            assert_eq!(code(&simulated_bytes), code(&bytes), "{method} {path}");
            if status == 200 && !path.contains("tags/list") {
                assert_eq!(simulated_bytes, bytes, "{method} {path}");
            }
        }
    }
}

/// A request over a plain socket: status, headers by lower-case name, body.
fn ask(host: &str, method: &str, path: &str) -> (u16, BTreeMap<String, String>, Vec<u8>) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    let accept = "application/vnd.docker.distribution.manifest.list.v2+json\r\nAccept: application/vnd.docker.distribution.manifest.v2+json";
    write!(
        stream,
        "{method} /v2/{path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: streamkeeper/test\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(2))).unwrap();
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&answer[..end]).into_owned();
            let headers: BTreeMap<String, String> = head
                .lines()
                .skip(1)
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect();
            let length: usize = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
            if method == "HEAD" || answer.len() >= end + 4 + length {
                let status = head.split(' ').nth(1).and_then(|text| text.parse().ok()).unwrap();
                let body = if method == "HEAD" { Vec::new() } else { answer[end + 4..end + 4 + length].to_vec() };
                return (status, headers, body);
            }
        }
        let read = stream.read(&mut chunk).unwrap();
        assert!(read > 0, "{method} {path}: hung up after {answer:?}");
        answer.extend_from_slice(&chunk[..read]);
    }
}

#[test]
fn heads_are_enough_to_compare_and_bytes_are_seen_before_a_digest_is_planned() {
    let mut content = Content::default();
    let image = content.image("lab/app", "amd64", "a");
    content.tag("lab/app", "1", &image);
    let registry = sim::registry::Registry::start(content);
    let registries = registries(&registry.server.host);
    let asked = question(&format!("{}/lab/app:1", registry.server.host), true);
    let pinned = question(&format!("{}/lab/app@{image}", registry.server.host), true);
    block_on(async {
        let answer = registries.resolve(&asked).await;
        assert_eq!(answer.known().map(|it| it.digest.to_string()), Some(image.clone()));
        assert_eq!((registry.server.count("HEAD "), registry.server.count("GET ")), (1, 0));
        assert_eq!(registries.resolve(&asked).await, answer, "the same question in one pass");
        assert_eq!(registry.server.count("HEAD "), 1);
        assert_eq!(registries.fetch(&pinned).await, Observed::Known(()));
        assert_eq!(registry.server.count("GET "), 2, "manifest and config");
        assert_eq!(registries.fetch(&pinned).await, Observed::Known(()));
        assert_eq!(registry.server.count("GET "), 2, "once and for all");
    });
    // https in two ways, then one connection for all of it; or two, when an answer has just ended as the next question begins.
    let connections = registry.server.connections();
    assert!((3..5).contains(&connections), "{connections} connections: not one a request");
}

/// A registry that gives every manifest request these headers and this body.
fn fixed(headers: Vec<(String, String)>, body: Vec<u8>) -> Server {
    Server::start(move |_| Reply::Whole("200 OK".to_owned(), headers.clone(), body.clone()))
}

fn image_manifest() -> Vec<u8> {
    let mut content = Content::default();
    content.image("a", "amd64", "x");
    content.manifests.into_values().next().unwrap().1
}

#[test]
fn what_is_not_an_image_is_told_as_what_it_is() {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let manifest = String::from_utf8(image_manifest()).unwrap();
    let image = sim::registry::IMAGE;
    let chart = manifest.replace(sim::registry::CONFIG, "application/vnd.cncf.helm.config.v1+json");
    let table = [
        ("text/html", "<html>log in</html>".to_owned(), "`text/html` is not an image"),
        (
            "application/vnd.docker.distribution.manifest.v1+prettyjws",
            "{\"schemaVersion\":1}".to_owned(),
            "Docker schema 1",
        ),
        (image, chart, "artifact of type `application/vnd.cncf.helm"),
        (INDEX, format!("{{\"schemaVersion\":2,\"mediaType\":\"{INDEX}\",\"manifests\":[]}}"), "has no images"),
        (INDEX, manifest.clone(), "says it is something else"),
    ];
    for (media_type, body, expected) in table {
        let headers =
            vec![header("Content-Type", media_type), header("Docker-Content-Digest", &digest(body.as_bytes()))];
        let server = fixed(headers, body.clone().into_bytes());
        let registries = registries(&server.host);
        let answer = block_on(registries.resolve(&question(&format!("{}/a:1", server.host), true)));
        let (cause, detail) = match answer {
            // A HEAD that looks like an image: its bytes tell.
            Observed::Known(found) => {
                let pinned = question(&format!("{}/a@{}", server.host, found.digest), true);
                unknown(block_on(registries.fetch(&pinned)))
            }
            other => unknown(other),
        };
        assert_eq!(cause, Cause::Malformed, "{detail}");
        assert!(detail.contains(expected), "{expected}: {detail}");
    }
}

#[test]
fn registries_that_name_no_digest_or_type_to_head_are_read() {
    let manifest = image_manifest();
    let body = manifest.clone();
    let server = Server::start(move |request| {
        let types: &[(&str, &str)] = if request.method == "HEAD" {
            &[]
        } else {
            &[("Content-Type", "application/vnd.docker.distribution.manifest.v2+json; charset=utf-8")]
        };
        Reply::new("200 OK", types, body.clone())
    });
    assert_eq!(resolve(&server, "a:1").known().map(|it| it.digest.to_string()), Some(digest(&manifest)));
    // SHA-512, where somebody pins by it.
    let long = ring::digest::digest(&ring::digest::SHA512, &manifest);
    let hex: String = long.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let found = resolve(&server, &format!("a@sha512:{hex}"));
    assert_eq!(found.known().map(|it| it.digest.to_string()), Some(format!("sha512:{hex}")));
    let other = "0".repeat(128);
    let (_, detail) = unknown(block_on(
        registries(&server.host).fetch(&question(&format!("{}/a@sha512:{other}", server.host), true)),
    ));
    assert!(detail.contains("asked for sha512:0000"), "{detail}");
}

#[test]
fn only_a_registrys_own_no_is_a_no() {
    let not_found = |body: &'static str| Server::start(move |_| Reply::new("404 Not Found", &[], body));
    let no = Server::start(|_| error("404 Not Found", "MANIFEST_UNKNOWN", "no"));
    assert_eq!(resolve(&no, "a:1"), Observed::Absent);
    for body in ["", "<html>nothing here</html>", "{\"errors\":[{\"code\":\"DENIED\"}]}"] {
        assert_eq!(unknown(resolve(&not_found(body), "a:1")).0, Cause::Malformed, "{body:?}");
    }
    for (status, cause) in
        [("403 Forbidden", Cause::Forbidden), ("500 Oops", Cause::ServerError), ("401 No", Cause::Unauthorized)]
    {
        let server = Server::start(move |_| Reply::new(status, &[], ""));
        assert_eq!(unknown(resolve(&server, "a:1")).0, cause);
    }
}

#[test]
fn private_addresses_are_refused_unless_the_config_means_them() {
    let mut content = Content::default();
    let image = content.image("a", "amd64", "x");
    content.tag("a", "1", &image);
    let registry = sim::registry::Registry::start(content);
    let port = registry.server.host.rsplit_once(':').unwrap().1.to_owned();
    let ask = |host: &str, private: bool| {
        let config = HostConfig { private, ..HostConfig::default() };
        let settings = settings(&[(host, config)]);
        let registries = Registries::new(settings, Credentials::default(), Arc::new(Kept::default()));
        block_on(registries.resolve(&question(&format!("{host}/a:1"), true)))
    };
    for host in ["127.0.0.1", "localhost", "127.1", "2130706433"] {
        let host = format!("{host}:{port}");
        let (cause, detail) = unknown(ask(&host, false));
        assert_eq!(cause, Cause::Refused, "{host}: {detail}");
        assert!(detail.contains("private: true"), "{host}: {detail}");
        assert!(ask(&host, true).known().is_some(), "{host}");
    }
    for host in ["169.254.169.254", "0xa9fea9fe.", "100.100.100.200"] {
        let host = host.trim_end_matches('.');
        let (cause, detail) = unknown(ask(&format!("{host}:80"), true));
        assert_eq!(cause, Cause::Refused, "{host}: {detail}");
    }
}

#[test]
fn listings_are_whole_or_unknown() {
    let tags =
        |server: &Server| block_on(registries(&server.host).tags(&question(&format!("{}/a", server.host), true)));
    let page = |headers: &[(&str, &str)], tags: &str| Reply::new("200 OK", headers, format!("{{\"tags\":[{tags}]}}"));
    let expected = |tags: &[&str]| Observed::Known(tags.iter().map(|tag| (*tag).to_owned()).collect());
    let follows = |request: &Request| request.path.contains("last=");
    let pages = Server::start(move |request| {
        if follows(request) {
            page(&[], "\"3\",\"../../x\"")
        } else {
            page(&[("Link", "</v2/a/tags/list?last=2>; rel=\"next\"")], "\"1\",\"2\"")
        }
    });
    assert_eq!(tags(&pages), expected(&["1", "2", "3"]), "what is no tag is left out");
    // The next page in the body, as some registries have it.
    let body = Server::start(move |request| {
        let text = if follows(request) {
            "{\"tags\":[\"2\"]}"
        } else {
            "{\"tags\":[\"1\"],\"next\":\"/v2/a/tags/list?last=1\"}"
        };
        Reply::new("200 OK", &[], text)
    });
    assert_eq!(tags(&body), expected(&["1", "2"]));
    // Cut without a word, whether `last` is understood or not.
    let all: Vec<String> = (0..1500).map(|at| format!("t{at:04}")).collect();
    for understands in [true, false] {
        let held = all.clone();
        let cut = Server::start(move |request| {
            let last = request.path.split("last=").nth(1).filter(|_| understands).unwrap_or_default();
            let page: Vec<_> = held.iter().filter(|tag| tag.as_str() > last).take(1000).collect();
            Reply::new("200 OK", &[], serde_json::json!({ "tags": page }).to_string())
        });
        let found = tags(&cut).known().map(Vec::len);
        assert_eq!(found, Some(if understands { 1500 } else { 1000 }));
        assert_eq!(cut.count("GET "), if understands { 3 } else { 2 }, "until nothing new comes");
    }
    let table: [(&str, &str, Server); 4] = [
        (
            "repeats a page",
            "incomplete",
            Server::start(move |request| {
                let next = format!("</v2/a/tags/list?n=1&page={}>; rel=next", request.path.len());
                page(&[("Link", &next)], "\"1\"")
            }),
        ),
        (
            "on another host",
            "refused",
            Server::start(move |_| page(&[("Link", "<http://127.0.0.1:1/v2/a/tags/list?last=2>; rel=next")], "\"1\"")),
        ),
        (
            "answers 500",
            "server error",
            Server::start(move |request| {
                if follows(request) {
                    Reply::new("500 Oops", &[], "")
                } else {
                    page(&[("Link", "</v2/a/tags/list?last=1>; rel=next")], "\"1\"")
                }
            }),
        ),
        (
            "is not there",
            "incomplete",
            Server::start(move |request| {
                if follows(request) {
                    error("404 Not Found", "NAME_UNKNOWN", "")
                } else {
                    page(&[("Link", "</v2/a/tags/list?last=1>; rel=next")], "\"1\"")
                }
            }),
        ),
    ];
    for (expected, cause, server) in table {
        let (is, detail) = unknown(tags(&server));
        assert!(detail.contains(expected) && is.to_string().contains(cause), "{expected}: {is}: {detail}");
    }
}

#[test]
fn a_list_that_shrinks_is_incomplete_until_the_registry_says_no_to_each() {
    let mut content = Content::default();
    let image = content.image("a", "amd64", "x");
    for tag in ["1", "2", "3"] {
        content.tag("a", tag, &image);
    }
    let hides: Arc<Mutex<bool>> = Arc::default();
    let hidden = Arc::clone(&hides);
    let registry = sim::registry::Registry::wrapped(content, move |request, reply| {
        // A replica that has not caught up: its list is short, its manifests are there.
        if request.path.contains("tags/list") && *hidden.lock().unwrap() {
            return Reply::new("200 OK", &[], "{\"tags\":[\"1\"]}");
        }
        reply
    });
    let host = registry.server.host.clone();
    let kept: Arc<Kept> = Arc::default();
    let tags = || {
        let registries =
            Registries::new(settings(&[(&host, on_loopback())]), Credentials::default(), Arc::<Kept>::clone(&kept));
        block_on(registries.tags(&question(&format!("{host}/a"), true)))
    };
    assert_eq!(tags().known().map(Vec::len), Some(3));
    *hides.lock().unwrap() = true;
    for _ in 0..2 {
        assert_eq!(tags().known().map(Vec::len), Some(3), "what is not denied is still there");
    }
    // Gone indeed: asked for by name, the registry says so.
    *hides.lock().unwrap() = false;
    registry.content.lock().unwrap().tags.get_mut("a").unwrap().remove("3");
    assert_eq!(tags().known().map(Vec::len), Some(2));
    assert_eq!(tags().known().map(Vec::len), Some(2), "and it is not asked for again");
    assert_eq!(
        registry.server.count("/manifests/3"),
        4,
        "twice while it was hidden, then HEAD, which has no words, and GET"
    );
}

#[test]
fn a_tag_without_insecure_does_not_close_the_host_for_those_with_it() {
    let mut content = Content::default();
    let image = content.image("a", "amd64", "x");
    content.tag("a", "1", &image);
    let registry = sim::registry::Registry::start(content);
    let registries = registries(&registry.server.host);
    let reference = format!("{}/a:1", registry.server.host);
    block_on(async {
        // Plain http: without `insecure` it cannot be reached.
        assert_eq!(unknown(registries.resolve(&question(&reference, false)).await).0, Cause::Unreachable);
        assert!(registries.resolve(&question(&reference, true)).await.known().is_some());
    });
}

#[test]
fn bytes_that_were_fetched_as_one_thing_prove_nothing_of_another() {
    let mut content = Content::default();
    let victim = content.image("victim", "amd64", "good");
    content.tag("victim", "1", &victim);
    // An image that names the victim's manifest as its config.
    let bytes = content.manifests[&format!("victim@{victim}")].1.clone();
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": sim::registry::IMAGE, "layers": [],
        "config": {"mediaType": sim::registry::CONFIG, "size": bytes.len(), "digest": victim},
    });
    content.blobs.insert(format!("evil@{victim}"), bytes);
    let evil = content.manifest("evil", sim::registry::IMAGE, manifest.to_string().as_bytes());
    content.tag("evil", "1", &evil);
    let registry = sim::registry::Registry::start(content);
    let host = &registry.server.host;
    let kept: Arc<Kept> = Arc::default();
    let fetch = |repository: &str, digest: &str| {
        let registries =
            Registries::new(settings(&[(host, on_loopback())]), Credentials::default(), Arc::<Kept>::clone(&kept));
        block_on(registries.fetch(&question(&format!("{host}/{repository}@{digest}"), true)))
    };
    assert_eq!(fetch("evil", &evil), Observed::Known(()));
    assert_eq!(fetch("victim", &victim), Observed::Known(()), "the victim's manifest is still one");
}

#[test]
fn one_name_a_host() {
    let mut content = Content::default();
    let image = content.image("a", "amd64", "x");
    content.tag("a", "1", &image);
    let registry = sim::registry::Registry::start(content);
    let port = registry.server.host.rsplit_once(':').unwrap().1.to_owned();
    let host = format!("localhost:{port}");
    let registries =
        Registries::new(settings(&[(&host, on_loopback())]), Credentials::default(), Arc::new(Kept::default()));
    let asked = |text: &str| Question {
        reference: ImageReference { registry: text.to_owned(), ..question(&format!("{host}/a:1"), true).reference },
        ..question(&host, true)
    };
    let pinned = |text: &str| Question {
        reference: ImageReference {
            registry: text.to_owned(),
            ..question(&format!("{host}/a@{image}"), true).reference
        },
        ..question(&host, true)
    };
    block_on(async {
        for name in [host.as_str(), &host.to_uppercase()] {
            assert!(registries.resolve(&asked(name)).await.known().is_some(), "{name}");
            assert_eq!(registries.fetch(&pinned(name)).await, Observed::Known(()), "{name}");
        }
    });
    assert_eq!(registry.server.count("HEAD "), 1, "one question");
}
