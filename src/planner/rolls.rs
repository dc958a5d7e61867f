//! What a plan does to workloads: those that follow a tag that moves.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::ImageStream;
use crate::model::{
    Live, LiveStream, LiveWorkload, Manner, Plan, Roll, RollEffect, Rollout, Step, StepId, StreamId, TagId, WorkloadId,
};
use crate::rules::{self, AliasTarget, Fires, State, Streams, alias_target};

use super::PlanInput;

/// Whether any tag gets another image: only then is there anything to ask about workloads.
pub fn moves(plan: &Plan) -> bool {
    plan.steps.iter().any(|step| !step.moves.is_empty())
}

/// What the trigger controllers will do once the plan is carried out, by name of the workload.
pub fn rolls(input: &PlanInput<'_>, plan: &Plan, workloads: &[LiveWorkload]) -> Vec<Roll> {
    let after = After::of(input, plan);
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
    rolls.sort_by(|one, other| one.workload.cmp(&other.workload));
    rolls
}

/// What follows the tags that builds push to, and the tags that copy those: in second order, and so on.
fn behind_builds(rolls: &mut Vec<Roll>, workloads: &[LiveWorkload], after: &After<'_>) {
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
    after: &After<'_>,
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
                let next = spec.and_then(|spec| match alias_target(&tag.stream, spec)? {
                    AliasTarget::Own(name) => Some(tag.stream.tag(name)),
                    AliasTarget::Other(source) => Some(source),
                });
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

/// The streams as they will be.
pub(super) struct After<'a> {
    live: &'a BTreeMap<StreamId, LiveStream>,
    changed: BTreeMap<StreamId, Option<ImageStream>>,
}

impl<'a> After<'a> {
    /// The tags that copy each tag.
    fn aliases(&self) -> BTreeMap<TagId, BTreeSet<TagId>> {
        let ids: BTreeSet<&StreamId> = self.live.keys().chain(self.changed.keys()).collect();
        let mut aliases: BTreeMap<TagId, BTreeSet<TagId>> = BTreeMap::new();
        for id in ids {
            for tag in self.stream(id).into_iter().flat_map(|stream| &stream.spec.tags) {
                let source = match alias_target(id, tag) {
                    Some(AliasTarget::Own(name)) => id.tag(name),
                    Some(AliasTarget::Other(source)) => source,
                    None => continue,
                };
                aliases.entry(source).or_default().insert(id.tag(&tag.name));
            }
        }
        aliases
    }

    pub(super) fn of(input: &PlanInput<'a>, plan: &Plan) -> Self {
        let Live { streams: live, observed_at, .. } = input.live;
        let mut after = Self { live, changed: BTreeMap::new() };
        for Step { action, .. } in &plan.steps {
            let id = action.stream();
            let state = State { id, stream: after.stream(id), others: &after, server: input.server };
            // What the rules refuse is in no plan.
            if let Ok(effect) = rules::perform(state, action, *observed_at) {
                after.changed.insert(id.clone(), effect.stream);
            }
        }
        after
    }
}

impl Streams for After<'_> {
    fn stream(&self, id: &StreamId) -> Option<&ImageStream> {
        match self.changed.get(id) {
            Some(changed) => changed.as_ref(),
            None => self.live.get(id).map(|live| &live.stream),
        }
    }
}
