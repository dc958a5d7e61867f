//! `run`: whom it tells of what, and what it makes of a source or a config that is not as it should be.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cli::{define, site};
use crate::daemon::{Daemon, ask, configure, tags};
use crate::https::{GitServer, push, repository};
use crate::sim::server::{Reply, Request, Server};
use crate::support::{git, program, run};

fn until(daemon: &Daemon, what: impl Fn() -> bool) -> Duration {
    let since = Instant::now();
    while !what() {
        assert!(since.elapsed() < Duration::from_secs(30), "{:#?}", daemon.lines());
        std::thread::sleep(Duration::from_millis(20));
    }
    since.elapsed()
}

fn bodies(server: &Server) -> Vec<Value> {
    server.seen().iter().map(|request| serde_json::from_str(&request.body).unwrap()).collect()
}

fn lane(address: &str) -> Value {
    let (code, body) = ask(address, "GET", "/api/v1/status", "", b"");
    assert_eq!(code, 200, "{body}");
    let status: Value = serde_json::from_str(&body).unwrap();
    status["lanes"]["main"].clone()
}

#[test]
fn trouble_that_lasts_is_told_once_and_so_is_that_it_is_over() {
    let folder = site();
    let folder = folder.path();
    let (slack, own) = (
        Server::start(|_| Reply::new("200 OK", &[], "ok")),
        Server::start({
            // Not at once: it is tried again.
            let tries = std::sync::atomic::AtomicUsize::new(0);
            move |_: &Request| match tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
                0 => Reply::new("503 Service Unavailable", &[], ""),
                _ => Reply::new("204 No Content", &[], ""),
            }
        }),
    );
    for (name, server) in [("slack", &slack), ("own", &own)] {
        std::fs::write(folder.join("source").join(name), format!("http://{}/hunter2canary\n", server.host)).unwrap();
    }
    let template = r#"{"msg": "{{lane}} {{state}}: {{title}}", "more": ["{{lines}}"]}"#;
    let config = format!(
        "run: {{full: 1s, notifyAfter: 2s, notify: [{{urlFile: slack, format: slack}}, {{urlFile: own, format: json, template: '{template}'}}]}}"
    );
    configure(folder, &config);
    define(folder, "app.yaml", "app", &[("0", "<!channel>")]);
    let daemon = Daemon::start(folder, &["-s", "source"]);
    until(&daemon, || !slack.seen().is_empty() && own.seen().len() == 2);
    // Told once, however many passes come.
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!((slack.seen().len(), own.seen().len()), (1, 2));
    let text = bodies(&slack)[0]["text"].as_str().unwrap().to_owned();
    assert!(text.starts_with(":warning: main is not as it should be"), "{text}");
    assert!(!text.contains('<') && text.contains("errors"), "{text}");
    let told = bodies(&own)[1].clone();
    assert!(told["msg"].as_str().unwrap().starts_with("main failing: main is not as it should be"), "{told}");
    assert!(told["more"][0].as_str().unwrap().contains("the definitions have"), "{told}");
    define(folder, "app.yaml", "app", &[("0", "0")]);
    until(&daemon, || slack.seen().len() == 2);
    assert!(bodies(&slack)[1]["text"].as_str().unwrap().starts_with(":white_check_mark:"), "{:?}", bodies(&slack));
    assert!(!format!("{:?}", daemon.lines()).contains("hunter2canary"));
}

#[test]
fn the_host_of_a_source_is_told_how_far_a_commit_has_come() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::create_dir(folder.join("acme")).unwrap();
    let work = repository(&folder.join("acme"));
    let source = GitServer::start(folder, None);
    let host = Server::start(|_| Reply::new("201 Created", &[], "{}"));
    std::fs::write(folder.join("token"), "hunter2canary\n").unwrap();
    let config = format!(
        "run: {{poll: 1s, full: 1s, notifyAfter: 1s, commitStatuses: [{{kind: github, host: 'localhost:{}', api: 'http://{}', tokenFile: token}}, {{kind: gitlab, host: elsewhere.example.com, tokenFile: token}}]}}\n",
        source.port, host.host
    );
    std::fs::write(folder.join("run.yaml"), config).unwrap();
    let url = format!("https://localhost:{}/acme/repo.git", source.port);
    let mut command = program(folder);
    command.args(["run", "--log", "json", "-s", &url, "--store", "store", "--config", "run.yaml"]);
    command.env("SSL_CERT_FILE", &source.certificate);
    let daemon = Daemon::spawn(command);
    until(&daemon, || !host.seen().is_empty());
    let request = host.seen()[0].clone();
    let commit = git(&work, &["rev-parse", "HEAD"]);
    assert_eq!(
        (request.method.as_str(), request.path.clone()),
        ("POST", format!("/repos/acme/repo/statuses/{commit}"))
    );
    assert_eq!(request.header("authorization"), Some("Bearer hunter2canary"));
    let body: Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(
        body,
        json!({"state": "success", "context": "streamkeeper/main", "description": "1 image streams are as they should be"})
    );
    // A broken commit; nothing is told twice.
    std::fs::write(work.join("b.yaml"), "kind: ImageStream\napiVersion: image.openshift.io/v1\nmetadata: {name: 7}\n")
        .unwrap();
    push(&work, "c");
    let commit = git(&work, &["rev-parse", "HEAD"]);
    until(&daemon, || host.seen().len() > 1);
    std::thread::sleep(Duration::from_millis(2500));
    let last = host.seen().last().unwrap().clone();
    assert!(last.path.ends_with(&commit) && last.body.contains("errors in the definitions"), "{last:?}");
    let states: Vec<Value> = bodies(&host).iter().map(|body| body["state"].clone()).collect();
    assert!(states.len() <= 3 && states.last().unwrap() == "failure", "{states:?}");
    assert!(!format!("{:?}", daemon.lines()).contains("hunter2canary"));
}

#[test]
fn a_config_that_breaks_is_told_and_the_last_one_counts() {
    let folder = site();
    let folder = folder.path();
    define(folder, "app.yaml", "app", &[("0", "0")]);
    let daemon = Daemon::start(folder, &["-s", "source", "--listen", "127.0.0.1:0"]);
    daemon.wait("pass", 1);
    let address = daemon.address();
    until(&daemon, || lane(&address)["lastPass"]["configError"].is_null() && !lane(&address)["lastSuccess"].is_null());
    let good = std::fs::read_to_string(folder.join("source/streamkeeper.yaml")).unwrap();
    std::fs::write(folder.join("source/streamkeeper.yaml"), format!("{good}polcy: {{}}\n")).unwrap();
    until(&daemon, || lane(&address)["lastPass"]["configError"].as_str().is_some_and(|why| why.contains("polcy")));
    assert!(!lane(&address)["failingSince"].is_null());
    // It goes on with the last one.
    define(folder, "app.yaml", "app", &[("0", "0"), ("1", "1")]);
    until(&daemon, || tags(folder).contains("app:1"));
    let (code, out, err) = run(folder, &["status", "--url", &format!("http://{address}")]);
    assert!(code == 5 && format!("{out}{err}").contains("the config is broken"), "{code} {out}{err}");
    std::fs::write(folder.join("source/streamkeeper.yaml"), good).unwrap();
    until(&daemon, || lane(&address)["failingSince"].is_null());
}

#[test]
fn a_source_that_is_silent_keeps_nobody_from_leaving() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // It takes connections, and says nothing.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/acme/repo.git", listener.local_addr().unwrap());
    let silent = std::thread::spawn(move || listener.incoming().take(8).map_while(Result::ok).collect::<Vec<_>>());
    let mut daemon = Daemon::start(folder, &["-s", &url, "--store", "store", "--listen", "127.0.0.1:0"]);
    let address = daemon.address();
    until(&daemon, || lane(&address)["busy"] == true);
    std::thread::sleep(Duration::from_millis(300));
    let since = Instant::now();
    daemon.signal("TERM");
    assert_eq!(daemon.ended(), Some(0), "{:#?}", daemon.lines());
    assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
    drop(silent);
}

#[test]
fn a_link_that_leads_elsewhere_a_folder_that_is_replaced_and_a_config_outside_are_noticed() {
    let folder = site();
    let folder = folder.path();
    define(folder, "app.yaml", "app", &[("0", "0")]);
    // As git-sync does it: a link that is swapped.
    std::fs::rename(folder.join("source"), folder.join("first")).unwrap();
    std::fs::rename(folder.join("first/streamkeeper.yaml"), folder.join("config.yaml")).unwrap();
    let config = std::fs::read_to_string(folder.join("config.yaml")).unwrap().replace("../images", "images");
    std::fs::write(folder.join("config.yaml"), &config).unwrap();
    copy(&folder.join("first"), &folder.join("second"));
    let text = std::fs::read_to_string(folder.join("second/app.yaml")).unwrap();
    std::fs::write(folder.join("second/app.yaml"), text.replace("name: \"0\"", "name: \"9\"")).unwrap();
    std::os::unix::fs::symlink("first", folder.join("source")).unwrap();
    let arguments = ["-s", "source", "--config", "config.yaml", "--store", "store", "--max-removals", "9"];
    let daemon = Daemon::start(folder, &arguments);
    let tags = || run(folder, &["get", "istag", "-o", "name", "--store", "store"]).1;
    until(&daemon, || tags().contains("app:0"));
    std::os::unix::fs::symlink("second", folder.join("next")).unwrap();
    std::fs::rename(folder.join("next"), folder.join("source")).unwrap();
    until(&daemon, || tags().contains("app:9"));
    // A folder in its place.
    std::fs::remove_file(folder.join("source")).unwrap();
    copy(&folder.join("first"), &folder.join("source"));
    until(&daemon, || tags().contains("app:0") && !tags().contains("app:9"));
    // And in that one, what changes is noticed at once.
    define(folder, "b.yaml", "b", &[("0", "0")]);
    until(&daemon, || tags().contains("b:0"));
    let passes = daemon.wait("pass", 1).len();
    std::fs::write(folder.join("config.yaml"), format!("{config}exclude: ['b.yaml']\n")).unwrap();
    daemon.wait("pass", passes + 1);
    until(&daemon, || daemon.lines().iter().any(|line| line["cause"] == "config"));
}

#[test]
fn a_store_inside_of_the_source_is_no_change_of_it() {
    let folder = site();
    let folder = folder.path();
    define(folder, "app.yaml", "app", &[("0", "0")]);
    let daemon = Daemon::start(folder, &["-s", "source", "--store", "source/kept"]);
    daemon.wait("pass", 2);
    std::thread::sleep(Duration::from_secs(3));
    let passes = daemon.wait("pass", 2).len();
    assert!(passes <= 3, "one to do it, one to see that it is done: {:#?}", daemon.lines());
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[cfg(feature = "otlp")]
#[test]
fn traces_go_to_whoever_collects_them() {
    let folder = site();
    let folder = folder.path();
    define(folder, "app.yaml", "app", &[("0", "0")]);
    let collector = Server::start(|_| Reply::new("200 OK", &[("Content-Type", "application/x-protobuf")], ""));
    let mut command = program(folder);
    command.args(["run", "--log", "json", "-s", "source"]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", collector.host));
    let mut daemon = Daemon::spawn(command);
    daemon.wait("pass", 1);
    daemon.signal("TERM");
    assert_eq!(daemon.ended(), Some(0));
    let seen = collector.seen();
    assert!(!seen.is_empty(), "what is left is sent at the end: {:#?}", daemon.lines());
    assert!(seen.iter().all(|request| request.path == "/v1/traces"), "{seen:?}");
    let sent: String = seen.iter().map(|request| request.body.as_str()).collect();
    for name in ["pass", "open", "plan", "apply", "streamkeeper", "cause"] {
        assert!(sent.contains(name), "{name}: {sent}");
    }
    // Log lines do not carry them.
    assert!(daemon.lines().iter().all(|line| line["span"].is_null()), "{:#?}", daemon.lines());
}
