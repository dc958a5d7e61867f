//! Removals: only what is ours, only on complete knowledge, only so many, and last.

use crate::api::ImageStream;
use crate::model::{Action, DeferredAction, DesiredStream, ImageReference, LiveStream, Reason, StreamId, Wait};

use super::builder::Builder;
use super::imports;

/// A removal that is wanted.
struct Removal<'a> {
    id: &'a StreamId,
    /// None: the whole stream.
    tag: Option<String>,
    /// Tags it takes away.
    weight: usize,
}

pub(super) fn plan(builder: &mut Builder<'_>) {
    let (desired, live) = (builder.input.desired, builder.input.live);
    let mut removals = Vec::new();
    for (id, stream) in &live.streams {
        if builder.is_blocked(id) {
            continue;
        }
        match desired.streams.get(id) {
            Some(wanted) => removals.extend(tags(id, wanted, stream)),
            None => whole(builder, id, stream, &mut removals),
        }
    }
    if removals.is_empty() {
        return;
    }
    let owned = live.settled_tags + live.streams.values().map(|stream| stream.owned.tags.len()).sum::<usize>();
    let wait = hold(builder, &removals, owned);
    for Removal { id, tag, .. } in removals {
        let action = match &tag {
            Some(_) => DeferredAction::DeleteTag,
            None => DeferredAction::DeleteStream,
        };
        match (&wait, tag) {
            (Some(wait), tag) => builder.defer(id, tag.as_deref(), action, None, wait.clone()),
            (None, Some(tag)) => {
                let action = Action::DeleteTag { stream: id.clone(), tag };
                builder.step(action, Reason::NotInRevision, None, Vec::new());
            }
            (None, None) => {
                let action = Action::DeleteStream { stream: id.clone() };
                builder.step(action, Reason::NotInRevision, None, Vec::new());
            }
        }
    }
}

/// What holds all removals back, if anything does.
fn hold(builder: &Builder<'_>, removals: &[Removal<'_>], owned: usize) -> Option<Wait> {
    let (desired, policy) = (builder.input.desired, builder.input.policy);
    if let Some(ignorance) = desired.incomplete.first() {
        return Some(Wait::Unknown(ignorance.clone()));
    }
    if desired.streams.is_empty() && desired.held.is_empty() && !policy.allow_empty {
        let rule = "the source defines no stream at all; if that is meant, give `--allow-empty`".to_owned();
        return Some(Wait::Refused { rule });
    }
    let count = removals.iter().map(|removal| removal.weight).sum();
    let limit = policy.removals.of(owned);
    (count > limit).then_some(Wait::OverLimit { removals: count, limit })
}

/// Tags of a stream that are ours and no longer defined.
fn tags<'a>(id: &'a StreamId, wanted: &DesiredStream, live: &LiveStream) -> Vec<Removal<'a>> {
    let repository = wanted.docker_image_repository.parse::<ImageReference>().ok();
    let from_repository = |name: &str| {
        let Some(repository) = repository.as_ref().filter(|_| !wanted.docker_image_repository.is_empty()) else {
            return false;
        };
        let made = imports::repository_tag(repository, name);
        live.stream.spec_tag(name).is_some_and(|tag| tag.from == made.from)
    };
    let gone =
        |name: &&String| !wanted.tags.contains_key(*name) && exists(&live.stream, name) && !from_repository(name);
    let owned = live.owned.tags.keys().filter(gone);
    owned.map(|name| Removal { id, tag: Some(name.clone()), weight: 1 }).collect()
}

/// A stream that is no longer defined: all of it if it is all ours, otherwise our tags in it.
fn whole<'a>(builder: &mut Builder<'_>, id: &'a StreamId, live: &'a LiveStream, removals: &mut Vec<Removal<'a>>) {
    let owned = &live.owned;
    let names =
        live.stream.spec.tags.iter().map(|tag| &tag.name).chain(live.stream.status.tags.iter().map(|list| &list.tag));
    let foreign = names.filter(|name| !owned.tags.contains_key(*name)).min().cloned();
    match (owned.stream, foreign) {
        (true, None) => removals.push(Removal { id, tag: None, weight: owned.tags.len().max(1) }),
        (is_ours, foreign) => {
            let ours = owned.tags.keys().filter(|name| exists(&live.stream, name));
            removals.extend(ours.map(|name| Removal { id, tag: Some(name.clone()), weight: 1 }));
            if let Some(tag) = foreign.filter(|_| is_ours) {
                let wait = Wait::NotOwned { by: format!("the tag `{tag}`, which is not ours, is in the stream") };
                builder.defer(id, None, DeferredAction::DeleteStream, None, wait);
            }
        }
    }
}

fn exists(stream: &ImageStream, tag: &str) -> bool {
    stream.spec_tag(tag).is_some() || stream.status_tag(tag).is_some()
}
