//! Registries that are not as the specification has them, from public reports: each is used as far as it goes, and what it says is shown.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use streamkeeper::adapters::registry::{Credentials, HostConfig, Registries};
use streamkeeper::model::{Cause, Observed, Resolution};
use streamkeeper::ports::Registry as _;

use crate::registry::{
    Kept, allow, block_on, docker_config, on_loopback, question, registries, settings, stream, unknown,
};
use crate::sim::registry::{Content, INDEX, Registry, error};
use crate::sim::server::{Reply, Request, Server};
use crate::support::run;

const SECRET: &str = "hunter2canary";

fn content() -> (Content, String) {
    let mut content = Content::default();
    let digest = content.image("lab/app", "amd64", "a");
    for tag in ["1.0", "1.1", "1.2"] {
        content.tag("lab/app", tag, &digest);
    }
    (content, digest)
}

fn resolved(registry: &Registry) -> Observed<Resolution> {
    resolved_with(registry, &registries(&registry.server.host))
}

fn resolved_with(registry: &Registry, registries: &Registries) -> Observed<Resolution> {
    block_on(registries.resolve(&question(&format!("{}/lab/app:1.0", registry.server.host), true)))
}

fn digest_of(answer: &Observed<Resolution>) -> Option<String> {
    answer.known().map(|it| it.digest.to_string())
}

/// carvel-dev/imgpkg#131, crossplane/crossplane#3223, distribution/distribution#1485
#[test]
fn what_refuses_head_is_asked_with_get() {
    for status in [
        "405 Method Not Allowed",
        "501 Not Implemented",
        "400 Bad Request",
        "401 Unauthorized",
        "403 Forbidden",
        "406 Not Acceptable",
    ] {
        let (content, digest) = content();
        let registry = Registry::wrapped(content, move |request, reply| match request.method.as_str() {
            "HEAD" => Reply::new(status, &[], ""),
            _ => reply,
        });
        let registries = registries(&registry.server.host);
        assert_eq!(digest_of(&resolved_with(&registry, &registries)), Some(digest), "{status}");
        // Whoever knows no HEAD is not asked by it again.
        let other = question(&format!("{}/lab/app:1.1", registry.server.host), true);
        assert!(block_on(registries.resolve(&other)).known().is_some(), "{status}");
        let heads = registry.server.seen().iter().filter(|request| request.method == "HEAD").count();
        assert_eq!(heads, if status.starts_with("405") || status.starts_with("501") { 1 } else { 2 }, "{status}");
    }
    // What GET says counts, in its own words.
    for (status, code, cause) in [
        ("403 Forbidden", "DENIED", Cause::Forbidden),
        ("401 Unauthorized", "UNAUTHORIZED", Cause::Unauthorized),
        ("400 Bad Request", "NAME_INVALID", Cause::Malformed),
    ] {
        let registry = Registry::wrapped(content().0, move |_, _| error(status, code, "the subscription has ended"));
        let (said, detail) = unknown(resolved(&registry));
        assert!(said == cause && detail.contains(code) && detail.contains("the subscription has ended"), "{detail}");
    }
    let registry = Registry::wrapped(content().0, |_, _| error("404 Not Found", "MANIFEST_UNKNOWN", "no"));
    assert_eq!(resolved(&registry), Observed::Absent);
}

/// deitch/docker_registry2#34, google/go-containerregistry#681
#[test]
fn a_list_of_tags_without_a_link_is_whole_whatever_becomes_of_our_own_question() {
    let asks_for_more = |request: &Request| request.path.contains("last=");
    type Answers = fn() -> Reply;
    let answers: [(&str, Answers); 5] = [
        ("405", || error("405 Method Not Allowed", "UNSUPPORTED", "invalid parameter")),
        ("404", || error("404 Not Found", "NAME_UNKNOWN", "no such page")),
        ("503", || error("503 Service Unavailable", "UNAVAILABLE", "later")),
        ("cut", || Reply::Cut(Vec::new())),
        ("html", || Reply::new("200 OK", &[("Content-Type", "text/html")], "<html>")),
    ];
    for (name, answer) in answers {
        let registry = Registry::wrapped(content().0, move |request, reply| match asks_for_more(request) {
            true => answer(),
            false => reply,
        });
        let list = question(&format!("{}/lab/app", registry.server.host), true);
        let tags = block_on(registries(&registry.server.host).tags(&list));
        assert_eq!(tags, Observed::Known(["1.0", "1.1", "1.2"].map(str::to_owned).to_vec()), "{name}");
    }
    // A page that the registry itself has promised is another matter.
    let registry = Registry::wrapped(content().0, move |request, reply| match asks_for_more(request) {
        true => error("405 Method Not Allowed", "UNSUPPORTED", "invalid parameter"),
        false => reply.header("Link", "</v2/lab/app/tags/list?last=x>; rel=\"next\""),
    });
    let list = question(&format!("{}/lab/app", registry.server.host), true);
    assert_eq!(unknown(block_on(registries(&registry.server.host).tags(&list))).0, Cause::Malformed);
    // One that cuts its list and does not say so is still asked for the rest.
    let registry = Registry::wrapped(content().0, move |request, reply| {
        let tags = |tags: &[&str]| Reply::new("200 OK", &[], json!({"name": "lab/app", "tags": tags}).to_string());
        match (request.path.contains("/tags/list"), asks_for_more(request)) {
            (true, false) => tags(&["1.0", "1.1"]),
            (true, true) if request.path.ends_with("last=1.1") => tags(&["1.2"]),
            (true, true) => tags(&[]),
            (false, _) => reply,
        }
    });
    let list = question(&format!("{}/lab/app", registry.server.host), true);
    assert_eq!(block_on(registries(&registry.server.host).tags(&list)).known().map(Vec::len), Some(3));
}

/// containerd/containerd#5632: the simulated registry compares whole lines.
#[test]
fn each_media_type_is_accepted_in_a_line_of_its_own() {
    let (content, digest) = content();
    let registry = Registry::start(content);
    assert_eq!(digest_of(&resolved(&registry)), Some(digest));
    for request in registry.server.seen() {
        let lines: BTreeSet<&str> = request.headers("accept").collect();
        assert!(lines.len() == 4 && lines.iter().all(|line| !line.contains(',')), "{}", request.head);
    }
}

/// opencontainers/image-spec#1016
#[test]
fn a_manifest_without_layers_and_a_platform_without_a_name_are_imported() {
    const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
    let mut content = Content::default();
    let config = json!({"architecture": "amd64", "os": "linux"}).to_string().into_bytes();
    let config_digest = crate::sim::registry::digest(&config);
    content.blobs.insert(format!("lab/app@{config_digest}"), config.clone());
    let config =
        json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config_digest, "size": config.len()});
    let bare = content.manifest("lab/app", OCI, json!({"schemaVersion": 2, "config": config}).to_string().as_bytes());
    let nulls = json!({"schemaVersion": 2, "config": config, "layers": null}).to_string();
    let nulls = content.manifest("lab/app", OCI, nulls.as_bytes());
    let index = json!({"schemaVersion": 2, "manifests": [
        {"mediaType": OCI, "digest": nulls, "size": 1, "platform": {}},
        {"mediaType": OCI, "digest": bare, "size": 1, "platform": {"os": "linux", "architecture": "amd64"}},
        {"mediaType": OCI, "digest": nulls, "size": 1},
    ]});
    let index = content.manifest("lab/app", INDEX, index.to_string().as_bytes());
    for (tag, digest) in [("bare", &bare), ("null", &nulls), ("index", &index)] {
        content.tag("lab/app", tag, digest);
    }
    let registry = Registry::start(content);
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    std::fs::create_dir(&source).unwrap();
    let host = &registry.server.host;
    allow(&source, &[host], "");
    let from = |tag: &str| format!("{host}/lab/app:{tag}");
    let (one, two, three) = (from("bare"), from("null"), from("index"));
    std::fs::write(source.join("a.yaml"), stream("a", &[("bare", &one), ("null", &two), ("index", &three)], ""))
        .unwrap();
    let (code, out, err) = run(folder.path(), &["apply", "--yes", "-s", "source"]);
    assert_eq!(code, 0, "{out}{err}");
    let (_, out, _) = run(folder.path(), &["get", "istag", "a", "-s", "source", "-o", "wide"]);
    for (tag, digest) in [("bare", &bare), ("null", &nulls), ("index", &bare)] {
        let line = out.lines().find(|line| line.contains(&format!("a:{tag} "))).unwrap_or(&out);
        assert!(line.contains(digest.as_str()), "{tag}: {out}");
    }
}

/// A registry whose token service is another host: it gives a token to everybody, and only those of `u` open anything.
fn behind_a_generous_service() -> (Registry, Server) {
    let service = Server::start(|request| {
        let known = format!("Basic {}", STANDARD.encode(format!("u:{SECRET}")));
        let token = if request.header("authorization") == Some(&known) { "good" } else { "empty" };
        Reply::new("200 OK", &[], json!({"token": token, "expires_in": "300"}).to_string())
    });
    let realm = format!("Bearer realm=\"http://{}/token\",service=\"lab\"", service.host);
    let registry = Registry::wrapped(content().0, move |request, reply| match request.header("authorization") {
        Some("Bearer good") => reply,
        _ => error("401 Unauthorized", "UNAUTHORIZED", "access to the resource is denied")
            .header("WWW-Authenticate", &realm),
    });
    (registry, service)
}

fn with(registry: &Registry, service: Option<&Server>, config: HostConfig, credentials: Credentials) -> Registries {
    let mut hosts = vec![(registry.server.host.as_str(), config)];
    hosts.extend(service.map(|service| (service.host.as_str(), on_loopback())));
    Registries::new(settings(&hosts), credentials, Arc::new(Kept::default()))
}

fn insecure() -> HostConfig {
    HostConfig { insecure: true, ..on_loopback() }
}

/// openshift/origin#9584, distribution/distribution#973
#[test]
fn a_login_that_is_withheld_from_a_token_service_is_told_of_although_the_service_answers() {
    let folder = tempfile::tempdir().unwrap();
    let (registry, service) = behind_a_generous_service();
    let host = &registry.server.host;
    let login = docker_config(folder.path(), host, &format!("u:{SECRET}"));
    let (cause, detail) =
        unknown(resolved_with(&registry, &with(&registry, Some(&service), insecure(), login.clone())));
    assert_eq!(cause, Cause::Unauthorized);
    assert!(detail.contains("`tokenService`") && detail.contains(&service.host), "{detail}");
    assert!(detail.contains("access to the resource is denied") && !detail.contains(SECRET), "{detail}");
    let named = HostConfig { token_service: Some(service.host.clone()), ..insecure() };
    assert!(resolved_with(&registry, &with(&registry, Some(&service), named, login)).known().is_some());
}

#[test]
fn a_401_says_what_was_shown_and_from_which_file() {
    let folder = tempfile::tempdir().unwrap();
    let (registry, service) = behind_a_generous_service();
    let host = registry.server.host.clone();
    let basic = Registry::with_login(content().0, &STANDARD.encode(format!("u:{SECRET}")));
    for (registry, service) in [(&registry, Some(&service)), (&basic, None)] {
        let host = &registry.server.host;
        let config = HostConfig { token_service: service.map(|it| it.host.clone()), ..insecure() };
        let ask = |credentials: Credentials| {
            unknown(resolved_with(registry, &with(registry, service, config.clone(), credentials))).1
        };
        let none = ask(Credentials::default());
        assert!(none.contains(&format!("there are no credentials for `{host}`: `docker login {host}`")), "{none}");
        let wrong = ask(docker_config(folder.path(), host, "u:wrong"));
        let file = folder.path().join("config.json").display().to_string();
        assert!(wrong.contains(&format!("credentials of `{file}`")) && wrong.contains("docker login"), "{wrong}");
        assert!(!wrong.contains("there are no credentials"), "{wrong}");
        let text = json!({"auths": {host: {"auth": "hunter2!"}, "quay.io": null}}).to_string();
        std::fs::write(folder.path().join("config.json"), text).unwrap();
        let broken = Credentials::from_file(&folder.path().join("config.json")).unwrap();
        let expected = format!("the credentials for `{host}` in `{file}` cannot be read: its `auth` is not base64");
        assert_eq!(broken.broken(), std::slice::from_ref(&expected));
        let broken = ask(broken);
        assert!(broken.contains(&expected) && !broken.contains("hunter2"), "{broken}");
    }
    // The program says so before it asks, and an image for everybody is imported all the same.
    let open = Registry::start(content().0);
    let source = folder.path().join("source");
    std::fs::create_dir(&source).unwrap();
    allow(&source, &[&host, &open.server.host], "");
    std::fs::write(source.join("a.yaml"), stream("a", &[("1", &format!("{}/lab/app:1.0", open.server.host))], ""))
        .unwrap();
    let (code, out, err) = run_with_auth(folder.path(), &json!({"auths": {open.server.host.clone(): {"auth": "?"}}}));
    assert!(code == 0 && err.contains("cannot be read: its `auth` is not base64"), "{code} {out}{err}");
}

fn run_with_auth(folder: &Path, auth: &serde_json::Value) -> (i32, String, String) {
    let file = folder.join("auth.json");
    std::fs::write(&file, auth.to_string()).unwrap();
    let mut command = crate::support::program(folder);
    command.args(["apply", "--yes", "-s", "source"]).env("REGISTRY_AUTH_FILE", &file);
    crate::support::outcome(command.output().unwrap())
}

#[test]
fn a_challenge_that_cannot_be_read_is_shown() {
    for (challenge, expected) in [
        (None, "does not say what it wants to see"),
        (Some("Negotiate"), "it wants `Negotiate`"),
        (Some("Bearer realm=\"http://x"), "its `WWW-Authenticate` cannot be read: `Bearer realm="),
    ] {
        let registry = Registry::wrapped(content().0, move |_, _| {
            let reply = error("401 Unauthorized", "UNAUTHORIZED", "who are you");
            challenge.map_or(error("401 Unauthorized", "UNAUTHORIZED", "who are you"), |it| {
                reply.header("WWW-Authenticate", it)
            })
        });
        let (cause, detail) = unknown(resolved(&registry));
        assert!(cause == Cause::Unauthorized && detail.contains(expected), "{challenge:?}: {detail}");
        assert!(detail.contains("who are you"), "{detail}");
    }
}

#[test]
fn a_host_without_tls_says_what_to_set() {
    let registry = Registry::start(content().0);
    let host = &registry.server.host;
    let ask = question(&format!("{host}/lab/app:1.0"), false);
    let (cause, detail) = unknown(block_on(registries(host).resolve(&ask)));
    assert!(
        cause == Cause::Unreachable && detail.contains("insecure: true") && detail.contains(host.as_str()),
        "{detail}"
    );
}

/// A registry, or a proxy before it, that has a form of its own for errors.
#[test]
fn words_in_other_forms_are_shown() {
    let words: Arc<Mutex<(&str, &str)>> = Arc::new(Mutex::new(("", "")));
    let held = Arc::clone(&words);
    let registry = Registry::wrapped(content().0, move |_, _| {
        let (media_type, body) = *held.lock().unwrap();
        Reply::new("403 Forbidden", &[("Content-Type", media_type)], body)
    });
    for (media_type, body, expected) in [
        ("application/json", r#"{"message": "the licence has ended"}"#, "403: the licence has ended"),
        ("text/plain", "blocked by the firewall\n", "403: blocked by the firewall"),
        ("application/json", r#"{"errors": [{"status": 403, "message": "no quota"}]}"#, "403 403: no quota"),
        ("text/html", "<html>Sign in</html>", "answers 403;"),
    ] {
        *words.lock().unwrap() = (media_type, body);
        let (_, detail) = unknown(resolved(&registry));
        assert!(detail.contains(expected), "{body}: {detail}");
    }
}
