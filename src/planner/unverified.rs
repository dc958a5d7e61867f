//! A saved plan whose definitions cannot be read: what policy and ownership say of its steps.

use std::collections::BTreeSet;

use crate::model::{Action, Live, Move, PassState, Plan, Policy, Question, RollImage, Step, StepId, Wait};
use crate::openshift::TagReference;

use super::streams::managed_by;

/// Steps and updates that policy or ownership forbids, each with the reason. `forbids`: why nothing may be imported from there.
pub fn forbidden(
    plan: &Plan,
    live: &Live,
    (policy, state): (&Policy, &PassState),
    forbids: impl Fn(&Question) -> Option<String>,
) -> Vec<(StepId, Wait)> {
    let mut forbidden = Vec::new();
    let removals = plan.steps.iter().map(|step| weight(step, live)).sum::<usize>();
    let owned = live.streams.values().map(|stream| stream.owned.tags.len()).sum();
    let limit = policy.removals.of(owned);
    for step in &plan.steps {
        let mut waits = Vec::new();
        if step.action.is_removal() {
            waits.extend(state.no_removals.clone().map(|by| Wait::Held { by }));
            waits.extend((removals > limit).then_some(Wait::OverLimit { removals, limit }));
        }
        let namespace = &step.action.stream().namespace;
        if policy.suspended.contains("*") || policy.suspended.contains(namespace) {
            waits.push(Wait::Held { by: "`policy.suspend` in the config".to_owned() });
        }
        waits.extend(not_owned(step, live, policy));
        let refused = references(&step.action).into_iter().find_map(|question| forbids(&question));
        waits.extend(refused.map(|rule| Wait::Refused { rule }));
        forbidden.extend(waits.into_iter().next().map(|wait| (step.id, wait)));
    }
    for update in &plan.updates {
        let is_known = |image: &&RollImage| is_image_of(plan, live, image);
        let is_allowed = policy.workloads.as_ref().is_some_and(|workloads| {
            let namespace = &update.workload.namespace;
            update.images.iter().all(|image| workloads.allows(namespace, &image.tag.stream.namespace))
        });
        if !is_allowed || !update.images.iter().all(|image| is_known(&image)) {
            let rule = "the workload would get an image that its tags do not have".to_owned();
            forbidden.push((update.id, Wait::Refused { rule }));
        }
    }
    forbidden
}

/// Tags that a step takes away.
fn weight(step: &Step, live: &Live) -> usize {
    match &step.action {
        Action::DeleteTag { .. } => 1,
        Action::DeleteStream { stream } => live.streams.get(stream).map_or(1, |live| live.owned.tags.len().max(1)),
        Action::CreateStream { .. }
        | Action::UpdateStream { .. }
        | Action::SetTag { .. }
        | Action::Follow { .. }
        | Action::Import { .. } => 0,
    }
}

/// Whether what the step changes is managed by somebody else, or by nobody where it would be removed.
fn not_owned(step: &Step, live: &Live, policy: &Policy) -> Option<Wait> {
    let stream = live.streams.get(step.action.stream())?;
    let owned = &stream.owned;
    if let Some(source) = &owned.foreign.stream {
        return Some(managed_by(source));
    }
    if let Some(source) = owned.foreign.header.as_ref().filter(|_| matches!(step.action, Action::UpdateStream { .. })) {
        return Some(managed_by(source));
    }
    let nobody = |tag: &str| Wait::NotOwned { by: format!("the tag `{tag}` is not managed by this source") };
    let is_ours = |tag: &str| owned.tags.contains_key(tag) || owned.previous.contains_key(tag);
    for tag in step.action.tags() {
        if let Some(source) = owned.foreign.tags.get(tag) {
            return Some(managed_by(source));
        }
        if let Some(by) = owned.others.get(tag).filter(|_| !policy.force_conflicts) {
            return Some(Wait::NotOwned { by: by.clone() });
        }
        if step.action.is_removal() && !is_ours(tag) {
            return Some(nobody(tag));
        }
    }
    if let Action::DeleteStream { stream: id } = &step.action {
        if !owned.stream {
            return Some(Wait::NotOwned { by: format!("the stream `{id}` is not managed by this source") });
        }
        let stream = &stream.stream;
        let mut names =
            stream.spec.tags.iter().map(|tag| &tag.name).chain(stream.status.tags.iter().map(|list| &list.tag));
        return names.find(|name| !is_ours(name)).map(|name| nobody(name));
    }
    None
}

/// What a step imports, or names to be imported.
fn references(action: &Action) -> Vec<Question> {
    let namespace = &action.stream().namespace;
    let question = |from: &str, insecure: bool| Some(Question::new(namespace, &from.parse().ok()?, insecure));
    let of_tag = |tag: &TagReference| Question::of(namespace, tag);
    match action {
        Action::CreateStream { header, tags, .. } => {
            tags.iter().filter_map(of_tag).chain(question(&header.docker_image_repository, false)).collect()
        }
        Action::UpdateStream { after, .. } => question(&after.docker_image_repository, false).into_iter().collect(),
        Action::SetTag { after, .. } => of_tag(after).into_iter().collect(),
        Action::Import { images, repository, .. } => {
            let images = images.iter().filter_map(|item| question(&item.from, item.import_policy.insecure));
            images.chain(repository.iter().filter_map(|it| question(it, false))).collect()
        }
        Action::Follow { .. } | Action::DeleteTag { .. } | Action::DeleteStream { .. } => Vec::new(),
    }
}

/// Whether a tag has an image, now or after the plan.
fn is_image_of(plan: &Plan, live: &Live, image: &RollImage) -> bool {
    let moves: BTreeSet<(&str, Option<&String>)> = plan
        .steps
        .iter()
        .filter(|step| *step.action.stream() == image.tag.stream)
        .flat_map(|step| step.moves.iter().map(|Move { tag, after, .. }| (tag.as_str(), after.as_ref())))
        .collect();
    let head = live.streams.get(&image.tag.stream).and_then(|live| live.stream.head(&image.tag.tag));
    moves.contains(&(image.tag.tag.as_str(), Some(&image.after)))
        || head.is_some_and(|head| head.docker_image_reference == image.after)
}
