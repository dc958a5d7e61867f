//! What each command says of each state: exit code, last line, and which reports for other programs have it. Green only where that is so.

use serde_json::Value;

use streamkeeper::findings::Code;

use crate::registry::stream;
use crate::sim::registry::{Content, Registry, error};
use crate::sim::server::Reply;
use crate::support::{git, manifest_folder, outcome, program, run};

/// A source with one state, and a store to apply it to.
struct World {
    folder: tempfile::TempDir,
    registry: Registry,
}

impl World {
    fn new(state: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut content = Content::default();
        let digest = content.image("lab/app", "amd64", "a");
        content.tag("lab/app", "1", &digest);
        let registry = Registry::wrapped(content, |request, reply| {
            if request.path.contains("lab/closed") {
                return error("403 Forbidden", "DENIED", "requested access to the resource is denied");
            }
            reply
        });
        let world = Self { folder, registry };
        std::fs::create_dir(world.folder.path().join("source")).unwrap();
        let host = world.registry.server.host.clone();
        let from = |rest: &str| format!("{host}/{rest}");
        world.config("");
        world.define("app", &[("1", &from("lab/app:1"))]);
        let source = world.folder.path().join("source");
        git(&source, &["init", "-q", "-b", "main"]);
        world.commit("first");
        if matches!(state, "nothing to do" | "removal blocked") {
            if state == "removal blocked" {
                world.define("gone", &[("1", &from("lab/app:1"))]);
            }
            assert_eq!(world.run(&["apply", "--yes"]).0, 0);
        }
        match state {
            "correct" | "nothing to do" => {}
            "broken" => {
                std::fs::write(source.join("broken.yaml"), stream("broken", &[("1", "Not A Reference")], "")).unwrap()
            }
            "image missing" => world.define("bad", &[("1", &from("lab/app:none"))]),
            "access denied" => world.define("bad", &[("1", &from("lab/closed:1"))]),
            "registry down" => world.define("bad", &[("1", "127.0.0.1:1/lab/app:1")]),
            "blocked by policy" => {
                world.config("policy: {blockedRegistries: [blocked.example.com]}\n");
                world.define("bad", &[("1", "blocked.example.com/lab/app:1")]);
            }
            "removal blocked" => {
                world.config("policy: {maxRemovals: 0}\n");
                std::fs::remove_file(source.join("gone.yaml")).unwrap();
            }
            other => panic!("{other}"),
        }
        world.commit("second");
        world
    }

    fn config(&self, more: &str) {
        let host = &self.registry.server.host;
        let text =
            format!("registries: [{{host: '{host}', private: true}}, {{host: '127.0.0.1:1', private: true}}]\n{more}");
        std::fs::write(self.folder.path().join("source/streamkeeper.yaml"), text).unwrap();
    }

    fn define(&self, name: &str, tags: &[(&str, &str)]) {
        std::fs::write(self.folder.path().join(format!("source/{name}.yaml")), stream(name, tags, "")).unwrap();
    }

    fn commit(&self, message: &str) {
        let source = self.folder.path().join("source");
        git(&source, &["add", "-A"]);
        git(&source, &["commit", "-q", "--allow-empty", "-m", message]);
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = program(self.folder.path());
        outcome(command.args(arguments).args(["-s", "source", "--store", "store"]).output().unwrap())
    }
}

/// State, and the exit codes of `validate`, `plan`, `plan --exit-code`, `plan --fail-on error`, the same with `--base`, and `apply`; then
/// the rule that reports name, if anything is wrong.
const TABLE: [(&str, [i32; 6], Option<&str>); 8] = [
    ("correct", [0, 0, 2, 0, 0, 0], None),
    ("nothing to do", [0, 0, 0, 0, 0, 0], None),
    ("broken", [3, 3, 3, 3, 3, 5], Some("SK207")),
    ("image missing", [0, 0, 2, 3, 3, 5], Some("SK720")),
    ("access denied", [0, 0, 2, 3, 3, 5], Some("SK721")),
    ("registry down", [0, 0, 2, 0, 0, 5], Some("SK722")),
    ("blocked by policy", [0, 0, 2, 3, 3, 5], Some("SK725")),
    ("removal blocked", [0, 0, 2, 0, 0, 5], Some("SK727")),
];

#[test]
fn every_state_has_its_exit_code_and_is_in_every_report() {
    for (state, codes, rule) in TABLE {
        let world = World::new(state);
        let commands: [&[&str]; 5] = [
            &["validate"],
            &["plan"],
            &["plan", "--exit-code"],
            &["plan", "--fail-on", "error"],
            &["plan", "--fail-on", "error", "--base", "HEAD~1"],
        ];
        for (arguments, expected) in commands.iter().zip(codes) {
            let (code, out, err) = world.run(arguments);
            assert_eq!(code, expected, "{state}: {arguments:?}\n{out}{err}");
            let says = err.lines().last().is_some_and(|line| line.contains(&format!("(exit code {code})")));
            assert_eq!(says, code != 0, "{state}: {arguments:?} ends with its reason\n{err}");
        }
        // Offline unless it is asked for.
        let (code, out, err) = world.run(&["validate", "--registries"]);
        let expected = if state == "removal blocked" { 0 } else { codes[3].max(codes[0]) };
        assert_eq!(code, expected, "{state}: validate --registries\n{out}{err}");
        if let Some(rule) = rule.filter(|_| state != "removal blocked") {
            assert!(out.contains(rule) && out.contains(".yaml:"), "{state}: {out}");
        }
        let (_, out, _) = world.run(&["plan"]);
        let idle = state == "nothing to do" || state == "broken";
        let last = out.lines().last().unwrap_or_default();
        if !idle && state != "correct" {
            assert!(last.starts_with("Blocked: 1 ") || state == "image missing", "{state}: {out}");
            assert!(!out.contains("nothing to do"), "{state}: {out}");
        }
        for format in ["sarif", "junit", "github", "gitlab", "markdown", "json"] {
            let (_, out, err) = world.run(&["plan", "--format", format]);
            let all = if format == "json" && state == "broken" { &err } else { &out };
            match rule {
                Some(rule) => assert!(all.contains(rule), "{state}: {format} has {rule}\n{out}{err}"),
                None => assert!(!all.contains("SK72") && !all.contains("<failure"), "{state}: {format}\n{out}"),
            }
        }
        let (_, sarif, _) = world.run(&["plan", "--format", "sarif"]);
        let sarif: Value = serde_json::from_str(&sarif).unwrap();
        for result in sarif["runs"][0]["results"].as_array().unwrap() {
            let file = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].as_str().unwrap();
            assert!(file.ends_with(".yaml") && file != "streamkeeper.yaml", "{state}: {result}");
        }
        // A warning fails nothing, unless it is to.
        let (_, junit, _) = world.run(&["plan", "--format", "junit"]);
        let is_error = codes[3] == 3;
        assert_eq!(junit.contains("<failure"), is_error, "{state}: {junit}");
        if rule.is_some() {
            let (code, junit, _) = world.run(&["plan", "--format", "junit", "--fail-on", "warning"]);
            assert!(code == 3 && junit.contains("<failure"), "{state}: {junit}");
        }
        let (code, out, err) = world.run(&["apply", "--yes"]);
        assert_eq!(code, codes[5], "{state}: apply\n{out}{err}");
        if code != 0 {
            assert!(err.lines().last().is_some_and(|line| line.contains("(exit code 5): ")), "{state}: {err}");
            let expected = if state == "removal blocked" { "1 removal blocked" } else { "" };
            assert!(out.contains(expected), "{state}: {out}");
        }
        // Again: what could not be done is said each time, also where nothing is left to write.
        let (code, out, _) = world.run(&["plan", "--exit-code"]);
        let expected = match state {
            "correct" | "nothing to do" => 0,
            "broken" => 3,
            _ => 2,
        };
        assert_eq!(code, expected, "{state}: the next plan\n{out}");
        assert!(expected != 2 || !out.contains("nothing to do"), "{state}: {out}");
    }
}

#[test]
fn apply_says_what_it_does_and_sums_up_in_the_units_of_the_plan() {
    let world = World::new("nothing to do");
    let host = world.registry.server.host.clone();
    let from = |rest: &str| format!("{host}/{rest}");
    let many: Vec<(String, String)> =
        (0..120).map(|at| (format!("t{at}"), format!("127.0.0.1:1/lab/app:{at}"))).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(tag, from)| (tag.as_str(), from.as_str())).collect();
    world.define("many", &many);
    world.define("app", &[("1", &from("lab/app:1")), ("2", &from("lab/app:1")), ("bad", &from("lab/app:none"))]);
    let (code, out, err) = world.run(&["apply", "--yes"]);
    assert_eq!(code, 5, "{out}{err}");
    // One line for each stream, as it ends.
    assert!(err.contains("default/app: 2 tags updated, 1 image imported, 1 import failed"), "{err}");
    assert!(err.contains("default/many: 1 stream created"), "{err}");
    // Equal reasons are one, with a count.
    assert_eq!(out.matches("registry unreachable").count(), 1, "{out}");
    assert!(out.contains("and 115 more"), "{out}");
    assert!(out.contains("error[SK720] image not found") && out.contains("default/app:bad"), "{out}");
    let last = out.lines().last().unwrap();
    let summary = "1 stream created, 2 tags updated, 1 image imported, 1 import failed, 120 imports blocked";
    assert!(last.starts_with(summary), "{last}");
    assert!(err.lines().last().unwrap().contains(summary), "{err}");
}

#[test]
fn every_cause_of_a_failed_import_has_its_code() {
    type Answer = fn(&str) -> Reply;
    let answers: [(Code, Answer); 4] = [
        (Code::ImageNotFound, |_| error("404 Not Found", "MANIFEST_UNKNOWN", "no such tag")),
        (Code::AccessDenied, |_| error("403 Forbidden", "DENIED", "no")),
        (Code::RateLimited, |_| {
            error("429 Too Many Requests", "TOOMANYREQUESTS", "slowly").header("Retry-After", "600")
        }),
        (Code::MalformedResponse, |_| Reply::new("200 OK", &[("Content-Type", "text/html")], "<html>")),
    ];
    for (code, answer) in answers {
        let world = World::new("correct");
        let registry = Registry::wrapped(Content::default(), move |request, _| answer(&request.path));
        let text = format!("registries: [{{host: '{}', private: true}}]\n", registry.server.host);
        std::fs::write(world.folder.path().join("source/streamkeeper.yaml"), text).unwrap();
        world.define("app", &[("1", &format!("{}/lab/app:1", registry.server.host))]);
        let (_, out, err) = world.run(&["plan", "--format", "json"]);
        let plan: Value = serde_json::from_str(&out).unwrap();
        let rules: Vec<&str> =
            plan["review"]["risks"].as_array().unwrap().iter().map(|risk| risk["rule"].as_str().unwrap()).collect();
        assert_eq!(rules, [code.id()], "{out}{err}");
        assert_eq!(plan["review"]["risks"][0]["origin"]["path"], "app.yaml", "{out}");
    }
    for (state, code) in [
        ("registry down", Code::RegistryUnreachable),
        ("blocked by policy", Code::ImportBlocked),
        ("removal blocked", Code::ChangeBlocked),
    ] {
        let (_, out, _) = World::new(state).run(&["plan", "--format", "json"]);
        assert!(out.contains(&format!("\"rule\": \"{code}\"")), "{state}: {out}");
    }
}

/// okd-project/okd#2337, sclorg/redis-container#226
#[test]
fn triggers_that_nothing_fires_are_findings() {
    let folder = tempfile::tempdir().unwrap();
    let triggers = r#"'[{"from":{"kind":"ImageStreamTag","name":"redis:6"},"fieldPath":"spec.template.spec.containers[0].image"}]'"#;
    let object = |kind: &str, version: &str, on_template: bool| {
        let annotation = format!("annotations: {{image.openshift.io/triggers: {triggers}}}");
        let (own, template) =
            if on_template { ("", annotation.as_str()) } else { (annotation.as_str(), "labels: {a: b}") };
        let comma = if own.is_empty() { "" } else { ", " };
        format!(
            "---\napiVersion: {version}\nkind: {kind}\nmetadata: {{name: redis, namespace: shop{comma}{own}}}\nspec:\n  template:\n    metadata: {{{template}}}\n    spec: {{containers: [{{name: a, image: ' '}}]}}\n"
        )
    };
    let streams = "apiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata: {name: redis, namespace: openshift}\nspec: {tags: [{name: '6'}]}\n";
    for (objects, expected) in [
        (object("Deployment", "apps/v1", false), Code::TriggerNamespace),
        (object("Deployment", "apps/v1", true), Code::TriggerWorkload),
        (object("Rollout", "argoproj.io/v1alpha1", false), Code::TriggerWorkload),
        (object("Service", "serving.knative.dev/v1", true), Code::TriggerWorkload),
    ] {
        std::fs::write(folder.path().join("a.yaml"), format!("{streams}{objects}")).unwrap();
        let (_, out, err) = run(folder.path(), &["validate"]);
        assert!(out.contains(&format!("[{expected}]")), "{objects}: {out}{err}");
    }
    // One that names the namespace, and one whose stream is there, are right.
    let named = object("Deployment", "apps/v1", false).replace("\"name\":", "\"namespace\":\"openshift\",\"name\":");
    std::fs::write(folder.path().join("a.yaml"), format!("{streams}{named}")).unwrap();
    let (_, out, err) = run(folder.path(), &["validate"]);
    assert!(out.is_empty(), "{out}{err}");
}

/// quarkusio/quarkus#35612: an image of a laptop, and a build that uses what is removed.
#[test]
fn images_for_another_platform_and_tags_that_builds_use_are_risks() {
    let world = World::new("nothing to do");
    {
        let mut content = world.registry.content.lock().unwrap();
        let arm = content.image("lab/arm", "arm64", "x");
        content.tag("lab/arm", "1", &arm);
        let list = content.list("lab/arm", &[("arm64", &arm)]);
        content.tag("lab/arm", "list", &list);
    }
    let host = &world.registry.server.host;
    let from = |rest: &str| format!("{host}/{rest}");
    let (single, list) = (from("lab/arm:1"), from("lab/arm:list"));
    world.define("arm", &[("1", &single), ("list", &list)]);
    let (code, out, err) = world.run(&["plan", "--fail-on", "warning"]);
    assert!(code == 3 && out.contains("[SK703]"), "{code} {out}{err}");
    assert!(out.contains("the image is not there for linux/amd64, but for linux/arm64"), "{out}");
    std::fs::remove_file(world.folder.path().join("source/arm.yaml")).unwrap();
    // A build names the tag, without any trigger: in the source, and in a file of workloads.
    let build = "apiVersion: build.openshift.io/v1\nkind: BuildConfig\nmetadata: {name: b, namespace: default}\nspec:\n  strategy: {type: Source, sourceStrategy: {from: {kind: ImageStreamTag, name: 'app:1'}}}\n";
    world.define("app", &[("2", &from("lab/app:1"))]);
    let workloads = world.folder.path().join("workloads.yaml");
    std::fs::write(&workloads, build).unwrap();
    let (code, out, err) = world.run(&["plan", "--fail-on", "error", "--workloads", "workloads.yaml"]);
    assert!(code == 3 && out.contains("error[SK712]") && out.contains("BuildConfig default/b"), "{code} {out}{err}");
    std::fs::write(world.folder.path().join("source/build.yaml"), build).unwrap();
    let (code, out, err) = world.run(&["plan", "--fail-on", "error"]);
    assert!(code == 3 && out.contains("error[SK712]") && out.contains("BuildConfig default/b"), "{code} {out}{err}");
}

#[test]
fn removals_are_limited_by_a_number_or_a_part() {
    let world = World::new("nothing to do");
    let from = format!("{}/lab/app:1", world.registry.server.host);
    for at in 0..19 {
        world.define(&format!("s{at}"), &[("1", &from)]);
    }
    assert_eq!(world.run(&["apply", "--yes"]).0, 0);
    for at in 0..3 {
        std::fs::remove_file(world.folder.path().join(format!("source/s{at}.yaml"))).unwrap();
    }
    for (limit, is_blocked) in [("10%", true), ("14%", false), ("2", true), ("3", false)] {
        let (_, out, err) = world.run(&["plan", "--max-removals", limit]);
        assert_eq!(out.contains("Blocked: 3 removals"), is_blocked, "{limit}: {out}{err}");
        world.config(&format!("policy: {{maxRemovals: {limit}}}\n"));
        let (_, out, err) = world.run(&["plan"]);
        assert_eq!(out.contains("Blocked: 3 removals"), is_blocked, "{limit}: {out}{err}");
    }
    let (code, _, err) = world.run(&["plan", "--max-removals", "101%"]);
    assert!(code == 64 && err.contains("neither a number nor a percentage"), "{code} {err}");
    world.config("policy: {maxRemovals: many}\n");
    let (code, _, err) = world.run(&["plan"]);
    assert!(code == 3 && err.contains("neither a number nor a percentage"), "{code} {err}");
}

/// As `oc` and `kubectl` take it.
#[test]
fn get_takes_names_and_flags_as_kubectl_does() {
    let world = World::new("nothing to do");
    let source = world.folder.path().join("source");
    let of = |namespace: &str, name: &str, label: &str| {
        format!(
            "---\napiVersion: v1\nkind: ImageStream\nmetadata: {{name: {name}, namespace: {namespace}, labels: {{team: {label}}}}}\nspec: {{tags: [{{name: t}}]}}\n"
        )
    };
    let text = of("shop", "web", "a") + &of("one", "both", "b") + &of("two", "both", "b");
    std::fs::write(source.join("more.yaml"), text).unwrap();
    assert_eq!(world.run(&["apply", "--yes"]).0, 0);
    for arguments in [&["get", "is", "web"][..], &["get", "web"], &["get", "imagestreams", "shop/web"]] {
        let (code, out, err) = world.run(&[arguments, &["-o", "name"]].concat());
        assert_eq!((code, out.as_str()), (0, "imagestream.image.openshift.io/web\n"), "{arguments:?}: {err}");
    }
    let (code, out, _) = world.run(&["describe", "web"]);
    assert!(code == 0 && out.contains("shop"), "{code} {out}");
    let (code, _, err) = world.run(&["get", "both"]);
    assert!(code == 64 && err.contains("in the namespaces one, two"), "{code} {err}");
    let (code, _, err) = world.run(&["get", "none"]);
    assert!(code == 1 && err.contains("default/none"), "{code} {err}");
    let rows = |more: &[&str]| world.run(&[&["get", "--no-headers"], more].concat()).1.lines().count();
    assert_eq!((rows(&[]), rows(&["-n", "one"]), rows(&["-n", "one", "-A"])), (4, 1, 4));
    assert_eq!((rows(&["-l", "team=b"]), rows(&["-l", "team,team!=b"]), rows(&["-l", "!team"])), (2, 1, 1));
    assert_eq!(world.run(&["get", "-l", "team in (a)"]).0, 64);
    // One flag for the format, under both names, wherever there is a choice.
    for arguments in [&["plan"][..], &["history", "shop/web"], &["validate"], &["get"]] {
        for flag in ["-o", "--output", "--format"] {
            let (code, out, err) = world.run(&[arguments, &[flag, "json"]].concat());
            assert!(
                code == 0 && serde_json::from_str::<Value>(&out).is_ok(),
                "{arguments:?} {flag}: {code} {out}{err}"
            );
        }
    }
}

/// The line of each recipe that looks for drift at night is red whenever anything differs, blocked or not.
#[test]
fn nightly_recipes_are_red_whenever_anything_differs() {
    let bin = std::path::Path::new(env!("CARGO_BIN_EXE_streamkeeper")).parent().unwrap().to_owned();
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let mut lines = Vec::new();
    for recipe in ["github-apply.yaml", "gitlab.yaml", "gitea.yaml", "Jenkinsfile.main"] {
        let text = std::fs::read_to_string(manifest_folder().join("examples/ci").join(recipe)).unwrap();
        let line = text.lines().find(|line| line.contains("plan --exit-code")).unwrap_or_else(|| panic!("{recipe}"));
        let line = line.trim().trim_start_matches("- ").trim_start_matches("sh '").trim_end_matches('\'');
        lines.push((recipe, line.to_owned()));
    }
    for (state, is_green) in [
        ("nothing to do", true),
        ("correct", false),
        ("image missing", false),
        ("registry down", false),
        ("removal blocked", false),
        ("blocked by policy", false),
        ("broken", false),
    ] {
        let world = World::new(state);
        for (recipe, line) in &lines {
            let output = std::process::Command::new("/bin/sh")
                .current_dir(world.folder.path().join("source"))
                .args(["-ec", line])
                .env_clear()
                .env("PATH", &path)
                .env("HOME", world.folder.path().join("home"))
                .env("STREAMKEEPER_STORE", "../store")
                .env("GITHUB_STEP_SUMMARY", world.folder.path().join("summary"))
                .output();
            let (code, out, err) = outcome(output.unwrap());
            assert_eq!(code == 0, is_green, "{recipe}: {state}: {code}\n{out}{err}");
        }
    }
}
