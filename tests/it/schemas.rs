//! The JSON Schemas in `schemas/`: made from the types, current, and true of real outputs.

use serde_json::Value;

use crate::support::{check_file, copy_folder, manifest_folder, run};

const NAMES: &[&str] = &["config", "crd", "definitions", "findings", "plan", "report", "status"];

fn schema(name: &str) -> Value {
    let (code, out, _) = run(&manifest_folder(), &["schema", name]);
    assert_eq!(code, 0);
    serde_json::from_str(&out).unwrap()
}

#[test]
fn schemas_are_current() {
    for name in NAMES {
        let (_, out, _) = run(&manifest_folder(), &["schema", name]);
        check_file(&manifest_folder().join(format!("schemas/{name}.json")), &out);
    }
}

#[test]
fn outputs_match_their_schemas() {
    let folder = tempfile::tempdir().unwrap();
    copy_folder(&manifest_folder().join("examples"), folder.path());
    let check = |name: &str, arguments: &[&str]| {
        let (code, out, err) = run(folder.path(), arguments);
        assert_eq!(code, 0, "{err}");
        let value: Value = serde_json::from_str(&out).unwrap();
        let errors: Vec<String> = jsonschema::validator_for(&schema(name))
            .unwrap()
            .iter_errors(&value)
            .map(|error| error.to_string())
            .collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
    };
    check("findings", &["validate", "-s", "first-repo", "--format", "json"]);
    check("plan", &["plan", "-s", "first-repo", "--format", "json"]);
    check("report", &["apply", "-s", "first-repo", "--yes", "--format", "json"]);
    check("definitions", &["get", "is", "shop/web", "-s", "first-repo", "-o", "json"]);
}

#[test]
fn the_examples_config_matches_its_schema() {
    let text = std::fs::read_to_string(manifest_folder().join("examples/first-repo/streamkeeper.yaml")).unwrap();
    let value: Value = serde_saphyr::from_str(&text).unwrap();
    assert!(jsonschema::validator_for(&schema("config")).unwrap().is_valid(&value));
    let wrong: Value = serde_json::json!({"namespce": "x"});
    assert!(!jsonschema::validator_for(&schema("config")).unwrap().is_valid(&wrong), "unknown fields are refused");
}
