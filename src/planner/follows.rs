//! Tags that copy other streams: the server copies once, keeping them current is a step of ours.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Action, DeferredAction, DesiredStream, DesiredTag, Observed, Precondition, Reason, Wait};
use crate::openshift::{ImageStream, StreamId, TagId, alias_target};
use crate::rules;

use super::builder::Builder;
use super::input::{held, is_copied};
use super::streams;
use super::streams::Verdict;

pub(super) fn plan(builder: &mut Builder<'_>) {
    let desired = builder.input.desired;
    let follows = |id: &StreamId, tag: &DesiredTag| is_copied(id, tag) || alias_target(id, &tag.reference).is_some();
    let all: Vec<(&StreamId, &DesiredTag)> = desired
        .streams
        .iter()
        .flat_map(|(id, stream)| stream.tags.values().filter(|tag| follows(id, tag)).map(move |tag| (id, &**tag)))
        .collect();
    // Sources come before what copies them, so one round reaches the end of every chain; and what copies a tag relies on the image
    // that it has when all that is done to it is done.
    for (id, tag) in in_order(&desired.streams, &all) {
        let is_copied = is_copied(id, tag);
        if is_copied {
            write(builder, id, tag);
        }
        if !in_circle(builder, id, tag) {
            // The server leaves aliases inside a stream behind, too, when it is written as a whole (semantics 2.3).
            follow(builder, id, tag);
        } else if is_copied {
            let rule =
                "it copies a tag that, over other streams, copies this one: which of them is right cannot be said"
                    .to_owned();
            let wait = Wait::Refused { rule };
            builder.defer(id, Some(&tag.reference.name), DeferredAction::Follow, Some(&tag.origin), wait);
        }
    }
}

/// Whether following a tag, over its own stream's aliases and other streams, leads back to it.
fn in_circle(builder: &Builder<'_>, id: &StreamId, tag: &DesiredTag) -> bool {
    let streams = &builder.input.desired.streams;
    let start = id.tag(tag.reference.name.clone());
    let mut seen = BTreeSet::new();
    let mut next = target(id, tag);
    while let Some(at) = next {
        if at == start {
            return true;
        }
        let tag = streams.get(&at.stream).and_then(|stream| stream.tags.get(&at.tag));
        next = tag.and_then(|tag| target(&at.stream, tag));
        if !seen.insert(at) {
            return false;
        }
    }
    false
}

/// The tag that a tag follows, in its own stream or another one.
fn target(id: &StreamId, tag: &DesiredTag) -> Option<TagId> {
    alias_target(id, &tag.reference)
}

/// Sources before what copies them.
fn in_order<'a>(
    streams: &BTreeMap<StreamId, DesiredStream>,
    copied: &[(&'a StreamId, &'a DesiredTag)],
) -> Vec<(&'a StreamId, &'a DesiredTag)> {
    let tags: usize = streams.values().map(|stream| stream.tags.len()).sum();
    let depth = |id: &StreamId, tag: &DesiredTag| {
        let mut depth = 0;
        let mut next = target(id, tag);
        while let Some(at) = next.take().filter(|_| depth <= tags) {
            depth += 1;
            let tag = streams.get(&at.stream).and_then(|stream| stream.tags.get(&at.tag));
            next = tag.and_then(|tag| target(&at.stream, tag));
        }
        depth
    };
    let mut order: Vec<_> = copied.iter().map(|(id, tag)| (depth(id, tag), *id, *tag)).collect();
    order.sort_by_key(|(depth, id, tag)| (*depth, (*id).clone(), tag.reference.name.clone()));
    order.into_iter().map(|(_, id, tag)| (id, tag)).collect()
}

/// The tag of another stream that a tag copies.
fn source(id: &StreamId, tag: &DesiredTag) -> Option<TagId> {
    target(id, tag).filter(|target| target.stream != *id)
}

/// Writes the tag itself where it is new or differs.
fn write(builder: &mut Builder<'_>, id: &StreamId, tag: &DesiredTag) {
    if builder.is_blocked(id) {
        return;
    }
    // What an earlier step has made of the stream says nothing about this tag.
    let (action, reason) = match (builder.input.live.streams.get(id), builder.predicted(id)) {
        (Some(live), Some(_)) => match streams::judge(builder, id, live, &tag.reference) {
            Verdict::Nothing => return,
            Verdict::Change(action, reason) => (*action, reason),
            Verdict::Adopt => return builder.adopt(id, &tag.reference, &tag.origin),
            Verdict::Theirs(wait) => {
                builder.leave(id, &tag.reference.name);
                let name = Some(&*tag.reference.name);
                return builder.defer(id, name, DeferredAction::Reconcile, Some(&tag.origin), wait);
            }
        },
        (None, Some(stream)) => match streams::set_tag(id, stream, &tag.reference) {
            Some(step) => step,
            None => return,
        },
        (_, None) => return,
    };
    let mut requires = Vec::new();
    if let Some(source) = source(id, tag) {
        if let Observed::Unknown(ignorance) = builder.live(&source.stream)
            && builder.predicted(&source.stream).is_none()
        {
            let wait = Wait::Unknown(ignorance);
            return builder.defer(id, Some(&tag.reference.name), DeferredAction::Follow, Some(&tag.origin), wait);
        }
        // It is copied when it is written: an image that it gets meanwhile is one that nobody has reviewed.
        requires.push(at_head(builder, source));
    }
    builder.step(action, reason, Some(&tag.origin), requires);
}

fn at_head(builder: &Builder<'_>, source: TagId) -> Precondition {
    let stream = builder.predicted(&source.stream);
    rules::at_head(source, stream)
}

/// Copies the source's image over once more if it differs.
fn follow(builder: &mut Builder<'_>, id: &StreamId, tag: &DesiredTag) {
    let Some(source) = target(id, tag) else { return };
    let name = &tag.reference.name;
    if builder.is_theirs(id, name) {
        return;
    }
    let head = |stream: Option<&ImageStream>, tag: &str| {
        stream.and_then(|stream| stream.head(tag)).map(|head| (head.image.clone(), head.docker_image_reference.clone()))
    };
    let Some(mine) = builder.predicted(id) else { return };
    if builder.is_blocked(id) || mine.spec_tag(name).is_none() {
        return;
    }
    // A source that has no image takes none away: it may be gone only for now.
    let Some(theirs) = head(builder.predicted(&source.stream), &source.tag) else { return };
    if head(Some(mine), name).as_ref() == Some(&theirs) {
        return;
    }
    // Of a stream that is kept elsewhere nobody here holds back what it moves to.
    let failing = builder.input.live.failing.get(&id.tag(name.as_str()));
    if let Some((workload, why)) = failing.filter(|_| !builder.input.desired.streams.contains_key(&source.stream)) {
        let wait = held(workload, why);
        return builder.defer(id, Some(name), DeferredAction::Follow, Some(&tag.origin), wait);
    }
    let requires = vec![at_head(builder, source.clone())];
    let action = Action::Follow { stream: id.clone(), tag: name.clone(), source: source.clone() };
    builder.step(action, Reason::Follows { tag: source }, Some(&tag.origin), requires);
}
