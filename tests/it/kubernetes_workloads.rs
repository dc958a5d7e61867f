//! Workloads that follow tags on plain Kubernetes, where Streamkeeper gives them their images. Against a simulated API server
//! here; against a real one in `tests/it/live_kubernetes.rs`.

use serde_json::{Value, json};
use streamkeeper::findings::Code;
use streamkeeper::openshift::StreamId;

use crate::site::Site;
use crate::workloads::workload;

/// The images of a workload's containers.
pub fn images(site: &Site, resource: &str, name: &str) -> Vec<String> {
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
    site.define("app", &["1"]);
    let text = std::fs::read_to_string(site.root().join("source/app.yaml")).unwrap();
    std::fs::write(site.root().join("source/app.yaml"), text.replace("}}\n", "}, referencePolicy: {type: Local}}\n"))
        .unwrap();
    let (code, out, err) = site.run(&["validate"]);
    assert!(code == 0 && out.contains(Code::NoLocalRegistry.id()), "{out}{err}");
    site.configure("internalRegistry: registry.corp.example:5000");
    let (code, out, err) = site.run(&["validate"]);
    assert!(code == 0 && !out.contains(Code::NoLocalRegistry.id()), "{out}{err}");
    site.deploy("deployments", &workload("Deployment", "web", "app:1"));
    site.apply();
    let image = &images(&site, "deployments", "web")[0];
    assert!(image.starts_with("registry.corp.example:5000/default/app@sha256:"), "{image}");
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
        std::fs::write(&path, format!("{text}policy: {{workloads: {{atOnce: {at_once}}}}}\n")).unwrap();
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

impl Site {
    /// Adds to the config.
    fn configure(&self, text: &str) {
        let path = self.root().join("source/streamkeeper.yaml");
        let before = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, format!("{before}{text}\n")).unwrap();
    }

    /// A stream that follows a tag upstream.
    fn define_scheduled(&self, name: &str, tag: &str) {
        let text = format!(
            "apiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata: {{name: {name}}}\nspec:\n  tags:\n  - {{name: '{tag}', from: {{kind: DockerImage, name: '{}'}}, importPolicy: {{scheduled: true, insecure: true}}}}\n",
            self.from(tag)
        );
        std::fs::write(self.root().join(format!("source/{name}.yaml")), text).unwrap();
    }

    pub fn edit(&self, resource: &str, name: &str, change: impl Fn(&mut Value)) {
        let key = (resource.to_owned(), "default".to_owned(), name.to_owned());
        let mut object = self.cluster.world.lock().unwrap().workloads[&key].clone();
        change(&mut object);
        let generation = object["metadata"]["generation"].as_i64().unwrap_or(1);
        object["metadata"]["generation"] = (generation + 1).into();
        self.deploy(resource, &object);
    }
}

#[test]
fn kinds_that_openshift_passes_over_get_their_images_where_the_config_names_them() {
    let site = Site::plain();
    site.define("app", &["1"]);
    let mut pod = workload("Pod", "web", "app:1");
    pod["spec"] = pod["spec"]["template"]["spec"].clone();
    pod["metadata"]["annotations"]["image.openshift.io/triggers"] =
        r#"[{"from": {"kind": "ImageStreamTag", "name": "app:1"}, "fieldPath": "spec.containers[0].image"}]"#.into();
    site.deploy("pods", &pod);
    for (kind, resource) in
        [("ReplicaSet", "replicasets"), ("ReplicationController", "replicationcontrollers"), ("Job", "jobs")]
    {
        site.deploy(resource, &workload(kind, "web", "app:1"));
    }
    // A Deployment's own, which has its annotations: left to it.
    let mut owned = workload("ReplicaSet", "web-5d4f", "app:1");
    owned["metadata"]["ownerReferences"] = json!([{"kind": "Deployment", "name": "web", "controller": true}]);
    site.deploy("replicasets", &owned);
    site.apply();
    assert_eq!(site.cluster.server.count("/replicasets"), 0, "nobody has asked for them");
    site.configure("policy: {workloads: {kinds: [Deployment, ReplicaSet, ReplicationController, Job, Pod]}}");
    let (code, out, err) = site.run(&["apply", "--yes"]);
    assert!(code == 0 && err.contains("Job default/web") && err.contains("use a CronJob"), "{code} {out}{err}");
    assert!(err.contains("its pods are replaced when they are deleted"), "{err}");
    let image = site.heads("app")[0].1[0].clone();
    for resource in ["replicasets", "replicationcontrollers"] {
        assert!(images(&site, resource, "web")[0].ends_with(&image), "{resource}");
    }
    let world = site.cluster.world.lock().unwrap();
    let pod = &world.workloads[&("pods".to_owned(), "default".to_owned(), "web".to_owned())];
    assert!(pod["spec"]["containers"][0]["image"].as_str().unwrap().ends_with(&image), "{pod}");
    drop(world);
    assert_eq!(images(&site, "replicasets", "web-5d4f")[0], "placeholder");
    assert_eq!(images(&site, "jobs", "web")[0], "placeholder");
    site.apply();
    assert_eq!(site.cluster.server.count("GET /apis/apps/v1/namespaces/default/replicasets/web-5d4f"), 0);
}

#[test]
fn names_of_streams_are_looked_up_once_where_a_workload_asks_for_it() {
    let site = Site::plain();
    site.define("app", &["1", "latest"]);
    let marked = |name: &str, on_template: bool, image: &str| {
        let mut object = workload("Deployment", name, "app:1");
        let mark = json!({"alpha.image.policy.openshift.io/resolve-names": "*"});
        object["metadata"]["annotations"] = if on_template { Value::Null } else { mark.clone() };
        if on_template {
            object["spec"]["template"]["metadata"]["annotations"] = mark;
        }
        object["spec"]["template"]["spec"]["containers"][0]["image"] = image.into();
        site.deploy("deployments", &object);
    };
    marked("named", false, "app:1");
    marked("latest", true, "app");
    // Not one of our streams; one of a registry; one whose tag has no image.
    marked("strange", false, "nginx:1");
    marked("full", false, "quay.io/lab/app:1");
    marked("empty", false, "app:7");
    site.push("latest", "latest");
    let (code, out, err) = site.run(&["apply", "--yes"]);
    assert!(code == 0 && out.contains("2 workloads follow"), "{code} {out}{err}");
    assert!(err.contains("Deployment default/empty") && err.contains("`default/app:7` has no image"), "{err}");
    let heads = site.heads("app");
    assert!(images(&site, "deployments", "named")[0].ends_with(&heads[0].1[0]));
    assert!(images(&site, "deployments", "latest")[0].ends_with(&heads[1].1[0]));
    for (name, image) in [("strange", "nginx:1"), ("full", "quay.io/lab/app:1"), ("empty", "app:7")] {
        assert_eq!(images(&site, "deployments", name)[0], image);
    }
    // As on OpenShift: what was looked up stays.
    let before = images(&site, "deployments", "named");
    site.push("1", "moved");
    let (code, out, err) = site.run(&["apply", "--yes", "--refresh"]);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(images(&site, "deployments", "named"), before);
    site.apply();
}

#[test]
fn tags_of_other_namespaces_are_followed_where_the_config_shares_them() {
    let site = Site::plain();
    site.define("app", &["1"]);
    let mut object = workload("Deployment", "web", "app:1");
    object["metadata"]["namespace"] = "shop".into();
    object["metadata"]["annotations"]["image.openshift.io/triggers"] = r#"[{"from": {"kind": "ImageStreamTag", "name": "app:1", "namespace": "default"}, "fieldPath": "spec.template.spec.containers[0].image"}]"#.into();
    site.deploy("deployments", &object);
    let (code, out, err) = site.run(&["apply", "--yes"]);
    assert!(code == 0 && err.contains("`policy.workloads.shared` in the config does not name `default`"), "{out}{err}");
    let image = || {
        let world = site.cluster.world.lock().unwrap();
        let object = &world.workloads[&("deployments".to_owned(), "shop".to_owned(), "web".to_owned())];
        object["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()
    };
    assert_eq!(image(), "placeholder");
    site.configure("policy: {workloads: {shared: [default]}}");
    site.apply();
    assert!(image().contains("@sha256:"), "{}", image());
}

#[test]
fn workloads_of_a_suspended_namespace_are_left_as_they_are() {
    let site = Site::plain();
    site.define("app", &["1"]);
    site.apply();
    site.configure("policy: {suspend: [default]}");
    site.deploy("deployments", &workload("Deployment", "web", "app:1"));
    let (code, _, err) = site.run(&["apply", "--yes"]);
    assert!(code == 5 && err.contains("it waits: `policy.suspend`"), "{code} {err}");
    assert_eq!(images(&site, "deployments", "web")[0], "placeholder");
}

#[test]
fn drift_is_told_and_left_where_the_config_says_so() {
    let site = Site::plain();
    site.configure("policy: {workloads: {drift: report}}");
    site.define("app", &["1"]);
    site.apply();
    // One that is new has nobody's image yet.
    site.deploy("deployments", &workload("Deployment", "web", "app:1"));
    site.apply();
    assert!(images(&site, "deployments", "web")[0].contains("@sha256:"));
    site.edit("deployments", "web", |object| {
        object["spec"]["template"]["spec"]["containers"][0]["image"] = "byhand:1".into();
    });
    let (code, out, err) = site.run(&["plan", "--exit-code"]);
    assert!(code == 0 && out.contains("somebody has set the image of `web` to byhand:1"), "{code} {out}{err}");
    site.apply();
    assert_eq!(images(&site, "deployments", "web")[0], "byhand:1");
    // Another tag of the stream moves: that is no reason to touch it.
    site.define("app", &["1", "2"]);
    site.apply();
    assert_eq!(images(&site, "deployments", "web")[0], "byhand:1");
    // Another trigger is no drift, on a workload that has been changed since.
    site.deploy("deployments", &workload("Deployment", "other", "app:1"));
    site.apply();
    let trigger = workload("Deployment", "other", "app:2")["metadata"]["annotations"].clone();
    site.edit("deployments", "other", |object| object["metadata"]["annotations"] = trigger.clone());
    site.apply();
    assert!(images(&site, "deployments", "other")[0].ends_with(&site.heads("app")[1].1[0]));
    // The tag moves on: that is no drift.
    site.push("1", "moved");
    let (code, out, err) = site.run(&["apply", "--yes", "--refresh"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(images(&site, "deployments", "web")[0].ends_with(&site.heads("app")[0].1[0]));
}

#[test]
fn what_a_failing_workload_follows_over_an_alias_waits_too_and_so_does_what_cannot_be_looked_at() {
    let site = Site::plain();
    site.configure("policy: {scheduleInterval: 1s, workloads: {onFailure: hold}}");
    site.define_scheduled("app", "1");
    let path = site.root().join("source/app.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text + "  - {name: live, from: {kind: ImageStreamTag, name: '1'}}\n").unwrap();
    site.deploy("deployments", &workload("Deployment", "web", "app:live"));
    site.apply();
    let first = site.heads("app");
    site.cluster.world.lock().unwrap().failing = true;
    site.push("1", "moved");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let (code, out, err) = site.run(&["apply", "--yes"]);
    assert!(code == 5 && err.contains("does not roll out with the image that it has"), "{code} {out}{err}");
    assert_eq!(site.heads("app"), first);
    // Nobody knows whether it rolls out.
    site.cluster.world.lock().unwrap().hidden.insert("deployments".to_owned());
    let (code, out, err) = site.run(&["apply", "--yes"]);
    assert!(code == 5 && err.contains("deployments.apps"), "{code} {out}{err}");
    assert_eq!(site.heads("app"), first);
}

#[test]
fn a_tag_whose_image_does_not_roll_out_waits_where_the_config_says_so() {
    let site = Site::plain();
    let path = site.root().join("source/streamkeeper.yaml");
    let plain = std::fs::read_to_string(&path).unwrap();
    let config = |hold: &str| {
        std::fs::write(&path, format!("{plain}policy: {{scheduleInterval: 1s, workloads: {{onFailure: {hold}}}}}\n"))
            .unwrap();
    };
    config("hold");
    site.define_scheduled("app", "1");
    site.deploy("deployments", &workload("Deployment", "web", "app:1"));
    site.apply();
    let first = site.heads("app");
    site.cluster.world.lock().unwrap().failing = true;
    site.push("1", "moved");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let (code, out, err) = site.run(&["apply", "--yes"]);
    assert!(
        code == 5 && err.contains("does not roll out with the image that it has: it has timed out"),
        "{code} {out}{err}"
    );
    assert_eq!(site.heads("app"), first);
    // Whoever asks for it, or does without, gets it.
    config("continue");
    let (code, out, err) = site.run(&["apply", "--yes"]);
    assert_eq!(code, 0, "{out}{err}");
    assert_ne!(site.heads("app"), first);
    let second = site.heads("app");
    config("hold");
    site.push("1", "mended");
    let (code, out, err) = site.run(&["apply", "--yes", "--refresh", "app:1"]);
    assert_eq!(code, 0, "{out}{err}");
    assert_ne!(site.heads("app"), second);
    // It rolls out at last: the tag follows again.
    site.cluster.world.lock().unwrap().failing = false;
    site.push("1", "and on");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let (code, out, err) = site.run(&["apply", "--yes"]);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(site.heads("app")[0].1.len(), 4);
}

/// The images of a recorded workload, by the tag whose image each is; what is nobody's as it stands.
fn by_tag(object: &Value, streams: &[(String, String)]) -> Vec<String> {
    let spec = &object["spec"];
    let spec = spec.get("jobTemplate").map_or(spec, |job| &job["spec"]);
    let lists = ["initContainers", "containers"].map(|list| &spec["template"]["spec"][list]);
    let images = lists.into_iter().flat_map(|list| list.as_array().into_iter().flatten());
    let shown = |item: &Value| {
        let image = item["image"].as_str().unwrap();
        let tag = streams.iter().find(|(_, digest)| image.ends_with(digest.as_str()));
        tag.map_or(image.to_owned(), |(tag, _)| {
            let is_local = image.starts_with("image-registry.openshift-image-registry.svc:5000/conformance/tr@");
            format!("{tag}{}", if is_local { " from the internal registry" } else { "" })
        })
    };
    images.map(shown).collect()
}

#[test]
fn recorded_triggers_have_the_same_effect() {
    // Where ours is kinder on purpose: names in single quotes, and as the documentation spells them.
    const KINDER: &[&str] = &["d2", "d4"];
    let site = Site::plain();
    site.configure("internalRegistry: image-registry.openshift-image-registry.svc:5000");
    let exchanges = crate::recorded_server::recorded("triggers_deployments");
    let digests = |stream: &Value| -> Vec<(String, String)> {
        let lists = stream["status"]["tags"].as_array().into_iter().flatten();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        lists.map(|list| (text(&list["tag"]), text(&list["items"][0]["image"]))).collect()
    };
    let ours = || {
        let world = site.cluster.world.lock().unwrap();
        digests(&world.custom[&StreamId::new("conformance", "tr")].object)
    };
    let define = |moved: &str| {
        site.push("v1", moved);
        let tag = |name: &str, from: &str, kind: &str| {
            format!(
                "  - {{name: {name}, from: {{kind: DockerImage, name: '{}'}}, importPolicy: {{insecure: true}}, referencePolicy: {{type: {kind}}}}}\n",
                site.from(from)
            )
        };
        let text = format!(
            "apiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata: {{name: tr, namespace: conformance}}\nspec:\n  tags:\n{}{}{}",
            tag("v1", "v1", "Source"),
            tag("v2", "2", "Source"),
            tag("loc", "3", "Local")
        );
        std::fs::write(site.root().join("source/tr.yaml"), text).unwrap();
        let (code, out, err) = site.run(&["apply", "--yes", "--refresh"]);
        assert_eq!(code, 0, "{out}{err}");
    };
    define("first");
    let mut theirs = Vec::new();
    let mut compared = 0;
    for exchange in &exchanges {
        let (request, body) = (&exchange["request"], &exchange["response"]["body"]);
        let path: Vec<&str> = request["path"].as_str().unwrap().split(['/', '?']).collect();
        let resource = path[6];
        match (request["method"].as_str().unwrap(), resource) {
            // Kinds that are OpenShift's alone.
            (_, "deploymentconfigs" | "buildconfigs") => {}
            ("POST", "imagestreamimports") => {
                theirs = digests(&body["status"]["import"]);
                if compared > 0 {
                    define("moved");
                }
            }
            ("POST", _) => {
                let mut object = request["body"].clone();
                object["metadata"]["generation"] = 1.into();
                site.deploy(resource, &object);
            }
            ("PATCH", _) => {
                let key = (resource.to_owned(), "conformance".to_owned(), path[7].to_owned());
                let mut object = site.cluster.world.lock().unwrap().workloads[&key].clone();
                object["spec"]["template"]["spec"]["containers"][0]["image"] = "byhand:1".into();
                site.deploy(resource, &object);
            }
            (_, _) => {
                let (code, out, err) = site.run(&["apply", "--yes"]);
                assert_eq!(code, 0, "{out}{err}");
                let name = body["metadata"]["name"].as_str().unwrap();
                let world = site.cluster.world.lock().unwrap();
                let object = world.workloads[&(resource.to_owned(), "conformance".to_owned(), name.to_owned())].clone();
                drop(world);
                let mut expected = by_tag(body, &theirs);
                if KINDER.contains(&name) {
                    assert_eq!(expected[0], "placeholder", "{name}: OpenShift reads it by now");
                    expected[0] = "v1".to_owned();
                }
                assert_eq!(by_tag(&object, &ours()), expected, "{name}: {}", exchange["note"]);
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 18, "every workload that was looked at");
}
