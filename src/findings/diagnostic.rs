//! What is wrong in a file, where, and what to do about it.

use serde::{Deserialize, Serialize};

use crate::source::{Place, ProblemKind, Span, SyntaxProblem};

use super::code::{Code, Severity};

/// One finding. Findings are collected, never thrown: one does not stop the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[must_use]
pub struct Diagnostic {
    /// Which rule; `explain` prints its page.
    pub code: Code,
    /// How bad, after the config has had its say.
    pub severity: Severity,
    /// One sentence for this case, strings from the file made inert.
    pub message: String,
    /// Where; its path is empty until the file is known (findings are cached by content).
    pub place: Place,
    /// What to do next.
    pub help: Option<String>,
    /// Text that would put it right, where there is exactly one.
    pub fix: Option<Fix>,
    /// Other places that belong to it, such as the first of two definitions.
    pub related: Vec<Related>,
}

/// Text to put in place of a span.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fix {
    /// What is replaced.
    pub span: Span,
    /// By what.
    pub replacement: String,
}

/// Another place that belongs to a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Related {
    /// Where; an empty path means the finding's own file.
    pub place: Place,
    /// What is there.
    pub message: String,
}

impl From<ProblemKind> for Code {
    fn from(kind: ProblemKind) -> Self {
        match kind {
            ProblemKind::Syntax | ProblemKind::Markup => Self::InvalidSyntax,
            ProblemKind::TooComplex => Self::TooComplex,
            ProblemKind::MergeKey => Self::MergeKey,
            ProblemKind::DuplicateKey => Self::DuplicateKey,
            ProblemKind::KeyCharacter => Self::KeyCharacter,
        }
    }
}

impl From<SyntaxProblem> for Diagnostic {
    fn from(problem: SyntaxProblem) -> Self {
        let SyntaxProblem { kind, place, message, help, first } = problem;
        let mut finding = Self::new(kind.into(), place, message);
        finding.help = help.map(str::to_owned);
        match first {
            Some(first) => finding.related(first, "first here"),
            None => finding,
        }
    }
}

impl Diagnostic {
    /// A finding with the code's own severity.
    pub fn new(code: Code, place: Place, message: impl Into<String>) -> Self {
        let severity = code.severity();
        Self { code, severity, message: message.into(), place, help: None, fix: None, related: Vec::new() }
    }

    /// The same finding as an error, where this case of it is worse than others.
    pub fn raised(mut self) -> Self {
        self.severity = Severity::Error;
        self
    }

    /// Adds what to do next.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds the text that puts it right.
    pub fn fix(mut self, span: Span, replacement: impl Into<String>) -> Self {
        self.fix = Some(Fix { span, replacement: replacement.into() });
        self
    }

    /// Adds another place.
    pub fn related(mut self, place: Place, message: impl Into<String>) -> Self {
        self.related.push(Related { place, message: message.into() });
        self
    }

    /// The same finding in the file of that path.
    pub fn in_file(mut self, path: &str) -> Self {
        path.clone_into(&mut self.place.path);
        for related in self.related.iter_mut().filter(|related| related.place.path.is_empty()) {
            path.clone_into(&mut related.place.path);
        }
        self
    }
}
