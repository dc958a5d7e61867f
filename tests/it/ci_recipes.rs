//! `examples/ci`: files that parse, and commands that there are.

use streamkeeper::cli::Args;

use clap::Parser;

use crate::support::manifest_folder;

/// The commands of the program in a text of shell: what the shell would fill in is a word.
fn commands(text: &str) -> Vec<Vec<String>> {
    let joined = text.replace("\\\n", " ");
    let mut found = Vec::new();
    for line in joined.lines().filter(|line| !line.trim_start().starts_with(['#', '/'])) {
        for at in line.match_indices("streamkeeper ").map(|(at, _)| at) {
            let before = line[..at].chars().next_back();
            let is_command = before.is_none_or(|char| " '\"(`".contains(char));
            let rest = &line[at..];
            let end = rest.find(['>', '|', ';', '&']).unwrap_or(rest.len());
            let words: Vec<String> = rest[..end]
                .split_whitespace()
                .map(|word| word.trim_matches(['"', '\'', '`', ')', '.', ',']).to_owned())
                .map(|word| if word.contains('$') || word.is_empty() { "x".to_owned() } else { word })
                .collect();
            let is_verb = ["validate", "plan", "show", "apply"].contains(&words.get(1).map_or("", String::as_str));
            if is_command && is_verb {
                found.push(words);
            }
        }
    }
    found
}

#[test]
fn every_recipe_does_all_of_it_with_commands_that_there_are() {
    let folder = manifest_folder().join("examples/ci");
    let mut names: Vec<String> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let expected =
        ["Jenkinsfile", "README.md", "gitea.yaml", "github-trusted.yaml", "github.yaml", "gitlab.yaml", "tekton.yaml"];
    assert_eq!(names, expected);
    for name in names {
        let text = std::fs::read_to_string(folder.join(&name)).unwrap();
        if name.ends_with(".yaml") {
            let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(&text).unwrap();
            assert!(documents.iter().all(serde_json::Value::is_object), "{name}");
        }
        let commands = commands(&text);
        for command in &commands {
            let parsed = Args::try_parse_from(command);
            assert!(parsed.is_ok(), "{name}: {command:?}: {}", parsed.err().unwrap());
        }
        if name != "README.md" {
            assert!(commands.len() >= 2, "{name}: {commands:?}");
        }
        // What a stranger has named is never text of a script.
        let run = text.lines().filter(|line| line.contains("streamkeeper ") || line.contains("git fetch"));
        for line in run.filter(|line| !line.trim_start().starts_with('#')) {
            assert!(!line.contains("${{ github") && !line.contains("$(params"), "{name}: {line}");
        }
    }
}
