//! What a step has changed, as `history` tells it.

use crate::model::{Action, Move};
use crate::openshift::ImageStream;

use super::moves;

/// What was done, and to which tag; an empty tag is the stream itself.
pub fn changes(
    action: &Action,
    before: Option<&ImageStream>,
    after: Option<&ImageStream>,
) -> Vec<(&'static str, Move)> {
    let mut rows = moves(before, after);
    let (done, subject) = match action {
        Action::CreateStream { .. } => ("create stream", Some(String::new())),
        Action::UpdateStream { .. } => ("update stream", Some(String::new())),
        Action::SetTag { after, before, .. } => {
            (if before.is_some() { "change tag" } else { "add tag" }, Some(after.name.clone()))
        }
        Action::Follow { .. } => ("follow", None),
        Action::Import { .. } => ("import", None),
        Action::DeleteTag { tag, .. } => ("delete tag", Some(tag.clone())),
        Action::DeleteStream { .. } => ("delete stream", Some(String::new())),
    };
    let unmoved = |tag: String| Move { tag, before: None, after: None };
    if let Some(tag) = subject.filter(|subject| rows.iter().all(|row| row.tag != *subject)) {
        rows.insert(0, unmoved(tag));
    }
    let failed = action.failed_imports().map(|(item, _)| ("import failed", unmoved(item.tag.clone())));
    rows.into_iter().map(|row| (done, row)).chain(failed).collect()
}
