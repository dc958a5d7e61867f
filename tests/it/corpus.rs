//! Over three thousand real definition files. They are data beside the project: without them these tests say so and pass.
//!
//! Set `STREAMKEEPER_CORPUS` to their folder; the default is `../shared/corpus`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;
use streamkeeper::definitions::{self, FileDefinitions, ReadOptions};
use streamkeeper::findings::{Code, Severity};
use streamkeeper::openshift::{INSECURE_REPOSITORY_ANNOTATION, ImageReference, ImportMode, ReferencePolicyType};
use streamkeeper::source::SourceText;

use crate::real_registry::RealRegistry;
use crate::sim::openshift::{OpenShift, World};
use crate::sim::registry::{Content, Registry};
use crate::support::run;

/// A line of the corpus' index.
struct Row {
    path: String,
    streams: String,
    tags: String,
    tag_from: String,
    features: String,
    notes: String,
    triggers: String,
}

/// Files whose counts differ from the index, which a YAML 1.1 reader made that looks into anything, and why ours are right.
const EXPLAINED: &[(&str, &str)] = &[
    (
        "streams/opendevstack__tailor/internal/test/fixtures/templates/is-annotation.yml",
        "a Template's objects under `items`: SK111",
    ),
    (
        "streams/opendevstack__tailor/internal/test/fixtures/templates/is.yml",
        "a Template's objects under `items`: SK111",
    ),
    (
        "workloads/opendevstack__tailor/internal/test/fixtures/templates/dc.yml",
        "a Template's objects under `items`: SK111",
    ),
    (
        "streams/openshift-roadshow__nationalparks/ose3/application-objects.json",
        "a Template's objects under `items`: SK111",
    ),
    (
        "streams/sclorg__s2i-python-container/3.3/examples/django/application-template-stibuild.json",
        "a Template's objects under `items`: SK111",
    ),
    (
        "streams/openshift__openshift-tools/openshift/installer/vendored/openshift-ansible-3.6-git-2017-06-16/roles/openshift_cfme/files/miq-template.yaml",
        "the Template is inside a wrapper without a kind: SK117",
    ),
    (
        "streams/openshift__svt/openshift_scalability/content/image-stream-all-template.json",
        "`Kind` in place of `kind`: SK117",
    ),
    (
        "workloads/openshift__svt/openshift_scalability/content/deployment-config-template.json",
        "`Kind` in place of `kind`, no stream in it",
    ),
    (
        "workloads/kiegroup__kie-cloud-operator/config/app/trial-env.yaml",
        "an operator's own format without a kind, no stream in it",
    ),
    (
        "streams/quarkus-qe__quarkus-test-framework/quarkus-test-service-amq/src/main/resources/amq-openshift-deployment-template.yml",
        "a quoted text continued to the left of its key, which YAML 1.2 forbids: SK101",
    ),
];

fn corpus() -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/corpus");
    let given = std::env::var("STREAMKEEPER_CORPUS").ok().filter(|value| !value.is_empty());
    let folder = PathBuf::from(given.as_deref().unwrap_or(default));
    if folder.join("INDEX.tsv").is_file() {
        return Some(folder);
    }
    eprintln!("skipped: no corpus at {} (set STREAMKEEPER_CORPUS)", folder.display());
    None
}

fn rows(folder: &Path) -> Vec<Row> {
    let index = std::fs::read_to_string(folder.join("INDEX.tsv")).unwrap();
    let mut lines = index.lines();
    let head: Vec<&str> = lines.next().unwrap().split('\t').collect();
    lines
        .map(|line| {
            let cells: Vec<&str> = line.split('\t').collect();
            let cell = |name: &str| cells[head.iter().position(|column| *column == name).unwrap()].to_owned();
            Row {
                path: cell("path"),
                streams: cell("streams"),
                tags: cell("tags"),
                tag_from: cell("tag_from"),
                features: cell("features"),
                notes: cell("notes"),
                triggers: cell("triggers"),
            }
        })
        .collect()
}

fn read(folder: &Path, path: &str) -> FileDefinitions {
    let text = String::from_utf8(std::fs::read(folder.join(path)).unwrap()).unwrap();
    let options = ReadOptions { namespace: "default".to_owned(), parameters: BTreeMap::new() };
    definitions::read(&SourceText::new(text), &options)
}

/// `name:count` pairs of the index.
fn pairs(text: &str) -> BTreeMap<String, usize> {
    let pairs = text.split(',').filter(|pair| !matches!(*pair, "-" | "" | "?"));
    pairs
        .map(|pair| {
            let (name, count) = pair.rsplit_once(':').unwrap();
            (name.to_owned(), count.parse().unwrap())
        })
        .collect()
}

/// Kinds of `from`, as the index names them.
fn tag_from(read: &FileDefinitions) -> BTreeSet<&str> {
    let tags = read.streams.iter().flat_map(|stream| &stream.tags);
    tags.map(|tag| match &tag.reference.from {
        None => "none",
        Some(from) => match from.kind.as_str() {
            kind @ ("DockerImage" | "ImageStreamTag" | "ImageStreamImage") => kind,
            // The index has one word for all others, and for a `from` without a kind.
            _ => "other",
        },
    })
    .collect()
}

fn features(read: &FileDefinitions) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    for stream in &read.streams {
        let mut note = |name: &'static str, is: bool| {
            if is {
                found.insert(name);
            }
        };
        note("dockerImageRepository", !stream.header.docker_image_repository.is_empty());
        note(
            "insecure",
            stream.header.annotations.get(INSECURE_REPOSITORY_ANNOTATION).is_some_and(|value| value == "true"),
        );
        note("lookupPolicy local", stream.header.lookup_policy.local);
        for tag in stream.tags.iter().map(|tag| &tag.reference) {
            note("scheduled", tag.import_policy.scheduled);
            note("insecure", tag.import_policy.insecure);
            note("reference", tag.reference);
            note("referencePolicy Local", tag.reference_policy.kind == ReferencePolicyType::Local);
            note("importMode PreserveOriginal", tag.import_policy.import_mode == ImportMode::PreserveOriginal);
        }
    }
    found
}

#[test]
fn every_real_file_is_read_and_its_counts_are_the_indexs() {
    let Some(folder) = corpus() else { return };
    let mut wrong = Vec::new();
    let mut codes: BTreeMap<Code, usize> = BTreeMap::new();
    let (mut files, mut streams, mut tags) = (0, 0, 0);
    for row in rows(&folder) {
        let read = read(&folder, &row.path);
        files += 1;
        streams += read.streams.len();
        tags += read.streams.iter().map(|stream| stream.tags.len()).sum::<usize>();
        for finding in &read.findings {
            *codes.entry(finding.code).or_default() += 1;
            assert!(finding.place.line > 0, "{}: {finding:?}", row.path);
        }
        let explained = EXPLAINED.iter().any(|(path, _)| *path == row.path);
        let unreadable = row.notes.contains("fails YAML parse");
        if unreadable {
            // Nothing silent: a file that is no YAML has an error with its line. Some are YAML to one reader and not to another.
            let error = read
                .findings
                .iter()
                .any(|finding| finding.code == Code::InvalidSyntax || finding.code == Code::WrongType);
            if !error && !read.complete {
                wrong.push(format!("{}: unread without a word", row.path));
            }
            continue;
        }
        let mut check = |what: &str, ours: String, theirs: String| {
            if ours != theirs && !explained {
                wrong.push(format!("{}: {what}: ours {ours}, the index {theirs}", row.path));
            }
        };
        // A key that is there twice outside of any stream makes a file incomplete: nobody knows which of them counts.
        let ambiguous = read.findings.iter().any(|finding| finding.code == Code::DuplicateKey);
        check("complete", (read.complete || ambiguous).to_string(), "true".to_owned());
        check("streams", read.streams.len().to_string(), row.streams.clone());
        check("tags", read.streams.iter().map(|stream| stream.tags.len()).sum::<usize>().to_string(), row.tags.clone());
        let kinds = row.tag_from.split(',').map(str::trim).filter(|kind| *kind != "-");
        let known = |kind: &str| matches!(kind, "DockerImage" | "ImageStreamTag" | "ImageStreamImage" | "none");
        let theirs: BTreeSet<&str> = kinds.map(|kind| if known(kind) { kind } else { "other" }).collect();
        // A kind that is a parameter is what its default makes it here; the index has it as written.
        if !row.tag_from.contains("${") {
            check("from", format!("{:?}", tag_from(&read)), format!("{theirs:?}"));
        }
        let mut counted: BTreeSet<&str> = row
            .features
            .split(',')
            .map(|feature| feature.trim().rsplit_once(':').map_or(feature.trim(), |(name, _)| name))
            .filter(|feature| !matches!(*feature, "-" | "" | "importMode Legacy"))
            .collect();
        // Named and empty, as written or by a parameter without a value: there is no repository.
        let empty = row.notes.contains("empty dockerImageRepository") || row.notes.contains("templating: ${NAME}");
        if empty && !features(&read).contains("dockerImageRepository") {
            counted.remove("dockerImageRepository");
        }
        check("features", format!("{:?}", features(&read)), format!("{counted:?}"));
        let mut triggers = [0_usize; 3];
        for (kind, count) in pairs(&row.triggers) {
            let at = ["annotation", "DeploymentConfig", "BuildConfig"]
                .iter()
                .position(|name| kind.starts_with(name))
                .unwrap();
            triggers[at] += count;
        }
        let ours = read.counts.triggers;
        check(
            "triggers",
            format!("{:?}", [ours.annotations, ours.deployment_configs, ours.build_configs]),
            format!("{triggers:?}"),
        );
        if row.path.starts_with("lookalikes/") {
            check("lookalike", read.streams.len().to_string(), "0".to_owned());
        }
    }
    eprintln!("{files} files, {streams} streams, {tags} tags; findings by code:");
    for (code, count) in &codes {
        eprintln!("  {code} {count} {}", code.summary());
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
    assert!(files > 3000, "the corpus is whole");
    // Each explanation must still be needed.
    for (path, why) in EXPLAINED {
        let row = rows(&folder).into_iter().find(|row| row.path == *path).unwrap();
        let read = read(&folder, path);
        let told = read.findings.iter().any(|finding| finding.severity >= Severity::Warning);
        assert!(told || why.contains("no stream in it"), "{path}: {why}");
        let triggers = read.counts.triggers;
        let none = triggers.annotations + triggers.deployment_configs + triggers.build_configs == 0;
        let differs = read.streams.len().to_string() != row.streams || (none && row.triggers != "-");
        assert!(differs, "{path} no longer differs: {why}");
    }
}

/// Each repository of the corpus as a source: applied, then planned again. Every image that a definition names is in a
/// registry that mirrors all its hosts: the real one where it is installed.
#[test]
fn apply_then_plan_is_empty_for_every_repository() {
    let Some(folder) = corpus() else { return };
    let work = tempfile::tempdir().unwrap();
    let mut hosts = BTreeSet::new();
    let mut references = BTreeSet::new();
    for row in rows(&folder).iter().filter(|row| row.path.starts_with("streams/")) {
        let read = read(&folder, &row.path);
        let tags = read.streams.iter().flat_map(|stream| &stream.tags);
        let questions = tags.filter_map(|tag| tag.question("n")).map(|question| question.reference);
        let repositories = read
            .streams
            .iter()
            .filter_map(|stream| stream.header.docker_image_repository.parse::<ImageReference>().ok());
        for reference in questions.chain(repositories.map(|reference| reference.with_defaults())) {
            if reference.digest.is_none() && !reference.name.is_empty() {
                hosts.insert(reference.registry.clone());
                references.insert(reference);
            }
        }
    }
    assert!(references.len() > 500, "{} references", references.len());
    // A port is no part of a repository's name: hosts have numbers here.
    let hosts: Vec<String> = hosts.into_iter().collect();
    let repository = |reference: &ImageReference| {
        let at = hosts.iter().position(|host| *host == reference.registry).unwrap();
        format!("m{at}/{}", reference.path())
    };
    let real = RealRegistry::start(work.path(), "");
    let mut content = Content::default();
    let mut digests = BTreeMap::new();
    for (at, reference) in references.iter().enumerate() {
        let (repository, text) = (repository(reference), reference.to_string());
        let platforms: &[&str] = if at % 4 == 0 { &["amd64", "arm64"] } else { &["amd64"] };
        match &real {
            Some(real) => {
                let images: Vec<_> = platforms.iter().map(|it| (*it, real.image(&repository, it, &text))).collect();
                let digest = if images.len() == 1 { images[0].1.0.clone() } else { real.list(&repository, &images) };
                real.tag(&repository, &reference.tag, &digest);
                digests.insert(text, (digest, images[0].1.0.clone()));
            }
            None => {
                let images: Vec<_> = platforms.iter().map(|it| (*it, content.image(&repository, it, &text))).collect();
                let named: Vec<(&str, &str)> = images.iter().map(|(it, digest)| (*it, digest.as_str())).collect();
                let digest = if images.len() == 1 { images[0].1.clone() } else { content.list(&repository, &named) };
                content.tag(&repository, &reference.tag, &digest);
                digests.insert(text, (digest, images[0].1.clone()));
            }
        }
    }
    let mirror = real.as_ref().map_or_else(|| Registry::start(content).server.host, |real| real.host.clone());
    let mut config = format!("registries: [{{host: '{mirror}', private: true, insecure: true}}]\nmirrors:\n");
    for (at, host) in hosts.iter().enumerate() {
        config +=
            &format!("  - {{source: '{host}', mirrors: ['{mirror}/m{at}'], mirrorSourcePolicy: NeverContactSource}}\n");
    }
    std::fs::write(work.path().join("config.yaml"), config).unwrap();

    // The same on a cluster: its answers are its own, and the second plan is empty all the same.
    let cluster = OpenShift::start();
    std::fs::write(work.path().join("kubeconfig"), cluster.kubeconfig()).unwrap();
    let (mut repositories, mut streams, mut steps, mut followers) = (0, 0, 0, 0);
    for entry in std::fs::read_dir(folder.join("streams")).unwrap() {
        let source = entry.unwrap().path();
        let (source, store) = (source.to_str().unwrap(), format!("store-{repositories}"));
        let common = ["-s", source, "--config", "config.yaml", "--store", &store, "--quiet"];
        let arguments = |head: &[&'static str]| -> Vec<String> {
            head.iter().chain(&common).map(|&text| text.to_owned()).collect()
        };
        let call = |arguments: Vec<String>| run(work.path(), &arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let (code, out, err) = call(arguments(&["apply", "--yes", "--format", "json"]));
        assert!(matches!(code, 0 | 5), "{source}: {code} {err}");
        let report: Value = serde_json::from_str(&out).unwrap();
        for (step, outcome) in report["outcomes"].as_object().unwrap() {
            assert_eq!(outcome, "applied", "{source}: step {step}");
            steps += 1;
        }
        let (_, out, err) = call(arguments(&["plan", "--format", "json"]));
        let plan: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{source}: {error} {err}"));
        assert_eq!(plan["steps"], Value::Array(Vec::new()), "{source}");
        streams += plan["streams"].as_u64().unwrap();
        repositories += 1;

        *cluster.world.lock().unwrap() = World { images: digests.clone(), ..World::default() };
        let to = ["--target", "openshift", "--kubeconfig", "kubeconfig"].map(str::to_owned);
        let (code, out, err) = call([arguments(&["apply", "--yes", "--format", "json"]), to.to_vec()].concat());
        assert!(matches!(code, 0 | 5), "{source} on the cluster: {code} {out} {err}");
        let report: Value = serde_json::from_str(&out).unwrap();
        for (step, outcome) in report["outcomes"].as_object().unwrap() {
            assert_eq!(outcome, "applied", "{source} on the cluster: step {step}");
        }
        let (_, out, err) = call([arguments(&["plan", "--format", "json"]), to.to_vec()].concat());
        let plan: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{source}: {error} {err}"));
        assert_eq!(plan["steps"], Value::Array(Vec::new()), "{source} on the cluster");
        // Then OpenShift's own controllers do what they do: import everything again, and give workloads their images.
        {
            let mut world = cluster.world.lock().unwrap();
            world.triggers = true;
            let ids: Vec<_> = world.streams.keys().cloned().collect();
            for id in ids {
                world.import_controller(&id, true);
                let tags: Vec<String> =
                    world.streams[&id].stream.spec.tags.iter().map(|tag| tag.name.clone()).collect();
                for tag in tags {
                    let tag = format!("{}:{tag}", id.name);
                    let mut follower = crate::workloads::workload("Deployment", &tag, &tag);
                    follower["metadata"]["namespace"] = id.namespace.clone().into();
                    world.deploy("deployments", &follower);
                    followers += 1;
                }
            }
        }
        let (_, out, err) = call([arguments(&["plan", "--format", "json"]), to.to_vec()].concat());
        let plan: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{source}: {error} {err}"));
        assert_eq!(plan["steps"], Value::Array(Vec::new()), "{source} on the cluster, after its controllers");
    }
    assert!(followers > 1000, "{followers} workloads follow");
    eprintln!("{repositories} repositories, {streams} streams, {steps} steps, {} images", references.len());
}
