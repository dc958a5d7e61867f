//! How long an OpenShift cluster takes: on the simulated API server, and on a real one where
//! `STREAMKEEPER_TEST_KUBECONFIG` names one (as `tests/it/live_openshift.rs` has it: namespaces with the label, here).
//!
//! `cargo bench --bench cluster` prints the table. The simulated server answers at once, so its numbers are ours; the real
//! one's are mostly its own. `STREAMS` sets another size than 1,000.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench that cannot go on should panic; it prints"
)]

#[expect(dead_code, reason = "the tests use the rest of it")]
#[path = "../tests/it/real_registry.rs"]
mod real_registry;
#[expect(dead_code, reason = "the tests use the rest of it")]
#[path = "../tests/sim/mod.rs"]
mod sim;
#[path = "../tests/it/tools.rs"]
mod tools;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use real_registry::RealRegistry;
use sim::openshift::OpenShift;

const TAGS: usize = 4;

fn streams() -> usize {
    let given = std::env::var("STREAMS").ok().filter(|value| !value.is_empty());
    given.map_or(1000, |text| text.parse().expect("STREAMS is a number"))
}

/// Streams of four tags each, in these namespaces, out of ten repositories.
fn definitions(folder: &Path, host: &str, namespaces: &[String], count: usize) {
    let mut text = String::new();
    for at in 0..count {
        let namespace = &namespaces[at % namespaces.len()];
        let _ = write!(
            text,
            "---\napiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata: {{name: bench-{at}, namespace: {namespace}}}\nspec:\n  tags:\n"
        );
        for tag in 0..TAGS {
            let _ = writeln!(
                text,
                "    - {{name: '1.{tag}', from: {{kind: DockerImage, name: '{host}/lab/app{}:1.{tag}'}}, importPolicy: {{insecure: true}}}}",
                at % 10
            );
        }
    }
    std::fs::create_dir_all(folder.join("source")).unwrap();
    std::fs::write(folder.join("source/all.yaml"), text).unwrap();
    let config =
        format!("fieldManager: streamkeeper-bench\nregistries: [{{host: '{host}', private: true, insecure: true}}]\n");
    std::fs::write(folder.join("source/streamkeeper.yaml"), config).unwrap();
}

fn run(folder: &Path, kubeconfig: &Path, arguments: &[&str]) -> Duration {
    let started = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_streamkeeper"))
        .current_dir(folder)
        .env("STREAMKEEPER_CACHE_DIR", folder.join("cache"))
        .args(arguments)
        .args(["-s", "source", "--target", "openshift", "--quiet", "--kubeconfig"])
        .arg(kubeconfig)
        .output()
        .unwrap();
    let time = started.elapsed();
    assert!(
        output.status.success(),
        "{arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    time
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn row(what: &str, time: Duration, beside: &str) {
    println!("| {what} | {:.3} s | – | {beside} |", time.as_secs_f64());
}

fn simulated(folder: &Path, registry: &RealRegistry, images: &[(String, String)], count: usize) {
    eprintln!("the simulated server …");
    let cluster = OpenShift::start();
    for (from, digest) in images {
        cluster.world.lock().unwrap().images.insert(from.clone(), (digest.clone(), digest.clone()));
    }
    let kubeconfig = folder.join("kubeconfig");
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(&kubeconfig, cluster.kubeconfig()).unwrap();
    let namespaces: Vec<String> = (0..10).map(|at| format!("n{at}")).collect();
    definitions(folder, &registry.host, &namespaces, count);
    run(folder, &kubeconfig, &["plan"]);
    cluster.server.forget();
    let time = run(folder, &kubeconfig, &["apply", "--yes"]);
    let all = cluster.server.seen().len();
    let limit = count * 3 + count * TAGS / 3;
    let beside = format!(
        "{all} requests: {} looks, {} applies, {} imports, {} lists (limit {limit})",
        cluster.server.count("GET /apis/image.openshift.io/v1/namespaces/"),
        cluster.server.count("PATCH "),
        cluster.server.count("POST "),
        cluster.server.count("?limit="),
    );
    row(&format!("(e) {count} new streams of {TAGS} tags, simulated server"), time, &beside);
    cluster.server.forget();
    let times: Vec<Duration> = (0..5).map(|_| run(folder, &kubeconfig, &["plan", "--exit-code"])).collect();
    let beside = format!("{} requests a plan (limit: a list for 500)", cluster.server.seen().len() / 5);
    row(&format!("(f) plan of {count} unchanged streams, simulated server"), median(times), &beside);
}

fn real(folder: &Path, registry: &RealRegistry, kubeconfig: &Path, namespaces: &[String], count: usize) {
    eprintln!("the real server …");
    definitions(folder, &registry.host, namespaces, count);
    run(folder, kubeconfig, &["plan"]);
    let time = run(folder, kubeconfig, &["apply", "--yes"]);
    row(
        &format!("(g) {count} new streams of {TAGS} tags, applied and imported by a real server"),
        time,
        "recorded of 1,000: `kubectl apply` alone 18.5 s, OpenShift's own imports 3.5 min",
    );
    let times: Vec<Duration> = (0..5).map(|_| run(folder, kubeconfig, &["plan", "--exit-code"])).collect();
    row(
        &format!("(h) plan of {count} unchanged streams on a real server"),
        median(times),
        "recorded of 1,000: `kubectl apply` of what is unchanged 21.6 s",
    );
    std::fs::write(folder.join("source/all.yaml"), "").unwrap();
    run(folder, kubeconfig, &["apply", "--yes", "--allow-empty", "--max-removals", "1000000"]);
}

fn main() {
    if std::env::args().any(|argument| argument == "--list" || argument == "--test") {
        return;
    }
    let folder = std::env::temp_dir().join(format!("streamkeeper-bench-cluster-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let Some(registry) = RealRegistry::start(&folder, "") else { return };
    let mut images = Vec::new();
    for app in 0..10 {
        for tag in 0..TAGS {
            let repository = format!("lab/app{app}");
            let (digest, _) = registry.image(&repository, "amd64", &format!("{app}-{tag}"));
            registry.tag(&repository, &format!("1.{tag}"), &digest);
            images.push((format!("{}/{repository}:1.{tag}", registry.host), digest));
        }
    }
    println!("| what | median | most memory | beside it |");
    println!("| --- | ---: | ---: | --- |");
    simulated(&folder.join("simulated"), &registry, &images, streams());
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    match set("STREAMKEEPER_TEST_KUBECONFIG").map(PathBuf::from) {
        Some(kubeconfig) => {
            let Some(namespaces) = set("STREAMKEEPER_TEST_NAMESPACES") else {
                eprintln!(
                    "not measured: a real server (STREAMKEEPER_TEST_NAMESPACES names no namespaces, with commas)"
                );
                return;
            };
            let namespaces: Vec<String> = namespaces.split(',').map(str::to_owned).collect();
            real(&folder.join("real"), &registry, &kubeconfig, &namespaces, streams());
        }
        None => eprintln!("not measured: a real server (STREAMKEEPER_TEST_KUBECONFIG names none)"),
    }
    drop(registry);
    let _ = std::fs::remove_dir_all(folder);
}
