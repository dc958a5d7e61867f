//! What strangers write into images and registries, in every output: it is text there, and nothing else. And outputs are what
//! their schemas say.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use comrak::nodes::NodeValue;
use serde_json::Value;
use streamkeeper::findings::{Code, Severity};
use streamkeeper::model::{
    Difference, ImageChange, ImageSummary, Layer, Origin, PackageChanges, Plan, Review, Risk, StepId, Subject,
};
use streamkeeper::openshift::{Digest, StreamId};
use streamkeeper::render::{self, Paint};

use crate::support::{manifest_folder, run};
use crate::tools::tool;

/// Stands in every string of a stranger: wherever it turns up, they do.
const CANARY: &str = "zq7";

/// What means something somewhere.
const EVIL: &[&str] = &[
    "@zq7",
    "@zq7/team",
    "@all zq7",
    "#1zq7 #1",
    "GH-1 zq7",
    "acme/zq7#1",
    "acme/zq7@0123456789abcdef0123456789abcdef01234567",
    "0123456789abcdef0123456789abcdef01234567 zq7",
    "!1 $1 %zq7 ~zq7 &1",
    "[[zq7]] [[_TOC_]]",
    "%{project_name} zq7",
    "https://evil.example/zq7",
    "www.evil.example/zq7",
    "mailto:zq7@evil.example",
    "zq7@evil.example",
    "xmpp:zq7@evil.example",
    ":zq7: :smile:",
    "![zq7](https://evil.example/x.png)",
    "<img src=https://evil.example/zq7>",
    "<!-- zq7",
    "--> zq7",
    "<details open>zq7",
    "</code></pre><script>zq7()</script>",
    "<a href=\"`\">zq7</a>",
    "[zq7](javascript:alert(1))",
    "[zq7]: https://evil.example",
    "- [x] zq7",
    "/close zq7",
    "\n/close zq7",
    "\r/merge zq7",
    "\n\n# zq7",
    "\n| a | zq7 |",
    "\n```mermaid\nzq7\n```",
    "```suggestion zq7",
    "`zq7`",
    "``zq7``",
    "`",
    "``` zq7",
    "zq7\\",
    "\\|zq7|",
    "a|zq7|b||",
    "$`zq7`$",
    "$$zq7$$",
    "$zq7",
    "#ff0000 zq7",
    "[^1]: zq7",
    "> [!NOTE] zq7",
    "\u{1b}[31mzq7\u{1b}[0m",
    "\u{1b}]8;;https://evil.example\u{7}zq7\u{1b}]8;;\u{7}",
    "\u{9b}31mzq7",
    "\u{8}\u{8}zq7\u{7f}",
    "\u{202e}zq7\u{202c}",
    "\u{2066}zq7\u{2069}",
    "\u{200b}\u{200d}\u{feff}zq7",
    "\u{e0041}zq7",
    "\u{2028}zq7\u{2029}",
    "\u{0}zq7",
    "\u{fffe}\u{ffff}zq7",
    "::error::zq7",
    "\n::error file=a::zq7",
    "##[error]zq7",
    "x ##[add-mask]zq7",
    "::stop-commands::zq7",
    "\n::set-output name=x::zq7",
    "%0A::error::zq7",
    "]]>zq7<![CDATA[",
    "<failure type=\"yaml\">zq7</failure>",
    "&lt;zq7&gt; &#64;zq7",
    "[[ATTACHMENT|/etc/passwd]] zq7",
    "\"zq7\", 'zq7'",
    "{{zq7}} ${zq7} $(zq7)",
    "; rm -rf zq7 #",
    "=cmd|' /C zq7'!A0",
    "%%{init: {\"zq7\": 1}}%%",
    "A[\"zq7\"] --> B; click A \"https://evil.example\"",
    "…zq7…",
];

/// Some hundreds of them: each alone, in the middle of something, many times, and two together.
fn corpus() -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for (at, evil) in EVIL.iter().enumerate() {
        let with = |text: String| if text.contains(CANARY) { text } else { format!("{text}{CANARY}") };
        all.push(with((*evil).to_owned()));
        all.push(with(format!("x {evil} y")));
        all.push(with(format!("{evil}{evil}{evil}")));
        all.push(with(format!("{evil} {}", EVIL[(at * 7 + 3) % EVIL.len()])));
    }
    all
}

/// A plan in which strangers have written whatever they could.
fn plan(evil: &str) -> Plan {
    let folder = tempfile::tempdir().unwrap();
    crate::support::copy_folder(&manifest_folder().join("examples"), folder.path());
    let (code, out, err) = run(folder.path(), &["plan", "-s", "first-repo", "--format", "json"]);
    assert_eq!(code, 0, "{err}");
    let mut plan: Plan = serde_json::from_str(&out).unwrap();
    plan.review = Some(Box::new(review(evil)));
    plan
}

fn review(evil: &str) -> Review {
    let text = || evil.to_owned();
    let summary = |digit: &str| ImageSummary {
        pull_spec: format!("r.example.com/x@sha256:{}", digit.repeat(64)),
        digest: Digest::parse(&format!("sha256:{}", digit.repeat(64))).unwrap(),
        created: None,
        size: Some(7),
        platforms: vec![text()],
        attestations: 0,
        signed: None,
        attested: None,
        base: Some(text()),
    };
    let difference =
        |what: &str| Difference { what: format!("{what}{evil}"), before: Some(text()), after: Some(text()) };
    let change = ImageChange {
        tags: vec![StreamId::new("n", "s").tag("t")],
        steps: vec![StepId(1)],
        before: Some(summary("0")),
        after: Some(summary("1")),
        line: format!("user {evil} becomes {evil}"),
        runs_the_same: false,
        differences: vec![difference("label."), difference("env.")],
        layers_dropped: vec![Layer { digest: text(), size: 1, command: text() }],
        layers_new: vec![Layer { digest: text(), size: 1, command: text() }],
        layers_shared: 1,
        packages: Some(PackageChanges {
            before: vec![text()],
            after: vec![text()],
            installed: 1,
            changed: 1,
            new: 2,
            gone: 3,
            changes: vec![difference("")],
        }),
        commits: Some(text()),
        unseen: Vec::new(),
    };
    let risk = |severity| Risk {
        rule: Code::BecameRoot,
        severity,
        about: Subject::Rule(text()),
        message: text(),
        origin: Some(Origin { path: evil.into(), line: 1, column: 1 }),
        step: None,
    };
    Review {
        images: vec![change],
        risks: [Severity::Error, Severity::Warning, Severity::Info].map(risk).to_vec(),
        ..Review::default()
    }
}

/// Nothing that a terminal, or a reader, takes for more than text.
fn assert_plain(name: &str, evil: &str, out: &str) {
    for char in out.chars() {
        let is_bad = (char.is_control() && char != '\n')
            || ('\u{202a}'..='\u{202e}').contains(&char)
            || ('\u{2066}'..='\u{2069}').contains(&char)
            || ('\u{200b}'..='\u{200f}').contains(&char)
            || ('\u{e0000}'..='\u{e007f}').contains(&char)
            || matches!(char, '\u{2028}' | '\u{2029}' | '\u{feff}');
        assert!(!is_bad, "{name}: {char:?} of {evil:?} in {out:?}");
    }
}

/// No line that GitHub's runner takes for a command, but those that are meant.
fn assert_no_commands(name: &str, evil: &str, out: &str) {
    for line in out.lines() {
        assert!(!line.contains("##["), "{name}: {evil:?}: {line:?}");
        assert!(!line.trim_start().starts_with("::"), "{name}: {evil:?}: {line:?}");
    }
}

#[test]
fn what_strangers_write_is_text_in_every_output() {
    let all = corpus();
    assert!(all.len() >= 300, "{}", all.len());
    let mut plan = plan("x");
    for evil in &all {
        plan.review = Some(Box::new(review(evil)));
        for width in [Some(80), None] {
            let text = render::plan_text(&plan, Paint { color: false, width });
            assert_plain("text", evil, &text);
            assert_no_commands("text", evil, &text);
        }
        let markdown = render::plan_markdown(&plan, &[]);
        assert_plain("markdown", evil, &markdown);
        assert_no_commands("markdown", evil, &markdown);
        assert_code_alone(evil, &markdown);
        let reported = render::reported(&plan);
        let commands = render::reported_github(&reported);
        assert_eq!(commands.lines().count(), 3, "{evil:?}: {commands}");
        for line in commands.lines() {
            let (head, _) = line.trim_start_matches("::").split_once("::").unwrap();
            assert!(["error ", "warning ", "notice "].iter().any(|kind| head.starts_with(kind)), "{evil:?}: {line}");
            let place = head.split_once("file=").unwrap().1;
            assert_eq!(place.matches(',').count(), 2, "{evil:?}: {line}");
        }
        for value in [render::reported_sarif(&reported, "x 1"), render::reported_gitlab(&reported)] {
            strings(&value, &mut |text| assert_plain("json", evil, &text.replace('\n', " ")));
        }
        let junit = render::plan_junit(&plan, &render::reported(&plan), Severity::Error);
        assert_plain("junit", evil, &junit);
        assert_eq!(junit.matches("<failure").count(), 1, "{evil:?}: {junit}");
        let strict = render::plan_junit(&plan, &render::reported(&plan), Severity::Warning);
        assert_eq!(strict.matches("<failure").count(), 2, "{evil:?}: {strict}");
        assert!(!junit.contains("[[ATTACHMENT"), "{junit}");
        let mermaid = render::rolls_mermaid(&plan);
        assert!(!mermaid.contains("click"), "{mermaid}");
    }
}

fn strings(value: &Value, each: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => each(text),
        Value::Array(items) => items.iter().for_each(|item| strings(item, each)),
        Value::Object(map) => map.values().for_each(|item| strings(item, each)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn options() -> comrak::Options<'static> {
    let mut options = comrak::Options::default();
    let extension = &mut options.extension;
    (extension.table, extension.autolink, extension.strikethrough, extension.tasklist) = (true, true, true, true);
    (extension.footnotes, extension.math_dollars, extension.math_code) = (true, true, true);
    options
}

/// As it is rendered, what strangers wrote stands in code, and nowhere else.
fn assert_code_alone(evil: &str, markdown: &str) {
    let arena = comrak::Arena::new();
    let root = comrak::parse_document(&arena, markdown, &options());
    for node in root.descendants() {
        let text = match &node.data.borrow().value {
            NodeValue::Text(text) => text.to_string(),
            NodeValue::HtmlInline(html) => html.clone(),
            NodeValue::HtmlBlock(html) => html.literal.clone(),
            NodeValue::Link(link) | NodeValue::Image(link) => {
                panic!("{evil:?} made a link to {} in {markdown}", link.url)
            }
            NodeValue::Math(math) => panic!("{evil:?} made {} in {markdown}", math.literal),
            NodeValue::CodeBlock(block) => block.literal.clone(),
            NodeValue::FootnoteDefinition(_) | NodeValue::TaskItem(_) => panic!("{evil:?} in {markdown}"),
            _ => continue,
        };
        assert!(!text.contains(CANARY) && !text.contains("evil"), "{evil:?} is {text:?} in {markdown}");
    }
}

/// The target triple of this machine, as the compiler says.
fn host() -> String {
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into())).arg("-vV").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned()
}

/// The folder of a package that is a dependency of the tests.
fn package(name: &str) -> PathBuf {
    let mut command = Command::new(env!("CARGO"));
    // Crates of other systems are not on a machine that has only built this package.
    command.args(["metadata", "--format-version", "1", "--offline", "--locked", "--filter-platform", &host()]);
    let output = command.current_dir(manifest_folder()).output().unwrap();
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|package| package["name"] == name).unwrap();
    PathBuf::from(package["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned()
}

#[test]
fn a_risk_of_no_severity_is_no_plan() {
    let mut plan = plan("x");
    plan.review = Some(Box::new(review("x")));
    let json = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), plan);
    // Read back from text, a word like these would count less than any severity.
    for evil in ["Error", "fatal", ""] {
        let forged = json.replace("\"severity\":\"error\"", &format!("\"severity\":\"{evil}\""));
        assert_ne!(forged, json);
        assert!(serde_json::from_str::<Plan>(&forged).is_err(), "{evil}");
    }
}

#[test]
fn sarif_and_junit_are_what_their_schemas_say() {
    let schema = std::fs::read(package("serde-sarif").join("src/schema.json")).unwrap();
    let schema: Value = serde_json::from_slice(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut plan = plan("x");
    let mut many = review("x");
    many.risks = (0..6000).map(|at| Risk { message: format!("number {at}"), ..many.risks[at % 3].clone() }).collect();
    let reviews: Vec<Review> =
        [Review::default(), many].into_iter().chain(corpus().iter().step_by(9).map(|evil| review(evil))).collect();
    let mut files = Vec::new();
    for (at, review) in reviews.into_iter().enumerate() {
        plan.review = Some(Box::new(review));
        let reported = render::reported(&plan);
        let sarif = render::reported_sarif(&reported, "streamkeeper 0.1.0");
        let errors: Vec<String> = validator.iter_errors(&sarif).take(3).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}");
        let results = sarif["runs"][0]["results"].as_array().unwrap();
        // What GitHub asks for besides: never more than it keeps, the worst first, each with a place.
        assert!(results.len() <= 5000 && results.iter().all(|it| it["locations"][0].is_object()), "{at}");
        let file = folder.path().join(format!("{at}.xml"));
        std::fs::write(&file, render::plan_junit(&plan, &render::reported(&plan), Severity::Error)).unwrap();
        files.push(file);
    }
    if tool("xmllint", "libxml2-utils", "JUnit files against their schema").is_none() {
        return;
    }
    let schema = package("junit-report").join("tests/JUnit.xsd");
    let output =
        Command::new("xmllint").args(["--noout", "--nonet", "--schema"]).arg(schema).args(&files).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_comment_holds_any_plan_by_telling_numbers_in_place_of_rows() {
    let mut plan = plan("x");
    let mut last = usize::MAX;
    let mut seen: BTreeMap<bool, usize> = BTreeMap::new();
    for number in [0, 1, 30, 100, 300, 3000] {
        let one = review("a label that is quite long, as they are");
        let images = (0..number).map(|at| ImageChange {
            tags: vec![StreamId::new("n", "s").tag(format!("t{at}"))],
            ..one.images[0].clone()
        });
        plan.review = Some(Box::new(Review { images: images.collect(), ..one.clone() }));
        let markdown = render::plan_markdown(&plan, &[]);
        assert!(markdown.chars().count() <= 65_536, "{number}: {}", markdown.chars().count());
        assert!(markdown.starts_with("<!-- streamkeeper:plan -->\n\n### Streamkeeper: "), "{markdown}");
        // No row is cut.
        let rows = markdown.lines().filter(|line| line.starts_with('|'));
        assert!(rows.clone().all(|line| line.ends_with('|')), "{number}");
        assert_eq!(markdown.matches("<details>").count(), markdown.matches("</details>").count(), "{number}");
        *seen.entry(markdown.contains("<details>")).or_default() += 1;
        last = last.min(rows.count());
    }
    assert_eq!(seen.len(), 2, "with and without what differs");
}
