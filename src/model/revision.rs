//! Which state of the definitions was read.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A state of the source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Revision {
    /// The source as given, credentials taken out.
    pub source: String,
    /// Full commit id; none for a directory without Git.
    pub commit: Option<String>,
    /// When it was committed, as its committer says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed: Option<Timestamp>,
    /// The files on disk differ from the commit.
    pub dirty: bool,
    /// Hash over paths and contents of what was read: equal content, equal definitions.
    pub content: String,
}

impl Revision {
    /// The first twelve digits of the commit, as people read it.
    pub fn short_commit(&self) -> Option<&str> {
        self.commit.as_deref().map(|commit| commit.get(..12).unwrap_or(commit))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.short_commit() {
            Some(commit) => out.write_str(commit)?,
            None => out.write_str("no commit")?,
        }
        if self.dirty { out.write_str(" (dirty)") } else { Ok(()) }
    }
}
