//! What people hold back: streams, namespaces, everything for a time.

use crate::cli::{define, site};
use crate::support::run;

fn sk(folder: &std::path::Path, arguments: &[&str]) -> (i32, String, String) {
    run(folder, &[arguments, &["-s", "source"]].concat())
}

fn configure(folder: &std::path::Path, text: &str) {
    let path = folder.join("source/streamkeeper.yaml");
    let before = std::fs::read_to_string(&path).unwrap();
    let before = before.split("policy:").next().unwrap().to_owned();
    std::fs::write(path, format!("{before}{text}\n")).unwrap();
}

#[test]
fn suspended_streams_and_namespaces_stay_as_they_are_until_they_are_resumed() {
    let folder = site();
    let folder = folder.path();
    define(folder, "a.yaml", "a", &[("1", "1"), ("2", "2")]);
    define(folder, "b.yaml", "b", &[("1", "1")]);
    assert_eq!(sk(folder, &["apply", "--yes"]).0, 0);
    // One stream says so itself; whatever else its definition says, and even when it goes, it stays.
    let path = folder.join("source/a.yaml");
    define(folder, "a.yaml", "a", &[("3", "3")]);
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("  name: a\n", "  name: a\n  annotations: {streamkeeper.io/reconcile: disabled}\n");
    std::fs::write(&path, text).unwrap();
    define(folder, "b.yaml", "b", &[("1", "2")]);
    let (code, out, err) = sk(folder, &["apply", "--yes"]);
    assert!(code == 5 && err.contains("streamkeeper.io/reconcile: disabled"), "{code} {out}{err}");
    let (_, out, _) = sk(folder, &["get", "istag", "-o", "name"]);
    assert!(out.contains("/a:1\n") && out.contains("/a:2\n") && !out.contains("/a:3\n"), "{out}");
    let (_, out, _) = sk(folder, &["get", "is", "b", "-o", "json"]);
    assert!(out.contains("app:2"), "{out}");
    // Resumed.
    define(folder, "a.yaml", "a", &[("3", "3")]);
    let (code, out, err) = sk(folder, &["apply", "--yes"]);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(sk(folder, &["get", "istag", "-o", "name"]).1.matches("/a:").count(), 1);
    // A namespace; everything.
    for policy in ["policy: {suspend: [default]}", "policy: {suspend: ['*']}"] {
        configure(folder, policy);
        define(folder, "a.yaml", "a", &[("4", "4")]);
        std::fs::remove_file(folder.join("source/b.yaml")).unwrap();
        let (code, _, err) = sk(folder, &["apply", "--yes"]);
        assert!(code == 5 && err.contains("`policy.suspend`"), "{code} {err}");
        assert!(sk(folder, &["get", "-o", "name"]).1.contains("/b\n"));
        define(folder, "b.yaml", "b", &[("1", "2")]);
    }
}

#[test]
fn a_freeze_holds_everything_back_and_says_what_would_be_done() {
    let folder = site();
    let folder = folder.path();
    define(folder, "a.yaml", "a", &[("1", "1")]);
    assert_eq!(sk(folder, &["apply", "--yes"]).0, 0);
    configure(folder, "policy: {freeze: [{from: 2020-01-01, to: 2100-01-01, reason: the old year ends}]}");
    define(folder, "a.yaml", "a", &[("1", "2")]);
    let (code, out, err) = sk(folder, &["plan", "--exit-code"]);
    assert!(code == 2 && out.contains("the freeze until 2100-01-01T00:00:00Z: the old year ends"), "{code} {out}{err}");
    let (code, _, _) = sk(folder, &["apply", "--yes"]);
    assert_eq!(code, 5);
    assert!(sk(folder, &["get", "is", "a", "-o", "json"]).1.contains("app:1"));
    let (code, out, err) = sk(folder, &["apply", "--yes", "--ignore-freeze"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(sk(folder, &["get", "is", "a", "-o", "json"]).1.contains("app:2"));
    for (freeze, why) in [
        ("{from: soon, to: 2100-01-01, reason: x}", "is no moment"),
        ("{from: '18:00', to: Fri 08:00, reason: x}", "two moments of the same kind"),
        ("{from: '18:00', to: '08:00', timeZone: Nowhere/Else, reason: x}", "there is no time zone"),
    ] {
        configure(folder, &format!("policy: {{freeze: [{freeze}]}}"));
        let (code, _, err) = sk(folder, &["plan"]);
        assert!(code == 3 && err.contains(why), "{code} {err}");
    }
}
