//! Which tags get another current image between two states of a stream.

use std::collections::BTreeSet;

use crate::model::Move;
use crate::openshift::ImageStream;

/// The tags whose heads differ, sorted by name, with the pull specs of both.
pub fn moves(before: Option<&ImageStream>, after: Option<&ImageStream>) -> Vec<Move> {
    let tags: BTreeSet<&str> =
        before.iter().chain(&after).flat_map(|stream| &stream.status.tags).map(|list| list.tag.as_str()).collect();
    let head = |stream: Option<&ImageStream>, tag: &str| {
        stream.and_then(|stream| stream.head(tag)).map(|head| head.docker_image_reference.clone())
    };
    tags.into_iter()
        .map(|tag| Move { tag: tag.to_owned(), before: head(before, tag), after: head(after, tag) })
        .filter(|one| one.before != one.after)
        .collect()
}
