//! Removals: only what is ours, only on complete knowledge, only so many, and last.

use crate::model::{Action, Cause, DeferredAction, DesiredStream, Ignorance, LiveStream, Origin, Reason, Wait};
use crate::openshift::{ImageReference, ImageStream, StreamId};

use super::builder::Builder;
use super::{imports, streams};

/// A removal that is wanted.
struct Removal<'a> {
    id: &'a StreamId,
    /// None: the whole stream.
    tag: Option<String>,
    /// Tags it takes away.
    weight: usize,
    /// Files that it was defined in.
    paths: Vec<String>,
}

pub(super) fn plan(builder: &mut Builder<'_>) {
    let (desired, live) = (builder.input.desired, builder.input.live);
    let mut removals = Vec::new();
    for (id, stream) in &live.streams {
        if builder.is_blocked(id) || stream.owned.foreign.stream.is_some() {
            continue;
        }
        match desired.streams.get(id) {
            Some(wanted) => removals.extend(tags(builder, id, wanted, stream)),
            None => match streams::leaving(stream) {
                Some(wait) => builder.defer(id, None, DeferredAction::DeleteStream, None, wait),
                None => whole(builder, id, stream, &mut removals),
            },
        }
    }
    if removals.is_empty() {
        return;
    }
    let owned = live.settled_tags + live.streams.values().map(|stream| stream.owned.tags.len()).sum::<usize>();
    let wait = hold(builder, &removals, owned);
    for removal in removals {
        let wait = wait.clone().or_else(|| unread(builder, &removal)).or_else(|| elsewhere(builder, &removal));
        let wait = wait.or_else(|| kept(builder, &removal));
        let Removal { id, tag, paths, .. } = removal;
        let action = match &tag {
            Some(_) => DeferredAction::DeleteTag,
            None => DeferredAction::DeleteStream,
        };
        match (&wait, tag) {
            (Some(wait), tag) => {
                // Where it was defined: the line went with the definition.
                let origin = paths.first().map(|path| Origin { path: path.as_str().into(), line: 1, column: 1 });
                builder.defer(id, tag.as_deref(), action, origin.as_ref(), wait.clone());
            }
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
    if let Some(by) = &builder.input.state.no_removals {
        return Some(Wait::Held { by: by.clone() });
    }
    if let Some(ignorance) = desired.incomplete.first() {
        return Some(Wait::Unknown(ignorance.clone()));
    }
    // What is to take the place of what goes may be waiting for its image.
    let waiting = builder.deferred().iter().find_map(|deferred| match &deferred.wait {
        Wait::Unknown(ignorance) if deferred.action == DeferredAction::Import => {
            let has_image = builder
                .input
                .live
                .streams
                .get(&deferred.stream)
                .is_some_and(|live| deferred.tag.as_ref().is_none_or(|tag| live.stream.head(tag).is_some()));
            (!has_image).then(|| ignorance.clone())
        }
        _ => None,
    });
    if let Some(ignorance) = waiting {
        return Some(Wait::Unknown(ignorance));
    }
    if let Some(scope) =
        builder.input.live.scope.as_ref().filter(|scope| **scope != desired.scope && !policy.change_scope)
    {
        let by = format!(
            "another part of the source was read than last time ({}, then {scope}); if that is meant, give `--change-scope`",
            desired.scope
        );
        return Some(Wait::Held { by });
    }
    if desired.streams.is_empty() && desired.held.is_empty() && !policy.allow_empty {
        let rule = "the source defines no stream at all; if that is meant, give `--allow-empty`".to_owned();
        return Some(Wait::Refused { rule });
    }
    let count = removals.iter().map(|removal| removal.weight).sum();
    let limit = policy.removals.of(owned);
    (count > limit).then_some(Wait::OverLimit { removals: count, limit })
}

/// What a definition may only seem to leave out.
fn kept(builder: &Builder<'_>, removal: &Removal<'_>) -> Option<Wait> {
    let by = builder.input.desired.streams.get(removal.id)?.keeps_tags.clone()?;
    Some(Wait::Held { by })
}

/// What was defined in a file that is there and was not looked into is not known to be gone.
fn unread(builder: &Builder<'_>, removal: &Removal<'_>) -> Option<Wait> {
    let unread = &builder.input.desired.unread;
    let hides = |path: &&String| {
        let folders = path.match_indices('/').map(|(at, _)| &path[..at]);
        unread.contains(*path) || folders.into_iter().any(|folder| unread.contains(folder))
    };
    let path = removal.paths.iter().find(hides)?;
    let why = builder.input.desired.broken.get(path).map_or("was not read", String::as_str);
    Some(Wait::Unknown(Ignorance::new(
        path,
        Cause::Unreadable,
        format!("it was defined there; the file is there and {why}"),
    )))
}

/// What was written from another part of the source is not known to be gone from there.
fn elsewhere(builder: &Builder<'_>, removal: &Removal<'_>) -> Option<Wait> {
    let scope = builder.input.live.streams.get(removal.id)?.owned.scope.as_ref()?;
    if *scope == builder.input.desired.scope || builder.input.policy.change_scope {
        return None;
    }
    let by = format!(
        "it was defined in another part of the source ({scope}) than is read now ({}); if it is gone there, give `--change-scope`",
        builder.input.desired.scope
    );
    Some(Wait::Held { by })
}

/// Tags of a stream that are ours and no longer defined.
fn tags<'a>(builder: &Builder<'_>, id: &'a StreamId, wanted: &DesiredStream, live: &LiveStream) -> Vec<Removal<'a>> {
    let made_by = |repository: &str, name: &str| made_by(live, repository, name);
    // A repository's tags stay with it; those of another one before it go once it is known which of them this one has.
    let listing = (!wanted.docker_image_repository.is_empty())
        .then(|| imports::listing(builder, &id.namespace, &wanted.docker_image_repository));
    let kept = |name: &str| {
        let before = &live.stream.spec.docker_image_repository;
        made_by(&wanted.docker_image_repository, name)
            || match &listing {
                Some(Ok(tags)) => made_by(before, name) && tags.iter().any(|tag| tag == name),
                Some(Err(_)) => made_by(before, name),
                None => false,
            }
    };
    let gone = |name: &&String| !wanted.tags.contains_key(*name) && exists(&live.stream, name) && !kept(name);
    let owned = live.owned.tags.iter().chain(&live.owned.previous).filter(|(name, _)| gone(name));
    owned.map(|(name, path)| Removal { id, tag: Some(name.clone()), weight: 1, paths: vec![path.clone()] }).collect()
}

/// A stream that is no longer defined: all of it if it is all ours, otherwise our tags in it.
fn whole<'a>(builder: &mut Builder<'_>, id: &'a StreamId, live: &'a LiveStream, removals: &mut Vec<Removal<'a>>) {
    let owned = &live.owned;
    let names =
        live.stream.spec.tags.iter().map(|tag| &tag.name).chain(live.stream.status.tags.iter().map(|list| &list.tag));
    // The tags of a repository that we have imported whole came with it.
    let imported = |name: &str| owned.repository.as_ref().is_some_and(|repository| made_by(live, repository, name));
    let all = || owned.tags.iter().chain(&owned.previous);
    let is_ours = |name: &String| all().any(|(tag, _)| tag == name);
    let foreign = names.filter(|name| !is_ours(name) && !imported(name)).min().cloned();
    match (owned.stream, foreign) {
        (true, None) => {
            let paths: Vec<String> = all().map(|(_, path)| path.clone()).collect();
            removals.push(Removal { id, tag: None, weight: paths.len().max(1), paths });
        }
        (is_ours, foreign) => {
            let ours = all().filter(|(name, _)| exists(&live.stream, name));
            let removal = |(name, path): (&String, &String)| Removal {
                id,
                tag: Some(name.clone()),
                weight: 1,
                paths: vec![path.clone()],
            };
            removals.extend(ours.map(removal));
            if let Some(tag) = foreign.filter(|_| is_ours) {
                let wait = Wait::NotOwned { by: format!("the tag `{tag}`, which is not ours, is in the stream") };
                builder.defer(id, None, DeferredAction::DeleteStream, None, wait);
            }
        }
    }
}

/// Whether a tag is one that the import of a whole repository makes.
fn made_by(live: &LiveStream, repository: &str, name: &str) -> bool {
    let reference = repository.parse::<ImageReference>().ok().filter(|_| !repository.is_empty());
    let made = reference.map(|reference| imports::repository_tag(&reference, name));
    made.is_some_and(|made| live.stream.spec_tag(name).is_some_and(|tag| tag.from == made.from))
}

fn exists(stream: &ImageStream, tag: &str) -> bool {
    stream.spec_tag(tag).is_some() || stream.status_tag(tag).is_some()
}
