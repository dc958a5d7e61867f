//! `apply PLAN`: carries out what a file says, and nothing else.

use std::path::Path;

use crate::adapters::store::NEW_STORE;
use crate::cli::args::{Apply, Args};
use crate::cli::console::Console;
use crate::cli::failure::{Exit, Failure};
use crate::cli::opener::Flags;
use crate::cli::process::{now, runtime};
use crate::cli::{execute, plan_file, settings};
use crate::model::Plan;
use crate::ports::{LiveState, TargetKind};
use crate::reconcile::{Settings, stale_steps};
use crate::render;
use crate::source::inert;

pub(super) fn run(args: &Args, command: &Apply, path: &Path, console: &Console) -> Result<Exit, Failure> {
    let plan = plan_file::load(path)?;
    let flags = Flags::planning(args, &command.planning, console);
    let mut settings = settings::load(args, &flags.options)?;
    if plan.inputs.as_ref().is_some_and(|inputs| Some(&inputs.config) != settings.fingerprint().as_ref()) {
        console.say("the config is another one than when the plan was made; exactly the plan is done all the same");
    }
    // As the field manager that the plan was made as: the config that said so may be in a revision.
    let manager = plan.target.rsplit_once(" as ").map(|(_, manager)| manager.to_owned());
    settings.config.field_manager = settings.config.field_manager.or(manager);
    runtime()?.block_on(apply(&flags, &settings, &plan, command, console))
}

async fn apply(
    flags: &Flags,
    settings: &Settings,
    plan: &Plan,
    command: &Apply,
    console: &Console,
) -> Result<Exit, Failure> {
    let session = flags.session(console);
    // Looked at before it is opened to write: a plan for another store leaves nothing behind in this one.
    let live = session.target(settings).await?;
    let identity = live.identity();
    // A plan made before there was a store relies on there being no streams, which its steps check themselves.
    let is_new = live.kind() == TargetKind::Store && plan.target == NEW_STORE;
    if plan.target != identity && !is_new {
        let message = format!("the plan is for `{}`, and this is `{identity}`", inert(&plan.target, 200));
        return Err(Failure::refused(message)
            .hint("name the target it was made for, with `--store`, or `--target` and `--context`"));
    }
    if let Some((freeze, until)) = settings.config.frozen(now()).filter(|_| !settings.options.ignore_freeze) {
        let message = format!("nothing is changed until {until}: {freeze}");
        return Err(Failure::refused(message).hint("`--ignore-freeze` changes things all the same"));
    }
    if command.all_or_nothing {
        let stale = stale_steps(plan, &live).await?;
        for it in &stale {
            let why = if it.is_known { "it is not so any more" } else { "whether it is so cannot be said" };
            let (stream, planned) = (inert(&it.stream.to_string(), 300), render::planned_for(&it.precondition));
            console.say(&format!("{} on {stream}: {planned}, and {why}", it.step));
        }
        if !stale.is_empty() {
            console.say("Nothing was changed: a part of the plan is stale.");
            return Ok(Exit::Stale);
        }
    }
    let memory = session.memory(settings, &live);
    let connected = session.connected(settings, &live, &memory);
    let exit = execute::execute(&connected, plan, command, console).await;
    live.live.show_warnings(console);
    exit
}
