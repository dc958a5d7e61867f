//! Imports: what is new, changed, failed, due or asked for; and what is behind and left there.

use std::collections::BTreeMap;

use crate::api::{ImageStream, REPOSITORY_CHECK_ANNOTATION, TagReference};
use crate::model::{
    Action, DeferredAction, DesiredStream, Digest, ImageReference, ImportFailure, ImportItem, ImportResult, Observed,
    Origin, Question, Reason, Resolution, StreamId, Wait, import_order,
};
use crate::rules::{choose_image, is_imported};

use super::builder::Builder;

/// Imports of one stream that have one reason.
#[derive(Default)]
struct Group {
    items: Vec<ImportItem>,
    origin: Option<Origin>,
}

pub(super) fn plan(builder: &mut Builder<'_>) {
    let desired = builder.input.desired;
    for (id, stream) in &desired.streams {
        if builder.is_blocked(id) {
            continue;
        }
        // Reasons in the order they are shown; equal ones make one request.
        let mut groups: Vec<(Reason, Group)> = Vec::new();
        let mut add = |reason: Reason, item: ImportItem, origin: &Origin| match groups
            .iter_mut()
            .find(|(other, _)| *other == reason)
        {
            Some((_, group)) => group.items.push(item),
            None => groups.push((reason, Group { items: vec![item], origin: Some(origin.clone()) })),
        };
        for tag in stream.tags.values().filter(|tag| is_imported(&tag.reference)) {
            match tag_import(builder, id, &tag.reference) {
                Verdict::Nothing => {}
                Verdict::Import(reason, item) => add(reason, item, &tag.origin),
                Verdict::Wait(wait) => {
                    builder.defer(id, Some(&tag.reference.name), DeferredAction::Import, Some(&tag.origin), wait);
                }
            }
        }
        for (reason, item) in repository_imports(builder, id, stream) {
            add(reason, item, &stream.origin);
        }
        for (reason, Group { items, origin }) in groups {
            for images in items.chunks(builder.input.policy.images_per_import.max(1)) {
                let action = Action::Import { stream: id.clone(), images: images.to_vec() };
                builder.step(action, reason.clone(), origin.as_ref(), Vec::new());
            }
        }
    }
}

enum Verdict {
    Nothing,
    Import(Reason, ImportItem),
    Wait(Wait),
}

/// Judges one tag against the stream as it will be.
fn tag_import(builder: &Builder<'_>, id: &StreamId, tag: &TagReference) -> Verdict {
    let Some(stream) = builder.predicted(id) else { return Verdict::Nothing };
    let Some(question) = Question::of(tag) else { return Verdict::Nothing };
    let due = due(builder, id, stream, tag);
    let answer = builder.input.live.upstream.get(&question).map(|upstream| &upstream.answer);
    let head = stream.head(&tag.name);
    let chosen = match answer {
        None | Some(Observed::Unknown(_) | Observed::Absent) => None,
        Some(Observed::Known(resolution)) => image(builder, tag, resolution),
    };
    let Some(reason) = due else {
        // Not due: only what is known anyway is looked at.
        return match (chosen, head) {
            (None, Some(_)) if tag.import_policy.scheduled => match answer {
                Some(Observed::Unknown(ignorance)) => Verdict::Wait(Wait::Unknown(ignorance.clone())),
                Some(Observed::Absent) => {
                    let rule = format!("`{}` is no longer there; the tag keeps its image", question.reference);
                    Verdict::Wait(Wait::Refused { rule })
                }
                Some(Observed::Known(_)) | None => Verdict::Nothing,
            },
            (Some(digest), Some(head)) if head.image != digest.as_str() && question.reference.digest.is_none() => {
                if tag.import_policy.scheduled {
                    Verdict::Import(Reason::UpstreamMoved, item(tag, ImportResult::Image { digest }))
                } else {
                    Verdict::Wait(Wait::Behind { upstream: digest, current: head.docker_image_reference.clone() })
                }
            }
            _ => Verdict::Nothing,
        };
    };
    match (answer, chosen) {
        (_, Some(digest)) => Verdict::Import(reason, item(tag, ImportResult::Image { digest })),
        (Some(Observed::Absent), None) => {
            let failure = not_found(&question.reference);
            let known = stream.status_tag(&tag.name).is_some_and(|list| {
                list.conditions.iter().any(|is| is.reason == failure.reason && is.message == failure.message)
            });
            if known && !matches!(reason, Reason::Changed { .. }) {
                // Written down already; it stays so until the registry or the definition changes.
                return Verdict::Wait(Wait::Refused { rule: failure.message });
            }
            Verdict::Import(reason, item(tag, ImportResult::Failure(failure)))
        }
        (Some(Observed::Unknown(ignorance)), None) => Verdict::Wait(Wait::Unknown(ignorance.clone())),
        (None | Some(Observed::Known(_)), None) => {
            Verdict::Wait(Wait::Refused { rule: format!("`{}` was not looked up", question.reference) })
        }
    }
}

/// Why a tag has to be imported, if it has to be whatever upstream says.
fn due(builder: &Builder<'_>, id: &StreamId, stream: &ImageStream, tag: &TagReference) -> Option<Reason> {
    let list = stream.status_tag(&tag.name);
    let head = list.and_then(|list| list.items.first());
    let condition = list.and_then(|list| list.conditions.first());
    let spec = stream.spec_tag(&tag.name).and_then(|tag| tag.generation).unwrap_or_default();
    if let Some(condition) = condition {
        return Some(Reason::ImportFailed { since: condition.last_transition_time });
    }
    match head {
        None => Some(Reason::Missing),
        // The spec is ahead of what was imported: another source was named (semantics 4.1).
        Some(head) if head.generation < spec => Some(Reason::Changed { fields: vec!["from".to_owned()] }),
        Some(_) if builder.input.policy.refresh.asks(id, &tag.name) => Some(Reason::Asked),
        Some(_) => None,
    }
}

fn image(builder: &Builder<'_>, tag: &TagReference, resolution: &Resolution) -> Option<Digest> {
    choose_image(tag, resolution, builder.input.server).cloned()
}

fn item(tag: &TagReference, result: ImportResult) -> ImportItem {
    ImportItem {
        tag: tag.name.clone(),
        from: tag.from.as_ref().map(|from| from.name.clone()).unwrap_or_default(),
        import_policy: tag.import_policy,
        reference_policy: tag.reference_policy,
        result,
    }
}

/// In the words of OpenShift's importer (semantics 3.10).
fn not_found(reference: &ImageReference) -> ImportFailure {
    ImportFailure {
        reason: "NotFound".to_owned(),
        message: format!("dockerimage.image.openshift.io \"{reference}\" not found"),
    }
}

/// Tags that `dockerImageRepository` brings in, once (semantics 3.4 and 4.1).
fn repository_imports(builder: &mut Builder<'_>, id: &StreamId, stream: &DesiredStream) -> Vec<(Reason, ImportItem)> {
    let repository = &stream.docker_image_repository;
    let Ok(reference) = repository.parse::<ImageReference>() else { return Vec::new() };
    let live = builder.input.live.streams.get(id).map(|live| &live.stream);
    let done = live.is_some_and(|live| {
        live.spec.docker_image_repository == *repository
            && live.metadata.annotations.contains_key(REPOSITORY_CHECK_ANNOTATION)
    });
    if repository.is_empty() || (done && !builder.input.policy.refresh.asks(id, "")) {
        return Vec::new();
    }
    let full = reference.with_defaults();
    let mut tags = match builder.input.live.listings.get(&full.repository()) {
        Some(Observed::Known(tags)) => tags.clone(),
        Some(Observed::Unknown(ignorance)) => {
            let wait = Wait::Unknown(ignorance.clone());
            builder.defer(id, None, DeferredAction::Import, Some(&stream.origin), wait);
            return Vec::new();
        }
        Some(Observed::Absent) | None => {
            let wait = Wait::Refused { rule: format!("there is no repository `{full}`", full = full.repository()) };
            builder.defer(id, None, DeferredAction::Import, Some(&stream.origin), wait);
            return Vec::new();
        }
    };
    import_order(&mut tags);
    tags.truncate(builder.input.policy.repository_tags);
    tags.retain(|tag| !stream.tags.contains_key(tag));
    let mut found: BTreeMap<String, (Reason, ImportItem)> = BTreeMap::new();
    for name in tags {
        let tag = repository_tag(&reference, &name);
        match tag_import(builder, id, &tag) {
            Verdict::Import(reason, item) => {
                found.insert(name, (reason, item));
            }
            Verdict::Wait(wait @ Wait::Unknown(_)) => {
                builder.defer(id, Some(&name), DeferredAction::Import, Some(&stream.origin), wait);
            }
            Verdict::Wait(_) | Verdict::Nothing => {}
        }
    }
    found.into_values().collect()
}

/// The tag that a repository import makes.
pub(super) fn repository_tag(repository: &ImageReference, name: &str) -> TagReference {
    let from = ImageReference { tag: name.to_owned(), ..repository.clone() };
    TagReference {
        name: name.to_owned(),
        from: Some(crate::api::ObjectReference {
            kind: crate::api::DOCKER_IMAGE.to_owned(),
            name: from.to_string(),
            namespace: String::new(),
        }),
        ..TagReference::default()
    }
}
