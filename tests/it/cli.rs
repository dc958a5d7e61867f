//! Commands as people and jobs give them: exit codes, saved plans, what removals wait for, the store in trouble.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::example::LayoutFiles;
use crate::support::{cache, copy_folder, git, manifest_folder, outcome, program, run};

/// A folder with a config, images `app:0` to `app:9`, and no definitions yet.
pub fn site() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = "registries: [{host: r.example.com, layout: ../images}, {host: '127.0.0.1:1', private: true}]\n";
    std::fs::write(folder.path().join("streamkeeper.yaml"), config).unwrap();
    let site = tempfile::tempdir_in(folder.path()).unwrap().keep();
    std::fs::rename(folder.path().join("streamkeeper.yaml"), site.join("streamkeeper.yaml")).unwrap();
    std::fs::rename(site, folder.path().join("source")).unwrap();
    images(folder.path(), 0);
    folder
}

/// (Re)makes the images, those of another version for another number.
pub fn images(folder: &Path, version: usize) {
    let mut layout = LayoutFiles::default();
    for image in 0..10 {
        let descriptor = layout.image(&format!("app:{image} version {version}"), "amd64");
        layout.tag(descriptor, &format!("app:{image}"));
    }
    for (path, bytes) in layout.finish() {
        let path = folder.join("images").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

pub fn define(folder: &Path, path: &str, name: &str, tags: &[(&str, &str)]) {
    let mut text =
        format!("apiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata:\n  name: {name}\nspec:\n  tags:\n");
    for (tag, image) in tags {
        text +=
            &format!("    - name: \"{tag}\"\n      from: {{kind: DockerImage, name: 'r.example.com/app:{image}'}}\n");
    }
    if tags.is_empty() {
        text = text.replace("  tags:\n", "  tags: []\n");
    }
    let path = folder.join("source").join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// Commits the definitions.
pub fn commit(folder: &Path) {
    let source = folder.join("source");
    if !source.join(".git").exists() {
        git(&source, &["init", "-q", "-b", "main"]);
    }
    git(&source, &["add", "-A"]);
    git(&source, &["commit", "-q", "--allow-empty", "-m", "x"]);
}

fn sk(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    run(folder, &[arguments, &["-s", "source"]].concat())
}

fn apply(folder: &Path) {
    let (code, out, err) = sk(folder, &["apply", "--yes"]);
    assert_eq!(code, 0, "{out}{err}");
}

/// The last line of a plan.
fn plan(folder: &Path, more: &[&str]) -> (i32, String) {
    let (code, out, err) = sk(folder, &[&["plan"], more].concat());
    (code, format!("{out}{err}"))
}

fn image(folder: &Path, tag: &str) -> String {
    let (_, out, err) = sk(folder, &["get", "istag", tag, "-o", "json"]);
    let value: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{tag}: {err}"));
    value["image"]["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn exit_codes_are_what_they_say() {
    let folder = site();
    define(folder.path(), "a.yaml", "a", &[("1", "1")]);
    assert_eq!(plan(folder.path(), &[]).0, 0);
    assert_eq!(plan(folder.path(), &["--exit-code"]).0, 2);
    assert_eq!(sk(folder.path(), &["apply"]).0, 64, "nobody is there to be asked");
    apply(folder.path());
    assert_eq!(plan(folder.path(), &["--exit-code"]).0, 0);
    assert_eq!(sk(folder.path(), &["plan", "--no-such-flag"]).0, 64);
    assert_eq!(sk(folder.path(), &["explain", "nonsense"]).0, 64);
    assert_eq!(sk(folder.path(), &["get", "is", "nobody"]).0, 1);
    assert_eq!(sk(folder.path(), &["--help"]).0, 0);
    // A definition with an error: the rest goes on, and the end says so.
    std::fs::write(
        folder.path().join("source/b.yaml"),
        "apiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata: {name: B}\n",
    )
    .unwrap();
    define(folder.path(), "c.yaml", "c", &[("1", "2")]);
    assert_eq!(sk(folder.path(), &["validate"]).0, 3);
    assert_eq!(plan(folder.path(), &[]).0, 3);
    let (code, out, err) = sk(folder.path(), &["apply", "--yes"]);
    assert_eq!(code, 5, "{out}{err}");
    assert!(!image(folder.path(), "c:1").is_empty(), "one bad file stops one stream");
    assert_eq!(sk(folder.path(), &["apply", "--yes", "--strict"]).0, 3);
    std::fs::remove_file(folder.path().join("source/b.yaml")).unwrap();
    // A registry that is not there: deferred, not failed.
    define(folder.path(), "d.yaml", "d", &[("1", "1")]);
    let text =
        std::fs::read_to_string(folder.path().join("source/d.yaml")).unwrap().replace("r.example.com", "127.0.0.1:1");
    std::fs::write(folder.path().join("source/d.yaml"), text).unwrap();
    let (code, out, err) = sk(folder.path(), &["apply", "--yes"]);
    assert_eq!(code, 5, "{out}{err}");
    assert!(err.contains("unreachable"), "{err}");
}

#[test]
fn a_saved_plan_is_done_exactly_and_stale_plans_are_refused() {
    let folder = site();
    define(folder.path(), "a.yaml", "a", &[("1", "1"), ("2", "2")]);
    apply(folder.path());
    define(folder.path(), "a.yaml", "a", &[("1", "3"), ("2", "2")]);
    commit(folder.path());
    std::fs::write(folder.path().join("key"), "0123456789abcdef0123456789abcdef\n").unwrap();
    let (code, _, err) = sk(folder.path(), &["plan", "--out", "p.json", "--key-file", "key"]);
    assert_eq!(code, 0, "{err}");
    // The world moves on in the definitions and upstream: the plan does what it said.
    define(folder.path(), "a.yaml", "a", &[("1", "4"), ("2", "5")]);
    images(folder.path(), 1);
    // Whoever cannot prove that it is the plan that was saved is asked for the digest again, and has another one.
    let (code, out, err) = sk(folder.path(), &["apply", "p.json", "--yes"]);
    assert_eq!(code, 4, "{out}{err}");
    assert!(err.contains("the plan has another image") && err.contains("Nothing was changed"), "{err}");
    let (code, out, err) = sk(folder.path(), &["apply", "p.json", "--yes", "--key-file", "key"]);
    assert_eq!(code, 0, "{out}{err}");
    let planned: Value = serde_json::from_slice(&std::fs::read(folder.path().join("p.json")).unwrap()).unwrap();
    assert!(planned.to_string().contains(&image(folder.path(), "a:1")));
    // Again: all of it is so already.
    let (code, out, _) = sk(folder.path(), &["apply", "p.json", "--yes"]);
    assert_eq!((code, out.contains("steps unchanged")), (0, true), "{out}");
    // After another apply it is stale, and takes nothing back.
    apply(folder.path());
    let now = image(folder.path(), "a:1");
    let (code, out, err) = sk(folder.path(), &["apply", "p.json", "--yes"]);
    assert_eq!(code, 4, "{out}{err}");
    assert!(out.contains("stale #1"), "{out}");
    assert_eq!(image(folder.path(), "a:1"), now, "a stale plan rolls nothing back");
}

#[test]
fn an_old_plan_neither_rolls_back_nor_deletes_again() {
    let folder = site();
    define(folder.path(), "a.yaml", "a", &[("1", "1"), ("old", "2")]);
    commit(folder.path());
    sk(folder.path(), &["plan", "--out", "create.json"]);
    apply(folder.path());
    let first = image(folder.path(), "a:1");
    images(folder.path(), 1);
    let (code, ..) = sk(folder.path(), &["apply", "--yes", "--refresh"]);
    assert_eq!(code, 0);
    assert_ne!(image(folder.path(), "a:1"), first);
    // Made before there was a store, applied to what has become of it.
    let (code, out, _) = sk(folder.path(), &["apply", "create.json", "--yes"]);
    assert!(matches!(code, 4 | 5), "{code} {out}");
    assert_ne!(image(folder.path(), "a:1"), first, "no step backwards");
    // A removal that was done, undone in Git, and asked for again by the old plan.
    define(folder.path(), "a.yaml", "a", &[("1", "3")]);
    commit(folder.path());
    sk(folder.path(), &["plan", "--out", "remove.json"]);
    sk(folder.path(), &["apply", "remove.json", "--yes"]);
    define(folder.path(), "a.yaml", "a", &[("1", "3"), ("old", "2")]);
    apply(folder.path());
    let (code, out, _) = sk(folder.path(), &["apply", "remove.json", "--yes"]);
    assert!(matches!(code, 4 | 5), "{code} {out}");
    assert!(!image(folder.path(), "a:old").is_empty());
}

#[test]
fn plans_that_are_none_are_refused() {
    let folder = site();
    define(folder.path(), "a.yaml", "a", &[("1", "1")]);
    apply(folder.path());
    for (text, expected) in
        [("{}", "is not a plan"), ("nonsense", "is not a plan"), ("{\"formatVersion\": 99}", "format version 99")]
    {
        std::fs::write(folder.path().join("bad.json"), text).unwrap();
        let (code, _, err) = sk(folder.path(), &["apply", "bad.json", "--yes"]);
        assert_eq!(code, 3);
        assert!(err.contains(expected), "{err}");
    }
    sk(folder.path(), &["plan", "--out", "p.json"]);
    let (code, _, err) = sk(folder.path(), &["apply", "p.json", "--yes", "--store", "another"]);
    assert_eq!((code, err.contains("the plan is for")), (3, true), "{err}");
}

/// The stream `a` is in the store; something happens to its file; then nothing of it may be planned away.
fn keeps_when(what: &str, change: impl Fn(&Path)) {
    let folder = site();
    define(folder.path(), "sub/a.yaml", "a", &[("1", "1"), ("2", "2")]);
    define(folder.path(), "b.yaml", "b", &[("1", "1")]);
    apply(folder.path());
    change(&folder.path().join("source"));
    let (_, out) = plan(folder.path(), &[]);
    assert!(!out.contains("remove stream") && !out.contains("remove tag"), "{what}: {out}");
    let (_, out, err) = sk(folder.path(), &["apply", "--yes"]);
    assert!(!image(folder.path(), "a:1").is_empty() && !image(folder.path(), "a:2").is_empty(), "{what}: {out}{err}");
}

#[test]
fn what_was_not_looked_into_is_not_taken_for_gone() {
    let replace = |from: &'static str, to: &'static str| {
        move |source: &Path| {
            let path = source.join("sub/a.yaml");
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.contains(from));
            std::fs::write(path, text.replacen(from, to, 1)).unwrap();
        }
    };
    keeps_when("a kind in the wrong case", replace("kind: ImageStream", "kind: Imagestream"));
    keeps_when("a kind with a typing mistake", replace("kind: ImageStream", "kind: ImageSteam"));
    keeps_when("`Kind`", replace("kind: ImageStream", "Kind: ImageStream"));
    keeps_when("`Tags`", replace("  tags:", "  Tags:"));
    keeps_when("`Spec`", replace("spec:", "Spec:"));
    keeps_when("`tagz`", replace("  tags:", "  tagz:"));
    keeps_when("two lists of tags", replace("spec:\n", "spec:\n  tags: []\n"));
    keeps_when("no name", replace("  name: a\n", "  labels: {}\n"));
    keeps_when("a placeholder for a name", replace("  name: a\n", "  name: ${NAME}\n"));
    keeps_when("broken YAML", replace("spec:", "spec: ["));
    let write = |text: &'static str| move |source: &Path| std::fs::write(source.join("sub/a.yaml"), text).unwrap();
    keeps_when("a pointer of Git LFS", write("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"));
    keeps_when("a list that is a map", write("apiVersion: v1\nkind: List\nitems: {kind: ImageStream}\n"));
    keeps_when(
        "two `items`",
        write(
            "apiVersion: v1\nkind: List\nitems:\n  - {apiVersion: image.openshift.io/v1, kind: ImageStream, metadata: {name: x}}\nitems: []\n",
        ),
    );
    keeps_when("a Template with `items`", write("apiVersion: v1\nkind: Template\nitems: [{kind: ImageStream}]\n"));
    keeps_when("a file that became a link", |source| {
        std::fs::rename(source.join("sub/a.yaml"), source.join("../a.yaml")).unwrap();
        std::os::unix::fs::symlink("../../a.yaml", source.join("sub/a.yaml")).unwrap();
    });
    keeps_when("a folder that became a link", |source| {
        std::fs::rename(source.join("sub"), source.join("../elsewhere-4.14")).unwrap();
        std::os::unix::fs::symlink("../elsewhere-4.14", source.join("sub")).unwrap();
    });
    keeps_when("a file that is left out", |source| {
        let config = source.join("streamkeeper.yaml");
        let text = std::fs::read_to_string(&config).unwrap() + "exclude: ['sub/**']\n";
        std::fs::write(config, text).unwrap();
    });
}

#[test]
fn another_part_of_the_source_removes_nothing_unasked() {
    let folder = site();
    git(folder.path(), &["init", "-q"]);
    define(folder.path(), "a.yaml", "a", &[("1", "1")]);
    define(folder.path(), "sub/b.yaml", "b", &[("1", "1")]);
    apply(folder.path());
    let store = ["--store", "source/.streamkeeper", "--config", "source/streamkeeper.yaml"];
    let (code, out, _) = run(folder.path(), &[&["plan", "-s", "source/sub", "--change-scope"], &store[..]].concat());
    assert!(code == 0 && !out.contains("remove"), "another directory is another source: {out}");
    let config = folder.path().join("source/streamkeeper.yaml");
    let text = std::fs::read_to_string(&config).unwrap() + "identity: team\n";
    let absolute = folder.path().join("source");
    std::fs::write(config, text + &format!("previousIdentities: [{absolute:?}]\n")).unwrap();
    apply(folder.path());
    define(folder.path(), "a.yaml", "a", &[("1", "2")]);
    apply(folder.path());
    let (_, out, _) = run(folder.path(), &[&["plan", "-s", "source/sub"], &store[..]].concat());
    assert!(out.contains("another part of the source") && !out.contains("remove stream ("), "{out}");
    let (_, out, _) = run(folder.path(), &[&["plan", "-s", "source/sub", "--change-scope"], &store[..]].concat());
    assert!(out.contains("remove stream (no longer defined)"), "{out}");
}

#[test]
fn git_passes_over_a_store_that_was_made_and_keeps_its_rules_for_a_folder_that_was_there() {
    let folder = site();
    define(folder.path(), "a.yaml", "a", &[("1", "1")]);
    apply(folder.path());
    assert_eq!(std::fs::read_to_string(folder.path().join("source/.streamkeeper/.gitignore")).unwrap(), "*\n");
    std::fs::create_dir(folder.path().join("kept")).unwrap();
    let (code, out, err) = sk(folder.path(), &["apply", "--yes", "--store", "kept"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(folder.path().join("kept/store.db").exists() && !folder.path().join("kept/.gitignore").exists());
}

#[test]
fn removals_are_ours_only_and_capped() {
    let folder = site();
    for at in 0..8 {
        define(folder.path(), &format!("{at}.yaml"), &format!("s{at}"), &[("1", "1")]);
    }
    apply(folder.path());
    for at in 1..8 {
        std::fs::remove_file(folder.path().join(format!("source/{at}.yaml"))).unwrap();
    }
    let (_, out) = plan(folder.path(), &[]);
    assert!(out.contains("7 removals in one run, the limit is 5; raise it with --max-removals 7"), "{out}");
    let (_, out) = plan(folder.path(), &["--max-removals", "7"]);
    assert!(out.contains("7 streams to remove"), "{out}");
    std::fs::remove_file(folder.path().join("source/0.yaml")).unwrap();
    let (_, out) = plan(folder.path(), &["--max-removals", "99"]);
    assert!(out.contains("--allow-empty"), "{out}");
    let (code, out, err) = sk(folder.path(), &["apply", "--yes", "--max-removals", "99", "--allow-empty"]);
    assert_eq!(code, 0, "{out}{err}");
    let (_, out) = plan(folder.path(), &[]);
    assert!(out.contains("Plan: nothing to do (0 streams, no commit)"), "{out}");
    assert!(out.contains("no ImageStream is defined in"), "{out}");
}

#[test]
fn tags_follow_refresh_and_stay_behind_as_told() {
    let folder = site();
    define(folder.path(), "a.yaml", "a", &[("1", "1"), ("2", "2")]);
    apply(folder.path());
    let before = (image(folder.path(), "a:1"), image(folder.path(), "a:2"));
    images(folder.path(), 1);
    assert!(plan(folder.path(), &[]).1.contains("nothing to do"), "what was asked a moment ago is not asked again");
    // An hour later, as the cache sees it.
    let connection = rusqlite::Connection::open(cache(folder.path())).unwrap();
    connection.execute("UPDATE upstream SET checked_at = '2020-01-01T00:00:00Z'", []).unwrap();
    connection.execute("UPDATE settled SET due = '2020-01-01T00:00:00Z'", []).unwrap();
    let (code, out) = plan(folder.path(), &["--exit-code"]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("2 behind upstream") && out.contains("default/a:1: sha256:"), "{out}");
    let (code, out, _) = sk(folder.path(), &["apply", "--yes", "--refresh", "a:1"]);
    assert_eq!(code, 0, "{out}");
    assert_ne!(image(folder.path(), "a:1"), before.0);
    assert_eq!(image(folder.path(), "a:2"), before.1, "only what was asked for moves");
    let (_, out, _) = sk(folder.path(), &["history", "a:1"]);
    assert!(out.contains("asked for") && out.lines().count() == 3, "{out}");
}

#[test]
fn a_whole_repository_is_imported_once_and_moves_with_its_definition() {
    let folder = site();
    let define = |repository: &str| {
        let text = format!(
            "apiVersion: v1\nkind: ImageStream\nmetadata: {{name: a}}\nspec:\n  dockerImageRepository: r.example.com/{repository}\n"
        );
        std::fs::write(folder.path().join("source/a.yaml"), text).unwrap();
    };
    define("nowhere-yet");
    let (code, ..) = sk(folder.path(), &["apply", "--yes"]);
    assert!(matches!(code, 0 | 5));
    define("app");
    apply(folder.path());
    assert!(!image(folder.path(), "a:9").is_empty());
    assert!(plan(folder.path(), &[]).1.contains("nothing to do"));
    // Another repository with some of the same tags: imported from there, the others removed.
    let mut layout = LayoutFiles::default();
    for tag in ["1", "2", "new"] {
        let image = layout.image(&format!("other {tag}"), "amd64");
        layout.tag(image, tag);
    }
    for (path, bytes) in layout.finish() {
        let path = folder.path().join("images/other").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    define("other");
    let (_, out) = plan(folder.path(), &["--max-removals", "20"]);
    assert!(out.contains("3 imports") && out.contains("8 tags to remove"), "{out}");
    let (code, out, err) = sk(folder.path(), &["apply", "--yes", "--max-removals", "20"]);
    assert_eq!(code, 0, "{out}{err}");
    let (_, out, _) = sk(folder.path(), &["get", "istag", "a", "-o", "name"]);
    assert_eq!(out.lines().count(), 3, "{out}");
    assert!(plan(folder.path(), &[]).1.contains("nothing to do"));
}

#[test]
fn a_second_writer_is_told_who_the_first_is_and_readers_go_on() {
    let folder = site();
    define(folder.path(), "a.yaml", "a", &[("1", "1")]);
    apply(folder.path());
    let lock = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(folder.path().join("source/.streamkeeper/lock"))
        .unwrap();
    lock.lock().unwrap();
    define(folder.path(), "a.yaml", "a", &[("1", "2")]);
    let (code, _, err) = sk(folder.path(), &["apply", "--yes"]);
    assert_eq!(code, 1);
    assert!(err.contains("another process is writing to it (process "), "{err}");
    assert_eq!(sk(folder.path(), &["get"]).0, 0);
    assert!(plan(folder.path(), &[]).1.contains("1 import"));
}

#[test]
fn a_damaged_or_foreign_store_is_refused_and_left_alone() {
    let folder = site();
    define(folder.path(), "a.yaml", "a", &[("1", "1")]);
    apply(folder.path());
    let path = folder.path().join("source/.streamkeeper/store.db");
    let good = std::fs::read(&path).unwrap();
    let refused = |bytes: &[u8], expected: &str| {
        std::fs::write(&path, bytes).unwrap();
        for arguments in [&["apply", "--yes"][..], &["get"], &["plan"]] {
            let (code, out, err) = sk(folder.path(), arguments);
            assert_eq!(code, 1, "{arguments:?} {expected}: {out}{err}");
            assert!(err.contains(expected), "{arguments:?}: {err}");
        }
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "nothing is written over it");
    };
    refused(b"this is a text file and no database at all, whatever it is called", "damaged or not a database");
    let mut damaged = good.clone();
    for page in damaged.chunks_mut(4096).skip(1) {
        page[..200].fill(0xff);
    }
    refused(&damaged, "damaged");
    let foreign = folder.path().join("foreign.db");
    rusqlite::Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
    refused(&std::fs::read(foreign).unwrap(), "belongs to another program");
    let newer = folder.path().join("newer.db");
    std::fs::write(&newer, &good).unwrap();
    rusqlite::Connection::open(&newer).unwrap().pragma_update(None, "user_version", 99).unwrap();
    refused(&std::fs::read(newer).unwrap(), "newer version");
    std::fs::write(&path, &good).unwrap();
    assert_eq!(sk(folder.path(), &["get"]).0, 0);
}

#[test]
fn apply_makes_no_store_before_it_is_confirmed() {
    let folder = site();
    define(folder.path(), "a.yaml", "a", &[("1", "1")]);
    let store = folder.path().join("source/.streamkeeper");
    // There is no terminal to ask on.
    let (code, _, err) = run(folder.path(), &["apply", "-s", "source"]);
    assert!(code == 64 && err.contains("--yes"), "{code} {err}");
    assert!(!store.exists());
    apply(folder.path());
    // What was asked of registries is cached elsewhere.
    let mut names = std::fs::read_dir(&store).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(names.all(|name| !name.starts_with("cache-")) && cache(folder.path()).exists());
    assert!(plan(folder.path(), &[]).1.contains("nothing to do"));
}

#[test]
fn a_full_disk_is_told_and_leaves_the_store_as_it_was() {
    let folder = site();
    define(folder.path(), "a.yaml", "a", &[("1", "1")]);
    apply(folder.path());
    let before = image(folder.path(), "a:1");
    for at in 0..400 {
        define(folder.path(), &format!("many/{at}.yaml"), &format!("s{at}"), &[("1", "1"), ("2", "2"), ("3", "3")]);
    }
    define(folder.path(), "a.yaml", "a", &[("1", "2")]);
    // The shell limits how large a file may grow; the program sees what it sees on a full disk.
    let command =
        format!("trap '' XFSZ; ulimit -f 200; exec {} apply --yes -s source", env!("CARGO_BIN_EXE_streamkeeper"));
    let (code, out, err) = outcome(
        std::process::Command::new("/bin/sh")
            .current_dir(folder.path())
            .args(["-c", &command])
            .env("HOME", "/nonexistent")
            .env("STREAMKEEPER_CACHE_DIR", folder.path().join("cache"))
            .output()
            .unwrap(),
    );
    assert!(matches!(code, 1 | 5), "{code} {out}{err}");
    assert!(format!("{out}{err}").contains("store"), "{out}{err}");
    let connection = rusqlite::Connection::open(folder.path().join("source/.streamkeeper/store.db")).unwrap();
    let verdict: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
    drop(connection);
    // With room again the next run ends where it should.
    apply(folder.path());
    assert_ne!(image(folder.path(), "a:1"), before);
    assert!(plan(folder.path(), &[]).1.contains("nothing to do"));
}

#[test]
fn a_signal_ends_the_run_after_the_steps_under_way() {
    let folder = site();
    for at in 0..600 {
        define(folder.path(), &format!("{at}.yaml"), &format!("s{at}"), &[("1", "1"), ("2", "2")]);
    }
    let mut child = program(folder.path())
        .args(["apply", "--yes", "-s", "source", "--quiet", "--format", "json"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let store = folder.path().join("source/.streamkeeper/store.db-wal");
    for _ in 0..2000 {
        if store.metadata().is_ok_and(|wal| wal.len() > 200_000) {
            break;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let mut out = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().unwrap(), &mut out).unwrap();
    let status = child.wait().unwrap();
    let report: Value = serde_json::from_str(&out).unwrap();
    let skipped =
        report["outcomes"].as_object().unwrap().values().filter(|outcome| outcome.get("skipped").is_some()).count();
    assert!(status.code() == Some(5) && skipped > 0 || status.success(), "{status}: {skipped} skipped");
    apply(folder.path());
    assert!(plan(folder.path(), &[]).1.contains("nothing to do"));
}

#[test]
fn outputs_fit_eighty_columns_and_use_more_where_there_are() {
    let folder = tempfile::tempdir().unwrap();
    copy_folder(&manifest_folder().join("examples"), folder.path());
    for (columns, width) in [("80", 80), ("200", 200)] {
        let output =
            program(folder.path()).args(["plan", "-s", "first-repo"]).env("COLUMNS", columns).output().unwrap();
        let (_, out, _) = outcome(output);
        let longest = out.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(longest <= width, "{longest} columns of {width}:\n{out}");
    }
    let (_, out, _) = run(folder.path(), &["plan", "-s", "first-repo", "--color", "never"]);
    let (_, colored, _) = run(folder.path(), &["plan", "-s", "first-repo", "--color", "always"]);
    assert!(!out.contains('\u{1b}') && colored.contains('\u{1b}'));
    let mut plain = String::new();
    let mut rest = colored.as_str();
    while let Some(at) = rest.find('\u{1b}') {
        plain.push_str(&rest[..at]);
        rest = &rest[at + rest[at..].find('m').unwrap() + 1..];
    }
    plain.push_str(rest);
    assert_eq!(plain, out, "colour says nothing that words do not");
}

#[test]
fn secrets_are_nowhere() {
    let folder = site();
    let secret = "hunter2canary";
    define(folder.path(), "a.yaml", "a", &[("1", "1")]);
    let text =
        std::fs::read_to_string(folder.path().join("source/a.yaml")).unwrap().replace("r.example.com", "127.0.0.1:1");
    std::fs::write(folder.path().join("source/b.yaml"), text.replace("name: a", "name: b")).unwrap();
    std::fs::create_dir_all(folder.path().join("docker")).unwrap();
    let config = format!("{{\"auths\": {{\"127.0.0.1:1\": {{\"username\": \"u\", \"password\": \"{secret}\"}}}}}}");
    std::fs::write(folder.path().join("docker/config.json"), config).unwrap();
    for arguments in [
        &["plan", "--format", "json"][..],
        &["plan", "--out", "p.json"],
        &["apply", "--yes", "--format", "json"],
        &["get", "-o", "yaml"],
    ] {
        let output = program(folder.path())
            .args(arguments)
            .args(["-s", "source"])
            .env("DOCKER_CONFIG", "docker")
            .output()
            .unwrap();
        let (_, out, err) = outcome(output);
        assert!(!format!("{out}{err}").contains(secret), "{arguments:?}");
    }
    let mut stack = vec![folder.path().join("source/.streamkeeper"), folder.path().join("p.json")];
    while let Some(path) = stack.pop() {
        if path.is_dir() {
            stack.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{}", path.display());
        }
    }
}

#[test]
fn a_changed_source_is_imported_although_an_alias_to_it_is_new() {
    let folder = site();
    define(folder.path(), "a.yaml", "a", &[("1", "1")]);
    apply(folder.path());
    let before = image(folder.path(), "a:1");
    define(folder.path(), "a.yaml", "a", &[("1", "2")]);
    let path = folder.path().join("source/a.yaml");
    let text = std::fs::read_to_string(&path).unwrap()
        + "    - name: latest\n      from: {kind: ImageStreamTag, name: \"1\"}\n";
    std::fs::write(path, text).unwrap();
    apply(folder.path());
    assert_ne!(image(folder.path(), "a:1"), before);
    assert_eq!(image(folder.path(), "a:latest"), image(folder.path(), "a:1"));
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let folder = site();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = program(folder.path()).args(["schema", "plan"]).stdout(full).output().unwrap();
    let (code, _, err) = outcome(output);
    assert!(code == 1 && err.contains("failed to write the output"), "{err}");
    assert_eq!(sk(folder.path(), &["plan", "-n", "BAD NS"]).0, 64);
    assert_eq!(sk(folder.path(), &["plan", "--store", "/dev/null"]).0, 1);
    define(folder.path(), "a.yaml", "a", &[("1", "1")]);
    assert_eq!(sk(folder.path(), &["plan", "--refresh", "a:2"]).0, 64);
}

#[test]
fn what_is_said_again_without_looking_is_never_out_of_date() {
    let folder = site();
    let source = folder.path().join("source");
    define(folder.path(), "a.yaml", "a", &[("1", "1")]);
    git(&source, &["init", "-q"]);
    std::fs::write(source.join(".gitignore"), ".streamkeeper\n").unwrap();
    let commit = |message: &str| {
        git(&source, &["add", "-A"]);
        git(&source, &["commit", "-qm", message]);
    };
    // From Git objects, where nothing has to be read to know that nothing changed.
    let config = ["--config", "source/streamkeeper.yaml", "--revision", "HEAD"];
    commit("first");
    let (code, out, err) = sk(folder.path(), &[&["apply", "--yes"], &config[..]].concat());
    assert_eq!(code, 0, "{out}{err}");
    let quiet = |more: &[&str]| plan(folder.path(), &[&["--exit-code"], &config[..], more].concat()).0;
    assert_eq!((quiet(&[]), quiet(&[])), (0, 0));
    // Another definition.
    define(folder.path(), "a.yaml", "a", &[("1", "2")]);
    assert_eq!(quiet(&[]), 0, "not committed");
    commit("second");
    assert_eq!(quiet(&[]), 2);
    git(&source, &["reset", "-q", "--hard", "HEAD^"]);
    assert_eq!((quiet(&[]), quiet(&[])), (0, 0));
    // Another state of the store, by another source.
    define(folder.path(), "a.yaml", "a", &[("1", "3")]);
    let (code, out, err) = sk(folder.path(), &["apply", "--yes"]);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(quiet(&[]), 2, "the store has changed");
    git(&source, &["checkout", "-q", "."]);
    assert_eq!(sk(folder.path(), &[&["apply", "--yes"], &config[..]].concat()).0, 0);
    assert_eq!((quiet(&[]), quiet(&[])), (0, 0));
    // Asked for, another namespace, another policy.
    images(folder.path(), 1);
    assert_eq!(quiet(&["--refresh"]), 2);
    assert_eq!(quiet(&["--namespace", "other"]), 2);
    // A while later: what upstream has is looked at again, and shown.
    let connection = rusqlite::Connection::open(cache(folder.path())).unwrap();
    connection.execute("UPDATE upstream SET checked_at = '2020-01-01T00:00:00Z'", []).unwrap();
    connection.execute("UPDATE settled SET due = '2020-01-01T00:00:00Z'", []).unwrap();
    connection.execute("DELETE FROM definitions", []).unwrap();
    let (code, out) = plan(folder.path(), &config);
    assert!(code == 0 && out.contains("1 behind upstream"), "{out}");
    // A cache that is broken or gone is no loss.
    std::fs::write(cache(folder.path()), "nonsense").unwrap();
    assert_eq!(quiet(&[]), 0);
}
