//! Workloads that follow tags on OpenShift: predicted in the plan, looked at after the apply, waited for when asked.

use serde_json::{Value, json};

use crate::site::Site;

/// A workload of that kind with one container `web`, whose image follows a tag.
pub fn workload(kind: &str, name: &str, tag: &str) -> Value {
    let template =
        json!({"spec": {"containers": [{"name": "web", "image": "placeholder"}, {"name": "side", "image": "side:1"}]}});
    let base = if kind == "CronJob" { "spec.jobTemplate.spec.template.spec" } else { "spec.template.spec" };
    let spec = if kind == "CronJob" {
        json!({"jobTemplate": {"spec": {"template": template}}})
    } else {
        json!({"template": template})
    };
    let triggers = json!([{"from": {"kind": "ImageStreamTag", "name": tag}, "fieldPath": format!("{base}.containers[?(@.name==\"web\")].image")}]);
    json!({"metadata": {"name": name, "namespace": "default", "generation": 1, "annotations": {"image.openshift.io/triggers": triggers.to_string()}}, "spec": spec})
}

fn with(mut object: Value, pointer: &str, key: &str, value: Value) -> Value {
    object.pointer_mut(pointer).unwrap()[key] = value;
    object
}

impl Site {
    pub fn deploy(&self, resource: &str, object: &Value) {
        self.cluster.world.lock().unwrap().deploy(resource, object);
    }

    /// One workload `web` of every kind whose annotation counts, following a tag.
    pub fn deploy_every_kind(&self, tag: &str) {
        for (kind, resource) in [
            ("Deployment", "deployments"),
            ("StatefulSet", "statefulsets"),
            ("DaemonSet", "daemonsets"),
            ("CronJob", "cronjobs"),
        ] {
            self.deploy(resource, &workload(kind, "web", tag));
        }
    }

    /// A cluster whose trigger controller runs, with a stream of one tag and everything that can follow it.
    pub fn with_workloads() -> Self {
        let site = Self::new();
        site.cluster.world.lock().unwrap().triggers = true;
        site.define("app", &["1"]);
        site.apply();
        site.deploy_every_kind("app:1");
        let paused = with(workload("Deployment", "paused", "app:1"), "/spec", "paused", true.into());
        site.deploy("deployments", &paused);
        let trigger = json!({"type": "ImageChange", "imageChangeParams": {"automatic": true, "containerNames": ["web"], "from": {"kind": "ImageStreamTag", "name": "app:1"}}});
        let mut config = workload("DeploymentConfig", "old", "app:1");
        config["metadata"]["annotations"] = json!({});
        site.deploy("deploymentconfigs", &with(config, "/spec", "triggers", json!([trigger])));
        let build = json!({"metadata": {"name": "b", "namespace": "default"}, "spec": {"triggers": [{"type": "ImageChange", "imageChange": {}}], "strategy": {"sourceStrategy": {"from": {"kind": "ImageStreamTag", "name": "app:1"}}}}});
        site.deploy("buildconfigs", &build);
        site
    }
}

#[test]
fn what_will_roll_is_in_the_plan_and_happens() {
    let site = Site::with_workloads();
    site.push("1", "moved");
    let (code, out, err) = site.run(&["plan", "--refresh", "app:1", "--out", "plan.json"]);
    assert_eq!(code, 0, "{out}{err}");
    let rolls = out.split("Will roll out").nth(1).unwrap_or_else(|| panic!("{out}"));
    for name in
        ["DaemonSet default/web", "Deployment default/web", "DeploymentConfig default/old", "StatefulSet default/web"]
    {
        assert!(rolls.split("Will build").next().unwrap().contains(name), "{name}: {out}");
    }
    assert!(out.contains("Will build\n    BuildConfig default/b"), "{out}");
    assert!(out.contains("CronJob default/web (its next run uses it)"), "{out}");
    assert!(out.contains("Deployment default/paused (it is paused)"), "{out}");
    assert!(out.contains("4 workloads roll out; 1 build starts"), "{out}");
    // In Markdown and JSON as well; the saved plan knows what to look at.
    let (_, markdown, _) = site.run(&["plan", "--refresh", "app:1", "--format", "markdown"]);
    assert!(markdown.contains("| `Deployment default/web` |  |  | `rolls out` |"), "{markdown}");
    let (code, out, err) = site.run(&["apply", "plan.json"]);
    assert!(code == 0 && out.contains("7 workloads follow"), "{out}{err}");
    let image = site.images("app")["1"].clone();
    let world = site.cluster.world.lock().unwrap();
    for ((resource, _, name), object) in &world.workloads {
        assert!(object.to_string().contains(&image), "{resource} {name}: {object}");
    }
}

#[test]
fn workloads_that_were_saved_take_the_place_of_the_clusters() {
    let site = Site::with_workloads();
    site.push("1", "moved");
    let rolls = |more: &[&str]| {
        let (code, out, err) = site.run(&[&["plan", "--refresh", "app:1", "--format", "json"], more].concat());
        assert_eq!(code, 0, "{out}{err}");
        serde_json::from_str::<Value>(&out).unwrap()["rolls"].clone()
    };
    let expected = rolls(&[]);
    assert_eq!(expected.as_array().map(Vec::len), Some(7));
    // As `oc get -o json` saves them: one list of all kinds; and as the API gives them, a list a kind, whose items name none.
    let (mut all, mut lists) = (Vec::new(), Vec::new());
    for ((resource, _, _), object) in &site.cluster.world.lock().unwrap().workloads {
        let kinds = ["Deployment", "StatefulSet", "DaemonSet", "CronJob", "DeploymentConfig", "BuildConfig"];
        let kind = kinds.into_iter().find(|kind| format!("{}s", kind.to_lowercase()) == *resource).unwrap();
        lists.push(json!({"apiVersion": "v1", "kind": format!("{kind}List"), "items": [object]}));
        all.push(with(object.clone(), "", "kind", kind.into()));
    }
    all.push(json!({"kind": "Pod", "metadata": {"name": "passed-over"}}));
    // Files that were put together may have one object twice.
    all.push(all[0].clone());
    let list = json!({"apiVersion": "v1", "kind": "List", "items": all}).to_string();
    let yaml: Vec<String> = lists.iter().map(Value::to_string).collect();
    for (name, text) in [("all.json", list), ("all.yaml", yaml.join("\n---\n"))] {
        let path = site.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        site.cluster.server.forget();
        assert_eq!(rolls(&["--workloads", path.to_str().unwrap()]), expected, "{name}");
        assert_eq!(site.cluster.server.count("/deployments"), 0, "nobody is asked for them");
    }
    let (code, _, err) = site.run(&["plan", "--workloads", site.folder.path().join("all.yaml").to_str().unwrap()]);
    assert!(code == 0 && err.contains("all.yaml holds 1 BuildConfig, 1 CronJob, 1 DaemonSet, 2 Deployment"), "{err}");
    assert!(err.contains("7 of them follow tags"), "{err}");
    for (text, words) in [
        ("{}", "it holds no object"),
        ("kind: [", "line 1"),
        ("\u{0}", "line 1"),
        ("{\"kind\": \"List\", \"items\": [", "line 1, column 27: it is no JSON"),
        ("{\"kind\": \"Status\"}", "there is no workload and no build"),
    ] {
        let path = site.folder.path().join("bad");
        std::fs::write(&path, text).unwrap();
        let (code, out, err) = site.run(&["plan", "--workloads", path.to_str().unwrap()]);
        assert!(
            code == 1 && err.contains("failed to read the workloads of") && err.contains(words),
            "{code} {out}{err}"
        );
        assert!(err.contains("oc get deploy,sts,ds,cronjob,dc,bc -A -o json"), "{err}");
    }
}

#[test]
fn what_follows_a_build_follows_in_second_order_and_so_on() {
    let site = Site::with_workloads();
    let build = |name: &str, from: &str, to: &str| {
        json!({"metadata": {"name": name, "namespace": "default"}, "spec": {
            "triggers": [{"type": "ImageChange", "imageChange": {}}],
            "output": {"to": {"kind": "ImageStreamTag", "name": to}},
            "strategy": {"sourceStrategy": {"from": {"kind": "ImageStreamTag", "name": from}}},
        }})
    };
    // app:1 is built into built:1, which is built into again:1; each has somebody who follows it.
    site.deploy("buildconfigs", &build("first", "app:1", "built:1"));
    site.deploy("buildconfigs", &build("second", "built:1", "again:1"));
    site.deploy("deployments", &with(workload("Deployment", "one", "built:1"), "/spec", "replicas", 2.into()));
    site.deploy("deployments", &workload("Deployment", "two", "again:1"));
    site.push("1", "moved");
    let (code, out, err) = site.run(&["plan", "--refresh", "app:1"]);
    assert_eq!(code, 0, "{out}{err}");
    let behind = out.split("Will follow a build, whatever that makes").nth(1).unwrap_or_else(|| panic!("{out}"));
    for line in [
        "BuildConfig default/second (after BuildConfig default/first)",
        "Deployment default/one (after BuildConfig default/first)",
        "Deployment default/two (after BuildConfig default/second)",
    ] {
        assert!(behind.contains(line), "{line}: {out}");
    }
    let (_, mermaid, _) = site.run(&["plan", "--refresh", "app:1", "--format", "mermaid"]);
    assert_eq!(mermaid.matches("-. after the build .->").count(), 3, "{mermaid}");
}

#[test]
fn a_plan_that_moves_nothing_looks_at_no_workload() {
    let site = Site::with_workloads();
    site.cluster.server.forget();
    assert_eq!(site.run(&["plan", "--exit-code"]).0, 0);
    assert_eq!(site.cluster.server.seen().len(), 1, "the streams of one namespace");
}

#[test]
fn workloads_that_do_not_follow_are_in_the_report() {
    let site = Site::with_workloads();
    // Nobody acts on triggers any more.
    site.cluster.world.lock().unwrap().triggers = false;
    site.push("1", "moved");
    let (code, out, err) = site.run(&["apply", "--yes", "--refresh", "app:1"]);
    assert_eq!(code, 0, "workloads are left to their controllers: {out}{err}");
    assert!(out.contains("did not follow Deployment default/web") && out.contains("web: expected sha256:"), "{out}");
    site.push("1", "moved again");
    let (code, out, err) = site.run(&["apply", "--yes", "--refresh", "app:1", "--wait=1s", "--format", "json"]);
    assert_eq!(code, 5, "whoever waits wants to know: {out}{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["workloads"].as_array().unwrap().len(), 7, "{out}");
}

#[test]
fn roll_outs_are_waited_for_when_asked() {
    let site = Site::with_workloads();
    site.push("1", "moved");
    site.cluster.world.lock().unwrap().slow = 6;
    let (code, out, err) = site.run(&["apply", "--yes", "--refresh", "app:1", "--wait"]);
    assert!(code == 0 && out.contains("7 workloads follow (4 rolled out)"), "{out}{err}");
    // One that does not come to an end in time goes on by itself, and is told.
    site.push("1", "moved again");
    site.cluster.world.lock().unwrap().slow = 10_000;
    let (code, out, err) = site.run(&["apply", "--yes", "--refresh", "app:1", "--wait=1s"]);
    assert!(code == 5 && out.contains("unfinished Deployment default/web"), "{out}{err}");
}

#[test]
fn what_is_meant_to_follow_and_never_will_is_told() {
    let site = Site::with_workloads();
    site.deploy("jobs", &workload("Job", "migrate", "app:1"));
    let owned = with(
        workload("ReplicaSet", "web-1", "app:1"),
        "/metadata",
        "ownerReferences",
        json!([{"kind": "Deployment", "name": "web"}]),
    );
    site.deploy("replicasets", &owned);
    let annotate = |name: &str, text: &str| {
        let annotations = json!({"image.openshift.io/triggers": text});
        site.deploy(
            "deployments",
            &with(workload("Deployment", name, "app:1"), "/metadata", "annotations", annotations),
        );
    };
    annotate("broken", "{nope \u{1b}[31m");
    annotate(
        "quotes",
        r#"[{"from": {"kind": "ImageStreamTag", "name": "app:1"}, "fieldPath": "spec.template.spec.containers[?(@.name=='web')].image"}]"#,
    );
    annotate(
        "string",
        r#"[{"from": {"kind": "ImageStreamTag", "name": "app:1"}, "fieldPath": "spec.template.spec.containers[0].image", "paused": "true"}]"#,
    );
    annotate(
        "missing",
        r#"[{"from": {"kind": "ImageStreamTag", "name": "app:nope"}, "fieldPath": "spec.template.spec.containers[0].image"}]"#,
    );
    site.push("1", "moved");
    let (code, out, err) = site.run(&["plan", "--refresh", "app:1"]);
    assert_eq!(code, 0, "{out}{err}");
    for (name, why) in [
        ("Job default/migrate", "ignores the annotation on a Job"),
        ("Deployment default/broken", "cannot be read"),
        ("Deployment default/quotes", "double quotes"),
        ("Deployment default/string", "cannot be read"),
        ("Deployment default/missing", "`default/app:nope` has no image"),
    ] {
        let at = out.split(name).nth(1).unwrap_or_else(|| panic!("{name}: {out}"));
        assert!(at.lines().take(3).collect::<String>().contains(why), "{name}: {out}");
    }
    assert!(!out.contains("web-1"), "a Deployment's own ReplicaSet: {out}");
    assert!(!out.contains('\u{1b}'), "strings from outside are inert");
}

#[test]
fn workloads_that_may_not_be_seen_are_said_once_with_the_rule() {
    let site = Site::with_workloads();
    {
        let mut world = site.cluster.world.lock().unwrap();
        world.hidden = ["deployments", "jobs"].map(str::to_owned).into();
    }
    site.push("1", "moved");
    let (code, out, err) = site.run(&["plan", "--refresh", "app:1"]);
    assert_eq!(code, 0, "{out}{err}");
    let what = "workloads of other namespaces: forbidden: grant `get` and `list` on `deployments.apps`, `jobs.batch`";
    assert!(out.replace("\n      ", " ").contains(what), "{out}");
    assert!(out.contains("StatefulSet default/web"), "{out}");
}
