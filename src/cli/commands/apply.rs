//! `apply`: carry out a saved plan, or plan, ask and carry out.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::adapters::store::{Cache, NEW_STORE, Writer};
use crate::api::ImageStream;
use crate::cli::args::{Apply, Args, ReportFormat};
use crate::cli::console::Console;
use crate::cli::context::{Context, local_folder, now};
use crate::cli::failure::{Exit, Failure};
use crate::cli::target::Live;
use crate::executor::{self, Patience};
use crate::model::{
    Cause, Desired, FORMAT_VERSION, OTHER_NAMESPACES, Observed, Outcome, Plan, Precondition, Report, StreamId,
};
use crate::ports::{LiveState, Looking, Target};
use crate::reconcile;
use crate::render;

use super::plan::{Making, make, read};
use super::review::Reviewing;
use super::{pretty, runtime, stops};

/// How long controllers have to give workloads the images of tags that they follow: on an idle cluster it is done in a second.
const IMAGES: Duration = Duration::from_secs(10);

pub(in crate::cli) fn run(args: &Args, command: &Apply, console: &Console) -> Result<Exit, Failure> {
    match &command.plan {
        Some(path) => saved(args, command, path, console),
        None => fresh(args, command, console),
    }
}

/// Plans, asks, carries out.
fn fresh(args: &Args, command: &Apply, console: &Console) -> Result<Exit, Failure> {
    if command.write_workloads {
        folder_to_write(args)?;
    }
    let (context, source) = Context::open(args)?;
    // The definitions first: what is wrong with them is said even when the store is taken.
    let parts = context.reading(BTreeSet::new())?;
    let list = reconcile::list(&*source, &parts.selection, context.limits())?;
    let runtime = runtime()?;
    let live = runtime.block_on(Live::open(&context, args, command.planning.force_conflicts))?;
    if command.write_workloads && matches!(live, Live::Cluster(_)) {
        let message = "`--write-workloads` is for the store: on a cluster workloads get their images there";
        return Err(Failure::usage(message));
    }
    let cache = Cache::new(&live.memory(&context.store));
    let read = read(&context, &*source, &parts, list, &cache, &command.planning, console)?;
    let writer = match live {
        Live::Store(_) => Some(Writer::open(&context.store)?),
        Live::Cluster(_) => None,
    };
    // A store that was just made is another one than what was looked at before.
    let live = if writer.is_some() { Live::Store(context.reader()?) } else { live };
    let cache = Arc::new(Cache::new(&live.memory(&context.store)));
    let making = Making {
        context: &context,
        planning: &command.planning,
        look_at_all: false,
        live: &live,
        workloads: None,
        cache: &cache,
        read: &read,
        console,
    };
    // Who is asked is told what it means.
    let reviewing = (!command.yes).then_some(Reviewing { base: None, signatures: false, packages: false });
    let plan = runtime.block_on(make(&making, reviewing))?.plan;
    if plan.is_empty() {
        if command.format == ReportFormat::Text || !plan.deferred.is_empty() {
            console.say(render::plan_text(&plan, console.err_paint()).trim_end());
        }
    } else {
        console.say(render::plan_text(&plan, console.err_paint()).trim_end());
        if !command.yes && !console.can_ask() {
            return Err(Failure::usage("there is no terminal to ask on").hint("give `--yes` to apply without asking"));
        }
        if !command.yes && !console.ask("Carry it out?") {
            console.say("Nothing was changed.");
            return Ok(Exit::Refused);
        }
    }
    let exit = match (&writer, &live) {
        (Some(writer), _) => {
            carry_out(&runtime, &plan, writer, &live, context.config.policy.workloads.at_once, command, console)?
        }
        (None, Live::Cluster(cluster)) => {
            carry_out(&runtime, &plan, &**cluster, &live, context.config.policy.workloads.at_once, command, console)?
        }
        (None, Live::Store(_)) => Exit::Failed,
    };
    live.show_warnings(console);
    let exit = if command.write_workloads {
        let written = write_workloads(args, command, &context, &read.assembled.desired, &live, &runtime, console)?;
        if exit == Exit::Done { written } else { exit }
    } else {
        exit
    };
    let held = stops(&read.assembled.findings, false);
    Ok(if exit == Exit::Done && held { Exit::Partial } else { exit })
}

/// The folder whose files may be written.
fn folder_to_write(args: &Args) -> Result<PathBuf, Failure> {
    local_folder(&args.source).filter(|_| args.revision.is_none()).ok_or_else(|| {
        Failure::usage("`--write-workloads` writes files, and the source is no folder on disk")
            .hint("give a work tree as `--source`, without `--revision`")
    })
}

/// Writes the images that tags have now into the files of workloads, if whoever is asked agrees.
fn write_workloads(
    args: &Args,
    command: &Apply,
    context: &Context,
    desired: &Desired,
    live: &Live,
    runtime: &tokio::runtime::Runtime,
    console: &Console,
) -> Result<Exit, Failure> {
    let folder = folder_to_write(args)?;
    let streams = runtime.block_on(live.streams(&context.namespace))?;
    let policy = context.config.policy.workloads.policy("");
    let edits = super::workloads::edits(desired, &streams, &policy, console);
    if !command.yes && !edits.is_empty() {
        edits.lines().iter().for_each(|line| console.say(line));
        if !console.can_ask() {
            return Err(Failure::usage("there is no terminal to ask on").hint("give `--yes` to write without asking"));
        }
        if !console.ask("Write it?") {
            console.say("No file was changed.");
            return Ok(Exit::Refused);
        }
    }
    Ok(if edits.write(&folder, console) { Exit::Done } else { Exit::Partial })
}

/// Carries out what a file says, and nothing else.
fn saved(args: &Args, command: &Apply, path: &Path, console: &Console) -> Result<Exit, Failure> {
    let plan = load(path)?;
    let context = Context::load(args)?;
    let runtime = runtime()?;
    // Looked at before it is opened to write: a plan for another store leaves nothing behind in this one.
    // As whoever the plan was made as: the config that said so may be in a revision.
    let manager = context.config.field_manager.clone();
    let manager = manager.or_else(|| Some(plan.target.rsplit_once(" as ")?.1.to_owned()));
    let live = runtime.block_on(Live::open_as(&context, args, command.planning.force_conflicts, manager.as_deref()))?;
    let identity = live.identity();
    // A plan made before there was a store relies on there being no streams, which its steps check themselves.
    let is_new = matches!(live, Live::Store(_)) && plan.target == NEW_STORE;
    if plan.target != identity && !is_new {
        let message = format!("the plan is for `{}`, and this is `{identity}`", crate::text::inert(&plan.target, 200));
        return Err(Failure::new(Exit::Refused, message)
            .hint("name the target it was made for, with `--store`, or `--target` and `--context`"));
    }
    let config = super::plan::fingerprint(&format!("{:?}", context.config));
    if plan.inputs.as_ref().is_some_and(|inputs| inputs.config != config) {
        console.say("the config is another one than when the plan was made; exactly the plan is done all the same");
    }
    if let Some((freeze, until)) = context.config.frozen(now()).filter(|_| !command.planning.ignore_freeze) {
        let message = format!("nothing is changed until {until}: {freeze}");
        return Err(Failure::new(Exit::Refused, message).hint("`--ignore-freeze` changes things all the same"));
    }
    if command.all_or_nothing {
        let stale = runtime.block_on(stale(&plan, &live))?;
        if !stale.is_empty() {
            stale.iter().for_each(|line| console.say(line));
            console.say("Nothing was changed: a part of the plan is stale.");
            return Ok(Exit::Stale);
        }
    }
    let exit = match &live {
        Live::Store(_) => carry_out(
            &runtime,
            &plan,
            &Writer::open(&context.store)?,
            &live,
            context.config.policy.workloads.at_once,
            command,
            console,
        ),
        Live::Cluster(cluster) => {
            carry_out(&runtime, &plan, &**cluster, &live, context.config.policy.workloads.at_once, command, console)
        }
    };
    live.show_warnings(console);
    exit
}

/// What of a plan's preconditions is not so, each in a line. Looked at before anything is done; every step looks again.
async fn stale(plan: &Plan, live: &Live) -> Result<Vec<String>, Failure> {
    let own = plan.steps.iter().map(|step| step.action.stream());
    let others = plan.steps.iter().flat_map(|step| &step.requires).filter_map(|precondition| match precondition {
        Precondition::TagAt { tag, .. } => Some(&tag.stream),
        _ => None,
    });
    let namespaces = own.chain(others).map(|stream| stream.namespace.clone()).collect();
    let nothing = std::collections::BTreeMap::new();
    let seen = live.observe(Looking { namespaces: &namespaces, settled: &nothing, anew: true }).await?;
    // That a stream is not there can be said only of what was listed.
    let is_known = |stream: &StreamId| {
        let is_listed = matches!(seen.listed.get(&stream.namespace), Some(Observed::Known(())));
        seen.streams.contains_key(stream) || (is_listed && !seen.unreadable.contains_key(stream))
    };
    let mut written: BTreeSet<&StreamId> = BTreeSet::new();
    let mut lines = Vec::new();
    for step in &plan.steps {
        for precondition in &step.requires {
            let stream = |id| seen.streams.get(id).map(|live| &live.stream);
            let (about, holds) = match precondition {
                Precondition::StreamAbsent { stream: id } => (id, stream(id).is_none()),
                Precondition::ResourceVersion { stream: id, version, uid } => {
                    let is_it = |it: &ImageStream| {
                        let metadata = &it.metadata;
                        metadata.resource_version.as_ref() == Some(version) && metadata.uid.as_ref() == Some(uid)
                    };
                    (id, stream(id).is_some_and(is_it))
                }
                Precondition::TagAt { tag, reference } => {
                    let head = stream(&tag.stream).and_then(|stream| stream.head(&tag.tag));
                    // What an earlier step writes is as it is to be only then.
                    let holds = written.contains(&tag.stream)
                        || head.map(|head| &head.docker_image_reference) == reference.as_ref();
                    (&tag.stream, holds)
                }
                // Seen to when it is its turn: workloads are no part of what a plan decides.
                Precondition::WorkloadAt { .. } => continue,
            };
            let why = match (is_known(about), holds) {
                (true, true) => continue,
                (true, false) => "it is not so any more",
                (false, _) => "whether it is so cannot be said",
            };
            let stream = crate::text::inert(&step.action.stream().to_string(), 300);
            lines.push(format!("{} on {stream}: {}, and {why}", step.id, render::planned_for(precondition)));
        }
        written.insert(step.action.stream());
    }
    Ok(lines)
}

pub(super) fn load(path: &Path) -> Result<Plan, Failure> {
    let shown = path.display();
    let bytes = std::fs::read(path)
        .map_err(|error| Failure::new(Exit::Failed, format!("failed to read the plan `{shown}`: {error}")))?;
    let version = serde_json::from_slice::<serde_json::Value>(&bytes).ok();
    let version = version.as_ref().and_then(|value| value.get("formatVersion")).and_then(serde_json::Value::as_u64);
    if version.is_some_and(|version| version != u64::from(FORMAT_VERSION)) {
        let message = format!(
            "the plan `{shown}` has format version {}, this program knows {FORMAT_VERSION}",
            version.unwrap_or_default()
        );
        return Err(Failure::new(Exit::Refused, message).hint("make the plan again with this version"));
    }
    serde_json::from_slice(&bytes).map_err(|error| {
        let message = format!("`{shown}` is not a plan: {}", crate::text::inert(&error.to_string(), 200));
        Failure::new(Exit::Refused, message).hint("`streamkeeper plan --out FILE` saves one")
    })
}

fn carry_out(
    runtime: &tokio::runtime::Runtime,
    plan: &Plan,
    target: &impl Target,
    live: &Live,
    at_once: Option<NonZeroUsize>,
    command: &Apply,
    console: &Console,
) -> Result<Exit, Failure> {
    let report = if plan.is_empty() {
        let at = now();
        Report {
            format_version: FORMAT_VERSION,
            revision: plan.revision.clone(),
            scope: plan.scope.clone(),
            started: at,
            finished: at,
            outcomes: std::collections::BTreeMap::new(),
            deferred: plan.deferred.clone(),
            workloads: Vec::new(),
        }
    } else {
        let stop = Arc::new(AtomicBool::new(false));
        runtime.spawn(stop_on_signal(Arc::clone(&stop)));
        let reason = |step: &crate::model::Step| render::reason(&step.reason);
        let at_once = at_once.map_or(executor::UPDATES, NonZeroUsize::get);
        let clock = jiff::Timestamp::now;
        let mut report = runtime.block_on(executor::execute(plan, target, reason, clock, at_once, &stop, console))?;
        let limit = command.wait.map_or(IMAGES, |wait| wait.duration().unsigned_abs());
        let patience = Patience { limit, to_the_end: command.wait.is_some() };
        report.workloads = runtime.block_on(executor::follow(plan, &report, live, patience, clock, &stop, console));
        report
    };
    match command.format {
        ReportFormat::Json => console.out(&pretty(&report)?),
        ReportFormat::Text if plan.is_empty() => {}
        ReportFormat::Text => console.out(&render::report_text(plan, &report, console.out_paint())),
    }
    let follows = report.workloads.iter().all(|followed| followed.following.is_good());
    Ok(match exit(plan, &report) {
        // Whoever waits wants to know; whoever does not has left workloads to their controllers.
        Exit::Done if command.wait.is_some() && !follows => Exit::Partial,
        // Where workloads are ours to update, those that could not be looked at are left undone.
        Exit::Done if live.updates_workloads() && !reachable_seen(plan) => Exit::Partial,
        exit => exit,
    })
}

/// Whether all workloads were looked at that this account is there for.
fn reachable_seen(plan: &Plan) -> bool {
    plan.unseen.iter().all(|unseen| unseen.cause == Cause::Forbidden && unseen.asked == OTHER_NAMESPACES)
}

/// The first signal lets the steps under way end; the second ends the program, which is safe as well.
async fn stop_on_signal(stop: Arc<AtomicBool>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if stop.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    }
}

/// Whether a step writes down that an import failed.
fn fails(action: &crate::model::Action) -> bool {
    use crate::model::{Action, ImportResult};
    match action {
        Action::Import { images, .. } => images.iter().any(|item| matches!(item.result, ImportResult::Failure(_))),
        Action::CreateStream { .. }
        | Action::UpdateStream { .. }
        | Action::SetTag { .. }
        | Action::Follow { .. }
        | Action::DeleteTag { .. }
        | Action::DeleteStream { .. } => false,
    }
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
    } else if good < total || !plan.is_complete() || plan.steps.iter().any(|step| fails(&step.action)) {
        Exit::Partial
    } else {
        Exit::Done
    }
}
