//! Who changed what, when, because of which commit.

use super::names::image;
use super::table::Table;
use crate::source::inert;

/// A change, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryRow {
    /// When.
    pub at: String,
    /// The tag; empty for the stream itself.
    pub tag: String,
    /// What was done.
    pub action: String,
    /// Pull spec before.
    pub before: Option<String>,
    /// Pull spec after.
    pub after: Option<String>,
    /// Why.
    pub reason: String,
    /// Commit, cut, with a mark if the files differed from it.
    pub commit: String,
    /// File of the definition.
    pub path: String,
}

/// Changes as a table, in the order given.
pub fn history(rows: &[HistoryRow]) -> String {
    let mut table = Table::new(&["WHEN", "TAG", "CHANGE", "IMAGE", "WHY", "COMMIT", "FILE"]);
    for HistoryRow { at, tag, action, before, after, reason, commit, path } in rows {
        let shown = match (before, after) {
            (None, None) => String::new(),
            (None, Some(after)) => image(after),
            (Some(before), None) => format!("{} -> none", image(before)),
            (Some(before), Some(after)) => format!("{} -> {}", image(before), image(after)),
        };
        table.row(vec![
            inert(at, 40),
            inert(tag, 128),
            inert(action, 40),
            shown,
            inert(reason, 120),
            inert(commit, 40),
            inert(path, 200),
        ]);
    }
    table.render()
}
