//! How long the main job takes at the size of a large platform, with a limit or a peer beside each number.
//!
//! `cargo bench` prints the table. Whole runs of the program are measured, median of several; machines are shared and noisy,
//! so read ratios. `cargo bench -- git registry resolving` names the parts; `STREAMS` sets another size than 10,000.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench that cannot go on should panic; it prints"
)]

mod common;
#[path = "../tests/it/real_registry.rs"]
mod real_registry;
#[path = "../tests/it/tools.rs"]
mod tools;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{Row, TAGS, definition, fast_import, layout, measure, median, repository, run, streamkeeper, streams};
use futures::StreamExt;
use real_registry::RealRegistry;
use streamkeeper::adapters::registry::{
    Content as Kind, Credentials, HostConfig, Registries, RegistryMemory, Settings,
};
use streamkeeper::model::{Observed, Question};
use streamkeeper::openshift::{Digest, ImageReference};
use streamkeeper::ports::Registry;

fn change_one(folder: &Path, round: usize) {
    let text = definition(7, &format!("    - name: new-{round}\n"));
    let mut child = fast_import(folder);
    let mut input = child.stdin.take().unwrap();
    write!(
        input,
        "commit refs/heads/master\ncommitter Bench <bench@example.com> 1790000001 +0000\ndata 3\none\nfrom refs/heads/master^0\nM 100644 inline team-7/app-7.yaml\ndata {}\n{text}\n",
        text.len()
    )
    .unwrap();
    drop(input);
    assert!(child.wait().unwrap().success());
}

fn from_git(rows: &mut Vec<Row>, folder: &Path, count: usize) {
    eprintln!("writing {count} definitions …");
    let bytes = repository(folder, count);
    layout(folder);
    let source = ["--source", "repo.git", "--config", "config.yaml"];
    let (archive, _) = median(5, |_| {
        let (time, memory, _) =
            measure(Command::new("git").current_dir(folder.join("repo.git")).args(["archive", "HEAD"]));
        (time, memory)
    });
    let (time, memory) = median(5, |_| {
        let (time, memory, code) = measure(&mut streamkeeper(folder, &[&["validate"], &source[..]].concat()));
        assert_eq!(code, Some(0));
        (time, memory)
    });
    let beyond = memory.saturating_sub(bytes as u64 / 1024) / 1024;
    rows.push(Row {
        what: format!("(a) read and validate {count} files, {} tags, from Git objects, cold", count * TAGS),
        time,
        memory,
        beside: format!(
            "limit 1.0 s; {beyond} MiB beyond the data's {} (limit 64); git archive reads them in {:.2} s",
            bytes >> 20,
            archive.as_secs_f64()
        ),
    });
    eprintln!("applying …");
    let store = [&source[..], &["--store", "store"]].concat();
    let (time, memory, code) =
        measure(&mut streamkeeper(folder, &[&["apply", "--yes", "--quiet"], &store[..]].concat()));
    assert_eq!(code, Some(0));
    let what = format!("    apply all of it for the first time, images from a layout folder ({} steps)", 2 * count);
    rows.push(Row { what, time, memory, beside: "once".to_owned() });
    let plan = |exit_code: i32| {
        let (time, memory, code) = measure(&mut streamkeeper(folder, &[&["plan", "--exit-code"], &store[..]].concat()));
        assert_eq!(code, Some(exit_code));
        (time, memory)
    };
    plan(0);
    let (time, memory) = median(9, |_| plan(0));
    rows.push(Row {
        what: "(b) plan, commit and store unchanged".to_owned(),
        time,
        memory,
        beside: "limit 0.15 s; kubectl apply, nothing changed: about 20 s for 1,000".to_owned(),
    });
    let (time, memory) = median(9, |round| {
        change_one(folder, round);
        plan(2)
    });
    rows.push(Row { what: "(b) plan, one file changed".to_owned(), time, memory, beside: "limit 0.20 s".to_owned() });
}

fn from_registry(rows: &mut Vec<Row>, folder: &Path) {
    const STREAMS: usize = 1000;
    let Some(registry) = RealRegistry::start(folder, "") else { return };
    eprintln!("filling the registry …");
    let mut sources = String::new();
    for stream in 0..STREAMS {
        let repository = format!("lab/app{stream}");
        let _ = write!(
            sources,
            "---\napiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata:\n  name: s{stream}\nspec:\n  tags:\n"
        );
        for tag in 0..4 {
            // Every fourth tag is a list of two platforms.
            let image = |architecture: &str| {
                registry.image(&repository, architecture, &format!("{stream} {tag} {architecture}"))
            };
            let digest = match tag {
                3 => registry.list(&repository, &[("amd64", image("amd64")), ("arm64", image("arm64"))]),
                _ => image("amd64").0,
            };
            registry.tag(&repository, &format!("1.{tag}"), &digest);
            let _ = writeln!(
                sources,
                "    - name: \"1.{tag}\"\n      from: {{kind: DockerImage, name: '{}/{repository}:1.{tag}'}}\n      importPolicy: {{insecure: true}}",
                registry.host
            );
        }
    }
    std::fs::create_dir_all(folder.join("source")).unwrap();
    std::fs::write(folder.join("source/streams.yaml"), sources).unwrap();
    let config = format!("registries: [{{host: '{}', private: true}}]\n", registry.host);
    std::fs::write(folder.join("source/streamkeeper.yaml"), config).unwrap();
    // The same questions, asked as fast as one connection a core asks them: what the registry needs by itself.
    let alone = peer(&registry.host, STREAMS);
    let (time, memory) = median(3, |round| {
        let store = format!("store-{round}");
        let (time, memory, code) =
            measure(&mut streamkeeper(folder, &["apply", "--yes", "--quiet", "--source", "source", "--store", &store]));
        assert_eq!(code, Some(0));
        (time, memory)
    });
    rows.push(Row {
        what: format!("(c) apply {STREAMS} new streams of 4 tags from a loopback registry"),
        time,
        memory,
        beside: format!(
            "limit 10 s; the registry alone answers HEAD and GET for all tags in {:.1} s",
            alone.as_secs_f64()
        ),
    });
}

/// What 1,000 tags are, asked through the library; beside it the same HEAD requests without anything around them.
fn resolving(rows: &mut Vec<Row>, folder: &Path) {
    const TAGS: usize = 1000;
    const AT_ONCE: usize = 16;
    let Some(registry) = RealRegistry::start(folder, "") else { return };
    eprintln!("resolving …");
    for tag in 0..TAGS {
        let (digest, _) = registry.image(&format!("lab/app{}", tag % 20), "amd64", &tag.to_string());
        registry.tag(&format!("lab/app{}", tag % 20), &format!("t{tag}"), &digest);
    }
    let references: Vec<String> =
        (0..TAGS).map(|tag| format!("{}/lab/app{}:t{tag}", registry.host, tag % 20)).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let bare = || runtime.block_on(bare(&registry.host, &references, AT_ONCE));
    let memory: Arc<Remembers> = Arc::default();
    let asked = |references: &[String], memory: Arc<Remembers>| {
        let config = HostConfig { private: true, ..HostConfig::default() };
        let settings = Settings { hosts: [(registry.host.clone(), config)].into(), ..Settings::default() };
        let registries = Registries::new(settings, Credentials::default(), memory);
        let started = Instant::now();
        let known = runtime.block_on(
            futures::stream::iter(references)
                .map(|reference| async {
                    let reference: ImageReference = reference.parse().unwrap();
                    let question = Question::new("", &reference, true);
                    let digest = registries.resolve(&question).await.known().map(|it| it.digest.clone()).unwrap();
                    let reference = ImageReference { tag: String::new(), digest: Some(digest), ..question.reference };
                    Question::new("", &reference, true)
                })
                .buffer_unordered(64)
                .collect::<Vec<_>>(),
        );
        let time = started.elapsed();
        let read = runtime.block_on(
            futures::stream::iter(&known)
                .map(|image| async { assert_eq!(registries.fetch(image).await, Observed::Known(())) })
                .buffer_unordered(64)
                .count(),
        );
        assert_eq!(read, references.len());
        (time, registries.tally())
    };
    // In turns, so that both see the same weather.
    bare();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..7 {
        theirs.push(bare());
        ours.push(asked(&references, Arc::default()).0);
    }
    ours.sort();
    theirs.sort();
    let (ours, theirs) = (ours[3], theirs[3]);
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    rows.push(Row {
        what: format!("(d) resolve {TAGS} distinct tags, cold, loopback registry"),
        time: ours,
        memory: 0,
        beside: format!(
            "bare HEAD requests, {AT_ONCE} at once: {:.3} s; ratio {ratio:.2} (limit 1.3)",
            theirs.as_secs_f64()
        ),
    });
    asked(&references, Arc::clone(&memory));
    let (time, tally) = asked(&references, memory);
    rows.push(Row {
        what: "(d) the same, warm, nothing new".to_owned(),
        time,
        memory: 0,
        beside: format!("{} requests, {} of them GET (limit 0)", tally.requests, tally.charged),
    });
    if let Some(time) = skopeo(&references[..50]) {
        rows.push(Row {
            what: "(d) `skopeo inspect --raw` in a loop, for 50 of them".to_owned(),
            time,
            memory: 0,
            beside: format!("{TAGS} would take {:.1} s", time.as_secs_f64() * 20.0),
        });
    }
}

/// The same HEAD requests over a client that keeps connections alive.
async fn bare(host: &str, references: &[String], at_once: usize) -> Duration {
    let accept = "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";
    let client = reqwest::Client::builder().build().unwrap();
    let started = Instant::now();
    futures::stream::iter(references)
        .map(|reference| {
            let (repository, tag) = reference.strip_prefix(&format!("{host}/")).unwrap().split_once(':').unwrap();
            let request =
                client.head(format!("http://{host}/v2/{repository}/manifests/{tag}")).header("accept", accept);
            async { assert!(request.send().await.unwrap().headers().contains_key("docker-content-digest")) }
        })
        .buffer_unordered(at_once)
        .count()
        .await;
    started.elapsed()
}

fn skopeo(references: &[String]) -> Option<Duration> {
    let run = |reference: &String| {
        let mut command = Command::new("skopeo");
        command.args(["inspect", "--raw", "--tls-verify=false", &format!("docker://{reference}")]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().ok().filter(|status| status.success())
    };
    let started = Instant::now();
    references.iter().map(run).collect::<Option<Vec<_>>>()?;
    Some(started.elapsed())
}

/// Remembers while the process lives.
#[derive(Default)]
struct Remembers(Mutex<BTreeMap<(Kind, Digest), Fetched>>);

/// Media type and bytes.
type Fetched = (String, Vec<u8>);

impl RegistryMemory for Remembers {
    fn with_layers(&self, _: &Digest) -> Option<String> {
        None
    }

    fn keep_layers(&self, _: &Digest, _: &str) {}

    fn content(&self, kind: Kind, digest: &Digest) -> Option<(String, Vec<u8>)> {
        self.0.lock().unwrap().get(&(kind, digest.clone())).cloned()
    }

    fn keep_content(&self, kind: Kind, digest: &Digest, media_type: &str, bytes: &[u8]) {
        self.0.lock().unwrap().insert((kind, digest.clone()), (media_type.to_owned(), bytes.to_vec()));
    }

    fn listing(&self, _: &str) -> Option<BTreeSet<String>> {
        None
    }

    fn keep_listing(&self, _: &str, _: &BTreeSet<String>) {}

    fn pause(&self, _: &str) -> Option<jiff::Timestamp> {
        None
    }

    fn keep_pause(&self, _: &str, _: jiff::Timestamp) {}
}

/// HEAD and GET for every tag over plain sockets, two at a time.
fn peer(host: &str, streams: usize) -> Duration {
    let started = Instant::now();
    std::thread::scope(|scope| {
        for half in 0..2 {
            scope.spawn(move || {
                let mut stream = std::net::TcpStream::connect(host).unwrap();
                stream.set_nodelay(true).unwrap();
                for app in (half..streams).step_by(2) {
                    for tag in 0..4 {
                        for method in ["HEAD", "GET"] {
                            ask(&mut stream, method, host, &format!("/v2/lab/app{app}/manifests/1.{tag}"));
                        }
                    }
                }
            });
        }
    });
    started.elapsed()
}

fn ask(stream: &mut std::net::TcpStream, method: &str, host: &str, path: &str) {
    use std::io::Read;
    let accept = "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "the registry hung up");
        answer.extend_from_slice(&buffer[..read]);
        let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200"), "{head}");
        let length: usize = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap();
        if method == "HEAD" || answer.len() >= end + 4 + length {
            return;
        }
    }
}

fn main() {
    run(&[
        ("git", &|rows, folder| from_git(rows, folder, streams())),
        ("registry", &from_registry),
        ("resolving", &resolving),
    ]);
}
