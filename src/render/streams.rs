//! Streams and tags as `oc get is` and `oc get istag` list them (semantics 7.5).

use jiff::Timestamp;

use crate::openshift::{ImageStream, StreamId};
use crate::source::inert;

use super::table::Table;
use super::time::ago;

/// A stream with what is known of it besides the object.
#[derive(Clone, Copy, Debug)]
pub struct StreamRow<'a> {
    /// Name.
    pub id: &'a StreamId,
    /// The object.
    pub stream: &'a ImageStream,
    /// Commit of its last change, cut; empty if there is none.
    pub commit: &'a str,
}

/// Streams, a line each. `namespaces` adds the column, `wide` all tags, and the commit of the last change.
pub fn streams_table(rows: &[StreamRow<'_>], namespaces: bool, wide: bool, now: Timestamp) -> String {
    let mut head = vec!["NAME", "IMAGE REPOSITORY", "TAGS", "UPDATED"];
    if namespaces {
        head.insert(0, "NAMESPACE");
    }
    if wide {
        head.push("COMMIT");
    }
    let mut table = Table::new(&head);
    for StreamRow { id, stream, commit } in rows {
        let updated = stream.status.tags.iter().filter_map(|list| list.items.first()?.created).max();
        let mut cells = vec![
            inert(&id.name, 260),
            inert(repository(stream), 300),
            tags_column(stream, wide),
            updated.map_or(String::new(), |updated| ago(updated, now)),
        ];
        if namespaces {
            cells.insert(0, inert(&id.namespace, 80));
        }
        if wide {
            cells.push(inert(commit, 40));
        }
        table.row(cells);
    }
    table.render()
}

/// The public repository, the wished one, or the internal one.
fn repository(stream: &ImageStream) -> &str {
    let candidates = [
        &stream.status.public_docker_image_repository,
        &stream.spec.docker_image_repository,
        &stream.status.docker_image_repository,
    ];
    candidates.into_iter().find(|text| !text.is_empty()).map_or("", |text| text)
}

/// Tags in status, newest first, up to about forty characters; `wide`: all of them.
fn tags_column(stream: &ImageStream, wide: bool) -> String {
    const LENGTH: usize = 40;
    let mut tags: Vec<(Option<Timestamp>, &str)> = stream
        .status
        .tags
        .iter()
        .map(|list| (list.items.first().and_then(|head| head.created), list.tag.as_str()))
        .collect();
    tags.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    let mut shown = String::new();
    for (at, (_, tag)) in tags.iter().enumerate() {
        // At least one, and a quarter over the length rather than a rest of one.
        let length = shown.len() + tag.len() + 1;
        let rest = tags.len() - at;
        if !wide && at > 0 && length > LENGTH && (rest > 1 || length > LENGTH + LENGTH / 4) {
            return format!("{shown} + {rest} more...");
        }
        if at > 0 {
            shown.push(',');
        }
        shown.push_str(&inert(tag, 128));
    }
    shown
}

/// Tags with an image, a line each.
pub fn tags_table(rows: &[StreamRow<'_>], namespaces: bool, wide: bool, now: Timestamp) -> String {
    let mut head = vec!["NAME", "IMAGE REFERENCE", "UPDATED"];
    if namespaces {
        head.insert(0, "NAMESPACE");
    }
    if wide {
        head.push("IMAGE NAME");
    }
    let mut table = Table::new(&head);
    for StreamRow { id, stream, .. } in rows {
        for (tag, head) in stream.heads() {
            let mut cells = vec![
                inert(&format!("{}:{tag}", id.name), 400),
                inert(&head.docker_image_reference, 400),
                head.created.map_or(String::new(), |created| ago(created, now)),
            ];
            if namespaces {
                cells.insert(0, inert(&id.namespace, 80));
            }
            if wide {
                cells.push(inert(&head.image, 140));
            }
            table.row(cells);
        }
    }
    table.render()
}
