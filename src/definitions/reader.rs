//! Typed reading from a spanned tree: what does not fit is a finding, and reading goes on.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::findings::{Code, Diagnostic};
use crate::model::Origin;
use crate::source::{Node, Place, ScalarKind, SourceText, Span, Value, inert};

/// Reads values of one file and collects what is wrong with them.
pub(super) struct Reader<'a> {
    pub(super) source: &'a SourceText,
    pub(super) findings: Vec<Diagnostic>,
    /// Template parameters without a value: what still holds one of them has been told.
    pub(super) missing: Arc<BTreeMap<String, String>>,
    /// Comparisons of characters that are left for suggestions.
    pub(super) comparisons: usize,
    /// Bytes that values filled in by templates may still take.
    pub(super) bytes: usize,
}

/// Findings that are reported of a file; what follows the last of them is not read.
const FINDINGS: usize = 1000;

/// Comparisons of characters for the suggestions of a file: enough for some hundred.
const COMPARISONS: usize = 4_000_000;

/// Bytes that values filled in by templates may take in a file.
const FILLED: usize = 16 * 1024 * 1024;

impl<'a> Reader<'a> {
    /// Reads this text, with findings to begin with.
    pub(super) fn new(source: &'a SourceText, findings: Vec<Diagnostic>) -> Self {
        Self { source, findings, missing: Arc::default(), comparisons: COMPARISONS, bytes: FILLED }
    }
}

impl Reader<'_> {
    pub(super) fn place(&self, span: Span) -> Place {
        Place::of(self.source, span)
    }

    /// Where something is defined; the path is filled in when the file is known.
    pub(super) fn origin(&self, span: Span) -> Origin {
        let Place { line, column, .. } = self.place(span);
        Origin { line, column, ..Origin::default() }
    }

    /// Notes a finding. After very many, one says so; it is an error, so that whatever was being read is left alone.
    pub(super) fn report(&mut self, finding: Diagnostic) {
        match self.findings.len() {
            FINDINGS => {
                let message = format!("more than {FINDINGS} findings in one file; the rest is not read");
                self.findings.push(Diagnostic::new(Code::TooComplex, finding.place, message));
            }
            count if count > FINDINGS => {}
            _ => self.findings.push(finding),
        }
    }

    /// There are so many findings that the rest of the file is not read.
    pub(super) fn is_full(&self) -> bool {
        self.findings.len() > FINDINGS
    }

    /// Takes so many bytes out of the budget; false when it has not that many.
    pub(super) fn spend(&mut self, bytes: usize) -> bool {
        let left = self.bytes.checked_sub(bytes);
        self.bytes = left.unwrap_or_default();
        left.is_some()
    }

    /// The known name that a wrong one most likely stands for, at most so many letters away. Costs are bounded for the whole file:
    /// after very many, nothing is suggested.
    pub(super) fn near<'k>(
        &mut self,
        name: &str,
        known: impl Iterator<Item = &'k str>,
        most: usize,
    ) -> Option<&'k str> {
        let length = name.chars().count();
        let mut best: Option<(usize, &str)> = None;
        for candidate in known {
            let other = candidate.chars().count();
            if length.abs_diff(other) > most {
                continue;
            }
            self.comparisons = self.comparisons.checked_sub((length + 1) * (other + 1))?;
            let distance = strsim::damerau_levenshtein(candidate, name);
            if distance <= most && best.is_none_or(|best| (distance, candidate) < best) {
                best = Some((distance, candidate));
            }
        }
        best.map(|(_, candidate)| candidate)
    }

    /// Adds a fix, unless what is written there is not what was read: a parameter's value must not be written over the
    /// parameter.
    pub(super) fn with_fix(&self, finding: Diagnostic, node: &Node, replacement: impl Into<String>) -> Diagnostic {
        let written = self.source.text().get(node.span.range()).unwrap_or_default();
        if written.contains("${") { finding } else { finding.fix(node.span, replacement) }
    }

    /// Whether a template language's braces stand there, which YAML reads as a map in a map.
    pub(super) fn is_markup(&self, node: &Node) -> bool {
        !matches!(node.value, Value::Scalar(_))
            && self.source.text().get(node.span.range()).is_some_and(|text| text.starts_with("{{"))
    }

    /// A finding at a node.
    pub(super) fn finding(&self, code: Code, node: &Node, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(code, self.place(node.span), message)
    }

    /// Another key in place of one, in quotes if that one is.
    pub(super) fn as_written(&self, key: &Node, name: &str) -> String {
        let is_quoted = self.source.text().get(key.span.range()).is_some_and(|text| text.starts_with(['"', '\'']));
        if is_quoted { quoted(name) } else { name.to_owned() }
    }

    fn wrong_type(&mut self, node: &Node, field: &str, wanted: &str) {
        if self.is_markup(node) {
            let help =
                "this looks like a Helm chart's or a Go template: render it and commit the result, or exclude it";
            let message = format!("`{field}` is an unexpanded placeholder");
            return self.report(self.finding(Code::Placeholder, node, message).help(help));
        }
        let found = match &node.value {
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a map",
            Value::Scalar(_) => node.scalar_kind().map_or("text", ScalarKind::noun),
        };
        let mut finding = self.finding(Code::WrongType, node, format!("`{field}` is {found}, {wanted} belongs here"));
        if wanted == "text"
            && let Some(text) = node.text()
        {
            let quoted = quoted(text);
            finding = self.with_fix(finding.help(format!("put it in quotes: `{quoted}`")), node, quoted);
        }
        self.report(finding);
    }

    /// Text. Numbers and booleans are refused as the API server refuses them; `null` is none.
    pub(super) fn text(&mut self, node: &Node, field: &str) -> Option<String> {
        match node.scalar_kind() {
            Some(ScalarKind::Null) => None,
            Some(ScalarKind::Text | ScalarKind::Date) => node.text().map(str::to_owned),
            Some(ScalarKind::Bool | ScalarKind::Int | ScalarKind::Float) => {
                self.wrong_type(node, field, "text");
                node.text().map(str::to_owned)
            }
            None => {
                self.wrong_type(node, field, "text");
                // Braces of a template stand for some text.
                self.is_markup(node).then(|| "{{ }}".to_owned())
            }
        }
    }

    /// `true` or `false`; `null` is none.
    pub(super) fn boolean(&mut self, node: &Node, field: &str) -> Option<bool> {
        match (node.scalar_kind(), node.text()) {
            (Some(ScalarKind::Null), _) => None,
            (Some(ScalarKind::Bool), Some(text)) => {
                Some(matches!(text.to_ascii_lowercase().as_str(), "true" | "yes" | "on"))
            }
            (_, text) => {
                self.wrong_type(node, field, "a boolean");
                text.and_then(|text| text.parse().ok())
            }
        }
    }

    /// A map, or a finding.
    pub(super) fn is_map(&mut self, node: &Node, field: &str) -> bool {
        let good = matches!(node.value, Value::Mapping(_));
        if !good && !node.is_null() {
            self.wrong_type(node, field, "a map");
        }
        good
    }

    /// The items of a list, or a finding.
    pub(super) fn list<'n>(&mut self, node: &'n Node, field: &str) -> &'n [Node] {
        if !matches!(node.value, Value::Sequence(_)) && !node.is_null() {
            self.wrong_type(node, field, "a list");
        }
        node.items()
    }

    /// Labels or annotations: a map of text.
    pub(super) fn text_map(&mut self, node: &Node, field: &str) -> BTreeMap<String, String> {
        if !self.is_map(node, field) {
            return BTreeMap::new();
        }
        let mut map = BTreeMap::new();
        for entry in node.entries() {
            let Some(key) = self.text(&entry.key, field) else { continue };
            let field = format!("{field}.{}", inert(&key, 80));
            let value = self.text(&entry.value, &field).unwrap_or_default();
            map.insert(key, value);
        }
        map
    }
}

/// The text in double quotes, as YAML and JSON both read it.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
