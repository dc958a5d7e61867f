//! `apply`: plan, ask, and carry it out.

use std::collections::BTreeMap;

use crate::cli::args::{Apply, Args};
use crate::cli::console::Console;
use crate::cli::failure::{Exit, Failure};
use crate::cli::opener::Flags;
use crate::cli::process::runtime;
use crate::cli::saved_plan::expect;
use crate::cli::{execute, output};
use crate::ports::{LiveState, TargetKind};
use crate::reconcile::ReviewOptions;

pub(in crate::cli) fn run(args: &Args, command: &Apply, console: &Console) -> Result<Exit, Failure> {
    if let Some(path) = &command.plan {
        return super::apply_saved::run(args, command, path, console);
    }
    if command.write_workloads {
        super::write_workloads::folder(args)?;
    }
    let flags = Flags::planning(args, &command.planning, console);
    runtime()?.block_on(apply(&flags, command, console))
}

async fn apply(flags: &Flags, command: &Apply, console: &Console) -> Result<Exit, Failure> {
    let session = flags.session(console);
    let opened = session.open()?;
    let listed = opened.list([], (session.clock)())?;
    let live = session.target(&opened.settings).await?;
    if command.write_workloads && live.kind() != TargetKind::Store {
        let message = "`--write-workloads` is for the store: on a cluster workloads get their images there";
        return Err(Failure::usage(message));
    }
    let memory = session.memory(&opened.settings, &live);
    let connected = session.connected(&opened.settings, &live, &memory);
    let read = listed.read(&*memory, console)?;
    output::findings(&*opened.source, &opened.settings, &read, console)?;
    output::nothing_defined(&read, console);
    let mut planned = connected.plan(&read, &connected.request()?, None).await?;
    if let Some(expected) = &command.expect {
        expect(&planned.plan, expected)?;
        planned.plan = planned.plan.reviewable();
    } else if !command.yes {
        // A user who is asked sees what the plan means.
        planned = connected.review(planned, &read, ReviewOptions::default()).await?.planned;
    }
    output::tally(&planned.tally(), console);
    output::show(&planned.plan, command.format, console);
    // What was named by its id was seen before.
    let is_agreed = command.yes || command.expect.is_some();
    if !planned.plan.is_empty() && !console.confirm("Carry it out?", is_agreed, "apply")? {
        console.say("Nothing was changed.");
        return Ok(Exit::Refused);
    }
    let mut exit = execute::execute(&connected, &planned.plan, &BTreeMap::new(), command, console).await?;
    live.live.show_warnings(console);
    if command.write_workloads {
        let written = super::write_workloads::run(&flags.args, command, &opened.settings, &read, console).await?;
        exit = if exit == Exit::Done { written } else { exit };
    }
    Ok(if exit == Exit::Done && output::stops(&read, false, console) { Exit::Partial } else { exit })
}
