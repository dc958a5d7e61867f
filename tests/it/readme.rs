//! The README's blocks, run as they stand, in a copy of the repository's examples.

use std::process::Command;

use crate::support::{copy_folder, manifest_folder};

/// Replaces what differs from run to run: times, lengths of time, commits.
fn normal(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let mut line = line.to_owned();
        for marker in ["less than a second ago", "Less than a second ago", "1 second ago"] {
            line = line.replace(marker, "2 seconds ago");
        }
        let timed = line.contains(" in ") && line.ends_with(" s");
        let words: Vec<String> = line
            .split(' ')
            .map(|word| {
                let bare = word.trim_matches(['(', ')', ',']);
                let is_plan = bare.len() == 35 && bare.starts_with("p1-");
                let is_commit = is_plan || bare.len() == 12 && bare.bytes().all(|byte| byte.is_ascii_hexdigit());
                let is_time = bare.ends_with('Z') && bare.contains('T') && bare.starts_with("20");
                let is_seconds =
                    timed && bare.contains('.') && bare.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
                match (is_commit, is_time, is_seconds) {
                    (true, ..) => word.replace(bare, "COMMIT"),
                    (_, true, _) => word.replace(bare, "TIME"),
                    (_, _, true) => word.replace(bare, "N"),
                    _ => word.to_owned(),
                }
            })
            .collect();
        let mut line =
            words.join(" ").replace("commit COMMIT", "COMMIT").replace("no commit", "COMMIT").replace(" (dirty)", "");
        for number in 2..60 {
            line = line.replace(&format!("{number} seconds ago"), "SECONDS ago");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// Whether the output is what is shown; `...` stands for any lines.
fn matches(shown: &[String], output: &[String]) -> bool {
    match shown.split_first() {
        None => output.is_empty(),
        Some((line, rest)) if line == "..." => (0..=output.len()).any(|at| matches(rest, &output[at..])),
        Some((line, rest)) => output.first() == Some(line) && matches(rest, &output[1..]),
    }
}

#[test]
fn the_readmes_blocks_run_as_they_stand() {
    let folder = tempfile::tempdir().unwrap();
    copy_folder(&manifest_folder().join("examples"), &folder.path().join("examples"));
    let readme = std::fs::read_to_string(manifest_folder().join("README.md")).unwrap();
    let bin = std::path::Path::new(env!("CARGO_BIN_EXE_streamkeeper"));
    // The tools of any shell are where POSIX systems have them, whatever `PATH` the tests were given.
    let path = format!("{}:/usr/bin:/bin", bin.parent().unwrap().display());
    let mut commands = 0;
    for block in readme.split("```console\n").skip(1).map(|rest| rest.split("```").next().unwrap()) {
        for part in block.split("$ ").skip(1) {
            let (command, shown) = part.split_once('\n').unwrap();
            if command == "cargo test" {
                // This very run. That it is also what CI runs:
                let ci = std::fs::read_to_string(manifest_folder().join(".ci/run")).unwrap();
                assert!(ci.ends_with("\n    cargo test --locked\n"));
                continue;
            }
            let command = command.replace("cargo run --release --", "streamkeeper");
            let output = Command::new("/bin/sh")
                .current_dir(folder.path())
                .args(["-c", &format!("{command} 2>&1")])
                .env_clear()
                .env("PATH", &path)
                .env("HOME", folder.path())
                .output()
                .unwrap();
            let output = normal(&String::from_utf8(output.stdout).unwrap());
            let lines = |text: &str| -> Vec<String> {
                text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
            };
            let (shown, output) = (lines(&normal(shown)), lines(&output));
            // The two streams are not in step when both go to one pipe: what is said last may come first.
            let mut sorted = (shown.clone(), output.clone());
            sorted.0.sort();
            sorted.1.sort();
            assert!(
                matches(&shown, &output) || sorted.0 == sorted.1,
                "$ {command}\nshown:\n{}\n\noutput:\n{}",
                shown.join("\n"),
                output.join("\n")
            );
            commands += 1;
        }
    }
    assert!(commands >= 9, "{commands} commands");
}

#[test]
fn the_readmes_configs_are_such() {
    let readme = std::fs::read_to_string(manifest_folder().join("README.md")).unwrap();
    let mut checked = 0;
    for block in readme.split("```yaml\n").skip(1) {
        let yaml = block.split("```").next().unwrap();
        streamkeeper::config::Config::parse(yaml, "README.md", std::path::Path::new("")).unwrap();
        checked += 1;
    }
    assert!(checked >= 4, "{checked}");
}
