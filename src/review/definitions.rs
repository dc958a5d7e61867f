//! Two revisions of the definitions, compared. Files do not matter: what was renamed or moved is the same.

use std::collections::BTreeSet;

use crate::model::{DefinitionChange, Desired, DesiredStream, Plan, StepId};
use crate::openshift::{StreamId, TagReference};

use super::Base;
use super::secrets::masked;

/// What differs, by name.
pub(super) fn changes(before: &Base, head: &Desired) -> Vec<DefinitionChange> {
    let Base { revision: _, desired: base, touched } = before;
    let is_touched = |path: &str| touched.as_ref().is_none_or(|touched| touched.contains(path));
    let now = head.streams.iter().filter(|(_, stream)| is_touched(&stream.origin.path)).map(|(id, _)| id);
    let ids: BTreeSet<&StreamId> = base.streams.keys().chain(now).collect();
    let mut changes = Vec::new();
    for id in ids {
        let (before, after) = (base.streams.get(id), head.streams.get(id));
        // One that has errors now is left alone: `validate` says what is wrong with it.
        if head.held.contains_key(id) {
            continue;
        }
        // One that had errors is applied only because of the change: all of it counts as changed.
        if let (Some(held), Some(after)) = (base.held.get(id), after) {
            let (was, origin) = (format!("invalid: {}", held.detail), after.origin.clone());
            let after = Some(header(after));
            changes.push(DefinitionChange { stream: id.clone(), tag: None, before: Some(was), after, origin });
        }
        // Equal content, equal definition.
        if let (Some(before), Some(after)) = (before, after)
            && !before.content.is_empty()
            && before.content == after.content
        {
            continue;
        }
        stream(id, before, after, &mut changes);
    }
    changes
}

fn stream<'a>(
    id: &StreamId,
    before: Option<&'a DesiredStream>,
    after: Option<&'a DesiredStream>,
    changes: &mut Vec<DefinitionChange>,
) {
    let (was, mut is) = (before.map(header), after.map(header));
    if let (Some(before), Some(after)) = (before, after) {
        hidden(&was, &mut is, before.labels != after.labels || before.annotations != after.annotations);
    }
    if was != is {
        let origin = after.or(before).map(|stream| stream.origin.clone()).unwrap_or_default();
        changes.push(DefinitionChange { stream: id.clone(), tag: None, before: was, after: is, origin });
    }
    let tags = |stream: Option<&DesiredStream>| -> BTreeSet<String> {
        stream.into_iter().flat_map(|stream| stream.tags.keys().cloned()).collect()
    };
    for name in tags(before).union(&tags(after)) {
        let tag = |stream: Option<&'a DesiredStream>| stream.and_then(|stream| stream.tags.get(name));
        let (before, after) = (tag(before), tag(after));
        let was = before.map(|tag| tag_line(&tag.reference));
        let mut is = after.map(|tag| tag_line(&tag.reference));
        if let (Some(before), Some(after)) = (before, after) {
            hidden(&was, &mut is, before.reference.annotations != after.reference.annotations);
        }
        if was != is {
            let origin = after.or(before).map(|tag| tag.origin.clone()).unwrap_or_default();
            let (before, after) = (was, is);
            changes.push(DefinitionChange { stream: id.clone(), tag: Some(name.clone()), before, after, origin });
        }
    }
}

/// Says that a value changed that is not shown: the lines are the same, what they stand for is not.
fn hidden(was: &Option<String>, is: &mut Option<String>, differs: bool) {
    if let (true, Some(line)) = (differs && was == is, is) {
        line.push_str(", a value that is masked is another one");
    }
}

/// All of a stream but its tags, in a line.
fn header(stream: &DesiredStream) -> String {
    let mut parts = Vec::new();
    for (kind, map) in [("label", &stream.labels), ("annotation", &stream.annotations)] {
        parts.extend(map.iter().map(|(key, value)| format!("{kind} {key}={}", masked(key, value))));
    }
    if stream.lookup_policy.local {
        parts.push("local lookup".to_owned());
    }
    if !stream.docker_image_repository.is_empty() {
        parts.push(format!("repository {}", stream.docker_image_repository));
    }
    if parts.is_empty() { "stream".to_owned() } else { parts.join(", ") }
}

/// A tag's definition in a line.
fn tag_line(tag: &TagReference) -> String {
    let TagReference { name: _, annotations, from, reference, generation: _, import_policy, reference_policy } = tag;
    let mut parts = vec![match from {
        Some(from) if from.namespace.is_empty() => format!("{} {}", from.kind, from.name),
        Some(from) => format!("{} {}/{}", from.kind, from.namespace, from.name),
        None => "filled by pushes".to_owned(),
    }];
    let flags = [
        (*reference, "reference".to_owned()),
        (import_policy.scheduled, "scheduled".to_owned()),
        (import_policy.insecure, "insecure".to_owned()),
        (import_policy.import_mode != crate::openshift::ImportMode::Legacy, "keeps manifest lists".to_owned()),
        (reference_policy.kind != crate::openshift::ReferencePolicyType::Source, "local pull spec".to_owned()),
    ];
    parts.extend(flags.into_iter().filter(|(is, _)| *is).map(|(_, word)| word));
    parts.extend(annotations.iter().map(|(key, value)| format!("annotation {key}={}", masked(key, value))));
    parts.join(", ")
}

/// The steps that would be there without the change: those on streams and tags that it does not touch.
pub(super) fn pending(plan: &Plan, changes: &[DefinitionChange]) -> Vec<StepId> {
    let whole: BTreeSet<&StreamId> =
        changes.iter().filter(|change| change.tag.is_none()).map(|change| &change.stream).collect();
    let touched: BTreeSet<(&StreamId, &str)> =
        changes.iter().filter_map(|change| Some((&change.stream, change.tag.as_deref()?))).collect();
    let mut pending: BTreeSet<StepId> = BTreeSet::new();
    let mut due: BTreeSet<StepId> = BTreeSet::new();
    for step in &plan.steps {
        let stream = step.action.stream();
        let names = step.action.tags();
        let is_own = whole.contains(stream)
            || names.iter().any(|tag| touched.contains(&(stream, *tag)))
            // What follows from a step of the change is of the change.
            || step.after.iter().any(|before| due.contains(before));
        if is_own {
            due.insert(step.id);
        } else {
            pending.insert(step.id);
        }
    }
    pending.into_iter().collect()
}
