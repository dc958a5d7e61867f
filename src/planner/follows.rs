//! Tags that copy other streams: the server copies once, keeping them current is a step of ours.

use std::collections::BTreeMap;

use crate::api::ImageStream;
use crate::model::{Action, DeferredAction, DesiredTag, Observed, Precondition, Reason, StreamId, TagId, Wait};
use crate::rules::{AliasTarget, alias_target};

use super::builder::Builder;
use super::{is_copied, streams};

pub(super) fn plan(builder: &mut Builder<'_>) {
    let desired = builder.input.desired;
    let copied: Vec<(&StreamId, &DesiredTag)> = desired
        .streams
        .iter()
        .flat_map(|(id, stream)| stream.tags.values().filter(|tag| is_copied(id, tag)).map(move |tag| (id, tag)))
        .collect();
    let order = in_order(&copied);
    for &(id, tag) in &order {
        write(builder, id, tag);
    }
    // One round reaches the end of every chain, as sources come before what copies them. Circles over streams settle in as
    // many rounds as they are long, or never, and then the next plan goes on.
    for _ in 0..=order.len() {
        if !order.iter().fold(false, |moved, (id, tag)| follow(builder, id, tag) || moved) {
            break;
        }
    }
}

/// Sources before what copies them.
fn in_order<'a>(copied: &[(&'a StreamId, &'a DesiredTag)]) -> Vec<(&'a StreamId, &'a DesiredTag)> {
    let by_id: BTreeMap<TagId, &DesiredTag> =
        copied.iter().map(|(id, tag)| (id.tag(tag.reference.name.clone()), *tag)).collect();
    let depth = |id: &StreamId, tag: &DesiredTag| {
        let mut depth = 0;
        let mut source = source(id, tag);
        while let Some(id) = source.take().filter(|_| depth <= copied.len()) {
            depth += 1;
            source = by_id.get(&id).and_then(|tag| self::source(&id.stream, tag));
        }
        depth
    };
    let mut order: Vec<_> = copied.iter().map(|(id, tag)| (depth(id, tag), *id, *tag)).collect();
    order.sort_by_key(|(depth, id, tag)| (*depth, (*id).clone(), tag.reference.name.clone()));
    order.into_iter().map(|(_, id, tag)| (id, tag)).collect()
}

/// The tag of another stream that a tag copies.
fn source(id: &StreamId, tag: &DesiredTag) -> Option<TagId> {
    match alias_target(id, &tag.reference)? {
        AliasTarget::Other(source) => Some(source),
        AliasTarget::Own(_) => None,
    }
}

/// Writes the tag itself where it is new or differs.
fn write(builder: &mut Builder<'_>, id: &StreamId, tag: &DesiredTag) {
    if builder.is_blocked(id) {
        return;
    }
    let Some(stream) = builder.predicted(id) else { return };
    let Some((action, reason)) = streams::set_tag(id, stream, &tag.reference) else { return };
    let mut requires = Vec::new();
    if let Some(source) = source(id, tag) {
        if let Observed::Unknown(ignorance) = builder.live(&source.stream)
            && builder.predicted(&source.stream).is_none()
        {
            let wait = Wait::Unknown(ignorance);
            return builder.defer(id, Some(&tag.reference.name), DeferredAction::Follow, Some(&tag.origin), wait);
        }
        requires.extend(at_head(builder, &source));
    }
    builder.step(action, reason, Some(&tag.origin), requires);
}

fn at_head(builder: &Builder<'_>, source: &TagId) -> Option<Precondition> {
    let head = builder.predicted(&source.stream)?.head(&source.tag)?;
    Some(Precondition::TagAt { tag: source.clone(), reference: head.docker_image_reference.clone() })
}

/// Copies the source's image over once more if it differs. Says whether it did.
fn follow(builder: &mut Builder<'_>, id: &StreamId, tag: &DesiredTag) -> bool {
    let Some(source) = source(id, tag) else { return false };
    let name = &tag.reference.name;
    let head = |stream: Option<&ImageStream>, tag: &str| {
        stream.and_then(|stream| stream.head(tag)).map(|head| (head.image.clone(), head.docker_image_reference.clone()))
    };
    let Some(mine) = builder.predicted(id) else { return false };
    if builder.is_blocked(id) || mine.spec_tag(name).is_none() {
        return false;
    }
    // A source that has no image takes none away: it may be gone only for now.
    let Some(theirs) = head(builder.predicted(&source.stream), &source.tag) else { return false };
    if head(Some(mine), name).as_ref() == Some(&theirs) {
        return false;
    }
    let requires = at_head(builder, &source).into_iter().collect();
    let action = Action::Follow { stream: id.clone(), tag: name.clone(), source: source.clone() };
    builder.step(action, Reason::Follows { tag: source }, Some(&tag.origin), requires);
    head(builder.predicted(id), name).as_ref() == Some(&theirs)
}
