//! A place in a file, for people and programs.

use serde::{Deserialize, Serialize};

use super::source_map::{SourceText, Span};

/// A place in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// Path in the source, with `/`.
    pub path: String,
    /// Line, counted from 1; 0 means the file as a whole.
    pub line: u32,
    /// Column in characters, counted from 1.
    pub column: u32,
    /// The bytes.
    pub span: Span,
}

impl Place {
    /// The place of a span in a text whose path is not known yet.
    pub fn of(source: &SourceText, span: Span) -> Self {
        let (line, column) = source.line_column(span.start);
        Self { path: String::new(), line, column, span }
    }

    /// A file as a whole.
    pub fn file(path: &str) -> Self {
        Self { path: path.to_owned(), ..Self::default() }
    }
}
