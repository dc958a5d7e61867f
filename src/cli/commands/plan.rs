//! `plan`: look and compare. Writes nothing but what is remembered, and the file it is told to.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use crate::adapters::git::without_credentials;
use crate::adapters::registry::Credentials;
use crate::adapters::store::Cache;
use crate::cli::args::{Args, Plan, PlanFormat, Planning, Resolve, Target};
use crate::cli::console::Console;
use crate::cli::context::{Context, Parts, TOOL, now};
use crate::cli::failure::{Exit, Failure};
use crate::cli::lines::Files;
use crate::cli::registries::{Upstreams, pull_secrets, wanted_by};
use crate::cli::snapshot::WithWorkloads;
use crate::cli::target::Live;
use crate::model::{self, Refresh, StreamId};
use crate::planner::{self, PlanInput};
use crate::ports::{LiveState, Registry, Source};
use crate::reconcile::{self, Inputs, List, Pass, Planned, ReadSource};
use crate::render;
use crate::text::Severity;

use super::review::{self, Reviewing};
use super::{pretty, runtime, stops};

pub(in crate::cli) fn run(args: &Args, command: &Plan, console: &Console) -> Result<Exit, Failure> {
    let args = &Args { revision: command.head.clone().or_else(|| args.revision.clone()), ..args.clone() };
    if command.definitions_only {
        return definitions_only(args, command, console);
    }
    let (context, source) = Context::open(args)?;
    let runtime = runtime()?;
    let live = runtime.block_on(Live::open(&context, args, command.planning.force_conflicts))?;
    let cache = Arc::new(Cache::new(&live.memory(&context.store)));
    let parts = context.reading(BTreeSet::new())?;
    let list = reconcile::list(&*source, &parts.selection, context.limits())?;
    let (policy, server) = (context.policy(&command.planning, &live)?, context.server(&live));
    let Parts { selection, options, ruling } = &parts;
    let inputs =
        Inputs { listing: &list.listing, selection, options, ruling, policy: &policy, server: &server, tool: TOOL };
    let key = inputs.key(&live);
    let is_quiet = !command.why && command.base.is_none() && command.workloads.is_none();
    let quiet = key.filter(|_| is_quiet).and_then(|key| reconcile::recall(&*cache, key, &list.listing, now()));
    let (plan, stopped, why) = match quiet {
        Some(quiet) => (quiet.plan, false, None),
        None => {
            let read = read(&context, &*source, &parts, list, &cache, &command.planning, console)?;
            let base = command.base.as_ref();
            let base =
                base.map(|base| review::base(args, &context, base, &read.entries, &cache, console)).transpose()?;
            let making = Making {
                context: &context,
                planning: &command.planning,
                look_at_all: command.why,
                live: &live,
                workloads: command.workloads.as_deref(),
                cache: &cache,
                read: &read,
                console,
            };
            let (signatures, packages) = (command.signatures, command.packages);
            let reviewing = Reviewing { base: base.as_ref(), signatures, packages };
            let mut planned = runtime.block_on(make(&making, Some(reviewing)))?;
            if let Some(key) = key {
                reconcile::remember(&*cache, key, &read, &planned);
            }
            let stopped = stops(&read.assembled.findings, command.planning.strict);
            let desired = &read.assembled.desired;
            let (target, tool) = (live.identity(), TOOL);
            let input =
                PlanInput { desired, live: &planned.live, policy: &policy, server: &server, target: &target, tool };
            let why = command.why.then(|| planner::equalities(&input));
            planned.plan.inputs = Some(made_from(&context, &policy, &read, &planned.plan));
            // The process ends with this plan: giving back thousands of streams one by one would only take time.
            std::mem::forget((read, base));
            let Planned { plan, live, .. } = planned;
            std::mem::forget(live);
            (plan, stopped, why)
        }
    };
    live.show_warnings(console);
    if let Some(why) = why {
        console.say(render::equalities_text(&why, console.err_paint()).trim_end());
    }
    if let Some(path) = &command.out {
        save(path, &plan)?;
        let mut again = format!("streamkeeper apply {}", path.display());
        if args.source != "." {
            // The line is for reading and for logs: whoever gave a login gives it again.
            again.push_str(&format!(" --source {}", without_credentials(&args.source)));
        }
        if let Some(store) = &args.store {
            again.push_str(&format!(" --store {}", store.display()));
        }
        let target = args.target.map(|target| match target {
            Target::Store => " --target store",
            Target::Openshift => " --target openshift",
            Target::Kubernetes => " --target kubernetes",
            Target::Auto => " --target auto",
        });
        again.push_str(target.unwrap_or_default());
        for (flag, value) in [("--context", &args.context), ("--as", &args.impersonate)] {
            again.push_str(&value.as_ref().map_or(String::new(), |value| format!(" {flag} {value}")));
        }
        if let Some(path) = &args.config {
            again.push_str(&format!(" --config {}", path.display()));
        }
        if command.planning.force_conflicts {
            again.push_str(" --force-conflicts");
        }
        if let Some(path) = &args.kubeconfig {
            again.push_str(&format!(" --kubeconfig {}", path.display()));
        }
        console.say(&format!("saved to {}; `{again}` does exactly this", path.display()));
    }
    console.out(&show(&plan, command.format, console)?);
    let gate = command.fail_on.map_or(Exit::Done, |least| review::fail_on(&plan, least));
    Ok(if stopped || gate != Exit::Done {
        Exit::Refused
    } else if command.exit_code && !plan.is_empty() {
        Exit::Pending
    } else {
        Exit::Done
    })
}

/// What a plan was made from, beside the definitions and the target.
fn made_from(context: &Context, policy: &model::Policy, read: &ReadSource, plan: &model::Plan) -> model::Inputs {
    let paths: BTreeSet<&str> = plan.steps.iter().filter_map(|step| Some(&*step.origin.as_ref()?.path)).collect();
    let entries = read.entries.iter().filter(|entry| paths.contains(&*entry.path));
    let files = entries.filter_map(|entry| Some((entry.path.to_string(), entry.id.clone()?)));
    model::Inputs {
        config: fingerprint(&format!("{:?}", context.config)),
        policy: fingerprint(&format!("{policy:?}")),
        files: files.collect(),
    }
}

/// A short hash of something that is only compared.
pub(super) fn fingerprint(text: &str) -> String {
    crate::text::short_hash(text, 16)
}

/// A plan in a format.
pub(super) fn show(plan: &model::Plan, format: PlanFormat, console: &Console) -> Result<String, Failure> {
    Ok(match format {
        PlanFormat::Text => render::plan_text(plan, console.out_paint()),
        PlanFormat::Markdown => render::plan_markdown(plan),
        PlanFormat::Mermaid => render::rolls_mermaid(plan),
        PlanFormat::Json => pretty(plan)?,
        PlanFormat::Github => render::reported_github(&render::reported(plan)),
        PlanFormat::Gitlab => pretty(&render::reported_gitlab(&render::reported(plan)))?,
        PlanFormat::Sarif => pretty(&render::reported_sarif(&render::reported(plan), TOOL))?,
        PlanFormat::Junit => render::plan_junit(plan),
    })
}

/// Compares definitions with definitions: nobody else is asked.
fn definitions_only(args: &Args, command: &Plan, console: &Console) -> Result<Exit, Failure> {
    let (context, source) = Context::open(args)?;
    // Nothing is remembered: there is no target that it could be remembered of.
    let cache = Cache::new(Path::new(""));
    let parts = context.reading(BTreeSet::new())?;
    let mut list = reconcile::list(&*source, &parts.selection, context.limits())?;
    let Some(base) = &command.base else { return Err(Failure::usage("`--definitions-only` without `--base`")) };
    let (base, read) = if list.listing.entries.iter().all(|entry| entry.id.is_some()) {
        let base = review::base(args, &context, base, &list.listing.entries, &cache, console)?;
        if let Some(touched) = &base.touched {
            list.listing.entries.retain(|entry| touched.contains(&*entry.path));
        }
        (base, read(&context, &*source, &parts, list, &cache, &command.planning, console)?)
    } else {
        // What files on disk hold is known once they were read.
        let read = read(&context, &*source, &parts, list, &cache, &command.planning, console)?;
        (review::base(args, &context, base, &read.entries, &cache, console)?, read)
    };
    let desired = &read.assembled.desired;
    let (policy, server, live) = (context.config.policy(), crate::rules::Server::default(), model::Live::default());
    let nothing = model::Desired { revision: desired.revision.clone(), ..model::Desired::default() };
    let input =
        PlanInput { desired: &nothing, live: &live, policy: &policy, server: &server, target: NO_TARGET, tool: TOOL };
    let plan = planner::plan(&input);
    let mut plan = model::Plan { streams: read.assembled.found.0, scope: desired.scope.clone(), ..plan };
    let (facts, attached, packages) = Default::default();
    let input = crate::review::Input {
        plan: &plan,
        desired,
        base: Some(&base),
        facts: &facts,
        attached: &attached,
        packages: &packages,
        most_workloads: usize::MAX,
        platform: ("linux", "amd64"),
    };
    let (found, _) = crate::review::review(&input);
    plan.review = Some(Box::new(found));
    console.out(&show(&plan, command.format, console)?);
    Ok(if stops(&read.assembled.findings, command.planning.strict) { Exit::Refused } else { Exit::Done })
}

/// What a plan is for that is for nothing.
const NO_TARGET: &str = "nothing: definitions alone were compared";

/// Reads the definitions and shows what is wrong with them. With `--strict` that may be the end.
pub(super) fn read(
    context: &Context,
    source: &dyn Source,
    parts: &Parts,
    list: List,
    cache: &Cache,
    planning: &Planning,
    console: &Console,
) -> Result<ReadSource, Failure> {
    let read = context.read(source, parts, list, cache, console)?;
    let findings = &read.assembled.findings;
    let mut lines = Files::new(source, &read.entries, context.limits().file_bytes);
    // Notes are for `validate`: a plan is read for what changes.
    let worth: Vec<_> = findings.iter().filter(|finding| finding.severity > Severity::Info).cloned().collect();
    let text = render::findings_text(&worth, &mut lines, console.err_paint());
    drop(lines);
    if !text.is_empty() {
        console.say(text.trim_end_matches('\n'));
    }
    if planning.strict {
        strict(&read)?;
    }
    Ok(read)
}

/// Whether findings are the end, where `--strict` was given.
pub(in crate::cli) fn strict(read: &ReadSource) -> Result<(), Failure> {
    let findings = &read.assembled.findings;
    if !stops(findings, true) {
        return Ok(());
    }
    let (streams, tags) = read.assembled.found;
    let summary = render::summary(findings, streams, tags, read.assembled.waived);
    let message = format!("the definitions have findings ({summary}), and `--strict` was given");
    Err(Failure::new(Exit::Refused, message))
}

/// Whoever is asked what upstream tags are.
pub(in crate::cli) async fn upstreams<'a>(
    context: &Context,
    resolve: Resolve,
    live: &'a Live,
    cache: &Arc<Cache>,
    desired: &model::Desired,
    console: &Console,
) -> Result<Upstreams<'a>, Failure> {
    Ok(match (resolve, live) {
        (Resolve::Registries, _) => {
            let more = match live {
                Live::Cluster(cluster) if context.config.pull_secrets => pull_secrets(cluster, desired, console).await,
                Live::Cluster(_) | Live::Store(_) => Credentials::default(),
            };
            Upstreams::Registries(Box::new(context.registries(Arc::clone(cache), console.can_ask(), more)?))
        }
        (Resolve::Cluster, Live::Cluster(cluster)) => Upstreams::Cluster(cluster.resolver(wanted_by(desired))),
        (Resolve::Cluster, Live::Store(_)) => {
            return Err(Failure::usage("`--resolve cluster` without a cluster")
                .hint("name one with `--target openshift` or `--context`"));
        }
    })
}

/// What a plan is made from.
pub(super) struct Making<'a> {
    pub(super) context: &'a Context,
    pub(super) planning: &'a Planning,
    pub(super) look_at_all: bool,
    pub(super) live: &'a Live,
    /// Workloads that somebody saved.
    pub(super) workloads: Option<&'a Path>,
    pub(super) cache: &'a Arc<Cache>,
    pub(super) read: &'a ReadSource,
    pub(super) console: &'a Console,
}

/// Observes and plans; and reviews the plan, with a base or without.
pub(super) async fn make(making: &Making<'_>, review: Option<Reviewing<'_>>) -> Result<Planned, Failure> {
    let Making { context, planning, look_at_all, live, workloads, cache, read, console } = *making;
    let with_workloads = &WithWorkloads::open(live, workloads, console)?;
    let desired = &read.assembled.desired;
    let registries = upstreams(context, planning.resolve, live, cache, desired, console).await?;
    let policy = context.policy(planning, live)?;
    let streams = &read.assembled.desired.streams;
    if let Refresh::Some(names) = &policy.refresh {
        let unknown = |(id, tag): &&(StreamId, Option<String>)| {
            let stream = streams.get(id);
            stream.is_none_or(|stream| tag.as_ref().is_some_and(|tag| !stream.tags.contains_key(tag)))
        };
        if let Some((id, tag)) = names.iter().find(unknown) {
            let tag = tag.as_ref().map_or(String::new(), |tag| format!(":{tag}"));
            return Err(Failure::usage(format!("`--refresh {id}{tag}` names nothing that is defined")));
        }
    }
    if read.assembled.found.0 == 0 {
        console.say(&format!("no ImageStream is defined in {}", read.assembled.desired.revision.source));
    }
    let server = context.server(live);
    let pass = Pass {
        live: with_workloads,
        registry: &registries,
        memory: &**cache,
        progress: console,
        policy: &policy,
        server: &server,
        tool: TOOL,
        look_at_all,
    };
    let mut planned = pass.plan(&read.assembled.desired, now()).await?;
    if let Some(reviewing) = &review {
        review::review(context, &mut planned.plan, desired, reviewing, &registries, console).await?;
    }
    let tally = registries.tally();
    if tally.requests > 0 || tally.refused > 0 {
        console.say(&render::tally(&tally));
    }
    Ok(planned)
}

/// Whole or not at all: written beside, synced, renamed.
fn save(path: &Path, plan: &model::Plan) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(Exit::Failed, format!("failed to write the plan `{}`: {error}", path.display()))
    };
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(pretty(plan)?.as_bytes()).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}
