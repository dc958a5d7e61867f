//! What the benches share: a repository of the size of a large platform, images in a folder, and how runs are measured.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use streamkeeper::openshift::Digest;

/// Tags of a stream.
pub const TAGS: usize = 5;

/// A line of the table.
pub struct Row {
    pub what: String,
    pub time: Duration,
    pub memory: u64,
    pub beside: String,
}

/// How many streams there are; `STREAMS` says otherwise.
pub fn streams() -> usize {
    let given = std::env::var("STREAMS").ok().filter(|value| !value.is_empty());
    given.map_or(10_000, |text| text.parse().expect("STREAMS is a number"))
}

/// A stream's file.
pub fn definition(stream: usize, change: &str) -> String {
    let mut text = format!(
        "apiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata:\n  name: app-{stream}\n  namespace: team-{}\n  labels:\n    team: team-{}\nspec:\n  tags:\n",
        stream % 100,
        stream % 100
    );
    for tag in 0..TAGS {
        let _ = writeln!(
            text,
            "    - name: \"1.{tag}\"\n      from:\n        kind: DockerImage\n        name: registry.example.com/lab/app{}:1.{tag}\n      referencePolicy:\n        type: Source",
            (stream + tag) % 50
        );
    }
    text + change
}

/// `git fast-import` into the repository; what it is to write goes to its standard input.
pub fn fast_import(folder: &Path) -> std::process::Child {
    let mut command = Command::new("git");
    command.current_dir(folder.join("repo.git")).args(["fast-import", "--quiet"]).stdin(Stdio::piped());
    command.spawn().unwrap()
}

/// A bare repository with a file a stream, written by `git fast-import`.
pub fn repository(folder: &Path, count: usize) -> usize {
    git(folder, &["init", "-q", "--bare", "repo.git"]);
    let mut child = fast_import(folder);
    let mut bytes = 0;
    let mut input = std::io::BufWriter::new(child.stdin.take().unwrap());
    write!(input, "commit refs/heads/master\ncommitter Bench <bench@example.com> 1790000000 +0000\ndata 5\nfirst\n")
        .unwrap();
    for stream in 0..count {
        let text = definition(stream, "");
        bytes += text.len();
        write!(input, "M 100644 inline team-{}/app-{stream}.yaml\ndata {}\n{text}\n", stream % 100, text.len())
            .unwrap();
    }
    drop(input);
    assert!(child.wait().unwrap().success());
    git(&folder.join("repo.git"), &["symbolic-ref", "HEAD", "refs/heads/master"]);
    bytes
}

/// Git, in a folder.
pub fn git(folder: &Path, arguments: &[&str]) {
    assert!(Command::new("git").current_dir(folder).args(arguments).status().unwrap().success());
}

/// Runs a command and gives its time and the most memory it had, in KiB.
pub fn measure(command: &mut Command) -> (Duration, u64, Option<i32>) {
    let started = Instant::now();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut memory = 0;
    let code = loop {
        if let Some(code) = child.try_wait().unwrap() {
            break code.code();
        }
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let high = text
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|rest| rest.trim().split(' ').next()?.parse().ok());
        memory = memory.max(high.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(1));
    };
    (started.elapsed(), memory, code)
}

/// The middle one of so many runs.
pub fn median(runs: usize, mut run: impl FnMut(usize) -> (Duration, u64)) -> (Duration, u64) {
    let mut results: Vec<(Duration, u64)> = (0..runs).map(&mut run).collect();
    results.sort();
    results[runs / 2]
}

/// The program, in a folder.
pub fn streamkeeper(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_streamkeeper"));
    command.current_dir(folder).args(arguments).env("HOME", folder).env_remove("DOCKER_CONFIG");
    command
}

/// An OCI layout folder with the images that the definitions name.
pub fn layout(folder: &Path) {
    let put = |bytes: &[u8]| {
        let digest = Digest::sha256(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref()).to_string();
        let path = folder.join("images/blobs").join(digest.replace(':', "/"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
        digest
    };
    let mut entries = Vec::new();
    for app in 0..50 {
        for tag in 0..TAGS {
            let config = format!("{{\"architecture\":\"amd64\",\"os\":\"linux\",\"v\":\"{app} {tag}\"}}");
            let (size, config) = (config.len(), put(config.as_bytes()));
            let media_type = "application/vnd.oci.image.manifest.v1+json";
            let manifest = format!(
                "{{\"schemaVersion\":2,\"mediaType\":\"{media_type}\",\"config\":{{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"{config}\",\"size\":{size}}},\"layers\":[]}}"
            );
            let digest = put(manifest.as_bytes());
            entries.push(format!(
                "{{\"mediaType\":\"{media_type}\",\"digest\":\"{digest}\",\"size\":{},\"annotations\":{{\"org.opencontainers.image.ref.name\":\"lab/app{app}:1.{tag}\"}}}}",
                manifest.len()
            ));
        }
    }
    std::fs::write(folder.join("images/oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}").unwrap();
    let index = format!("{{\"schemaVersion\":2,\"manifests\":[{}]}}", entries.join(","));
    std::fs::write(folder.join("images/index.json"), index).unwrap();
    std::fs::write(folder.join("config.yaml"), "registries: [{host: registry.example.com, layout: images}]\n").unwrap();
}

/// A part of a bench, in a folder of its own.
pub type Part<'a> = &'a dyn Fn(&mut Vec<Row>, &Path);

/// Runs the parts that the command line names, or all of them, and prints the table.
pub fn run(parts: &[(&str, Part<'_>)]) {
    // Cargo calls benches with arguments of its own harness; a test run of all targets asks for a list only.
    if std::env::args().any(|argument| argument == "--list" || argument == "--test") {
        return;
    }
    let folder = std::env::temp_dir().join(format!("streamkeeper-bench-{}", std::process::id()));
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let mut rows = Vec::new();
    for (name, part) in parts.iter().filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|it| it == name)) {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        part(&mut rows, &folder);
    }
    table(rows);
    std::fs::remove_dir_all(folder).unwrap();
}

/// Prints the table.
fn table(rows: Vec<Row>) {
    println!("| what | median | most memory | beside it |");
    println!("| --- | ---: | ---: | --- |");
    for Row { what, time, memory, beside } in rows {
        let memory = if memory == 0 { "–".to_owned() } else { format!("{} MiB", memory / 1024) };
        println!("| {what} | {:.3} s | {memory} | {beside} |", time.as_secs_f64());
    }
}
