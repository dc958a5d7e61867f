//! How much is asked of registries, and when: each question once, quotas kept before they are spent, hosts that are down left
//! alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use streamkeeper::adapters::registry::{Credentials, HostConfig, Registries};
use streamkeeper::model::{Cause, Observed, Resolution};
use streamkeeper::ports::Registry as _;

use crate::registry::{Kept, allow, block_on, on_loopback, question, settings, stream};
use crate::sim::registry::{Content, Registry};
use crate::sim::server::{Reply, Server};
use crate::support::run;

fn tags(count: usize) -> Content {
    let mut content = Content::default();
    for tag in 0..count {
        let image = content.image("lab/app", "amd64", &tag.to_string());
        content.tag("lab/app", &format!("t{tag}"), &image);
    }
    content
}

/// Asks for so many tags at once, as a pass does, and gives the causes of those without an answer.
fn pass(host: &str, kept: &Arc<Kept>, config: HostConfig, count: usize, person_waits: bool) -> BTreeMap<Cause, usize> {
    let settings = streamkeeper::adapters::registry::Settings { person_waits, ..settings(&[(host, config)]) };
    let registries = Registries::new(settings, Credentials::default(), Arc::<Kept>::clone(kept));
    let mut causes = BTreeMap::new();
    block_on(async {
        let registries = Arc::new(registries);
        let mut asked = tokio::task::JoinSet::new();
        for tag in 0..count {
            let (registries, question) = (Arc::clone(&registries), question(&format!("{host}/lab/app:t{tag}"), true));
            asked.spawn(async move { registries.resolve(&question).await });
        }
        while let Some(answer) = asked.join_next().await {
            let answer: Observed<Resolution> = answer.unwrap();
            if let Observed::Unknown(ignorance) = answer {
                *causes.entry(ignorance.cause).or_insert(0) += 1;
            }
        }
    });
    causes
}

/// How often each path was asked for, at most.
fn most_often(server: &Server) -> usize {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for request in server.seen() {
        *counts.entry(format!("{} {}", request.method, request.path)).or_default() += 1;
    }
    counts.into_values().max().unwrap_or(0)
}

#[test]
fn five_hundred_streams_with_one_upstream_tag_are_one_question() {
    let registry = Registry::start(tags(1));
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    std::fs::create_dir(&source).unwrap();
    allow(&source, &[&registry.server.host], "");
    let from = format!("{}/lab/app:t0", registry.server.host);
    let text: String = (0..500).map(|at| stream(&format!("s{at}"), &[("a", &from), ("b", &from)], "")).collect();
    std::fs::write(source.join("s.yaml"), text).unwrap();
    let (code, out, err) = run(folder.path(), &["apply", "-s", "source", "--yes"]);
    assert_eq!(code, 0, "{out}{err}");
    let server = &registry.server;
    assert_eq!((server.count("HEAD "), server.count("GET /v2/lab/app/manifests"), server.count("GET ")), (1, 1, 2));
    assert!(err.contains("registries: 1 asked, 0 answered from cache, 1 charged, 0 refused"), "{err}");
    server.forget();
    let (code, out, err) = run(folder.path(), &["plan", "-s", "source", "--refresh", "--exit-code"]);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(server.seen().len(), 1, "one HEAD for a thousand tags, and nothing is fetched");
    assert!(err.contains("registries: 1 asked, 1 answered from cache, 0 charged, 0 refused, 1 requests"), "{err}");
}

#[test]
fn a_warm_look_fetches_nothing() {
    let registry = Registry::start(tags(50));
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    std::fs::create_dir(&source).unwrap();
    allow(&source, &[&registry.server.host], "");
    let froms: Vec<String> = (0..50).map(|at| format!("{}/lab/app:t{at}", registry.server.host)).collect();
    let names: Vec<String> = (0..50).map(|at| format!("t{at}")).collect();
    let all: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(froms.iter().map(String::as_str)).collect();
    std::fs::write(source.join("s.yaml"), stream("s", &all, "")).unwrap();
    assert_eq!(run(folder.path(), &["apply", "-s", "source", "--yes", "-q"]).0, 0);
    registry.server.forget();
    assert_eq!(run(folder.path(), &["plan", "-s", "source", "--refresh", "--exit-code", "-q"]).0, 0);
    assert_eq!((registry.server.count("HEAD "), registry.server.count("GET ")), (50, 0));
    // One moves: one is fetched.
    let mut content = registry.content.lock().unwrap();
    let image = content.image("lab/app", "amd64", "new");
    content.tag("lab/app", "t7", &image);
    drop(content);
    registry.server.forget();
    assert_eq!(run(folder.path(), &["plan", "-s", "source", "--refresh", "--exit-code", "-q"]).0, 2);
    assert_eq!((registry.server.count("HEAD "), registry.server.count("GET /v2/lab/app/manifests")), (50, 1));
}

#[test]
fn a_quota_that_is_told_is_never_spent() {
    let registry = Registry::limited(tags(200), 100, true, "");
    let (host, kept) = (&registry.server.host, Arc::<Kept>::default());
    let causes = pass(host, &kept, on_loopback(), 200, false);
    let asked = registry.server.seen().len();
    assert!((80..=90).contains(&asked), "{asked}: a tenth is kept back");
    assert_eq!(causes.get(&Cause::RateLimited), Some(&(200 - asked)), "{causes:?}");
    assert_eq!(registry.server.count("HEAD "), asked, "and no 429 was needed");
    // The next pass knows it before it asks, in another process as well.
    registry.server.forget();
    let causes = pass(host, &kept, on_loopback(), 200, false);
    assert_eq!((causes.get(&Cause::RateLimited), registry.server.seen().len()), (Some(&200), 0));
    assert!(kept.pauses.lock().unwrap()[host] > jiff::Timestamp::now());
    // What is kept back is for people.
    kept.pauses.lock().unwrap().clear();
    let causes = pass(host, &kept, on_loopback(), 5, true);
    assert!(causes.is_empty(), "{causes:?}");
}

#[test]
fn without_a_warning_each_question_is_asked_at_most_twice() {
    // Beside one another: each waits for as long as it is told to.
    std::thread::scope(|scope| {
        for retry_after in ["3600", "1", ""] {
            scope.spawn(move || asked_at_most_twice(retry_after));
        }
    });
}

fn asked_at_most_twice(retry_after: &'static str) {
    let registry = Registry::limited(tags(60), 20, false, retry_after);
    let (host, kept) = (&registry.server.host, Arc::<Kept>::default());
    let started = Instant::now();
    let causes = pass(host, &kept, on_loopback(), 60, false);
    assert_eq!(causes.get(&Cause::RateLimited), Some(&40), "{retry_after}: {causes:?}");
    assert!(most_often(&registry.server) <= 2, "{retry_after}");
    let refused = registry.server.seen().len() - 20;
    assert!(refused <= 24, "{retry_after}: {refused} were answered 429");
    assert!(started.elapsed() < Duration::from_secs(40), "{retry_after}: {:?}", started.elapsed());
    if retry_after == "3600" {
        assert!(refused <= 16, "those that were under way: {refused}");
        registry.server.forget();
        pass(host, &kept, on_loopback(), 60, false);
        assert_eq!(registry.server.seen().len(), 0, "for an hour it is left alone");
    }
}

#[test]
fn a_host_that_is_down_costs_one_time_out() {
    let silent = Server::start(|_| Reply::Drip { head: String::new(), every: Duration::from_secs(30), times: 1 });
    let config = HostConfig { timeout: Some(Duration::from_millis(700)), ..on_loopback() };
    let started = Instant::now();
    let causes = pass(&silent.host, &Arc::default(), config, 300, false);
    assert_eq!(causes, BTreeMap::from([(Cause::TimedOut, 300)]));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(silent.seen().len(), 1);
    let causes = pass("127.0.0.1:1", &Arc::default(), on_loopback(), 300, false);
    assert_eq!(causes, BTreeMap::from([(Cause::Unreachable, 300)]));
}

#[test]
fn a_host_that_is_broken_is_not_asked_by_everybody() {
    let broken = Server::start(|_| Reply::new("502 Bad Gateway", &[], "<html>oops</html>"));
    let causes = pass(&broken.host, &Arc::default(), on_loopback(), 200, false);
    assert_eq!(causes, BTreeMap::from([(Cause::ServerError, 200)]));
    assert!(broken.seen().len() <= 40, "{}", broken.seen().len());
}

#[test]
fn as_many_at_once_as_the_config_says_and_no_faster() {
    let registry = Registry::wrapped(tags(30), |_, reply| {
        std::thread::sleep(Duration::from_millis(20));
        reply
    });
    let one = HostConfig { concurrency: Some(1), ..on_loopback() };
    assert!(pass(&registry.server.host, &Arc::default(), one, 30, false).is_empty());
    assert_eq!(registry.server.connections(), 3, "two handshakes that fail, and one connection");
    let started = Instant::now();
    let slow = HostConfig { rate: Some(20), ..on_loopback() };
    assert!(pass(&registry.server.host, &Arc::default(), slow, 20, false).is_empty());
    assert!(started.elapsed() >= Duration::from_millis(900), "{:?}", started.elapsed());
}

#[test]
fn a_list_that_moves_is_told_apart_from_an_image_that_does() {
    let mut content = Content::default();
    let (amd64, arm64) = (content.image("lab/app", "amd64", "a"), content.image("lab/app", "arm64", "b"));
    let list = content.list("lab/app", &[("amd64", &amd64), ("arm64", &arm64)]);
    content.tag("lab/app", "1", &list);
    let registry = Registry::start(content);
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    std::fs::create_dir(&source).unwrap();
    allow(&source, &[&registry.server.host], "");
    let text = std::fs::read_to_string(source.join("streamkeeper.yaml")).unwrap();
    std::fs::write(source.join("streamkeeper.yaml"), format!("{text}policy: {{scheduleInterval: 1s}}\n")).unwrap();
    let from = format!("{}/lab/app:1", registry.server.host);
    std::fs::write(
        source.join("s.yaml"),
        stream("whole", &[("1", &from)], ", importMode: PreserveOriginal, scheduled: true")
            + &stream("one", &[("1", &from)], ", scheduled: true"),
    )
    .unwrap();
    assert_eq!(run(folder.path(), &["apply", "-s", "source", "--yes", "-q"]).0, 0);
    let (code, out, _) = run(folder.path(), &["describe", "one:1", "-s", "source"]);
    assert!(code == 0 && out.contains("amd64"), "the config of the list's image was read: {out}");
    let move_list = |architecture: &str| {
        let mut content = registry.content.lock().unwrap();
        let other = content.image("lab/app", architecture, "moved");
        let images = if architecture == "arm64" {
            [("amd64", &amd64), ("arm64", &other)]
        } else {
            [("amd64", &other), ("arm64", &arm64)]
        };
        let list = content.list("lab/app", &images.map(|(architecture, digest)| (architecture, digest.as_str())));
        content.tag("lab/app", "1", &list);
        drop(content);
        std::thread::sleep(Duration::from_millis(2100));
        run(folder.path(), &["apply", "-s", "source", "--yes"]).2
    };
    let err = move_list("arm64");
    assert!(
        err.contains("import 1 from") && err.contains("the upstream list moved, its image for linux/amd64 did not"),
        "{err}"
    );
    assert!(!err.contains("default/one"), "one platform's image did not move: {err}");
    let err = move_list("amd64");
    assert!(err.contains("default/whole") && err.contains("default/one") && err.contains("(upstream moved)"), "{err}");
}

#[test]
fn a_plan_says_when_a_host_may_be_asked_again() {
    let registry = Registry::limited(tags(5), 1, false, "3600");
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    std::fs::create_dir(&source).unwrap();
    allow(&source, &[&registry.server.host], "");
    let from = |tag: usize| format!("{}/lab/app:t{tag}", registry.server.host);
    let (one, two, three) = (from(1), from(2), from(3));
    std::fs::write(source.join("s.yaml"), stream("s", &[("1", &one), ("2", &two), ("3", &three)], "")).unwrap();
    let (code, out, err) = run(folder.path(), &["apply", "-s", "source", "--yes"]);
    assert_eq!(code, 5, "{out}{err}");
    let again = err.split("rate limited until ").nth(1).and_then(|rest| rest.get(..20)).unwrap();
    let again: jiff::Timestamp = again.parse().unwrap();
    let wait = again.duration_since(jiff::Timestamp::now()).as_secs();
    assert!((3500..=3605).contains(&wait), "{wait}");
    // Another run, another process: it is left alone, and says why.
    registry.server.forget();
    let (code, out, _) = run(folder.path(), &["plan", "-s", "source", "--format", "json"]);
    assert!(code == 0 && out.contains("\"again\"") && out.contains("\"rateLimited\""), "{out}");
    assert_eq!(registry.server.seen().len(), 0);
}
