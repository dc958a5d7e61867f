//! Workloads that follow tags where nobody else gives them their images: steps of ours.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    Drift, LiveWorkload, Manner, Observed, Plan, Reason, Roll, RollEffect, RollImage, StepId, Update, WorkloadPolicy,
};
use crate::openshift::{StreamId, TagId};
use crate::rules::{self, Fires, Streams};

use super::input::PlanInput;
use super::predicted::{ChangedStreams, PredictedStreams};
use super::streams::left_alone;

/// What workloads get, and what becomes of them. An image that another manager applies is left to it, and told.
pub fn updates(
    input: &PlanInput<'_>,
    (plan, changed): (&Plan, &ChangedStreams),
    workloads: &[LiveWorkload],
    policy: &WorkloadPolicy,
) -> (Vec<Update>, Vec<Roll>) {
    let manager = &policy.manager;
    let after = PredictedStreams::after(&input.live.streams, changed);
    // The last step on each stream: what its tags resolve to may hang on any of them.
    let last: BTreeMap<&StreamId, StepId> = plan.steps.iter().map(|step| (step.action.stream(), step.id)).collect();
    let mut sorted: Vec<&LiveWorkload> = workloads.iter().collect();
    sorted.sort_by(|one, other| one.id.cmp(&other.id));
    let (mut updates, mut rolls) = (Vec::new(), Vec::new());
    for workload in sorted {
        let told = |why: String| {
            let effect = RollEffect::Ignores { why };
            Roll::new(workload, effect)
        };
        let writes = match rules::fires(workload, &after, Manner::Ours) {
            Fires::Writes(writes) => writes,
            Fires::Builds(_) => continue,
            Fires::Never { why, tags } => {
                // Of a stream that this source keeps, also a tag that it does not have. What could not be looked at is told
                // elsewhere: that it has no image is not known.
                let known = |tag: &TagId| {
                    let listed = input.live.listed.get(&tag.stream.namespace);
                    after.stream(&tag.stream).is_some() || matches!(listed, Some(Observed::Known(())))
                };
                let ours = |tag: &TagId| is_ours(input, tag) || input.desired.streams.contains_key(&tag.stream);
                if tags.iter().any(ours) && tags.iter().all(known) {
                    rolls.push(told(why));
                }
                continue;
            }
        };
        // What follows the tags of another source is for whoever keeps that.
        let ours = writes.into_iter().filter(|write| is_ours(input, &write.tag));
        let namespace = &workload.id.namespace;
        let (ours, strange): (Vec<_>, Vec<_>) =
            ours.partition(|write| policy.allows(namespace, &write.tag.stream.namespace));
        if let Some(write) = strange.first() {
            rolls.push(told(format!(
                "it follows `{}` of another namespace: `policy.workloads.shared` in the config does not name `{}`",
                write.tag, write.tag.stream.namespace
            )));
        }
        let applier = |write: &RollImage| {
            let image = workload.images.iter().find(|image| image.name == write.container)?;
            let is_mine = image.appliers.contains(manager) || input.policy.force_conflicts;
            image.appliers.first().filter(|_| !is_mine).cloned()
        };
        let suspended = ["*", namespace.as_str()].iter().any(|name| input.policy.suspended.contains(*name));
        let suspended = suspended.then(|| "`policy.suspend` in the config".to_owned());
        // A stream that is left as it is, is so for those that follow it.
        let left_alone = || ours.iter().find_map(|write| left_alone(input, &write.tag.stream));
        let held = input.state.frozen.clone().or(suspended).or_else(left_alone);
        if let (Some(by), Some(_)) = (held, ours.first()) {
            rolls.push(told(format!("it waits: {by}")));
            continue;
        }
        let (theirs, writes): (Vec<_>, Vec<_>) = ours.into_iter().partition(|write| applier(write).is_some());
        if let Some((write, applier)) = theirs.iter().find_map(|write| Some((write, applier(write)?))) {
            rolls.push(told(left_to(&write.container, &applier)));
        }
        // Only what moves the tag is behind its image; what else a step does to the stream is not.
        let moves = |tag: &TagId| rules::image(tag, &input.live.streams) != rules::image(tag, &after);
        let behind = |write: &RollImage| last.get(&write.tag.stream).copied().filter(|_| moves(&write.tag));
        let edited = |write: &RollImage| behind(write).is_none() && is_edit(workload, write, manager);
        let (edits, mut writes): (Vec<_>, Vec<_>) = writes.into_iter().partition(edited);
        match policy.drift {
            Drift::Heal => writes.extend(edits.iter().cloned()),
            Drift::Report => rolls.extend(edits.iter().map(|edit| {
                told(format!(
                    "somebody has set the image of `{}` to {}; `policy.workloads.drift` is `report`, so it stays",
                    edit.container,
                    edit.before.as_deref().unwrap_or("nothing")
                ))
            })),
        }
        let steps: BTreeSet<StepId> = writes.iter().filter_map(behind).collect();
        let Some(first) = writes.first() else { continue };
        let conflict = input.state.conflicts.get(&workload.id.to_string());
        if let Some(conflict) = conflict.filter(|conflict| conflict.wanted == wanted(&writes)) {
            rolls.push(told(format!("it waits: {}", conflict.why)));
            continue;
        }
        let reason = if edits.is_empty() || policy.drift == Drift::Report {
            Reason::Follows { tag: first.tag.clone() }
        } else {
            let fields = edits.iter().map(|write| format!("image of {}", write.container)).collect();
            Reason::Drifted { fields, by: None }
        };
        let number = plan.steps.len() + updates.len() + 1;
        let id = StepId(u32::try_from(number).unwrap_or(u32::MAX));
        let effect = super::rolls::effect(workload);
        rolls.push(Roll { images: writes.clone(), after: vec![id], ..Roll::new(workload, effect) });
        let (uid, workload) = (workload.uid.clone(), workload.id.clone());
        updates.push(Update { id, workload, images: writes, reason, uid, after: steps.into_iter().collect() });
    }
    super::rolls::losing(plan, workloads, &mut rolls);
    (updates, rolls)
}

/// What a workload is given, in a line: what a conflict is about.
pub fn wanted(images: &[RollImage]) -> String {
    let images: Vec<&str> = images.iter().map(|image| image.after.as_str()).collect();
    images.join(" ")
}

/// Whether we have given the image, and somebody else has put another one there: then server-side apply has taken the field
/// from us, and left us the container.
fn is_edit(workload: &LiveWorkload, write: &RollImage, manager: &String) -> bool {
    let image = workload.images.iter().find(|image| image.name == write.container);
    image.is_some_and(|image| image.lost_by.contains(manager))
}

/// Whether a tag is one that this source keeps.
fn is_ours(input: &PlanInput<'_>, tag: &TagId) -> bool {
    let desired = input.desired.streams.get(&tag.stream);
    let live = input.live.streams.get(&tag.stream);
    desired.is_some_and(|stream| stream.tags.contains_key(&tag.tag) || !stream.docker_image_repository.is_empty())
        || live.is_some_and(|live| live.owned.tags.contains_key(&tag.tag))
}

/// Why an image is left to another manager, with what ends the conflict.
fn left_to(container: &str, applier: &str) -> String {
    let next = match applier {
        applier if applier.contains("argocd") => {
            "take it over with `--force-conflicts`, and let Argo CD ignore it: `ignoreDifferences` with `jqPathExpressions: ['.spec.template.spec.containers[].image']`, and the sync option `RespectIgnoreDifferences=true`"
        }
        applier if applier.contains("kustomize-controller") || applier.contains("helm-controller") => {
            "leave the image out of what Flux applies, or annotate it with `kustomize.toolkit.fluxcd.io/ssa: IfNotPresent`"
        }
        _ => "leave it out there, or take it over with `--force-conflicts`",
    };
    format!("`{applier}` applies the image of `{container}`: {next}")
}
