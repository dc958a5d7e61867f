//! Registries: the real one, and one that lies.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use streamkeeper::adapters::registry::{ContentCache, Credentials, HostConfig, Registries};
use streamkeeper::model::{Cause, Digest, ImageReference, Observed, Question, Resolution};
use streamkeeper::ports::Registry;

use crate::real_registry::RealRegistry;
use crate::support::{digest, outcome, program, run};

/// Remembers nothing but how often it was asked to.
#[derive(Default)]
struct Kept(Mutex<BTreeMap<Digest, (String, Vec<u8>)>>);

impl ContentCache for Kept {
    fn get(&self, digest: &Digest) -> Option<(String, Vec<u8>)> {
        self.0.lock().unwrap().get(digest).cloned()
    }

    fn put(&self, digest: &Digest, media_type: &str, bytes: &[u8]) {
        self.0.lock().unwrap().insert(digest.clone(), (media_type.to_owned(), bytes.to_vec()));
    }
}

fn question(reference: &str, insecure: bool) -> Question {
    let reference: ImageReference = reference.parse().unwrap();
    Question { reference: reference.with_defaults(), insecure }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(future)
}

fn docker_config(folder: &Path, host: &str, login: &str) {
    let (user, password) = login.split_once(':').unwrap();
    let text = format!("{{\"auths\": {{\"{host}\": {{\"username\": \"{user}\", \"password\": \"{password}\"}}}}}}");
    std::fs::write(folder.join("config.json"), text).unwrap();
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
    assert_eq!(code, 0, "the same failure again is nothing to write: {out}");
    assert!(out.contains("not found"), "{out}");
    registry.tag("lab/app", "later", &arm64.0);
    let (code, out, err) = run(folder.path(), &["apply", "-s", "source", "--yes"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(err.contains("failed since"), "{err}");
    // The whole repository.
    let text = format!(
        "apiVersion: v1\nkind: ImageStream\nmetadata: {{name: all}}\nspec: {{dockerImageRepository: {host}/lab/app}}\n"
    );
    std::fs::write(source.join("all.yaml"), text).unwrap();
    std::fs::write(source.join("streamkeeper.yaml"), format!("registries: [{{host: '{host}', insecure: true}}]\n"))
        .unwrap();
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
fn a_real_registry_with_passwords() {
    let folder = tempfile::tempdir().unwrap();
    // bcrypt of `hunter2canary`.
    let hash = "u:$2y$05$abcdefghijklmnopqrstuu/h2wT4t1aFcidLXK8hCq0SLPGXeW5GO\n";
    std::fs::write(folder.path().join("htpasswd"), hash).unwrap();
    let more = format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", folder.path().join("htpasswd").display());
    let Some(registry) = RealRegistry::start(folder.path(), &more) else { return };
    let (image, _) = registry.image("lab/app", "amd64", "a");
    registry.tag("lab/app", "1.0", &image);
    let host = &registry.host;
    let ask = |credentials: Credentials, trusted: bool| {
        let config = HostConfig { insecure: trusted, insecure_by_config: trusted, ..HostConfig::default() };
        let registries =
            Registries::new([(host.clone(), config)].into(), credentials, Arc::new(Kept::default())).unwrap();
        registries_resolve(&registries, &question(&format!("{host}/lab/app:1.0"), true))
    };
    let unauthorized = |answer: Observed<Resolution>| matches!(answer, Observed::Unknown(ignorance) if ignorance.cause == Cause::Unauthorized);
    assert!(unauthorized(ask(Credentials::default(), true)), "no login");
    docker_config(folder.path(), host, "u:wrong");
    let wrong = Credentials::from_docker_config(&folder.path().join("config.json")).unwrap();
    assert!(unauthorized(ask(wrong, true)), "a wrong login is told as such");
    docker_config(folder.path(), host, "u:hunter2canary");
    let right = || Credentials::from_docker_config(&folder.path().join("config.json")).unwrap();
    assert_eq!(ask(right(), true).known().map(|it| it.digest.to_string()), Some(image));
    assert!(unauthorized(ask(right(), false)), "over a connection that nobody verified no login travels");
}

fn registries_resolve(registries: &Registries, question: &Question) -> Observed<Resolution> {
    block_on(registries.resolve(question))
}

/// A registry that answers what it is told to, on plain http, and writes down what it was asked.
struct Liar {
    host: String,
    seen: Arc<Mutex<Vec<String>>>,
}

type Answer = Box<dyn Fn(&str, &str) -> String + Send + Sync>;

impl Liar {
    /// `answer` gets the request line and the head, and gives the whole answer.
    fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming().take(400) {
                let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
                std::thread::spawn(move || serve(stream.unwrap(), &answer, &log));
            }
        });
        Self { host, seen }
    }

    fn seen(&self) -> String {
        self.seen.lock().unwrap().join("\n")
    }
}

fn serve(mut stream: TcpStream, answer: &Answer, log: &Mutex<Vec<String>>) {
    stream.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            // A TLS handshake is no HTTP: hang up, as a plain registry does.
            Ok(1) if head.is_empty() && byte[0] == 0x16 => return,
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    log.lock().unwrap().push(head.clone());
    let line = head.lines().next().unwrap_or_default().to_owned();
    let _ = stream.write_all(answer(&line, &head).as_bytes());
}

fn reply(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n{body}", body.len())
}

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

fn manifest() -> String {
    let config = format!("sha256:{}", "c".repeat(64));
    format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{IMAGE}\",\"config\":{{\"mediaType\":\"x\",\"digest\":\"{config}\",\"size\":1}},\"layers\":[]}}"
    )
}

fn resolve(liar: &Liar, reference: &str) -> Observed<Resolution> {
    let registries = Registries::new(BTreeMap::new(), Credentials::default(), Arc::new(Kept::default())).unwrap();
    registries_resolve(&registries, &question(&format!("{}/{reference}", liar.host), true))
}

fn unknown(answer: Observed<Resolution>) -> (Cause, String) {
    match answer {
        Observed::Unknown(ignorance) => (ignorance.cause, ignorance.detail),
        other => panic!("{other:?}"),
    }
}

#[test]
fn wrong_digests_sizes_and_types_are_refused() {
    let good = digest(manifest().as_bytes());
    let other = format!("sha256:{}", "d".repeat(64));
    let serve_as = |headers: String, body: String| {
        Liar::start(Box::new(move |line, _| {
            let head_only = line.starts_with("HEAD");
            reply("200 OK", &headers, if head_only { "" } else { &body })
        }))
    };
    let liar = serve_as(format!("Content-Type: {IMAGE}\r\nDocker-Content-Digest: {good}\r\n"), manifest());
    assert_eq!(resolve(&liar, "a:1").known().map(|it| it.digest.to_string()), Some(good.clone()));
    let table = [
        (
            format!("Content-Type: {IMAGE}\r\nDocker-Content-Digest: {other}\r\n"),
            manifest(),
            "a:1",
            "asked for sha256:dddd",
        ),
        (format!("Content-Type: {IMAGE}\r\n"), manifest(), &*format!("a@{other}"), "asked for sha256:dddd"),
        ("Content-Type: text/html\r\n".to_owned(), "<html>log in</html>".to_owned(), "a:1", "cannot be read"),
        (
            "Content-Type: application/vnd.docker.distribution.manifest.v2+json\r\n".to_owned(),
            manifest(),
            "a:1",
            "says it is something else",
        ),
        (format!("Content-Type: {IMAGE}\r\n"), "x".repeat(5 * 1024 * 1024), "a:1", "larger than"),
    ];
    for (headers, body, reference, expected) in table {
        let (cause, detail) = unknown(resolve(&serve_as(headers, body), reference));
        assert_eq!(cause, Cause::BadAnswer, "{detail}");
        assert!(detail.contains(expected), "{detail}");
    }
}

#[test]
fn only_a_registrys_own_no_is_a_no() {
    let not_found = |body: &'static str| Liar::start(Box::new(move |_, _| reply("404 Not Found", "", body)));
    let no = not_found("{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\",\"message\":\"no\"}]}");
    assert_eq!(resolve(&no, "a:1"), Observed::Absent);
    for body in ["", "<html>nothing here</html>", "{\"errors\":[{\"code\":\"DENIED\"}]}"] {
        assert_eq!(unknown(resolve(&not_found(body), "a:1")).0, Cause::BadAnswer, "{body:?}");
    }
    for (status, cause) in
        [("403 Forbidden", Cause::Forbidden), ("500 Oops", Cause::ServerError), ("401 No", Cause::Unauthorized)]
    {
        let liar = Liar::start(Box::new(move |_, _| reply(status, "Retry-After: 99\r\n", "")));
        assert_eq!(unknown(resolve(&liar, "a:1")).0, cause);
    }
    let limited = Liar::start(Box::new(|_, _| reply("429 Slow down", "Retry-After: 3600\r\n", "")));
    assert_eq!(unknown(resolve(&limited, "a:1")).0, Cause::RateLimited);
    assert_eq!(limited.seen().matches("HTTP/1.1").count(), 1, "told to wait an hour, it is not asked again");
}

#[test]
fn a_login_goes_to_its_host_only_and_never_unverified() {
    let secret = "hunter2canary";
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = Liar::start(Box::new(|_, _| {
        reply("200 OK", "Content-Type: application/json\r\n", "{\"token\":\"t\",\"expires_in\":18446744073709551615}")
    }));
    let realm = elsewhere.host.clone();
    let body = manifest();
    let liar = Liar::start(Box::new(move |line, head| {
        if head.to_ascii_lowercase().contains("authorization: bearer t") {
            return reply(
                "200 OK",
                &format!("Content-Type: {IMAGE}\r\n"),
                if line.starts_with("HEAD") { "" } else { &body },
            );
        }
        reply("401 No", &format!("WWW-Authenticate: Bearer realm=\"http://{realm}/token\",service=\"s\"\r\n"), "")
    }));
    docker_config(folder.path(), &liar.host, &format!("u:{secret}"));
    let credentials = || Credentials::from_docker_config(&folder.path().join("config.json")).unwrap();
    let ask = |trusted: bool, token_service: Option<String>| {
        let config =
            HostConfig { insecure: trusted, insecure_by_config: trusted, token_service, ..HostConfig::default() };
        let registries =
            Registries::new([(liar.host.clone(), config)].into(), credentials(), Arc::new(Kept::default())).unwrap();
        registries_resolve(&registries, &question(&format!("{}/a:1", liar.host), true))
    };
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("u:{secret}"));
    let leaked = |liar: &Liar| liar.seen().contains(&encoded) || liar.seen().contains(secret);
    // The token's life is longer than the universe's: that must not end the process.
    assert!(ask(false, None).known().is_some());
    assert!(!leaked(&liar) && !leaked(&elsewhere), "a definition's `insecure` sends no login");
    assert!(ask(true, None).known().is_some());
    assert!(!leaked(&elsewhere), "a challenge that names another host gets no login");
    assert!(ask(true, Some(elsewhere.host.clone())).known().is_some());
    assert!(leaked(&elsewhere), "unless the config names that host");
    // Basic, asked for over plain http by whoever answers there.
    let basic = Liar::start(Box::new(|_, _| reply("401 No", "WWW-Authenticate: Basic realm=\"x\"\r\n", "")));
    docker_config(folder.path(), &basic.host, &format!("u:{secret}"));
    let registries = Registries::new(BTreeMap::new(), credentials(), Arc::new(Kept::default())).unwrap();
    assert_eq!(
        unknown(registries_resolve(&registries, &question(&format!("{}/a:1", basic.host), true))).0,
        Cause::Unauthorized
    );
    assert!(!leaked(&basic));
}

#[test]
fn listings_are_whole_or_unknown() {
    let registries = || Registries::new(BTreeMap::new(), Credentials::default(), Arc::new(Kept::default())).unwrap();
    let tags = |liar: &Liar| block_on(registries().tags(&question(&format!("{}/a", liar.host), true)));
    let pages = Liar::start(Box::new(|line, _| {
        let link = if line.contains("last=2") { "" } else { "Link: </v2/a/tags/list?last=2>; rel=\"next\"\r\n" };
        reply(
            "200 OK",
            link,
            if line.contains("last=2") { "{\"tags\":[\"3\",\"../../x\"]}" } else { "{\"tags\":[\"1\",\"2\"]}" },
        )
    }));
    assert_eq!(
        tags(&pages),
        Observed::Known(vec!["1".to_owned(), "2".to_owned(), "3".to_owned()]),
        "what is no tag is left out"
    );
    let circle = Liar::start(Box::new(|line, _| {
        let next = if line.contains("last=b") { "c" } else { "b" };
        reply("200 OK", &format!("Link: </v2/a/tags/list?last={next}>; rel=\"next\"\r\n"), "{\"tags\":[\"1\"]}")
    }));
    assert!(matches!(tags(&circle), Observed::Unknown(ignorance) if ignorance.detail.contains("circle")));
    let away = Liar::start(Box::new(|_, _| {
        reply("200 OK", "Link: <http://127.0.0.1:1/v2/a/tags/list?last=2>; rel=\"next\"\r\n", "{\"tags\":[\"1\"]}")
    }));
    assert!(matches!(tags(&away), Observed::Unknown(ignorance) if ignorance.detail.contains("another host")));
    let cut = Liar::start(Box::new(|line, _| {
        if line.contains("last") {
            reply("500 Oops", "Retry-After: 99\r\n", "")
        } else {
            reply("200 OK", "Link: </v2/a/tags/list?last=2>; rel=\"next\"\r\n", "{\"tags\":[\"1\"]}")
        }
    }));
    assert!(matches!(tags(&cut), Observed::Unknown(ignorance) if ignorance.cause == Cause::ServerError));
}

#[test]
fn each_question_is_asked_once() {
    let body = manifest();
    let liar = Liar::start(Box::new(move |line, _| {
        reply(
            "200 OK",
            &format!("Content-Type: {IMAGE}\r\nDocker-Content-Digest: {}\r\n", digest(body.as_bytes())),
            if line.starts_with("HEAD") { "" } else { &body },
        )
    }));
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("source")).unwrap();
    let mut text = String::new();
    for stream in 0..20 {
        text += &format!(
            "---\napiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata: {{name: s{stream}}}\nspec:\n  tags:\n    - name: a\n      from: {{kind: DockerImage, name: '{h}/app:1'}}\n      importPolicy: {{insecure: true}}\n    - name: b\n      from: {{kind: DockerImage, name: '{h}/app:1'}}\n      importPolicy: {{insecure: true}}\n",
            h = liar.host
        );
    }
    std::fs::write(folder.path().join("source/s.yaml"), text).unwrap();
    let output = program(folder.path()).args(["apply", "-s", "source", "--yes", "-q"]).output().unwrap();
    let (code, out, err) = outcome(output);
    assert_eq!(code, 0, "{out}{err}");
    let seen = liar.seen();
    assert_eq!(
        (seen.matches("HEAD ").count(), seen.matches("GET /v2/app/manifests").count(), seen.matches("GET ").count()),
        (1, 1, 2),
        "forty tags, one question, and the image's configuration:\n{seen}"
    );
    let (code, ..) =
        outcome(program(folder.path()).args(["apply", "-s", "source", "--yes", "-q", "--refresh"]).output().unwrap());
    assert_eq!(code, 0);
    assert_eq!(liar.seen().matches("GET /v2/app/manifests").count(), 1, "a digest that is known is not fetched again");
}
