//! Parsers of what comes from outside, given what nobody would send: samples, bent and mixed by seeds. None panics, none hangs,
//! and what one of them takes it takes the same way again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use streamkeeper::definitions::{self, ReadOptions};
use streamkeeper::model::Plan;
use streamkeeper::openshift::{Digest, ImageReference};
use streamkeeper::source::{Limits, SourceText, inert, parse};

use crate::support::manifest_folder;

/// Bytes that mean something somewhere.
const TELLING: &[&[u8]] = &[
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xae",
    b"\r\n",
    b"\t",
    b"---\n",
    b"...\n",
    b"&a ",
    b"*a",
    b"<<: ",
    b"!!binary ",
    b"!!str ",
    b"? ",
    b"- ",
    b": ",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"'",
    b"|\n",
    b">-\n",
    b"%YAML 9.9\n",
    b"${X}",
    b"${{X}}",
    b"{{ x }}",
    b"@",
    b":",
    b"/",
    b"sha256:",
    b"//",
    b"..",
    b"99999999999999999999",
    b"-1",
    b"1e999",
    b"null",
    b"~",
    b"true",
    b"#",
    b"\\u0000",
    b"\\ud800",
    b",",
    b"\n",
];

struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % most.max(1)
    }
}

/// One sample, bent a few times, with a piece of another one in it.
fn bend(random: &mut Random, samples: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = samples[random.below(samples.len())].clone();
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len() + 1);
        let until = (at + random.below(40)).min(bytes.len());
        match random.below(6) {
            0 => drop(bytes.splice(at..at, TELLING[random.below(TELLING.len())].iter().copied())),
            1 => drop(bytes.drain(at..until)),
            2 => {
                let piece = bytes[at..until].to_vec();
                let times = 1 + random.below(20);
                bytes.splice(at..at, piece.repeat(times));
            }
            3 if at < bytes.len() => bytes[at] = u8::try_from(random.below(256)).unwrap(),
            4 => {
                let other = &samples[random.below(samples.len())];
                let from = random.below(other.len() + 1);
                let to = (from + random.below(400)).min(other.len());
                bytes.splice(at..at, other[from..to].iter().copied());
            }
            _ => bytes.truncate(at),
        }
    }
    bytes
}

/// Gives bent samples to a parser, so many or for so long.
fn fuzz(name: &str, samples: &[Vec<u8>], rounds: usize, parser: impl Fn(&[u8])) {
    let began = Instant::now();
    for seed in 0..rounds {
        let bytes = bend(&mut Random(seed as u64), samples);
        let since = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| parser(&bytes)));
        let shown = inert(&String::from_utf8_lossy(&bytes), 4000);
        assert!(result.is_ok(), "{name}, seed {seed}: {shown}");
        assert!(since.elapsed() < Duration::from_secs(5), "{name}, seed {seed} takes {:?}: {shown}", since.elapsed());
        if began.elapsed() > Duration::from_secs(10) {
            eprintln!("{name}: {seed} rounds, then time was up");
            return;
        }
    }
}

fn files(folder: &str) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut folders = vec![manifest_folder().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "yaml" || it == "json") {
                all.push(std::fs::read(path).unwrap());
            }
        }
    }
    all.sort();
    all
}

#[test]
fn yaml_and_json_trees_and_definitions() {
    let samples = [files("tests/definitions"), files("examples")].concat();
    let options = ReadOptions { namespace: "default".to_owned(), parameters: Default::default() };
    fuzz("definitions", &samples, 6000, |bytes| {
        let Ok(text) = String::from_utf8(bytes.to_vec()) else { return };
        let source = SourceText::new(text);
        let (one, other) = (parse(&source, Limits::default()), parse(&source, Limits::default()));
        assert_eq!(one.documents, other.documents);
        let read = definitions::read(&source, &options);
        // What is remembered is what was read.
        let kept = serde_json::to_vec(&read).unwrap();
        let again: definitions::FileDefinitions = serde_json::from_slice(&kept).unwrap();
        assert_eq!(serde_json::to_vec(&again).unwrap(), kept);
        for finding in &read.findings {
            for fix in finding.fix.iter() {
                assert!(source.text().get(fix.span.range()).is_some(), "a fix stands in the file");
            }
        }
    });
}

#[test]
fn references_and_digests() {
    let samples: Vec<Vec<u8>> = [
        "quay.io/centos/ruby:3.3",
        "localhost:5000/a/b/c@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "ruby",
        "docker.io/library/ruby:latest",
        "[::1]:5000/x:y",
        "host:5000/x_y__z/a-b.c:T_-.1",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    fuzz("references", &samples, 60_000, |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        if let Ok(reference) = text.parse::<ImageReference>() {
            let shown = reference.to_string();
            let again: ImageReference = shown.parse().unwrap_or_else(|error| panic!("{shown}: {error}"));
            assert_eq!(again.to_string(), shown);
            let _ = reference.with_defaults().repository();
        }
        let _ = Digest::parse(text);
    });
}

#[test]
fn webhooks_and_plans() {
    let samples: Vec<Vec<u8>> = [
        r#"{"repository": {"repo_name": "library/ruby"}, "push_data": {"tag": "3.3"}}"#,
        r#"{"docker_url": "quay.io/centos/ruby", "updated_tags": ["3.3"]}"#,
        r#"{"event_data": {"resources": [{"resource_url": "harbor.example.com:8443/lib/ruby:3.3"}]}}"#,
        r#"{"events": [{"action": "push", "target": {"repository": "lib/ruby", "tag": "3.3"}}]}"#,
        "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        "t=1800000000,v1=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    fuzz("webhooks", &samples, 60_000, |bytes| {
        for name in streamkeeper::controller::repositories(bytes) {
            assert!(name.len() <= 255 && name.is_ascii(), "{name}");
        }
        for sender in streamkeeper::model::Sender::ALL {
            let header = |_: &str| Some(String::from_utf8_lossy(bytes).into_owned());
            let now = jiff::Timestamp::from_second(1_800_000_000).unwrap();
            assert!(!sender.proves(b"a secret of this test alone", header, "", b"", now));
        }
    });
    let folder = tempfile::tempdir().unwrap();
    crate::support::copy_folder(&manifest_folder().join("examples"), folder.path());
    let (code, out, err) = crate::support::run(folder.path(), &["plan", "-s", "first-repo", "--format", "json"]);
    assert_eq!(code, 0, "{err}");
    fuzz("plans", &[out.into_bytes()], 4000, |bytes| {
        if let Ok(plan) = serde_json::from_slice::<Plan>(bytes) {
            let _ =
                streamkeeper::render::plan_text(&plan, streamkeeper::render::Paint { color: false, width: Some(80) });
            let _ = streamkeeper::render::plan_markdown(&plan, &[]);
        }
    });
}
