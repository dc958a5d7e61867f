//! Streams and their own tags: make what is missing, change what differs.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::model::{
    Action, Conflict, DeferredAction, DesiredStream, Drift, LiveStream, Observed, RECONCILE_ANNOTATION, Reason,
    StreamHeader, Wait, fingerprint,
};
use crate::openshift::{ImageStream, StreamId, TagReference, normalised};
use crate::rules::is_same;
use crate::source::inert;

use super::builder::Builder;
use super::input::{PlanInput, is_copied};

pub(super) fn plan(builder: &mut Builder<'_>) {
    let desired = builder.input.desired;
    for (id, held) in &desired.held {
        let wait = Wait::Held { by: format!("{}: {}", held.rule, held.detail) };
        builder.defer(id, None, DeferredAction::Reconcile, Some(&held.origin), wait);
        builder.block(id);
    }
    for id in desired.streams.keys().chain(builder.input.live.streams.keys()) {
        if let Some(by) = left_alone(builder.input, id).filter(|_| !builder.is_blocked(id)) {
            let origin = desired.streams.get(id).map(|stream| &stream.origin);
            builder.defer(id, None, DeferredAction::Reconcile, origin, Wait::Held { by });
            builder.block(id);
        }
    }
    for (id, stream) in &desired.streams {
        if builder.is_blocked(id) {
            continue;
        }
        match builder.live(id) {
            Observed::Unknown(ignorance) => {
                builder.defer(id, None, DeferredAction::Reconcile, Some(&stream.origin), Wait::Unknown(ignorance));
                builder.block(id);
            }
            Observed::Absent => create(builder, id, stream),
            Observed::Known(live) => {
                match leaving(live).or_else(|| live.owned.foreign.stream.as_deref().map(managed_by)) {
                    Some(wait) => {
                        builder.defer(id, None, DeferredAction::Reconcile, Some(&stream.origin), wait);
                        builder.block(id);
                    }
                    None => update(builder, id, stream, live),
                }
            }
        }
    }
}

/// Who has said that a stream is to be left as it is, if it is one of ours.
pub(super) fn left_alone(input: &PlanInput<'_>, id: &StreamId) -> Option<String> {
    let (desired, live) = (input.desired.streams.get(id), input.live.streams.get(id));
    let policy = input.policy;
    if desired.is_none() && live.is_none_or(|live| live.owned.tags.is_empty() && !live.owned.stream) {
        return None;
    }
    let is_about = |conflict: &&Conflict| desired.is_none_or(|stream| stream.content == conflict.wanted);
    if let Some(conflict) = input.state.conflicts.get(&id.to_string()).filter(is_about) {
        return Some(conflict.why.clone());
    }
    if policy.suspended.contains("*") || policy.suspended.contains(&id.namespace) {
        return Some("`policy.suspend` in the config".to_owned());
    }
    let is_off = |annotations: &BTreeMap<String, String>| {
        annotations.get(RECONCILE_ANNOTATION).is_some_and(|value| value == "disabled")
    };
    let in_git = desired.is_some_and(|stream| is_off(&stream.annotations));
    let on_target = live.is_some_and(|live| is_off(&live.stream.metadata.annotations));
    match (in_git, on_target) {
        (true, _) => Some(format!("the annotation `{RECONCILE_ANNOTATION}: disabled` in its definition")),
        // Where we have put it ourselves, and Git has it no more, it is to be taken away.
        (false, true)
            if live.is_some_and(|live| live.owned.annotations.iter().any(|key| key == RECONCILE_ANNOTATION)) =>
        {
            None
        }
        (false, true) => Some(format!("the annotation `{RECONCILE_ANNOTATION}: disabled` on it")),
        (false, false) => None,
    }
}

/// A stream that is being deleted: what is written to it goes with it.
pub(super) fn leaving(live: &LiveStream) -> Option<Wait> {
    live.stream.metadata.deletion_timestamp?;
    let finalizers = live.stream.metadata.finalizers.join("`, `");
    let by = format!("its deletion, which waits for its finalizers (`{finalizers}`)");
    Some(Wait::Held { by })
}

/// A new stream with the tags that name no other stream: those others may not be there yet.
fn create(builder: &mut Builder<'_>, id: &StreamId, stream: &DesiredStream) {
    let policy = builder.input.policy;
    let tags = stream.tags.values().filter(|tag| !is_copied(id, tag));
    let tags = tags.map(|tag| policy.written(&tag.reference).into_owned()).collect();
    let action = Action::CreateStream { stream: id.clone(), header: header(stream), tags };
    builder.step(action, Reason::Missing, Some(&stream.origin), Vec::new());
}

fn update(builder: &mut Builder<'_>, id: &StreamId, stream: &DesiredStream, live: &LiveStream) {
    let (mut before, mut after) = (live_header(stream, live), header(stream));
    if let Some(source) = &live.owned.foreign.header {
        if !header_differences(&before, &after).is_empty() {
            builder.defer(id, None, DeferredAction::Reconcile, Some(&stream.origin), managed_by(source));
        }
        after.clone_from(&before);
    }
    let theirs: Vec<(String, &String)> = header_differences(&before, &after)
        .into_iter()
        .filter_map(|field| live.owned.other_fields.get(&field).map(|manager| (field, manager)))
        .filter(|_| !builder.input.policy.force_conflicts)
        .collect();
    for (field, manager) in theirs {
        let by = format!("`{manager}` applies `{field}` with another value; `--force-conflicts` takes it over");
        let wait = Wait::NotOwned { by };
        builder.defer(id, None, DeferredAction::Reconcile, Some(&stream.origin), wait);
        leave(&mut before, &mut after, &field);
    }
    let fields = header_differences(&before, &after);
    if !fields.is_empty() {
        let action = Action::UpdateStream { stream: id.clone(), before, after };
        builder.step(action, Reason::Changed { fields }, Some(&stream.origin), Vec::new());
    } else if live.owned.is_handed_over {
        builder.adopt_header(id, &after, &stream.origin);
    }
    for tag in stream.tags.values().filter(|tag| !is_copied(id, tag)) {
        match judge(builder, id, live, &tag.reference) {
            Verdict::Nothing => {}
            Verdict::Change(action, reason) => builder.step(*action, reason, Some(&tag.origin), Vec::new()),
            Verdict::Adopt => {
                let tag_ = builder.input.policy.written(&tag.reference).into_owned();
                builder.adopt(id, &tag_, &tag.origin);
            }
            Verdict::Theirs(wait) => {
                let name = Some(&*tag.reference.name);
                builder.leave(id, &tag.reference.name);
                builder.defer(id, name, DeferredAction::Reconcile, Some(&tag.origin), wait);
            }
        }
    }
}

/// What another source manages is not changed, whatever flags say.
pub(super) fn managed_by(source: &str) -> Wait {
    let source = inert(source, 200);
    let by = format!(
        "the source `{source}` manages it; `previousIdentities` in the config takes it over if this source was that one"
    );
    Wait::NotOwned { by }
}

/// Leaves a field as it is, and out of what we apply: whoever applies it may change it without asking us.
fn leave(before: &mut StreamHeader, after: &mut StreamHeader, field: &str) {
    for header in [&mut *before, &mut *after] {
        match field.split_once('.') {
            Some(("labels", key)) => drop(header.labels.remove(key)),
            Some(("annotations", key)) => drop(header.annotations.remove(key)),
            Some(_) | None => {}
        }
    }
    match field.split_once('.') {
        Some(("labels" | "annotations", _)) => {}
        Some(_) => after.lookup_policy = before.lookup_policy,
        None => after.docker_image_repository.clone_from(&before.docker_image_repository),
    }
}

/// What is to be done about the definition of a tag in a stream that is there.
pub(super) enum Verdict {
    Nothing,
    Change(Box<Action>, Reason),
    /// It is as it should be, and nobody keeps it so.
    Adopt,
    /// Somebody else applies it, with another value.
    Theirs(Wait),
}

pub(super) fn judge(builder: &Builder<'_>, id: &StreamId, live: &LiveStream, wanted: &TagReference) -> Verdict {
    let wanted = &*builder.input.policy.written(wanted);
    let name = &wanted.name;
    if let Some(source) = live.owned.foreign.tags.get(name) {
        return match set_tag(id, &seen(live), wanted) {
            Some(_) => Verdict::Theirs(managed_by(source)),
            None => Verdict::Nothing,
        };
    }
    let other = live.owned.others.get(name).filter(|_| !builder.input.policy.force_conflicts);
    match (set_tag(id, &seen(live), wanted), other) {
        (Some(_), Some(manager)) => {
            let by = format!("`{manager}` applies this tag with another value; `--force-conflicts` takes it over");
            Verdict::Theirs(Wait::NotOwned { by })
        }
        (Some((action, reason)), None) => match (drifted(live, wanted, reason), builder.input.policy.drift) {
            (Reason::Drifted { fields, by }, Drift::Report) => {
                let by = by.map_or("somebody".to_owned(), |by| format!("`{by}`"));
                let by = format!("{by} has changed {}; `policy.drift` is `report`, so it stays", fields.join(", "));
                Verdict::Theirs(Wait::NotOwned { by })
            }
            (reason, _) => Verdict::Change(Box::new(action), reason),
        },
        (None, _)
            if live.owned.adopts && !live.owned.tags.contains_key(name) && !live.owned.others.contains_key(name) =>
        {
            Verdict::Adopt
        }
        (None, _) => Verdict::Nothing,
    }
}

/// Whether it is Git that has changed since a tag was applied, or somebody else.
fn drifted(live: &LiveStream, wanted: &TagReference, reason: Reason) -> Reason {
    match reason {
        Reason::Changed { fields } if live.owned.applied.get(&wanted.name) == Some(&fingerprint(wanted)) => {
            Reason::Drifted { fields, by: live.owned.last_writer.clone() }
        }
        reason => reason,
    }
}

/// The stream without what strangers have added to tags: leaving it out would not take it away.
fn seen(live: &LiveStream) -> Cow<'_, ImageStream> {
    if !live.owned.adopts {
        return Cow::Borrowed(&live.stream);
    }
    let mut stream = live.stream.clone();
    for tag in &mut stream.spec.tags {
        let ours = live.owned.tag_annotations.get(&tag.name);
        tag.annotations.retain(|key, _| ours.is_some_and(|ours| ours.contains(key)));
    }
    Cow::Owned(stream)
}

/// The step that makes a tag what it should be; none if it is.
pub(super) fn set_tag(id: &StreamId, live: &ImageStream, wanted: &TagReference) -> Option<(Action, Reason)> {
    let action = |before: Option<&TagReference>| Action::SetTag {
        stream: id.clone(),
        before: before.map(|before| TagReference { generation: None, ..before.clone() }),
        after: wanted.clone(),
    };
    let Some(is) = live.spec_tag(&wanted.name) else { return Some((action(None), Reason::Missing)) };
    let fields = tag_differences(id, is, wanted);
    (!fields.is_empty()).then(|| (action(Some(is)), Reason::Changed { fields }))
}

fn header(stream: &DesiredStream) -> StreamHeader {
    let DesiredStream {
        labels,
        annotations,
        lookup_policy,
        docker_image_repository,
        keeps_tags: _,
        tags: _,
        origin: _,
        content: _,
    } = stream;
    StreamHeader {
        labels: labels.clone(),
        annotations: annotations.clone(),
        lookup_policy: *lookup_policy,
        docker_image_repository: docker_image_repository.clone(),
    }
}

/// The live header as far as it is our business: keys that are wanted, and keys that we put there.
fn live_header(stream: &DesiredStream, live: &LiveStream) -> StreamHeader {
    let ours = |map: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>, owned: &[String]| {
        let mine = |key: &String| wanted.contains_key(key) || owned.contains(key);
        map.iter().filter(|(key, _)| mine(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    let metadata = &live.stream.metadata;
    StreamHeader {
        labels: ours(&metadata.labels, &stream.labels, &live.owned.labels),
        annotations: ours(&metadata.annotations, &stream.annotations, &live.owned.annotations),
        lookup_policy: live.stream.spec.lookup_policy,
        docker_image_repository: if live.owned.adopts
            && !live.owned.applies_repository
            && stream.docker_image_repository.is_empty()
        {
            String::new()
        } else {
            live.stream.spec.docker_image_repository.clone()
        },
    }
}

fn header_differences(before: &StreamHeader, after: &StreamHeader) -> Vec<String> {
    let StreamHeader { labels, annotations, lookup_policy, docker_image_repository } = after;
    let mut fields = Vec::new();
    for (name, was, is) in [("labels", &before.labels, labels), ("annotations", &before.annotations, annotations)] {
        let mut keys: Vec<&String> = was.keys().chain(is.keys()).filter(|key| was.get(*key) != is.get(*key)).collect();
        keys.sort();
        keys.dedup();
        fields.extend(keys.into_iter().map(|key| format!("{name}.{key}")));
    }
    if before.lookup_policy != *lookup_policy {
        fields.push("lookupPolicy.local".to_owned());
    }
    if before.docker_image_repository != *docker_image_repository {
        fields.push("dockerImageRepository".to_owned());
    }
    fields
}

/// The fields in which a tag differs, after what is the same in two spellings is made equal (semantics 1.6).
pub(super) fn tag_differences(id: &StreamId, is: &TagReference, wanted: &TagReference) -> Vec<String> {
    let (is, wanted) = (normalised(id, is), normalised(id, wanted));
    if is_same(&is, &wanted) {
        return Vec::new();
    }
    let TagReference { name: _, annotations, from, reference, generation: _, import_policy, reference_policy } =
        &wanted;
    let from_part = |tag: &TagReference, part: fn(&crate::openshift::ObjectReference) -> &String| {
        tag.from.as_ref().map(part).cloned()
    };
    let checks = [
        ("annotations", is.annotations != *annotations),
        ("from.kind", from_part(&is, |from| &from.kind) != from.as_ref().map(|from| from.kind.clone())),
        ("from.name", from_part(&is, |from| &from.name) != from.as_ref().map(|from| from.name.clone())),
        ("from.namespace", from_part(&is, |from| &from.namespace) != from.as_ref().map(|from| from.namespace.clone())),
        ("reference", is.reference != *reference),
        ("importPolicy.importMode", is.import_policy.import_mode != import_policy.import_mode),
        ("importPolicy.insecure", is.import_policy.insecure != import_policy.insecure),
        ("importPolicy.scheduled", is.import_policy.scheduled != import_policy.scheduled),
        ("referencePolicy.type", is.reference_policy != *reference_policy),
    ];
    checks.into_iter().filter(|(_, differs)| *differs).map(|(field, _)| field.to_owned()).collect()
}
