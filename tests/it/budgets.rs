//! Hostile input costs what its size allows: memory within a budget, work that grows as the input does. Each input is made here, in
//! the sizes that once took gigabytes or minutes.

use std::fmt::Write as _;
use std::path::Path;

use streamkeeper::definitions::{FileEntry, Files, ReadOptions, assemble, read};
use streamkeeper::findings::{Code, FindingPolicy};
use streamkeeper::model::Revision;
use streamkeeper::source::SourceText;

use crate::hostile_registry::measured;
use crate::support::{git, run};

/// Bytes beyond the input's own that a process may take, in KiB.
const BUDGET_KIB: u64 = 128 * 1024;

const HEAD: &str = "apiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata: {name: a, namespace: n}\n";

/// A generator: its name, the size that once was too much, and the file of a size.
type Generator = (&'static str, usize, fn(usize) -> String);

fn joined(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).fold(String::new(), |mut text, at| {
        text += &line(at);
        text
    })
}

fn tags(count: usize, tag: impl Fn(usize) -> String) -> String {
    format!("{HEAD}spec:\n  tags:\n{}", joined(count, tag))
}

fn json(inside: &str) -> String {
    format!(r#"{{"apiVersion":"image.openshift.io/v1","kind":"ImageStream","metadata":{{"name":"a"}},{inside}}}"#)
}

fn alias_to_a_scalar(references: usize) -> String {
    let (big, references) = ("x".repeat(1 << 20), vec!["*a"; references].join(","));
    format!("{HEAD}spec:\n  tags: []\nmetadata2:\n  a: &a \"{big}\"\n  b: [{references}]\n")
}

fn template(references: usize) -> String {
    let (value, references) = ("x".repeat(1 << 20), "${A}".repeat(references));
    format!(
        "apiVersion: template.openshift.io/v1\nkind: Template\nmetadata: {{name: t}}\nparameters:\n- {{name: A, value: \"{value}\"}}\n\
         objects:\n- apiVersion: image.openshift.io/v1\n  kind: ImageStream\n  metadata:\n    name: a\n    annotations: {{x: \"{references}\"}}\n"
    )
}

const GENERATORS: &[Generator] = &[
    ("an alias to a large scalar", 20_000, alias_to_a_scalar),
    ("a template that repeats a parameter", 20_000, template),
    ("very long names", 60_000, |length| {
        let (one, other) = ("a".repeat(length), "b".repeat(length));
        tags(1, |_| {
            format!(
                "  - {{name: \"{one}\", from: {{kind: DockerImage, name: 'r.example.com/x:1'}}}}\n  - {{name: b, from: {{kind: ImageStreamTag, name: \"{other}\"}}}}\n"
            )
        })
    }),
    ("one key again and again on one line", 100_000, |count| {
        json(&format!(r#""x":{{{}}}"#, vec![r#""a":"""#; count].join(",")))
    }),
    ("a merge of a large map", 60_000, |count| {
        let entries = joined(count, |at| format!("k{at:06}: 1,"));
        format!("{HEAD}b: &b {{{entries}}}\nc:\n  <<: *b\n")
    }),
    ("a chain of aliases", 10_000, |count| {
        tags(count, |at| format!("  - {{name: t{at}, from: {{kind: ImageStreamTag, name: t{}}}}}\n", at + 1))
    }),
    ("aliases to nothing", 8_000, |count| {
        tags(count, |at| format!("  - {{name: t{at:040}, from: {{kind: ImageStreamTag, name: z{at:040}}}}}\n"))
    }),
    ("tags on one line", 40_000, |count| {
        let one = |at| format!(r#"{{"name":"t{at}","from":{{"kind":"DockerImage","name":"r.example.com/x:{at}"}}}},"#);
        json(&format!(r#""spec":{{"tags":[{}]}}"#, joined(count, one).trim_end_matches(',')))
    }),
    ("a long list", 2_000_000, |count| format!("{HEAD}x: [{}]\n", "a,".repeat(count))),
    ("many documents", 100_000, |count| "---\nkind: ImageStream\n".repeat(count)),
    ("many broken documents", 100_000, |count| "---\n: [\n".repeat(count) + "# imagestream"),
    ("unknown fields", 100_000, |count| {
        json(&format!(r#""spec":{{{}}}"#, joined(count, |at| format!(r#""q{at}":1,"#)).trim_end_matches(',')))
    }),
    ("anchors", 150_000, |count| {
        let made = joined(count, |at| format!("- &a{at} 1\n"));
        format!("{HEAD}x:\n{made}{}", format!("- *a{}\n", count - 1).repeat(count))
    }),
    ("deep nesting", 20_000, |depth| format!("{HEAD}x: {}{}\n", "[".repeat(depth), "]".repeat(depth))),
    ("triggers", 30_000, |count| {
        let one =
            |at| format!(r#"{{\"from\":{{\"kind\":\"ImageStreamTag\",\"name\":\"a:{at}\"}},\"fieldPath\":\"x\"}},"#);
        let triggers = joined(count, one);
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: d\n  annotations: {{image.openshift.io/triggers: \"[{}]\"}}\n# ImageStream\n",
            triggers.trim_end_matches(',')
        )
    }),
];

/// Everything that is done with a file, without its network: bytes and number of allocations stand for the work, since nothing is
/// compared that was not allocated.
fn work(text: String) -> (u64, u64) {
    let info = allocation_counter::measure(|| {
        let options = ReadOptions { namespace: "default".to_owned(), parameters: Default::default() };
        let definitions = std::sync::Arc::new(read(&SourceText::new(text), &options));
        let files = Files {
            revision: Revision::default(),
            files: vec![FileEntry { path: "a.yaml".into(), definitions }],
            findings: Vec::new(),
            incomplete: Vec::new(),
        };
        drop(assemble(files, &FindingPolicy::default(), false));
    });
    (info.bytes_total, info.count_total)
}

#[test]
fn work_grows_as_the_input_does() {
    for (name, most, generate) in GENERATORS {
        // Fixed costs are small beside it, and budgets not yet exhausted.
        let count = (most / 64).clamp(64, 4_000);
        let (one, two) = (work(generate(count)), work(generate(2 * count)));
        let slack = 256 * 1024;
        assert!(two.0 <= one.0 * 5 / 2 + slack && two.1 <= one.1 * 5 / 2 + 1000, "{name}: {one:?}, twice: {two:?}");
        // Full size is bounded by the input, whatever it repeats.
        let text = generate(*most);
        let length = text.len() as u64;
        let (bytes, _) = work(text);
        assert!(bytes <= 400 * length + (512 << 20), "{name}: {bytes} for {length}");
    }
}

/// Reads and plans a source and gives the most memory that took, in KiB.
fn peak(folder: &Path, arguments: &[&str]) -> u64 {
    let mut most = 0;
    for command in ["validate", "plan"] {
        let store: &[&str] = if command == "plan" { &["--store", "store"] } else { &[] };
        let (code, said, kib) = measured(folder, &[&[command], arguments, store].concat());
        assert!(
            matches!(code, 0 | 1 | 3),
            "{command} {arguments:?} ends with {code}: {}",
            &said[..said.len().min(2000)]
        );
        assert!(said.len() < 16 << 20, "what is said is bounded: {} bytes", said.len());
        most = most.max(kib);
    }
    most
}

#[test]
fn no_file_takes_more_than_its_budget() {
    let folder = tempfile::tempdir().unwrap();
    let mut table = String::new();
    for (at, (name, most, generate)) in GENERATORS.iter().enumerate() {
        let source = folder.path().join(at.to_string());
        std::fs::create_dir(&source).unwrap();
        let mut text = generate(*most);
        // As large as a file may be, and no larger: those are not read.
        text.truncate(4 * 1024 * 1024);
        let kib = text.len() as u64 / 1024;
        std::fs::write(source.join(if text.starts_with('{') { "a.json" } else { "a.yaml" }), text).unwrap();
        let peak = peak(folder.path(), &["--source", &at.to_string()]);
        writeln!(table, "{name}: {} MiB", peak / 1024).unwrap();
        assert!(peak <= BUDGET_KIB + kib, "{table}");
    }
    eprintln!("{table}");
}

/// Writes Git objects as nobody's Git would.
struct Objects<'f>(&'f Path);

impl Objects<'_> {
    fn write(&self, kind: &str, length: usize, parts: impl Iterator<Item = Vec<u8>> + Clone) -> String {
        use flate2::{Compression, write::ZlibEncoder};
        use std::io::Write;

        let header = format!("{kind} {length}\0").into_bytes();
        let mut hash = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
        let mut packed = ZlibEncoder::new(Vec::new(), Compression::fast());
        for part in std::iter::once(header).chain(parts) {
            hash.update(&part);
            packed.write_all(&part).unwrap();
        }
        let id = hex::encode(hash.finish());
        let folder = self.0.join("objects").join(&id[..2]);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(&id[2..]), packed.finish().unwrap()).unwrap();
        id
    }

    fn blob(&self, text: &str) -> String {
        self.write("blob", text.len(), std::iter::once(text.as_bytes().to_vec()))
    }

    fn tree(&self, entries: &[(&str, String, &str)]) -> String {
        let mut bytes = Vec::new();
        for (mode, name, id) in entries {
            bytes.extend(format!("{mode} {name}\0").into_bytes());
            bytes.extend(hex::decode(id).unwrap());
        }
        self.write("tree", bytes.len(), std::iter::once(bytes))
    }

    fn commit(&self, tree: &str) {
        let text = format!("tree {tree}\nauthor a <a@b> 1700000000 +0000\ncommitter a <a@b> 1700000000 +0000\n\nx\n");
        let id = self.write("commit", text.len(), std::iter::once(text.into_bytes()));
        self.head(&id);
    }

    fn head(&self, id: &str) {
        std::fs::write(self.0.join("refs/heads/main"), format!("{id}\n")).unwrap();
        std::fs::write(self.0.join("HEAD"), "ref: refs/heads/main\n").unwrap();
    }
}

const MIB: usize = 1 << 20;

/// As many folders as each has names of one blob.
fn same_blob(objects: &Objects<'_>, count: usize) {
    let blob = objects.blob(&format!("{HEAD}x: \"{}\"\n", "x".repeat(4 * MIB - 400)));
    let names = |prefix: &str, end: &str| (0..count).map(|at| format!("{prefix}{at:05}{end}")).collect::<Vec<_>>();
    let files: Vec<_> = names("f", ".yaml").into_iter().map(|name| ("100644", name, &*blob)).collect();
    let folder = objects.tree(&files);
    let folders: Vec<_> = names("d", "").into_iter().map(|name| ("40000", name, &*folder)).collect();
    objects.commit(&objects.tree(&folders));
}

fn long_names(objects: &Objects<'_>, count: usize) {
    let blob = objects.blob("x");
    let links: Vec<_> = (0..count).map(|at| ("120000", format!("l{at:06}.yaml"), &*blob)).collect();
    let mut tree = objects.tree(&links);
    for _ in 0..4 {
        tree = objects.tree(&[("40000", "n".repeat(MIB), &tree)]);
    }
    objects.commit(&tree);
}

fn fan(objects: &Objects<'_>) {
    let blob = objects.blob("x");
    let files: Vec<_> = (0..16).map(|at| ("100644", format!("f{at:02}.yaml"), &*blob)).collect();
    let mut tree = objects.tree(&files);
    for _ in 0..12 {
        let folders: Vec<_> = (0..16).map(|at| ("40000", format!("d{at:02}"), &*tree)).collect();
        tree = objects.tree(&folders);
    }
    objects.commit(&tree);
}

fn deep(objects: &Objects<'_>, depth: usize) {
    let mut tree = objects.tree(&[("100644", "f.yaml".to_owned(), &objects.blob(HEAD))]);
    for _ in 0..depth {
        tree = objects.tree(&[("40000", "d".to_owned(), &tree)]);
    }
    objects.commit(&tree);
}

fn large_commit(objects: &Objects<'_>) {
    let tree = objects.tree(&[("100644", "f.yaml".to_owned(), &objects.blob(HEAD))]);
    let head = format!("tree {tree}\nauthor a <a@b> 1700000000 +0000\ncommitter a <a@b> 1700000000 +0000\n\n");
    let rest = std::iter::repeat_n(vec![b'z'; MIB], 512);
    let id = objects.write("commit", head.len() + 512 * MIB, std::iter::once(head.into_bytes()).chain(rest));
    objects.head(&id);
}

fn large_tree(objects: &Objects<'_>) {
    let blob = hex::decode(objects.blob(HEAD)).unwrap();
    let parts = std::iter::once(b"100644 ".to_vec())
        .chain(std::iter::repeat_n(vec![b'z'; MIB], 512))
        .chain([b"\0".to_vec(), blob]);
    objects.commit(&objects.write("tree", 7 + 512 * MIB + 21, parts));
}

/// A small delta on a base that unpacks to much, as a pack holds it.
fn delta_on_a_large_base(objects: &Objects<'_>) {
    use flate2::{Compression, write::ZlibEncoder};
    use std::io::Write;

    let size = 512 * MIB;
    let packed = |parts: &mut dyn Iterator<Item = Vec<u8>>| {
        let mut packed = ZlibEncoder::new(Vec::new(), Compression::fast());
        parts.for_each(|part| packed.write_all(&part).unwrap());
        packed.finish().unwrap()
    };
    let varint = |mut value: usize| {
        let mut bytes = Vec::new();
        loop {
            let more = value >= 0x80;
            bytes.push((value & 0x7f) as u8 | if more { 0x80 } else { 0 });
            value >>= 7;
            if !more {
                return bytes;
            }
        }
    };
    // Kind and size of an object: four bits of the size in the first byte, then seven in each.
    let header = |kind: u8, size: usize| {
        let mut bytes = vec![kind << 4 | (size & 15) as u8 | if size > 15 { 0x80 } else { 0 }];
        if size > 15 {
            bytes.extend(varint(size >> 4));
        }
        bytes
    };
    let mut hash = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(format!("blob {size}\0").as_bytes());
    (0..512).for_each(|_| hash.update(&[b'z'; MIB]));
    let base_id = hash.finish();
    // The delta writes the definition out, and takes nothing of its base.
    let mut delta = [varint(size), varint(HEAD.len())].concat();
    for part in HEAD.as_bytes().chunks(127) {
        delta.push(part.len() as u8);
        delta.extend(part);
    }
    let mut pack = b"PACK\0\0\0\x02\0\0\0\x02".to_vec();
    pack.extend(header(3, size));
    pack.extend(packed(&mut std::iter::repeat_n(vec![b'z'; MIB], 512)));
    pack.extend(header(7, delta.len()));
    pack.extend(base_id.as_ref());
    pack.extend(packed(&mut std::iter::once(delta)));
    let sum = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &pack);
    pack.extend(sum.as_ref());
    let file = objects.0.join("objects/pack/hostile.pack");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, pack).unwrap();
    git(objects.0, &["index-pack", file.to_str().unwrap()]);
    let id = hex::encode(ring::digest::digest(
        &ring::digest::SHA1_FOR_LEGACY_USE_ONLY,
        format!("blob {}\0{HEAD}", HEAD.len()).as_bytes(),
    ));
    objects.commit(&objects.tree(&[("100644", "f.yaml".to_owned(), &id)]));
}

type Repository = (&'static str, fn(&Objects<'_>));

const REPOSITORIES: &[Repository] = &[
    ("one blob under 40,000 names", |objects| same_blob(objects, 200)),
    ("names of 1 MiB", |objects| long_names(objects, 20_000)),
    ("a fan of trees", fan),
    ("20,000 levels", |objects| deep(objects, 20_000)),
    ("a large commit", large_commit),
    ("a large tree", large_tree),
    ("a delta on a large base", delta_on_a_large_base),
];

/// Bytes and number of allocations of reading a repository: its files listed, and each of them read.
fn work_on_git(make: impl Fn(&Objects<'_>)) -> (u64, u64) {
    use streamkeeper::adapters::git as source;

    let folder = tempfile::tempdir().unwrap();
    git(folder.path(), &["init", "-q", "--bare", "-b", "main", "x.git"]);
    make(&Objects(&folder.path().join("x.git")));
    let given = folder.path().join("x.git").display().to_string();
    let info = allocation_counter::measure(|| {
        let location = source::Location { given, revision: Some("main".to_owned()), ..source::Location::default() };
        // One that is too large for the budget is refused, which is work as well.
        let Ok(source) = source::open(&location) else { return };
        let Ok(listing) = source.list(&|path: &str| path.ends_with(".yaml"), 100_000) else { return };
        let mut reader = source.reader().unwrap();
        let mut read = std::collections::BTreeSet::new();
        for entry in listing.entries.iter().filter(|entry| read.insert(entry.id.clone())) {
            let _ = reader.read(entry, 4 * MIB as u64);
        }
    });
    (info.bytes_total, info.count_total)
}

#[test]
fn work_on_a_repository_grows_as_it_does() {
    let twice = |name: &str, one: (u64, u64), two: (u64, u64)| {
        let slack = 1024 * 1024;
        assert!(two.0 <= one.0 * 5 / 2 + slack && two.1 <= one.1 * 5 / 2 + 1000, "{name}: {one:?}, twice: {two:?}");
    };
    // Twice as many folders of twice as many names are four times as many files.
    let [one, two] = [50, 100].map(|count| work_on_git(|objects| same_blob(objects, count)));
    assert!(two.0 <= one.0 * 5 && two.1 <= one.1 * 5, "{one:?} {two:?}");
    twice(
        "long names",
        work_on_git(|objects| long_names(objects, 2_000)),
        work_on_git(|objects| long_names(objects, 4_000)),
    );
    twice("levels", work_on_git(|objects| deep(objects, 1_000)), work_on_git(|objects| deep(objects, 2_000)));
    // What stands for more than the budget costs what the budget allows, however much that is.
    for (name, make) in REPOSITORIES {
        let (bytes, count) = work_on_git(make);
        assert!(bytes <= 2 << 30 && count <= 20_000_000, "{name}: {bytes} bytes in {count} allocations");
        eprintln!("{name}: {} MiB in {count} allocations", bytes >> 20);
    }
}

fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| if entry.path().is_dir() { size(&entry.path()) } else { entry.metadata().unwrap().len() }).sum()
}

#[test]
fn no_repository_takes_more_than_its_budget() {
    let folder = tempfile::tempdir().unwrap();
    let mut table = String::new();
    for (at, (name, make)) in REPOSITORIES.iter().enumerate() {
        let bare = format!("{at}.git");
        git(folder.path(), &["init", "-q", "--bare", "-b", "main", &bare]);
        let path = folder.path().join(&bare);
        make(&Objects(&path));
        let kib = size(&path.join("objects")) / 1024;
        let peak = peak(folder.path(), &["--source", &bare, "--revision", "main"]);
        writeln!(table, "{name}: {} MiB, stored in {kib} KiB", peak / 1024).unwrap();
        assert!(peak <= BUDGET_KIB + kib, "{table}");
    }
    eprintln!("{table}");
}

#[test]
fn a_source_that_is_too_large_is_read_in_part_and_removes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    std::fs::create_dir(&source).unwrap();
    for name in ["a", "b", "c"] {
        let text = HEAD.replace("name: a,", &format!("name: {name},")) + "spec: {tags: [{name: pushed}]}\n";
        std::fs::write(source.join(format!("{name}.yaml")), text).unwrap();
    }
    let on = |arguments: &[&str]| run(folder.path(), &[arguments, &["-s", "source", "--store", "store"]].concat());
    assert_eq!(on(&["apply", "--yes"]).0, 0);
    std::fs::write(source.join("streamkeeper.yaml"), "limits: {totalBytes: 300}\n").unwrap();
    let (code, out, err) = on(&["plan", "--max-removals", "9"]);
    assert!(
        err.contains(&format!("[{}]", Code::TooLargeSource)) && !out.contains("remove stream"),
        "{code} {out}{err}"
    );
}

/// The process of `examples/deploy` has 256 MiB. Every hostile input in one source ends in findings there, and meanwhile another source
/// is reconciled.
#[test]
fn a_hostile_source_keeps_no_other_from_being_reconciled() {
    use crate::daemon::Daemon;
    use crate::support::program;

    let folder = tempfile::tempdir().unwrap();
    let hostile = folder.path().join("hostile");
    std::fs::create_dir(&hostile).unwrap();
    for (at, (_, most, generate)) in GENERATORS.iter().enumerate() {
        let mut text = generate(*most);
        text.truncate(4 * 1024 * 1024);
        std::fs::write(hostile.join(format!("{at}.{}", if text.starts_with('{') { "json" } else { "yaml" })), text)
            .unwrap();
    }
    let mut sources = "  - {name: files, source: hostile}\n".to_owned();
    for (at, (_, make)) in REPOSITORIES.iter().enumerate() {
        let bare = format!("{at}.git");
        git(folder.path(), &["init", "-q", "--bare", "-b", "main", &bare]);
        make(&Objects(&folder.path().join(&bare)));
        writeln!(sources, "  - {{name: r{at}, source: {bare}, revision: main}}").unwrap();
    }
    let good = folder.path().join("good");
    std::fs::create_dir(&good).unwrap();
    let define = |name: &str| {
        let text = HEAD.replace("name: a, namespace: n", &format!("name: {name}")) + "spec: {tags: [{name: pushed}]}\n";
        std::fs::write(good.join(format!("{name}.yaml")), text).unwrap();
    };
    define("first");
    let config = format!(
        "run:\n  sources:\n  - {{name: good, source: good}}\n{sources}  targets: [{{name: here, target: store, store: store}}]\n"
    );
    std::fs::write(folder.path().join("run.yaml"), config).unwrap();
    let mut command = program(folder.path());
    command.args(["run", "--log", "json", "--config", "run.yaml", "--poll", "2s"]);
    let daemon = Daemon::spawn(command);
    let stores =
        || std::fs::read_dir(folder.path().join("store")).into_iter().flatten().map(|entry| entry.unwrap().path());
    let has = |name: &str| {
        stores().any(|store| {
            run(folder.path(), &["get", "-o", "name", "--store", store.to_str().unwrap()])
                .1
                .contains(&format!("/{name}\n"))
        })
    };
    let begun = std::time::Instant::now();
    for name in ["first", "second", "third"] {
        define(name);
        let since = std::time::Instant::now();
        while !has(name) {
            assert!(since.elapsed().as_secs() < 120, "{name}: {:#?}", daemon.lines());
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
    }
    // Every source has had its pass, and none of them ends the process.
    let passed = || {
        let lines = daemon.lines();
        let lanes: std::collections::BTreeSet<String> = lines
            .iter()
            .filter(|line| matches!(line["message"].as_str(), Some("pass" | "pass failed")))
            .map(|line| line["lane"].to_string())
            .collect();
        lanes.len()
    };
    while passed() < REPOSITORIES.len() + 2 {
        assert!(begun.elapsed().as_secs() < 400, "{} of {}: {:#?}", passed(), REPOSITORIES.len() + 2, daemon.lines());
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    define("fourth");
    while !has("fourth") {
        std::thread::sleep(std::time::Duration::from_millis(200));
        assert!(begun.elapsed().as_secs() < 500, "{:#?}", daemon.lines());
    }
    let peak = daemon.status_of("VmHWM:");
    eprintln!("{} sources in {} s, {} MiB at most", REPOSITORIES.len() + 2, begun.elapsed().as_secs(), peak / 1024);
    assert!(peak <= 256 * 1024, "{peak} KiB");
}
