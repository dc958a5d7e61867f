//! The history of a stream: what was written down of its changes, and what its tags say themselves.

use std::collections::BTreeMap;

use crate::model::Change;
use crate::openshift::{ImageStream, StreamId};

/// Changes of a stream, or of one tag of it, newest first. A server keeps images and their times; of changes that were written
/// down (`recorded`, newest first) the cause is known as well, and each accounts for one image, the newest first.
pub fn history(
    id: &StreamId,
    tag: Option<&str>,
    recorded: Vec<Change>,
    stream: Option<&ImageStream>,
    limit: usize,
) -> Vec<Change> {
    let is_wanted = |name: &str| tag.is_none_or(|tag| name == tag);
    let mut changes = recorded;
    changes.retain(|change| is_wanted(&change.tag));
    let mut known: BTreeMap<(String, Option<String>), usize> = BTreeMap::new();
    for change in &changes {
        *known.entry((change.tag.clone(), change.after.clone())).or_default() += 1;
    }
    let lists = stream.into_iter().flat_map(|stream| &stream.status.tags);
    for list in lists.filter(|list| is_wanted(&list.tag)) {
        for (at, item) in list.items.iter().enumerate() {
            let image = Some(item.docker_image_reference.clone());
            if let Some(left) = known.get_mut(&(list.tag.clone(), image.clone())).filter(|left| **left > 0) {
                *left -= 1;
                continue;
            }
            changes.push(Change {
                stream: id.to_string(),
                tag: list.tag.clone(),
                at: item.created.map(|at| at.to_string()).unwrap_or_default(),
                run: 0,
                revision: None,
                dirty: false,
                path: String::new(),
                action: "image".to_owned(),
                reason: String::new(),
                before: list.items.get(at + 1).map(|before| before.docker_image_reference.clone()),
                after: image,
            });
        }
    }
    changes.sort_by(|one, other| other.at.cmp(&one.at));
    changes.truncate(limit);
    changes
}
