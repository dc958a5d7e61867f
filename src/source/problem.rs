//! What is wrong with the syntax of a file.

use super::place::Place;

/// Kinds of syntax problems. `findings` gives each a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// Neither YAML nor JSON.
    Syntax,
    /// Neither YAML nor JSON, because the file is written in a template language or has conflict markers.
    Markup,
    /// Over a limit of size or depth.
    TooComplex,
    /// `<<`, which readers of YAML 1.2 do not know.
    MergeKey,
    /// A key that appears twice in one map.
    DuplicateKey,
    /// A key with white space or control characters in it that no keyboard writes: what stands under it looks right and is not.
    KeyCharacter,
}

/// One problem. Problems are collected, never thrown: one does not stop the next document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxProblem {
    /// Which kind.
    pub kind: ProblemKind,
    /// Where; its path is empty.
    pub place: Place,
    /// One sentence, strings from the file made inert.
    pub message: String,
    /// What to do next.
    pub help: Option<&'static str>,
    /// Of a duplicate: where the first one is.
    pub first: Option<Place>,
}

impl SyntaxProblem {
    /// A problem without help.
    pub fn new(kind: ProblemKind, place: Place, message: impl Into<String>) -> Self {
        Self { kind, place, message: message.into(), help: None, first: None }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn help(self, help: &'static str) -> Self {
        Self { help: Some(help), ..self }
    }
}
