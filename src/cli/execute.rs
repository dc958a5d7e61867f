//! Carrying out a plan for one command: with its report, and an exit code for what became of it.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::model::{Cause, OTHER_NAMESPACES, Outcome, Plan, Report, StepId};
use crate::ports::LiveState;
use crate::reconcile::{Connected, Patience};
use crate::render;

use super::args::Apply;
use super::console::Console;
use super::failure::{Exit, Failure};
use super::opener::Flags;
use super::{output, signals};

/// How long controllers have to give workloads the images of tags that they use: on an idle cluster it is done in a second.
const IMAGES: Duration = Duration::from_secs(10);

/// Carries a plan out, prints the report and gives the exit code. Of steps that are `decided` it is known what has become.
pub(super) async fn execute(
    connected: &Connected<'_, '_, Flags, Console>,
    plan: &Plan,
    decided: &BTreeMap<StepId, Outcome>,
    command: &Apply,
    console: &Console,
) -> Result<Exit, Failure> {
    let verified = if plan.is_empty() {
        connected.nothing_to_execute(plan)
    } else {
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        tokio::spawn(signals::listen(false, move |_| stopping.cancel()));
        let writer = connected.writer().await?;
        let executed = connected.execute(plan, decided, &writer, &stop).await?;
        let limit = command.wait.map_or(IMAGES, |wait| wait.duration().unsigned_abs());
        let patience = Patience { limit, to_the_end: command.wait.is_some() };
        connected.verify(executed, patience, &stop).await
    };
    let report = &verified.report;
    output::report(plan, report, command.format, console)?;
    let follows = report.workloads.iter().all(|followed| followed.following.is_good());
    let exit = match exit(plan, report) {
        // With `--wait` roll-outs count; without it they are left to their controllers.
        Exit::Done if command.wait.is_some() && !follows => Exit::Partial,
        // Where plans update workloads, those that could not be looked at are left undone.
        Exit::Done if connected.live.kind().updates_workloads() && !reachable_seen(plan) => Exit::Partial,
        exit => exit,
    };
    if exit != Exit::Done {
        console.because(&render::summary_line(plan, report));
    }
    Ok(exit)
}

/// Whether all workloads were looked at that this account is there for.
fn reachable_seen(plan: &Plan) -> bool {
    plan.unseen.iter().all(|unseen| unseen.cause == Cause::Forbidden && unseen.asked == OTHER_NAMESPACES)
}

fn exit(plan: &Plan, report: &Report) -> Exit {
    let total = report.outcomes.len();
    let good = report.count(Outcome::is_success);
    let stale = report.count(|outcome| matches!(outcome, Outcome::Stale { .. }));
    let behind_stale = report.count(|outcome| matches!(outcome, Outcome::Skipped { behind: Some(_) }));
    if total > 0 && stale > 0 && stale + behind_stale == total {
        Exit::Stale
    } else if total > 0 && good == 0 && report.count(|outcome| matches!(outcome, Outcome::Failed { .. })) > 0 {
        Exit::Failed
    } else if good < total
        || !plan.is_complete()
        || plan.steps.iter().any(|step| step.action.failed_imports().next().is_some())
    {
        Exit::Partial
    } else {
        Exit::Done
    }
}
