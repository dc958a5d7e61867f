//! A saved plan, read again at its commit, held to the result, and refused.

use crate::model::Plan;
use crate::reconcile::{Connected, Deviation, DeviationReason, HeldPlan, Opened, StaleStep};
use crate::render;
use crate::source::{chain, inert};

use super::args::Apply;
use super::console::Console;
use super::failure::{Exit, Failure};
use super::opener::Flags;
use super::output;

/// Steps that are told of a plan that is refused.
const TOLD: usize = 20;

/// The source as it was when the plan was made; none where it cannot be read and that is not to matter.
pub(super) fn open(flags: &Flags, plan: &Plan, command: &Apply) -> Result<Option<Opened>, Failure> {
    match at_plan(flags, plan, command) {
        Ok(opened) => Ok(Some(opened)),
        Err(failure) if command.unverified => {
            let why = inert(&chain(&*failure.error), 300);
            flags.console.say(&format!("the plan is not checked against its definitions: {why}"));
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}

fn at_plan(flags: &Flags, plan: &Plan, command: &Apply) -> Result<Opened, Failure> {
    let session = flags.session(&flags.console);
    let (Some(commit), false) = (&plan.revision.commit, plan.revision.dirty) else { return session.open() };
    let hint = "name the source that the plan was made from with `--source`, or `--unverified` applies it all the same";
    let is_id = matches!(commit.len(), 40 | 64) && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    let shown = inert(commit, 64);
    if !is_id {
        return Err(Failure::refused(format!("the plan names `{shown}`, which is not a commit")));
    }
    let unknown = |failure: Failure| {
        let why = inert(&chain(&*failure.error), 300);
        let message = format!("cannot check the plan: its definitions, of commit {shown}, cannot be read: {why}");
        Failure::refused(message).hint(hint)
    };
    let (settings, source) = flags.at_commit(commit).map_err(unknown)?;
    // A commit that somebody else has pushed somewhere, such as to a fork, gives a plan no authority.
    if command.key_file.is_none() && !flags.has_commit(commit).map_err(unknown)? {
        let tip = flags.args.revision.as_deref().map_or("what the source is at".to_owned(), |it| format!("`{it}`"));
        let message = format!("the plan is of commit {shown}, which is not {} or before it", inert(&tip, 120));
        let hint = "plan again; or name the branch that the plan was made from with `--revision`";
        return Err(Failure::refused(message).hint(hint));
    }
    Ok(Opened { settings, source, broken: None })
}

/// Reads the definitions of the plan, plans them again, and holds the plan to the result.
pub(super) async fn hold(
    connected: &Connected<'_, '_, Flags, Console>,
    opened: &Opened,
    plan: &Plan,
    console: &Console,
) -> Result<Result<HeldPlan, Vec<Deviation>>, Failure> {
    let listed = opened.list([], (connected.session.clock)())?;
    let read = listed.read(&**connected.memory, console)?;
    if opened.settings.options.strict {
        output::findings(&*opened.source, &opened.settings, &read, console)?;
    }
    let is_commit = plan.revision.commit.is_some() && !plan.revision.dirty;
    if !is_commit && read.assembled.desired.revision.content != plan.revision.content {
        let message = "the definitions are not those that the plan was made from, and no commit has them";
        let hint = "plan again; a plan that is made from a commit can be applied after the files have changed";
        return Err(Failure::stale(message).hint(hint));
    }
    connected.hold(plan, &read).await
}

/// Says why nothing of the plan is done.
pub(super) fn refuse(deviations: &[Deviation], console: &Console) -> Exit {
    for Deviation { step, about, why } in deviations.iter().take(TOLD) {
        let why = match why {
            DeviationReason::OtherImage { from, now } => {
                format!(
                    "`{}` is now {}, and the plan has another image; a plan saved with `--key-file` need not ask again",
                    inert(from, 200),
                    inert(now, 100)
                )
            }
            DeviationReason::Blocked(wait) => render::wait(wait),
            DeviationReason::NotDefined => "its definitions do not give this step".to_owned(),
        };
        console.say(&format!("{step} on {}: {why}", inert(about, 300)));
    }
    if let Some(more @ 1..) = deviations.len().checked_sub(TOLD) {
        console.say(&format!("and {more} more"));
    }
    if deviations.iter().all(|deviation| deviation.why.is_stale()) {
        console.say("Nothing was changed: the plan is stale. Plan again.");
        return Exit::Stale;
    }
    console.say("Nothing was changed: the plan is not what its definitions and the current policy give.");
    Exit::Refused
}

/// Says what of the plan is stale, where nothing is done unless all of it can be.
pub(super) fn stop(stale: &[StaleStep], console: &Console) -> Exit {
    for it in stale {
        let why = if it.is_known { "it is not so any more" } else { "whether it is so cannot be said" };
        let (stream, planned) = (inert(&it.stream.to_string(), 300), render::planned_for(&it.precondition));
        console.say(&format!("{} on {stream}: {planned}, and {why}", it.step));
    }
    console.say("Nothing was changed: a part of the plan is stale.");
    Exit::Stale
}

/// Refuses every plan but the one that was reviewed.
pub(super) fn expect(plan: &Plan, expected: &str) -> Result<(), Failure> {
    let id = plan.id();
    if id == *expected {
        return Ok(());
    }
    let version = |id: &str| id.split_once('-').map(|(version, _)| version.to_owned());
    if version(expected) != version(&id) {
        let message = format!("`--expect {}` is not the id of a plan of this version", inert(expected, 80));
        return Err(Failure::usage(message).hint("`streamkeeper plan` prints the id, such as `p1-0123…`"));
    }
    let message =
        format!("the plan is now {id}, and not {expected}: definitions, target or registries have changed since");
    Err(Failure::stale(message).hint("review it again with `streamkeeper plan`"))
}
