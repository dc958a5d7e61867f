//! Looking whether the target's own controllers do what the plan has predicted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::model::{
    Backoff, Followed, Following, LiveWorkload, Outcome, Plan, Report, Roll, RollEffect, Rollout, StepId, Triggers,
    WorkloadId,
};
use crate::ports::{LiveState, Progress, Which, Workloads};

/// Between two looks; the first come sooner.
const PAUSE: Backoff = Backoff::doubling(Duration::from_millis(200), Duration::from_secs(2));

/// How long to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// At most so long.
    pub limit: Duration,
    /// Until roll-outs have ended; otherwise until images are where the plan says.
    pub to_the_end: bool,
}

/// Looks at the workloads that should follow until they do, or patience ends. One entry for each that was to.
pub async fn follow(
    plan: &Plan,
    report: &Report,
    live: &impl LiveState,
    patience: Patience,
    clock: impl Fn() -> Timestamp,
    (stop, progress): (&CancellationToken, &impl Progress),
) -> Vec<Followed> {
    let mut results: BTreeMap<&WorkloadId, Following> = BTreeMap::new();
    let mut open: BTreeMap<&WorkloadId, &Roll> = BTreeMap::new();
    // What follows by the definitions alone is nowhere to be looked at.
    let rolls = if live.has_workloads() { &plan.rolls[..] } else { &[] };
    let gets_none = |roll: &Roll| {
        matches!(roll.effect, RollEffect::Ignores { .. } | RollEffect::AfterBuild { .. } | RollEffect::Loses)
    };
    for roll in rolls.iter().filter(|roll| !gets_none(roll)) {
        match failed(report, roll) {
            Some(behind) => drop(results.insert(&roll.workload, Following::NotTried { behind })),
            None => drop(open.insert(&roll.workload, roll)),
        }
    }
    let total = open.len();
    if total > 0 {
        progress.begin("workloads follow", total);
    }
    let started = clock();
    let mut looks = 0;
    while !open.is_empty() {
        let ids: BTreeSet<WorkloadId> = open.keys().map(|id| (*id).clone()).collect();
        let Workloads { seen, unseen } = live.workloads(Which::These(&ids)).await;
        let seen: BTreeMap<&WorkloadId, &LiveWorkload> = seen.iter().map(|workload| (&workload.id, workload)).collect();
        let waited = clock().duration_since(started).unsigned_abs();
        open.retain(|id, roll| {
            let now = match (seen.get(id), unseen.first()) {
                (Some(workload), _) => judge(workload, roll, patience.to_the_end),
                // Nobody says that it is gone as long as something could not be looked at.
                (None, Some(ignorance)) => Following::Unknown(ignorance.clone()),
                (None, None) => Following::Gone,
            };
            let is_open =
                matches!(now, Following::Unfinished { .. } | Following::Behind { .. } | Following::Unknown(_));
            let ends = !is_open || waited >= patience.limit || stop.is_cancelled();
            results.insert(*id, now);
            if ends {
                progress.advance(1);
            }
            !ends
        });
        if !open.is_empty() {
            tokio::select! {
                () = tokio::time::sleep(PAUSE.after(looks)) => {}
                () = stop.cancelled() => {}
            }
            looks += 1;
        }
    }
    if total > 0 {
        progress.end();
    }
    results.into_iter().map(|(workload, following)| Followed { workload: workload.clone(), following }).collect()
}

/// The first step behind a workload's images that has not done what was planned.
fn failed(report: &Report, roll: &Roll) -> Option<StepId> {
    roll.after.iter().find(|step| !report.outcomes.get(step).is_some_and(Outcome::is_success)).copied()
}

fn judge(workload: &LiveWorkload, roll: &Roll, to_the_end: bool) -> Following {
    if let Triggers::BuildConfig(triggers) = &workload.triggers {
        let behind = roll.images.iter().find_map(|image| {
            let trigger = triggers.iter().find(|trigger| trigger.tag == image.tag)?;
            (trigger.fired != image.after).then(|| (image, trigger.fired.clone()))
        });
        return match behind {
            Some((image, actual)) => {
                Following::Behind { container: String::new(), expected: image.after.clone(), actual }
            }
            None => Following::Builds,
        };
    }
    for image in &roll.images {
        let is = workload.images.iter().find(|is| is.name == image.container);
        let actual = is.map(|is| is.image.clone()).unwrap_or_default();
        if actual != image.after {
            let (container, expected) = (image.container.clone(), image.after.clone());
            return Following::Behind { container, expected, actual };
        }
    }
    match &workload.rollout {
        Rollout::Complete if to_the_end => Following::RolledOut,
        Rollout::Failed(why) if to_the_end => Following::Failed { why: why.clone() },
        Rollout::Progressing(why) if to_the_end => Following::Unfinished { why: why.clone() },
        _ => Following::HasImage,
    }
}
