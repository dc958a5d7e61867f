//! `plan --definitions-only`: compares definitions with definitions, and asks neither a target nor a registry.

use crate::adapters::store::Cache;
use crate::cli::args::{Args, Plan};
use crate::cli::console::Console;
use crate::cli::failure::{Exit, Failure};
use crate::cli::opener::Flags;
use crate::cli::output;
use crate::model::NO_TARGET;
use crate::reconcile::Basis;
use crate::source::{inert, is_url};

pub(super) fn run(args: &Args, command: &Plan, console: &Console) -> Result<Exit, Failure> {
    let Some(base) = &command.base else { return Err(Failure::usage("`--definitions-only` without `--base`")) };
    let flags = Flags { base: command.base.clone(), ..Flags::planning(args, &command.planning, console) };
    let session = flags.session(console);
    let opened = session.open()?;
    // Nothing is remembered: there is no target that it could be remembered of.
    let memory = Cache::new(None);
    let mut listed = opened.list([], (session.clock)())?;
    let entries = &mut listed.list.listing.entries;
    let mut basis = None;
    // Where contents are known by their ids, only files that differ are read.
    if entries.iter().all(|entry| entry.id.is_some()) {
        let found = session.base(&opened, base, entries, &memory)?;
        if let Some(touched) = &found.base.touched {
            entries.retain(|entry| touched.contains(&*entry.path));
        }
        basis = Some(found);
    }
    let read = listed.read(&memory, console)?;
    output::findings(&*opened.source, &opened.settings, &read, console)?;
    let basis = match basis {
        Some(basis) => basis,
        // What files on disk hold is known once they were read.
        None => session.base(&opened, base, &read.entries, &memory)?,
    };
    show_unrelated(args, command, Some(&basis), console);
    let plan = session.compare(&opened, &read, &basis.base, NO_TARGET);
    console.out(&output::plan(&plan, &read.assembled.findings, (command.format, command.fail_on), console)?);
    Ok(match output::fail_on(&plan, command.fail_on, console) {
        Exit::Done if output::stops(&read, command.planning.strict, console) => Exit::Refused,
        exit => exit,
    })
}

/// Says that base and head have no commit in common that is known.
pub(super) fn show_unrelated(args: &Args, command: &Plan, basis: Option<&Basis>, console: &Console) {
    let Some(base) = command.base.as_ref().filter(|_| basis.is_some_and(|basis| basis.is_unrelated)) else { return };
    if !is_url(&args.source) {
        console.say(&format!(
            "no commit is known that `{}` and the head have in common: they are compared as they are; a clone with more history knows it",
            inert(base, 120)
        ));
    }
}
