//! `run`: from a change to its being applied, who may say that there is one, and what becomes of it when it is killed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::cli::{define, site};
use crate::https::{GitServer, push, repository};
use crate::support::{git, manifest_folder, program, run};

/// A `run` that ends with the test.
pub struct Daemon {
    child: Child,
    /// Its log lines.
    lines: Arc<Mutex<Vec<Value>>>,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Daemon {
    pub fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut command = program(folder);
        command.args(["run", "--log", "json"]).args(arguments);
        Self::spawn(command)
    }

    pub fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (log, stderr) = (Arc::clone(&lines), child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                log.lock().unwrap().push(value);
            }
        });
        Self { child, lines }
    }

    pub fn lines(&self) -> Vec<Value> {
        self.lines.lock().unwrap().clone()
    }

    /// Waits for so many lines of that message.
    pub fn wait(&self, message: &str, number: usize) -> Vec<Value> {
        let found = || {
            let mut lines = self.lines();
            lines.retain(|line| line["message"] == message);
            lines
        };
        for _ in 0..2000 {
            if found().len() >= number {
                return found();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("no {number} times `{message}`: {:#?}", self.lines());
    }

    pub fn address(&self) -> String {
        self.wait("listens", 1)[0]["address"].as_str().unwrap().to_owned()
    }

    pub fn signal(&self, name: &str) {
        let signal = match name {
            "TERM" => Signal::TERM,
            "HUP" => Signal::HUP,
            "KILL" => Signal::KILL,
            _ => panic!("signal {name}"),
        };
        let process = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(process, signal).unwrap();
    }

    /// Waits until it has ended by itself.
    pub fn ended(&mut self) -> Option<i32> {
        for _ in 0..2000 {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("it has not ended: {:#?}", self.lines());
    }

    pub fn status_of(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Milliseconds of processor that it has had.
    fn processor(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        // In hundredths of a second (proc(5), utime and stime).
        (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10
    }
}

/// Status and body of an answer.
pub fn ask(address: &str, method: &str, path: &str, headers: &str, body: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    let _ = stream.write_all(&[head.as_bytes(), body].concat());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    (code, answer.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned()))
}

pub fn configure(folder: &Path, text: &str) {
    let path = folder.join("source/streamkeeper.yaml");
    let before = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, format!("{before}{text}\n")).unwrap();
}

pub fn tags(folder: &Path) -> String {
    run(folder, &["get", "istag", "-o", "name", "--store", "source/.streamkeeper"]).1
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all[all.len() / 2]
}

#[test]
fn a_change_of_a_file_is_applied_at_once() {
    let folder = site();
    let folder = folder.path();
    define(folder, "app.yaml", "app", &[("0", "0")]);
    let mut daemon = Daemon::start(folder, &["-s", "source"]);
    daemon.wait("pass", 1);
    let mut times = Vec::new();
    let all: Vec<String> = (0..10).map(|at| at.to_string()).collect();
    let all: Vec<(&str, &str)> = all.iter().map(|tag| (&**tag, &**tag)).collect();
    for at in 1..10 {
        let tag = at.to_string();
        define(folder, "app.yaml", "app", &all[..=at]);
        let since = Instant::now();
        while !tags(folder).contains(&format!("app:{tag}\n")) {
            assert!(since.elapsed() < Duration::from_secs(20), "{:#?}", daemon.lines());
            std::thread::sleep(Duration::from_millis(10));
        }
        times.push(since.elapsed());
    }
    let median = median(times);
    assert!(median < Duration::from_secs(1), "{median:?}");
    // A broken config is told, and the last one counts.
    configure(folder, "nonsense: true");
    define(folder, "app.yaml", "app", &[("0", "0"), ("again", "1")]);
    daemon.wait("the config is broken; the last one counts", 1);
    let since = Instant::now();
    while !tags(folder).contains("app:again\n") {
        assert!(since.elapsed() < Duration::from_secs(20), "{:#?}", daemon.lines());
        std::thread::sleep(Duration::from_millis(10));
    }
    daemon.signal("TERM");
    assert_eq!(daemon.ended(), Some(0));
}

#[test]
fn a_push_is_applied_when_the_source_was_asked_and_at_once_after_a_webhook() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let work = repository(folder);
    let server = GitServer::start(folder, None);
    let secret = "a secret of this test alone";
    std::fs::write(folder.join("secret"), secret).unwrap();
    let config = "run: {listen: {address: '127.0.0.1:0'}, webhooks: [{kind: github, secretFile: secret}, {kind: gitlab, secretFile: secret}]}\n";
    std::fs::write(folder.join("run.yaml"), config).unwrap();
    let url = format!("https://localhost:{}/repo.git", server.port);
    let start = |poll: &str, store: &str| {
        let mut command = program(folder);
        command.args(["run", "--log", "json", "-s", &url, "--store", store, "--config", "run.yaml", "--poll", poll]);
        command.env("SSL_CERT_FILE", &server.certificate);
        Daemon::spawn(command)
    };
    let has = |store: &str, name: &str| {
        run(folder, &["get", "-o", "name", "--store", store]).1.contains(&format!("/{name}\n"))
    };
    let until = |daemon: &Daemon, store: &str, name: &str| {
        let since = Instant::now();
        while !has(store, name) {
            assert!(since.elapsed() < Duration::from_secs(20), "{:#?}", daemon.lines());
            std::thread::sleep(Duration::from_millis(20));
        }
        since.elapsed()
    };
    let polling = start("1s", "polled");
    polling.wait("pass", 1);
    push(&work, "b");
    let took = until(&polling, "polled", "b");
    assert!(took < Duration::from_secs(3), "an interval and a second, on a busy machine: {took:?}");
    drop(polling);
    // Idle: the source is asked, and nothing is fetched.
    let daemon = start("1h", "hooked");
    daemon.wait("pass", 1);
    let address = daemon.address();
    let mut times = Vec::new();
    for name in ["c", "d", "e"] {
        push(&work, name);
        std::thread::sleep(Duration::from_millis(50));
        assert!(!has("hooked", name));
        let (code, body) = ask(&address, "POST", "/webhooks/gitlab", &format!("X-Gitlab-Token: {secret}\r\n"), b"{}");
        assert_eq!(code, 202, "{body}");
        times.push(until(&daemon, "hooked", name));
    }
    let median = median(times);
    assert!(median < Duration::from_secs(2), "{median:?}");
    // Nobody is believed who cannot prove it, and nothing happens however many there are.
    let passes = || daemon.wait("pass", 4).iter().filter(|line| line["cause"] != "due").count();
    let (before_passes, lists) = (passes(), server.seen.lock().unwrap().len());
    let before = (daemon.processor(), daemon.status_of("VmRSS:"));
    let body = vec![b'x'; 1000];
    let mut codes = std::collections::BTreeMap::new();
    for at in 0..10_000 {
        let (path, header) = match at % 4 {
            0 => (
                "/webhooks/github",
                "X-Hub-Signature-256: sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17\r\n",
            ),
            1 => ("/webhooks/gitlab", "X-Gitlab-Token: a secret of this test alonf\r\n"),
            2 => ("/webhooks/gitea", "X-Gitea-Signature: 00\r\n"),
            _ => ("/webhooks/github", ""),
        };
        *codes.entry(ask(&address, "POST", path, header, &body).0).or_insert(0_usize) += 1;
    }
    assert!(codes.keys().all(|code| matches!(code, 403 | 404)), "{codes:?}");
    // Whoever has the secret is heard all the same.
    let (code, body) = ask(&address, "POST", "/webhooks/gitlab", &format!("X-Gitlab-Token: {secret}\r\n"), b"{}");
    assert_eq!(code, 202, "{body}");
    let after = (daemon.processor(), daemon.status_of("VmRSS:"));
    assert!(after.0 - before.0 < 20_000, "{before:?} {after:?}");
    assert!(after.1 < before.1 + 30_000, "{before:?} {after:?} KiB");
    std::thread::sleep(Duration::from_millis(500));
    let looks = server.seen.lock().unwrap().len() - lists;
    assert!(passes() == before_passes && looks <= 3, "one look, for the one who has the secret: {looks}");
    let (code, _) = ask(&address, "POST", "/webhooks/github", "", &vec![b'x'; 3 * 1024 * 1024]);
    assert!(matches!(code, 403 | 0), "{code}");
    drop(daemon);
}

#[test]
fn whoever_asks_is_told() {
    let folder = site();
    let folder = folder.path();
    define(folder, "app.yaml", "app", &[("0", "0"), ("gone", "gone")]);
    std::fs::write(folder.join("source/token"), "a token of this test alone\n").unwrap();
    configure(folder, "run: {listen: {address: '127.0.0.1:0', tokenFile: token}}");
    let daemon = Daemon::start(folder, &["-s", "source"]);
    daemon.wait("pass", 1);
    let address = daemon.address();
    let token = "Authorization: Bearer a token of this test alone\r\n";
    assert_eq!(ask(&address, "GET", "/livez", "", b"").0, 200);
    assert_eq!(ask(&address, "GET", "/readyz", "", b"").0, 200);
    for path in ["/metrics", "/api/v1/status"] {
        assert_eq!(ask(&address, "GET", path, "", b"").0, 401);
        assert_eq!(ask(&address, "GET", path, "Authorization: Bearer wrong\r\n", b"").0, 401);
    }
    let (code, body) = ask(&address, "GET", "/api/v1/status", token, b"");
    assert_eq!(code, 200);
    let status: Value = serde_json::from_str(&body).unwrap();
    let lane = &status["lanes"]["main"];
    assert!(lane["leads"] == true && lane["streams"] == 1 && lane["passes"].as_u64() > Some(0), "{status}");
    assert!(lane["target"].as_str().unwrap().starts_with("store "), "{status}");
    let schema = std::fs::read_to_string(manifest_folder().join("schemas/status.json")).unwrap();
    let schema = jsonschema::validator_for(&serde_json::from_str(&schema).unwrap()).unwrap();
    assert!(schema.is_valid(&status), "{status}");
    let (_, metrics) = ask(&address, "GET", "/metrics", token, b"");
    for line in [
        "streamkeeper_passes_total{lane=\"main\",cause=\"start\",result=\"partial\"} 1",
        "streamkeeper_failed_imports_total{lane=\"main\",reason=\"NotFound\"} 1",
        "streamkeeper_leads{lane=\"main\"} 1",
        "streamkeeper_streams{lane=\"main\"} 1",
        "# EOF",
    ] {
        assert!(metrics.contains(line), "{line} is not in:\n{metrics}");
    }
    let url = format!("http://{address}");
    let (code, _, err) = run(folder, &["status", "--url", &url]);
    assert!(code == 1 && err.contains("--token-file"), "{code} {err}");
    let (code, out, err) = run(folder, &["status", "--url", &url, "--token-file", "source/token"]);
    assert!(
        code == 5 && out.contains("not as it should be") && out.contains("imports refused: 1 NotFound"),
        "{out}{err}"
    );
    let (_, out, _) = run(folder, &["status", "--url", &url, "--token-file", "source/token", "--format", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["lanes"]["main"]["streams"], 1);
    let (code, _, err) = run(folder, &["status", "--url", "http://127.0.0.1:1"]);
    assert!(code == 1 && err.contains("streamkeeper run --listen"), "{err}");
    // Clients that say nothing, however many, keep nobody waiting who comes before they fill the house.
    let silent: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(&address).unwrap()).collect();
    assert_eq!(ask(&address, "GET", "/livez", "", b"").0, 200);
    drop(silent);
    // Asked for by whoever has the token, and by a signal.
    let passes = daemon.wait("pass", 1).len();
    assert_eq!(ask(&address, "POST", "/api/v1/reconcile", "", b"").0, 401);
    assert_eq!(ask(&address, "POST", "/api/v1/reconcile/none", token, b"").0, 404);
    assert_eq!(ask(&address, "POST", "/api/v1/reconcile", token, b"").0, 202);
    daemon.wait("pass", passes + 1);
    daemon.signal("HUP");
    let lines = daemon.wait("pass", passes + 2);
    assert_eq!(lines.last().unwrap()["cause"], "asked");
}

#[test]
fn one_writes_and_another_takes_over_when_it_is_gone() {
    let folder = site();
    let folder = folder.path();
    define(folder, "app.yaml", "app", &[("0", "0")]);
    let first = Daemon::start(folder, &["-s", "source"]);
    first.wait("pass", 1);
    let second = Daemon::start(folder, &["-s", "source"]);
    second.wait("stands by", 1);
    define(folder, "app.yaml", "app", &[("0", "0"), ("1", "1")]);
    first.wait("pass", 2);
    std::thread::sleep(Duration::from_millis(300));
    assert!(second.lines().iter().all(|line| line["message"] != "pass"), "{:#?}", second.lines());
    first.signal("KILL");
    let line = second.wait("pass", 1)[0].clone();
    assert_eq!(line["cause"], "start");
    define(folder, "app.yaml", "app", &[("2", "2")]);
    second.wait("pass", 2);
    let since = Instant::now();
    while tags(folder) != "imagestreamtag.image.openshift.io/app:2\n" {
        assert!(since.elapsed() < Duration::from_secs(20), "{}", tags(folder));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn killed_again_and_again_it_comes_to_the_same_end_and_does_nothing_twice() {
    const KILLS: usize = 100;
    let folder = site();
    let folder = folder.path();
    let mut seed = 7_u64;
    let mut random = |most: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % most
    };
    let mut last = 0;
    for at in 0..KILLS {
        let daemon = Daemon::start(folder, &["-s", "source", "--quiet"]);
        for _ in 0..3 {
            last = random(10);
            for stream in ["a", "b", "c"] {
                let image = last.to_string();
                define(folder, &format!("{stream}.yaml"), stream, &[("live", &image), ("other", "0")]);
            }
            std::thread::sleep(Duration::from_millis(random(40)));
        }
        daemon.signal(if at % 10 == 9 { "TERM" } else { "KILL" });
        drop(daemon);
    }
    let mut daemon = Daemon::start(folder, &["-s", "source"]);
    daemon.wait("pass", 1);
    daemon.signal("TERM");
    assert_eq!(daemon.ended(), Some(0));
    let (code, out, err) = run(folder, &["plan", "--exit-code", "-s", "source"]);
    assert_eq!(code, 0, "{out}{err}");
    for stream in ["a", "b", "c"] {
        let (_, out, _) = run(folder, &["get", "is", stream, "-o", "json", "-s", "source"]);
        let object: Value = serde_json::from_str(&out).unwrap();
        let from = format!("r.example.com/app:{last}");
        assert_eq!(object["spec"]["tags"][0]["from"]["name"], from.as_str());
        for list in object["status"]["tags"].as_array().unwrap() {
            let items: Vec<&Value> = list["items"].as_array().unwrap().iter().map(|item| &item["image"]).collect();
            assert!(items.windows(2).all(|pair| pair[0] != pair[1]), "an image twice in a row: {list}");
        }
        let (_, out, _) = run(folder, &["history", stream, "--format", "json", "--limit", "10000", "-s", "source"]);
        let changes: Vec<Value> = serde_json::from_str(&out).unwrap();
        let moves: Vec<&Value> =
            changes.iter().filter(|change| change["tag"] == "live" && change["after"].is_string()).collect();
        for pair in moves.windows(2) {
            assert_eq!(pair[0]["before"], pair[1]["after"], "each change begins where the one before it ended");
        }
    }
}

#[test]
fn several_sources_on_several_targets_know_nothing_of_each_other() {
    let folder = site();
    let folder = folder.path();
    for (source, name) in [("one", "a"), ("two", "b")] {
        let path = folder.join(source);
        std::fs::create_dir(&path).unwrap();
        std::fs::copy(folder.join("source/streamkeeper.yaml"), path.join("streamkeeper.yaml")).unwrap();
        std::fs::write(path.join("s.yaml"), format!("apiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata: {{name: {name}}}\nspec: {{tags: [{{name: pushed}}]}}\n")).unwrap();
    }
    let config = "run:\n  sources:\n  - {name: one, source: one}\n  - {name: two, source: two}\n  - {name: lost, source: 'https://127.0.0.1:1/none.git'}\n  targets:\n  - {name: prod, target: store, store: stores/prod}\n  - {name: test, target: store, store: stores/test}\n";
    std::fs::write(folder.join("run.yaml"), config).unwrap();
    let mut daemon = Daemon::start(folder, &["--config", "run.yaml"]);
    daemon.wait("pass", 4);
    daemon.wait("pass failed", 2);
    for target in ["prod", "test"] {
        for (source, name) in [("one", "a"), ("two", "b")] {
            let store = format!("stores/{target}/{source}");
            let (_, out, err) = run(folder, &["get", "-o", "name", "--store", &store]);
            assert_eq!(out, format!("imagestream.image.openshift.io/{name}\n"), "{store}: {err}");
        }
    }
    daemon.signal("TERM");
    assert_eq!(daemon.ended(), Some(0));
}

#[test]
fn git_objects_of_a_local_repository_are_watched() {
    let folder = site();
    let folder = folder.path();
    let source = folder.join("source");
    git(&source, &["init", "-q"]);
    define(folder, "app.yaml", "app", &[("0", "0")]);
    let commit = |message: &str| {
        git(&source, &["add", "-A"]);
        git(&source, &["commit", "-qm", message]);
        git(&source, &["rev-parse", "HEAD"])
    };
    commit("first");
    std::fs::copy(source.join("streamkeeper.yaml"), folder.join("source.yaml")).unwrap();
    let text = std::fs::read_to_string(folder.join("source.yaml")).unwrap().replace("../images", "images");
    std::fs::write(folder.join("source.yaml"), text).unwrap();
    let daemon = Daemon::start(folder, &["-s", "source", "--revision", "main", "--config", "source.yaml"]);
    daemon.wait("pass", 1);
    // Not committed: not there.
    define(folder, "app.yaml", "app", &[("0", "0"), ("1", "1")]);
    let second = commit("second");
    let since = Instant::now();
    while !daemon.lines().iter().any(|line| line["revision"] == second.as_str()) {
        assert!(since.elapsed() < Duration::from_secs(20), "{:#?}", daemon.lines());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn somebody_is_told_when_a_trouble_lasts_and_the_url_is_nobody_elses() {
    let folder = site();
    let folder = folder.path();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::fs::write(folder.join("source/hook"), format!("http://{address}/services/hunter2canary\n")).unwrap();
    configure(folder, "run: {notify: [{urlFile: hook, format: slack}], full: 1s}");
    define(folder, "app.yaml", "app", &[("0", "gone")]);
    let daemon = Daemon::start(folder, &["-s", "source"]);
    daemon.wait("pass", 2);
    // Two minutes are too long for a test: what is told after them, and how, is in `daemon/notice.rs`. Here: that a URL that is
    // none is refused, and that nothing of it is said.
    assert!(!format!("{:?}", daemon.lines()).contains("hunter2canary"));
    std::fs::write(folder.join("source/hook"), "ftp://hunter2canary\n").unwrap();
    let (code, out, err) = run(folder, &["run", "-s", "source"]);
    assert!(code == 1 && err.contains("it is no `https` URL"), "{code} {out}{err}");
    assert!(!err.contains("hunter2canary"), "{err}");
}

#[test]
fn tls_is_spoken_where_a_certificate_is_given() {
    let folder = site();
    let folder = folder.path();
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("source/tls.crt"), key.cert.pem()).unwrap();
    std::fs::write(folder.join("source/tls.key"), key.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("source/token"), "a token of this test alone\n").unwrap();
    configure(folder, "run: {listen: {address: '127.0.0.1:0', tokenFile: token, certificate: tls.crt, key: tls.key}}");
    define(folder, "app.yaml", "app", &[("0", "0")]);
    let daemon = Daemon::start(folder, &["-s", "source"]);
    daemon.wait("pass", 1);
    let port = daemon.address().rsplit(':').next().unwrap().to_owned();
    let mut command = program(folder);
    command.args(["status", "--url", &format!("https://localhost:{port}"), "--token-file", "source/token"]);
    let (code, out, err) =
        crate::support::outcome(command.env("SSL_CERT_FILE", folder.join("source/tls.crt")).output().unwrap());
    assert!(code == 0 && out.contains("as it should be"), "{code} {out}{err}");
    // Without TLS nothing is said, and nobody is kept waiting by who does not agree on it.
    let silent = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    assert_eq!(ask(&format!("127.0.0.1:{port}"), "GET", "/livez", "", b"").0, 0);
    let mut command = program(folder);
    command.args(["status", "--url", &format!("https://localhost:{port}"), "--token-file", "source/token"]);
    let since = Instant::now();
    let (code, _, err) =
        crate::support::outcome(command.env("SSL_CERT_FILE", folder.join("source/tls.crt")).output().unwrap());
    assert!(code == 0 && since.elapsed() < Duration::from_secs(3), "{code} {err}");
    drop(silent);
    // Where everybody can reach it, it has to be said how it is kept.
    for listen in ["{address: '0.0.0.0:0'}", "{address: '0.0.0.0:0', tokenFile: token}"] {
        let text = std::fs::read_to_string(folder.join("source/streamkeeper.yaml")).unwrap();
        let text = text.split("run:").next().unwrap();
        std::fs::write(folder.join("other.yaml"), format!("{text}run: {{listen: {listen}}}\n")).unwrap();
        let (code, _, err) = run(folder, &["run", "-s", "source", "--config", "other.yaml"]);
        assert!(code == 3 && err.contains("no loopback address"), "{code} {err}");
    }
}

#[test]
fn a_file_that_is_on_its_way_is_not_taken_for_gone() {
    let folder = site();
    let folder = folder.path();
    define(folder, "app.yaml", "app", &[("0", "0"), ("1", "1")]);
    let daemon = Daemon::start(folder, &["-s", "source"]);
    daemon.wait("pass", 1);
    let path = folder.join("source/app.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    // As a checkout does it, and as an editor that is slow.
    for _ in 0..2 {
        std::fs::remove_file(&path).unwrap();
        std::thread::sleep(Duration::from_millis(700));
        std::fs::write(&path, &text[..text.len() / 2]).unwrap();
        std::thread::sleep(Duration::from_millis(700));
        std::fs::write(&path, &text).unwrap();
        std::thread::sleep(Duration::from_millis(2500));
    }
    let (_, out, _) = run(folder, &["history", "app", "--store", "source/.streamkeeper", "--format", "json"]);
    let changes: Vec<Value> = serde_json::from_str(&out).unwrap();
    assert!(changes.iter().all(|change| !change["action"].as_str().unwrap().starts_with("delete")), "{out}");
    // What is gone for good, goes.
    std::fs::remove_file(&path).unwrap();
    define(folder, "other.yaml", "other", &[("0", "0")]);
    let since = Instant::now();
    while tags(folder).contains("/app:") {
        assert!(since.elapsed() < Duration::from_secs(20), "{:#?}", daemon.lines());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What was changed is a line for each tag, with the images before and after; what is wrong is one line until it changes.
#[test]
fn each_change_is_logged_and_each_fault_once() {
    let folder = site();
    let folder = folder.path();
    define(folder, "app.yaml", "app", &[("0", "0"), ("1", "1"), ("gone", "gone")]);
    std::fs::write(folder.join("source/broken.yaml"), "kind: ImageStream\nmetadata: {name: [}\n").unwrap();
    let daemon = Daemon::start(folder, &["-s", "source"]);
    let lines = daemon.wait("changed", 3);
    let moved: Vec<&Value> = lines.iter().filter(|line| line["to"].as_str().is_some_and(|to| to.len() == 71)).collect();
    assert_eq!(moved.len(), 2, "{lines:?}");
    for line in &moved {
        assert_eq!(
            (&line["level"], &line["reconciler"], &line["stream"]),
            (&"INFO".into(), &"main".into(), &"default/app".into())
        );
        assert!(line["from"] == "none" && line["cause"] == "new" && line["commit"] == "none", "{line}");
    }
    let faults = daemon.wait("finding", 1);
    assert_eq!((&faults[0]["level"], &faults[0]["file"]), (&"ERROR".into(), &"broken.yaml".into()), "{faults:?}");
    assert!(faults[0]["line"] == 2 && faults[0]["text"].as_str().unwrap().contains("not valid YAML"), "{faults:?}");
    // More passes find the same: nothing is said again.
    for version in ["2", "3"] {
        let before = daemon.wait("changed", 1).len();
        define(folder, "app.yaml", "app", &[("0", "0"), ("1", version), ("gone", "gone")]);
        daemon.wait("changed", before + 1);
    }
    assert_eq!(daemon.wait("finding", 1).len(), 1);
    let blocked = daemon.wait("blocked", 1);
    assert_eq!(blocked.len(), 1, "{blocked:?}");
    assert!(
        blocked[0]["level"] == "WARN" && blocked[0]["text"].as_str().unwrap().contains("image not found"),
        "{blocked:?}"
    );
    // Another fault is another line.
    std::fs::write(folder.join("source/broken.yaml"), "\n\nkind: ImageStream\nmetadata: {name: [}\n").unwrap();
    let faults = daemon.wait("finding", 2);
    assert_eq!(faults[1]["line"], 4, "{faults:?}");
}
