//! Incomplete input is unknown: what was not read, not inspected or not answered causes no removal, and the gate refuses it.

use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use streamkeeper::findings::Code;

use crate::https::GitServer;
use crate::registry::{allow, stream as stream_of};
use crate::review::{Desk, config, rules};
use crate::sim::registry::{Content, Registry, error};
use crate::support::{git, run};

fn stream(name: &str) -> String {
    format!(
        "apiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata: {{name: {name}}}\nspec:\n  tags: [{{name: pushed}}]\n"
    )
}

/// A repository with committed streams, of which all are applied to `store`.
fn applied(streams: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    for (path, name) in streams {
        let path = source.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, stream(name)).unwrap();
    }
    git(&source, &["init", "-q", "-b", "main"]);
    git(&source, &["add", "-A"]);
    git(&source, &["commit", "-qm", "first"]);
    let (code, out, err) = on(folder.path(), &["apply", "--yes"]);
    assert_eq!(code, 0, "{out}{err}");
    folder
}

fn on(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    run(folder, &[arguments, &["-s", "source", "--store", "store"]].concat())
}

/// The plan removes nothing, says of whose removal it is not sure, and has this finding.
fn removes_nothing(folder: &Path, code: Code) -> String {
    let (_, out, err) = on(folder, &["plan", "--format", "json", "--max-removals", "99"]);
    let plan: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"));
    assert_eq!(plan["steps"].as_array().map(Vec::len), Some(0), "{plan:#}");
    assert!(err.contains(&format!("[{code}]")), "{err}");
    let before = on(folder, &["get", "is", "-o", "json"]).1;
    on(folder, &["apply", "--yes", "--max-removals", "99"]);
    assert_eq!(on(folder, &["get", "is", "-o", "json"]).1, before, "nothing is removed");
    err
}

#[test]
fn what_is_tracked_and_not_in_the_work_tree_is_unknown() {
    let folder = applied(&[("a/1.yaml", "a1"), ("a/2.yaml", "a2"), ("b/1.yaml", "b1"), ("b/2.yaml", "b2")]);
    let source = folder.path().join("source");
    // Sparse: Git calls this work tree clean.
    git(&source, &["sparse-checkout", "set", "a"]);
    assert_eq!(git(&source, &["status", "--porcelain"]), "");
    let err = removes_nothing(folder.path(), Code::NotCheckedOut);
    assert!(err.contains("b/1.yaml") && err.contains("1 more"), "one finding for all: {err}");
    git(&source, &["sparse-checkout", "disable"]);
    // Not there, and nobody has said that it shall go.
    std::fs::remove_file(source.join("b/2.yaml")).unwrap();
    removes_nothing(folder.path(), Code::NotCheckedOut);
    // Said: it goes.
    git(&source, &["rm", "-q", "b/2.yaml"]);
    let (code, out, err) = on(folder.path(), &["plan"]);
    assert!(code == 0 && out.contains("1 stream to remove"), "{out}{err}");
}

#[test]
fn what_stands_for_a_file_is_not_the_file() {
    let lfs = "version https://git-lfs.github.com/spec/v1\noid sha256:0000000000000000000000000000000000000000000000000000000000000007\nsize 153\n";
    for (at, pointer) in [lfs.as_bytes(), b"\0GITCRYPT\0abcdef"].into_iter().enumerate() {
        let folder = applied(&[("a.yaml", "a"), ("b.yaml", "b")]);
        let source = folder.path().join("source");
        std::fs::write(source.join("b.yaml"), pointer).unwrap();
        removes_nothing(folder.path(), Code::PlaceholderFile);
        git(&source, &["commit", "-qam", "pointer"]);
        let (code, out, err) = on(folder.path(), &["validate", "--revision", "HEAD"]);
        let said = format!("{out}{err}");
        assert!(
            code == 3 && said.contains("b.yaml") && said.contains(Code::PlaceholderFile.id()),
            "{at}: {code} {said}"
        );
    }
}

/// A file in which streams were defined, and that has none any more.
#[test]
fn what_was_defined_in_a_file_without_streams_goes_if_the_file_is_whole() {
    let rest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n";
    let whole = [rest.to_owned(), format!("---\n{rest}---\n{rest}"), "{\"kind\": \"List\", \"items\": []}".to_owned()];
    let broken = [
        ("kind: [ConfigMap\n", "line 1"),
        ("a: 1\n b: 2\n", "line 2"),
        ("kind: ConfigMap\n---\n{{ if .Values.x }}\n", "is a template"),
        ("just a text\n", "does not hold Kubernetes objects"),
        ("replicas: 3\nimage: x\n", "does not hold Kubernetes objects"),
        ("kind: ENC[AES256_GCM,data:x,type:str]\nsops: {version: 3.9.0}\n", "is encrypted"),
        ("", "is empty"),
        ("# all of it\n", "is empty"),
    ];
    let cases = whole.iter().map(|text| (&**text, None)).chain(broken.map(|(text, why)| (text, Some(why))));
    for (text, why) in cases {
        let folder = applied(&[("a.yaml", "a"), ("b.yaml", "b")]);
        std::fs::write(folder.path().join("source/b.yaml"), text).unwrap();
        for more in [&[][..], &["--revision", "HEAD"]] {
            if !more.is_empty() {
                git(&folder.path().join("source"), &["commit", "-qam", "second"]);
            }
            let (code, out, err) = on(folder.path(), &[&["plan"], more].concat());
            let expected = why.unwrap_or("1 stream to remove");
            assert!(code == 0 && out.contains(expected), "{text:?} {more:?}: {out}{err}");
            let named = out.contains("b.yaml") && out.contains("removal of stream default/b");
            assert_eq!(named, why.is_some(), "{text:?}: {out}");
        }
    }
}

#[test]
fn one_folder_or_file_that_cannot_be_read_is_one_finding_and_the_rest_is_read() {
    use std::os::unix::fs::PermissionsExt;

    let folder = applied(&[("a.yaml", "a"), ("closed/1.yaml", "c1"), ("closed/2.yaml", "c2")]);
    let closed = folder.path().join("source/closed");
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o000)).unwrap();
    if std::fs::read_dir(&closed).is_ok() {
        // Root reads everything; a loop of links in its place is closed to everybody.
        std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o700)).unwrap();
        eprintln!("skipped: a folder without permissions (this user reads everything)");
        return;
    }
    let err = removes_nothing(folder.path(), Code::UnreadableFile);
    assert_eq!(err.matches(&format!("[{}]", Code::UnreadableFile)).count(), 1, "{err}");
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o700)).unwrap();
}

#[test]
fn a_name_that_is_a_branch_and_a_tag_is_refused_by_path_and_by_url() {
    let folder = tempfile::tempdir().unwrap();
    let work = crate::https::repository(folder.path());
    git(&work, &["branch", "v1"]);
    crate::https::push(&work, "b");
    git(&work, &["tag", "v1"]);
    git(&work, &["push", "-q", "origin", "refs/heads/v1", "refs/tags/v1"]);
    let server = GitServer::start(folder.path(), None);
    let url = format!("https://localhost:{}/repo.git", server.port);
    for revision in ["v1", "refs/heads/v1", "refs/tags/v1"] {
        for source in ["work", &*url] {
            let (code, out, err) = server.run(folder.path(), source, &["validate", "--revision", revision]);
            let said = format!("{out}{err}");
            match revision {
                "v1" => {
                    assert_eq!(code, 3, "{source}: {said}");
                    assert!(said.contains("refs/heads/v1") && said.contains("refs/tags/v1"), "{source}: {said}");
                }
                "refs/heads/v1" => assert!(code == 0 && said.contains("1 stream"), "{source}: {said}"),
                _ => assert!(code == 0 && said.contains("2 streams"), "{source}: {said}"),
            }
        }
    }
    // What a change is reviewed against is named by the same rule.
    let (code, _, err) = run(folder.path(), &["plan", "-s", "work", "--base", "v1", "--head", "HEAD"]);
    assert!(code == 3 && err.contains("refs/tags/v1"), "{code} {err}");
}

#[test]
fn a_space_of_another_kind_in_a_key_hides_nothing() {
    let before = stream("app").replace("tags: [{name: pushed}]", "tags:\n    - name: v1\n    - name: v2");
    for (from, to, shown) in [
        ("\n  tags:", "\n\u{a0}\u{a0}tags:", "U+00A0"),
        ("\n    - name: v2", "\n\u{a0}\u{a0}\u{a0}\u{a0}- name: v2", "U+00A0"),
        ("\n  tags:", "\n  \u{2003}tags:", "U+2003"),
        ("\n  tags:", "\n  \"\\u0007tags\":", "U+0007"),
        ("\n  tags:", "\n  \u{200b}tags:", "U+200B"),
    ] {
        let folder = applied(&[("a.yaml", "other")]);
        let file = folder.path().join("source/app.yaml");
        std::fs::write(&file, &before).unwrap();
        assert_eq!(on(folder.path(), &["apply", "--yes"]).0, 0);
        std::fs::write(&file, before.replace(from, to)).unwrap();
        let err = removes_nothing(folder.path(), Code::KeyCharacter);
        assert!(err.contains(shown), "{shown}: {err}");
    }
}

#[test]
fn an_unknown_key_where_the_tags_are_missing_removes_nothing() {
    for spec in ["spec:\n  tagz:\n    - name: pushed\n", "spec:\n  Tags:\n    - name: pushed\n  tags: []\n"] {
        let folder = applied(&[("a.yaml", "app")]);
        let text = stream("app");
        let (head, _) = text.split_once("spec:").unwrap();
        std::fs::write(folder.path().join("source/a.yaml"), format!("{head}{spec}")).unwrap();
        let before = on(folder.path(), &["get", "is", "-o", "json"]).1;
        let (_, out, err) = on(folder.path(), &["apply", "--yes", "--max-removals", "99"]);
        assert_eq!(on(folder.path(), &["get", "is", "-o", "json"]).1, before, "{spec}: {out}{err}");
    }
}

#[test]
fn a_tag_that_expired_holds_up_no_other() {
    let expired: Arc<Mutex<bool>> = Arc::default();
    let is_expired = Arc::clone(&expired);
    let mut content = Content::default();
    for tag in ["main", "pr-1", "pr-2"] {
        let image = content.image("team/app", "amd64", tag);
        content.tag("team/app", tag, &image);
    }
    let registry = Registry::wrapped(content, move |request, reply| {
        if *is_expired.lock().unwrap() && request.path.ends_with("/manifests/pr-1") {
            return error("404 Not Found", "TAG_EXPIRED", "Tag pr-1 was deleted or has expired");
        }
        reply
    });
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    std::fs::create_dir(&source).unwrap();
    let host = &registry.server.host;
    allow(&source, &[host], ", insecure: true");
    let text = format!(
        "apiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata: {{name: app}}\nspec: {{dockerImageRepository: '{host}/team/app'}}\n"
    );
    std::fs::write(source.join("app.yaml"), text).unwrap();
    let (code, out, err) = on(folder.path(), &["apply", "--yes"]);
    assert_eq!(code, 0, "{out}{err}");
    {
        let mut content = registry.content.lock().unwrap();
        content.tags.get_mut("team/app").unwrap().remove("pr-1");
        let image = content.image("team/app", "amd64", "pr-3");
        content.tag("team/app", "pr-3", &image);
    }
    *expired.lock().unwrap() = true;
    for _ in 0..2 {
        let (code, out, err) = on(folder.path(), &["apply", "--yes", "--refresh"]);
        assert_eq!(code, 0, "{out}{err}");
        let tags = on(folder.path(), &["get", "istag"]).1;
        for tag in ["main", "pr-2", "pr-3"] {
            assert!(tags.contains(&format!("app:{tag}")), "{tag}: {tags}");
        }
    }
}

/// An image list whose image for this platform answers 404 shows no difference, and is therefore refused.
#[test]
fn a_child_manifest_that_is_hidden_hides_no_difference_from_the_gate() {
    let desk = Desk::new();
    let list = |user: &str, version: &str| {
        let mut held = desk.registry.content.lock().unwrap();
        let child = held.image_of("lab/app", &config(user, version, "2026-01-01T00:00:00Z"), &[("base", 1)]);
        let digest = held.list_of("lab/app", &[("linux", "amd64", &child)]);
        held.tag("lab/app", "multi", &digest);
        child
    };
    list("1001", "1.0.0");
    // The list is written as it is: its image for this platform need not be fetched to import it.
    let text = stream_of("app", &[("live", &desk.from("multi"))], ", importMode: PreserveOriginal, scheduled: true");
    std::fs::write(desk.source().join("app.yaml"), text).unwrap();
    desk.apply();
    list("0", "1.0.1");
    assert!(rules(&desk.review(&["--refresh", "app:live"])).contains(&Code::BecameRoot.id().to_owned()));
    let child = list("0", "1.0.2");
    desk.registry.content.lock().unwrap().manifests.remove(&format!("lab/app@{child}"));
    let review = desk.review(&["--refresh", "app:live"]);
    let risk = review["risks"]
        .as_array()
        .unwrap_or_else(|| panic!("{review:#}"))
        .iter()
        .find(|risk| risk["rule"] == Code::NotInspected.id());
    let message = risk.unwrap_or_else(|| panic!("{review:#}"))["message"].as_str().unwrap();
    assert!(message.contains("does not have it"), "it says why: {message}");
    for level in ["info", "warning", "error"] {
        assert_eq!(desk.run(&["plan", "--refresh", "app:live", "--fail-on", level]).0, 3, "{level}");
    }
    // No config lowers it.
    allow(&desk.source(), &[&desk.registry.server.host], "");
    let own = std::fs::read_to_string(desk.source().join("streamkeeper.yaml")).unwrap();
    std::fs::write(desk.source().join("streamkeeper.yaml"), own + "findings: {severities: {SK714: off}}\n").unwrap();
    let (code, out, err) = desk.run(&["plan", "--refresh", "app:live", "--fail-on", "error"]);
    assert!(code == 3 || err.contains("SK714"), "{code} {out}{err}");
}

/// A file that is broken in BASE and repaired in HEAD counts as changed: what it moves is the change's doing.
#[test]
fn a_repaired_definition_is_a_changed_one() {
    let desk = Desk::new();
    desk.apply();
    let file = desk.source().join("app.yaml");
    let sound = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, sound.replace("spec:", "spec: [")).unwrap();
    desk.commit("broken");
    desk.push("2", &config("0", "2.0.0", "2026-02-01T00:00:00Z"), &[("base", 1000), ("two", 500)]);
    git(&desk.source(), &["checkout", "-qb", "repair"]);
    desk.define("app", &[("live", "2")]);
    desk.commit("repaired");
    let (code, out, err) = desk.run(&["plan", "--base", "main", "--head", "repair", "--fail-on", "warning"]);
    assert!(code == 3 && out.contains(Code::BecameRoot.id()), "{code} {out}{err}");
    let review = desk.review(&["--base", "main", "--head", "repair"]);
    assert!(rules(&review).contains(&Code::BecameRoot.id().to_owned()), "{review:#}");
}
