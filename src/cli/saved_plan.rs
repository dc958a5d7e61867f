//! A saved plan, read again at its commit, held to the result, and refused.

use crate::adapters::git::History;
use crate::model::Plan;
use crate::reconcile::{Connected, Deviation, DeviationReason, FailureKind, HeldPlan, Opened, StaleStep, redefined};
use crate::render;
use crate::source::{chain, inert};

use super::args::Apply;
use super::console::Console;
use super::failure::{Exit, Failure};
use super::opener::Flags;
use super::output;

/// Steps that are told of a plan that is refused.
const TOLD: usize = 20;

/// The source of a saved plan.
pub(super) struct Sources {
    /// At the commit that the plan was made from; otherwise as it is.
    pub(super) then: Opened,
    /// At the commit that it is at now, where that is another one.
    now: Option<Opened>,
}

/// The source as it was when the plan was made; none where it cannot be read and that is not to matter. A plan that is refused is refused
/// whatever is to matter.
pub(super) fn open(flags: &Flags, plan: &Plan, command: &Apply) -> Result<Option<Sources>, Failure> {
    let failure = match at_plan(flags, plan, command) {
        Ok(opened) => return Ok(Some(opened)),
        Err(failure) if failure.kind != FailureKind::Failed => return Err(failure),
        Err(failure) => failure,
    };
    let why = inert(&chain(&*failure.error), 300);
    if command.unverified {
        flags.console.say(&format!("the plan is not checked against its definitions: {why}"));
        return Ok(None);
    }
    let commit =
        plan.revision.commit.as_deref().map_or(String::new(), |commit| format!(" (commit {})", inert(commit, 64)));
    let message = format!("cannot check the plan: its definitions{commit} cannot be read: {why}");
    Err(Failure::refused(message).hint(
        "name the source that the plan was made from with `--source`, or `--unverified` applies it all the same; where the source has no \
         URL, `identity` in the config of `--config` says whose streams they are",
    ))
}

fn at_plan(flags: &Flags, plan: &Plan, command: &Apply) -> Result<Sources, Failure> {
    let session = flags.session(&flags.console);
    let (Some(commit), false) = (&plan.revision.commit, plan.revision.dirty) else {
        return Ok(Sources { then: session.open()?, now: None });
    };
    let is_id = matches!(commit.len(), 40 | 64) && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    let shown = inert(commit, 64);
    if !is_id {
        return Err(Failure::refused(format!("the plan names `{shown}`, which is not a commit")));
    }
    let (settings, source) = flags.at_commit(commit)?;
    let history = flags.history(commit)?;
    // A commit that somebody else has pushed somewhere, such as to a fork, gives a plan no authority.
    if command.key_file.is_none() && history == History::Outside {
        let tip = flags.args.revision.as_deref().map_or("what the source is at".to_owned(), |it| format!("`{it}`"));
        let message = format!("the plan is of commit {shown}, which is not {} or before it", inert(&tip, 120));
        let hint = "plan again; or name the branch that the plan was made from with `--revision`";
        return Err(Failure::refused(message).hint(hint));
    }
    if let History::Behind(ahead) = history {
        let commits = if ahead == 1 { "commit" } else { "commits" };
        flags.console.say(&format!("the plan is of commit {shown}; the source is {ahead} {commits} ahead of it"));
    }
    let now = if history == History::Tip { None } else { Some(flags.at_tip()?) };
    Ok(Sources { then: Opened { settings, source: source.into(), broken: None }, now })
}

/// Reads the definitions of the plan, plans them again, and holds the plan to the result; and to what the source says of its steps now.
pub(super) async fn hold(
    connected: &Connected<'_, '_, Flags, Console>,
    Sources { then: opened, now }: &Sources,
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
    if let Some(now) = now {
        let tip = now.list([], (connected.session.clock)())?.read(&**connected.memory, console)?;
        let redefined = redefined(plan, &read.assembled.desired, &tip.assembled.desired);
        if !redefined.is_empty() {
            return Ok(Err(redefined));
        }
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
            DeviationReason::Redefined { commit } => {
                format!("it is defined otherwise since, at commit {}", inert(commit, 64))
            }
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
    if plan.clone().reviewable().is_empty() {
        let message =
            format!("nothing is left of the plan {expected}: it was carried out before, or it is not wanted any more");
        return Err(Failure::stale(message)
            .hint("`streamkeeper history` says what was carried out, `streamkeeper plan` what is left"));
    }
    let message =
        format!("the plan is now {id}, and not {expected}: definitions, target or registries have changed since");
    Err(Failure::stale(message).hint("review it again with `streamkeeper plan`"))
}
