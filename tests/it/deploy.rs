//! `examples/deploy`: everything in it is tied together, and names what there is.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::{copy_folder, manifest_folder, run};

fn documents(file: &str) -> Vec<Value> {
    let path = manifest_folder().join("examples/deploy").join(file);
    serde_saphyr::from_multiple(&std::fs::read_to_string(&path).unwrap()).unwrap()
}

#[test]
fn the_kustomization_ties_every_file() {
    let kustomization = &documents("kustomization.yaml")[0];
    let mut tied: BTreeSet<String> = ["kustomization.yaml", "Containerfile"].map(str::to_owned).into();
    for list in [&kustomization["resources"], &kustomization["configMapGenerator"][0]["files"]] {
        tied.extend(list.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()));
    }
    let there = std::fs::read_dir(manifest_folder().join("examples/deploy")).unwrap();
    let there: BTreeSet<String> = there.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(tied, there);
    // The config is one, and says what `run` asks for where it listens to everybody.
    let folder = tempfile::tempdir().unwrap();
    copy_folder(&manifest_folder().join("examples/deploy"), folder.path());
    let (code, out, err) = run(folder.path(), &["validate", "--config", "streamkeeper.yaml", "namespace.yaml"]);
    assert_eq!(code, 0, "{out}{err}");
}

#[test]
fn the_pod_has_no_rights_and_its_probes_are_answered() {
    let deployment = &documents("deployment.yaml")[0];
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(container["securityContext"]["capabilities"]["drop"][0], "ALL");
    assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/livez");
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/readyz");
    // Everything that the config names is mounted.
    let config = &documents("streamkeeper.yaml")[0]["run"];
    for path in [&config["listen"]["tokenFile"], &config["webhooks"][0]["secretFile"]] {
        let path = path.as_str().unwrap();
        let mounts = container["volumeMounts"].as_array().unwrap();
        assert!(mounts.iter().any(|mount| path.starts_with(mount["mountPath"].as_str().unwrap())), "{path}");
    }
}

#[test]
fn alerts_are_on_metrics_that_there_are() {
    let text = streamkeeper::controller::Metrics::default();
    text.leads("x", true);
    text.looked("x", "failed");
    text.webhook("github", "forged");
    text.waiting("x", None);
    let pass = streamkeeper::controller::Pass { full: true, cause: streamkeeper::controller::Cause::Start };
    text.ended("x", pass, std::time::Duration::ZERO, &streamkeeper::controller::PassStatus::default());
    let metrics = text.text();
    let rules = &documents("monitoring.yaml")[1]["spec"]["groups"][0]["rules"];
    for rule in rules.as_array().unwrap() {
        let expression = rule["expr"].as_str().unwrap();
        let names = expression.split(|char: char| !(char.is_ascii_alphanumeric() || char == '_'));
        for name in names.filter(|name| name.starts_with("streamkeeper_")) {
            assert!(metrics.contains(&format!("\n{name}{{")), "{name} is not in:\n{metrics}");
        }
    }
}
