//! Workloads of the source tree, where the target is the store: shown, and written back into their files.

use serde_json::Value;

use crate::cli::{define, images, site};
use crate::support::{git, run};

const WEB: &str = r#"# The shop's front.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web            # a comment that stays
  annotations:
    image.openshift.io/triggers: |-
      [{"from": {"kind": "ImageStreamTag", "name": "app:1"}, "fieldPath": "spec.template.spec.containers[?(@.name==\"web\")].image"},
       {"from": {"kind": "ImageStreamTag", "name": "app:2"}, "fieldPath": "spec.template.spec.initContainers[0].image"}]
spec:
  replicas: 2
  template:
    spec:
      initContainers:
        - {name: init, image: 'init:1'}
      containers:
        - name: side
          image: side:1
        - name: web
          image: "web:1"   # follows app:1
---
apiVersion: batch/v1
kind: CronJob
metadata:
  name: tick
  annotations: {image.openshift.io/triggers: '[{"from":{"kind":"ImageStreamTag","name":"app:1"},"fieldPath":"spec.jobTemplate.spec.template.spec.containers[0].image"}]'}
spec:
  jobTemplate: {spec: {template: {spec: {containers: [{name: tick, image: tick:1}]}}}}
"#;

const JSON: &str = r#"{
  "apiVersion": "apps/v1", "kind": "StatefulSet",
  "metadata": {"name": "data", "annotations": {"image.openshift.io/triggers": "[{\"from\":{\"kind\":\"ImageStreamTag\",\"name\":\"app:2\"},\"fieldPath\":\"spec.template.spec.containers[0].image\"}]"}},
  "spec": {"template": {"spec": {"containers": [ {"name": "data",   "image" : "data:1"} ]}}}
}
"#;

fn sk(folder: &std::path::Path, arguments: &[&str]) -> (i32, String, String) {
    run(folder, &[arguments, &["-s", "source"]].concat())
}

#[test]
fn their_files_get_the_images_and_nothing_else_changes() {
    let folder = site();
    let folder = folder.path();
    let file = |name: &str| folder.join("source").join(name);
    define(folder, "streams/app.yaml", "app", &[("1", "1"), ("2", "2")]);
    std::fs::write(file("web.yaml"), WEB).unwrap();
    std::fs::write(file("data.json"), JSON).unwrap();
    git(&file(""), &["init", "-q"]);
    // Before there is any stream, nothing is to be had.
    let (code, out, err) = sk(folder, &["get", "workloads"]);
    assert!(code == 0 && out.contains("`default/app:1` has no image"), "{out}{err}");
    let (code, out, err) = sk(folder, &["apply", "--yes"]);
    assert_eq!(code, 0, "{out}{err}");
    let (code, _, err) = sk(folder, &["apply", "--write-workloads"]);
    assert!(code == 64 && err.contains("web.yaml: web: web:1 -> sha256:"), "nobody was asked: {code} {err}");
    assert_eq!(std::fs::read_to_string(file("web.yaml")).unwrap(), WEB);
    let (code, out, err) = sk(folder, &["apply", "--yes", "--write-workloads"]);
    assert!(code == 0 && err.contains("wrote web.yaml: web: web:1 -> sha256:"), "{code} {out}{err}");
    let (code, out, err) = sk(folder, &["get", "workloads", "-o", "json"]);
    assert_eq!(code, 0, "{err}");
    let rows: Vec<Value> = serde_json::from_str(&out).unwrap();
    assert_eq!(rows.len(), 4, "{out}");
    assert!(rows.iter().all(|row| row["image"]["before"] == row["image"]["after"]), "{out}");
    let image = |kind: &str, container: &str| {
        let row =
            rows.iter().find(|row| row["workload"]["kind"] == kind && row["image"]["container"] == container).unwrap();
        row["image"]["after"].as_str().unwrap().to_owned()
    };
    // The image alone: comments, quotes, layout are as they were.
    let expected = WEB
        .replace("web:1\"   #", &format!("{}\"   #", image("Deployment", "web")))
        .replace("init:1", &image("Deployment", "init"))
        .replace("tick:1", &image("CronJob", "tick"));
    assert_eq!(std::fs::read_to_string(file("web.yaml")).unwrap(), expected);
    let expected = JSON.replace("data:1", &image("StatefulSet", "data"));
    assert_eq!(std::fs::read_to_string(file("data.json")).unwrap(), expected);
    // Done is done; when the tags move, so do the files.
    let (code, out, err) = sk(folder, &["apply", "--yes", "--write-workloads"]);
    assert!(code == 0 && !err.contains("wrote"), "{out}{err}");
    images(folder, 1);
    let (code, out, err) = sk(folder, &["apply", "--yes", "--write-workloads", "--refresh", "app:1"]);
    assert!(code == 0 && err.matches("wrote ").count() == 2, "{code} {out}{err}");
    let (_, out, _) = sk(folder, &["get", "workloads"]);
    assert!(out.matches("as it should be").count() == 4 && out.contains("Deployment/web"), "{out}");
    let (code, out, _) = sk(folder, &["plan", "--exit-code"]);
    assert_eq!(code, 0, "{out}");
}

#[test]
fn what_cannot_be_written_is_told_and_left() {
    let folder = site();
    let folder = folder.path();
    let file = |name: &str| folder.join("source").join(name);
    define(folder, "app.yaml", "app", &[("1", "1")]);
    let workload = |name: &str, namespace: &str, image: &str| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\n  namespace: {namespace}\n  annotations: {{image.openshift.io/triggers: '[{{\"from\":{{\"kind\":\"ImageStreamTag\",\"name\":\"app:1\",\"namespace\":\"default\"}},\"fieldPath\":\"spec.template.spec.containers[0].image\"}}]'}}\nspec: {{template: {{spec: {{containers: [{{name: web{image}}}]}}}}}}\n"
        )
    };
    let texts = [
        ("none.yaml", workload("none", "default", "")),
        ("anchor.yaml", workload("anchor", "default", ", image: &i web:1, command: [*i]")),
        ("across.yaml", workload("across", "shop", ", image: web:1")),
        (
            "build.yaml",
            "apiVersion: apps.openshift.io/v1\nkind: DeploymentConfig\nmetadata: {name: dc}\nspec:\n  triggers: [{type: ImageChange, imageChangeParams: {automatic: true, containerNames: [web], from: {kind: ImageStreamTag, name: 'app:1'}}}]\n  template: {spec: {containers: [{name: web, image: web:1}]}}\n".to_owned(),
        ),
    ];
    for (name, text) in &texts {
        std::fs::write(file(name), text).unwrap();
    }
    let (code, out, err) = sk(folder, &["apply", "--yes", "--write-workloads"]);
    assert_eq!(code, 5, "{out}{err}");
    for said in [
        "none.yaml: Deployment default/none: `web` has no `image` to write to",
        "anchor.yaml: not written: something else has its value from there",
        "across.yaml: Deployment shop/across: `policy.workloads.shared` in the config does not name `default`",
    ] {
        assert!(err.contains(said), "{said} is not in:\n{err}");
    }
    for (name, text) in &texts {
        assert_eq!(std::fs::read_to_string(file(name)).unwrap(), *text, "{name}");
    }
    // Only files on disk can be written, and only where nobody else gives images.
    for arguments in [
        &["apply", "--yes", "--write-workloads", "-s", "source", "--revision", "HEAD"][..],
        &["apply", "--yes", "--write-workloads", "-s", "file:///nowhere"],
    ] {
        let (code, out, err) = run(folder, arguments);
        assert!(code == 64 && err.contains("no folder on disk"), "{code} {out}{err}");
    }
}
