//! Workloads that follow tags where nobody else gives them their images: steps of ours.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{LiveWorkload, Manner, Plan, Reason, Roll, RollEffect, RollImage, StepId, StreamId, TagId, Update};
use crate::rules::{self, Fires};

use super::PlanInput;
use super::rolls::After;

/// What workloads get, and what becomes of them. An image that another manager applies is left to it, and told.
pub fn updates(
    input: &PlanInput<'_>,
    plan: &Plan,
    workloads: &[LiveWorkload],
    manager: &str,
) -> (Vec<Update>, Vec<Roll>) {
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
                if tags.iter().any(|tag| is_ours(input, tag)) {
                    rolls.push(told(why));
                }
                continue;
            }
        };
        // What follows the tags of another source is for whoever keeps that.
        let ours = writes.into_iter().filter(|write| is_ours(input, &write.tag));
        let applier = |write: &RollImage| {
            let image = workload.images.iter().find(|image| image.name == write.container)?;
            let is_mine = image.appliers.iter().any(|applier| applier == manager) || input.policy.force_conflicts;
            image.appliers.first().filter(|_| !is_mine).cloned()
        };
        let (theirs, writes): (Vec<_>, Vec<_>) = ours.partition(|write| applier(write).is_some());
        if let Some((write, applier)) = theirs.iter().find_map(|write| Some((write, applier(write)?))) {
            rolls.push(told(left_to(&write.container, &applier)));
        }
        let Some(first) = writes.first() else { continue };
        let steps: BTreeSet<StepId> = writes.iter().filter_map(|write| last.get(&write.tag.stream)).copied().collect();
        let reason = if steps.is_empty() {
            let fields = writes.iter().map(|write| format!("image of {}", write.container)).collect();
            Reason::Drifted { fields, by: None }
        } else {
            Reason::Follows { tag: first.tag.clone() }
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
