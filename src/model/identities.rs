//! Whose what is managed is.

use serde::Serialize;

/// The identity of a source, with those it had before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Identities {
    /// What it is called now.
    pub own: String,
    /// What it was called: what belongs to these belongs to it.
    pub previous: Vec<String>,
}

impl Identities {
    /// A source that had no other name.
    pub fn of(own: impl Into<String>) -> Self {
        Self { own: own.into(), previous: Vec::new() }
    }

    /// Whether what belongs to this name belongs to the source.
    pub fn include(&self, name: &str) -> bool {
        self.own == name || self.previous.iter().any(|previous| previous == name)
    }
}
