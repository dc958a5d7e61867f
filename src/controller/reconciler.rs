//! A reconciler: one source and one target. It runs the session that `plan` and `apply` run, again and again, with what can be
//! kept between passes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex as StdMutex};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Mutex, watch};
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::config::{Interval, RunConfig};
use crate::model::{Desired, Plan, Step};
use crate::ports::{LiveState, NoProgress, TargetKind};
use crate::reconcile::{
    Connected, Failure, Listed, Opened, Patience, PlanRequest, Planned, ReadSource, Session, Settings, Verified,
};
use crate::render;
use crate::source::inert;

use super::commit_status::CommitStatus;
use super::conflict_backoff::ConflictBackoff;
use super::file_watch::Watched;
use super::guard::Guarded;
use super::hints::Hints;
use super::host::{Election, Host};
use super::log_lines::{self, Faults};
use super::machine::{Cause, Pass, Poke};
use super::metrics::Metrics;
use super::notice::{LASTS, Told};
use super::notifier::Notifier;
use super::open;
use super::run::Bell;
use super::status::{Board, PassStatus};
use super::summary::{PassResult, pushed};

/// Target of spans, for traces: log lines do not carry them.
pub const SPANS: &str = "spans";

/// Between two looks at files of which some are gone.
const SECOND_LOOK: Duration = Duration::from_millis(1500);

/// How long dependents are looked at, before the next pass may begin.
const FOLLOW: Duration = Duration::from_secs(3);

/// Before a target that could not be opened is watched.
const WATCH_AGAIN: Duration = Duration::from_secs(30);

/// What all reconcilers of a process share.
#[derive(Clone)]
pub struct Shared {
    /// What `status` shows.
    pub board: Arc<Board>,
    /// What `/metrics` shows.
    pub metrics: Arc<Metrics>,
    /// Repositories that something was pushed to.
    pub hints: Arc<Hints>,
    /// Sends notifications and commit statuses.
    pub notifier: Notifier,
    /// Name and version of the program.
    pub tool: &'static str,
    /// The clock, to the second.
    pub clock: fn() -> Timestamp,
}

/// One source and one target.
pub struct Reconciler<H: Host> {
    name: String,
    pub(super) host: H,
    pub(super) shared: Shared,
    pub(super) told: StdMutex<Told>,
    /// The commit status that the source's host has.
    pub(super) of_commit: StdMutex<Option<CommitStatus>>,
    /// What was logged of what is wrong.
    faults: Faults,
    pub(super) kept: Mutex<Kept<H>>,
    /// Commit that the source's URL was last seen at.
    pub(super) seen: StdMutex<Option<String>>,
    /// Whether this process leads; none once the reconciler has ended.
    leads: StdMutex<Option<watch::Receiver<bool>>>,
    /// The settings that were read last, sent again with every other config.
    settings: watch::Sender<Option<Arc<Settings>>>,
    /// What it takes to write, by the config that was read last; none before one was read.
    pub(super) election: watch::Sender<Option<Election>>,
}

/// What is kept between passes. All of it may vanish.
pub(super) struct Kept<H: Host> {
    settings: Option<Settings>,
    memory: Option<Arc<H::Memory>>,
    /// A cluster, by the config that it was opened by.
    pub(super) cluster: Option<(Option<String>, H::Live)>,
    conflicts: ConflictBackoff,
}

impl<H: Host> Reconciler<H> {
    /// A reconciler that has not begun.
    pub fn new(name: &str, host: H, config: &RunConfig, shared: &Shared, leads: watch::Receiver<bool>) -> Self {
        shared.board.lane(name, |lane| lane.source = host.source_name());
        shared.metrics.leads(name, false);
        let kept = Kept { settings: None, memory: None, cluster: None, conflicts: ConflictBackoff::default() };
        Self {
            name: name.to_owned(),
            host,
            shared: shared.clone(),
            told: StdMutex::new(Told::new(config.notify_after.map_or(LASTS, Interval::duration))),
            of_commit: StdMutex::default(),
            faults: Faults::default(),
            kept: Mutex::new(kept),
            seen: StdMutex::default(),
            leads: StdMutex::new(Some(leads)),
            settings: watch::channel(None).0,
            election: watch::channel(None).0,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// It has ended: it need not stand for election any more.
    pub(super) fn end(&self) {
        if let Ok(mut leads) = self.leads.lock() {
            *leads = None;
        }
    }

    /// It has broken, which is a defect of the program.
    pub(super) fn broke(&self, error: &str) {
        let error = inert(error, 600);
        tracing::error!(lane = self.name, error, "the lane has broken; it begins anew");
        self.failed(&error);
    }

    /// There was no pass to speak of.
    pub(super) fn failed(&self, error: &str) {
        let began = (self.shared.clock)();
        let status = PassStatus { began, error: Some(error.to_owned()), ..PassStatus::default() };
        self.shared.board.ended(&self.name, Pass { full: true, cause: Cause::Start }, Duration::ZERO, status);
    }

    /// The files whose changes are changes of the source or its config.
    pub(super) fn watched(&self) -> Watched {
        self.host.watched()
    }

    /// Hears of what others change on the target, and rings. Begins again with every other config. Never ends.
    pub(super) async fn watch(&self, bell: &Bell) {
        let mut settings = self.settings.subscribe();
        loop {
            self.host.forget();
            let current = settings.borrow_and_update().clone();
            let watching = async {
                match &current {
                    Some(settings) => {
                        loop {
                            // The passes report what is wrong.
                            self.host.watch(settings, &|| bell.poke(Poke::Target)).await;
                            tokio::time::sleep(WATCH_AGAIN).await;
                        }
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = watching => {}
                changed = settings.changed() => if changed.is_err() { return std::future::pending().await },
            }
        }
    }

    /// Runs the session once.
    pub(super) async fn try_pass(
        &self,
        asked: Pass,
        stop: &CancellationToken,
        hints: &BTreeSet<String>,
    ) -> Result<PassResult, Failure> {
        let mut kept = self.kept.lock().await;
        let kept = &mut *kept;
        let opened = self.open(asked, kept, stop).await?;
        let reason = |step: &Step| render::reason(&step.reason);
        let Shared { tool, clock, .. } = self.shared;
        let session = Session { opener: &self.host, progress: &NoProgress, tool, clock, reason };
        let live = match kept.cluster.take() {
            Some((_, live)) => live,
            None => session.target(&opened.settings).await?,
        };
        if asked.full {
            // Opened again, it is begun again if it has grown too large.
            kept.memory = None;
        }
        let memory = kept.memory.get_or_insert_with(|| self.host.memory(&opened.settings, &live));
        let memory = Arc::clone(memory);
        let connected = session.connected(&opened.settings, &live, &memory);
        let result = self.run(&connected, &opened, (asked, stop, hints), &mut kept.conflicts).await;
        // A connection may have outlived its login: after a failure it is made again.
        if result.is_ok() && live.kind() != TargetKind::Store {
            kept.cluster = Some((opened.settings.fingerprint(), live));
        }
        result
    }

    /// Opens config and source, and notices what another config changes.
    async fn open(&self, asked: Pass, kept: &mut Kept<H>, stop: &CancellationToken) -> Result<Opened, Failure> {
        // Only a commit that the source was seen at since is opened without asking. A process that has just become the leader does
        // not know what was applied meanwhile, and a user who asks wants to know what is so now.
        let is_fresh =
            matches!(asked.cause, Cause::Source | Cause::Target | Cause::Registry | Cause::Retry | Cause::Due);
        let commit = self.seen.lock().ok().and_then(|mut seen| if is_fresh { seen.clone() } else { seen.take() });
        let opened = open::open(&self.host, commit, kept.settings.clone(), stop)
            .instrument(tracing::info_span!(target: SPANS, "open"))
            .await?;
        if let Some(error) = &opened.broken {
            tracing::error!(lane = self.name, error, "the config is broken; the last one counts");
        }
        let election = self.host.election(&opened.settings);
        let before = self.election.borrow().clone();
        if before.as_ref() != Some(&election) {
            self.election.send_replace(Some(election.clone()));
        }
        if before.is_some_and(|before| before != election) {
            let why =
                "the config names another target or field manager than before: this process stands for election anew";
            return Err(Failure::failed(why));
        }
        // What was opened by another config is opened again.
        let config = opened.settings.fingerprint();
        let is_same = |by: &Option<String>| by.is_some() && *by == config;
        if kept.cluster.as_ref().is_some_and(|(by, _)| !is_same(by)) {
            kept.cluster = None;
            self.host.forget();
        }
        if kept.settings.as_ref().is_none_or(|last| !is_same(&last.fingerprint())) {
            let _ = self.settings.send_replace(Some(Arc::new(opened.settings.clone())));
        }
        kept.settings = Some(opened.settings.clone());
        Ok(opened)
    }

    /// From the files to the report.
    async fn run(
        &self,
        connected: &Connected<'_, '_, H, NoProgress>,
        opened: &Opened,
        (asked, stop, hints): (Pass, &CancellationToken, &BTreeSet<String>),
        conflicts: &mut ConflictBackoff,
    ) -> Result<PassResult, Failure> {
        let now = self.shared.clock;
        let listed = block_in_place(|| opened.list([], now()))?;
        let mut request = self.request(connected, opened, asked, conflicts)?;
        let key = connected.key(&listed, &request).filter(|_| hints.is_empty());
        let broken = opened.broken.clone();
        if let Some(recalled) = connected.recall(key, &listed) {
            let desired = Desired { revision: recalled.plan.revision.clone(), ..Desired::default() };
            let due = recalled.until;
            return Ok(PassResult {
                desired,
                plan: recalled.plan,
                report: None,
                errors: 0,
                due,
                second: false,
                broken,
            });
        }
        let read = self.read(connected, listed)?;
        pushed(&mut request.state, &read.assembled.desired, hints);
        let span = tracing::info_span!(target: SPANS, "plan");
        let planned = connected.plan(&read, &request, key).instrument(span).await?;
        self.shared.metrics.registries(&self.name, &planned.tally());
        self.faults.log(&self.name, &read.assembled.findings, &planned.plan);
        let thaw = connected.settings.config.frozen(now()).map(|(_, until)| until);
        let Planned { plan, live: known, due, retry, .. } = planned;
        let due = [due, retry, conflicts.next(now()), thaw].into_iter().flatten().min();
        let errors = read.errors();
        if self.is_gone_only_once(&plan, opened, connected).await? {
            let (desired, due) = (read.assembled.desired, Some(now()));
            return Ok(PassResult { desired, plan, report: None, errors, due, second: true, broken });
        }
        let desired = &read.assembled.desired;
        let mut report = None;
        if !plan.is_empty() && !stop.is_cancelled() {
            let span = tracing::info_span!(target: SPANS, "apply", steps = plan.steps.len());
            let verified = self.execute(connected, &plan, stop).instrument(span).await?;
            for applied in verified.applied(desired, &known) {
                if let Some(conflict) =
                    conflicts.written(&applied.name, &applied.wanted, applied.with.as_deref(), now())
                {
                    tracing::warn!(lane = self.name, about = applied.name, quarrel = conflict, "a quarrel");
                }
            }
            log_lines::changes(&self.name, &plan, &verified.report);
            report = Some(verified.report);
        }
        let desired = read.assembled.desired;
        Ok(PassResult { desired, plan, report, errors, due, second: false, broken })
    }

    /// What is asked of the plan, with what earlier passes have taught.
    fn request<'c>(
        &self,
        connected: &Connected<'c, '_, H, NoProgress>,
        opened: &Opened,
        asked: Pass,
        conflicts: &ConflictBackoff,
    ) -> Result<PlanRequest<'c>, Failure> {
        let mut request = connected.request()?;
        request.look_at_all = asked.full;
        request.state.spread = true;
        request.state.patient = asked.cause != Cause::Asked;
        request.state.conflicts = conflicts.held((self.shared.clock)());
        if opened.broken.is_some() {
            // What the new config would have read is not known.
            request.state.no_removals = Some("the config is broken, and an older one counts".to_owned());
        }
        Ok(request)
    }

    fn read(&self, connected: &Connected<'_, '_, H, NoProgress>, listed: Listed<'_>) -> Result<ReadSource, Failure> {
        let read = block_in_place(|| listed.read(&**connected.memory, &NoProgress))?;
        if connected.settings.options.strict && read.stops(true) {
            let read = &read.assembled;
            return Err(Failure::refused(render::strict_refusal(&read.findings, read.found, read.waived)));
        }
        Ok(read)
    }

    /// Whether a plan removes what a second look at the folder finds otherwise: a file may be on its way.
    async fn is_gone_only_once(
        &self,
        plan: &Plan,
        opened: &Opened,
        connected: &Connected<'_, '_, H, NoProgress>,
    ) -> Result<bool, Failure> {
        if !plan.steps.iter().any(|step| step.action.is_removal()) || !self.host.is_folder() {
            return Ok(false);
        }
        tokio::time::sleep(SECOND_LOOK).await;
        let again = block_in_place(|| {
            let listed = opened.list([], (self.shared.clock)())?;
            listed.read(&**connected.memory, &NoProgress)
        })?;
        Ok(again.assembled.desired.revision.content != plan.revision.content)
    }

    async fn execute<'p>(
        &self,
        connected: &Connected<'_, '_, H, NoProgress>,
        plan: &'p Plan,
        stop: &CancellationToken,
    ) -> Result<Verified<'p>, Failure> {
        let leads = self.leads.lock().ok().and_then(|leads| leads.clone());
        let leads = &leads.unwrap_or_else(|| watch::channel(false).1);
        let writer = connected.writer().await?;
        let executed = connected.execute(plan, &BTreeMap::new(), &Guarded { target: &writer, leads }, stop).await?;
        let patience = Patience { limit: FOLLOW, to_the_end: false };
        Ok(connected.verify(executed, patience, stop).await)
    }
}
