//! What a lane of `run` does: the pass that `plan` and `apply` make, again and again, with what can be kept between them.

mod elect;
mod open;
mod said;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{Mutex, watch};
use tokio::task::block_in_place;

use tracing::Instrument;

use crate::adapters::cluster::Informer;
use crate::adapters::git;
use crate::adapters::store::{Cache, Writer};
use crate::config::{Interval, LeaseConfig, RunConfig};
use crate::daemon::{
    self, Bell, Board, Cause, CommitStatus, Ended, Guarded, Hints, LINES, Look, Metrics, Pass as Asked, PassStatus,
    Poke, Quarrels, State, Told, Work,
};
use crate::executor::{self, Patience};
use crate::model::{Deferred, Desired, Outcome, Plan, Report, StepId};
use crate::planner;
use crate::ports::{NoProgress, PortError, Registry};
use crate::reconcile::{self, Inputs, Pass, Planned};
use crate::render;
use crate::text::{chain, inert};

use super::args::{Args, Planning};
use super::commands::plan::{strict, upstreams};
use super::console::Console;
use super::context::{Context, Parts, TOOL, location, now};
use super::failure::{Exit, Failure};
use super::files::Watched;
use super::notify::Notifier;
use super::target::Live;

use open::{ASK, Election, Opened};
use said::{count_errors, pushed, refused, word, written};

/// Target of spans, for traces: log lines do not carry them.
pub(super) const SPANS: &str = "spans";

/// How often another process that writes is asked whether it has let go.
const PATIENCE: Duration = Duration::from_secs(1);

/// Between two looks at files of which some are gone.
const SECOND_LOOK: Duration = Duration::from_millis(1500);

/// How long is looked whether workloads follow, before the next pass may begin.
const FOLLOW: Duration = Duration::from_secs(3);

/// What all lanes share.
pub(super) struct Shared {
    pub(super) board: Arc<Board>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) hints: Arc<Hints>,
    pub(super) notifier: Notifier,
}

/// One source and one target.
pub(super) struct Lane {
    name: String,
    args: Args,
    planning: Planning,
    console: Console,
    board: Arc<Board>,
    metrics: Arc<Metrics>,
    hints: Arc<Hints>,
    notifier: Notifier,
    told: std::sync::Mutex<Told>,
    /// What the source's host was told last.
    of_commit: std::sync::Mutex<Option<CommitStatus>>,
    lease: LeaseConfig,
    kept: Mutex<Kept>,
    /// Commit that the source's URL was last seen at.
    seen: std::sync::Mutex<Option<String>>,
    /// Whether this process leads; none once the lane has ended.
    standing: std::sync::Mutex<Option<watch::Receiver<bool>>>,
    /// The config that was read last, with every other one anew.
    config: watch::Sender<Option<Arc<Context>>>,
    /// What was heard of the cluster.
    informer: Arc<Informer>,
    /// What it takes to write, by the config that was read last; none before one was read.
    election: watch::Sender<Option<Election>>,
    /// The store, once it is ours to write.
    writer: Mutex<Option<Writer>>,
}

/// What is kept between passes. All of it may vanish.
#[derive(Default)]
struct Kept {
    context: Option<Context>,
    cache: Option<Arc<Cache>>,
    cluster: Option<(String, Live)>,
    quarrels: Quarrels,
}

/// What a pass has found and done.
struct Done {
    desired: Desired,
    plan: Plan,
    report: Option<Report>,
    errors: usize,
    due: Option<Timestamp>,
    /// Something is gone: a second look has to say so, too.
    second: bool,
    /// Why it is not the newest config that counted.
    broken: Option<String>,
}

impl Lane {
    pub(super) fn new(
        name: &str,
        args: Args,
        planning: Planning,
        config: &RunConfig,
        shared: &Shared,
        standing: watch::Receiver<bool>,
    ) -> Self {
        let Shared { board, metrics, hints, notifier } = shared;
        board.lane(name, |lane| lane.source = git::without_credentials(&args.source));
        metrics.leads(name, false);
        Self {
            name: name.to_owned(),
            console: Console::new(args.color, true),
            args,
            planning,
            board: Arc::clone(board),
            metrics: Arc::clone(metrics),
            hints: Arc::clone(hints),
            notifier: notifier.clone(),
            told: std::sync::Mutex::new(Told::new(config.notify_after.map_or(daemon::LASTS, Interval::duration))),
            of_commit: std::sync::Mutex::default(),
            lease: config.lease.clone(),
            kept: Mutex::default(),
            seen: std::sync::Mutex::default(),
            standing: std::sync::Mutex::new(Some(standing)),
            config: watch::channel(None).0,
            informer: Arc::default(),
            election: watch::channel(None).0,
            writer: Mutex::default(),
        }
    }

    /// The lane has ended: whoever stands for election for it need not any more.
    pub(super) fn end(&self) {
        if let Ok(mut standing) = self.standing.lock() {
            *standing = None;
        }
    }

    /// It has broken, by a defect of ours.
    pub(super) fn broke(&self, error: &str) {
        let error = inert(error, 600);
        tracing::error!(lane = self.name, error, "the lane has broken; it begins anew");
        self.failed(&error);
    }

    /// There was no pass to speak of.
    fn failed(&self, error: &str) {
        let status = PassStatus { began: now(), error: Some(error.to_owned()), ..PassStatus::default() };
        self.board.ended(&self.name, Asked { full: true, cause: Cause::Start }, Duration::ZERO, status);
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The files whose changes are changes of the source or its config.
    pub(super) fn watched(&self) -> Watched {
        let store = Context::load(&self.args).ok().map(|context| context.store);
        Watched { folders: git::watched(&location(&self.args)), config: self.args.config.clone(), store }
    }

    /// Hears of what others change on the target, and rings. Begins anew with every other config. Never ends.
    pub(super) async fn watch(&self, bell: &Bell) {
        let mut config = self.config.subscribe();
        loop {
            self.informer.clear();
            let context = config.borrow_and_update().clone();
            tokio::select! {
                () = self.watch_as(context.as_deref(), bell) => {}
                changed = config.changed() => if changed.is_err() { return std::future::pending().await },
            }
        }
    }

    async fn watch_as(&self, context: Option<&Context>, bell: &Bell) {
        let context = context.filter(|context| !self.writes_store(context));
        let Some(context) = context else { return std::future::pending().await };
        let mut lost = false;
        loop {
            match Live::open(context, &self.args, false)
                .await
                .map(|live| live.with_informer(Arc::clone(&self.informer)))
            {
                Ok(Live::Cluster(cluster)) => cluster.watch(lost, || bell.poke(Poke::Target)).await,
                Ok(Live::Store(_)) => return std::future::pending().await,
                // The passes say what is wrong.
                Err(_) => tokio::time::sleep(PATIENCE * 30).await,
            }
            lost = true;
        }
    }

    fn writes_store(&self, context: &Context) -> bool {
        Live::is_store(context, &self.args)
    }

    async fn try_pass(&self, asked: Asked, stop: &AtomicBool, hints: &BTreeSet<String>) -> Result<Done, Failure> {
        let mut kept = self.kept.lock().await;
        let Kept { context: last, cache, cluster, quarrels } = &mut *kept;
        // Only a commit that the source was seen at since is opened without asking. Whoever leads anew does not know what was
        // applied meanwhile, and who asks wants to know what is so now.
        let is_fresh =
            matches!(asked.cause, Cause::Source | Cause::Target | Cause::Registry | Cause::Retry | Cause::Due);
        let commit = self.seen.lock().ok().and_then(|mut seen| if is_fresh { seen.clone() } else { seen.take() });
        let Opened { context, source, broken } = open::open(&self.args, commit, last.as_ref(), stop)
            .instrument(tracing::info_span!(target: SPANS, "open"))
            .await?;
        if let Some(error) = &broken {
            tracing::error!(lane = self.name, error, "the config is broken; the last one counts");
        }
        let election = Election::of(&context, &self.args);
        let before = self.election.borrow().clone();
        if before.as_ref() != Some(&election) {
            self.election.send_replace(Some(election));
        }
        if before.is_some() && before != *self.election.borrow() {
            let why =
                "the config names another target or field manager than before: this process stands for election anew";
            return Err(Failure::new(Exit::Failed, why));
        }
        // Whatever was opened by another config is opened anew.
        let config = format!("{:?}", context.config);
        if cluster.as_ref().is_some_and(|(by, _)| *by != config) {
            *cluster = None;
            self.informer.clear();
        }
        if last.as_ref().is_none_or(|last| format!("{:?}", last.config) != config) {
            let _ = self.config.send_replace(Some(Arc::new(context.clone())));
        }
        *last = Some(context.clone());
        let opened;
        let live = if self.writes_store(&context) {
            opened = Live::Store(context.reader()?);
            &opened
        } else {
            if cluster.is_none() {
                let live = Live::open(&context, &self.args, self.planning.force_conflicts).await?;
                *cluster = Some((config.clone(), live.with_informer(Arc::clone(&self.informer))));
            }
            let Some((_, live)) = cluster.as_ref() else { return Err(Failure::usage("no target")) };
            live
        };
        if asked.full {
            // Opened anew, it is begun anew if it has grown too large.
            *cache = None;
        }
        let cache = cache.get_or_insert_with(|| Arc::new(Cache::new(&live.memory(&context.store))));
        let parts = context.reading(BTreeSet::new())?;
        let list = block_in_place(|| reconcile::list(&*source, &parts.selection, context.limits()))?;
        let (mut policy, server) = (context.policy(&self.planning, live)?, context.server(live));
        policy.spread = true;
        policy.patient = asked.cause != Cause::Asked;
        policy.quarrels = quarrels.held(now());
        if broken.is_some() {
            // What the new one would have read, nobody knows.
            policy.no_removals = Some("the config is broken, and an older one counts".to_owned());
        }
        let Parts { selection, options, ruling } = &parts;
        let inputs =
            Inputs { listing: &list.listing, selection, options, ruling, policy: &policy, server: &server, tool: TOOL };
        let key = inputs.key(live).filter(|_| !asked.full && hints.is_empty());
        if let Some(quiet) = key.and_then(|key| reconcile::recall(&**cache, key, &list.listing, now())) {
            let desired = Desired { revision: quiet.plan.revision.clone(), ..Desired::default() };
            return Ok(Done {
                desired,
                plan: quiet.plan,
                report: None,
                errors: 0,
                due: quiet.until,
                second: false,
                broken,
            });
        }
        let read = block_in_place(|| context.read(&*source, &parts, list, cache, &self.console))?;
        if self.planning.strict {
            strict(&read)?;
        }
        let desired = &read.assembled.desired;
        pushed(&mut policy, desired, hints);
        // What they answer counts for one pass, and so do logins.
        let upstream = &upstreams(&context, self.planning.resolve, live, cache, desired, &self.console).await?;
        let pass = Pass {
            live,
            registry: upstream,
            memory: &**cache,
            progress: &NoProgress,
            policy: &policy,
            server: &server,
            tool: TOOL,
            look_at_all: asked.full,
        };
        let planned = pass.plan(desired, now()).instrument(tracing::info_span!(target: SPANS, "plan")).await?;
        self.metrics.registries(&self.name, &upstream.tally());
        if let Some(key) = key {
            reconcile::remember(&**cache, key, &read, &planned);
        }
        let Planned { plan, live: known, due } = planned;
        let thaw = context.config.frozen(now()).map(|(_, until)| until);
        let dues = [due, planner::retry(desired, &known, now()), quarrels.next(now()), thaw];
        let due = dues.into_iter().flatten().min();
        let removes = plan.steps.iter().any(|step| step.action.is_removal());
        let is_folder = self.args.revision.is_none() && !git::watched(&location(&self.args)).is_empty();
        if removes && is_folder {
            // A file may be on its way: what is gone has to be gone at a second look, at the same state of all files.
            tokio::time::sleep(SECOND_LOOK).await;
            let list = block_in_place(|| reconcile::list(&*source, &parts.selection, context.limits()))?;
            let again = block_in_place(|| context.read(&*source, &parts, list, cache, &self.console))?;
            if again.assembled.desired.revision.content != plan.revision.content {
                let errors = count_errors(&read.assembled.findings);
                let desired = read.assembled.desired;
                return Ok(Done { desired, plan, report: None, errors, due: Some(now()), second: true, broken });
            }
        }
        let report = if plan.is_empty() || stop.load(Ordering::Relaxed) {
            None
        } else {
            let span = tracing::info_span!(target: SPANS, "apply", steps = plan.steps.len());
            Some(self.carry_out(&plan, live, &context, stop).instrument(span).await?)
        };
        for (name, wanted, with) in report.iter().flat_map(|report| written(desired, &plan, &known, report)) {
            if let Some(quarrel) = quarrels.written(&name, &wanted, with.as_deref(), now()) {
                tracing::warn!(lane = self.name, about = name, quarrel, "a quarrel");
            }
        }
        let errors = count_errors(&read.assembled.findings);
        Ok(Done { desired: read.assembled.desired, plan, report, errors, due, second: false, broken })
    }

    async fn carry_out(
        &self,
        plan: &Plan,
        live: &Live,
        context: &Context,
        stop: &AtomicBool,
    ) -> Result<Report, PortError> {
        let at_once = context.config.policy.workloads.at_once.map_or(executor::UPDATES, std::num::NonZeroUsize::get);
        let standing = self.standing.lock().ok().and_then(|standing| standing.clone());
        let leads = &standing.unwrap_or_else(|| watch::channel(false).1);
        let reason = |step: &crate::model::Step| render::reason(&step.reason);
        let clock = Timestamp::now;
        let mut report = match live {
            Live::Cluster(cluster) => {
                let target = Guarded { target: &**cluster, leads };
                executor::execute(plan, &target, reason, clock, at_once, stop, &NoProgress).await?
            }
            Live::Store(_) => {
                let writer = self.writer.lock().await;
                let Some(writer) = writer.as_ref() else {
                    let why = "another process writes to it".to_owned();
                    return Err(PortError::Unusable { what: "the store".to_owned(), why });
                };
                let target = Guarded { target: writer, leads };
                executor::execute(plan, &target, reason, clock, at_once, stop, &NoProgress).await?
            }
        };
        let patience = Patience { limit: FOLLOW, to_the_end: false };
        report.workloads = executor::follow(plan, &report, live, patience, clock, stop, &NoProgress).await;
        Ok(report)
    }

    /// What is said of a pass, and how it goes on.
    fn settle(&self, began: Timestamp, result: Result<Done, Failure>) -> (PassStatus, Ended) {
        let mut status = PassStatus { began, ..PassStatus::default() };
        let done = match result {
            Ok(done) => done,
            Err(failure) => {
                status.error = Some(inert(&chain(&*failure.error), 600));
                return (status, Ended { again: true, ..Ended::default() });
            }
        };
        let Done { desired, plan, report, errors, due, second, broken } = done;
        status.config_error = broken;
        let waiting = || plan.deferred.iter().filter(|deferred| !deferred.wait.is_note());
        let line = |it: &Deferred| format!("{}: {}", inert(&it.stream.to_string(), 300), render::wait(&it.wait));
        (status.deferred, status.errors) = (waiting().count(), errors);
        status.waits = waiting().take(LINES).map(line).collect();
        let unread = !desired.incomplete.is_empty() && errors == 0;
        let mut ended = Ended::of(&plan, report.as_ref(), unread, due, now());
        ended.changed |= second;
        for reason in plan.steps.iter().flat_map(|step| refused(&step.action)) {
            *status.failed_imports.entry(reason.to_owned()).or_default() += 1;
        }
        if report.is_none() && !plan.is_empty() {
            status.steps.insert("skipped".to_owned(), plan.steps.len() + plan.updates.len());
        }
        if let Some(report) = &report {
            self.count(&plan, report);
            for outcome in report.outcomes.values() {
                *status.steps.entry(word(outcome).to_owned()).or_default() += 1;
                let why = match outcome {
                    Outcome::Failed { error, .. } => Some(error),
                    Outcome::Stale { actual, .. } => Some(actual),
                    Outcome::Applied | Outcome::AlreadySo | Outcome::Diverged { .. } | Outcome::Skipped { .. } => None,
                };
                if status.failures.len() < LINES {
                    status.failures.extend(why.map(|why| inert(why, 600)));
                }
            }
        }
        self.metrics.streams(&self.name, plan.streams);
        self.board.lane(&self.name, |lane| {
            lane.revision.clone_from(&plan.revision.commit);
            lane.streams = plan.streams;
            lane.target.clone_from(&plan.target);
        });
        (status, ended)
    }
}

impl Lane {
    /// Tells the source's host how far its commit has come, when that is news.
    fn tell_of_commit(&self, status: &PassStatus, is_lasting: bool) {
        let (mut commit, mut streams) = (None, 0);
        self.board.lane(&self.name, |lane| (commit, streams) = (lane.revision.clone(), lane.streams));
        let told = commit.and_then(|commit| CommitStatus::of(&self.name, &commit, streams, status));
        let Ok(mut last) = self.of_commit.lock() else { return };
        let is_news = |told: &CommitStatus| {
            last.as_ref().is_none_or(|last| (&last.commit, last.state) != (&told.commit, told.state))
        };
        // As with notices: trouble that is over in a moment is none.
        let lasts = |told: &CommitStatus| told.state == State::Success || is_lasting;
        if let Some(told) = told.filter(|told| is_news(told) && lasts(told))
            && self.notifier.tell_of_commit(&self.args.source, told.clone())
        {
            *last = Some(told);
        }
    }

    /// Counts what became of a plan's steps, and how long its commit has waited for that.
    fn count(&self, plan: &Plan, report: &Report) {
        let steps = plan.steps.iter().map(|step| (step.id, step.action.kind()));
        let kinds: BTreeMap<StepId, &str> = steps.chain(plan.updates.iter().map(|it| (it.id, "update"))).collect();
        for (id, outcome) in &report.outcomes {
            self.metrics.step(&self.name, kinds.get(id).copied().unwrap_or("other"), word(outcome));
        }
        let mut before = None;
        self.board.lane(&self.name, |lane| before.clone_from(&lane.revision));
        if let (Some(committed), true) = (plan.revision.committed, before != plan.revision.commit) {
            self.metrics.applied(&self.name, committed, Timestamp::now());
        }
    }
}

impl Work for Lane {
    async fn look(&self) -> Look {
        let location = location(&self.args);
        let asking = tokio::task::spawn_blocking(move || git::ask(&location));
        let asked = match open::wait(asking, ASK, &AtomicBool::new(false)).await {
            Ok(asked) => asked.map_err(|error| chain(&error)),
            Err(failure) => Err(chain(&*failure.error)),
        };
        let Ok(mut seen) = self.seen.lock() else { return Look::Failed };
        match asked {
            Ok(commit) => {
                self.board.lane(&self.name, |lane| lane.source_error = None);
                let look = if *seen == commit { Look::Same } else { Look::Moved };
                self.metrics.looked(&self.name, if look == Look::Same { "same" } else { "moved" });
                *seen = commit;
                look
            }
            Err(error) => {
                let error = inert(&error, 600);
                self.metrics.looked(&self.name, "failed");
                tracing::warn!(lane = self.name, error, "the source cannot be asked");
                self.board.lane(&self.name, |lane| lane.source_error = Some(error));
                Look::Failed
            }
        }
    }

    async fn pass(&self, asked: Asked, stop: &AtomicBool) -> Ended {
        let (began, clock) = (now(), Instant::now());
        self.board.lane(&self.name, |lane| lane.busy = true);
        let hints = self.hints.take(&self.name);
        let span =
            tracing::info_span!(target: SPANS, "pass", lane = self.name, cause = %asked.cause, full = asked.full);
        let result = self.try_pass(asked, stop, &hints).instrument(span).await;
        if result.is_err() {
            // What nobody has looked at is still to be looked at; and a connection may have outlived its login.
            self.hints.put_back(&self.name, hints);
            self.kept.lock().await.cluster = None;
        }
        let (status, mut ended) = self.settle(began, result);
        let took = clock.elapsed();
        self.metrics.ended(&self.name, asked, took, &status);
        self.board.ended(&self.name, asked, took, status.clone());
        let mut is_lasting = false;
        if let Ok(mut told) = self.told.lock() {
            told.ended(&self.name, &status, now()).into_iter().for_each(|notice| self.notifier.tell(notice));
            is_lasting = told.is_lasting(now());
            // Trouble that lasts is told when it has, though nothing else happens.
            ended.due = [ended.due, told.next().filter(|_| !ended.again)].into_iter().flatten().min();
        }
        self.tell_of_commit(&status, is_lasting);
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let (lane, cause) = (&self.name, asked.cause.to_string());
        match &status.error {
            Some(error) => tracing::error!(lane, cause, milliseconds, error, "pass failed"),
            None => {
                let mut revision = None;
                self.board.lane(lane, |lane| revision.clone_from(&lane.revision));
                let steps: Vec<String> = status.steps.iter().map(|(word, count)| format!("{count} {word}")).collect();
                let (steps, deferred, errors) = (steps.join(", "), status.deferred, status.errors);
                tracing::info!(lane, cause, revision, steps, deferred, errors, milliseconds, "pass");
            }
        }
        ended
    }

    fn waits(&self, until: Option<Timestamp>) {
        self.board.lane(&self.name, |lane| lane.next = until);
    }

    fn queued(&self, since: Option<Timestamp>) {
        self.metrics.waiting(&self.name, since);
        self.board.lane(&self.name, |lane| lane.waiting_since = since);
    }

    fn stands(&self, leads: bool) {
        tracing::info!(lane = self.name, leads, "standing");
        self.metrics.leads(&self.name, leads);
        self.board.lane(&self.name, |lane| lane.leads = leads);
    }

    fn answered(&self, since: Timestamp) {
        self.metrics.answered(&self.name, since, Timestamp::now());
    }
}
