//! The layering of the rooms, and what may not occur in them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use streamkeeper::findings::Code;

use crate::support::manifest_folder;

/// Which rooms each room may name. A change here is a change of design: it also changes the page in `src/lib.rs`.
const LAYERS: &[(&str, &[&str])] = &[
    ("openshift", &[]),
    ("source", &[]),
    ("findings", &["openshift", "source"]),
    ("model", &["findings", "openshift", "source"]),
    ("rules", &["model", "openshift"]),
    ("definitions", &["findings", "model", "openshift", "rules", "source"]),
    ("planner", &["findings", "model", "openshift", "rules", "source"]),
    ("review", &["findings", "model", "openshift", "rules", "source"]),
    ("render", &["findings", "model", "openshift", "source"]),
    ("config", &["findings", "model", "openshift", "source"]),
    ("ports", &["model", "openshift", "source"]),
    ("observe", &["model", "openshift", "ports", "rules"]),
    ("executor", &["model", "openshift", "ports", "rules"]),
    (
        "reconcile",
        &[
            "config",
            "definitions",
            "executor",
            "findings",
            "model",
            "observe",
            "openshift",
            "planner",
            "ports",
            "review",
            "rules",
            "source",
        ],
    ),
    ("controller", &["config", "findings", "model", "openshift", "ports", "reconcile", "render", "source"]),
    ("adapters", &["model", "openshift", "ports", "rules", "source"]),
    (
        "cli",
        &[
            "adapters",
            "config",
            "controller",
            "definitions",
            "executor",
            "findings",
            "model",
            "observe",
            "openshift",
            "planner",
            "ports",
            "reconcile",
            "render",
            "review",
            "rules",
            "source",
        ],
    ),
];

/// Stages of the line that are implemented outside of `reconcile`: each is called once, and there.
const STAGES: &[&str] = &[
    "assemble(",
    "observe::collect(",
    "observe::unseen(",
    "observe::images(",
    "planner::plan(",
    "planner::updates(",
    "planner::rolls(",
    "planner::equalities(",
    "review::review(",
    "review::broken_rules(",
    "review::judge(",
    "executor::Execution {",
    "executor::follow(",
];

/// Rooms that decide: they get time, randomness and the world as values.
const PURE: &[&str] =
    &["openshift", "source", "findings", "model", "rules", "definitions", "planner", "review", "render", "config"];

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

/// The code of a file without comments.
fn code(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The code of a file without comments and without the unit tests that stand at its end.
fn code_without_tests(text: &str) -> String {
    let mut lines = Vec::new();
    let all: Vec<&str> = text.lines().collect();
    for (at, line) in all.iter().enumerate() {
        // Only a module of tests ends the code; other lines may be for tests alone, with code after them.
        if line.starts_with("#[cfg(test)]") && all.get(at + 1).is_some_and(|next| next.starts_with("mod tests {")) {
            break;
        }
        lines.push(*line);
    }
    code(&lines.join("\n"))
}

/// The path that begins at a place of a text: its segments.
fn segments(text: &str) -> Vec<String> {
    let is_part = |char: &char| char.is_ascii_alphanumeric() || *char == '_' || *char == ':';
    let path: String = text.chars().take_while(is_part).collect();
    path.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

#[test]
fn rooms_name_only_what_they_may() {
    let mut wrong = Vec::new();
    for (name, may) in LAYERS {
        for (path, text) in room(name) {
            let code = code(&text);
            assert!(!code.contains("use crate::{") && !code.contains("use crate as"), "{}", path.display());
            // Else what stands behind the braces within would not be seen below.
            for statement in code.split("use ").skip(1).filter_map(|rest| rest.split(';').next()) {
                let is_import = statement.starts_with("crate::") || statement.starts_with("super::");
                assert!(!is_import || statement.matches('{').count() < 2, "{}: {statement}", path.display());
            }
            let depth = path.strip_prefix(manifest_folder().join("src")).unwrap().iter().count();
            let is_folder = path.ends_with("mod.rs");
            // From a file of a room, so many `super` lead out of the room; unit tests are one deeper.
            let most = if is_folder { depth - 1 } else { depth };
            assert!(!code.contains(&"super::".repeat(most)), "{} leaves its room", path.display());
            for (at, _) in code.match_indices("crate::") {
                // Tools' own macros have crates of their own.
                if code[..at].ends_with('$') {
                    continue;
                }
                let named = segments(&code[at + 7..]).into_iter().next().unwrap_or_default();
                if named != *name && !may.contains(&named.as_str()) {
                    wrong.push(format!("{} names `{named}`", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The modules of a room by path, such as `["registry", "packages", "rpm"]`; a folder's own file has the folder's path.
fn modules(name: &str) -> BTreeMap<Vec<String>, String> {
    let root = manifest_folder().join("src").join(name);
    let module = |path: &Path| -> Vec<String> {
        let relative = path.strip_prefix(&root).unwrap().with_extension("");
        let parts: Vec<String> = relative.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
        parts.into_iter().filter(|part| part != "mod").collect()
    };
    room(name).into_iter().map(|(path, text)| (module(&path), code(&text))).collect()
}

/// Where in a folder's file an item comes from: `pub use child::{Item}`.
fn re_exported(text: &str, item: &str) -> Option<String> {
    let words = |line: &str| -> Vec<String> {
        line.split(|char: char| !char.is_ascii_alphanumeric() && char != '_').map(str::to_owned).collect()
    };
    text.split("use ").skip(1).find_map(|rest| {
        let statement = rest.split(';').next()?;
        let (child, items) = statement.split_once("::")?;
        words(items).iter().any(|word| word == item).then(|| child.trim().to_owned())
    })
}

/// The modules that a module names, as far as its paths tell.
fn named_modules(all: &BTreeMap<Vec<String>, String>, room: &str, module: &[String]) -> BTreeSet<Vec<String>> {
    let text = &all[module];
    let mut named = BTreeSet::new();
    let own = format!("crate::{room}::");
    let starts = [("super::", module[..module.len().saturating_sub(1)].to_vec()), (own.as_str(), Vec::new())];
    for (prefix, base) in starts {
        for (at, _) in text.match_indices(prefix) {
            let before = &text[..at];
            if before.ends_with("::") || before.ends_with(|char: char| char.is_ascii_alphanumeric()) {
                continue;
            }
            let mut base = base.clone();
            let mut rest = &text[at + prefix.len()..];
            while let Some(further) = rest.strip_prefix("super::") {
                base.pop();
                rest = further;
            }
            // One path, or several in braces, each a line of its own or not.
            let paths: Vec<Vec<String>> = match rest.strip_prefix('{') {
                Some(inner) => {
                    inner.split('}').next().unwrap_or_default().split(',').map(|it| segments(it.trim())).collect()
                }
                None => vec![segments(rest)],
            };
            for path in paths {
                let mut at = base.clone();
                for part in &path {
                    at.push(part.clone());
                    if !all.contains_key(&at) {
                        at.pop();
                        if let Some(child) = all.get(&at).and_then(|text| re_exported(text, part)) {
                            at.push(child);
                        }
                        break;
                    }
                }
                if all.contains_key(&at) {
                    named.insert(at);
                }
            }
        }
    }
    named
}

#[test]
fn files_of_a_room_do_not_name_each_other_in_a_circle() {
    let mut wrong = Vec::new();
    for (name, _) in LAYERS {
        let all = modules(name);
        // A folder's own file has no part in this: it names its children, and they may use what it defines.
        let is_folder = |module: &Vec<String>| {
            module.is_empty() || all.keys().any(|other| other.len() > module.len() && other.starts_with(module))
        };
        let files: BTreeSet<&Vec<String>> = all.keys().filter(|module| !is_folder(module)).collect();
        let edges: BTreeMap<&Vec<String>, BTreeSet<Vec<String>>> = files
            .iter()
            .map(|module| {
                let named = named_modules(&all, name, module);
                (*module, named.into_iter().filter(|it| files.contains(it) && it != *module).collect())
            })
            .collect();
        for start in &files {
            let mut open: Vec<&Vec<String>> = edges[start].iter().collect();
            let mut seen = BTreeSet::new();
            while let Some(next) = open.pop() {
                if next == *start {
                    wrong.push(format!("{name}::{} names itself over others", start.join("::")));
                    break;
                }
                if seen.insert(next) {
                    open.extend(&edges[next]);
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn circles_are_found() {
    let text = |text: &str| text.to_owned();
    let module = |name: &str| vec![name.to_owned()];
    let all = BTreeMap::from([
        (Vec::new(), text("mod one;\npub use one::{Item};\n")),
        (module("one"), text("use super::two::{A, B};\n")),
        (module("two"), text("use crate::room::Item;\n#[cfg(test)]\nmod tests { use super::*; }\n")),
    ]);
    assert_eq!(named_modules(&all, "room", &module("one")), BTreeSet::from([module("two")]));
    assert!(named_modules(&all, "room", &module("two")).contains(&module("one")));
}

#[test]
fn each_stage_has_one_call_site_in_reconcile() {
    let mut paths = Vec::new();
    files(&manifest_folder().join("src"), &mut paths);
    for stage in STAGES {
        let owner = stage.split("::").next().unwrap();
        let mut callers: Vec<String> = Vec::new();
        for path in &paths {
            let path = path.strip_prefix(manifest_folder().join("src")).unwrap();
            let text = code_without_tests(&fs::read_to_string(manifest_folder().join("src").join(path)).unwrap());
            let is_own = path.starts_with(owner) || (*stage == "assemble(" && path.starts_with("definitions"));
            let calls = text.match_indices(stage).filter(|(at, _)| {
                let before = &text[..*at];
                !before.ends_with("fn ") && !before.ends_with(|char: char| char.is_ascii_alphanumeric() || char == '_')
            });
            callers.extend(calls.filter(|_| !is_own).map(|_| path.display().to_string()));
        }
        assert!(matches!(&callers[..], [one] if one.starts_with("reconcile/")), "`{stage}` is called from {callers:?}");
    }
}

#[test]
fn stages_are_not_imported_by_name() {
    let names: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("observe", &["collect", "unseen", "images"][..]),
        ("planner", &["plan", "updates", "rolls", "equalities"][..]),
        ("review", &["review", "broken_rules", "judge"][..]),
        ("executor", &["Execution", "follow"][..]),
        ("definitions", &["assemble"][..]),
    ]);
    for (room_name, _) in LAYERS.iter().filter(|(name, _)| *name != "reconcile") {
        for (path, text) in room(room_name) {
            let code = code_without_tests(&text);
            for (owner, items) in names.iter().filter(|(owner, _)| *owner != room_name) {
                for (at, _) in code.match_indices(&format!("use crate::{owner}::")) {
                    let statement = code[at..].split(';').next().unwrap();
                    let words = statement.split(|char: char| !char.is_ascii_alphanumeric() && char != '_').skip(3);
                    for word in words {
                        assert!(!items.contains(&word), "{} imports `{owner}::{word}`", path.display());
                    }
                }
            }
        }
    }
}

#[test]
fn commands_are_arguments_session_and_output() {
    let mut paths = Vec::new();
    files(&manifest_folder().join("src/cli/commands"), &mut paths);
    assert!(paths.len() > 10);
    for path in paths {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 80, "{} has {lines} lines", path.display());
    }
}

#[test]
fn nothing_is_identified_by_its_debug_output() {
    let mut paths = Vec::new();
    files(&manifest_folder().join("src"), &mut paths);
    for path in paths {
        let text = code_without_tests(&fs::read_to_string(&path).unwrap());
        // What only a defect prints may be for developers.
        let debug =
            text.lines().find(|line| (line.contains(":?}") || line.contains(":#?}")) && !line.contains("assert"));
        assert!(debug.is_none(), "{} formats with Debug: {debug:?}", path.display());
    }
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
                if code_without_tests(&text).contains(word) {
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
        assert!(may || !code_without_tests(&text).contains("Command::new"), "{}", path.display());
        assert!(!code_without_tests(&text).contains("[allow("), "{}: write #[expect] with a reason", path.display());
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
        (Code::NotCheckedOut, "incomplete::what_is_tracked_and_not_in_the_work_tree_is_unknown"),
        (Code::PlaceholderFile, "incomplete::what_stands_for_a_file_is_not_the_file"),
        (Code::KeyCharacter, "incomplete::a_space_of_another_kind_in_a_key_hides_nothing"),
        (Code::TooLargeSource, "budgets::a_source_that_is_too_large_is_read_in_part_and_removes_nothing"),
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
        (Code::NotInspected, "review::each_risk_is_found_by_its_rule"),
        (Code::NewRoot, "review::each_risk_is_found_by_its_rule"),
        (Code::SignatureLost, "review::each_risk_is_found_by_its_rule"),
        (Code::OwnRule, "review::each_risk_is_found_by_its_rule"),
        (Code::KustomizePatch, "sources::kustomize_bases_and_overlays_are_recognised"),
        (Code::NotBuilt, "sources::kustomize_bases_and_overlays_are_recognised"),
        (Code::TriggerNamespace, "outcomes::triggers_that_nothing_fires_are_findings"),
        (Code::ImageNotFound, "outcomes::every_cause_of_a_failed_import_has_its_code"),
        (Code::AccessDenied, "outcomes::every_cause_of_a_failed_import_has_its_code"),
        (Code::RegistryUnreachable, "outcomes::every_cause_of_a_failed_import_has_its_code"),
        (Code::RateLimited, "outcomes::every_cause_of_a_failed_import_has_its_code"),
        (Code::MalformedResponse, "outcomes::every_cause_of_a_failed_import_has_its_code"),
        (Code::ImportBlocked, "outcomes::every_cause_of_a_failed_import_has_its_code"),
        (Code::ChangeBlocked, "outcomes::every_cause_of_a_failed_import_has_its_code"),
        (Code::ConfigKey, "trust::fork_config_that_sets_every_key_changes_nothing"),
    ]
    .into();
    for code in Code::ALL {
        assert!(code.page().starts_with(&format!("# {} {}\n", code.id(), code.name())), "{code} has a page");
        assert!(!code.page().contains("semantics"), "{code}: its page names what users do not have");
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
