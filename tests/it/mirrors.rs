//! Who answers in a registry's place.

use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use streamkeeper::adapters::registry::{Credentials, Mirror, Mirrors, Registries, Rule, Settings};
use streamkeeper::model::{Cause, MirrorPulls, Observed, Resolution};
use streamkeeper::ports::Registry as _;

use crate::registry::{Kept, block_on, docker_config, on_loopback, question, settings, stream, unknown};
use crate::sim::registry::{Content, Registry, error};
use crate::sim::server::{Reply, Server};
use crate::support::run;

fn holding(repository: &str, content: &str) -> (Registry, String) {
    let mut held = Content::default();
    let image = held.image(repository, "amd64", content);
    held.tag(repository, "1", &image);
    (Registry::start(held), image)
}

fn mirrored(source: &str, mirrors: &[&Server], never_source: bool) -> Settings {
    let mut rules = Mirrors::default();
    let mirror = |server: &&Server| Mirror {
        location: format!("{}/copy", server.host),
        pulls: MirrorPulls::All,
        insecure: true,
    };
    let rule = Rule { mirrors: mirrors.iter().map(mirror).collect(), never_source, ..Rule::default() };
    rules.add(&format!("{source}/team"), rule).unwrap();
    let hosts: Vec<_> =
        mirrors.iter().map(|server| (server.host.as_str(), on_loopback())).chain([(source, on_loopback())]).collect();
    Settings { mirrors: rules, ..settings(&hosts) }
}

fn ask(settings: Settings, reference: &str) -> Observed<Resolution> {
    let registries = Registries::new(settings, Credentials::default(), Arc::new(Kept::default()));
    block_on(registries.resolve(&question(reference, true)))
}

fn found(answer: &Observed<Resolution>) -> Option<String> {
    answer.known().map(|it| it.digest.to_string())
}

#[test]
fn mirrors_answer_and_hand_on() {
    let (source, image) = holding("team/app", "a");
    let (mirror, _) = holding("copy/app", "a");
    let reference = format!("{}/team/app:1", source.server.host);
    assert_eq!(found(&ask(mirrored(&source.server.host, &[&mirror.server], true), &reference)), Some(image.clone()));
    assert_eq!((mirror.server.count("HEAD "), source.server.seen().len()), (1, 0), "the source must not be contacted");
    // A mirror that is down, one that does not have it, one that is broken: the source is asked.
    let empty = Registry::start(Content::default());
    let broken = Server::start(|_| Reply::new("500 Oops", &[], ""));
    let down = Server::start(|_| Reply::Cut(Vec::new()));
    let settings = mirrored(&source.server.host, &[&down, &empty.server, &broken], false);
    assert_eq!(found(&ask(settings, &reference)), Some(image.clone()));
    // Without the source that is no answer, and no "no".
    let (cause, detail) = unknown(ask(mirrored(&source.server.host, &[&empty.server], true), &reference));
    assert_eq!(cause, Cause::Malformed);
    assert!(detail.contains("does not have it"), "{detail}");
    let gone = format!("{}/team/app:2", source.server.host);
    assert_eq!(ask(mirrored(&source.server.host, &[&mirror.server], false), &gone), Observed::Absent);
    // By digest, bytes come from the mirror, and are hashed.
    let pinned = question(&format!("{}/team/app@{image}", source.server.host), true);
    let registries = Registries::new(
        mirrored(&source.server.host, &[&mirror.server], true),
        Credentials::default(),
        Arc::new(Kept::default()),
    );
    assert_eq!(block_on(registries.fetch(&pinned)), Observed::Known(()));
}

#[test]
fn a_mirror_and_a_source_that_differ_are_a_finding() {
    let (source, image) = holding("team/app", "new");
    let (mirror, old) = holding("copy/app", "old");
    let reference = format!("{}/team/app:1", source.server.host);
    let (cause, detail) = unknown(ask(mirrored(&source.server.host, &[&mirror.server], false), &reference));
    assert_eq!(cause, Cause::Incomplete);
    assert!(detail.contains(&old[..19]) && detail.contains(&image[..19]), "{detail}");
    // A source that says nothing is what mirrors are for.
    let silent = Server::start(|_| Reply::Cut(Vec::new()));
    let reference = format!("{}/team/app:1", silent.host);
    assert_eq!(found(&ask(mirrored(&silent.host, &[&mirror.server], false), &reference)), Some(old));
}

#[test]
fn a_mirror_does_not_get_the_login_of_its_source() {
    let folder = tempfile::tempdir().unwrap();
    let (source, _) = holding("team/app", "a");
    let mirror = Server::start(|_| {
        error("401 Unauthorized", "UNAUTHORIZED", "").header("WWW-Authenticate", "Basic realm=\"x\"")
    });
    let credentials = docker_config(folder.path(), &source.server.host, "u:hunter2canary");
    let mut settings = mirrored(&source.server.host, &[&mirror], false);
    for config in settings.hosts.values_mut() {
        config.insecure = true;
    }
    let registries = Registries::new(settings, credentials, Arc::new(Kept::default()));
    let answer = block_on(registries.resolve(&question(&format!("{}/team/app:1", source.server.host), true)));
    assert!(answer.known().is_some(), "{answer:?}");
    assert!(!mirror.seen().is_empty());
    let encoded = base64::engine::general_purpose::STANDARD.encode("u:hunter2canary");
    assert!(!mirror.heard().contains(&encoded));
}

fn apply(folder: &Path, config: &str) -> (i32, String) {
    std::fs::write(folder.join("source/streamkeeper.yaml"), config).unwrap();
    let (code, out, err) = run(folder, &["apply", "-s", "source", "--yes"]);
    (code, format!("{out}{err}"))
}

#[test]
fn what_is_written_down_is_the_sources_spelling() {
    let (mirror, image) = holding("copy/app", "a");
    let host = &mirror.server.host;
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("source")).unwrap();
    std::fs::write(folder.path().join("source/s.yaml"), stream("app", &[("1", "quay.io/team/app:1")], "")).unwrap();
    let hosts = format!("registries: [{{host: '{host}', private: true}}]\n");
    let config = format!(
        "{hosts}mirrors:\n  - {{source: quay.io/team, mirrors: ['{host}/copy'], mirrorSourcePolicy: NeverContactSource}}\n"
    );
    let (code, said) = apply(folder.path(), &config);
    assert_eq!(code, 0, "{said}");
    let (_, out, _) = run(folder.path(), &["get", "istag", "-s", "source", "-o", "yaml"]);
    assert!(out.contains(&format!("quay.io/team/app@{image}")) && !out.contains(host.as_str()), "{out}");
    // The same from the files that platforms have already.
    let sets = format!(
        "kind: ImageTagMirrorSet\nspec: {{imageTagMirrors: [{{source: quay.io/team, mirrors: ['{host}/copy'], mirrorSourcePolicy: NeverContactSource}}]}}\n"
    );
    std::fs::write(folder.path().join("sets.yml"), sets).unwrap();
    let conf = format!("[[registry]]\nprefix = \"quay.io/team\"\nlocation = \"{host}/copy\"\n");
    std::fs::write(folder.path().join("registries.conf"), conf).unwrap();
    for file in ["../sets.yml", "../registries.conf"] {
        std::fs::remove_dir_all(folder.path().join("source/.streamkeeper")).unwrap();
        let (code, said) = apply(folder.path(), &format!("{hosts}mirrorFiles: ['{file}']\n"));
        assert_eq!(code, 0, "{file}: {said}");
    }
}

#[test]
fn allowed_and_blocked_registries_are_policy() {
    let (registry, _) = holding("team/app", "a");
    let host = &registry.server.host;
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("source")).unwrap();
    std::fs::write(folder.path().join("source/s.yaml"), stream("app", &[("1", &format!("{host}/team/app:1"))], ""))
        .unwrap();
    let hosts = format!("registries: [{{host: '{host}', private: true}}]\n");
    for (policy, expected) in [
        (
            "allowedRegistriesForImport: [{domainName: quay.io}, {domainName: '*.corp'}]".to_owned(),
            "not allowed by whitelist: \"quay.io\", \"*.corp\"",
        ),
        (format!("blockedRegistries: ['{host}']"), "blocked"),
    ] {
        let (code, said) = apply(folder.path(), &format!("{hosts}policy: {{{policy}}}\n"));
        assert_eq!(code, 5, "{said}");
        assert!(said.contains("blocked by policy") && said.contains(expected), "{said}");
    }
    assert_eq!(registry.server.seen().len(), 0, "nobody was asked");
    let port = host.rsplit_once(':').unwrap().1;
    let (code, said) = apply(
        folder.path(),
        &format!("{hosts}policy: {{allowedRegistriesForImport: [{{domainName: '127.*:{port}'}}]}}\n"),
    );
    assert_eq!(code, 0, "{said}");
}

#[test]
fn a_mirror_alone_moves_no_tag_backwards() {
    let (mirror, old) = holding("copy/app", "old");
    let (source, new) = holding("team/app", "new");
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    std::fs::create_dir(root.join("source")).unwrap();
    let (m, s) = (&mirror.server.host, &source.server.host);
    std::fs::write(
        root.join("source/s.yaml"),
        stream("app", &[("1", &format!("{s}/team/app:1"))], ", scheduled: true"),
    )
    .unwrap();
    let config = |hosts: &str| {
        format!(
            "registries: [{hosts}]\nmirrors: [{{source: '{s}/team', mirrors: ['{m}/copy']}}]\npolicy: {{scheduleInterval: 1s}}\n"
        )
    };
    // The mirror cannot be asked, the source has the new image.
    let (code, said) = apply(root, &config(&format!("{{host: '{s}', private: true}}")));
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(&new[..19]), "{said}");
    // Then the source cannot be, and the mirror has the old one.
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let (code, said) = apply(root, &config(&format!("{{host: '{m}', private: true}}")));
    assert_eq!(code, 5, "{said}");
    assert!(
        said.contains("only the mirror") && said.contains(&old[..19]) && said.contains("NeverContactSource"),
        "{said}"
    );
    let (_, out, _) = run(root, &["get", "istag", "-s", "source", "-o", "yaml"]);
    assert!(out.contains(&new) && !out.contains(&old), "{out}");
}
