//! What several tests need.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use jiff::Timestamp;
use streamkeeper::executor::Execution;
use streamkeeper::model::{Identities, Plan, Report, Step};
use streamkeeper::ports::{NoProgress, PortError, Target};
use tokio_util::sync::CancellationToken;

/// The source of tests that make their own definitions.
pub fn identities() -> Identities {
    Identities::of("tests")
}

/// The root of the package.
pub fn manifest_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Kept outputs are to be written anew.
pub fn overwrite() -> bool {
    std::env::var("SNAPSHOTS").is_ok_and(|value| value == "overwrite")
}

/// `sha256:…` of bytes.
pub fn digest(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    streamkeeper::openshift::Digest::sha256(digest.as_ref()).to_string()
}

/// Compares text with a kept file, or writes the file.
pub fn check_file(path: &Path, text: &str) {
    if overwrite() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    snapbox::assert_data_eq!(text.to_owned(), snapbox::Data::text(kept).raw());
}

/// The program, in a folder, without anything of the machine's: no home, no Git configuration, no colours.
pub fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_streamkeeper"));
    // Nothing is left behind in the package.
    let is_package = folder.starts_with(manifest_folder());
    let home = if is_package { PathBuf::from(env!("CARGO_TARGET_TMPDIR")) } else { folder.to_owned() };
    command
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home.join("no-home"))
        .env("STREAMKEEPER_CACHE_DIR", home.join("no-home/cache"))
        .env("GIT_CONFIG_NOSYSTEM", "1");
    command
}

/// The cache of the one store that the program has used in a folder.
pub fn cache(folder: &Path) -> PathBuf {
    let stores = std::fs::read_dir(folder.join("no-home/cache/stores")).unwrap();
    let files: Vec<PathBuf> = stores.map(|entry| entry.unwrap().path().join("cache-7.db")).collect();
    files.into_iter().find(|path| path.exists()).unwrap()
}

/// Runs the program and gives exit code, stdout and stderr.
pub fn run(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    outcome(program(folder).args(arguments).output().unwrap())
}

/// Exit code, stdout and stderr; a signal is -1.
pub fn outcome(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

/// Copies a folder with everything in it.
pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() == ".streamkeeper" {
            continue;
        }
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Carries a plan out, one workload at a time, with a clock of the test's own.
pub async fn execute(
    plan: &Plan,
    target: &impl Target,
    clock: impl Fn() -> Timestamp,
    stop: &CancellationToken,
) -> Result<Report, PortError> {
    let reason = |_: &Step| "because".to_owned();
    let decided = BTreeMap::new();
    let execution = Execution {
        reason: &reason,
        clock: &clock,
        updates_at_once: 1,
        decided: &decided,
        stop,
        progress: &NoProgress,
    };
    execution.execute(plan, target).await
}

/// Runs `git` in a folder, with an identity and a date of the tests' own.
pub fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(folder)
        .args([
            "-c",
            "user.name=Test",
            "-c",
            "user.email=test@example.com",
            "-c",
            "init.defaultBranch=main",
            "-c",
            "commit.gpgsign=false",
        ])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_AUTHOR_DATE", "2026-11-01T00:00:00Z")
        .env("GIT_COMMITTER_DATE", "2026-11-01T00:00:00Z")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
