//! Workloads that follow tags where nobody else gives them their images: steps of ours.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    Drift, LiveWorkload, Manner, Plan, Reason, Roll, RollEffect, RollImage, StepId, StreamId, TagId, Update,
    WorkloadPolicy,
};
use crate::rules::{self, Fires};

use super::PlanInput;
use super::rolls::After;

/// What workloads get, and what becomes of them. An image that another manager applies is left to it, and told.
pub fn updates(
    input: &PlanInput<'_>,
    plan: &Plan,
    workloads: &[LiveWorkload],
    policy: &WorkloadPolicy,
) -> (Vec<Update>, Vec<Roll>) {
    let manager = &policy.manager;
    let after = After::of(input, plan);
    // The last step on each stream: what its tags resolve to may hang on any of them.
    let last: BTreeMap<&StreamId, StepId> = plan.steps.iter().map(|step| (step.action.stream(), step.id)).collect();
    let mut sorted: Vec<&LiveWorkload> = workloads.iter().collect();
    sorted.sort_by(|one, other| one.id.cmp(&other.id));
    let (mut updates, mut rolls) = (Vec::new(), Vec::new());
    for workload in sorted {
        let told = |why: String| {
            let effect = RollEffect::Ignores { why };
            Roll { workload: workload.id.clone(), effect, images: Vec::new(), after: Vec::new() }
        };
        let writes = match rules::fires(workload, &after, Manner::Ours) {
            Fires::Writes(writes) => writes,
            Fires::Builds(_) => continue,
            Fires::Never { why, tags } => {
                // Of a stream that this source keeps, also a tag that it does not have.
                let ours = |tag: &TagId| is_ours(input, tag) || input.desired.streams.contains_key(&tag.stream);
                if tags.iter().any(ours) {
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
        let (theirs, writes): (Vec<_>, Vec<_>) = ours.into_iter().partition(|write| applier(write).is_some());
        if let Some((write, applier)) = theirs.iter().find_map(|write| Some((write, applier(write)?))) {
            rolls.push(told(left_to(&write.container, &applier)));
        }
        let steps: BTreeSet<StepId> = writes.iter().filter_map(|write| last.get(&write.tag.stream)).copied().collect();
        let edited = |write: &&RollImage| steps.is_empty() && is_edit(input, workload, write);
        let edits: Vec<&RollImage> = writes.iter().filter(edited).collect();
        if let (Some(edit), Drift::Report) = (edits.first(), policy.drift) {
            rolls.push(told(format!(
                "somebody has set the image of `{}` to {}; `policy.workloads.drift` is `report`, so it stays",
                edit.container,
                edit.before.as_deref().unwrap_or("nothing")
            )));
            continue;
        }
        let Some(first) = writes.first() else { continue };
        let reason = if edits.is_empty() {
            Reason::Follows { tag: first.tag.clone() }
        } else {
            let fields = edits.iter().map(|write| format!("image of {}", write.container)).collect();
            Reason::Drifted { fields, by: None }
        };
        let number = plan.steps.len() + updates.len() + 1;
        let id = StepId(u32::try_from(number).unwrap_or(u32::MAX));
        let effect = super::rolls::effect(workload);
        rolls.push(Roll { workload: workload.id.clone(), effect, images: writes.clone(), after: vec![id] });
        let (uid, workload) = (workload.uid.clone(), workload.id.clone());
        updates.push(Update { id, workload, images: writes, reason, uid, after: steps.into_iter().collect() });
    }
    (updates, rolls)
}

/// Whether somebody has put an image there that is none of the tag's own: not one that it had before, and not what a new
/// workload comes with.
fn is_edit(input: &PlanInput<'_>, workload: &LiveWorkload, write: &RollImage) -> bool {
    let before = write.before.as_deref().unwrap_or_default();
    let lists = input.live.streams.get(&write.tag.stream).map_or(&[][..], |live| &live.stream.status.tags);
    let of_tag = lists.iter().filter(|list| list.tag == write.tag.tag).flat_map(|list| &list.items);
    let was_its = || of_tag.map(|item| &item.image).any(|image| !image.is_empty() && before.ends_with(image.as_str()));
    // Its definition may leave the image out, in one of the ways in circulation, or name the tag.
    let is_open = before.trim().is_empty() || (workload.looks_up && !before.contains(['/', '@']));
    !workload.is_new && !is_open && !was_its()
}

/// Whether a tag is one that this source keeps.
fn is_ours(input: &PlanInput<'_>, tag: &TagId) -> bool {
    let desired = input.desired.streams.get(&tag.stream);
    let live = input.live.streams.get(&tag.stream);
    desired.is_some_and(|stream| stream.tags.contains_key(&tag.tag) || !stream.docker_image_repository.is_empty())
        || live.is_some_and(|live| live.owned.tags.contains_key(&tag.tag))
}

/// Why an image is left to another manager, with what ends the quarrel.
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
