//! Which other streams a step looks at.

use std::collections::BTreeSet;

use crate::model::Action;
use crate::openshift::{ImageStream, StreamId, TagReference, stream_source};

/// The other streams that the tags of an action copy from; `stream` is the one it writes, as it is.
pub fn sources(action: &Action, stream: Option<&ImageStream>) -> BTreeSet<StreamId> {
    let id = action.stream();
    let tags: Vec<&TagReference> = match action {
        Action::CreateStream { tags, .. } => tags.iter().collect(),
        Action::SetTag { after, .. } => vec![after],
        Action::Follow { tag, .. } => stream.and_then(|stream| stream.spec_tag(tag)).into_iter().collect(),
        Action::UpdateStream { .. }
        | Action::Import { .. }
        | Action::DeleteTag { .. }
        | Action::DeleteStream { .. } => Vec::new(),
    };
    tags.into_iter().filter_map(|tag| other_source(id, tag)).collect()
}

/// The other stream that a tag copies from: a tag of it, or an image.
pub fn other_source(id: &StreamId, tag: &TagReference) -> Option<StreamId> {
    let source = stream_source(id, tag.from.as_ref()?)?;
    (source.stream() != id).then(|| source.stream().clone())
}
