//! Workloads that follow tags where nobody else gives them their images: steps of ours.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{LiveWorkload, Manner, Plan, Reason, Roll, RollEffect, RollImage, StepId, TagId, Update};
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
    let mut moved: BTreeMap<TagId, Vec<StepId>> = BTreeMap::new();
    for step in &plan.steps {
        for change in &step.moves {
            moved.entry(step.action.stream().tag(&change.tag)).or_default().push(step.id);
        }
    }
    let mut sorted: Vec<&LiveWorkload> = workloads.iter().collect();
    sorted.sort_by(|one, other| one.id.cmp(&other.id));
    let (mut updates, mut rolls) = (Vec::new(), Vec::new());
    for workload in sorted {
        let Fires::Writes(writes) = rules::fires(workload, &after, Manner::Ours) else { continue };
        let theirs = writes.iter().find_map(|write| {
            let image = workload.images.iter().find(|image| image.name == write.container)?;
            Some((write.container.clone(), image.appliers.iter().find(|applier| *applier != manager)?.clone()))
        });
        if let Some((container, applier)) = theirs.filter(|_| !input.policy.force_conflicts) {
            let effect = RollEffect::Ignores { why: left_to(&container, &applier) };
            rolls.push(Roll { workload: workload.id.clone(), effect, images: Vec::new(), after: Vec::new() });
            continue;
        }
        let Some(first) = writes.first() else { continue };
        let steps: BTreeSet<StepId> =
            writes.iter().filter_map(|write| moved.get(&write.tag)).flatten().copied().collect();
        let reason = if steps.is_empty() {
            let fields = writes.iter().map(|write| format!("image of {}", write.container)).collect();
            Reason::Drifted { fields, by: None }
        } else {
            Reason::Follows { tag: first.tag.clone() }
        };
        let images: Vec<RollImage> = writes
            .into_iter()
            .map(|rules::Write { container, tag, before, after }| RollImage { container, tag, before, after })
            .collect();
        // Without a registry to stand in, `Local` cannot be kept to: the image's own is better than none.
        let number = plan.steps.len() + updates.len() + 1;
        let id = StepId(u32::try_from(number).unwrap_or(u32::MAX));
        let effect = super::rolls::effect(workload);
        rolls.push(Roll { workload: workload.id.clone(), effect, images: images.clone(), after: vec![id] });
        let (version, uid) = (workload.version.clone(), workload.uid.clone());
        let workload = workload.id.clone();
        updates.push(Update { id, workload, images, reason, version, uid, after: steps.into_iter().collect() });
    }
    (updates, rolls)
}

/// Why an image is left to another manager, with what ends the quarrel.
fn left_to(container: &str, applier: &str) -> String {
    let next = match applier {
        applier if applier.contains("argocd") => {
            "let Argo CD ignore it: `ignoreDifferences` with `jqPathExpressions: ['.spec.template.spec.containers[].image']`, and `RespectIgnoreDifferences=true`"
        }
        applier if applier.contains("kustomize-controller") || applier.contains("helm-controller") => {
            "leave the image out of what Flux applies, or annotate it with `kustomize.toolkit.fluxcd.io/ssa: IfNotPresent`"
        }
        _ => "leave it out there, or take it over with `--force-conflicts`",
    };
    format!("`{applier}` applies the image of `{container}`: {next}")
}
