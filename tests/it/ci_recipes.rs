//! `examples/ci`: files that parse, commands that there are, secrets out of reach, and decisions that hold against forged payloads.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use clap::Parser;
use serde_json::{Value, json};
use streamkeeper::cli::Args;

use crate::cli::{commit, define, site};
use crate::support::{git, manifest_folder, outcome, program, run};
use crate::tools::tool;

/// The commands of the program in a text of shell: what the shell would fill in is a word.
fn commands(text: &str) -> Vec<Vec<String>> {
    let joined = text.replace("\\\n", " ");
    let mut found = Vec::new();
    for line in joined.lines().filter(|line| !line.trim_start().starts_with(['#', '/'])) {
        for at in line.match_indices("streamkeeper ").map(|(at, _)| at) {
            let before = line[..at].chars().next_back();
            let is_command = before.is_none_or(|char| " '\"(`".contains(char));
            let mut rest = line[at..].to_owned();
            // What another command fills in is a word, too.
            while let Some((before, inside)) = rest.split_once("$(") {
                let end = inside.find(')').map_or("", |end| &inside[end + 1..]);
                rest = format!("{before}x{end}");
            }
            let end = rest.find(['>', '|', ';', '&']).unwrap_or(rest.len());
            let words: Vec<String> = rest[..end]
                .split_whitespace()
                .map(|word| word.trim_matches(['"', '\'', '`', ')', '.', ',']).to_owned())
                .map(|word| if word.contains('$') || word.is_empty() { "x".to_owned() } else { word })
                .collect();
            let is_verb = ["validate", "plan", "show", "apply"].contains(&words.get(1).map_or("", String::as_str));
            if is_command && is_verb {
                found.push(words);
            }
        }
    }
    found
}

fn recipes() -> Vec<(String, String)> {
    let folder = manifest_folder().join("examples/ci");
    let entries = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    let mut recipes: Vec<_> = files
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read_to_string(entry.path()).unwrap()))
        .collect();
    recipes.sort();
    recipes
}

#[test]
fn every_recipe_parses_and_its_commands_are_there() {
    let mut verbs = BTreeSet::new();
    for (name, text) in recipes() {
        if name.ends_with(".yaml") {
            let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
            assert!(documents.iter().all(Value::is_object), "{name}");
        }
        for mut command in commands(&text) {
            // What a variable holds is the id of a plan.
            if let Some(at) = command.iter().position(|word| word == "--expect") {
                command[at + 1] = format!("p1-{}", "0".repeat(32));
            }
            let parsed = Args::try_parse_from(&command);
            assert!(parsed.is_ok(), "{name}: {command:?}: {}", parsed.err().unwrap());
            verbs.insert((name.split(['.', '-']).next().unwrap().to_owned(), command[1].clone()));
        }
        // What a stranger has named is never text of a script.
        let run = text.lines().filter(|line| line.contains("streamkeeper ") || line.contains("git fetch"));
        for line in run.filter(|line| !line.trim_start().starts_with('#')) {
            assert!(!line.contains("${{ github") && !line.contains("$(params"), "{name}: {line}");
        }
        for word in ["ci/steps/"] {
            for (at, _) in text.match_indices(word) {
                let step: String = text[at + word.len()..]
                    .chars()
                    .take_while(|char| char.is_ascii_alphanumeric() || matches!(char, '-' | '.'))
                    .collect();
                let step = step.trim_end_matches('.');
                assert!(
                    step.is_empty() || manifest_folder().join("examples/ci/steps").join(step).is_file(),
                    "{name}: {step}"
                );
            }
        }
    }
    for forge in ["github", "gitlab", "gitea", "Jenkinsfile", "tekton"] {
        assert!(verbs.contains(&(forge.to_owned(), "validate".to_owned())), "{forge}: {verbs:?}");
        let applies = verbs.contains(&(forge.to_owned(), "apply".to_owned())) || forge == "tekton";
        assert!(applies, "{forge}: {verbs:?}");
    }
}

#[test]
fn secrets_are_out_of_reach_for_a_change_and_nothing_is_pinned_by_name() {
    for (name, text) in recipes() {
        for line in text.lines().filter(|line| line.trim_start().starts_with("- uses:")) {
            let (_, at) = line.split_once('@').unwrap();
            let commit: String = at.chars().take_while(char::is_ascii_hexdigit).collect();
            assert!(commit.len() == 40 && line.contains(" # v"), "{name}: {line}");
        }
        // No plan and no decision travels as an artifact, and no config comes from the change.
        for word in ["download-artifact", "gh run download", "artifacts/plan", "FETCH_HEAD:", "--config "] {
            assert!(!text.contains(word), "{name}: {word}");
        }
        // What runs a plan file is gone: a plan is applied by its id.
        for line in text.lines().filter(|line| line.contains("streamkeeper apply")) {
            assert!(line.contains("--expect"), "{name}: {line}");
        }
    }
    let read = |name: &str| -> Value {
        let text = std::fs::read_to_string(manifest_folder().join("examples/ci").join(name)).unwrap();
        serde_saphyr::from_multiple::<Value>(&text).unwrap().remove(0)
    };
    // GitHub: a job with a secret has an environment, and is started from the main branch alone.
    for name in ["github.yaml", "github-plan.yaml", "github-apply.yaml"] {
        let workflow = read(name);
        for (job, body) in workflow["jobs"].as_object().unwrap() {
            let text = body.to_string();
            if text.contains("secrets.") {
                assert!(body["environment"].is_string(), "{name}: {job}");
                assert!(workflow["on"]["pull_request"].is_null() && name != "github.yaml", "{name}");
            }
        }
        let on: Vec<&str> = workflow["on"].as_object().unwrap().keys().map(String::as_str).collect();
        let expected: &[&str] = match name {
            "github.yaml" => &["push", "pull_request"],
            "github-plan.yaml" => &["workflow_run"],
            _ => &["push", "schedule", "workflow_dispatch"],
        };
        assert_eq!(on.iter().collect::<BTreeSet<_>>(), expected.iter().collect(), "{name}");
    }
    assert!(read("github.yaml")["jobs"].to_string().find("secrets").is_none());
    // GitLab: what has protected variables runs on the default branch.
    let gitlab = read("gitlab.yaml");
    for job in ["plan", "apply", "drift"] {
        let rules = gitlab[job]["rules"].as_array().unwrap();
        assert!(
            rules.iter().all(|rule| rule["if"].as_str().unwrap().contains("$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH")),
            "{job}"
        );
    }
    assert!(!gitlab["validate"].to_string().contains("STREAMKEEPER_"), "the change's own job has none");
    // Jenkins: the file that branches can change has no credentials.
    let branches = std::fs::read_to_string(manifest_folder().join("examples/ci/Jenkinsfile")).unwrap();
    assert!(!branches.contains("withCredentials"));
}

/// Runs a step of the recipes; gives what it prints, or that it has refused.
fn decide(jq: &Path, step: &str, arguments: &[(&str, &str, Value)], input: &Value) -> Option<String> {
    let mut command = Command::new(jq);
    command.arg("-er");
    let folder = tempfile::tempdir().unwrap();
    for (kind, name, value) in arguments {
        let text = if *kind == "--arg" { value.as_str().unwrap().to_owned() } else { value.to_string() };
        match *kind {
            "--slurpfile" => {
                let path = folder.path().join(name);
                std::fs::write(&path, text).unwrap();
                command.args([kind, name]).arg(path);
            }
            _ => {
                command.args([kind, name, &&*text]);
            }
        }
    }
    let input_path = folder.path().join("input");
    std::fs::write(&input_path, input.to_string()).unwrap();
    command.arg("-f").arg(manifest_folder().join("examples/ci/steps").join(step)).arg(input_path);
    let output = command.output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim_end().to_owned())
}

/// A value with another one in one place.
fn with(value: &Value, place: &str, other: Value) -> Value {
    let mut changed = value.clone();
    *changed.pointer_mut(place).unwrap_or_else(|| panic!("{place}")) = other;
    changed
}

const HEAD: &str = "1111111111111111111111111111111111111111";
const COMMIT: &str = "2222222222222222222222222222222222222222";
const PLAN: &str = "p1-0123456789abcdef0123456789abcdef";

#[test]
fn the_pull_request_of_a_run_is_found_by_ids_and_not_by_names() {
    let Some(jq) = tool("jq", "jq", "the decisions of the recipes for CI") else { return };
    let event = json!({
        "action": "completed",
        "repository": {"id": 1, "full_name": "acme/streams", "default_branch": "main"},
        "workflow_run": {
            "event": "pull_request", "conclusion": "success", "path": ".github/workflows/streams.yaml", "head_branch": "main",
            "head_sha": HEAD, "repository": {"id": 1}, "head_repository": {"id": 999},
        },
    });
    let pull = json!({
        "number": 7, "state": "open", "head": {"sha": HEAD, "ref": "main", "repo": {"id": 999}},
        "base": {"ref": "main", "repo": {"id": 1}},
    });
    let number = |event: &Value, pulls: &[&Value]| {
        decide(&jq, "github-pull-request.jq", &[("--slurpfile", "pulls", json!(pulls))], event)
    };
    // A fork whose branch is called `main`, as in a forged artifact: it is a pull request like any other.
    assert_eq!(number(&event, &[&pull]), Some("7".to_owned()));
    assert_eq!(
        number(
            &with(&event, "/workflow_run/path", json!(".github/workflows/streams.yaml@refs/pull/7/merge")),
            &[&pull]
        ),
        Some("7".to_owned())
    );
    for (place, value) in [
        ("/workflow_run/event", json!("push")),
        ("/workflow_run/event", json!("workflow_dispatch")),
        ("/workflow_run/conclusion", json!("failure")),
        ("/workflow_run/path", json!(".github/workflows/evil.yaml")),
        ("/workflow_run/repository/id", json!(999)),
        ("/workflow_run/head_repository/id", json!(1)),
        ("/workflow_run/head_sha", json!(COMMIT)),
    ] {
        assert_eq!(number(&with(&event, place, value.clone()), &[&pull]), None, "{place} {value}");
    }
    for (place, value) in [
        ("/state", json!("closed")),
        ("/head/sha", json!(COMMIT)),
        ("/head/repo/id", json!(2)),
        ("/base/ref", json!("other")),
        ("/base/repo/id", json!(999)),
        ("/number", json!("7; id")),
        ("/number", json!(-7)),
    ] {
        assert_eq!(number(&event, &[&with(&pull, place, value.clone())]), None, "{place} {value}");
    }
    // Two with one head: which of them is meant is not known.
    assert_eq!(number(&event, &[&pull, &with(&pull, "/number", json!(8))]), None);
    assert_eq!(number(&event, &[]), None);
}

#[test]
fn a_merged_commit_leads_to_the_plan_that_the_trusted_job_has_named() {
    let Some(jq) = tool("jq", "jq", "the decisions of the recipes for CI") else { return };
    let pull = json!({
        "number": 7, "merged_at": "2026-01-01T00:00:00Z", "merge_commit_sha": COMMIT, "head": {"sha": HEAD},
        "base": {"ref": "main", "repo": {"id": 1}},
    });
    let merged = |pulls: &[&Value]| {
        let arguments = [
            ("--arg", "commit", json!(COMMIT)),
            ("--arg", "branch", json!("main")),
            ("--argjson", "repository", json!(1)),
        ];
        decide(&jq, "github-merged.jq", &arguments, &json!(pulls))
    };
    assert_eq!(merged(&[&pull]), Some(HEAD.to_owned()));
    for (place, value) in [
        ("/merged_at", Value::Null),
        ("/merge_commit_sha", json!(HEAD)),
        ("/base/ref", json!("release")),
        ("/base/repo/id", json!(999)),
        ("/head/sha", json!("main")),
    ] {
        assert_eq!(merged(&[&with(&pull, place, value.clone())]), None, "{place} {value}");
    }
    assert_eq!(merged(&[]), None, "a direct push");
    let status = json!({
        "id": 5, "context": "streamkeeper/plan", "state": "success", "description": PLAN, "creator": {"id": 41898282, "login": "github-actions[bot]", "type": "Bot"},
    });
    let plan = |statuses: &[&Value]| decide(&jq, "github-plan-id.jq", &[], &json!(statuses));
    assert_eq!(plan(&[&status]), Some(PLAN.to_owned()));
    // Somebody with the right to push says so after the bot: the bot's word counts.
    let mallory = with(
        &with(&status, "/creator", json!({"id": 9, "login": "mallory", "type": "User"})),
        "/description",
        json!("p1-ffffffffffffffffffffffffffffffff"),
    );
    assert_eq!(plan(&[&mallory, &status]), Some(PLAN.to_owned()));
    assert_eq!(plan(&[&mallory]), None);
    let named = with(&mallory, "/creator/login", json!("github-actions[bot]"));
    assert_eq!(plan(&[&named]), None, "a user is no bot");
    for (place, value) in [
        ("/context", json!("other/plan")),
        ("/state", json!("failure")),
        ("/description", json!("p1-0123; id")),
        ("/description", json!(format!("{PLAN}\nx"))),
    ] {
        assert_eq!(plan(&[&with(&status, place, value.clone())]), None, "{place} {value}");
    }
    // The newest counts: a plan that was refused later is refused.
    assert_eq!(plan(&[&with(&status, "/state", json!("failure")), &status]), None);

    let request = json!({
        "iid": 7, "state": "merged", "sha": HEAD, "merge_commit_sha": COMMIT, "squash_commit_sha": null, "target_branch": "main", "target_project_id": 1,
    });
    let merged = |requests: &[&Value]| {
        let arguments = [
            ("--arg", "commit", json!(COMMIT)),
            ("--arg", "branch", json!("main")),
            ("--argjson", "project", json!(1)),
        ];
        decide(&jq, "gitlab-merged.jq", &arguments, &json!(requests))
    };
    assert_eq!(merged(&[&request]), Some(HEAD.to_owned()));
    for (place, value) in [
        ("/state", json!("opened")),
        ("/target_branch", json!("x")),
        ("/target_project_id", json!(2)),
        ("/merge_commit_sha", Value::Null),
    ] {
        assert_eq!(merged(&[&with(&request, place, value.clone())]), None, "{place} {value}");
    }
    for (step, name, author, good) in
        [("gitlab-plan-id.jq", "name", "author", "success"), ("gitea-plan-id.jq", "context", "creator", "success")]
    {
        let status =
            json!({"id": 5, name: "streamkeeper/plan", "status": good, "description": PLAN, author: {"id": 3}});
        let plan = |statuses: &[&Value]| decide(&jq, step, &[("--argjson", "author", json!(3))], &json!(statuses));
        assert_eq!(plan(&[&status]), Some(PLAN.to_owned()), "{step}");
        for (place, value) in [
            (format!("/{author}/id"), json!(4)),
            (format!("/{name}"), json!("x")),
            ("/status".to_owned(), json!("failed")),
            ("/description".to_owned(), json!("$(id)")),
        ] {
            assert_eq!(plan(&[&with(&status, &place, value.clone())]), None, "{step} {place} {value}");
        }
        let later = with(&with(&status, "/id", json!(6)), "/status", json!("failed"));
        assert_eq!(plan(&[&later, &status]), None, "{step}: the newest counts");
    }
    let payload = json!({
        "object_kind": "merge_request", "project": {"id": 1, "default_branch": "main"},
        "object_attributes": {"iid": 7, "target_project_id": 1, "target_branch": "main", "state": "opened"},
    });
    let number =
        |payload: &Value| decide(&jq, "gitlab-merge-request.jq", &[("--argjson", "project", json!(1))], payload);
    assert_eq!(number(&payload), Some("7".to_owned()));
    for (place, value) in [
        ("/object_kind", json!("push")),
        ("/project/id", json!(2)),
        ("/object_attributes/target_project_id", json!(2)),
        ("/object_attributes/target_branch", json!("x")),
        ("/object_attributes/state", json!("closed")),
        ("/object_attributes/iid", json!("7/../8")),
    ] {
        assert_eq!(number(&with(&payload, place, value.clone())), None, "{place} {value}");
    }
}

/// The whole way: a branch that is behind its base, planned as data with a config that would widen its reach; merged; applied by its id.
#[test]
fn the_plan_of_a_merge_is_the_plan_after_it() {
    if tool("jq", "jq", "the steps of the recipes for CI").is_none() {
        return;
    }
    let folder = site();
    let source = folder.path().join("source");
    let git = |arguments: &[&str]| git(&source, arguments);
    define(folder.path(), "a.yaml", "a", &[("1", "1")]);
    commit(folder.path());
    assert_eq!(run(folder.path(), &["apply", "--yes", "-s", "source"]).0, 0);
    git(&["checkout", "-qb", "change"]);
    define(folder.path(), "a.yaml", "a", &[("1", "2")]);
    let config = source.join("streamkeeper.yaml");
    let own = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{own}findings: {{severities: {{SK701: off}}}}\n")).unwrap();
    commit(folder.path());
    git(&["checkout", "-q", "main"]);
    // The base goes on, and is applied.
    define(folder.path(), "b.yaml", "b", &[("1", "3")]);
    commit(folder.path());
    assert_eq!(run(folder.path(), &["apply", "--yes", "-s", "source"]).0, 0);
    let out = folder.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let step = manifest_folder().join("examples/ci/steps/plan-change.sh");
    let plan = |head: &str| {
        let bin = Path::new(env!("CARGO_BIN_EXE_streamkeeper")).parent().unwrap().to_owned();
        let path = std::env::var_os("PATH").unwrap();
        let path = std::env::join_paths(std::iter::once(bin).chain(std::env::split_paths(&path))).unwrap();
        let mut command = Command::new(&step);
        command
            .current_dir(&source)
            .env_clear()
            .envs(program(folder.path()).get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("PATH", path);
        outcome(command.args(["main", head]).arg(&out).output().unwrap())
    };
    let (code, said, err) = plan("change");
    assert_eq!(code, 0, "{said}{err}");
    let id = std::fs::read_to_string(out.join("plan-id")).unwrap().trim().to_owned();
    let comment = std::fs::read_to_string(out.join("comment.md")).unwrap();
    assert!(comment.contains(&id) && comment.contains("SK718"), "the config that changes is a risk: {comment}");
    assert_eq!(git(&["status", "--porcelain"]), "", "nothing was checked out");
    git(&["checkout", "-q", "main", "--", "streamkeeper.yaml"]);
    git(&["merge", "-q", "--no-ff", "-m", "merged", "change"]);
    let (code, said, err) = run(folder.path(), &["apply", "--expect", &id, "-s", "source"]);
    assert_eq!(code, 0, "{said}{err}");
    // A conflict is told, and a name that is none is refused.
    git(&["checkout", "-qb", "conflict", "HEAD~1"]);
    define(folder.path(), "a.yaml", "a", &[("1", "7")]);
    commit(folder.path());
    git(&["checkout", "-q", "main"]);
    let (code, _, err) = plan("conflict");
    assert!(code == 3 && err.contains("conflicts with its base"), "{code} {err}");
    assert_ne!(plan("--output=x").0, 0);
}
