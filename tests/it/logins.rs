//! Trust and logins: real registries with passwords, certificates and a token service; and where secrets go.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use streamkeeper::adapters::registry::{Credentials, HostConfig, Registries};
use streamkeeper::model::{Cause, Observed, Question, Resolution};
use streamkeeper::openshift::ImageReference;
use streamkeeper::ports::Registry;

use crate::real_registry::RealRegistry;
use crate::registry::{Kept, allow, block_on, docker_config, on_loopback, question, settings, stream, unknown};
use crate::sim::registry::{self, Content, error};
use crate::sim::server::{Reply, Server};
use crate::sim::token_service::TokenService;
use crate::support::{outcome, program};

const SECRET: &str = "hunter2canary";

fn ask(host: &str, config: HostConfig, credentials: Credentials, insecure: bool) -> Observed<Resolution> {
    let registries = Registries::new(settings(&[(host, config)]), credentials, Arc::new(Kept::default()));
    block_on(registries.resolve(&question(&format!("{host}/lab/app:1.0"), insecure)))
}

fn trusted() -> HostConfig {
    HostConfig { insecure: true, ..on_loopback() }
}

fn found(answer: &Observed<Resolution>) -> Option<String> {
    answer.known().map(|it| it.digest.to_string())
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_real_registry_with_passwords() {
    let folder = tempfile::tempdir().unwrap();
    // bcrypt of `hunter2canary`.
    let hash = "u:$2y$05$abcdefghijklmnopqrstuu/h2wT4t1aFcidLXK8hCq0SLPGXeW5GO\n";
    let file = write(folder.path(), "htpasswd", hash);
    let more = format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", file.display());
    let Some(registry) = RealRegistry::start(folder.path(), &more) else { return };
    let (image, _) = registry.image("lab/app", "amd64", "a");
    registry.tag("lab/app", "1.0", &image);
    let host = &registry.host;
    let (cause, detail) = unknown(ask(host, trusted(), Credentials::default(), true));
    assert_eq!(cause, Cause::Unauthorized, "no login: {detail}");
    let wrong = docker_config(folder.path(), host, "u:wrong");
    assert_eq!(unknown(ask(host, trusted(), wrong, true)).0, Cause::Unauthorized, "a wrong login is told as such");
    let right = docker_config(folder.path(), host, &format!("u:{SECRET}"));
    assert_eq!(found(&ask(host, trusted(), right.clone(), true)), Some(image));
    let (cause, detail) = unknown(ask(host, on_loopback(), right, true));
    assert_eq!(cause, Cause::Unauthorized, "over a connection that nobody verified no login travels");
    assert!(detail.contains("nobody verified"), "{detail}");
}

/// A certificate authority, and a certificate of it for loopback.
fn authority(folder: &Path) -> (PathBuf, PathBuf, PathBuf) {
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(rcgen::DnType::CommonName, "tests");
    let key = rcgen::KeyPair::generate().unwrap();
    let ca = rcgen::CertifiedIssuer::self_signed(parameters, key).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
    (
        write(folder, "ca.pem", &ca.pem()),
        write(folder, "leaf.pem", &leaf.pem()),
        write(folder, "leaf.key", &key.serialize_pem()),
    )
}

#[test]
fn a_real_registry_with_a_private_authority() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, leaf, key) = authority(folder.path());
    let tls = format!("tls: {{certificate: {}, key: {}}}", leaf.display(), key.display());
    let Some(registry) = RealRegistry::start_with(folder.path(), &tls, "") else { return };
    let (image, _) = registry.image("lab/app", "amd64", "a");
    registry.tag("lab/app", "1.0", &image);
    let host = &registry.host;
    let (cause, detail) = unknown(ask(host, on_loopback(), Credentials::default(), false));
    assert_eq!(cause, Cause::Unreachable);
    assert!(detail.to_lowercase().contains("certificate") || detail.contains("UnknownIssuer"), "{detail}");
    let known = HostConfig { ca: Some(ca.clone()), ..on_loopback() };
    assert_eq!(found(&ask(host, known.clone(), Credentials::default(), false)), Some(image.clone()));
    assert_eq!(found(&ask(host, on_loopback(), Credentials::default(), true)), Some(image), "insecure, by https");
    let broken = HostConfig { ca: Some(key.clone()), ..on_loopback() };
    let (cause, detail) = unknown(ask(host, broken, Credentials::default(), false));
    assert_eq!(cause, Cause::Unreadable);
    assert!(detail.contains("leaf.key"), "{detail}");
    let missing = HostConfig { ca: Some(folder.path().join("none.pem")), ..on_loopback() };
    assert!(unknown(ask(host, missing, Credentials::default(), false)).1.contains("none.pem"));
}

#[test]
fn a_real_registry_that_wants_to_see_a_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, leaf, key) = authority(folder.path());
    let tls =
        format!("tls: {{certificate: {}, key: {}, clientcas: ['{}']}}", leaf.display(), key.display(), ca.display());
    let Some(registry) = RealRegistry::start_with(folder.path(), &tls, "") else { return };
    let (image, _) = registry.image("lab/app", "amd64", "a");
    registry.tag("lab/app", "1.0", &image);
    let known = HostConfig { ca: Some(ca), ..on_loopback() };
    let shown = HostConfig { client_certificate: Some((leaf, key)), ..known.clone() };
    assert_eq!(found(&ask(&registry.host, shown, Credentials::default(), false)), Some(image));
    assert!(ask(&registry.host, known, Credentials::default(), false).known().is_none());
}

#[test]
fn a_real_registry_behind_a_token_service_on_another_host() {
    let folder = tempfile::tempdir().unwrap();
    let service = TokenService::start("registry.tests", "u:hunter2canary", 60);
    let bundle = write(folder.path(), "bundle.pem", &service.certificate);
    let more = format!(
        "auth: {{token: {{realm: 'http://{}/token', service: registry.tests, issuer: tests, rootcertbundle: {}}}}}\n",
        service.server.host,
        bundle.display()
    );
    let Some(registry) = RealRegistry::start(folder.path(), &more) else { return };
    for repository in ["lab/app", "lab/other"] {
        let (image, _) = registry.image(repository, "amd64", repository);
        for tag in ["1.0", "1.1", "1.2"] {
            registry.tag(repository, tag, &image);
        }
    }
    let host = &registry.host;
    let credentials = docker_config(folder.path(), host, &format!("u:{SECRET}"));
    // The login is not for whoever the challenge names.
    let hosts = |token_service: Option<String>| {
        settings(&[(host, HostConfig { token_service, ..trusted() }), (&service.server.host, on_loopback())])
    };
    let registries = Registries::new(hosts(None), credentials.clone(), Arc::new(Kept::default()));
    let (cause, detail) = unknown(block_on(registries.resolve(&question(&format!("{host}/lab/app:1.0"), true))));
    assert_eq!(cause, Cause::Unauthorized);
    assert!(detail.contains("set `tokenService`"), "{detail}");
    assert!(!service.server.heard().contains(&STANDARD.encode(format!("u:{SECRET}"))));
    service.server.forget();
    // Unless the config says that it is: then a token a repository, whatever is asked of it.
    let registries = Registries::new(hosts(Some(service.server.host.clone())), credentials, Arc::new(Kept::default()));
    block_on(async {
        let registries = &registries;
        let asked = ["lab/app", "lab/other"].into_iter().flat_map(|repository| {
            ["1.0", "1.1", "1.2"].map(|tag| question(&format!("{host}/{repository}:{tag}"), true))
        });
        let answers =
            futures_all(asked.map(|question| async move { registries.resolve(&question).await }).collect()).await;
        for answer in answers {
            let digest = found(&answer).unwrap_or_else(|| panic!("{answer:?}"));
            let image = question(&format!("{host}/lab/app@{digest}"), true);
            let _ = registries.fetch(&image).await;
        }
    });
    assert_eq!(service.server.count("/token?"), 2, "{}", service.server.heard());
}

/// All at once, in one task: as many requests as the host takes.
async fn futures_all<T>(all: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut answers = Vec::new();
    let mut pending: Vec<_> = all.into_iter().map(Box::pin).collect();
    std::future::poll_fn(|context| {
        pending.retain_mut(|one| match one.as_mut().poll(context) {
            std::task::Poll::Ready(answer) => {
                answers.push(answer);
                false
            }
            std::task::Poll::Pending => true,
        });
        if pending.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    answers
}

#[test]
fn a_login_goes_to_its_host_only_and_never_unverified() {
    let folder = tempfile::tempdir().unwrap();
    // The token's life is longer than the universe's: that must not end the process.
    let elsewhere = Server::start(|_| {
        Reply::new(
            "200 OK",
            &[("Content-Type", "application/json")],
            "{\"token\":\"t\",\"expires_in\":18446744073709551615}",
        )
    });
    let realm = elsewhere.host.clone();
    let mut content = Content::default();
    let image = content.image("lab/app", "amd64", "x");
    content.tag("lab/app", "1.0", &image);
    let liar = registry::Registry::wrapped(content, move |request, reply| {
        if request.header("authorization") == Some("Bearer t") {
            return reply;
        }
        Reply::new(
            "401 No",
            &[("WWW-Authenticate", &format!("Bearer realm=\"http://{realm}/token\",service=\"s\""))],
            "",
        )
    })
    .server;
    let credentials = docker_config(folder.path(), &liar.host, &format!("u:{SECRET}"));
    let ask = |insecure: bool, token_service: Option<String>| {
        let config = HostConfig { insecure, token_service, ..on_loopback() };
        let hosts = settings(&[(&liar.host, config), (&elsewhere.host, on_loopback())]);
        let registries = Registries::new(hosts, credentials.clone(), Arc::new(Kept::default()));
        block_on(registries.resolve(&question(&format!("{}/lab/app:1.0", liar.host), true)))
    };
    let encoded = STANDARD.encode(format!("u:{SECRET}"));
    let leaked = |server: &Server| server.heard().contains(&encoded) || server.heard().contains(SECRET);
    assert!(ask(false, None).known().is_some());
    assert!(!leaked(&liar) && !leaked(&elsewhere), "a definition's `insecure` sends no login");
    assert!(ask(true, None).known().is_some());
    assert!(!leaked(&elsewhere), "a challenge that names another host gets no login");
    assert!(ask(true, Some(elsewhere.host.clone())).known().is_some());
    assert!(leaked(&elsewhere), "unless the config names that host");
    // Basic, asked for over plain http by whoever answers there.
    let basic = Server::start(|_| Reply::new("401 No", &[("WWW-Authenticate", "Basic realm=\"x\"")], ""));
    let credentials = docker_config(folder.path(), &basic.host, &format!("u:{SECRET}"));
    let registries = Registries::new(settings(&[(&basic.host, on_loopback())]), credentials, Arc::new(Kept::default()));
    let answer = block_on(registries.resolve(&question(&format!("{}/a:1", basic.host), true)));
    assert_eq!(unknown(answer).0, Cause::Unauthorized);
    assert!(!leaked(&basic));
}

#[test]
fn a_token_that_is_refused_is_asked_for_once_more_and_one_that_expires_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut content = Content::default();
    let image = content.image("lab/app", "amd64", "x");
    for tag in ["1", "2", "3"] {
        content.tag("lab/app", tag, &image);
    }
    // The second token alone is good; any question after it as well.
    let number = std::sync::atomic::AtomicUsize::new(0);
    let registry = registry::Registry::wrapped(content, move |request, reply| {
        if request.path.starts_with("/token") {
            let number = 1 + number.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            // Of the short-lived kind: given up five seconds early, it is old at once.
            let life = if number < 3 { 3600 } else { 5 };
            return Reply::new("200 OK", &[], format!("{{\"access_token\":\"t{number}\",\"expires_in\":{life}}}"));
        }
        let good =
            request.header("authorization").is_some_and(|value| value != "Bearer t1" && value.starts_with("Bearer t"));
        let host = request.header("host").unwrap_or_default().to_owned();
        if good {
            reply
        } else {
            Reply::new(
                "401 No",
                &[(
                    "WWW-Authenticate",
                    &format!("Bearer realm=\"http://{host}/token\",scope=\"repository:lab/app:pull\""),
                )],
                "",
            )
        }
    });
    let server = &registry.server;
    let credentials = docker_config(folder.path(), &server.host, &format!("u:{SECRET}"));
    let registries = Registries::new(settings(&[(&server.host, trusted())]), credentials, Arc::new(Kept::default()));
    block_on(async {
        let ask = |tag: &str| question(&format!("{}/lab/app:{tag}", server.host), true);
        // The first token is refused, and HEAD is not asked with a third; GET finds it refused, and gets another.
        assert!(registries.resolve(&ask("1")).await.known().is_some());
        assert_eq!(server.count("/token"), 2);
        assert!(registries.resolve(&ask("2")).await.known().is_some());
        assert!(registries.resolve(&ask("3")).await.known().is_some());
        assert_eq!(server.count("/token"), 2, "kept until it expires");
    });
}

#[test]
fn what_a_registry_sends_one_on_to_gets_no_login() {
    let folder = tempfile::tempdir().unwrap();
    let mut content = Content::default();
    let image = content.image("lab/app", "amd64", "x");
    content.tag("lab/app", "1.0", &image);
    let blobs = content.blobs.clone();
    // Storage that would refuse a request with a login, as signed URLs do.
    let storage = Server::start(move |request| {
        if request.header("authorization").is_some() {
            return Reply::new("400 Bad Request", &[], "only one way to authenticate");
        }
        let digest = request.path.rsplit('/').next().unwrap_or_default().to_owned();
        blobs.get(&format!("lab/app@{digest}")).map_or_else(
            || error("404 Not Found", "BLOB_UNKNOWN", ""),
            |bytes| Reply::new("200 OK", &[], bytes.clone()),
        )
    });
    let to = storage.host.clone();
    let registry = registry::Registry::wrapped(content, move |request, reply| {
        if request.header("authorization").is_none() {
            return Reply::new("401 No", &[("WWW-Authenticate", "Basic realm=\"x\"")], "");
        }
        match request.path.split_once("/blobs/") {
            Some((_, digest)) => {
                Reply::new("307 Temporary Redirect", &[("Location", &format!("http://{to}/store/{digest}"))], "")
            }
            None => reply,
        }
    });
    let host = &registry.server.host;
    let credentials = docker_config(folder.path(), host, &format!("u:{SECRET}"));
    let hosts = settings(&[(host, trusted()), (&storage.host, trusted())]);
    let registries = Registries::new(hosts, credentials, Arc::new(Kept::default()));
    let pinned = question(&format!("{host}/lab/app@{image}"), true);
    assert_eq!(block_on(registries.fetch(&pinned)), Observed::Known(()));
    assert_eq!(storage.seen().len(), 1);
    assert!(!storage.heard().to_lowercase().contains("authorization"), "{}", storage.heard());
    assert!(registry.server.heard().contains("authorization"));
}

/// A registry that wants that login, and a source that needs it.
fn site(folder: &Path, login: &str) -> (Server, PathBuf) {
    let mut content = Content::default();
    let image = content.image("lab/app", "amd64", "x");
    content.tag("lab/app", "1.0", &image);
    let expected = format!("Basic {}", STANDARD.encode(login));
    let server = registry::Registry::wrapped(content, move |request, reply| {
        if request.header("authorization") == Some(expected.as_str()) {
            reply
        } else {
            Reply::new("401 No", &[("WWW-Authenticate", "Basic realm=\"x\"")], "")
        }
    })
    .server;
    let source = folder.join("source");
    std::fs::create_dir_all(&source).unwrap();
    allow(&source, &[&server.host], ", insecure: true");
    std::fs::write(source.join("s.yaml"), stream("app", &[("1", &format!("{}/lab/app:1.0", server.host))], ""))
        .unwrap();
    (server, source)
}

#[test]
fn logins_are_found_where_people_keep_them() {
    let folder = tempfile::tempdir().unwrap();
    let (server, source) = site(folder.path(), &format!("u:{SECRET}"));
    let auth = STANDARD.encode(format!("u:{SECRET}"));
    let config = format!("{{\"auths\":{{\"{}/lab\":{{\"auth\":\"{auth}\"}}}}}}", server.host);
    let secret = format!(
        "kind: Secret\ntype: kubernetes.io/dockerconfigjson\ndata: {{.dockerconfigjson: {}}}\n",
        STANDARD.encode(&config)
    );
    let empty = "{\"auths\":{}}";
    let home = folder.path().join("no-home");
    let put = |path: &str, text: &str| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let plan = |variables: &[(&str, PathBuf)]| {
        let mut command = program(folder.path());
        command.args(["plan", "-s", "source", "--format", "json"]);
        for (name, value) in variables {
            command.env(name, value);
        }
        let (_, out, err) = outcome(command.output().unwrap());
        assert!(!format!("{out}{err}").contains(SECRET) && !format!("{out}{err}").contains(&auth));
        out.contains("\"import\"") && !out.contains("unauthorized")
    };
    assert!(!plan(&[]), "nobody has a login");
    put("podman.json", &config);
    assert!(plan(&[("REGISTRY_AUTH_FILE", folder.path().join("podman.json"))]));
    put("runtime/containers/auth.json", &config);
    assert!(plan(&[("XDG_RUNTIME_DIR", folder.path().join("runtime"))]));
    put("config/containers/auth.json", &config);
    assert!(plan(&[("XDG_CONFIG_HOME", folder.path().join("config"))]));
    put("docker/config.json", &config);
    assert!(plan(&[("DOCKER_CONFIG", folder.path().join("docker"))]));
    put("empty.json", empty);
    let only =
        [("REGISTRY_AUTH_FILE", folder.path().join("empty.json")), ("DOCKER_CONFIG", folder.path().join("docker"))];
    assert!(!plan(&only), "the file that is named is the only one");
    put("no-home/.docker/config.json", &config);
    assert!(plan(&[]));
    std::fs::remove_dir_all(&home).unwrap();
    put("source/secret.txt", &secret);
    let text = std::fs::read_to_string(source.join("streamkeeper.yaml")).unwrap();
    std::fs::write(source.join("streamkeeper.yaml"), format!("{text}credentials: [secret.txt]\n")).unwrap();
    assert!(plan(&[]), "a pull secret that the config names");
}

#[test]
fn credential_helpers_are_asked_and_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let (server, source) = site(folder.path(), &format!("u:{SECRET}"));
    let bin = folder.path().join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::create_dir_all(folder.path().join("docker")).unwrap();
    let helper = |name: &str, script: &str| {
        let path = bin.join(format!("docker-credential-{name}"));
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    let asked = folder.path().join("asked");
    helper(
        "good",
        &format!(
            "read host; echo \"$1 $host $(pwd)\" >> {}; printf '{{\"ServerURL\":\"x\",\"Username\":\"u\",\"Secret\":\"{SECRET}\"}}'",
            asked.display()
        ),
    );
    helper("none", "echo credentials not found in native keychain; exit 1");
    helper("broken", &format!("echo {SECRET}; echo {SECRET} >&2; exit 2"));
    helper("slow", "kill -STOP $$");
    // One that lies where the program is started: only absolute folders are looked into.
    helper("here", "true");
    std::fs::rename(bin.join("docker-credential-here"), source.join("docker-credential-here")).unwrap();
    let plan = |config: String, path: String| {
        std::fs::write(folder.path().join("docker/config.json"), config).unwrap();
        let output = program(&source)
            .args(["plan"])
            .env("DOCKER_CONFIG", folder.path().join("docker"))
            .env("PATH", path)
            .output();
        let (_, out, err) = outcome(output.unwrap());
        assert!(!format!("{out}{err}").contains(SECRET), "{out}{err}");
        format!("{out}{err}")
    };
    let path = format!(".:{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let by_host = |name: &str| format!("{{\"credHelpers\":{{\"{}\":\"{name}\"}}}}", server.host);
    let good = plan(by_host("good"), path.clone());
    assert!(good.contains("import 1 from"), "{good}");
    assert_eq!(
        std::fs::read_to_string(&asked).unwrap(),
        format!("get {} /\n", server.host),
        "asked once, away from the source"
    );
    assert!(plan("{\"credsStore\":\"good\"}".to_owned(), path.clone()).contains("import 1 from"));
    for (name, expected) in [
        ("none", "there are no credentials for"),
        ("broken", "docker-credential-broken` failed"),
        ("missing", "no credential helper `docker-credential-missing`"),
        ("here", "no credential helper `docker-credential-here`"),
        ("../bin/docker-credential-good", "is no name of a credential helper"),
    ] {
        let said = plan(by_host(name), path.clone());
        assert!(said.contains(expected), "{name}: {said}");
    }
    let started = Instant::now();
    let said = plan(by_host("slow"), path);
    assert!(said.contains("gave no answer in 10 seconds"), "{said}");
    assert!(started.elapsed().as_secs() < 30, "{:?}", started.elapsed());
}

#[test]
fn identity_tokens_are_changed_for_others() {
    let mut content = Content::default();
    let image = content.image("lab/app", "amd64", "x");
    content.tag("lab/app", "1.0", &image);
    let registry = registry::Registry::wrapped(content, |request, reply| {
        if request.path.starts_with("/token") {
            let good = request.method == "POST"
                && request.body.contains("grant_type=refresh_token")
                && request.body.contains("refresh_token=hunter2canary")
                && request.body.contains("scope=repository%3Alab%2Fapp%3Apull");
            return if good {
                Reply::new("200 OK", &[], "{\"access_token\":\"t\"}")
            } else {
                Reply::new("400 Bad Request", &[], "")
            };
        }
        let host = request.header("host").unwrap_or_default().to_owned();
        match request.header("authorization") {
            Some("Bearer t") => reply,
            _ => Reply::new(
                "401 No",
                &[("WWW-Authenticate", &format!("Bearer realm=\"http://{host}/token\",service=\"s\""))],
                "",
            ),
        }
    });
    let host = &registry.server.host;
    let text = format!("{{\"auths\":{{\"{host}\":{{\"identitytoken\":\"{SECRET}\"}}}}}}");
    let credentials = Credentials::parse(text.as_bytes()).unwrap();
    let answer = ask(host, trusted(), credentials, true);
    assert_eq!(found(&answer), Some(image), "{answer:?}");
    assert!(
        registry
            .server
            .seen()
            .iter()
            .all(|request| request.path.starts_with("/token") || !request.head.contains(SECRET))
    );
}

#[test]
fn what_a_registry_repeats_of_a_login_is_struck_out() {
    let folder = tempfile::tempdir().unwrap();
    for bearer in [false, true] {
        // Says what it was shown, in every place that reaches people.
        let server = Server::start(move |request| {
            let shown = request.header("authorization").unwrap_or_default().to_owned();
            let encoded = shown.split(' ').nth(1).unwrap_or_default().to_owned();
            let plain = STANDARD.decode(&encoded).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            let words = format!("{shown} {encoded} {}", plain.unwrap_or_default());
            if request.path.starts_with("/token") {
                return error("403 Forbidden", &encoded, &words);
            }
            let realm = format!("http://{}/token", request.header("host").unwrap_or_default());
            let challenge = if bearer { format!("Bearer realm=\"{realm}\"") } else { "Basic realm=\"x\"".to_owned() };
            match shown.is_empty() {
                true => Reply::new("401 No", &[("WWW-Authenticate", &challenge)], ""),
                false => error("403 Forbidden", &encoded, &words),
            }
        });
        let source = folder.path().join(format!("source-{bearer}"));
        std::fs::create_dir_all(&source).unwrap();
        allow(&source, &[&server.host], ", insecure: true");
        let from = format!("{}/lab/app:1.0", server.host);
        std::fs::write(source.join("s.yaml"), stream("app", &[("1", &from)], "")).unwrap();
        docker_config(folder.path(), &server.host, &format!("u:{SECRET}"));
        for arguments in [&["plan", "--format", "json"][..], &["plan", "--out", "p.json"], &["apply", "--yes"]] {
            let output = program(&source).args(arguments).env("DOCKER_CONFIG", folder.path()).output().unwrap();
            let (_, out, err) = outcome(output);
            let saved = std::fs::read_to_string(source.join("p.json")).unwrap_or_default();
            let all = format!("{out}{err}{saved}");
            assert!(!all.contains(SECRET) && !all.contains(&STANDARD.encode(format!("u:{SECRET}"))), "{all}");
        }
        assert!(server.heard().contains(&STANDARD.encode(format!("u:{SECRET}"))), "it was shown the login");
    }
}

#[test]
fn many_questions_share_one_connection_over_http_2() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, leaf, key) = authority(folder.path());
    let tls = format!("tls: {{certificate: {}, key: {}}}", leaf.display(), key.display());
    let Some(registry) = RealRegistry::start_with(folder.path(), &tls, "") else { return };
    for tag in 0..60 {
        let (image, _) = registry.image("lab/app", "amd64", &tag.to_string());
        registry.tag("lab/app", &format!("t{tag}"), &image);
    }
    // Connections are counted on the way.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let (count, to) = (Arc::new(std::sync::atomic::AtomicUsize::new(0)), registry.host.clone());
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for stream in listener.incoming().take(100) {
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let (mut client, mut server) = (stream.unwrap(), std::net::TcpStream::connect(&to).unwrap());
            let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
            std::thread::spawn(move || std::io::copy(&mut server, &mut client));
        }
    });
    let config = HostConfig { ca: Some(ca), ..on_loopback() };
    let registries = Registries::new(settings(&[(&host, config)]), Credentials::default(), Arc::new(Kept::default()));
    let registries = &registries;
    let asked: Vec<_> = (0..60)
        .map(|tag| {
            let question = question(&format!("{host}/lab/app:t{tag}"), false);
            async move { registries.resolve(&question).await }
        })
        .collect();
    let answers = block_on(futures_all(asked));
    assert_eq!(answers.iter().filter(|answer| answer.known().is_some()).count(), 60, "{answers:?}");
    assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[test]
fn a_login_that_is_refused_is_shown_once() {
    let folder = tempfile::tempdir().unwrap();
    for bearer in [false, true] {
        let server = Server::start(move |request| {
            if request.path.starts_with("/token") {
                return Reply::new("401 Unauthorized", &[], "{\"details\":\"incorrect username or password\"}");
            }
            let realm = format!("http://{}/token", request.header("host").unwrap_or_default());
            let challenge = if bearer { format!("Bearer realm=\"{realm}\"") } else { "Basic realm=\"x\"".to_owned() };
            Reply::new("401 No", &[("WWW-Authenticate", &challenge)], "")
        });
        let credentials = docker_config(folder.path(), &server.host, &format!("u:{SECRET}"));
        let config = HostConfig { concurrency: Some(1), ..trusted() };
        let registries = Registries::new(settings(&[(&server.host, config)]), credentials, Arc::new(Kept::default()));
        let registries = &registries;
        let asked: Vec<_> = (0..50)
            .map(|at| {
                let question = question(&format!("{}/lab/app{at}:1.0", server.host), true);
                async move { registries.resolve(&question).await }
            })
            .collect();
        for answer in block_on(futures_all(asked)) {
            assert_eq!(unknown(answer).0, Cause::Unauthorized);
        }
        let shown = server.heard().matches(&STANDARD.encode(format!("u:{SECRET}"))).count();
        assert!((1..=3).contains(&shown), "{bearer}: {shown} times: fifty would lock the account");
    }
}

#[test]
fn a_second_hop_is_trusted_by_its_own_config() {
    let mut content = Content::default();
    let image = content.image("lab/app", "amd64", "x");
    content.tag("lab/app", "1.0", &image);
    // Where the first hop leads sends one on within itself; only the first host may be on a private network.
    let storage = Server::start(|request| {
        let next = format!("{}/again", request.path);
        Reply::new("302 Found", &[("Location", &next)], "")
    });
    let to = storage.host.clone();
    let registry = registry::Registry::wrapped(content, move |_, _| {
        Reply::new("307 Temporary Redirect", &[("Location", &format!("http://{to}/v2/x"))], "")
    });
    let answer = ask(&registry.server.host, trusted(), Credentials::default(), true);
    let (cause, detail) = unknown(answer);
    assert_eq!(cause, Cause::Refused, "{detail}");
    assert!(detail.contains(&storage.host) && detail.contains("private address"), "{detail}");
    assert_eq!(storage.seen().len(), 0);
}

/// Pull secrets count for what their own namespace asks, also of the same image, and also where they were changed for a token.
#[test]
fn pull_secrets_serve_their_own_namespace() {
    let login = format!("u:{SECRET}");
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = site(folder.path(), &login);
    let auth = STANDARD.encode(&login);
    let config = format!("{{\"auths\":{{\"{}\":{{\"auth\":\"{auth}\"}}}}}}", server.host);
    let secrets = Credentials::parse(config.as_bytes()).unwrap();
    let credentials = Credentials::default().with_secrets_of("shop".to_owned(), &secrets);
    let host = HostConfig { insecure: true, ..on_loopback() };
    let registries = Registries::new(settings(&[(&server.host, host)]), credentials, Arc::new(Kept::default()));
    let reference = format!("{}/lab/app:1.0", server.host).parse().unwrap();
    let question = |namespace: &str| Question::new(namespace, &reference, true);
    for namespace in ["other", "shop", "", "other"] {
        let answer = block_on(registries.resolve(&question(namespace)));
        assert_eq!(answer.known().is_some(), namespace == "shop", "{namespace}: {answer:?}");
        let tags = block_on(registries.tags(&Question {
            reference: ImageReference { tag: String::new(), ..question(namespace).reference },
            ..question(namespace)
        }));
        assert_eq!(tags.known().is_some(), namespace == "shop", "{namespace}: {tags:?}");
    }
}
