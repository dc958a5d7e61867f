//! What a plan does to workloads: those that follow a tag that moves.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Live, LiveWorkload, Manner, Plan, Roll, RollEffect, Rollout, StepId, WorkloadId};
use crate::openshift::{StreamId, TagId, alias_target};
use crate::rules::{self, Fires};

use super::input::PlanInput;
use super::predicted::{ChangedStreams, PredictedStreams};

/// Whether any tag gets another image, or goes: only then is there anything to ask about workloads.
pub fn moves(plan: &Plan) -> bool {
    plan.steps.iter().any(|step| !step.moves.is_empty() || step.action.is_removal())
}

/// The workloads that use a tag that is removed, and are not told of yet.
pub(super) fn losing(plan: &Plan, workloads: &[LiveWorkload], rolls: &mut Vec<Roll>) {
    let goes = |tag: &TagId| plan.steps.iter().find(|step| step.action.removes(tag)).map(|step| step.id);
    for workload in workloads {
        let used: BTreeSet<TagId> = workload.tags().into_iter().chain(workload.uses.iter().cloned()).collect();
        let gone: Vec<(TagId, StepId)> = used.into_iter().filter_map(|tag| Some((tag.clone(), goes(&tag)?))).collect();
        let is_told =
            |roll: &Roll| roll.workload == workload.id && gone.iter().any(|(tag, _)| roll.follows.contains(tag));
        if gone.is_empty() || rolls.iter().any(is_told) {
            continue;
        }
        let after: BTreeSet<StepId> = gone.iter().map(|(_, step)| *step).collect();
        let follows = gone.into_iter().map(|(tag, _)| tag).collect();
        rolls.push(Roll { follows, after: after.into_iter().collect(), ..Roll::new(workload, RollEffect::Loses) });
    }
}

/// What the trigger controllers will do once the plan is carried out, by name of the workload.
pub fn rolls(input: &PlanInput<'_>, plan: &Plan, changed: &ChangedStreams, workloads: &[LiveWorkload]) -> Vec<Roll> {
    let after = PredictedStreams::after(&input.live.streams, changed);
    let mut moved: BTreeMap<TagId, Vec<StepId>> = BTreeMap::new();
    for step in &plan.steps {
        for change in &step.moves {
            moved.entry(step.action.stream().tag(&change.tag)).or_default().push(step.id);
        }
    }
    let streams: BTreeSet<&StreamId> = plan.steps.iter().map(|step| step.action.stream()).collect();
    let mut rolls: Vec<Roll> =
        workloads.iter().filter_map(|workload| roll(workload, &after, &moved, &streams)).collect();
    behind_builds(&mut rolls, workloads, &after);
    losing(plan, workloads, &mut rolls);
    rolls.sort_by(|one, other| one.workload.cmp(&other.workload));
    rolls
}

/// What follows the tags that builds push to, and the tags that copy those: in second order, and so on.
fn behind_builds(rolls: &mut Vec<Roll>, workloads: &[LiveWorkload], after: &PredictedStreams<'_>) {
    let by_id: BTreeMap<&WorkloadId, &LiveWorkload> =
        workloads.iter().map(|workload| (&workload.id, workload)).collect();
    let aliases = after.aliases();
    let builds = rolls.iter().filter(|roll| roll.effect == RollEffect::Builds);
    let mut open: Vec<(WorkloadId, Vec<StepId>)> =
        builds.map(|roll| (roll.workload.clone(), roll.after.clone())).collect();
    let mut known: BTreeSet<WorkloadId> = rolls.iter().map(|roll| roll.workload.clone()).collect();
    while let Some((build, steps)) = open.pop() {
        let Some(output) = by_id.get(&build).and_then(|workload| workload.output.clone()) else { continue };
        let mut tags = BTreeSet::from([output]);
        // Aliases of aliases as well: each round finds more, or it ends.
        loop {
            let more: Vec<TagId> = tags.iter().flat_map(|tag| aliases.get(tag)).flatten().cloned().collect();
            let before = tags.len();
            tags.extend(more);
            if tags.len() == before {
                break;
            }
        }
        for workload in workloads.iter().filter(|workload| workload.tags().iter().any(|tag| tags.contains(tag))) {
            if !known.insert(workload.id.clone()) {
                continue;
            }
            let effect = RollEffect::AfterBuild { build: build.clone() };
            rolls.push(Roll { after: steps.clone(), ..Roll::new(workload, effect) });
            open.push((workload.id.clone(), steps.clone()));
        }
    }
}

fn roll(
    workload: &LiveWorkload,
    after: &PredictedStreams<'_>,
    moved: &BTreeMap<TagId, Vec<StepId>>,
    streams: &BTreeSet<&StreamId>,
) -> Option<Roll> {
    let (writes, builds) = match rules::fires(workload, after, Manner::OpenShift) {
        Fires::Writes(writes) => (writes, false),
        Fires::Builds(writes) => (writes, true),
        Fires::Never { why, tags } => {
            let namespace = &workload.id.namespace;
            let concerned = tags.iter().any(|tag| streams.contains(&tag.stream))
                || (tags.is_empty() && streams.iter().any(|stream| stream.namespace == *namespace));
            let effect = RollEffect::Ignores { why };
            return concerned.then(|| Roll::new(workload, effect));
        }
    };
    let ours: Vec<_> = writes.into_iter().filter(|write| moved.contains_key(&write.tag)).collect();
    if ours.is_empty() {
        return None;
    }
    let steps: BTreeSet<StepId> = ours.iter().flat_map(|write| moved[&write.tag].iter().copied()).collect();
    let effect = if builds { RollEffect::Builds } else { effect(workload) };
    Some(Roll { images: ours, after: steps.into_iter().collect(), ..Roll::new(workload, effect) })
}

/// Tags whose image some workload that follows them does not roll out with.
pub fn failing(workloads: &[LiveWorkload], live: &Live) -> BTreeMap<TagId, (WorkloadId, String)> {
    let mut failing = BTreeMap::new();
    for workload in workloads {
        let Rollout::Failed(why) = &workload.rollout else { continue };
        for mut tag in rules::runs(workload, &live.streams) {
            // What it copies has the same image: moving that would move it.
            while !failing.contains_key(&tag) {
                let spec = live.streams.get(&tag.stream).and_then(|live| live.stream.spec_tag(&tag.tag));
                let next = spec.and_then(|spec| alias_target(&tag.stream, spec));
                failing.insert(tag, (workload.id.clone(), why.clone()));
                let Some(next) = next else { break };
                tag = next;
            }
        }
    }
    failing
}

/// What a new image does to a workload.
pub(super) fn effect(workload: &LiveWorkload) -> RollEffect {
    match &workload.rollout {
        // Its container is started again, with the new one.
        Rollout::None if workload.id.kind == "Pod" => RollEffect::RollsOut,
        Rollout::Paused => RollEffect::Waits { why: "it is paused".to_owned() },
        Rollout::None if workload.id.kind == "CronJob" => RollEffect::Waits { why: "its next run uses it".to_owned() },
        Rollout::None => RollEffect::Waits { why: "its pods are replaced when they are deleted".to_owned() },
        Rollout::Complete | Rollout::Progressing(_) | Rollout::Failed(_) => RollEffect::RollsOut,
    }
}
