//! Which config counts, and whose what is managed is.

use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::Value;

use streamkeeper::findings::Code;

use crate::cli::{commit, define, site};
use crate::support::{git, outcome, program, run};

/// A fork's config that sets every key to something that would widen its reach or weaken its gate.
const HOSTILE: &str = "
identity: other
previousIdentities: [other]
fieldManager: other
previousFieldManagers: [another]
target: store
import: ours
internalRegistry: evil.example.net
pullSecrets: true
namespaces: [other]
include: ['none/**']
exclude: ['**']
limits: {fileBytes: 99999999, files: 9999999, totalBytes: 999999999}
findings:
  severities: {SK701: off, SK710: off, SK718: off}
  waive: [{code: SK710, path: '**', reason: x}]
policy:
  scheduleInterval: 1s
  scheduleBounds: {least: 1s, most: 2s}
  checkInterval: 1s
  maxRemovals: 999
  allowEmpty: true
  allowedRegistriesForImport: [{domainName: evil.example.net}]
  blockedRegistries: []
  suspend: []
  drift: report
  freeze: []
  workloads: {shared: ['*']}
  maxImagesBulkImportedPerRepository: 999
review: {maxWorkloads: 999, rules: []}
run: {poll: 1s}
registries: [{host: evil.example.net, private: true}]
mirrors: [{source: r.example.com, mirrors: [evil.example.net]}]
mirrorFiles: [none]
credentials: [none]
store: elsewhere
platform: linux/arm64
";

/// A repository with a branch `main`, and a branch `change` with a change that a rule finds: a tag that is no longer pinned.
fn forked(config: &str) -> tempfile::TempDir {
    let folder = site();
    let source = folder.path().join("source");
    let own = std::fs::read_to_string(source.join("streamkeeper.yaml")).unwrap();
    let trusted = own
        + "policy: {blockedRegistries: [bad.example.net], maxRemovals: 7}\nfindings: {severities: {SK710: error}}\n";
    std::fs::write(source.join("streamkeeper.yaml"), trusted).unwrap();
    define(folder.path(), "a.yaml", "a", &[("1", "1")]);
    let text = std::fs::read_to_string(source.join("a.yaml")).unwrap();
    let (_, out, err) = run(folder.path(), &["apply", "--yes", "-s", "source"]);
    assert!(out.contains("1 image imported"), "{out}{err}");
    let (_, out, _) = run(folder.path(), &["get", "istag", "-s", "source", "-o", "json"]);
    let digest = out.split("sha256:").nth(1).unwrap()[..64].to_owned();
    std::fs::write(source.join("a.yaml"), text.replace("app:1", &format!("app@sha256:{digest}"))).unwrap();
    assert_eq!(run(folder.path(), &["apply", "--yes", "-s", "source"]).0, 0);
    git(&source, &["init", "-q"]);
    git(&source, &["add", "-A"]);
    git(&source, &["commit", "-qm", "base"]);
    git(&source, &["checkout", "-qb", "change"]);
    define(folder.path(), "a.yaml", "a", &[("1", "1")]);
    if !config.is_empty() {
        std::fs::write(source.join("streamkeeper.yaml"), config).unwrap();
    }
    git(&source, &["add", "-A"]);
    git(&source, &["commit", "-qm", "change"]);
    folder
}

fn review(folder: &Path, arguments: &[&str]) -> (i32, Value) {
    let plan = ["plan", "-s", "source", "--base", "main", "--format", "json", "--fail-on", "error"];
    let (code, out, err) = run(folder, &[&plan[..], arguments].concat());
    (code, serde_json::from_str(&out).unwrap_or_else(|_| panic!("{code} {out}{err}")))
}

/// What a change's config must not change: steps, scope, target, and what the gate says of them.
fn gate(plan: &Value) -> Vec<Value> {
    let risks = plan["review"]["risks"].as_array().unwrap().iter();
    let risks = risks.filter(|risk| risk["rule"] != Code::ConfigKey.id()).cloned().collect();
    let mut steps = plan["steps"].clone();
    for step in steps.as_array_mut().unwrap() {
        step["requires"] = Value::Null;
    }
    let target = plan["target"].as_str().unwrap().split(' ').next().unwrap();
    vec![steps, target.into(), plan["deferred"].clone(), Value::Array(risks)]
}

#[test]
fn fork_config_that_sets_every_key_changes_nothing() {
    let plain = forked("");
    for arguments in [&["--head", "change"][..], &[]] {
        let (code, expected) = review(plain.path(), arguments);
        assert_eq!(code, 3, "the tag is no longer pinned: {expected:#}");
        let fork = forked(HOSTILE);
        let (code, found) = review(fork.path(), arguments);
        assert_eq!(code, 3, "{found:#}");
        assert_eq!(gate(&found), gate(&expected));
        let scope = |plan: &Value| plan["scope"].as_str().unwrap().split_once(", ").unwrap().1.to_owned();
        assert_eq!(scope(&found), scope(&expected));
        let risks = found["review"]["risks"].as_array().unwrap();
        let keys: Vec<&str> = risks
            .iter()
            .filter(|risk| risk["rule"] == Code::ConfigKey.id())
            .map(|risk| risk["about"]["key"].as_str().unwrap())
            .collect();
        for key in streamkeeper::config::keys().iter().filter(|key| key.is_declared) {
            // Free keys count, and of these two an empty list is no other value than none.
            let counts = ["namespace", "params", "policy.suspend", "policy.freeze", "review.rules"];
            assert_eq!(keys.contains(&&*key.path), !counts.contains(&&*key.path), "{}: {keys:?}", key.path);
        }
    }
}

#[test]
fn untrusted_revision_counts_by_key_class() {
    let folder = forked("namespace: shop\npolicy: {maxRemovals: 2}\n");
    let source = format!("file://{}", folder.path().join("source").display());
    let images = folder.path().join("trusted.yaml");
    std::fs::write(&images, "registries: [{host: r.example.com, layout: images}]\n").unwrap();
    // Free keys and stricter values count.
    let (code, out, err) = run(folder.path(), &["validate", "-s", &source, "--revision", "change"]);
    assert_eq!(code, 0, "{out}{err}");
    // A trusted-only key is refused, and the message says what to do; with that done, it counts.
    for (revision, key) in [("main", "registries"), ("main", "findings.severities")] {
        let arguments = ["plan", "-s", &source, "--store", "st", "--revision", revision];
        let (code, out, err) = run(folder.path(), &arguments);
        let is_said = err.contains(key) || key == "findings.severities";
        assert!(code == 3 && is_said && err.contains("`--config-revision main`"), "{code} {out}{err}");
    }
    let local = ["plan", "-s", "source", "--store", "st", "--revision", "main", "--config-revision", "main"];
    let (code, out, err) = run(folder.path(), &local);
    assert!(code == 0 && out.contains("1 stream to create"), "{out}{err}");
    // The trusted file alone.
    let arguments = ["plan", "-s", &source, "--store", "st", "--revision", "main", "--config", "trusted.yaml"];
    let (code, out, err) = run(folder.path(), &arguments);
    assert!(code == 0 && out.contains("default/a"), "{out}{err}");
    // Another revision's config, beside free keys of the one that is read.
    let arguments = ["plan", "-s", "source", "--store", "st", "--revision", "change", "--config-revision", "main"];
    let (code, out, err) = run(folder.path(), &arguments);
    assert!(code == 0 && out.contains("shop/a"), "{out}{err}");
    assert!(err.contains("count only when it is trusted") && err.contains("registries"), "{err}");
}

#[test]
fn on_premises_files_of_a_trusted_revision_are_read_from_it() {
    let folder = forked("");
    let source = folder.path().join("source");
    git(&source, &["checkout", "-q", "main"]);
    std::fs::create_dir(source.join("certs")).unwrap();
    std::fs::write(source.join("certs/ca.pem"), "no certificate\n").unwrap();
    let config = "registries: [{host: '127.0.0.1:9', private: true, ca: certs/ca.pem}]\n";
    std::fs::write(source.join("streamkeeper.yaml"), config).unwrap();
    git(&source, &["add", "-A"]);
    git(&source, &["commit", "-qm", "on premises"]);
    std::fs::remove_dir_all(source.join("certs")).unwrap();
    define(folder.path(), "a.yaml", "a", &[("1", "1")]);
    let arguments = ["plan", "-s", "source", "--store", "st", "--revision", "main"];
    let (code, _, err) = run(folder.path(), &arguments);
    assert!(code == 3 && err.contains("`registries`"), "{code} {err}");
    let (code, out, err) = run(folder.path(), &[&arguments[..], &["--config-revision", "main"]].concat());
    assert!(code == 0 && !err.contains("certs"), "{code} {out}{err}");
}

#[test]
fn config_on_disk_is_no_link_and_no_pipe() {
    let folder = site();
    define(folder.path(), "a.yaml", "a", &[("1", "1")]);
    let source = folder.path().join("source");
    std::fs::rename(source.join("streamkeeper.yaml"), folder.path().join("other.yaml")).unwrap();
    symlink("../other.yaml", source.join("streamkeeper.yaml")).unwrap();
    let (code, _, err) = run(folder.path(), &["plan", "-s", "source"]);
    assert!(code == 3 && err.contains("symbolic link"), "{code} {err}");
    for name in ["streamkeeper.yaml", "/dev/null"] {
        let (code, _, err) = run(folder.path(), &["plan", "-s", "source", "--config", &format!("source/{name}")]);
        assert!(code == 3 || code == 1, "{code} {err}");
    }
    let (code, _, err) = run(folder.path(), &["plan", "-s", "source", "--config", "/dev/null"]);
    assert!(code == 3 && err.contains("no regular file"), "{code} {err}");
    std::fs::remove_file(source.join("streamkeeper.yaml")).unwrap();
    let pipe = std::process::Command::new("mkfifo").arg(source.join("streamkeeper.yaml")).status();
    if pipe.is_ok_and(|status| status.success()) {
        let (code, _, err) = run(folder.path(), &["plan", "-s", "source"]);
        assert!(code == 3 && err.contains("no regular file"), "{code} {err}");
        std::fs::remove_file(source.join("streamkeeper.yaml")).unwrap();
    }
    // As Kubernetes mounts a ConfigMap.
    std::fs::create_dir(folder.path().join("mounted")).unwrap();
    std::fs::create_dir(folder.path().join("mounted/..1")).unwrap();
    std::fs::rename(folder.path().join("other.yaml"), folder.path().join("mounted/..1/c.yaml")).unwrap();
    symlink("..1", folder.path().join("mounted/..data")).unwrap();
    symlink("..data/c.yaml", folder.path().join("mounted/c.yaml")).unwrap();
    let (code, out, err) = run(folder.path(), &["plan", "-s", "source", "--config", "mounted/c.yaml"]);
    assert_eq!(code, 0, "{out}{err}");
}

#[test]
fn untrusted_directory_is_read_by_key_class() {
    let folder = site();
    define(folder.path(), "a.yaml", "a", &[("1", "1")]);
    let (code, _, err) = run(folder.path(), &["plan", "-s", "source", "--untrusted"]);
    assert!(code == 3 && err.contains("`registries`") && err.contains("--config"), "{code} {err}");
    std::fs::write(folder.path().join("source/streamkeeper.yaml"), "namespace: shop\n").unwrap();
    let (code, out, err) = run(folder.path(), &["validate", "-s", "source", "--untrusted"]);
    assert_eq!(code, 0, "{out}{err}");
}

#[test]
fn config_and_store_are_found_from_a_subdirectory() {
    let folder = site();
    define(folder.path(), "deep/er/a.yaml", "a", &[("1", "1")]);
    assert_eq!(run(folder.path(), &["apply", "--yes", "-s", "source"]).0, 0);
    let below = folder.path().join("source/deep/er");
    let mut command = program(&below);
    command
        .env("HOME", folder.path().join("no-home"))
        .env("STREAMKEEPER_CACHE_DIR", folder.path().join("no-home/cache"));
    let (code, out, err) = outcome(command.arg("plan").output().unwrap());
    assert!(code == 0 && out.contains("nothing to do (1 stream"), "{out}{err}");
    assert!(err.contains("`streamkeeper.yaml`") && err.contains("`.streamkeeper`") && err.contains("`../..`"), "{err}");
    // A repository is the end of the search.
    git(&below, &["init", "-q"]);
    let (_, out, _) = run(&below, &["plan"]);
    assert!(out.contains("1 stream to create"), "{out}");
}

#[test]
fn config_that_is_tracked_and_not_in_the_work_tree_is_missed() {
    let folder = site();
    let source = folder.path().join("source");
    let config = source.join("streamkeeper.yaml");
    let text = std::fs::read_to_string(&config).unwrap() + "policy: {suspend: ['*']}\n";
    std::fs::write(&config, text).unwrap();
    define(folder.path(), "deep/er/a.yaml", "a", &[("1", "1")]);
    commit(folder.path());
    let on = |at: &Path, arguments: &[&str]| {
        let (code, out, err) = outcome(program(at).args(arguments).output().unwrap());
        (code, out + &err)
    };
    let apply = ["apply", "--yes", "-s", "source"];
    git(&source, &["sparse-checkout", "set", "--no-cone", "/deep/"]);
    assert!(!config.exists());
    for (at, arguments) in [
        (folder.path(), &apply[..]),
        (&source.join("deep/er"), &["apply", "--yes"]),
        (folder.path(), &["plan", "-s", "source"]),
        (folder.path(), &["plan", "--untrusted", "-s", "source"]),
        (folder.path(), &["validate", "-s", "source"]),
    ] {
        let (code, said) = on(at, arguments);
        assert!(code == 3 && said.contains("Git tracks the config"), "{arguments:?}: {code} {said}");
    }
    // Named, it counts.
    for more in [&["--config-revision", "HEAD"][..], &["--revision", "HEAD", "--config-revision", "HEAD"]] {
        let (code, said) = on(folder.path(), &[&apply[..], more].concat());
        assert!(code == 5 && said.contains("policy.suspend"), "{more:?}: {code} {said}");
    }
    // Without an index, `HEAD` says what Git tracks.
    let index = std::fs::read(source.join(".git/index")).unwrap();
    std::fs::write(source.join(".git/index"), "no index").unwrap();
    let (code, said) = on(folder.path(), &apply);
    assert!(code == 3 && said.contains("Git tracks the config"), "{code} {said}");
    std::fs::write(source.join(".git/index"), index).unwrap();
    // Taken out of Git, there is none.
    git(&source, &["sparse-checkout", "disable"]);
    git(&source, &["rm", "-q", "streamkeeper.yaml"]);
    let (_, said) = on(folder.path(), &["plan", "-s", "source"]);
    assert!(said.contains("1 stream to create"), "{said}");
}

#[test]
fn url_source_finds_its_store_from_another_directory() {
    let folder = forked("");
    let source = format!("file://{}", folder.path().join("source").display());
    let home = folder.path().join("home");
    let config = folder.path().join("c.yaml");
    std::fs::write(&config, "registries: [{host: r.example.com, layout: images}]\n").unwrap();
    let with = |place: &str, command: &str| {
        let place = folder.path().join(place);
        std::fs::create_dir_all(&place).unwrap();
        let mut program = program(&place);
        program.env("HOME", &home).env_remove("STREAMKEEPER_CACHE_DIR");
        let arguments = [command, "-s", &source, "--config", config.to_str().unwrap(), "--revision", "change"];
        let yes: &[&str] = if command == "apply" { &["--yes"] } else { &[] };
        outcome(program.args(arguments).args(yes).output().unwrap())
    };
    let (code, out, err) = with("one", "apply");
    assert_eq!(code, 0, "{out}{err}");
    let (code, out, err) = with("two", "plan");
    assert!(code == 0 && out.contains("nothing to do"), "{out}{err}");
    assert!(home.join(".local/state/streamkeeper/stores").is_dir() && home.join(".cache/streamkeeper").is_dir());
    let entries = std::fs::read_dir(folder.path().join("one")).unwrap().count();
    assert_eq!(entries, 0, "nothing is written where the command runs");
    // Without a home, nothing is put anywhere that others could guess.
    let mut command = program(folder.path());
    command.env_remove("HOME").env_remove("STREAMKEEPER_CACHE_DIR");
    let (code, _, err) = outcome(command.args(["plan", "-s", &source, "--config", "c.yaml"]).output().unwrap());
    assert!(code == 64 && err.contains("--store"), "{code} {err}");
}

#[test]
fn store_that_git_tracks_or_that_is_a_link_is_refused() {
    let folder = site();
    let source = folder.path().join("source");
    define(folder.path(), "a.yaml", "a", &[("1", "1")]);
    // A link where the lock is: what it leads to stays as it is.
    std::fs::create_dir(source.join(".streamkeeper")).unwrap();
    std::fs::write(folder.path().join("precious"), "precious").unwrap();
    symlink("../../precious", source.join(".streamkeeper/lock")).unwrap();
    for arguments in [&["plan"][..], &["apply"], &["apply", "--yes"], &["get"]] {
        let (code, out, err) = run(folder.path(), &[arguments, &["-s", "source"]].concat());
        assert!(code == 1 && err.contains("no regular file"), "{arguments:?} {code} {out}{err}");
    }
    assert_eq!(std::fs::read_to_string(folder.path().join("precious")).unwrap(), "precious");
    std::fs::remove_dir_all(source.join(".streamkeeper")).unwrap();
    // The directory itself.
    std::fs::create_dir(folder.path().join("elsewhere")).unwrap();
    symlink("../elsewhere", source.join(".streamkeeper")).unwrap();
    let (code, _, err) = run(folder.path(), &["apply", "--yes", "-s", "source"]);
    assert!(code == 1 && err.contains("symbolic link"), "{code} {err}");
    assert_eq!(std::fs::read_dir(folder.path().join("elsewhere")).unwrap().count(), 0);
    std::fs::remove_file(source.join(".streamkeeper")).unwrap();
    // Tracked by Git, in the index or in a commit.
    assert_eq!(run(folder.path(), &["apply", "--yes", "-s", "source"]).0, 0);
    git(&source, &["init", "-q"]);
    git(&source, &["add", "-f", ".streamkeeper/store.db"]);
    let is_refused = || {
        let (code, _, err) = run(folder.path(), &["plan", "-s", "source"]);
        assert!(code == 3 && err.contains("tracked by Git"), "{code} {err}");
    };
    is_refused();
    git(&source, &["commit", "-qm", "a store"]);
    is_refused();
    git(&source, &["rm", "-q", "--cached", ".streamkeeper/store.db"]);
    is_refused();
    git(&source, &["commit", "-qm", "no store"]);
    assert_eq!(run(folder.path(), &["plan", "-s", "source"]).0, 0);
}

#[test]
fn stores_and_caches_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let folder = site();
    define(folder.path(), "a.yaml", "a", &[("1", "1")]);
    assert_eq!(run(folder.path(), &["apply", "--yes", "-s", "source"]).0, 0);
    let mut stack = vec![folder.path().join("source/.streamkeeper"), folder.path().join("no-home/cache")];
    let mut seen = 0;
    while let Some(path) = stack.pop() {
        let metadata = std::fs::symlink_metadata(&path).unwrap();
        let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(metadata.permissions().mode() & 0o777, expected, "{}", path.display());
        if metadata.is_dir() {
            stack.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        seen += 1;
    }
    assert!(seen > 5, "{seen}");
}

/// A cache that a repository brings along is no cache: it would let a review show another image.
#[test]
fn committed_cache_is_not_read() {
    let folder = forked("");
    let source = folder.path().join("source");
    let (_, before) = review(folder.path(), &["--head", "change"]);
    let cache = crate::support::cache(folder.path());
    std::fs::remove_dir_all(source.join(".streamkeeper")).unwrap();
    std::fs::create_dir(source.join(".streamkeeper")).unwrap();
    for name in ["cache-6.db", "cache-7.db"] {
        std::fs::copy(&cache, source.join(".streamkeeper").join(name)).unwrap();
        let poisoned = rusqlite::Connection::open(source.join(".streamkeeper").join(name)).unwrap();
        poisoned.execute("UPDATE definitions SET value = x'00'", []).unwrap();
        poisoned.execute("UPDATE upstream SET resolution = 'absent'", []).unwrap();
    }
    std::fs::remove_dir_all(folder.path().join("no-home/cache")).unwrap();
    let (_, after) = review(folder.path(), &["--head", "change", "--store", "st"]);
    assert_eq!(before["review"]["definitions"], after["review"]["definitions"]);
}

/// A cache is for speed. Where it cannot be kept, in a place that nobody may write, everything is done all the same, and
/// nothing is put into the source instead.
#[test]
fn caches_that_cannot_be_kept_cost_time_alone() {
    let folder = site();
    define(folder.path(), "a.yaml", "a", &[("1", "1"), ("2", "2")]);
    std::fs::write(folder.path().join("file"), "").unwrap();
    let listed = || {
        let entries = std::fs::read_dir(folder.path().join("source")).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let before = listed();
    for (at, cache) in ["/proc/nothing/there", "file", "file/below"].into_iter().enumerate() {
        let store = format!("store-{at}");
        let mut command = program(folder.path());
        command.args(["apply", "--yes", "-s", "source", "--store", &store]).env("STREAMKEEPER_CACHE_DIR", cache);
        let (code, out, err) = outcome(command.output().unwrap());
        assert_eq!(code, 0, "{cache}: {out}{err}");
        assert_eq!(listed(), before, "{cache}");
        let (_, out, _) = run(folder.path(), &["get", "istag", "-s", "source", "--store", &store, "-o", "name"]);
        assert_eq!(out.lines().count(), 2, "{cache}: {out}");
    }
    assert_eq!(std::fs::read(folder.path().join("file")).unwrap(), b"", "what stood there is as it was");
}
