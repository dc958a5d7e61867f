//! The layering of the rooms, and what may not occur in them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use streamkeeper::text::Code;

use crate::support::manifest_folder;

/// Which rooms each room may name. A change here is a change of design: it also changes the page in `src/lib.rs`.
const LAYERS: &[(&str, &[&str])] = &[
    ("api", &[]),
    ("text", &[]),
    ("model", &["api", "text"]),
    ("rules", &["api", "model"]),
    ("definitions", &["api", "text", "model"]),
    ("planner", &["api", "model", "rules"]),
    ("review", &["api", "text", "model"]),
    ("render", &["api", "text", "model"]),
    ("config", &["text", "model"]),
    ("ports", &["api", "text", "model"]),
    ("observe", &["api", "model", "ports"]),
    ("executor", &["api", "model", "ports"]),
    ("reconcile", &["definitions", "executor", "model", "observe", "planner", "ports", "rules", "text"]),
    ("daemon", &["model", "ports", "reconcile", "text"]),
    ("adapters", &["api", "model", "ports", "rules", "text"]),
    (
        "cli",
        &[
            "adapters",
            "api",
            "config",
            "daemon",
            "definitions",
            "executor",
            "model",
            "observe",
            "planner",
            "ports",
            "reconcile",
            "render",
            "review",
            "rules",
            "text",
        ],
    ),
];

/// Rooms that decide: they get time, randomness and the world as values.
const PURE: &[&str] = &["api", "text", "model", "rules", "definitions", "planner", "review", "render", "config"];

/// Words that pure rooms do without, and why.
const IMPURE: &[(&str, &str)] = &[
    ("std::fs", "the file system"),
    ("std::net", "the network"),
    ("std::env", "the environment"),
    ("std::process", "processes"),
    ("std::time", "the clock"),
    ("std::thread", "threads"),
    ("Timestamp::now", "the clock"),
    ("Zoned::now", "the clock"),
    ("SystemTime", "the clock"),
    ("HashMap", "an order that differs from run to run"),
    ("HashSet", "an order that differs from run to run"),
    ("tokio", "the runtime"),
    ("reqwest", "the network"),
    ("rusqlite", "the store"),
    ("gix", "Git"),
    ("println!", "the terminal"),
];

fn files(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(path);
        }
    }
}

fn room(name: &str) -> Vec<(PathBuf, String)> {
    let mut paths = Vec::new();
    files(&manifest_folder().join("src").join(name), &mut paths);
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// The code of a file without its unit tests and comments.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn rooms_name_only_what_they_may() {
    let mut wrong = Vec::new();
    for (name, may) in LAYERS {
        for (path, text) in room(name) {
            for (at, _) in code(&text).match_indices("crate::") {
                let rest = &code(&text)[at + 7..];
                let named: String =
                    rest.chars().take_while(|char| char.is_ascii_alphanumeric() || *char == '_').collect();
                if named != *name && !may.contains(&named.as_str()) {
                    wrong.push(format!("{} names `{named}`", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_room_is_in_the_table_and_says_what_it_is_for() {
    let listed: BTreeSet<&str> = LAYERS.iter().map(|(name, _)| *name).collect();
    let lib = fs::read_to_string(manifest_folder().join("src/lib.rs")).unwrap();
    let declared: BTreeSet<&str> =
        lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert_eq!(declared, listed);
    for (name, may) in LAYERS {
        let page = fs::read_to_string(manifest_folder().join("src").join(name).join("mod.rs")).unwrap();
        assert!(page.starts_with("//! "), "{name} says what it is for");
        for (at, _) in page.match_indices("`tests/it/") {
            let path = page[at + 1..].split('`').next().unwrap();
            assert!(manifest_folder().join(path).exists(), "{name} names {path}, which is not there");
        }
        let row = lib.lines().find(|line| line.starts_with(&format!("//! | [`{name}`]"))).unwrap_or_default();
        let last = row.trim_end_matches('|').rsplit('|').next().unwrap_or_default().trim();
        let shown = may.iter().map(|room| format!("`{room}`")).collect::<Vec<_>>().join(", ");
        assert!(
            last == shown || (*name == "cli" && last == "all"),
            "src/lib.rs has `{last}` for {name}, the table `{shown}`"
        );
    }
}

#[test]
fn rooms_that_decide_touch_nothing() {
    let mut wrong = Vec::new();
    for name in PURE {
        for (path, text) in room(name) {
            for (word, what) in IMPURE {
                if code(&text).contains(word) {
                    wrong.push(format!("{} has `{word}`: {what}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_process_is_started_but_credential_helpers() {
    let mut paths = Vec::new();
    files(&manifest_folder().join("src"), &mut paths);
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        // Credential helpers, which only the user's own files name.
        let may = path.ends_with("adapters/registry/auth/helper.rs");
        assert!(may || !code(&text).contains("Command::new"), "{}", path.display());
        assert!(!code(&text).contains("[allow("), "{}: write #[expect] with a reason", path.display());
    }
}

#[test]
fn files_stay_small() {
    let mut paths = Vec::new();
    files(&manifest_folder().join("src"), &mut paths);
    for path in paths {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 600, "{} has {lines} lines: is it two files?", path.display());
    }
}

#[test]
fn every_code_has_a_page_and_a_sample() {
    let samples: Vec<String> = fs::read_dir(manifest_folder().join("tests/definitions/invalid"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    // Found by reading a source or a config, not a file: their samples are tests of their own.
    let elsewhere: BTreeMap<Code, &str> = [
        (Code::UnreadableFile, "sources::what_cannot_be_read_is_a_finding"),
        (Code::TooLarge, "sources::what_cannot_be_read_is_a_finding"),
        (Code::NotUtf8, "sources::what_cannot_be_read_is_a_finding"),
        (Code::Link, "sources::links_submodules_and_unsafe_names_are_refused"),
        (Code::Submodule, "sources::links_submodules_and_unsafe_names_are_refused"),
        (Code::UnsafePath, "sources::links_submodules_and_unsafe_names_are_refused"),
        (Code::TooManyFiles, "sources::too_many_files_end_the_reading"),
        (Code::NoLocalRegistry, "kubernetes_workloads::local_pull_specs_name_the_registry_that_stands_in"),
        (Code::WaiverUnused, "definitions::severities_and_waivers_are_the_configs"),
        (Code::WaiverExpired, "definitions::severities_and_waivers_are_the_configs"),
        (Code::BecameRoot, "review::each_risk_is_found_by_its_rule"),
        (Code::EntrypointReplaced, "review::each_risk_is_found_by_its_rule"),
        (Code::PlatformLost, "review::each_risk_is_found_by_its_rule"),
        (Code::OlderImage, "review::each_risk_is_found_by_its_rule"),
        (Code::NoTime, "review::each_risk_is_found_by_its_rule"),
        (Code::SizeJump, "review::each_risk_is_found_by_its_rule"),
        (Code::BaseChanged, "review::each_risk_is_found_by_its_rule"),
        (Code::OtherSource, "review::each_risk_is_found_by_its_rule"),
        (Code::AttestationLost, "review::each_risk_is_found_by_its_rule"),
        (Code::Unpinned, "review::each_risk_is_found_by_its_rule"),
        (Code::BecameInsecure, "review::each_risk_is_found_by_its_rule"),
        (Code::RemovedInUse, "review::each_risk_is_found_by_its_rule"),
        (Code::ManyWorkloads, "review::each_risk_is_found_by_its_rule"),
        (Code::ImageNotSeen, "review::each_risk_is_found_by_its_rule"),
        (Code::NewRoot, "review::each_risk_is_found_by_its_rule"),
        (Code::SignatureLost, "review::each_risk_is_found_by_its_rule"),
        (Code::OwnRule, "review::each_risk_is_found_by_its_rule"),
    ]
    .into();
    for code in Code::ALL {
        assert!(code.page().starts_with(&format!("# {} {}\n", code.id(), code.name())), "{code} has a page");
        let has_sample = samples.iter().any(|name| name.starts_with(&format!("{}-", code.id())));
        match elsewhere.get(code) {
            Some(test) => {
                let (module, test) = test.split_once("::").unwrap();
                let text = fs::read_to_string(manifest_folder().join(format!("tests/it/{module}.rs"))).unwrap();
                assert!(
                    text.contains(&format!("fn {test}()")) && text.contains(&format!("Code::{code:?}")),
                    "{code} in {module}::{test}"
                );
            }
            None => assert!(has_sample, "{code} has a sample in tests/definitions/invalid"),
        }
    }
}
