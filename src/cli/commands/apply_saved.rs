//! `apply PLAN`: carries out the steps of a file that its definitions, the target and policy give today, and nothing else.
//!
//! The field manager, the config and what is imported are those of this command; a file decides none of them.

use std::path::Path;
use std::sync::Arc;

use crate::adapters::store::NEW_STORE;
use crate::cli::args::{Apply, Args};
use crate::cli::console::Console;
use crate::cli::failure::{Exit, Failure};
use crate::cli::opener::Flags;
use crate::cli::process::{now, runtime};
use crate::cli::saved_plan::{Sources, hold, open, refuse, stop};
use crate::cli::{execute, plan_file, settings};
use crate::model::Plan;
use crate::ports::{LiveState, TargetKind};
use crate::reconcile::{HeldPlan, Settings, answers};
use crate::source::inert;

pub(super) fn run(args: &Args, command: &Apply, path: &Path, console: &Console) -> Result<Exit, Failure> {
    let plan = plan_file::load(path)?;
    let mut flags = Flags::planning(args, &command.planning, console);
    if let Some(key) = &command.key_file {
        plan_file::check(&plan, path, key)?;
        flags.digests = Arc::new(answers(&plan));
    }
    let opened = open(&flags, &plan, command)?;
    let settings = match &opened {
        Some(sources) => sources.then.settings.clone(),
        None => settings::load(args, &flags.options)?,
    };
    runtime()?.block_on(apply(&flags, (&settings, opened.as_ref()), plan, command, console))
}

async fn apply(
    flags: &Flags,
    (settings, opened): (&Settings, Option<&Sources>),
    plan: Plan,
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
    let memory = session.memory(settings, &live);
    let connected = session.connected(settings, &live, &memory);
    let held = match opened {
        Some(opened) => match hold(&connected, opened, &plan, console).await? {
            Ok(held) => held,
            Err(deviations) => return Ok(refuse(&deviations, console)),
        },
        None => match connected.unheld(plan).await? {
            Ok(held) => held,
            Err(deviations) => return Ok(refuse(&deviations, console)),
        },
    };
    let HeldPlan { plan, decided, stale } = held;
    if command.all_or_nothing && !stale.is_empty() {
        return Ok(stop(&stale, console));
    }
    let exit = execute::execute(&connected, &plan, &decided, command, console).await;
    live.live.show_warnings(console);
    exit
}
