//! Where definitions come from, and what is refused there.

use std::os::unix::fs::symlink;
use std::path::Path;

use streamkeeper::findings::Code;

use crate::support::{git, run};

const STREAM: &str = "apiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata:\n  name: app\nspec:\n  tags:\n    - name: pushed\n";

fn stream(name: &str) -> String {
    STREAM.replace("name: app", &format!("name: {name}"))
}

fn write(folder: &Path, path: &str, text: impl AsRef<[u8]>) {
    let path = folder.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// A repository with one commit of these files.
fn repository(files: &[(&str, String)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    git(folder.path(), &["init", "-q"]);
    for (path, text) in files {
        write(folder.path(), path, text);
    }
    git(folder.path(), &["add", "-A"]);
    git(folder.path(), &["commit", "-qm", "first"]);
    folder
}

/// The plan's one line on what it read.
fn plan_line(folder: &Path, arguments: &[&str]) -> String {
    let (_, out, err) = run(folder, &[&["plan", "--store", "../store-of-its-own"], arguments].concat());
    out.lines().find(|line| line.starts_with("Plan:")).unwrap_or(&err).to_owned()
}

fn finds(out: &str, code: Code) {
    assert!(out.contains(&format!("[{code}]")), "{code} is not in:\n{out}");
}

#[test]
fn a_work_tree_is_read_as_it_lies_and_says_whether_it_is_dirty() {
    let folder = repository(&[("a.yaml", stream("a")), ("notes.md", "x".to_owned())]);
    let commit = git(folder.path(), &["rev-parse", "--short=12", "HEAD"]);
    assert_eq!(plan_line(folder.path(), &[]), format!("Plan: 1 stream to create (1 stream, {commit})"));
    write(folder.path(), "notes.md", "changed");
    assert!(!plan_line(folder.path(), &[]).contains("dirty"), "only what is read counts");
    write(folder.path(), "b.yaml", stream("b"));
    assert_eq!(plan_line(folder.path(), &[]), format!("Plan: 2 streams to create (2 streams, {commit} (dirty))"));
    std::fs::remove_file(folder.path().join("b.yaml")).unwrap();
    write(folder.path(), "a.yaml", stream("a") + "# changed\n");
    assert!(plan_line(folder.path(), &[]).contains("(dirty)"));
    std::fs::remove_file(folder.path().join("a.yaml")).unwrap();
    assert!(plan_line(folder.path(), &[]).contains("(dirty)"), "a file that is gone");
}

#[test]
fn revisions_are_read_from_objects_whatever_lies_on_disk() {
    let folder = repository(&[("sub/a.yaml", stream("a"))]);
    git(folder.path(), &["tag", "v1"]);
    write(folder.path(), "sub/b.yaml", stream("b"));
    git(folder.path(), &["add", "-A"]);
    git(folder.path(), &["commit", "-qm", "second"]);
    std::fs::remove_dir_all(folder.path().join("sub")).unwrap();
    for (revision, streams) in [("v1", 1), ("HEAD", 2), ("main", 2), ("HEAD~1", 1)] {
        let line = plan_line(folder.path(), &["--revision", revision]);
        assert!(line.contains(&format!("({streams} stream")), "{revision}: {line}");
    }
    // A folder of the repository, as a source of its own.
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    assert!(plan_line(folder.path(), &["-s", "sub", "--revision", "HEAD"]).contains("(2 streams"));
    let (code, _, err) = run(folder.path(), &["plan", "--revision", "no-such-branch"]);
    assert_eq!(code, 1);
    assert!(err.contains("has no revision `no-such-branch`") && err.contains("hint:"), "{err}");
}

#[test]
fn bare_repositories_and_file_urls_are_read_without_a_checkout() {
    let folder = repository(&[("a.yaml", stream("a"))]);
    let work = tempfile::tempdir().unwrap();
    git(work.path(), &["clone", "-q", "--bare", folder.path().to_str().unwrap(), "bare.git"]);
    assert!(plan_line(work.path(), &["-s", "bare.git"]).contains("1 stream to create"));
    let url = format!("file://{}", work.path().join("bare.git").display());
    assert!(plan_line(work.path(), &["-s", &url]).contains("1 stream to create"));
    let entries: Vec<_> = std::fs::read_dir(work.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(entries.len(), 2, "nothing is left behind but caches: {entries:?}");
}

#[test]
fn sources_that_are_none_are_refused_without_repeating_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let secret = "hunter2canary";
    for (source, expected) in [
        ("nowhere", "there is no `nowhere`"),
        ("-x", "is not a source"),
        (&format!("ftp://u:{secret}@example.com/r"), "`https`, `ssh` or `file`"),
        (&format!("https://u:{secret}@127.0.0.1:1/r?token={secret}"), "failed to fetch"),
        (&format!("https://u:{secret}/x@127.0.0.1:1/r"), "failed to"),
        (&format!("https://u:{secret}@127.0.0.1:1/r\n"), "line break"),
        ("file:///nowhere/at/all", "there is no"),
    ] {
        let (code, out, err) = run(folder.path(), &["plan", &format!("--source={source}")]);
        assert_eq!(code, 1, "{source}: {err}");
        assert!(err.contains(expected), "{source}: {err}");
        assert!(!format!("{out}{err}").contains(secret), "{source}: {err}");
    }
    let (_, _, err) = run(folder.path(), &["plan", "--revision", "HEAD"]);
    assert!(err.contains("not in a Git repository"), "{err}");
}

#[test]
fn include_and_exclude_choose_files() {
    let folder = tempfile::tempdir().unwrap();
    for (path, name) in [("a.yaml", "a"), ("deep/b.yaml", "b"), ("deep/er/c.json", "c"), ("odd.tmpl", "d")] {
        write(folder.path(), path, stream(name));
    }
    for (arguments, streams) in [
        (&[][..], 3),
        (&["--include", "deep/**"], 2),
        (&["--exclude", "deep/er/*"], 2),
        (&["--include", "*.tmpl"], 1),
        (&["--include", "**/*.yaml", "--exclude", "deep/**"], 1),
    ] {
        let line = plan_line(folder.path(), arguments);
        assert!(line.contains(&format!("({streams} stream")), "{arguments:?}: {line}");
    }
}

#[test]
fn links_submodules_and_unsafe_names_are_refused() {
    let folder = repository(&[("a.yaml", stream("a"))]);
    write(folder.path(), "outside/secret.yaml", stream("secret"));
    let inner = repository(&[("b.yaml", stream("b"))]);
    symlink("/etc/passwd", folder.path().join("absolute.yaml")).unwrap();
    symlink("../../x.yaml", folder.path().join("parent.yaml")).unwrap();
    symlink("self.yaml", folder.path().join("self.yaml")).unwrap();
    symlink("outside", folder.path().join("linked")).unwrap();
    symlink("a.yaml", folder.path().join("README.md")).unwrap();
    let (code, out, err) = run(folder.path(), &["validate", "--exclude", "outside/**"]);
    assert_eq!(code, 0, "{out}");
    finds(&out, Code::Link);
    assert_eq!(out.matches("[SK004]").count(), 4, "a link with another name is nobody's trouble: {out}");
    assert!(err.contains("1 stream,"), "nothing was followed: {err}");
    // The same from objects, with a submodule and names that no checkout would make.
    git(folder.path(), &["add", "-A"]);
    let commit = git(inner.path(), &["rev-parse", "HEAD"]);
    git(folder.path(), &["update-index", "--add", "--cacheinfo", &format!("160000,{commit},module")]);
    git(folder.path(), &["commit", "-qm", "links"]);
    let blob = git(folder.path(), &["rev-parse", "HEAD:a.yaml"]);
    let tree = mktree(
        folder.path(),
        &format!("100644 blob {blob}\t..\n100644 blob {blob}\t.GIT\n100644 blob {blob}\tgood.yaml\n"),
    );
    let (_, out, _) = run(folder.path(), &["validate", "--revision", "HEAD", "--exclude", "outside/**"]);
    finds(&out, Code::Link);
    finds(&out, Code::Submodule);
    let commit = git(folder.path(), &["commit-tree", &tree, "-m", "evil"]);
    let (_, out, err) = run(folder.path(), &["validate", "--revision", &commit]);
    finds(&out, Code::UnsafePath);
    assert!(err.contains("1 stream,"), "{err}");
    // On disk another repository inside this one is not looked into.
    let nested = folder.path().join("nested");
    git(folder.path(), &["clone", "-q", inner.path().to_str().unwrap(), "nested"]);
    assert!(nested.is_dir());
    let (_, out, _) = run(folder.path(), &["validate"]);
    finds(&out, Code::Submodule);
}

/// A tree as it stands in the lines, without Git's own checks.
fn mktree(folder: &Path, lines: &str) -> String {
    use std::io::Write;
    let mut raw = Vec::new();
    for line in lines.lines() {
        let (head, name) = line.split_once('\t').unwrap();
        let mut parts = head.split(' ');
        let (mode, _, id) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        raw.extend_from_slice(format!("{mode} {name}\0").as_bytes());
        raw.extend((0..20).map(|at| u8::from_str_radix(&id[2 * at..2 * at + 2], 16).unwrap()));
    }
    let mut child = std::process::Command::new("git")
        .current_dir(folder)
        .args(["hash-object", "-t", "tree", "--literally", "-w", "--stdin"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&raw).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn what_cannot_be_read_is_a_finding() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "good.yaml", stream("good"));
    // A socket with a definition's name cannot be opened, whoever asks.
    let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket.yaml")).unwrap();
    write(folder.path(), "latin1.yaml", b"kind: ImageStream\nname: \xe4\n");
    write(folder.path(), "utf16.yaml", b"\xff\xfek\0i\0n\0d\0");
    let large = std::fs::File::create(folder.path().join("large.yaml")).unwrap();
    large.set_len(100 * 1024 * 1024).unwrap();
    let (code, out, err) = run(folder.path(), &["validate"]);
    assert_eq!(code, 3);
    finds(&out, Code::UnreadableFile);
    finds(&out, Code::TooLarge);
    finds(&out, Code::NotUtf8);
    assert_eq!(out.matches("[SK003]").count(), 2, "{out}");
    assert!(err.contains("1 stream,"), "the rest is read: {err}");
}

#[test]
fn too_many_files_end_the_reading() {
    let folder = tempfile::tempdir().unwrap();
    for at in 0..30 {
        write(folder.path(), &format!("{at}.yaml"), stream(&format!("s{at}")));
    }
    write(folder.path(), "streamkeeper.yaml", "limits: {files: 20}\n");
    let (code, out, _) = run(folder.path(), &["validate"]);
    assert_eq!(code, 3);
    finds(&out, Code::TooManyFiles);
}

#[test]
fn a_hundred_thousand_files_give_a_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    git(folder.path(), &["init", "-q", "--bare"]);
    // One blob under a hundred thousand names, in trees made by hand: quick to make, as long to list as any.
    write(folder.path(), "blob", stream("app"));
    let blob = git(folder.path(), &["hash-object", "-w", "blob"]);
    let leaf: String = (0..1000).map(|at| format!("100644 blob {blob}\t{at:04}.yaml\n")).collect();
    let leaf = mktree(folder.path(), &leaf);
    let root: String = (0..100).map(|at| format!("40000 tree {leaf}\td{at:03}\n")).collect();
    let root = mktree(folder.path(), &root);
    let commit = git(folder.path(), &["commit-tree", &root, "-m", "many"]);
    git(folder.path(), &["update-ref", "refs/heads/main", &commit]);
    let (code, out, _) = run(folder.path(), &["validate", "--revision", &commit]);
    assert_eq!(code, 3);
    finds(&out, Code::TooManyFiles);
    let (_, out, _) = run(folder.path(), &["plan", "--revision", &commit, "--store", "store"]);
    assert!(!out.contains("remove"), "{out}");
}

#[test]
fn a_bomb_of_trees_ends() {
    let folder = tempfile::tempdir().unwrap();
    git(folder.path(), &["init", "-q", "--bare"]);
    write(folder.path(), "blob", "x");
    let blob = git(folder.path(), &["hash-object", "-w", "blob"]);
    let mut tree = mktree(folder.path(), &format!("100644 blob {blob}\ta.txt\n"));
    for _ in 0..9 {
        let lines: String = (0..10).map(|at| format!("40000 tree {tree}\td{at}\n")).collect();
        tree = mktree(folder.path(), &lines);
    }
    let commit = git(folder.path(), &["commit-tree", &tree, "-m", "bomb"]);
    let (code, out, _) = run(folder.path(), &["validate", "--revision", &commit]);
    assert_eq!(code, 3);
    finds(&out, Code::TooManyFiles);
}

#[test]
fn a_corrupt_pack_and_a_missing_object_are_told() {
    let folder = repository(&[("a.yaml", stream("a")), ("b.yaml", stream("b"))]);
    run(folder.path(), &["apply", "--yes", "--store", "store"]);
    let blob = git(folder.path(), &["rev-parse", "HEAD:a.yaml"]);
    let loose = folder.path().join(".git/objects").join(&blob[..2]).join(&blob[2..]);
    let kept = std::fs::read(&loose).unwrap();
    std::fs::remove_file(&loose).unwrap();
    let (code, out, err) = run(folder.path(), &["plan", "--revision", "HEAD", "--store", "store2"]);
    assert_eq!(code, 3, "{out}");
    finds(&err, Code::UnreadableFile);
    // Nothing is removed because of it, although the stream is in the store.
    std::fs::remove_dir_all(folder.path().join("store/cache-3.db")).unwrap_or_default();
    let _ = std::fs::remove_file(folder.path().join("store/cache-3.db"));
    let (_, out, _) = run(folder.path(), &["plan", "--revision", "HEAD", "--store", "store"]);
    assert!(!out.contains("remove stream"), "{out}");
    std::fs::write(&loose, kept).unwrap();
    // All in one pack, and the pack damaged in its middle.
    git(folder.path(), &["gc", "-q"]);
    let packs = folder.path().join(".git/objects/pack");
    let pack = std::fs::read_dir(packs)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|it| it == "pack"))
        .unwrap();
    let mut bytes = std::fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[12..middle + 40].fill(0xa5);
    let mut permissions = std::fs::metadata(&pack).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o644);
    std::fs::set_permissions(&pack, permissions).unwrap();
    std::fs::write(&pack, bytes).unwrap();
    let (code, out, err) = run(folder.path(), &["plan", "--revision", "HEAD", "--store", "store"]);
    assert!(code == 1 || code == 3, "{out}{err}");
    assert!(err.contains("error"), "{err}");
    assert!(!out.contains("remove"), "{out}");
}

/// cmarcusreid/git-status-cache#24, libgit2/libgit2#4526: what Git calls clean is clean.
#[test]
fn files_that_git_converts_or_ignores_make_no_work_tree_dirty() {
    let folder = repository(&[
        ("a.yaml", stream("a")),
        ("id.yaml", format!("# $Id$\n{}", stream("b"))),
        (".gitattributes", "id.yaml ident\ntab.yaml filter=case\n".to_owned()),
        (".gitignore", "local.yaml\nno-home/\n".to_owned()),
        ("deep/.gitignore", "*\n".to_owned()),
    ]);
    let root = folder.path();
    let clean = |at: &Path, name: &str| {
        assert_eq!(git(at, &["status", "--porcelain"]), "", "{name}");
        let line = plan_line(at, &[]);
        assert!(
            !line.contains("dirty") && line.contains(&git(at, &["rev-parse", "--short=12", "HEAD"])),
            "{name}: {line}"
        );
    };
    clean(root, "as it is");
    for (name, options) in [("autocrlf", &["-c", "core.autocrlf=true"][..]), ("eol", &["-c", "core.autocrlf=false"])] {
        let copy = tempfile::tempdir().unwrap();
        let at = copy.path().join("copy");
        let source = root.display().to_string();
        git(copy.path(), &[options, &["clone", "-q", &source, "copy"]].concat());
        git(&at, &["config", "core.autocrlf", options[1].split_once('=').unwrap().1]);
        if name == "autocrlf" {
            assert!(std::fs::read_to_string(at.join("a.yaml")).unwrap().contains("\r\n"));
        }
        assert!(std::fs::read_to_string(at.join("id.yaml")).unwrap().contains("$Id: "), "{name}");
        clean(&at, name);
        write(&at, "a.yaml", stream("a").replace("name: a", "name: other"));
        assert!(plan_line(&at, &[]).contains("(dirty)"), "{name}: a change is one");
    }
    // Git's index knows what a filter has made of a file.
    git(root, &["config", "filter.case.clean", "git stripspace"]);
    write(root, "tab.yaml", format!("# a tag   \n{}", stream("tab")));
    git(root, &["add", "-A"]);
    git(root, &["commit", "-qm", "filtered"]);
    assert!(!git(root, &["show", "HEAD:tab.yaml"]).contains("a tag   "));
    write(root, "tab.yaml", format!("# a tag   \n{}", stream("tab")));
    std::thread::sleep(std::time::Duration::from_millis(1100));
    git(root, &["update-index", "-q", "--refresh"]);
    clean(root, "filter");
    write(root, "local.yaml", stream("local"));
    write(root, "deep/er/any.yaml", stream("deep"));
    clean(root, "ignored");
    write(root, "new.yaml", stream("new"));
    assert!(plan_line(root, &[]).contains("(dirty)"));
}

/// kubernetes/kubernetes#12104
#[test]
fn json_objects_one_after_the_other_are_read() {
    let object = |name: &str| {
        format!(
            r#"{{"apiVersion":"image.openshift.io/v1","kind":"ImageStream","metadata":{{"name":"{name}"}},"spec":{{"tags":[{{"name":"1"}}]}}}}"#
        )
    };
    let folder = repository(&[("a.json", format!("{}\n{}{}", object("a"), object("b"), object("c")))]);
    let (code, out, err) = run(folder.path(), &["validate"]);
    assert!(code == 0 && err.contains("3 streams, 3 tags"), "{code} {out}{err}");
    let (code, out, _) = run(folder.path(), &["plan", "--store", "../of-json"]);
    assert!(code == 0 && out.contains("3 streams to create") && out.contains("a.json:2"), "{out}");
}

/// kubernetes-sigs/kustomize#1531
#[test]
fn kustomize_bases_and_overlays_are_recognised() {
    let patch =
        "apiVersion: image.openshift.io/v1\nkind: ImageStream\nmetadata: {name: app}\nspec: {tags: [{name: live}]}\n";
    let folder = repository(&[
        ("base/app.yaml", stream("app")),
        ("base/kustomization.yaml", "resources: [app.yaml]\n".to_owned()),
        ("test/app.yaml", patch.to_owned()),
        ("test/kustomization.yaml", "resources: [../base]\npatches: [{path: app.yaml}]\n".to_owned()),
        ("named/own.yaml", stream("own")),
        ("named/kustomization.yml", "resources: [own.yaml]\nnamePrefix: x-\n".to_owned()),
    ]);
    let (code, out, err) = run(folder.path(), &["validate", "-s", "."]);
    assert_eq!(code, 3, "{out}{err}");
    finds(&out, Code::KustomizePatch);
    finds(&out, Code::DuplicateStream);
    finds(&out, Code::NotBuilt);
    assert!(out.contains("`kustomize build test`") && out.contains("test/kustomization.yaml"), "{out}");
    // Of the overlay alone a patch is not taken for the stream.
    let (code, out, err) = run(folder.path(), &["plan", "-s", "test", "--store", "../of-test"]);
    assert!(out.contains("nothing to do") || out.contains("SK212"), "{code} {out}{err}");
    assert!(err.contains("[SK212]") && err.contains("a patch that `kustomization.yaml` applies"), "{err}");
    assert!(!out.contains("to create"), "{out}");
    // The base alone is whole.
    let (code, out, err) = run(folder.path(), &["validate", "-s", "base"]);
    assert_eq!(code, 0, "{out}{err}");
}
