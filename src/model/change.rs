//! What has changed a stream.

use serde::{Deserialize, Serialize};

/// A change of a stream or tag, with what was behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Change {
    /// The stream, as `namespace/name`.
    pub stream: String,
    /// The tag; empty for the stream itself.
    pub tag: String,
    /// When.
    pub at: String,
    /// Run of the journal; 0 where it is not known to be one of ours.
    pub run: i64,
    /// Commit of the definitions; none for a folder without Git.
    pub revision: Option<String>,
    /// The files differed from that commit.
    pub dirty: bool,
    /// File of the definition; empty where it was gone.
    pub path: String,
    /// What was done.
    pub action: String,
    /// Why.
    pub reason: String,
    /// Pull spec before.
    pub before: Option<String>,
    /// Pull spec after.
    pub after: Option<String>,
}
