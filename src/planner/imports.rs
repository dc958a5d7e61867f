//! Imports: what is new, changed, failed, due or asked for; and what is behind and left there.

use crate::model::{
    Action, Cause, DeferredAction, DesiredStream, Ignorance, ImportFailure, ImportItem, ImportResult, Observed, Origin,
    PlatformImage, Question, Reason, Resolution, Schedule, Wait,
};
use crate::openshift::{Digest, ImageReference, ImageStream, StreamId, TagReference, import_order, is_imported};
use crate::rules::{ImportDue, choose_image, import_due, platform};

use super::builder::Builder;
use super::input::held;

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
        let mut groups = Groups::default();
        for tag in stream.tags.values().filter(|tag| is_imported(&tag.reference)) {
            // An import would write the source of the tag as well: what somebody else applies is left alone.
            if builder.is_theirs(id, &tag.reference.name) {
                continue;
            }
            match tag_import(builder, id, &tag.reference, due) {
                Verdict::Nothing => {}
                Verdict::Import(reason, item) => groups.add(reason, item, &tag.origin),
                Verdict::Wait(wait) => {
                    builder.defer(id, Some(&tag.reference.name), DeferredAction::Import, Some(&tag.origin), wait);
                }
            }
        }
        groups.plan(builder, id, None);
        repository_imports(builder, id, stream);
    }
}

/// Imports of one stream by reason, in the order they are shown: equal ones make one request.
#[derive(Default)]
struct Groups {
    groups: Vec<(Reason, Group)>,
}

impl Groups {
    fn add(&mut self, reason: Reason, item: ImportItem, origin: &Origin) {
        match self.groups.iter_mut().find(|(other, _)| *other == reason) {
            Some((_, group)) => group.items.push(item),
            None => self.groups.push((reason, Group { items: vec![item], origin: Some(origin.clone()) })),
        }
    }

    /// Plans the requests; the last of them completes the import of `repository`.
    fn plan(self, builder: &mut Builder<'_>, id: &StreamId, repository: Option<&String>) {
        let most = builder.input.policy.images_per_import.max(1);
        let chunks = |(reason, Group { items, origin }): (Reason, Group)| -> Vec<_> {
            items.chunks(most).map(|images| (reason.clone(), images.to_vec(), origin.clone())).collect()
        };
        let mut requests = self.groups.into_iter().flat_map(chunks).peekable();
        while let Some((reason, images, origin)) = requests.next() {
            let repository = repository.filter(|_| requests.peek().is_none()).cloned();
            let action = Action::Import { stream: id.clone(), images, repository };
            builder.step(action, reason, origin.as_ref(), Vec::new());
        }
    }
}

enum Verdict {
    Nothing,
    Import(Reason, ImportItem),
    Wait(Wait),
}

/// Judges one tag against the stream as it will be.
fn tag_import(builder: &Builder<'_>, id: &StreamId, tag: &TagReference, due: Due) -> Verdict {
    let Some(stream) = builder.predicted(id) else { return Verdict::Nothing };
    let Some(question) = Question::of(&id.namespace, tag) else { return Verdict::Nothing };
    let due = due(builder, id, stream, tag);
    let answer = builder.input.live.upstream.get(&question).map(|upstream| &upstream.answer);
    let head = stream.head(&tag.name);
    let chosen = match answer {
        None | Some(Observed::Unknown(_) | Observed::Absent) => None,
        Some(Observed::Known(resolution)) => image(builder, tag, resolution),
    };
    // A mirror alone may be behind: it fills what is new, and moves nothing that stays the same reference.
    let same = matches!(due, None | Some(Reason::Asked));
    if let (Some(Observed::Known(Resolution { only_mirror: Some(mirror), .. })), Some(digest), Some(head)) =
        (answer, &chosen, head)
        && same
        && head.image != digest.as_str()
    {
        let detail = format!(
            "only the mirror `{mirror}` answers, with {} where the tag has another image; if its word alone counts, set `mirrorSourcePolicy: NeverContactSource`",
            digest.short()
        );
        let asked = question.reference.to_string();
        return Verdict::Wait(Wait::Unknown(Ignorance::new(asked, Cause::Incomplete, detail)));
    }
    let by_server = tag.import_policy.scheduled && builder.input.policy.schedule == Schedule::Server;
    let Some(reason) = due else {
        // Not due: only what is known anyway is looked at.
        return match (chosen, head) {
            (None, Some(_)) if tag.import_policy.scheduled && !by_server => match answer {
                Some(Observed::Unknown(ignorance)) => Verdict::Wait(Wait::Unknown(ignorance.clone())),
                Some(Observed::Absent) => Verdict::Wait(Wait::NotFound { reference: question.reference.to_string() }),
                Some(Observed::Known(_)) | None => Verdict::Nothing,
            },
            (Some(digest), Some(head)) if head.image != digest.as_str() && question.reference.digest.is_none() => {
                if by_server {
                    let current = head.docker_image_reference.clone();
                    Verdict::Wait(Wait::Scheduled { upstream: digest, current })
                } else if tag.import_policy.scheduled {
                    if let Some((workload, why)) = builder.input.live.failing.get(&id.tag(&tag.name)) {
                        return Verdict::Wait(held(workload, why));
                    }
                    if let Some(ignorance) = &builder.input.live.unseen_followers {
                        return Verdict::Wait(Wait::Unknown(ignorance.clone()));
                    }
                    let reason = moved(builder, tag, answer, &head.image);
                    Verdict::Import(reason, item(builder, tag, ImportResult::Image { digest }))
                } else {
                    Verdict::Wait(Wait::Behind { upstream: digest, current: head.docker_image_reference.clone() })
                }
            }
            _ => Verdict::Nothing,
        };
    };
    match (answer, chosen) {
        (_, Some(digest)) => Verdict::Import(reason, item(builder, tag, ImportResult::Image { digest })),
        (Some(Observed::Absent), None) => {
            let failure = not_found(&question.reference);
            let known = stream.status_tag(&tag.name).is_some_and(|list| {
                // A cluster writes down in words of its own what we call not found.
                let on_cluster = builder.input.live.streams.get(id).is_some_and(|live| live.owned.adopts);
                let wanted = stream.spec_tag(&tag.name).and_then(|tag| tag.generation);
                list.conditions.iter().any(|is| {
                    let same = is.reason == failure.reason && is.message == failure.message;
                    same || (on_cluster && wanted.is_some_and(|wanted| wanted <= is.generation))
                })
            });
            if known && !matches!(reason, Reason::Changed { .. }) {
                // Written down already; it stays so until the registry or the definition changes.
                return Verdict::Wait(Wait::NotFound { reference: question.reference.to_string() });
            }
            Verdict::Import(reason, item(builder, tag, ImportResult::Failure(failure)))
        }
        (Some(Observed::Unknown(ignorance)), None) => Verdict::Wait(Wait::Unknown(ignorance.clone())),
        (None | Some(Observed::Known(_)), None) => {
            Verdict::Wait(Wait::Refused { rule: format!("`{}` was not looked up", question.reference) })
        }
    }
}

/// Why a tag has to be imported, given the stream as it will be.
type Due = fn(&Builder<'_>, &StreamId, &ImageStream, &TagReference) -> Option<Reason>;

/// Likewise, for a tag that a repository import brings in. The definition says only what its source is called: an image that was
/// pushed, or the policy that another client has given the tag, is no reason to import it.
fn due_in_repository(builder: &Builder<'_>, id: &StreamId, stream: &ImageStream, tag: &TagReference) -> Option<Reason> {
    let name = |tag: &TagReference| tag.from.as_ref().map(|from| from.name.clone());
    let is_there = stream.head(&tag.name).is_some_and(|head| {
        let spec = stream.spec_tag(&tag.name);
        spec.is_none_or(|spec| name(spec) == name(tag) && spec.generation.is_none_or(|it| it <= head.generation))
    });
    match import_due(id, Some(stream), tag) {
        Some(ImportDue::Missing | ImportDue::SourceChanged) if is_there => asked(builder, id, tag),
        _ => due(builder, id, stream, tag),
    }
}

fn asked(builder: &Builder<'_>, id: &StreamId, tag: &TagReference) -> Option<Reason> {
    builder.input.state.refresh.asks(id, &tag.name).then_some(Reason::Asked)
}

/// Why a tag has to be imported, if it has to be whatever upstream says.
fn due(builder: &Builder<'_>, id: &StreamId, stream: &ImageStream, tag: &TagReference) -> Option<Reason> {
    match import_due(id, Some(stream), tag) {
        Some(ImportDue::Failed(condition)) => Some(Reason::ImportFailed { since: condition.last_transition_time }),
        Some(ImportDue::Missing) => Some(Reason::Missing),
        // Tags of a repository are not in the definition: the import itself changes where they come from.
        Some(ImportDue::SourceChanged) => Some(Reason::Changed { fields: vec!["from.name".to_owned()] }),
        Some(ImportDue::SpecAhead) => Some(Reason::Changed { fields: vec!["from".to_owned()] }),
        None => asked(builder, id, tag),
    }
}

fn image(builder: &Builder<'_>, tag: &TagReference, resolution: &Resolution) -> Option<Digest> {
    choose_image(tag, resolution, builder.input.server).cloned()
}

fn item(builder: &Builder<'_>, tag: &TagReference, result: ImportResult) -> ImportItem {
    ImportItem {
        tag: tag.name.clone(),
        from: tag.from.as_ref().map(|from| from.name.clone()).unwrap_or_default(),
        import_policy: builder.input.policy.written(tag).import_policy,
        reference_policy: tag.reference_policy,
        result,
    }
}

/// Whether the image itself moved, or only the list that a tag preserves: attestations come and go, other platforms are built.
fn moved(builder: &Builder<'_>, tag: &TagReference, answer: Option<&Observed<Resolution>>, head: &str) -> Reason {
    let before = Digest::parse(head).and_then(|digest| builder.input.live.lists.get(&digest));
    let (Some(before), Some(after)) = (before, answer.and_then(Observed::known)) else { return Reason::UpstreamMoved };
    let (os, architecture) = platform(tag, builder.input.server);
    let image = |list: &Resolution| {
        let is_ours = |image: &&PlatformImage| image.os == os && image.architecture == architecture;
        list.platforms.iter().find(is_ours).map(|image| image.digest.clone())
    };
    match (image(before), image(after)) {
        (Some(before), Some(after)) if before == after => {
            Reason::ListMoved { platform: format!("{os}/{architecture}") }
        }
        _ => Reason::UpstreamMoved,
    }
}

/// In the words of OpenShift's importer (semantics 3.10).
fn not_found(reference: &ImageReference) -> ImportFailure {
    ImportFailure {
        reason: "NotFound".to_owned(),
        message: format!("dockerimage.image.openshift.io \"{reference}\" not found"),
    }
}

/// Tags that `dockerImageRepository` brings in, once (semantics 3.4 and 4.1): until all of them are there, the repository is
/// not done. (One without any tag is asked about again by each plan.)
fn repository_imports(builder: &mut Builder<'_>, id: &StreamId, stream: &DesiredStream) {
    let repository = &stream.docker_image_repository;
    let Ok(reference) = repository.parse::<ImageReference>() else { return };
    let done =
        builder.input.live.streams.get(id).is_some_and(|live| live.owned.repository.as_ref() == Some(repository));
    if repository.is_empty() || (done && !builder.input.state.refresh.asks(id, "")) {
        return;
    }
    let origin = Some(&stream.origin);
    let tags = match listing(builder, &id.namespace, repository) {
        Ok(tags) => tags,
        Err(wait) => return builder.defer(id, None, DeferredAction::Import, origin, wait),
    };
    let mut groups = Groups::default();
    let mut complete = true;
    for name in tags.into_iter().filter(|tag| !stream.tags.contains_key(tag)) {
        match tag_import(builder, id, &repository_tag(&reference, &name), due_in_repository) {
            Verdict::Import(reason, item) => groups.add(reason, item, &stream.origin),
            Verdict::Wait(wait @ Wait::Unknown(_)) => {
                complete = false;
                builder.defer(id, Some(&name), DeferredAction::Import, origin, wait);
            }
            Verdict::Wait(_) | Verdict::Nothing => {}
        }
    }
    groups.plan(builder, id, Some(repository).filter(|_| complete));
}

/// The tags that a repository import brings in, or why that cannot be said.
pub(super) fn listing(builder: &Builder<'_>, namespace: &str, repository: &str) -> Result<Vec<String>, Wait> {
    let gone = || Wait::NotFound { reference: repository.to_owned() };
    let reference: ImageReference = repository.parse().map_err(|_| gone())?;
    let asked = (namespace.to_owned(), reference.with_defaults().repository());
    match builder.input.live.listings.get(&asked) {
        Some(Observed::Known(tags)) => {
            let mut tags = tags.clone();
            import_order(&mut tags);
            tags.truncate(builder.input.policy.repository_tags);
            Ok(tags)
        }
        Some(Observed::Unknown(ignorance)) => Err(Wait::Unknown(ignorance.clone())),
        Some(Observed::Absent) | None => Err(gone()),
    }
}

/// The tag that a repository import makes.
pub(super) fn repository_tag(repository: &ImageReference, name: &str) -> TagReference {
    let from = ImageReference { tag: name.to_owned(), ..repository.clone() };
    TagReference {
        name: name.to_owned(),
        from: Some(crate::openshift::ObjectReference {
            kind: crate::openshift::DOCKER_IMAGE.to_owned(),
            name: from.to_string(),
            namespace: String::new(),
        }),
        ..TagReference::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;

    use super::*;
    use crate::model::{Desired, Live, LiveStream, PassState, Plan, Policy, Upstream};
    use crate::openshift::{NamedTagEventList, TagEvent};
    use crate::planner::PlanInput;
    use crate::rules::Server;

    const NEW: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    /// The plan for a repository with the tag `1`, which the live stream has, with this spec.
    fn plan(spec: Option<TagReference>) -> Plan {
        let id = StreamId::new("n", "s");
        let repository = "quay.io/a/b";
        let reference: ImageReference = repository.parse().expect("a reference");
        let wanted = repository_tag(&reference, "1");
        let definition = DesiredStream { docker_image_repository: repository.to_owned(), ..DesiredStream::default() };
        let desired = Desired { streams: BTreeMap::from([(id.clone(), definition)]), ..Desired::default() };
        let mut stream = ImageStream::default();
        stream.spec.docker_image_repository = repository.to_owned();
        stream.spec.tags = spec.into_iter().collect();
        let head = TagEvent { image: "sha256:old".to_owned(), generation: 1, ..TagEvent::default() };
        stream.status.tags = vec![NamedTagEventList { tag: "1".to_owned(), items: vec![head], conditions: Vec::new() }];
        let question = Question::of("n", &wanted).expect("a question");
        let resolution = Resolution::image(Digest::parse(NEW).expect("a digest"), "manifest");
        let upstream = Upstream { answer: Observed::Known(resolution), checked_at: Timestamp::UNIX_EPOCH };
        let live = Live {
            listed: BTreeMap::from([("n".to_owned(), Observed::Known(()))]),
            listings: BTreeMap::from([(
                ("n".to_owned(), reference.with_defaults().repository()),
                Observed::Known(vec!["1".to_owned()]),
            )]),
            streams: BTreeMap::from([(id, LiveStream { stream, ..LiveStream::default() })]),
            upstream: BTreeMap::from([(question, upstream)]),
            ..Live::default()
        };
        let (policy, state, server) = (Policy::default(), PassState::default(), Server::default());
        let input = PlanInput {
            desired: &desired,
            live: &live,
            policy: &policy,
            state: &state,
            server: &server,
            target: "t",
            tool: "t",
        };
        crate::planner::plan(&input).0
    }

    #[test]
    fn repository_import_leaves_filled_tags_alone() {
        let reference: ImageReference = "quay.io/a/b".parse().expect("a reference");
        let same = TagReference { generation: Some(1), ..repository_tag(&reference, "1") };
        let imports = |spec| {
            let imports = plan(spec).steps;
            imports.into_iter().any(|step| matches!(step.action, Action::Import { images, .. } if !images.is_empty()))
        };
        assert!(!imports(None), "a tag that was pushed");
        assert!(!imports(Some(same.clone())), "a tag that was imported");
        assert!(!imports(Some(TagReference { reference: true, ..same.clone() })), "a tag that is a reference");
        let mut preserved = same.clone();
        preserved.import_policy.import_mode = crate::openshift::ImportMode::PreserveOriginal;
        assert!(!imports(Some(preserved)), "a tag with another import mode");
        assert!(imports(Some(TagReference { generation: Some(2), ..same })), "a tag whose spec is newer");
        assert!(imports(Some(repository_tag(&"quay.io/a/c".parse().expect("a reference"), "1"))), "another source");
    }
}
