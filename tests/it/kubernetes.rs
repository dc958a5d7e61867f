//! Plain Kubernetes as a target: the custom resource, written by `rules`. Against a simulated API server here; against a real
//! one in `tests/it/live_kubernetes.rs`.

use serde_json::{Value, json};
use streamkeeper::model::StreamId;

use crate::openshift_roles::{Access, access, granted};
use crate::site::Site;
use crate::workloads::workload;

impl Site {
    /// A cluster that is not OpenShift, with the custom resource.
    fn plain() -> Self {
        let mut site = Self::new();
        site.target = "kubernetes";
        site.cluster.world.lock().unwrap().plain = Some(true);
        site
    }

    fn custom(&self, name: &str) -> Option<Value> {
        let world = self.cluster.world.lock().unwrap();
        world.custom.get(&StreamId::new("default", name)).map(|custom| custom.object.clone())
    }

    /// Tag and images, newest first, of the custom resource.
    fn heads(&self, name: &str) -> Vec<(String, Vec<String>)> {
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
    let (code, out, err) = site.run(&["plan", "--out", "plan.json", "--format", "json"]);
    assert_eq!(code, 0, "{out}{err}");
    // Upstream moves between the plan and its apply: what was reviewed is what is written.
    site.push("1", "moved");
    let (code, out_, err) = site.run(&["apply", "plan.json"]);
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
    assert_eq!(code, 0, "it is written down, and nothing else is to be done: {out}");
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

/// The images of a workload's containers.
fn images(site: &Site, resource: &str, name: &str) -> Vec<String> {
    let world = site.cluster.world.lock().unwrap();
    let object = &world.workloads[&(resource.to_owned(), "default".to_owned(), name.to_owned())];
    let spec = if object["spec"].get("jobTemplate").is_some() {
        &object["spec"]["jobTemplate"]["spec"]
    } else {
        &object["spec"]
    };
    let containers = spec["template"]["spec"]["containers"].as_array().unwrap();
    containers.iter().map(|container| container["image"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn workloads_get_their_images_from_us_and_keep_them() {
    let site = Site::plain();
    site.define("app", &["1", "2"]);
    site.deploy_every_kind("app:1");
    // As the documentation prints it, which OpenShift does not read; and `paused` as text.
    let annotate = |name: &str, trigger: &str| {
        let mut object = workload("Deployment", name, "app:1");
        object["metadata"]["annotations"]["image.openshift.io/triggers"] = trigger.into();
        site.deploy("deployments", &object);
    };
    annotate(
        "quotes",
        r#"[{"from": {"kind": "ImageStreamTag", "name": "app:1"}, "fieldPath": "spec.template.spec.containers[?(@.name=='web')].image"}]"#,
    );
    annotate(
        "text",
        r#"[{"from": {"kind": "ImageStreamTag", "name": "app:1"}, "fieldPath": "spec.template.spec.containers[0].image", "paused": "false"}]"#,
    );
    annotate(
        "held",
        r#"[{"from": {"kind": "ImageStreamTag", "name": "app:1"}, "fieldPath": "spec.template.spec.containers[0].image", "paused": "true"}]"#,
    );
    let (code, out, err) = site.run(&["plan", "--out", "plan.json"]);
    assert!(code == 0 && out.contains("Deployment default/web (follows default/app:1)"), "{out}{err}");
    assert!(out.contains("placeholder ->"), "{out}");
    let (code, out, err) = site.run(&["apply", "plan.json", "--wait=10s"]);
    assert!(code == 0 && out.contains("6 workloads follow"), "{code} {out}{err}");
    let image = site.heads("app")[0].1[0].clone();
    for (resource, name) in [
        ("deployments", "web"),
        ("statefulsets", "web"),
        ("daemonsets", "web"),
        ("cronjobs", "web"),
        ("deployments", "quotes"),
        ("deployments", "text"),
    ] {
        let images = images(&site, resource, name);
        assert!(images[0].ends_with(&image) && images[1] == "side:1", "{resource} {name}: {images:?}");
    }
    assert_eq!(images(&site, "deployments", "held")[0], "placeholder");
    site.apply();
    // A hand edit is drift, and healed.
    let mut edited = {
        let world = site.cluster.world.lock().unwrap();
        world.workloads[&("deployments".to_owned(), "default".to_owned(), "web".to_owned())].clone()
    };
    edited["spec"]["template"]["spec"]["containers"][0]["image"] = "byhand:1".into();
    site.deploy("deployments", &edited);
    let (code, out, _) = site.run(&["plan", "--exit-code"]);
    assert!(code == 2 && out.contains("image of web changed by somebody else"), "{code} {out}");
    assert!(out.contains("Plan: 1 workload to update; 1 workload rolls out"), "{out}");
    site.apply();
    assert!(images(&site, "deployments", "web")[0].ends_with(&image));
}

#[test]
fn an_image_that_another_tool_applies_is_left_to_it_and_told() {
    let site = Site::plain();
    site.define("app", &["1"]);
    let mut object = workload("Deployment", "web", "app:1");
    let spec = object["spec"].clone();
    crate::sim::openshift::workloads::own(&mut object, "argocd-controller", &spec);
    site.deploy("deployments", &object);
    let (code, out, err) = site.run(&["apply", "--yes"]);
    assert!(
        code == 0
            && err.contains("`argocd-controller` applies the image of `web`")
            && err.contains("ignoreDifferences"),
        "{code} {out}{err}"
    );
    assert_eq!(images(&site, "deployments", "web")[0], "placeholder");
    site.apply();
    let (code, out, err) = site.run(&["apply", "--yes", "--force-conflicts"]);
    assert_eq!(code, 0, "{out}{err}");
    assert_ne!(images(&site, "deployments", "web")[0], "placeholder");
}

#[test]
fn a_storm_of_triggers_is_one_write_a_workload_and_one_list_a_kind() {
    const WORKLOADS: usize = 500;
    let site = Site::plain();
    site.define("app", &["1", "2"]);
    for at in 0..WORKLOADS {
        // Two containers, two tags: still one write.
        let mut object = workload("Deployment", &format!("w{at}"), "app:1");
        object["metadata"]["annotations"]["image.openshift.io/triggers"] = json!([
            {"from": {"kind": "ImageStreamTag", "name": "app:1"}, "fieldPath": "spec.template.spec.containers[0].image"},
            {"from": {"kind": "ImageStreamTag", "name": "app:2"}, "fieldPath": "spec.template.spec.containers[1].image"},
        ]).to_string().into();
        site.deploy("deployments", &object);
    }
    site.deploy("deployments", &workload("Deployment", "other", "app:9"));
    site.apply();
    site.push("1", "moved");
    site.push("2", "moved too");
    site.cluster.server.forget();
    let (code, out, err) = site.run(&["apply", "--yes", "--refresh"]);
    assert!(code == 0 && out.contains("500 workloads follow"), "{code} {out}{err}");
    assert_eq!(site.cluster.server.count("PATCH /apis/apps/v1"), WORKLOADS);
    let generation = |name: &str| {
        let world = site.cluster.world.lock().unwrap();
        world.workloads[&("deployments".to_owned(), "default".to_owned(), name.to_owned())]["metadata"]["generation"]
            .clone()
    };
    assert_eq!(
        (generation("w7"), generation("other")),
        (json!(3), json!(1)),
        "once each time, and only those whose tag moved"
    );
    site.cluster.server.forget();
    assert_eq!(site.run(&["plan", "--exit-code"]).0, 0);
    assert_eq!(site.cluster.server.count("/deployments?limit="), 2, "a page for 500");
    assert_eq!(site.cluster.server.count("PATCH"), 0);
}

#[test]
fn local_pull_specs_name_the_registry_that_stands_in() {
    let site = Site::plain();
    let path = site.root().join("source/streamkeeper.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}internalRegistry: registry.corp.example:5000\n")).unwrap();
    site.define("app", &["1"]);
    let text = std::fs::read_to_string(site.root().join("source/app.yaml")).unwrap();
    std::fs::write(site.root().join("source/app.yaml"), text.replace("}}\n", "}, referencePolicy: {type: Local}}\n"))
        .unwrap();
    site.deploy("deployments", &workload("Deployment", "web", "app:1"));
    site.apply();
    let image = &images(&site, "deployments", "web")[0];
    assert!(image.starts_with("registry.corp.example:5000/default/app@sha256:"), "{image}");
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
fn containers_stay_in_their_order_and_only_what_is_ours_is_written() {
    let site = Site::plain();
    site.define("app", &["1", "2"]);
    let triggers = json!([
        {"from": {"kind": "ImageStreamTag", "name": "app:1"}, "fieldPath": "spec.template.spec.containers[0].image"},
        {"from": {"kind": "ImageStreamTag", "name": "app:2"}, "fieldPath": "spec.template.spec.containers[1].image"},
    ]);
    let mut object = workload("Deployment", "both", "app:1");
    object["metadata"]["annotations"]["image.openshift.io/triggers"] = triggers.to_string().into();
    site.deploy("deployments", &object);
    // It follows a tag that another source keeps.
    site.cluster.world.lock().unwrap().custom.insert(
        StreamId::new("default", "foreign"),
        crate::sim::openshift::custom::Custom {
            object: json!({"apiVersion": "image.streamkeeper.io/v1", "kind": "ImageStream", "metadata": {"name": "foreign", "namespace": "default", "uid": "f", "resourceVersion": "1", "generation": 1},
                "spec": {"tags": [{"name": "1", "from": {"kind": "DockerImage", "name": "x/y:1"}, "generation": 1}]},
                "status": {"observedGeneration": 1, "tags": [{"tag": "1", "items": [{"created": "2026-01-01T00:00:00Z", "dockerImageReference": "x/y@sha256:1", "image": "sha256:1", "generation": 1}]}]}}),
            ..Default::default()
        },
    );
    site.deploy("deployments", &workload("Deployment", "theirs", "foreign:1"));
    // Its path leads nowhere: told.
    let mut broken = workload("Deployment", "broken", "app:1");
    broken["metadata"]["annotations"]["image.openshift.io/triggers"] = r#"[{"from": {"kind": "ImageStreamTag", "name": "app:1"}, "fieldPath": "spec.template.spec.containers[7].image"}]"#.into();
    site.deploy("deployments", &broken);
    let (code, out, err) = site.run(&["apply", "--yes"]);
    assert!(code == 0 && err.contains("Deployment default/broken"), "{code} {out}{err}");
    let before = images(&site, "deployments", "both");
    site.push("1", "moved");
    let (code, out, err) = site.run(&["apply", "--yes", "--refresh"]);
    assert_eq!(code, 0, "{out}{err}");
    let after = images(&site, "deployments", "both");
    assert!(after[0] != before[0] && after[1] == before[1], "{before:?} {after:?}");
    site.apply();
    assert_eq!(images(&site, "deployments", "theirs")[0], "placeholder");
    // Its pods come and go while a plan is reviewed: that is not what it is stale for. Another image is.
    site.push("1", "moved again");
    let (code, out, err) = site.run(&["plan", "--refresh", "--out", "plan.json"]);
    assert_eq!(code, 0, "{out}{err}");
    let touch = |change: &dyn Fn(&mut Value)| {
        let key = ("deployments".to_owned(), "default".to_owned(), "both".to_owned());
        let mut object = site.cluster.world.lock().unwrap().workloads[&key].clone();
        change(&mut object);
        site.deploy("deployments", &object);
    };
    touch(&|object| object["status"]["readyReplicas"] = 0.into());
    let (code, out, err) = site.run(&["apply", "plan.json"]);
    assert_eq!(code, 0, "{out}{err}");
    site.push("1", "and again");
    let (code, out, err) = site.run(&["plan", "--refresh", "--out", "plan.json"]);
    assert_eq!(code, 0, "{out}{err}");
    touch(&|object| object["spec"]["template"]["spec"]["containers"][0]["image"] = "byhand:1".into());
    let (code, out, err) = site.run(&["apply", "plan.json"]);
    assert!(code == 5 && out.contains("stale") && out.contains("byhand:1"), "{code} {out}{err}");
    // Who may not look at workloads has not done all there was to do.
    site.cluster.world.lock().unwrap().hidden.insert("deployments".to_owned());
    let (code, out, err) = site.run(&["apply", "--yes"]);
    assert!(code == 5 && err.contains("`deployments.apps`"), "{code} {out}{err}");
}

#[test]
fn thousands_of_workloads_are_planned_from_one_list_a_kind() {
    const TAGS: usize = 200;
    const WORKLOADS: usize = 2000;
    let site = Site::plain();
    let tags: Vec<String> = (0..TAGS).map(|tag| format!("t{tag}")).collect();
    for tag in &tags {
        site.push(tag, tag);
    }
    site.define("app", &tags.iter().map(String::as_str).collect::<Vec<_>>());
    for at in 0..WORKLOADS {
        let tag = format!("app:t{}", at % TAGS);
        site.deploy("deployments", &workload("Deployment", &format!("w{at}"), &tag));
    }
    site.apply();
    for tag in &tags[..3] {
        site.push(tag, "moved");
    }
    site.cluster.server.forget();
    let (code, out, err) = site.run(&["plan", "--refresh", "--out", "plan.json"]);
    assert!(code == 0 && out.contains("30 workloads to update"), "{code} {out}{err}");
    // Five hundred a page.
    assert_eq!(site.cluster.server.count("/deployments?limit="), WORKLOADS / 500);
    assert_eq!(site.cluster.server.count("GET /apis/apps/v1/namespaces"), 0, "none is looked at by itself");
    let (code, out, err) = site.run(&["apply", "plan.json"]);
    assert!(code == 0 && out.contains("30 workloads follow"), "{code} {out}{err}");
    assert_eq!(site.cluster.server.count("PATCH /apis/apps/v1"), 30);
}

#[test]
fn workloads_are_written_so_many_at_once_as_the_config_says() {
    let site = Site::plain();
    site.define("app", &["1"]);
    for at in 0..60 {
        site.deploy("deployments", &workload("Deployment", &format!("w{at}"), "app:1"));
    }
    let path = site.root().join("source/streamkeeper.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let most = |at_once: usize, tag: &str| {
        std::fs::write(&path, format!("{text}policy: {{workloadsAtOnce: {at_once}}}\n")).unwrap();
        site.push("1", tag);
        let (code, out, err) = site.run(&["plan", "--refresh", "--out", "plan.json"]);
        assert_eq!(code, 0, "{out}{err}");
        site.cluster.server.forget();
        let (code, out, err) = site.run(&["apply", "plan.json"]);
        assert_eq!(code, 0, "{out}{err}");
        site.cluster.server.most_at_once()
    };
    assert_eq!(most(1, "one"), 1);
    assert!(most(20, "twenty") > 1);
}
