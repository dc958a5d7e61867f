//! What is risky in a plan, and what is wrong in definitions, in the formats that code hosts and CI servers read.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::findings::{Code, Diagnostic, Severity};
use crate::model::{Plan, Step};
use crate::source::{inert, short_hash};

use super::names::reason;
use super::plan::plan_line;

/// Results of one run that GitHub keeps; of more, it refuses all.
const RESULTS: usize = 5000;
/// Annotations of a kind that GitHub shows of one step.
const SHOWN: usize = 9;

/// Something to tell, at a place if it has one.
#[derive(Clone, Debug)]
pub struct Reported {
    code: Code,
    severity: Severity,
    /// What it is about; empty for a file.
    about: String,
    message: String,
    path: String,
    line: u32,
}

impl Reported {
    /// All of it in a line.
    fn text(&self) -> String {
        let about = if self.about.is_empty() { String::new() } else { format!("{}: ", self.about) };
        inert(&format!("{about}{}", self.message), 900)
    }

    /// The same for the same thing, wherever it stands.
    fn fingerprint(&self) -> String {
        let Self { code, about, message, path, .. } = self;
        short_hash(format!("{code}\n{about}\n{path}\n{message}"), 32)
    }
}

/// The risks of a plan.
pub fn reported(plan: &Plan) -> Vec<Reported> {
    let risks = plan.review.iter().flat_map(|review| &review.risks);
    let one = |risk: &crate::model::Risk| {
        let origin = risk.origin.as_ref();
        Reported {
            code: risk.rule,
            severity: risk.severity,
            about: inert(&risk.about.to_string(), 300),
            message: inert(&risk.message, 600),
            path: origin.map_or(String::new(), |origin| origin.path.to_string()),
            line: origin.map_or(1, |origin| origin.line.max(1)),
        }
    };
    risks.map(one).collect()
}

/// What is wrong in definitions.
pub fn reported_findings(findings: &[Diagnostic]) -> Vec<Reported> {
    let one = |finding: &Diagnostic| Reported {
        code: finding.code,
        severity: finding.severity,
        about: String::new(),
        message: finding.message.clone(),
        path: finding.place.path.clone(),
        line: finding.place.line.max(1),
    };
    findings.iter().map(one).collect()
}

/// SARIF 2.1.0 (OASIS), with what GitHub's code scanning asks for besides.
pub fn reported_sarif(all: &[Reported], tool: &str) -> Value {
    let mut sorted: Vec<&Reported> = all.iter().collect();
    sorted.sort_by_key(|it| std::cmp::Reverse(it.severity));
    let mut codes: Vec<Code> = all.iter().map(|it| it.code).collect();
    codes.sort();
    codes.dedup();
    let level = |severity: Severity| match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    };
    let rule = |code: &Code| {
        json!({
            "id": code.id(), "name": code.name(), "shortDescription": {"text": code.summary()},
            "fullDescription": {"text": code.summary()}, "help": {"text": code.page(), "markdown": code.page()},
            "defaultConfiguration": {"level": level(code.severity())},
        })
    };
    let result = |it: &&Reported| {
        // Without a file, the config is where whoever reads it can do something.
        let path = if it.path.is_empty() { "streamkeeper.yaml".to_owned() } else { uri(&it.path) };
        json!({
            "ruleId": it.code.id(), "level": level(it.severity), "message": {"text": it.text()},
            "locations": [{"physicalLocation": {
                "artifactLocation": {"uri": path}, "region": {"startLine": it.line, "startColumn": 1, "endLine": it.line, "endColumn": 2},
            }}],
            "partialFingerprints": {"primaryLocationLineHash": it.fingerprint()},
        })
    };
    let (name, version) = tool.split_once(' ').unwrap_or((tool, "0"));
    let left_out = sorted.len().saturating_sub(RESULTS);
    let mut run = json!({
        "tool": {"driver": {"name": name, "semanticVersion": version, "rules": codes.iter().map(rule).collect::<Vec<_>>()}},
        "automationDetails": {"id": "streamkeeper/"},
        "columnKind": "unicodeCodePoints",
        "results": sorted.iter().take(RESULTS).map(result).collect::<Vec<_>>(),
    });
    if left_out > 0 {
        let text = format!("{left_out} results of lower severity are left out");
        run["invocations"] = json!([{
            "executionSuccessful": true,
            "toolExecutionNotifications": [{"level": "warning", "message": {"text": text}}],
        }]);
    }
    json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0", "runs": [run],
    })
}

/// A path as a relative reference (RFC 3986).
fn uri(path: &str) -> String {
    const PATH: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
    utf8_percent_encode(path.trim_start_matches("./"), &PATH).to_string()
}

/// GitLab's code quality report.
pub fn reported_gitlab(all: &[Reported]) -> Value {
    let severity = |severity: Severity| match severity {
        Severity::Error => "critical",
        Severity::Warning => "minor",
        Severity::Info => "info",
    };
    let one = |it: &Reported| {
        let path = if it.path.is_empty() { "streamkeeper.yaml" } else { it.path.trim_start_matches("./") };
        json!({
            "description": it.text(), "check_name": it.code.id(), "fingerprint": it.fingerprint(),
            "severity": severity(it.severity), "location": {"path": inert(path, 1000), "lines": {"begin": it.line}},
        })
    };
    all.iter().map(one).collect()
}

/// Workflow commands of GitHub. Only so many of a kind are shown there: the last of them says how many are not.
pub fn reported_github(all: &[Reported]) -> String {
    let value = |text: &str| {
        let text = inert(text, 1000).replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
        text.replace(':', "%3A").replace(',', "%2C")
    };
    let mut out = String::new();
    for (severity, kind) in [(Severity::Error, "error"), (Severity::Warning, "warning"), (Severity::Info, "notice")] {
        let of_kind: Vec<&Reported> = all.iter().filter(|it| it.severity == severity).collect();
        for it in of_kind.iter().take(SHOWN) {
            let place =
                if it.path.is_empty() { String::new() } else { format!("file={},line={},", value(&it.path), it.line) };
            let text = it.text().replace('%', "%25");
            out.push_str(&format!("::{kind} {place}title={} {}::{text}\n", it.code, value(it.code.name())));
        }
        if of_kind.len() > SHOWN {
            let more = of_kind.len() - SHOWN;
            out.push_str(&format!("::{kind} title=streamkeeper::{more} more; the job summary has all of them\n"));
        }
    }
    out
}

/// A plan as test cases: its steps, which pass, what is blocked, which is skipped, and what is `reported` of it. From `least` on, that
/// fails; what is less is skipped.
pub fn plan_junit(plan: &Plan, reported: &[Reported], least: Severity) -> String {
    let mut cases = Vec::new();
    let mut skipped = 0;
    let step = |step: &Step| format!("{} {} {}", step.id, step.action.kind(), step.action.stream());
    for one in &plan.steps {
        let name = format!("{} ({})", step(one), reason(&one.reason));
        cases.push(format!("    <testcase classname=\"streamkeeper.step\" name=\"{}\"/>\n", xml(&name)));
    }
    for deferred in plan.blocked() {
        skipped += 1;
        let tag = deferred.tag.as_deref().map_or(String::new(), |tag| format!(":{tag}"));
        let why = xml(&super::names::wait(&deferred.wait));
        let name = xml(&format!("{}{tag}", deferred.stream));
        let case = "    <testcase classname=\"streamkeeper.blocked\"";
        cases.push(format!("{case} name=\"{name}\"><skipped>{why}</skipped></testcase>\n"));
    }
    let name = |it: &Reported| match it.about.as_str() {
        "" => format!("{} {}:{}", it.code, it.path, it.line),
        about => format!("{} {about}: {}", it.code, it.code.name()),
    };
    let (told, failures, more) = junit_cases(reported, "streamkeeper.risk", least, name);
    cases.extend(told);
    // A report without a case is none, for some who read it.
    cases.insert(0, format!("    <testcase classname=\"streamkeeper\" name=\"{}\"/>\n", xml(&plan_line(plan))));
    suites(&cases, failures, skipped + more)
}

/// Findings as test cases: each is one, which fails from `least` on; what is less is skipped.
pub fn findings_junit(all: &[Reported], summary: &str, least: Severity) -> String {
    let mut cases = vec![format!("    <testcase classname=\"streamkeeper\" name=\"{}\"/>\n", xml(summary))];
    let name = |it: &Reported| format!("{} {}:{}", it.code, it.path, it.line);
    let (told, failures, skipped) = junit_cases(all, "streamkeeper.finding", least, name);
    cases.extend(told);
    suites(&cases, failures, skipped)
}

/// The cases, and how many of them fail and are skipped.
fn junit_cases(
    all: &[Reported],
    class: &str,
    least: Severity,
    name: impl Fn(&Reported) -> String,
) -> (Vec<String>, usize, usize) {
    let (mut cases, mut failures, mut skipped) = (Vec::new(), 0, 0);
    for it in all {
        let (name, text) = (xml(&name(it)), xml(&it.text()));
        let inner = if it.severity < least {
            skipped += 1;
            format!("<skipped>{}: {text}</skipped>", it.severity)
        } else {
            failures += 1;
            format!("<failure message=\"{text}\" type=\"{}\">{text}</failure>", it.code.id())
        };
        cases.push(format!("    <testcase classname=\"{class}\" name=\"{name}\">{inner}</testcase>\n"));
    }
    (cases, failures, skipped)
}

fn suites(cases: &[String], failures: usize, skipped: usize) -> String {
    let tests = cases.len();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites tests=\"{tests}\" failures=\"{failures}\" errors=\"0\">\n  <testsuite name=\"streamkeeper\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\">\n{}  </testsuite>\n</testsuites>\n",
        cases.concat()
    )
}

/// Text in XML 1.0: what it cannot hold at all is shown.
fn xml(text: &str) -> String {
    let mut out = String::new();
    for char in inert(text, 1000).chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            // GitLab reads attachments from such words.
            '[' => out.push_str("&#91;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            char if char.is_control() => out.push('\u{fffd}'),
            char => out.push(char),
        }
    }
    out
}
