//! Plain Kubernetes as a target: the custom resource, written by `rules`. Against a simulated API server here; against a real
//! one in `tests/it/live_kubernetes.rs`.

use serde_json::{Value, json};
use streamkeeper::openshift::StreamId;

use crate::openshift_roles::{Access, access, granted};
use crate::site::Site;
use crate::support::git;

impl Site {
    /// A cluster that is not OpenShift, with the custom resource.
    pub fn plain() -> Self {
        let mut site = Self::new();
        site.target = "kubernetes";
        site.cluster.world.lock().unwrap().plain = Some(true);
        site
    }

    pub fn custom(&self, name: &str) -> Option<Value> {
        let world = self.cluster.world.lock().unwrap();
        world.custom.get(&StreamId::new("default", name)).map(|custom| custom.object.clone())
    }

    /// Tag and images, newest first, of the custom resource.
    pub fn heads(&self, name: &str) -> Vec<(String, Vec<String>)> {
        let object = self.custom(name).unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let lists = object["status"]["tags"].as_array().into_iter().flatten();
        lists
            .map(|list| {
                (
                    text(&list["tag"]),
                    list["items"].as_array().unwrap().iter().map(|item| text(&item["image"])).collect(),
                )
            })
            .collect()
    }
}

fn condition(object: &Value, kind: &str) -> Value {
    let conditions = object["status"]["conditions"].as_array().unwrap();
    conditions.iter().find(|condition| condition["type"] == kind).unwrap().clone()
}

#[test]
fn the_main_job_on_a_plain_cluster() {
    let mut site = Site::new();
    site.target = "auto";
    site.cluster.world.lock().unwrap().plain = Some(false);
    site.define("app", &["1", "2", "3", "4"]);
    let (code, _, err) = site.run(&["plan"]);
    assert!(code == 1 && err.contains("streamkeeper install crd"), "{code} {err}");
    let (code, _, err) = site.run(&["install", "crd"]);
    assert_eq!(code, 0, "{err}");
    let (code, out, err) = site.run(&["plan", "--out", "plan.json"]);
    assert!(code == 0 && out.contains("1 stream to create"), "{out}{err}");
    let (code, out, err) = site.run(&["apply", "plan.json"]);
    assert_eq!(code, 0, "{out}{err}");
    let object = site.custom("app").unwrap();
    assert_eq!(site.heads("app").len(), 4);
    assert_eq!(condition(&object, "Ready")["status"], "True", "{object}");
    assert_eq!(object["status"]["observedGeneration"], object["metadata"]["generation"], "{object}");
    site.apply();
    for (arguments, expected) in
        [(&["get"][..], "app"), (&["describe", "app"], "Name:"), (&["history", "app:1"], "sha256:")]
    {
        let (code, out, err) = site.run(arguments);
        assert!(code == 0 && out.contains(expected), "{arguments:?}: {out}{err}");
    }
    // An image moves, a tag comes, two go, and at last the stream.
    site.push("1", "moved");
    site.define("app", &["1", "2", "5"]);
    let (code, out, err) = site.run(&["apply", "--yes", "--refresh"]);
    assert_eq!(code, 0, "{out}{err}");
    site.apply();
    let heads = site.heads("app");
    assert_eq!(
        heads.iter().map(|(tag, images)| (tag.as_str(), images.len())).collect::<Vec<_>>(),
        [("1", 2), ("2", 1), ("5", 1)]
    );
    std::fs::remove_file(site.root().join("source/app.yaml")).unwrap();
    site.define("keep", &["1"]);
    site.apply();
    assert!(site.custom("app").is_none());
}

#[test]
fn exactly_the_planned_image_is_written() {
    let site = Site::plain();
    site.define("app", &["1"]);
    std::fs::write(site.root().join("key"), "0123456789abcdef0123456789abcdef").unwrap();
    let (code, out, err) = site.run(&["plan", "--out", "plan.json", "--key-file", "key", "--format", "json"]);
    assert_eq!(code, 0, "{out}{err}");
    // Upstream moves between the plan and its apply: what was reviewed is what is written.
    site.push("1", "moved");
    let (code, out_, err) = site.run(&["apply", "plan.json", "--key-file", "key"]);
    assert_eq!(code, 0, "{out_}{err}");
    assert!(out.contains(&site.heads("app")[0].1[0]), "{out}");
}

#[test]
fn failed_imports_are_conditions_and_mend() {
    let site = Site::plain();
    site.define("app", &["1", "gone"]);
    let (code, out, err) = site.run(&["apply", "--yes"]);
    assert_eq!(code, 5, "{out}{err}");
    let object = site.custom("app").unwrap();
    assert_eq!(
        (&condition(&object, "Ready")["status"], &condition(&object, "Stalled")["status"]),
        (&json!("False"), &json!("True"))
    );
    assert!(condition(&object, "Stalled")["message"].as_str().unwrap().contains("gone"), "{object}");
    let (code, out, _) = site.run(&["plan", "--exit-code"]);
    assert_eq!(code, 2, "it is written down, and the tag still has no image: {out}");
    site.push("gone", "back");
    let (code, out, err) = site.run(&["apply", "--yes", "--refresh"]);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(condition(&site.custom("app").unwrap(), "Ready")["status"], "True");
}

#[test]
fn two_managers_share_a_stream_of_the_custom_resource() {
    let site = Site::plain();
    site.define("app", &["1", "2"]);
    site.apply();
    let config = site.root().join("source/streamkeeper.yaml");
    let mine = std::fs::read_to_string(&config).unwrap();
    let theirs = mine.replace("streamkeeper-tests", "streamkeeper-other");
    std::fs::write(&config, &theirs).unwrap();
    site.define("app", &["3"]);
    site.apply();
    assert_eq!(site.heads("app").len(), 3);
    std::fs::write(&config, &mine).unwrap();
    site.define("app", &["1"]);
    site.apply();
    let tags: Vec<String> = site.heads("app").into_iter().map(|(tag, _)| tag).collect();
    assert_eq!(tags, ["1", "3"], "what is theirs stays");
}

#[test]
fn a_plain_server_that_vanishes_after_any_request_leaves_nothing_that_the_next_run_does_not_mend() {
    for at in 0..16 {
        for is_done in [false, true] {
            let site = Site::plain();
            let reference = |to: &str| {
                let path = site.root().join("source/app.yaml");
                let text = std::fs::read_to_string(&path).unwrap();
                let more = format!(
                    "    - {{name: ref, reference: true, from: {{kind: DockerImage, name: '{}'}}}}\n    - {{name: latest, from: {{kind: ImageStreamTag, name: ref}}}}\n",
                    site.from(to)
                );
                std::fs::write(path, text + &more).unwrap();
            };
            site.define("app", &["1", "2", "3", "4"]);
            reference("1");
            // In every other round from the very beginning.
            if at % 2 == 0 {
                site.apply();
            }
            // A tag moves, two change their source, one comes, two go.
            site.push("1", "moved");
            site.define("app", &["1", "2", "5"]);
            let text = std::fs::read_to_string(site.root().join("source/app.yaml")).unwrap();
            std::fs::write(site.root().join("source/app.yaml"), text.replace("lab/app:2", "lab/app:3")).unwrap();
            reference("2");
            site.cluster.world.lock().unwrap().vanishes = Some((at / 2, is_done));
            let (_, out, _) = site.run(&["apply", "--yes", "--refresh", "--request-timeout", "1s"]);
            site.cluster.world.lock().unwrap().vanishes = None;
            let (code, out_, err) = site.run(&["apply", "--yes", "--refresh"]);
            assert_eq!(code, 0, "{at} {is_done}: {out} then {out_}{err}");
            site.apply();
            let heads = site.heads("app");
            let events = if at % 2 == 0 { 2 } else { 1 };
            let mut shape: Vec<(&str, usize)> =
                heads.iter().map(|(tag, images)| (tag.as_str(), images.len())).collect();
            shape.sort_unstable();
            let expected = [("1", events), ("2", events), ("5", 1), ("latest", 1), ("ref", 1)];
            assert_eq!(shape, expected, "{at} {is_done}");
            let object = site.custom("app").unwrap();
            for list in object["status"]["tags"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|list| list["tag"] == "ref" || list["tag"] == "latest")
            {
                assert_eq!(list["items"][0]["dockerImageReference"], site.from("2").as_str(), "{at} {is_done}");
            }
            assert_eq!(condition(&object, "Ready")["status"], "True", "{at} {is_done}");
            // The last tag goes with its history.
            std::fs::write(
                site.root().join("source/app.yaml"),
                "apiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata: {name: app}\nspec: {}\n",
            )
            .unwrap();
            let (code, out, err) = site.run(&["apply", "--yes"]);
            assert_eq!(code, 0, "{out}{err}");
            assert_eq!(site.heads("app"), Vec::new(), "{at} {is_done}");
        }
    }
}

#[test]
fn the_roles_grant_what_is_asked_and_no_more() {
    let site = Site::plain();
    site.deploy_every_kind("app:1");
    site.define("app", &["1", "2"]);
    site.define("old", &["1"]);
    site.apply();
    site.define("app", &["1", "3"]);
    std::fs::remove_file(site.root().join("source/old.yaml")).unwrap();
    site.apply();
    let mut asked: Vec<Access> = site.cluster.server.seen().iter().filter_map(access).collect();
    // Server-side apply of what is not there is `create` as well.
    asked.push(("image.streamkeeper.io".to_owned(), "imagestreams".to_owned(), "create".to_owned()));
    asked.sort();
    asked.dedup();
    for file in ["rbac-namespaced.yaml", "rbac-cluster.yaml"] {
        assert_eq!(granted(&format!("examples/kubernetes/{file}")), asked, "{file}");
    }
}

/// What is observed of a stream, without its times.
fn observed(text: &str) -> Value {
    let mut stream: Value = serde_json::from_str(text).unwrap();
    for list in stream["status"]["tags"].as_array_mut().into_iter().flatten() {
        for part in ["items", "conditions"] {
            for event in list[part].as_array_mut().into_iter().flatten() {
                for time in ["created", "lastTransitionTime"] {
                    event.as_object_mut().unwrap().remove(time);
                }
            }
        }
        if list["items"] == json!([]) {
            list["items"] = Value::Null;
        }
    }
    let mut tags = stream["spec"]["tags"].as_array().cloned().unwrap_or_default();
    for tag in &mut tags {
        // Said in words where an API server would be silent.
        let map = tag.as_object_mut().unwrap();
        map.retain(|_, value| *value != json!(false));
        map["importPolicy"].as_object_mut().unwrap().retain(|_, value| *value != json!(false));
    }
    json!([stream["metadata"]["generation"], tags, stream["status"]["tags"]])
}

/// The store is held to the recordings by `rules` (`tests/it/recorded.rs`); the custom resource is held to the store.
#[test]
fn streams_come_to_the_same_as_on_the_store() {
    let site = Site::plain();
    let write = |tags: &str| {
        let text = format!(
            "apiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata: {{name: app}}\nspec:\n  tags:\n{tags}"
        );
        std::fs::write(site.root().join("source/app.yaml"), text).unwrap();
    };
    let image = |name: &str, tag: &str, more: &str| {
        format!(
            "  - {{name: '{name}', from: {{kind: DockerImage, name: '{}'}}, importPolicy: {{insecure: true}}{more}}}\n",
            site.from(tag)
        )
    };
    let alias = |name: &str, target: &str| {
        format!("  - {{name: '{name}', from: {{kind: ImageStreamTag, name: '{target}'}}}}\n")
    };
    let chapters = [
        [image("1", "1", ""), image("gone", "gone", ""), alias("latest", "1"), alias("a", "latest")].concat(),
        [image("1", "2", ""), image("gone", "gone", ""), alias("latest", "1"), alias("a", "latest")].concat(),
        [
            image("1", "2", ", annotations: {x: y}"),
            image("2", "3", ", reference: true"),
            alias("latest", "2"),
            alias("a", "latest"),
        ]
        .concat(),
        [image("1", "2", ", referencePolicy: {type: Local}"), alias("latest", "1")].concat(),
        [image("1", "1", ""), alias("latest", "1")].concat(),
    ];
    for (at, tags) in chapters.iter().enumerate() {
        write(tags);
        let (code, out, err) = site.run(&["apply", "--yes"]);
        assert!(matches!(code, 0 | 5), "{at}: {code} {out}{err}");
        let mut command = crate::support::program(site.root());
        let output =
            command.args(["apply", "--yes", "-s", "source", "--target", "store", "--store", "store"]).output().unwrap();
        assert!(matches!(output.status.code(), Some(0 | 5)), "{at}");
        let (_, ours, _) = site.run(&["get", "is", "app", "-o", "json"]);
        let mut command = crate::support::program(site.root());
        let output = command
            .args(["get", "is", "app", "-o", "json", "-s", "source", "--target", "store", "--store", "store"])
            .output()
            .unwrap();
        let theirs = String::from_utf8(output.stdout).unwrap();
        assert_eq!(observed(&ours), observed(&theirs), "{at}: left is the custom resource, right the store");
    }
}

#[test]
fn who_changed_what_and_why_is_known_from_the_cluster_alone() {
    let site = Site::plain();
    let source = site.root().join("source");
    git(&source, &["init", "-q"]);
    site.define("app", &["1", "2"]);
    site.deploy("deployments", &crate::workloads::workload("Deployment", "web", "app:1"));
    let commit = |message: &str| {
        git(&source, &["add", "-A"]);
        git(&source, &["commit", "-qm", message]);
        git(&source, &["rev-parse", "--short=12", "HEAD"])
    };
    let first = commit("first");
    site.apply();
    site.define("app", &["1"]);
    let second = commit("second");
    site.push("1", "moved");
    let (code, out, err) = site.run(&["apply", "--yes", "--refresh"]);
    assert_eq!(code, 0, "{out}{err}");
    // Nothing is remembered here: the answer is the cluster's.
    std::fs::remove_dir_all(site.root().join("cache")).ok();
    let (code, out, err) = site.run(&["history", "app", "--format", "json"]);
    assert_eq!(code, 0, "{err}");
    let changes: Vec<Value> = serde_json::from_str(&out).unwrap();
    let of = |commit: &str| {
        let is_its = |change: &&Value| change["revision"].as_str().is_some_and(|it| it.starts_with(commit));
        let row = |change: &Value| (change["tag"].clone(), change["action"].clone(), change["reason"].clone());
        changes.iter().filter(is_its).map(row).collect::<Vec<_>>()
    };
    assert_eq!(
        of(&second),
        [
            (json!("2"), json!("delete tag"), json!("no longer defined")),
            (json!("1"), json!("import"), json!("asked for")),
        ],
        "{out}"
    );
    assert_eq!(of(&first).len(), 3, "the stream, and two images: {out}");
    assert_eq!(changes.len(), 5, "each once: {out}");
    assert_eq!(changes[1]["path"], "app.yaml");
    let (_, out, _) = site.run(&["get", "is", "-o", "wide"]);
    assert!(out.contains(&second), "{out}");
    let (_, out, _) = site.run(&["history", "app:1"]);
    assert!(out.contains(&first) && out.contains(&second) && out.contains("asked for"), "{out}");
    // Told where others look, too.
    let events = site.cluster.world.lock().unwrap().events.clone();
    let about = |kind: &str| events.iter().filter(|event| event["regarding"]["kind"] == kind).collect::<Vec<_>>();
    let note = about("ImageStream").last().unwrap()["note"].as_str().unwrap().to_owned();
    assert!(note.contains(&second), "{note}");
    let note = about("Deployment")[1]["note"].as_str().unwrap();
    assert!(note.contains("web follows default/app:1: sha256:") && note.contains(&second), "{note}");
    // Who may not write Events goes on without.
    site.cluster.world.lock().unwrap().hidden.insert("events".to_owned());
    site.push("1", "and on");
    let (code, out, err) = site.run(&["apply", "--yes", "--refresh"]);
    assert!(code == 0 && err.contains("grant `create` on `events.events.k8s.io`"), "{out}{err}");
}

#[test]
fn what_a_stream_keeps_of_its_changes_is_bounded() {
    let site = Site::plain();
    site.define("app", &["1"]);
    site.apply();
    for at in 0..50 {
        site.push("1", &format!("moved {at}"));
        let (code, out, err) = site.run(&["apply", "--yes", "--refresh"]);
        assert_eq!(code, 0, "{out}{err}");
    }
    let object = site.custom("app").unwrap();
    let text = object["metadata"]["annotations"]["streamkeeper.io/changes.streamkeeper-tests"].as_str().unwrap();
    let kept: Vec<Value> = serde_json::from_str(text).unwrap();
    assert!(kept.len() == 40 && text.len() < 24 * 1024, "{} of {} bytes", kept.len(), text.len());
    // The images are all there, the newest with what was behind them.
    let (_, out, _) = site.run(&["history", "app:1", "--format", "json", "--limit", "100"]);
    let changes: Vec<Value> = serde_json::from_str(&out).unwrap();
    let images = changes.iter().filter(|change| change["after"].is_string()).count();
    assert_eq!(images, 51, "{out}");
}
