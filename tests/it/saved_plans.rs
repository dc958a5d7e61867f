//! Saved plans that somebody has edited, plans that are named by their id, and plans that are authenticated: what is done is what the
//! definitions of the plan's commit and the policy of today allow, or nothing.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use crate::cli::{commit, define, images, site};
use crate::support::{copy_folder, git, run};

const KEY: &str = "0123456789abcdef0123456789abcdef\n";

fn sk(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    run(folder, &[arguments, &["-s", "source"]].concat())
}

/// Everything that the store holds, without versions and times.
fn state(folder: &Path) -> BTreeSet<String> {
    let (code, out, err) = sk(folder, &["get", "is", "-o", "json"]);
    assert_eq!(code, 0, "{out}{err}");
    let list: Value = serde_json::from_str(&out).unwrap();
    let mut tags = BTreeSet::new();
    for stream in list["items"].as_array().unwrap_or(&vec![list.clone()]) {
        let name = format!("{}/{}", stream["metadata"]["namespace"], stream["metadata"]["name"]);
        let mut annotations = stream["metadata"]["annotations"].clone();
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.remove("openshift.io/image.dockerRepositoryCheck");
        }
        tags.insert(format!("{name} {} {annotations}", stream["metadata"]["labels"]));
        for tag in stream["spec"]["tags"].as_array().into_iter().flatten() {
            tags.insert(format!("{name}:{} from {} {}", tag["name"], tag["from"], tag["importPolicy"]));
        }
        for tag in stream["status"]["tags"].as_array().into_iter().flatten() {
            tags.insert(format!("{name}:{} is {}", tag["tag"], tag["items"][0]["dockerImageReference"]));
        }
    }
    tags
}

/// A store, and a plan for it that is saved as `plan.json`: streams made, changed, copied and removed.
fn saved() -> tempfile::TempDir {
    let folder = site();
    let config = folder.path().join("source/streamkeeper.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    let policy = "policy: {blockedRegistries: [evil.example.net], maxRemovals: 3}\n";
    std::fs::write(&config, text + policy).unwrap();
    for name in ["gone", "keep", "other"] {
        define(folder.path(), &format!("{name}.yaml"), name, &[("1", "1"), ("2", "2")]);
    }
    commit(folder.path());
    let (code, out, err) = sk(folder.path(), &["apply", "--yes"]);
    assert_eq!(code, 0, "{out}{err}");
    std::fs::remove_file(folder.path().join("source/gone.yaml")).unwrap();
    define(folder.path(), "keep.yaml", "keep", &[("1", "3"), ("3", "4")]);
    define(folder.path(), "new.yaml", "new", &[("1", "5")]);
    let copy = "---\napiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata: {name: copy, labels: {team: a}}\n\
                spec:\n  tags:\n    - {name: c, from: {kind: ImageStreamTag, name: 'new:1'}}\n";
    std::fs::write(folder.path().join("source/copy.yaml"), copy).unwrap();
    commit(folder.path());
    let (code, _, err) = sk(folder.path(), &["plan", "--out", "plan.json"]);
    assert_eq!(code, 0, "{err}");
    folder
}

fn load(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The folder with its store.
fn copied(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_folder(folder, copy.path());
    copy_folder(&folder.join("source/.streamkeeper"), &copy.path().join("source/.streamkeeper"));
    copy
}

/// Applies a plan on a copy of the folder, and gives the exit code, what was said, and the state afterwards.
fn applied(folder: &Path, plan: &str, more: &[&str]) -> (i32, String, BTreeSet<String>) {
    let copy = copied(folder);
    std::fs::write(copy.path().join("plan.json"), plan).unwrap();
    // The store belongs to the source at its place: the copy is told that it is the same.
    let identity = folder.join("source").canonicalize().unwrap();
    let config = copy.path().join("source/streamkeeper.yaml");
    let text = std::fs::read_to_string(&config).unwrap() + &format!("identity: '{}'\n", identity.display());
    std::fs::write(&config, text).unwrap();
    let (code, out, err) = sk(copy.path(), &[&["apply", "plan.json", "--yes"], more].concat());
    (code, out + &err, state(copy.path()))
}

/// Every value of a JSON document: the place of each.
fn places(value: &Value, at: &str, out: &mut Vec<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            let key = key.replace('~', "~0").replace('/', "~1");
            places(value, &format!("{at}/{key}"), out);
        }),
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(index, value)| places(value, &format!("{at}/{index}"), out))
        }
        _ => out.push(at.to_owned()),
    }
}

/// The value with one byte changed: in the text in its middle.
fn changed(value: &Value) -> Vec<Value> {
    match value {
        Value::String(text) if text.is_empty() => vec![json!("x")],
        Value::String(text) => [0, text.len() / 2, text.len() - 1]
            .into_iter()
            .filter(|at| text.is_char_boundary(*at) && text.is_char_boundary(at + 1))
            .map(|at| {
                let byte = text.as_bytes()[at];
                let other = match byte {
                    b'0'..=b'8' | b'a'..=b'e' => (byte + 1) as char,
                    b'9' => '0',
                    _ => 'a',
                };
                json!(format!("{}{other}{}", &text[..at], &text[at + 1..]))
            })
            .collect(),
        Value::Number(number) => vec![json!(number.as_u64().unwrap_or_default() + 1)],
        Value::Bool(is) => vec![json!(!is)],
        _ => vec![json!("x")],
    }
}

#[test]
fn a_plan_with_one_byte_changed_does_nothing_that_its_definitions_do_not_ask_for() {
    let folder = saved();
    let plan = load(&folder.path().join("plan.json"));
    let before = state(folder.path());
    let (code, said, after) = applied(folder.path(), &plan.to_string(), &[]);
    assert_eq!(code, 0, "{said}");
    assert_ne!(before, after);
    let mut all = Vec::new();
    places(&plan, "", &mut all);
    let cases: Vec<(String, Value)> = all
        .iter()
        .flat_map(|place| changed(plan.pointer(place).unwrap()).into_iter().map(move |value| (place.clone(), value)))
        .collect();
    assert!(cases.len() > 150, "{}", cases.len());
    let next = std::sync::atomic::AtomicUsize::new(0);
    let refused = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((place, value)) = cases.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                    let mut forged = plan.clone();
                    *forged.pointer_mut(place).unwrap() = value.clone();
                    let (code, said, now) = applied(folder.path(), &forged.to_string(), &[]);
                    assert!((0..=5).contains(&code), "{place}: {code} {said}");
                    // Each tag is as it was, or as the definitions want it.
                    let allowed = |line: &String| before.contains(line) || after.contains(line);
                    let odd = now.iter().find(|line| !allowed(line));
                    assert!(odd.is_none(), "{place} = {value}: {odd:?}\n{said}");
                    let gone = before.iter().find(|line| after.contains(*line) && !now.contains(*line));
                    assert!(gone.is_none(), "{place} = {value}: {gone:?} is gone\n{said}");
                    if matches!(code, 1 | 3) {
                        assert_eq!(now, before, "{place}: refused, and nothing is done\n{said}");
                        refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let refused = refused.into_inner();
    assert!(refused > cases.len() / 3, "{refused} of {}", cases.len());
}

/// Steps that nobody has planned: with the definitions at hand, and without them.
#[test]
fn steps_that_no_definition_asks_for_are_refused() {
    let folder = saved();
    let plan = load(&folder.path().join("plan.json"));
    let before = state(folder.path());
    let digest = format!("sha256:{}", "e1".repeat(32));
    let stream = json!({"namespace": "default", "name": "other"});
    let step = |id: u32, action: Value| {
        let stream = action.as_object().and_then(|action| action.values().next()).unwrap()["stream"].clone();
        let name = stream["name"].as_str().unwrap();
        let (_, live, _) = sk(folder.path(), &["get", "is", name, "-o", "json"]);
        let live = &serde_json::from_str::<Value>(&live).unwrap_or_default()["metadata"];
        let requires = match live["uid"].as_str() {
            Some(uid) => json!({"resourceVersion": {"stream": stream, "version": live["resourceVersion"], "uid": uid}}),
            None => json!({"streamAbsent": {"stream": stream}}),
        };
        json!({"id": id, "action": action, "reason": "notInRevision", "requires": [requires]})
    };
    let with = |steps: Vec<Value>| {
        let mut forged = plan.clone();
        forged["steps"] = Value::Array(steps);
        // Whoever forges the one can leave out the other.
        forged.as_object_mut().unwrap().remove("id");
        forged.to_string()
    };
    let import = |from: &str| {
        json!({"import": {"stream": stream, "images": [{"tag": "1", "from": from, "importPolicy": {},
            "referencePolicy": {"type": "Source"}, "result": {"image": {"digest": digest}}}]}})
    };
    let removals = (1_u32..)
        .zip(["keep", "other"])
        .map(|(id, name)| step(id, json!({"deleteStream": {"stream": {"namespace": "default", "name": name}}})));
    let cases = [
        ("a digest of nobody", with(vec![step(1, import("r.example.com/app:1"))])),
        ("a blocked registry", with(vec![step(1, import("evil.example.net/x:1"))])),
        ("all streams", with(removals.collect())),
        ("a tag", with(vec![step(1, json!({"deleteTag": {"stream": stream, "tag": "1"}}))])),
        (
            "another source of a tag",
            with(vec![step(
                1,
                json!({"setTag": {"stream": stream, "after": {"name": "1",
                "from": {"kind": "DockerImage", "name": format!("evil.example.net/x@{digest}")},
                "importPolicy": {}, "referencePolicy": {"type": "Source"}}}}),
            )]),
        ),
        (
            "another namespace",
            with(vec![step(1, json!({"deleteStream": {"stream": {"namespace": "../x\u{1b}[31m", "name": "x"}}}))]),
        ),
    ];
    for (name, forged) in &cases {
        for more in [&[][..], &["--unverified"]] {
            let (code, said, now) = applied(folder.path(), forged, more);
            assert_eq!((code, &now), (3, &before), "{name} {more:?}: {said}");
            assert!(said.contains("Nothing was changed") && !said.contains('\u{1b}'), "{name}: {said}");
        }
        // No definitions at hand: only policy and ownership are left, and they have to be asked for.
        let copy = copied(folder.path());
        let mut elsewhere: Value = serde_json::from_str(forged).unwrap();
        elsewhere["revision"]["commit"] = json!("1".repeat(40));
        std::fs::write(copy.path().join("plan.json"), elsewhere.to_string()).unwrap();
        let (code, _, err) = sk(copy.path(), &["apply", "plan.json", "--yes"]);
        assert!(code == 3 && err.contains("cannot be read"), "{name}: {code} {err}");
    }
    let two_of_a_number = with(vec![step(1, json!({"deleteTag": {"stream": stream, "tag": "1"}})); 2]);
    let (code, said, _) = applied(folder.path(), &two_of_a_number, &[]);
    assert!(code == 3 && said.contains("two steps have the number #1"), "{said}");
}

#[test]
fn without_its_definitions_a_plan_needs_a_word_and_is_held_to_policy_and_ownership() {
    let folder = saved();
    // Only the plan, the config and the store: as in a job that has no clone.
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let store = folder.path().join("source/.streamkeeper");
    let config = folder.path().join("policy.yaml");
    let identity = folder.path().join("source").canonicalize().unwrap();
    let text = |removals: usize| {
        format!(
            "identity: '{}'\nregistries: [{{host: r.example.com, layout: images}}]\npolicy: {{maxRemovals: {removals}, blockedRegistries: [evil.example.net]}}\n",
            identity.display()
        )
    };
    std::fs::write(&config, text(1)).unwrap();
    let arguments =
        ["apply", "../plan.json", "--yes", "--config", "../policy.yaml", "--store", store.to_str().unwrap()];
    let apply = |more: &[&str]| run(&empty, &[&arguments, more].concat());
    let (code, _, err) = apply(&[]);
    assert!(code == 3 && err.contains("cannot check the plan") && err.contains("--unverified"), "{code} {err}");
    let (code, _, err) = apply(&["--unverified"]);
    assert!(
        code == 3 && err.contains("not checked against its definitions") && err.contains("limit is 1"),
        "{code} {err}"
    );
    std::fs::write(&config, text(9)).unwrap();
    let (code, out, err) = apply(&["--unverified"]);
    assert_eq!(code, 0, "{out}{err}");
}

#[test]
fn a_commit_that_is_not_in_the_history_of_the_source_gives_no_authority() {
    let folder = saved();
    let source = folder.path().join("source");
    git(&source, &["checkout", "-q", "--orphan", "fork"]);
    define(folder.path(), "evil.yaml", "evil", &[("1", "1")]);
    commit(folder.path());
    let (code, _, err) = sk(folder.path(), &["plan", "--out", "fork.json", "--max-removals", "99"]);
    assert_eq!(code, 0, "{err}");
    git(&source, &["checkout", "-q", "main"]);
    let before = state(folder.path());
    let (code, _, err) = sk(folder.path(), &["apply", "fork.json", "--yes"]);
    assert!(code == 3 && err.contains("not what the source is at or before it"), "{code} {err}");
    assert_eq!(state(folder.path()), before);
    // Whoever names the branch means it.
    let (code, out, err) = sk(folder.path(), &["apply", "fork.json", "--yes", "--revision", "fork"]);
    assert!(code == 3 && err.contains("only a trusted config may"), "{code} {out}{err}");
}

#[test]
fn policy_of_today_holds_for_the_plan_of_yesterday() {
    let folder = saved();
    let config = folder.path().join("source/streamkeeper.yaml");
    let own = std::fs::read_to_string(&config).unwrap();
    let plan = std::fs::read_to_string(folder.path().join("plan.json")).unwrap();
    let before = state(folder.path());
    for (policy, expected) in [
        ("policy: {maxRemovals: 0}\n", "limit is 0"),
        ("policy: {suspend: [default]}\n", "policy.suspend"),
        ("policy: {blockedRegistries: [r.example.com]}\n", "blocked"),
        ("policy: {freeze: [{from: '2020-01-01', to: '2999-01-01', reason: holidays}]}\n", "holidays"),
    ] {
        let text: String =
            own.lines().filter(|line| !line.starts_with("policy")).map(|line| format!("{line}\n")).collect();
        std::fs::write(&config, text + policy).unwrap();
        let (code, said, now) = applied(folder.path(), &plan, &[]);
        assert!(matches!(code, 3 | 4) && said.contains(expected), "{policy}: {code} {said}");
        assert_eq!(now, before, "{policy}");
    }
}

#[test]
fn a_key_tells_the_plan_that_was_saved_from_every_other() {
    let folder = saved();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("key"), KEY).unwrap();
    std::fs::write(path("other-key"), KEY.replace('0', "f")).unwrap();
    std::fs::write(path("short"), "short\n").unwrap();
    let before = state(folder.path());
    let refused = |arguments: &[&str], expected: &str| {
        let (code, _, err) = sk(folder.path(), arguments);
        assert!(code == 3 && err.contains(expected), "{arguments:?}: {code} {err}");
        assert_eq!(state(folder.path()), before);
    };
    refused(&["apply", "plan.json", "--yes", "--key-file", "key"], "saved without a key");
    let (code, _, err) = sk(folder.path(), &["plan", "--out", "plan.json", "--key-file", "short"]);
    assert!(code == 1 && err.contains("less than 32 bytes"), "{code} {err}");
    let (code, _, err) = sk(folder.path(), &["plan", "--out", "plan.json", "--key-file", "key"]);
    assert!(code == 0 && err.contains("--key-file key"), "{code} {err}");
    assert!(!std::fs::read_to_string(path("plan.json")).unwrap().contains(KEY.trim()), "the key is in no plan");
    refused(&["apply", "plan.json", "--yes", "--key-file", "other-key"], "another key");
    let whole = std::fs::read_to_string(path("plan.json")).unwrap();
    let plan: Value = serde_json::from_str(&whole).unwrap();
    let mut all = Vec::new();
    places(&plan, "", &mut all);
    for place in all {
        for value in changed(plan.pointer(&place).unwrap()).into_iter().take(1) {
            let mut forged = plan.clone();
            *forged.pointer_mut(&place).unwrap() = value;
            std::fs::write(path("plan.json"), forged.to_string()).unwrap();
            let (code, _, err) = sk(folder.path(), &["apply", "plan.json", "--yes", "--key-file", "key"]);
            assert_eq!(code, 3, "{place}: {err}");
        }
    }
    assert_eq!(state(folder.path()), before);
    // The digests of an authenticated plan count, whatever the tags are by now.
    std::fs::write(path("plan.json"), whole).unwrap();
    images(folder.path(), 7);
    let (code, out, err) = sk(folder.path(), &["apply", "plan.json", "--yes", "--key-file", "key"]);
    assert_eq!(code, 0, "{out}{err}");
}

/// Whoever takes out what a step relies on does not make it hold.
#[test]
fn a_step_without_the_version_that_it_was_planned_for_is_no_step() {
    let folder = saved();
    let plan = load(&folder.path().join("plan.json"));
    let before = state(folder.path());
    for at in 0..plan["steps"].as_array().unwrap().len() {
        let mut forged = plan.clone();
        let Some(requires) = forged["steps"][at].as_object_mut().unwrap().remove("requires") else { continue };
        let is_version = |it: &Value| it.get("streamAbsent").is_some() || it.get("resourceVersion").is_some();
        let (code, said, now) = applied(folder.path(), &forged.to_string(), &[]);
        if requires.as_array().unwrap().iter().any(is_version) {
            assert!(code == 3 && said.contains("for which version of its stream"), "{at}: {code} {said}");
            assert_eq!(now, before);
        }
        let (code, said, _) = applied(folder.path(), &forged.to_string(), &["--unverified"]);
        assert!(matches!(code, 0 | 3 | 4), "{at}: {code} {said}");
    }
}

/// What is so already is no reason to carry out what somebody has written into a plan: with a step on the same stream that cannot hold, a
/// step would count as done by an earlier run.
#[test]
fn a_step_that_is_so_already_is_not_carried_out_from_the_file() {
    let folder = saved();
    let plan = load(&folder.path().join("plan.json"));
    let (_, _, good) = applied(folder.path(), &plan.to_string(), &[]);
    let (_, live, _) = sk(folder.path(), &["get", "is", "-o", "json", "keep"]);
    let live: Value = serde_json::from_str(&live).unwrap();
    let stream = json!({"namespace": "default", "name": "keep"});
    let tag = live["spec"]["tags"].as_array().unwrap().iter().find(|tag| tag["name"] == "1").unwrap().clone();
    let mut tag = tag;
    tag.as_object_mut().unwrap().remove("generation");
    let head = live["status"]["tags"].as_array().unwrap().iter().find(|tag| tag["tag"] == "1").unwrap();
    let digest = head["items"][0]["image"].clone();
    let ids: Vec<u64> = plan["steps"].as_array().unwrap().iter().map(|step| step["id"].as_u64().unwrap()).collect();
    let last = ids.iter().max().unwrap();
    let undo = json!({"setTag": {"stream": stream, "before": tag, "after": tag}});
    let import = json!({"import": {"stream": stream, "images": [{"tag": "1", "from": "r.example.com/app:9",
        "importPolicy": {"insecure": true, "scheduled": true}, "referencePolicy": {"type": "Source"},
        "result": {"image": {"digest": digest}}}]}});
    for (name, action) in [("undo", undo), ("import", import)] {
        let mut forged = plan.clone();
        let steps = forged["steps"].as_array_mut().unwrap();
        let require = json!([{"streamAbsent": {"stream": stream}}]);
        let decoy = json!({"deleteTag": {"stream": stream, "tag": "zzz"}});
        steps.push(json!({"id": last + 1, "action": action, "reason": "missing", "requires": require, "after": ids}));
        steps.push(json!({"id": last + 2, "action": decoy, "reason": "notInRevision", "requires": require}));
        forged.as_object_mut().unwrap().remove("id");
        let (_, said, now) = applied(folder.path(), &forged.to_string(), &[]);
        let before = state(folder.path());
        let odd = now.iter().find(|line| !before.contains(*line) && !good.contains(*line));
        assert!(odd.is_none(), "{name}: {odd:?}\n{said}");
        assert!(
            now == before || good.iter().filter(|line| line.contains("keep")).all(|line| now.contains(line)) || {
                // Nothing of the stream that was meddled with, or all of it.
                before.iter().filter(|line| line.contains("keep")).all(|line| now.contains(line))
            },
            "{name}: {said}"
        );
    }
    // Alone, it changes nothing at all.
    let mut forged = plan.clone();
    forged["steps"] = json!([
        {"id": 1, "action": {"import": {"stream": stream, "images": [{"tag": "1", "from": "r.example.com/app:9",
            "importPolicy": {"insecure": true, "scheduled": true}, "referencePolicy": {"type": "Source"},
            "result": {"image": {"digest": digest}}}]}}, "reason": "missing", "requires": [{"streamAbsent": {"stream": stream}}]},
        {"id": 2, "action": {"deleteTag": {"stream": stream, "tag": "zzz"}}, "reason": "notInRevision",
            "requires": [{"streamAbsent": {"stream": stream}}]},
    ]);
    forged.as_object_mut().unwrap().remove("id");
    let (code, said, now) = applied(folder.path(), &forged.to_string(), &[]);
    assert_eq!(now, state(folder.path()), "{code}: {said}");
}

/// A stream that was suspended since is left alone.
#[test]
fn an_annotation_that_came_later_counts_for_a_saved_plan() {
    let folder = saved();
    let before = state(folder.path());
    let path = folder.path().join("source/keep.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replacen("metadata:\n", "metadata:\n  annotations: {streamkeeper.io/reconcile: disabled}\n", 1);
    assert!(text.contains("disabled"), "{text}");
    std::fs::write(&path, text).unwrap();
    commit(folder.path());
    let (code, said, now) =
        applied(folder.path(), &std::fs::read_to_string(folder.path().join("plan.json")).unwrap(), &[]);
    assert!(code == 4 && said.contains("defined otherwise since"), "{code} {said}");
    assert_eq!(now, before);
}

#[test]
fn a_plan_that_was_reverted_since_is_stale() {
    let folder = saved();
    let source = folder.path().join("source");
    let before = state(folder.path());
    // What else was committed since is no matter.
    define(folder.path(), "more.yaml", "more", &[("1", "1")]);
    commit(folder.path());
    let all = |more: &[&str]| {
        let copy = copied(folder.path());
        let identity = format!("identity: '{}'\n", source.canonicalize().unwrap().display());
        let config = copy.path().join("source/streamkeeper.yaml");
        std::fs::write(&config, std::fs::read_to_string(&config).unwrap() + &identity).unwrap();
        let apply = |more: &[&str]| {
            let (code, out, err) = sk(copy.path(), &[&["apply", "plan.json"], more].concat());
            (code, out + &err, state(copy.path()))
        };
        (apply(more), apply(&["--all-or-nothing"]))
    };
    let ((code, said, after), (again, said_again, _)) = all(&[]);
    assert!(code == 0 && said.contains("the source is 1 commit ahead"), "{code} {said}");
    assert!(after != before && again == 0, "what is done already is not stale: {again} {said_again}");
    git(&source, &["revert", "--no-edit", "HEAD~1"]);
    let ((code, said, now), _) = all(&["--all-or-nothing"]);
    assert!(code == 4 && said.contains("2 commits ahead") && said.contains("defined otherwise since"), "{code} {said}");
    assert_eq!(now, before);
    // Of one file: the plan goes as a whole.
    git(&source, &["reset", "-q", "--hard", "HEAD~1"]);
    define(folder.path(), "keep.yaml", "keep", &[("1", "1"), ("3", "4")]);
    commit(folder.path());
    let ((code, said, now), _) = all(&[]);
    assert!(code == 4 && said.contains("default/keep:1"), "{code} {said}");
    assert!(!said.contains("default/new"), "{said}");
    assert_eq!(now, before);
    // A change that nobody has committed is no matter either.
    git(&source, &["reset", "-q", "--hard", "HEAD~1"]);
    std::fs::remove_file(source.join("new.yaml")).unwrap();
    let ((code, said, now), _) = all(&[]);
    assert!(code == 0 && now == after, "{code} {said}");
}

/// A plan that is saved among the definitions is none of them.
#[test]
fn a_plan_saved_in_its_source_can_be_applied() {
    let folder = saved();
    let source = folder.path().join("source");
    define(folder.path(), "dirty.yaml", "dirty", &[("1", "1")]);
    for _ in 0..2 {
        let (code, _, err) = run(&source, &["plan", "--out", "plan.json"]);
        assert_eq!(code, 0, "{err}");
    }
    let plan = load(&source.join("plan.json"));
    assert_eq!(plan["revision"]["dirty"], json!(true), "of a definition that is not committed");
    let (code, out, err) = run(&source, &["apply", "plan.json"]);
    assert_eq!(code, 0, "{out}{err}");
    commit(folder.path());
    git(&source, &["rm", "-q", "--cached", "plan.json"]);
    git(&source, &["commit", "-qm", "without the plan"]);
    let (_, out, _) = run(&source, &["plan"]);
    assert!(out.contains("nothing to do") && !out.contains("dirty"), "a plan makes no source dirty: {out}");
}

/// What a config says is not to be passed by with `--unverified`, and is not mixed up with definitions that cannot be read.
#[test]
fn what_trust_refuses_is_refused_without_its_definitions_too() {
    let folder = saved();
    for more in [&[][..], &["--unverified"]] {
        let (code, _, err) = sk(folder.path(), &[&["apply", "plan.json", "--untrusted"], more].concat());
        assert!(code == 3 && err.contains("`--untrusted` is given"), "{more:?}: {code} {err}");
        assert!(!err.contains("--unverified` applies") && err.matches("only a trusted config").count() == 1, "{err}");
    }
    let (code, _, err) = sk(folder.path(), &["plan", "--base", "HEAD", "--out", "plan.json"]);
    assert!(code == 0 && err.contains("--config-revision HEAD"), "{code} {err}");
}

fn id(folder: &Path, arguments: &[&str]) -> String {
    let (code, out, err) = sk(folder, &[&["plan", "--format", "json"], arguments].concat());
    assert_eq!(code, 0, "{err}");
    serde_json::from_str::<Value>(&out).unwrap()["id"].as_str().unwrap().to_owned()
}

#[test]
fn what_was_reviewed_is_what_is_applied() {
    let folder = saved();
    let source = folder.path().join("source");
    let reviewed = id(folder.path(), &[]);
    assert!(reviewed.starts_with("p1-") && reviewed.len() == 35, "{reviewed}");
    // Another commit, another time, another file: the same effect has the same id, and every format shows it.
    std::fs::rename(source.join("new.yaml"), source.join("moved.yaml")).unwrap();
    commit(folder.path());
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(id(folder.path(), &[]), reviewed);
    for format in ["text", "markdown"] {
        let (_, out, _) = sk(folder.path(), &["plan", "--format", format]);
        assert!(out.contains(&reviewed), "{out}");
    }
    let before = state(folder.path());
    let expect = |id: &str| sk(folder.path(), &["apply", "--expect", id]);
    let (code, _, err) = expect("p1-00000000000000000000000000000000");
    assert!(code == 4 && err.contains(&reviewed), "{code} {err}");
    for nonsense in
        ["nonsense", "", "p1-", &reviewed[..34], &format!("{reviewed} "), &format!("{reviewed}0"), "p1-zzzz", "p2-0"]
    {
        let (code, _, err) = expect(nonsense);
        assert!(code == 64 && err.contains("not the id of a plan of this version"), "{nonsense}: {code} {err}");
    }
    define(folder.path(), "new.yaml", "new2", &[("1", "6")]);
    assert_eq!(expect(&reviewed).0, 4, "a definition more");
    std::fs::remove_file(source.join("new.yaml")).unwrap();
    images(folder.path(), 3);
    assert_eq!(expect(&reviewed).0, 4, "other images");
    images(folder.path(), 0);
    assert_eq!(state(folder.path()), before);
    let (code, out, err) = expect(&reviewed);
    assert_eq!(code, 0, "{out}{err}");
    let (_, out, _) = sk(folder.path(), &["plan"]);
    assert!(out.contains("nothing to do"), "{out}");
    let (code, _, err) = expect(&reviewed);
    assert!(
        code == 4 && err.contains("nothing is left of the plan") && err.contains("carried out before"),
        "{code} {err}"
    );
}

#[test]
fn scheduled_moves_are_outside_of_what_was_reviewed() {
    let folder = site();
    let config = folder.path().join("source/streamkeeper.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text + "policy: {scheduleInterval: 1s}\n").unwrap();
    let scheduled = |name: &str| {
        define(folder.path(), &format!("{name}.yaml"), name, &[("1", "1")]);
        let path = folder.path().join(format!("source/{name}.yaml"));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.trim_end().to_owned() + "\n      importPolicy: {scheduled: true}\n").unwrap();
    };
    scheduled("s");
    let (code, out, err) = sk(folder.path(), &["apply", "--yes"]);
    assert_eq!(code, 0, "{out}{err}");
    define(folder.path(), "a.yaml", "a", &[("1", "2")]);
    let reviewed = id(folder.path(), &[]);
    let head = |tag: &str| {
        let (_, out, _) = sk(folder.path(), &["get", "istag", tag, "-o", "json"]);
        serde_json::from_str::<Value>(&out).unwrap_or_default()["image"]["metadata"]["name"]
            .as_str()
            .unwrap_or("")
            .to_owned()
    };
    let before = head("s:1");
    // The scheduled tag moves upstream between review and merge: the reviewed plan is the same, and alone is applied.
    images(folder.path(), 1);
    let digests = std::fs::read_to_string(folder.path().join("images/index.json")).unwrap();
    assert!(!digests.contains(&before));
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let (_, out, _) = sk(folder.path(), &["plan"]);
    assert!(out.contains("default/s") && out.contains("default/a"), "both move: {out}");
    let second = id(folder.path(), &[]);
    assert_ne!(second, reviewed, "the image of a:1 is another one too");
    let (code, out, err) = sk(folder.path(), &["apply", "--expect", &second]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(!head("a:1").is_empty());
    assert_eq!(head("s:1"), before, "nobody has reviewed that move");
}
