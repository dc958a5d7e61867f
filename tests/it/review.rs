//! What a plan says of the change that it makes: images compared, definitions compared, risks, the gate, and the saved plan.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use streamkeeper::findings::Code;

use crate::registry::{allow, stream};
use crate::sim::registry::{Content, Registry};
use crate::support::{self, git, outcome, program};

/// A repository of definitions, a registry, and a store.
pub struct Desk {
    pub folder: tempfile::TempDir,
    pub registry: Registry,
}

pub fn config(user: &str, version: &str, created: &str) -> Value {
    json!({
        "architecture": "amd64", "os": "linux", "created": created,
        "config": {
            "User": user, "Entrypoint": ["/app"], "Env": ["PATH=/bin", "API_TOKEN=hunter2canary"],
            "Labels": {
                "version": version, "org.opencontainers.image.source": "https://github.com/acme/app",
                "org.opencontainers.image.revision": format!("{:0<40}", version.replace('.', "a")),
            },
        },
        "history": [{"created_by": "ADD base"}, {"created_by": "/bin/sh -c make TOKEN=hunter2canary"}],
    })
}

impl Desk {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::start(Content::default());
        let desk = Self { folder, registry };
        std::fs::create_dir(desk.source()).unwrap();
        allow(&desk.source(), &[&desk.registry.server.host], "");
        desk.push("1", &config("1001", "1.0.0", "2026-01-01T00:00:00Z"), &[("base", 1000), ("one", 500)]);
        desk.define("app", &[("live", "1")]);
        git(&desk.source(), &["init", "-q", "-b", "main"]);
        desk.commit("first");
        desk
    }

    pub fn source(&self) -> PathBuf {
        self.folder.path().join("source")
    }

    pub fn push(&self, tag: &str, config: &Value, layers: &[(&str, u64)]) -> String {
        let mut held = self.registry.content.lock().unwrap();
        let digest = held.image_of("lab/app", config, layers);
        held.tag("lab/app", tag, &digest);
        digest
    }

    pub fn from(&self, tag: &str) -> String {
        format!("{}/lab/app:{tag}", self.registry.server.host)
    }

    pub fn define(&self, name: &str, tags: &[(&str, &str)]) {
        let froms: Vec<String> = tags.iter().map(|(_, from)| self.from(from)).collect();
        let tags: Vec<(&str, &str)> = tags.iter().map(|(tag, _)| *tag).zip(froms.iter().map(String::as_str)).collect();
        std::fs::write(self.source().join(format!("{name}.yaml")), stream(name, &tags, "")).unwrap();
    }

    pub fn commit(&self, message: &str) -> String {
        git(&self.source(), &["add", "-A"]);
        git(&self.source(), &["commit", "-qm", message]);
        git(&self.source(), &["rev-parse", "HEAD"])
    }

    pub fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = program(self.folder.path());
        command.args(arguments).args(["-s", "source", "--store", "store"]);
        let (code, out, err) = outcome(command.output().unwrap());
        assert!(!format!("{out}{err}").contains("hunter2canary"), "{out}{err}");
        // The port is another one each time.
        let host = &self.registry.server.host;
        (code, out.replace(host, "registry.example.com"), err.replace(host, "registry.example.com"))
    }

    pub fn apply(&self) {
        let (code, out, err) = self.run(&["apply", "--yes"]);
        assert_eq!(code, 0, "{out}{err}");
    }

    pub fn plan(&self, more: &[&str]) -> String {
        let (code, out, err) = self.run(&[&["plan"], more].concat());
        assert_eq!(code, 0, "{out}{err}");
        out
    }

    pub fn review(&self, more: &[&str]) -> Value {
        let plan: Value = serde_json::from_str(&self.plan(&[&["--format", "json"], more].concat())).unwrap();
        plan["review"].clone()
    }

    pub fn head(&self) -> String {
        let (_, out, _) = self.run(&["get", "istag", "app:live", "-o", "json"]);
        let object: Value = serde_json::from_str(&out).unwrap_or_default();
        object["image"]["metadata"]["name"].as_str().unwrap_or(&out).to_owned()
    }
}

pub fn rules(review: &Value) -> Vec<String> {
    review["risks"].as_array().into_iter().flatten().map(|risk| risk["rule"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_bump_is_told_in_a_line_and_in_full() {
    let desk = Desk::new();
    desk.apply();
    desk.push("2", &config("1001", "2.0.0", "2026-02-01T00:00:00Z"), &[("base", 1000), ("two", 900)]);
    desk.define("app", &[("live", "2")]);
    let text = desk.plan(&[]);
    assert!(text.contains("Moves, and nobody follows: default/app:live"), "{text}");
    assert!(text.contains("1.0.0 becomes 2.0.0; 1 of 2 layers new; 400 bytes larger; made 2026-02-01"), "{text}");
    assert!(text.contains("label.version: 1.0.0 -> 2.0.0"), "{text}");
    let commits = "commits: https://github.com/acme/app/compare/1a0a000000000000000000000000000000000000...2a0a0000";
    assert!(text.contains(commits), "{text}");
    let review = desk.review(&[]);
    let change = &review["images"][0];
    assert_eq!(change["layersShared"], 1);
    assert_eq!(change["layersNew"][0]["command"], "make TOKEN=(masked)");
    assert_eq!((change["layersNew"][0]["size"].as_u64(), rules(&review).len()), (Some(900), 0), "{review:#}");
    let markdown = desk.plan(&["--format", "markdown"]);
    assert!(markdown.starts_with("<!-- streamkeeper:plan -->\n\n### Streamkeeper: 1 change, 1 import"), "{markdown}");
    assert!(markdown.contains("| `label.version` | `1.0.0` | `2.0.0` |"), "{markdown}");
}

#[test]
fn a_tag_that_was_pushed_again_and_an_image_that_became_root() {
    let desk = Desk::new();
    desk.apply();
    // Yesterday's build, as root, of another source.
    let mut evil = config("", "1.0.0", "2025-12-01T00:00:00Z");
    evil["config"]["Entrypoint"] = json!(["/sh", "-c", "curl"]);
    evil["config"]["Labels"]["org.opencontainers.image.source"] = "https://github.com/mallory/app".into();
    evil["config"]["Env"] = json!(["PATH=/bin", "API_TOKEN=hunter2canary-and-more"]);
    desk.push("1", &evil, &[("other", 1000), ("things", 200_000_000)]);
    let (code, out, err) = desk.run(&["plan", "--refresh", "app:live", "--fail-on", "warning"]);
    assert_eq!(code, 3, "{out}{err}");
    assert!(out.contains("user 1001 becomes root; entrypoint /app becomes /sh -c curl"), "{out}");
    assert!(out.contains("env.API_TOKEN: (masked) -> (masked)"), "{out}");
    let review = desk.review(&["--refresh", "app:live"]);
    assert_eq!(rules(&review), ["SK701", "SK702", "SK704", "SK706", "SK707", "SK708"], "{review:#}");
    let place = &review["risks"][0]["origin"];
    assert!(place["path"] == "app.yaml" && place["line"].as_u64() > Some(0), "{place}");
    assert_eq!(desk.run(&["plan", "--refresh", "app:live", "--fail-on", "error"]).0, 0);
    // Somebody answers for it, until a day; what is over, counts again.
    let waive = |until: &str| {
        let path = desk.source().join("streamkeeper.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text.split("findings:").next().unwrap().to_owned();
        let one = |code: &str| format!("  - {{code: {code}, path: '*.yaml', reason: 'a test', until: {until}}}\n");
        let codes = ["SK701", "SK702", "SK704", "SK706", "SK707", "SK708"].map(one).concat();
        std::fs::write(path, format!("{text}findings:\n  waive:\n{codes}")).unwrap();
    };
    waive("2999-01-01");
    let (code, out, err) = desk.run(&["plan", "--refresh", "app:live", "--fail-on", "warning"]);
    assert!(code == 0 && out.contains("Risks (6 waived)"), "{code} {out}{err}");
    waive("2001-01-01");
    assert_eq!(desk.run(&["plan", "--refresh", "app:live", "--fail-on", "warning"]).0, 3);
}

#[test]
fn a_list_that_moved_without_my_platform_and_a_platform_that_is_lost() {
    let desk = Desk::new();
    let list = |images: &[(&str, &str, &str)]| {
        let mut held = desk.registry.content.lock().unwrap();
        let digest = held.list_of("lab/app", images);
        held.tag("lab/app", "multi", &digest);
    };
    let (mine, arm, newer) = {
        let mut held = desk.registry.content.lock().unwrap();
        let mut other = config("1001", "1.0.0", "2026-01-01T00:00:00Z");
        other["architecture"] = "arm64".into();
        let mine = held.image_of("lab/app", &config("1001", "1.0.0", "2026-01-01T00:00:00Z"), &[("base", 1)]);
        let arm = held.image_of("lab/app", &other, &[("arm", 1)]);
        other["created"] = "2026-03-01T00:00:00Z".into();
        (mine, arm, held.image_of("lab/app", &other, &[("arm2", 1)]))
    };
    list(&[("linux", "amd64", &mine), ("linux", "arm64", &arm), ("unknown", "unknown", &arm)]);
    let text = stream("app", &[("live", &desk.from("multi"))], ", importMode: PreserveOriginal, scheduled: true");
    std::fs::write(desk.source().join("app.yaml"), text).unwrap();
    desk.apply();
    list(&[("linux", "amd64", &mine), ("linux", "arm64", &newer), ("unknown", "unknown", &newer)]);
    let out = desk.plan(&["--refresh", "app:live"]);
    let same = "only attestations, annotations or other platforms changed: nothing changes at run time on linux/amd64";
    assert!(out.contains(same), "{out}");
    assert_eq!(desk.review(&["--refresh", "app:live"])["images"][0]["runsTheSame"], true);
    list(&[("linux", "amd64", &mine)]);
    let review = desk.review(&["--refresh", "app:live"]);
    assert_eq!(rules(&review), ["SK703", "SK709"], "{review:#}");
    assert!(review["risks"][0]["message"].as_str().unwrap().contains("linux/arm64"), "{review:#}");
}

#[test]
fn three_hundred_tags_that_move_alike_are_one_change_and_ask_once() {
    let desk = Desk::new();
    let tags: Vec<String> = (0..300).map(|at| format!("t{at}")).collect();
    let of = |from: &'static str| tags.iter().map(|tag| (tag.as_str(), from)).collect::<Vec<_>>();
    desk.define("app", &of("1"));
    desk.apply();
    desk.push("2", &config("1001", "2.0.0", "2026-02-01T00:00:00Z"), &[("base", 1000)]);
    desk.define("app", &of("2"));
    desk.registry.server.forget();
    let review = desk.review(&[]);
    assert_eq!(review["images"].as_array().unwrap().len(), 1);
    assert_eq!(review["images"][0]["tags"].as_array().unwrap().len(), 300);
    let gets = desk.registry.server.count("GET ");
    assert!(gets <= 3, "manifest and config of the new image: {gets}");
    let markdown = desk.plan(&["--format", "markdown"]);
    assert!(markdown.chars().count() <= 60_000, "{}", markdown.len());
}

#[test]
fn a_hundred_new_digests_take_two_requests_each_and_the_old_ones_none() {
    let desk = Desk::new();
    for at in 0..100 {
        desk.push(&format!("a{at}"), &config("1001", &format!("1.0.{at}"), "2026-01-01T00:00:00Z"), &[("base", at)]);
        desk.push(
            &format!("b{at}"),
            &config("1001", &format!("2.0.{at}"), "2026-02-01T00:00:00Z"),
            &[("base", at + 1)],
        );
    }
    let names: Vec<(String, String)> = (0..100).map(|at| (format!("t{at}"), format!("a{at}"))).collect();
    let define = |names: &[(String, String)]| {
        let tags: Vec<(&str, &str)> = names.iter().map(|(tag, from)| (tag.as_str(), from.as_str())).collect();
        desk.define("app", &tags);
    };
    define(&names);
    desk.apply();
    let names: Vec<(String, String)> = (0..100).map(|at| (format!("t{at}"), format!("b{at}"))).collect();
    define(&names);
    desk.registry.server.forget();
    let since = Instant::now();
    let review = desk.review(&[]);
    let took = since.elapsed();
    assert_eq!(review["images"].as_array().unwrap().len(), 100);
    let (heads, gets) = (desk.registry.server.count("HEAD "), desk.registry.server.count("GET "));
    assert!(gets <= 201 && heads <= 100, "{gets} GETs, {heads} HEADs");
    // A loopback registry and a debug build; the figure of a release build is in the bench.
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn a_branch_is_compared_with_where_it_began_and_what_is_pending_is_told_apart() {
    let desk = Desk::new();
    desk.push("2", &config("1001", "2.0.0", "2026-02-01T00:00:00Z"), &[("base", 1000)]);
    desk.define("other", &[("x", "1")]);
    desk.commit("other");
    git(&desk.source(), &["checkout", "-qb", "branch"]);
    desk.define("app", &[("live", "2"), ("more", "1")]);
    // Renamed: the same.
    std::fs::rename(desk.source().join("other.yaml"), desk.source().join("renamed.yaml")).unwrap();
    desk.commit("branch");
    // Meanwhile the base goes on.
    git(&desk.source(), &["checkout", "-q", "main"]);
    desk.define("later", &[("x", "1")]);
    desk.commit("later");
    git(&desk.source(), &["checkout", "-q", "branch"]);
    let review = desk.review(&["--base", "main"]);
    let changed: Vec<String> = review["definitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| {
            format!("{}:{}", change["stream"]["name"].as_str().unwrap(), change["tag"].as_str().unwrap_or("-"))
        })
        .collect();
    assert_eq!(changed, ["app:live", "app:more"], "{review:#}");
    // Nothing was applied yet: what the other stream needs is pending anyway.
    let plan: Value = serde_json::from_str(&desk.plan(&["--base", "main", "--format", "json"])).unwrap();
    let step = |id: &Value| plan["steps"].as_array().unwrap().iter().find(|step| step["id"] == *id).unwrap().clone();
    let pending = plan["review"]["pending"].as_array().unwrap();
    assert!(!pending.is_empty(), "{plan:#}");
    for id in pending {
        assert!(step(id)["action"].to_string().contains("\"other\""), "{}", step(id));
    }
    // By name of a revision, from objects; and merged, it changes nothing any more.
    let by_head = desk.review(&["--base", "main", "--head", "branch", "--config", "source/streamkeeper.yaml"]);
    assert_eq!(by_head["definitions"], review["definitions"]);
    git(&desk.source(), &["checkout", "-q", "main"]);
    git(&desk.source(), &["merge", "-q", "--no-edit", "branch"]);
    let merged = desk.review(&["--base", "main"]);
    assert_eq!(merged["definitions"], Value::Null, "{merged:#}");
}

#[test]
fn a_fork_compares_definitions_without_a_target_a_registry_or_a_login() {
    let desk = Desk::new();
    git(&desk.source(), &["checkout", "-qb", "fork"]);
    desk.define("app", &[("live", "2")]);
    desk.commit("fork");
    desk.registry.server.forget();
    let (code, out, err) = desk.run(&["plan", "--base", "main", "--definitions-only"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(
        out.contains("~ default/app:live") && out.contains("+ DockerImage registry.example.com/lab/app:2"),
        "{out}"
    );
    assert_eq!(desk.registry.server.seen().len(), 0, "nobody was asked");
    assert!(!desk.folder.path().join("store").exists(), "nothing was made");
    let (code, _, err) = desk.run(&["plan", "--definitions-only"]);
    assert_eq!(code, 64, "{err}");
    // What is not shown differs all the same.
    let token = |value: &str| {
        let text = stream("app", &[("live", &desk.from("2"))], "");
        let text = text.replace("{name: 'live',", &format!("{{name: 'live', annotations: {{api-token: {value}}},"));
        assert!(text.contains("api-token"), "{text}");
        std::fs::write(desk.source().join("app.yaml"), text).unwrap();
    };
    token("hunter2canary");
    desk.commit("token");
    let before = git(&desk.source(), &["rev-parse", "HEAD"]);
    token("hunter2canary-other");
    let (_, out, _) = desk.run(&["plan", "--base", &before, "--definitions-only"]);
    assert!(out.contains("annotation api-token=(masked), a value that is masked is another one"), "{out}");
    git(&desk.source(), &["checkout", "-q", "app.yaml"]);
    // Only what the branch touches is read: a file that is broken, and was, is none of its business.
    git(&desk.source(), &["checkout", "-q", "main"]);
    std::fs::write(desk.source().join("broken.yaml"), "kind: ImageStream\n\tx: [\n").unwrap();
    desk.commit("broken");
    git(&desk.source(), &["checkout", "-qb", "second"]);
    desk.define("app", &[("live", "3")]);
    desk.commit("second");
    let arguments =
        ["plan", "--base", "main", "--head", "second", "--definitions-only", "--config", "source/streamkeeper.yaml"];
    let (code, out, err) = desk.run(&arguments);
    assert!(code == 0 && out.contains("lab/app:3") && !err.contains("broken.yaml"), "{code} {out}{err}");
    assert_eq!(desk.run(&["validate", "--config", "source/streamkeeper.yaml"]).0, 3);
}

#[test]
fn a_tag_that_is_removed_and_still_followed_is_an_error() {
    let desk = Desk::new();
    let text = "---\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\n  annotations:\n    image.openshift.io/triggers: '[{\"from\":{\"kind\":\"ImageStreamTag\",\"name\":\"app:live\"},\"fieldPath\":\"spec.template.spec.containers[?(@.name==\\\"web\\\")].image\"}]'\nspec:\n  replicas: 3\n  strategy: {type: Recreate}\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec:\n      containers: [{name: web, image: x}]\n";
    std::fs::write(desk.source().join("web.yaml"), text).unwrap();
    desk.apply();
    // What will roll is known from the definitions, where there is no cluster.
    desk.push("2", &config("1001", "2.0.0", "2026-02-01T00:00:00Z"), &[("base", 1000)]);
    desk.define("app", &[("live", "2")]);
    let plan: Value = serde_json::from_str(&desk.plan(&["--format", "json"])).unwrap();
    let roll = &plan["rolls"][0];
    assert_eq!((roll["workload"]["name"].as_str(), roll["replicas"].as_u64()), (Some("web"), Some(3)), "{plan:#}");
    assert_eq!(roll["strategy"], "Recreate");
    assert_eq!(plan["review"]["unused"], Value::Null, "somebody follows");
    let mermaid = desk.plan(&["--format", "mermaid"]);
    assert!(
        mermaid.starts_with("```mermaid\nflowchart LR\n")
            && mermaid.contains("-- rolls out -->")
            && mermaid.ends_with("```\n"),
        "{mermaid}"
    );
    desk.define("app", &[("other", "1")]);
    let (code, out, err) = desk.run(&["plan", "--fail-on", "error"]);
    assert_eq!(code, 3, "{out}{err}");
    assert!(
        out.contains("error[SK712] default/app:live: it is removed, and Deployment default/web still use it"),
        "{out}"
    );
    let copy = "---\napiVersion: v1\nkind: ImageStream\nmetadata: {name: copy}\nspec: {tags: [{name: c, from: {kind: ImageStreamTag, name: 'app:other'}}]}\n";
    std::fs::write(desk.source().join("copy.yaml"), copy).unwrap();
    let (_, mermaid, _) = desk.run(&["plan", "--format", "mermaid"]);
    assert!(mermaid.contains(" removed\n") && mermaid.contains("classDef removed"), "{mermaid}");
    assert_eq!(mermaid.matches("-- copied to -->").count(), 1, "{mermaid}");
}

#[test]
fn mondays_plan_is_mondays_image_or_stale_and_never_tuesdays() {
    let desk = Desk::new();
    desk.apply();
    let before = desk.head();
    let monday = desk.push("2", &config("1001", "2.0.0", "2026-02-01T00:00:00Z"), &[("base", 1000)]);
    desk.define("app", &[("live", "2")]);
    std::fs::write(desk.folder.path().join("key"), "0123456789abcdef0123456789abcdef").unwrap();
    desk.plan(&["--out", "monday.json", "--key-file", "key"]);
    // It names the files by the ids that Git would give them, on disk as in commits.
    let plan: Value =
        serde_json::from_str(&std::fs::read_to_string(desk.folder.path().join("monday.json")).unwrap()).unwrap();
    assert_eq!(plan["inputs"]["files"]["app.yaml"], git(&desk.source(), &["hash-object", "app.yaml"]));
    assert_eq!(plan["revision"]["content"].as_str().map(str::len), Some(64), "and one hash stands for all of them");
    let tuesday = desk.push("2", &config("1001", "2.0.1", "2026-02-02T00:00:00Z"), &[("base", 1000)]);
    let (code, shown, err) = desk.run(&["show", "monday.json"]);
    assert!(code == 0 && shown.contains("1.0.0 becomes 2.0.0"), "{shown}{err}");
    // Whoever cannot prove that it is Monday's plan has to hear what the tag is now.
    let (code, _, err) = desk.run(&["apply", "monday.json"]);
    assert!(code == 4 && err.contains("Nothing was changed"), "{code} {err}");
    desk.registry.server.forget();
    let (code, out, err) = desk.run(&["apply", "monday.json", "--key-file", "key"]);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(desk.registry.server.seen().len(), 0, "nothing is looked up anew");
    assert!(desk.head().contains(&monday) && monday != tuesday, "{} {before}", desk.head());
    // Somebody has done something else meanwhile: all of it is stale.
    desk.commit("monday");
    desk.define("app", &[("live", "1")]);
    desk.commit("back");
    desk.plan(&["--out", "back.json"]);
    desk.push("3", &config("1001", "3.0.0", "2026-03-01T00:00:00Z"), &[("base", 1000)]);
    desk.define("app", &[("live", "3")]);
    desk.apply();
    let head = desk.head();
    let (code, out, err) = desk.run(&["apply", "back.json"]);
    assert_eq!(code, 4, "{out}{err}");
    assert_eq!(desk.head(), head);
}

#[test]
fn all_or_nothing_does_nothing_when_a_part_is_stale() {
    let desk = Desk::new();
    desk.define("b", &[("x", "1")]);
    desk.apply();
    desk.define("app", &[("live", "1"), ("more", "1")]);
    desk.define("b", &[("x", "1"), ("more", "1")]);
    desk.commit("more");
    desk.plan(&["--out", "plan.json"]);
    // Somebody is quicker, with one of the two.
    let other = [("x", "1"), ("others", "1")];
    desk.define("b", &other);
    let (code, out, err) =
        desk.run(&["apply", "--yes", "--include", "b.yaml", "--change-scope", "--max-removals", "0"]);
    assert!(code == 0 || code == 5, "{code} {out}{err}");
    let tags = || desk.run(&["get", "istag", "-o", "name"]).1;
    assert!(tags().contains("b:others") && !tags().contains("app:more"), "{}", tags());
    let (code, out, err) = desk.run(&["apply", "plan.json", "--all-or-nothing"]);
    assert_eq!(code, 4, "{out}{err}");
    assert!(!tags().contains("app:more"), "nothing was done: {}", tags());
    let (code, out, err) = desk.run(&["apply", "plan.json"]);
    assert_eq!(code, 5, "{out}{err}");
    assert!(tags().contains("app:more"), "{}", tags());
}

#[test]
fn a_plan_of_copies_of_copies_does_not_stand_in_its_own_way() {
    let desk = Desk::new();
    let copies = |stream: &str, tag: &str, of: &str| {
        let (namespace, name) = stream.split_once('/').unwrap();
        let (from, of) = of.split_once('/').unwrap();
        let text = format!(
            "apiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  tags:\n    - {{name: {tag}, from: {{kind: ImageStreamTag, namespace: {from}, name: '{of}'}}}}\n"
        );
        std::fs::write(desk.source().join(format!("{name}.yaml")), text).unwrap();
    };
    // A copy of what is not there yet.
    desk.define("q", &[("other", "1")]);
    desk.define("nobody", &[("other", "1")]);
    copies("held/p", "t", "default/q:u");
    desk.apply();
    // Now it comes, and the copy has to wait.
    let config = desk.source().join("streamkeeper.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}policy: {{suspend: [held]}}\n")).unwrap();
    desk.define("q", &[("other", "1"), ("u", "1")]);
    let (code, out, err) = desk.run(&["apply", "--yes"]);
    assert!(code == 5 && out.contains("1 image imported, 1 change blocked"), "{code} {out}{err}");
    std::fs::write(&config, text).unwrap();
    // Then it may go on, with others that copy the copy: what they copy is settled first.
    copies("default/r", "v", "held/p:t");
    copies("default/s", "w", "default/r:v");
    desk.plan(&["--out", "plan.json"]);
    let (code, out, err) = desk.run(&["apply", "plan.json", "--all-or-nothing"]);
    assert_eq!(code, 0, "{out}{err}");
    for (namespace, tag) in [("held", "p:t"), ("default", "q:u"), ("default", "r:v"), ("default", "s:w")] {
        let (_, out, err) = desk.run(&["get", "istag", tag, "-n", namespace]);
        assert!(out.contains("lab/app@sha256:"), "{tag}: {out}{err}");
    }
    let (_, out, _) = desk.run(&["plan"]);
    assert!(out.contains("nothing to do"), "{out}");
    // What a plan found without an image, and has one now: nobody has reviewed that.
    copies("default/late", "x", "default/nobody:y");
    desk.commit("late");
    desk.plan(&["--out", "late.json"]);
    std::fs::remove_file(desk.source().join("late.yaml")).unwrap();
    desk.define("nobody", &[("other", "1"), ("y", "1")]);
    desk.apply();
    let (code, out, err) = desk.run(&["apply", "late.json", "--all-or-nothing"]);
    assert!(
        code == 4 && format!("{out}{err}").contains("without an image, and it is not so any more"),
        "{code} {out}{err}"
    );
    let (code, out, err) = desk.run(&["apply", "late.json"]);
    assert!((4..=5).contains(&code), "{code} {out}{err}");
    let (_, out, _) = desk.run(&["get", "istag", "late:x"]);
    assert!(!out.contains("sha256:"), "{out}");
}

#[test]
fn rules_of_the_config_are_over_the_plan_and_say_where_they_are_wrong() {
    let desk = Desk::new();
    desk.apply();
    desk.push("2", &config("1001", "2.0.0", "2026-02-01T00:00:00Z"), &[("base", 1000)]);
    desk.define("app", &[("live", "2")]);
    let path = desk.source().join("streamkeeper.yaml");
    let before = std::fs::read_to_string(&path).unwrap();
    let rule = |when: &str| {
        let text = format!(
            "{before}review:\n  rules:\n  - name: no-live\n    when: >-\n      {when}\n    message: live moves by hand\n    severity: error\n"
        );
        std::fs::write(&path, text).unwrap();
    };
    rule("review.images.exists(change, change.tags.exists(tag, tag.tag == 'live'))");
    let (code, out, err) = desk.run(&["plan", "--fail-on", "error"]);
    assert!(code == 3 && out.contains("error[SK716] rule no-live: live moves by hand"), "{code} {out}{err}");
    rule("plan.steps.size() > 100");
    assert_eq!(desk.run(&["plan", "--fail-on", "error"]).0, 0);
    rule("plan.nothing.there");
    let (code, out, _) = desk.run(&["plan", "--fail-on", "error"]);
    assert!(code == 3 && out.contains("the rule cannot be evaluated"), "{code} {out}");
    // What would take all memory, or all day, is not evaluated: it refuses the plan.
    let list = format!("[{}]", vec!["1"; 200].join(","));
    for (greedy, said) in [
        (format!("{list}.map(a, {list}.map(b, {list}.map(c, plan))).size() > 0"), "more than"),
        (format!("{list}.all(a, {list}.all(b, {list}.all(c, {list}.all(d, a < 0))))"), "steps"),
    ] {
        rule(&greedy);
        let (code, out, err) = desk.run(&["plan", "--fail-on", "error"]);
        assert!(code == 3 && out.contains("the rule is not evaluated") && out.contains(said), "{code} {out}{err}");
    }
    // Long and deep is no danger to the stack.
    rule(&format!("{} > 1000000", vec!["1"; 790].join("+")));
    assert_eq!(desk.run(&["plan", "--fail-on", "error"]).0, 0);
    for (wrong, said) in [("(".repeat(2000), "brackets in each other"), ("1+".repeat(5000), "more than 8192 bytes")] {
        rule(&wrong);
        let (code, _, err) = desk.run(&["plan"]);
        assert!(code == 3 && err.contains(said), "{code} {err}");
    }
    rule("plan.steps.size( >");
    let (code, _, err) = desk.run(&["plan"]);
    assert!(
        code == 3 && err.contains("streamkeeper.yaml:") && err.contains("`no-live` is no expression"),
        "{code} {err}"
    );
}

#[test]
fn unchanged_plan_is_still_judged_by_rules() {
    let desk = Desk::new();
    desk.apply();
    let path = desk.folder.path().join("rules.yaml");
    let before = std::fs::read_to_string(desk.source().join("streamkeeper.yaml")).unwrap();
    let rule = "review:\n  rules:\n  - {name: none, when: plan.streams > 0, message: no streams, severity: error}\n";
    let arguments = ["plan", "--revision", "main", "--config", "rules.yaml", "--fail-on", "error"];
    // The first plan finds nothing to do, and could be recalled by the next ones.
    std::fs::write(&path, &before).unwrap();
    assert_eq!([0, 1].map(|_| desk.run(&arguments).0), [0, 0]);
    std::fs::write(&path, before + rule).unwrap();
    assert_eq!([0, 1, 2].map(|_| desk.run(&arguments).0), [3, 3, 3]);
    // What is recalled has a review as every plan has one.
    let json = || desk.plan(&["--revision", "main", "--config", "source/streamkeeper.yaml", "--format", "json"]);
    let review = || serde_json::from_str::<Value>(&json()).unwrap()["review"].clone();
    let first = review();
    assert!(first.is_object());
    assert_eq!(review(), first);
}

#[test]
fn comparing_an_unrelated_change_says_nothing_of_streams() {
    let desk = Desk::new();
    git(&desk.source(), &["checkout", "-qb", "branch"]);
    std::fs::write(desk.source().join("notes.md"), "nothing of streams\n").unwrap();
    desk.commit("notes");
    let (code, _, err) = desk.run(&[
        "plan",
        "--base",
        "main",
        "--head",
        "branch",
        "--definitions-only",
        "--config",
        "source/streamkeeper.yaml",
    ]);
    assert!(code == 0 && err.is_empty(), "{code} {err}");
}

#[test]
fn each_risk_is_found_by_its_rule() {
    let old = || config("1001", "1.0.0", "2026-01-01T00:00:00Z");
    let with = |change: &dyn Fn(&mut Value)| {
        let mut config = config("1001", "1.0.0", "2026-01-02T00:00:00Z");
        change(&mut config);
        config
    };
    let based = |base: &'static str| {
        move |config: &mut Value| config["config"]["Labels"]["org.opencontainers.image.base.name"] = base.into()
    };
    let same: &[(&str, u64)] = &[("base", 1000), ("one", 500)];
    type Case<'a> = (Code, Value, &'a [(&'a str, u64)]);
    let cases: Vec<Case<'_>> = vec![
        (Code::BecameRoot, with(&|it| it["config"]["User"] = "0:0".into()), same),
        (Code::EntrypointReplaced, with(&|it| it["config"]["Entrypoint"] = json!(["/other"])), same),
        (Code::OlderImage, with(&|it| it["created"] = "2025-01-02T00:00:00Z".into()), same),
        (Code::NoTime, with(&|it| it["created"] = "1970-01-01T00:00:00Z".into()), same),
        (Code::SizeJump, with(&|_| ()), &[("base", 1000), ("one", 500), ("big", 300 << 20)]),
        (Code::BaseChanged, with(&|_| ()), &[("x", 1000), ("y", 500)]),
        (Code::OtherSource, with(&|it| it["config"]["Labels"] = json!({})), same),
    ];
    for (code, after, layers) in cases {
        let desk = Desk::new();
        desk.push("1", &old(), same);
        desk.apply();
        desk.push("2", &after, layers);
        desk.define("app", &[("live", "2")]);
        let review = desk.review(&[]);
        assert_eq!(rules(&review), [code.id()], "{review:#}");
    }
    // By label, another tag of the same base is the same family.
    let desk = Desk::new();
    desk.push("1", &with(&based("quay.io/ubi9/ubi:9.5")), same);
    desk.apply();
    desk.push("2", &with(&based("quay.io/ubi9/ubi:9.6@sha256:0")), &[("x", 1), ("y", 2)]);
    desk.push("3", &with(&based("docker.io/library/alpine:3")), same);
    desk.define("app", &[("live", "2")]);
    assert_eq!(rules(&desk.review(&[])).len(), 0);
    desk.define("app", &[("live", "3")]);
    assert_eq!(rules(&desk.review(&[])), [Code::BaseChanged.id()]);
    // What the definition gives up, a new image that is root, and one that cannot be compared any more.
    let root = desk.push("root", &with(&|it| it["config"]["User"] = "".into()), same);
    let pinned = format!("{}@{root}", desk.from("x").trim_end_matches(":x"));
    let write = |tag: &str, from: &str, policy: &str| {
        let text = stream("b", &[(tag, from)], policy).replace("insecure: true, ", "");
        std::fs::write(desk.source().join("b.yaml"), text).unwrap();
    };
    write("x", &pinned, "");
    assert!(rules(&desk.review(&[])).contains(&Code::NewRoot.id().to_owned()));
    desk.apply();
    write("x", &desk.from("root"), "");
    assert!(rules(&desk.review(&[])).contains(&Code::Unpinned.id().to_owned()), "{:#}", desk.review(&[]));
    {
        let mut held = desk.registry.content.lock().unwrap();
        held.manifests.retain(|name, _| !name.contains(&root));
    }
    std::fs::remove_file(support::cache(desk.folder.path())).unwrap();
    write("x", &desk.from("2"), "");
    assert!(rules(&desk.review(&[])).contains(&Code::NotInspected.id().to_owned()), "{:#}", desk.review(&[]));
    // The rest have a test of their own: SignatureLost in what is attached, PlatformLost and AttestationLost in lists, RemovedInUse in removals, OwnRule in rules.
    let rest = [
        Code::SignatureLost,
        Code::PlatformLost,
        Code::AttestationLost,
        Code::RemovedInUse,
        Code::OwnRule,
        Code::BecameInsecure,
        Code::ManyWorkloads,
    ];
    assert!(rest.iter().all(|code| code.is_of_plans()));
}

/// A desk whose tag `live` gets another image, and the digests of the two.
fn about_to_move() -> (Desk, String, String) {
    let desk = Desk::new();
    desk.apply();
    let old = desk.head().trim().to_owned();
    let new = desk.push("2", &config("1001", "1.0.0", "2026-01-02T00:00:00Z"), &[("base", 1000), ("two", 900)]);
    desk.define("app", &[("live", "2")]);
    (desk, old, new)
}

#[test]
fn what_is_attached_is_found_by_referrers_by_their_tag_and_by_cosigns() {
    let refer = |kind: &str| json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": format!("sha256:{}", "0".repeat(64)), "size": 1, "artifactType": kind});
    let signature = "application/vnd.dev.cosign.artifact.sig.v1+json";
    let attestation = "application/vnd.in-toto+json";
    let said = |review: &Value| {
        let side = |side: &str| {
            let image = &review["images"][0][side];
            (image["signed"].as_bool(), image["attested"].as_bool())
        };
        (side("before"), side("after"))
    };
    // A registry with lists of referrers: both are found in one request, and nothing else is asked for.
    let (desk, old, new) = about_to_move();
    let both = vec![refer(signature), refer(attestation)];
    desk.registry.content.lock().unwrap().referrers = Some([(format!("lab/app@{old}"), both.clone())].into());
    assert_eq!(said(&desk.review(&[])), ((None, None), (None, None)), "nobody has looked");
    desk.registry.server.forget();
    let review = desk.review(&["--signatures"]);
    assert_eq!(said(&review), ((Some(true), Some(true)), (Some(false), Some(false))));
    assert_eq!(rules(&review), [Code::AttestationLost.id(), Code::SignatureLost.id()], "{review:#}");
    let tagged = |digest: &str, end: &str| format!("{}{end}", digest.replace(':', "-"));
    assert_eq!(desk.registry.server.count(&tagged(&old, "")), 0, "what was found is not looked for");
    assert_eq!(desk.registry.server.count(&tagged(&new, ".sig")), 2, "HEAD, and GET for words to its no");
    // One without: then it is the tag that stands for the list.
    let (desk, old, _) = about_to_move();
    {
        let mut held = desk.registry.content.lock().unwrap();
        let index =
            json!({"schemaVersion": 2, "mediaType": crate::sim::registry::INDEX, "manifests": both}).to_string();
        let digest = held.manifest("lab/app", crate::sim::registry::INDEX, index.as_bytes());
        held.tag("lab/app", &tagged(&old, ""), &digest);
    }
    desk.registry.server.forget();
    assert_eq!(said(&desk.review(&["--signatures"])), ((Some(true), Some(true)), (Some(false), Some(false))));
    assert!(desk.registry.server.count("/referrers/") <= 2, "a registry without lists is not asked for one again");
    // And cosign's own tags.
    let (desk, old, _) = about_to_move();
    desk.push(&tagged(&old, ".sig"), &json!({}), &[("signature", 1)]);
    desk.push(&tagged(&old, ".att"), &json!({}), &[("attestation", 1)]);
    assert_eq!(said(&desk.review(&["--signatures"])), ((Some(true), Some(true)), (Some(false), Some(false))));
    // A registry that is broken has not said that there is none.
    let (desk, old, _) = about_to_move();
    desk.registry.content.lock().unwrap().referrers =
        Some([(format!("lab/app@{old}"), vec![json!("no object")])].into());
    let review = desk.review(&["--signatures"]);
    assert_eq!(
        (said(&review).0, rules(&review)),
        ((None, None), vec![Code::NotInspected.id().to_owned()]),
        "{review:#}"
    );
    // A mirror's yes is one; its no is none, whatever became of the source.
    let (desk, old, _) = about_to_move();
    let mut copy = desk.registry.content.lock().unwrap().clone();
    let signature = copy.image("lab/app", "amd64", "signature");
    copy.tag("lab/app", &tagged(&old, ".sig"), &signature);
    let mirror = Registry::start(copy);
    let (host, mirror) = (&desk.registry.server.host, &mirror.server.host);
    let text = format!(
        "registries: [{{host: '{host}', private: true, insecure: true}}, {{host: '{mirror}', private: true, insecure: true}}]\nmirrors: [{{source: '{host}/lab', mirrors: ['{mirror}/lab']}}]\n"
    );
    std::fs::write(desk.source().join("streamkeeper.yaml"), &text).unwrap();
    assert_eq!(said(&desk.review(&["--signatures"])), ((Some(true), Some(false)), (Some(false), Some(false))));
    let never = text.replace("/lab']}]", "/lab'], mirrorSourcePolicy: NeverContactSource}]");
    assert_ne!(never, text);
    std::fs::write(desk.source().join("streamkeeper.yaml"), never).unwrap();
    let review = desk.review(&["--signatures"]);
    assert_eq!(said(&review), ((Some(true), None), (None, None)), "{review:#}");
    assert!(!rules(&review).contains(&Code::SignatureLost.id().to_owned()), "{review:#}");
    // Somebody's answer to one question is none to the other.
    let (desk, old, _) = about_to_move();
    let only = vec![refer("application/vnd.cncf.notary.signature")];
    desk.registry.content.lock().unwrap().referrers = Some([(format!("lab/app@{old}"), only)].into());
    assert_eq!(said(&desk.review(&["--signatures"])).0, (Some(true), Some(false)));
    // And where the new one's cannot be looked for, nothing is lost.
    let (desk, old, new) = about_to_move();
    desk.registry.content.lock().unwrap().referrers =
        Some([(format!("lab/app@{old}"), both.clone()), (format!("lab/app@{new}"), vec![json!("no object")])].into());
    assert_eq!(rules(&desk.review(&["--signatures"])), [Code::NotInspected.id()]);
}

#[test]
fn a_base_image_is_known_by_the_layers_that_are_shared_with_it() {
    let desk = Desk::new();
    let layer = |content: &str| crate::sim::registry::digest(content.as_bytes());
    let built = |version: &str, layers: &[&str]| {
        let mut config = config("1001", version, "2026-01-02T00:00:00Z");
        config["rootfs"] = json!({"type": "layers", "diff_ids": layers.iter().map(|it| layer(it)).collect::<Vec<_>>()});
        config
    };
    // Packed in another way each time, as builders do: it is what is in them that counts.
    desk.push("os-8", &built("8", &["os 8"]), &[("os 8 packed", 1000)]);
    desk.push("java-8", &built("8", &["os 8", "java"]), &[("os 8 packed again", 1000), ("java packed", 10)]);
    desk.push("os-9", &built("9", &["os 9"]), &[("os 9 packed", 1000)]);
    // Whichever of two names comes first in time, it is the one that comes first in order that is told.
    desk.push("a-os-9", &built("9", &["os 9"]), &[("os 9 packed", 1000)]);
    desk.push("1", &built("1.0.0", &["os 8", "java", "app 1"]), &[("x", 1), ("y", 2), ("z", 3)]);
    desk.push("2", &built("2.0.0", &["os 9", "app 2"]), &[("v", 1), ("w", 2)]);
    desk.define("base", &[("os-8", "os-8"), ("java-8", "java-8"), ("os-9", "os-9"), ("z", "a-os-9")]);
    desk.define("app", &[("live", "1")]);
    desk.apply();
    desk.define("app", &[("live", "2")]);
    let review = desk.review(&[]);
    let image = &review["images"][0];
    assert_eq!(
        image["before"]["base"], "registry.example.com/lab/app:java-8",
        "the one with the most layers: {image:#}"
    );
    assert_eq!(image["after"]["base"], "registry.example.com/lab/app:a-os-9");
    assert!(
        image["line"].as_str().unwrap().contains("base registry.example.com/lab/app:java-8 becomes a-os-9"),
        "{image:#}"
    );
    assert!(rules(&review).is_empty(), "other tags of one repository are one family: {review:#}");
    assert_eq!(desk.review(&[]), review, "same inputs, same words");
}

#[test]
fn a_tag_that_becomes_insecure_and_very_many_that_roll_are_told() {
    let desk = Desk::new();
    let tag = |insecure: bool| {
        let text = stream("app", &[("live", &desk.from("1"))], "");
        let text = if insecure { text } else { text.replace("insecure: true", "insecure: false") };
        std::fs::write(desk.source().join("app.yaml"), text).unwrap();
    };
    let config = std::fs::read_to_string(desk.source().join("streamkeeper.yaml")).unwrap();
    std::fs::write(
        desk.source().join("streamkeeper.yaml"),
        format!("{}review: {{maxWorkloads: 1}}\n", config.replace("private: true", "private: true, insecure: true")),
    )
    .unwrap();
    tag(false);
    for name in ["one", "two"] {
        let text = format!(
            "---\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\n  annotations:\n    image.openshift.io/triggers: '[{{\"from\":{{\"kind\":\"ImageStreamTag\",\"name\":\"app:live\"}},\"fieldPath\":\"spec.template.spec.containers[0].image\"}}]'\nspec:\n  selector: {{matchLabels: {{app: web}}}}\n  template:\n    metadata: {{labels: {{app: web}}}}\n    spec:\n      containers: [{{name: web, image: x}}]\n"
        );
        std::fs::write(desk.source().join(format!("{name}.yaml")), text).unwrap();
    }
    let first = rules(&desk.review(&[]));
    assert!(first.contains(&Code::ManyWorkloads.id().to_owned()), "{first:?}");
    desk.apply();
    tag(true);
    let then = desk.review(&[]);
    assert!(rules(&then).contains(&Code::BecameInsecure.id().to_owned()), "{then:#}");
}
