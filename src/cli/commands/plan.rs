//! `plan`: look and compare. Writes nothing but what is remembered, and the file it is told to.

use crate::cli::args::{Args, Plan};
use crate::cli::console::Console;
use crate::cli::failure::{Exit, Failure};
use crate::cli::opener::Flags;
use crate::cli::process::runtime;
use crate::cli::{output, plan_file};
use crate::findings::Diagnostic;
use crate::model;
use crate::reconcile::{Basis, ReviewOptions};
use crate::render;

pub(in crate::cli) fn run(args: &Args, command: &Plan, console: &Console) -> Result<Exit, Failure> {
    let args = &Args { revision: command.head.clone().or_else(|| args.revision.clone()), ..args.clone() };
    if command.definitions_only {
        return super::compare::run(args, command, console);
    }
    let (workloads, base) = (command.workloads.clone(), command.base.clone());
    let flags = Flags { workloads, base, ..Flags::planning(args, &command.planning, console) };
    let (plan, findings, stops) = runtime()?.block_on(plan(&flags, command, console))?;
    if let Some(path) = &command.out {
        let plan = match &command.key_file {
            Some(key) => plan_file::authenticated(plan.clone(), key)?,
            None => plan.clone(),
        };
        plan_file::save(path, &plan)?;
        let again = plan_file::apply_command(path, args, command);
        console.say(&format!("saved to {}; `{again}` does exactly this", path.display()));
    }
    console.out(&output::plan(&plan, &findings, (command.format, command.fail_on), console)?);
    Ok(match output::fail_on(&plan, command.fail_on, console) {
        Exit::Done if stops => Exit::Refused,
        Exit::Done if command.exit_code && !plan.is_in_sync() => {
            console.because(&render::plan_line(&plan));
            Exit::Pending
        }
        exit => exit,
    })
}

/// A plan, what is wrong with its definitions, and whether that refuses it.
type Made = (model::Plan, Vec<Diagnostic>, bool);

async fn plan(flags: &Flags, command: &Plan, console: &Console) -> Result<Made, Failure> {
    let session = flags.session(console);
    let opened = session.open()?;
    let live = session.target(&opened.settings).await?;
    let memory = session.memory(&opened.settings, &live);
    let connected = session.connected(&opened.settings, &live, &memory);
    let listed = opened.list([], (session.clock)())?;
    let mut request = connected.request()?;
    request.look_at_all = command.why;
    let key = connected.key(&listed, &request);
    // What is recalled has nothing to review, unless the config has rules, which may be about any plan.
    let has_rules = !opened.settings.config.review.rules.is_empty();
    let is_all_trusted = opened.settings.ignored_keys.is_empty();
    let may_recall = command.base.is_none() && command.workloads.is_none() && !has_rules && is_all_trusted;
    if let Some(recalled) = connected.recall(key.filter(|_| may_recall), &listed) {
        live.live.show_warnings(console);
        return Ok((model::Plan { review: Some(Box::default()), ..recalled.plan }, Vec::new(), false));
    }
    let read = listed.read(&*memory, console)?;
    output::findings(&*opened.source, &opened.settings, &read, console)?;
    output::nothing_defined(&read, console);
    let base = command.base.as_ref().map(|base| session.base(&opened, base, &read.entries, &*memory)).transpose()?;
    super::compare::show_unrelated(&flags.args, command, base.as_ref(), console);
    let planned = connected.plan(&read, &request, key).await?;
    let why = command.why.then(|| connected.equalities(&read, &request, &planned.live));
    let (signatures, packages) = (command.signatures, command.packages);
    let options = ReviewOptions { base: base.as_ref().map(|Basis { base, .. }| base), signatures, packages };
    let planned = connected.review(planned, &read, options).await?.planned;
    output::tally(&planned.tally(), console);
    live.live.show_warnings(console);
    if let Some(why) = why {
        console.say(render::equalities_text(&why, console.err_paint()).trim_end());
    }
    let stops = output::stops(&read, command.planning.strict, console);
    Ok((planned.plan, read.assembled.findings, stops))
}
