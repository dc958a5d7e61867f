//! Findings for people, programs and pull requests.

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};
use schemars::JsonSchema;
use serde::Serialize;

use crate::findings::{Diagnostic, Severity};
use crate::source::{Place, Span, inert};

use super::names::count;
use super::paint::Paint;

/// Gives the text of a file, if it can still be had.
pub trait SourceLines {
    /// The text of the file of that path.
    fn text(&mut self, path: &str) -> Option<&str>;
}

/// Findings as rustc draws errors: the sentence, the place, the line, what to do.
pub fn findings_text(findings: &[Diagnostic], lines: &mut dyn SourceLines, paint: Paint) -> String {
    let renderer = if paint.color { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.term_width(paint.width.unwrap_or(200));
    let mut out = String::new();
    for finding in findings {
        let level = match finding.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
            Severity::Info => Level::INFO,
        };
        let path = inert(&finding.place.path, 300);
        let mut group =
            level.primary_title(inert(&finding.message, 600)).id(finding.code.id()).elements([] as [Origin<'_>; 0]);
        let excerpt = lines.text(&finding.place.path).and_then(|text| excerpt(text, &finding.place));
        let mut has_place = true;
        group = match excerpt {
            Some(Excerpt { text, line, span }) => group.element(
                Snippet::source(text)
                    .path(path.clone())
                    .line_start(line)
                    .fold(false)
                    .annotation(AnnotationKind::Primary.span(span)),
            ),
            None if finding.place.line > 0 => {
                let Place { line, column, .. } = finding.place;
                group.element(Origin::path(path.clone()).line(line as usize).char_column(column as usize))
            }
            None if !path.is_empty() => group.element(Origin::path(path.clone())),
            None => {
                has_place = false;
                group
            }
        };
        for related in finding.related.iter().filter(|_| has_place) {
            let Place { path, line, column, .. } = &related.place;
            group = group.element(Level::NOTE.message(format!(
                "{}: {}:{line}:{column}",
                inert(&related.message, 200),
                inert(path, 300)
            )));
        }
        if let Some(help) = finding.help.as_ref().filter(|_| has_place) {
            group = group.element(Level::HELP.message(inert(help, 400)));
        }
        out.push_str(&renderer.render(&[group]));
        out.push_str("\n\n");
    }
    out
}

/// Bytes of a line that is shown.
const LINE: usize = 2000;

struct Excerpt {
    text: String,
    line: usize,
    span: std::ops::Range<usize>,
}

/// The line of a finding, what is dangerous in it replaced byte for byte.
fn excerpt(text: &str, place: &Place) -> Option<Excerpt> {
    if place.line == 0 {
        return None;
    }
    // Findings that span files know line and column only.
    let start = if place.span == Span::default() { byte_at(text, place)? } else { place.span.start as usize };
    let (before, after) = text.split_at_checked(start)?;
    // A line of a minified file is no help to anyone, and not gone through to its ends.
    let near = |bytes: &[u8], at: Option<usize>| at.or((bytes.len() <= LINE).then_some(bytes.len()));
    let end = before.as_bytes().iter().rev().take(LINE).position(|byte| *byte == b'\n');
    let line_start = start - near(before.as_bytes(), end)?;
    let end = after.as_bytes().iter().take(LINE).position(|byte| *byte == b'\n');
    let line_end = start + near(after.as_bytes(), end)?;
    let line = text[line_start..line_end].trim_end_matches('\r');
    if line.len() > LINE {
        return None;
    }
    let word = line[start - line_start..].find([' ', ',', '}', ']']).unwrap_or(line.len() + line_start - start);
    let end = if place.span == Span::default() { start + word } else { place.span.end as usize };
    let end = end.clamp(start, (line_start + line.len()).max(start));
    let span = start - line_start..end - line_start;
    (line.is_char_boundary(span.start) && line.is_char_boundary(span.end)).then(|| Excerpt {
        text: same_bytes(line),
        line: place.line as usize,
        span,
    })
}

/// The byte at a line and column.
fn byte_at(text: &str, place: &Place) -> Option<usize> {
    let before: usize = text.split_inclusive('\n').take(place.line as usize - 1).map(str::len).sum();
    let line = text.get(before..)?.lines().next()?;
    Some(before + line.char_indices().nth((place.column as usize).saturating_sub(1)).map_or(line.len(), |(at, _)| at))
}

/// Replaces characters that a terminal acts on by harmless ones of the same length in bytes, so that positions stay.
fn same_bytes(line: &str) -> String {
    let safe = |char: char| char == '\t' || inert(char.encode_utf8(&mut [0; 4]), 8).starts_with(char);
    line.chars()
        .map(|char| match char.len_utf8() {
            _ if safe(char) => char,
            1 => '?',
            2 => '¿',
            3 => '\u{fffd}',
            _ => '🛇',
        })
        .collect()
}

/// Findings for programs.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FindingsJson {
    /// Version of this format.
    pub format_version: u32,
    /// How many are errors.
    pub errors: usize,
    /// How many are warnings.
    pub warnings: usize,
    /// The findings, by path and place.
    pub findings: Vec<FindingJson>,
}

/// One finding.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FindingJson {
    /// `SK114`.
    pub code: String,
    /// `guessed-tag-name`.
    pub name: String,
    /// `error`, `warning` or `info`.
    pub severity: String,
    /// The sentence.
    pub message: String,
    /// Path in the source; empty for the source as a whole.
    pub path: String,
    /// Line, from 1; 0 for the file as a whole.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// Text that would put it right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<FixJson>,
    /// Other places that belong to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<RelatedJson>,
}

/// Another place that belongs to a finding.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RelatedJson {
    /// Path in the source.
    pub path: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is there.
    pub message: String,
}

/// Text to put in place of bytes of the file.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FixJson {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
    /// The text.
    pub replacement: String,
}

/// Findings for programs.
pub fn findings_json(findings: &[Diagnostic]) -> FindingsJson {
    let of = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let one = |finding: &Diagnostic| FindingJson {
        code: finding.code.id().to_owned(),
        name: finding.code.name().to_owned(),
        severity: finding.severity.to_string(),
        message: finding.message.clone(),
        path: finding.place.path.clone(),
        line: finding.place.line,
        column: finding.place.column,
        help: finding.help.clone(),
        fix: finding.fix.as_ref().map(|fix| FixJson {
            start: fix.span.start,
            end: fix.span.end,
            replacement: fix.replacement.clone(),
        }),
        related: finding
            .related
            .iter()
            .map(|related| RelatedJson {
                path: related.place.path.clone(),
                line: related.place.line,
                column: related.place.column,
                message: related.message.clone(),
            })
            .collect(),
    };
    FindingsJson {
        format_version: crate::model::FORMAT_VERSION,
        errors: of(Severity::Error),
        warnings: of(Severity::Warning),
        findings: findings.iter().map(one).collect(),
    }
}

/// Findings as workflow commands, which GitHub shows at the lines of a pull request.
pub fn findings_github(findings: &[Diagnostic]) -> String {
    // What a command's values may not contain (workflow commands documentation).
    let value = |text: &str| {
        inert(text, 1000)
            .replace('%', "%25")
            .replace('\r', "%0D")
            .replace('\n', "%0A")
            .replace(':', "%3A")
            .replace(',', "%2C")
    };
    let message = |text: &str| inert(text, 2000).replace('%', "%25");
    let mut out = String::new();
    for finding in findings {
        let kind = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "notice",
        };
        let Place { path, line, column, .. } = &finding.place;
        let help = finding.help.as_ref().map_or(String::new(), |help| format!(" ({help})"));
        let text = message(&format!("{}{help}", finding.message));
        out.push_str(&format!(
            "::{kind} file={},line={},col={column},title={}::{text}\n",
            value(path),
            (*line).max(1),
            finding.code
        ));
    }
    out
}

/// The last line: what was read and what was found.
pub fn summary(findings: &[Diagnostic], streams: usize, tags: usize, waived: usize) -> String {
    let of = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let mut parts = Vec::new();
    for (number, one, many) in [
        (of(Severity::Error), "error", "errors"),
        (of(Severity::Warning), "warning", "warnings"),
        (of(Severity::Info), "note", "notes"),
    ] {
        if number > 0 {
            parts.push(count(number, one, many));
        }
    }
    if waived > 0 {
        parts.push(format!("{waived} waived"));
    }
    let found = if parts.is_empty() { "no findings".to_owned() } else { parts.join(", ") };
    format!("{}, {}: {found}", count(streams, "stream", "streams"), count(tags, "tag", "tags"))
}

/// Why a session ends at findings.
pub fn strict_refusal(findings: &[Diagnostic], (streams, tags): (usize, usize), waived: usize) -> String {
    let summary = summary(findings, streams, tags, waived);
    format!("the definitions have findings ({summary}), and `--strict` was given")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::Code;

    struct One(&'static str);

    impl SourceLines for One {
        fn text(&mut self, _: &str) -> Option<&str> {
            Some(self.0)
        }
    }

    fn finding(span: Span, line: u32) -> Diagnostic {
        let place = Place { path: "a.yaml".to_owned(), line, column: 5, span };
        Diagnostic::new(Code::GuessedTagName, place, "a number").help("put it in quotes")
    }

    #[test]
    fn a_finding_is_drawn_at_its_line() {
        let text = "tags:\n  - name: 3.10\n";
        let out = findings_text(&[finding(Span::new(16, 20), 2)], &mut One(text), Paint::default());
        let expected = "error[SK114]: a number\n --> a.yaml:2:11\n  |\n2 |   - name: 3.10\n  |           ^^^^\n  |\n  = help: put it in quotes\n\n";
        assert_eq!(out, expected);
    }

    #[test]
    fn hostile_lines_are_inert() {
        let text = "name: \u{1b}[31m\u{9b}31m\u{202e}x\u{200b}\u{e0041}\n";
        let out = findings_text(&[finding(Span::new(0, 4), 1)], &mut One(text), Paint::default());
        for bad in ['\u{1b}', '\u{9b}', '\u{202e}', '\u{200b}', '\u{e0041}'] {
            assert!(!out.contains(bad), "{bad:?} in {out:?}");
        }
    }

    #[test]
    fn workflow_commands_cannot_be_forged() {
        let mut evil = finding(Span::new(0, 0), 1);
        evil.message = "x\n::error::forged".to_owned();
        evil.place.path = "a,line=1::b".to_owned();
        let out = findings_github(&[evil]);
        assert_eq!(out.lines().count(), 1, "{out}");
        assert!(out.starts_with("::error file=a%2Cline=1%3A%3Ab,"), "{out}");
    }
}
