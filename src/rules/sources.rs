//! Which other streams a step looks at.

use std::collections::BTreeSet;

use crate::api::{DOCKER_IMAGE, ImageStream, TagReference};
use crate::model::{Action, StreamId};

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
    let froms = tags.into_iter().filter_map(|tag| tag.from.as_ref()).filter(|from| from.kind != DOCKER_IMAGE);
    let source = |from: &crate::api::ObjectReference| {
        let (name, _) = from.name.split_once([':', '@'])?;
        let namespace = if from.namespace.is_empty() { &id.namespace } else { &from.namespace };
        Some(StreamId::new(namespace, name))
    };
    froms.filter_map(source).filter(|source| source != id).collect()
}
