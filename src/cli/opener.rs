//! What a session is opened with: flags, and the adapters that they name.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{Mutex, OwnedMappedMutexGuard, OwnedMutexGuard};

use crate::adapters::cluster::{Cluster, Informer};
use crate::adapters::git::{self, History, Location};
use crate::adapters::store::{Cache, Writer};
use crate::config::LeaseConfig;
use crate::model::{Desired, Plan, Question, Report, Step, Update};
use crate::openshift::Digest;
use crate::ports::{Command, Performed, PortError, Progress, Source, Target};
use crate::reconcile::{Opened, Opener, PlanOptions, Session, Settings};
use crate::render;

use super::answered::Answered;
use super::args::{Args, Planning, Resolve};
use super::console::Console;
use super::failure::Failure;
use super::places::local_folder;
use super::process::{TOOL, now};
use super::registries::{Upstreams, upstreams};
use super::settings::{self, location};
use super::snapshot::WithWorkloads;
use super::target::Live;

/// One source and one target, as flags name them.
#[derive(Clone)]
pub(super) struct Flags {
    /// The flags of every command.
    pub(super) args: Args,
    /// Those of planning.
    pub(super) options: PlanOptions,
    /// Who is asked what upstream tags are.
    pub(super) resolve: Resolve,
    /// A file with workloads, in the place of the target's.
    pub(super) workloads: Option<PathBuf>,
    /// The revision that a change is reviewed against; its config is trusted.
    pub(super) base: Option<String>,
    /// What an authenticated plan says of references.
    pub(super) digests: Arc<BTreeMap<Question, Digest>>,
    /// Files and folders to read in the place of the source.
    pub(super) paths: Vec<PathBuf>,
    /// Where problems are shown that do not end a session.
    pub(super) console: Console,
    /// What `run` holds between passes; none for a single command.
    pub(super) held: Option<Held>,
}

/// What `run` holds for one reconciler.
#[derive(Clone)]
pub(super) struct Held {
    /// What was heard of the cluster.
    pub(super) informer: Arc<Informer>,
    /// The store, while this process may write it.
    pub(super) writer: Arc<Mutex<Option<Writer>>>,
    /// What the config says of Leases.
    pub(super) lease: LeaseConfig,
}

impl Flags {
    /// For a command that plans nothing.
    pub(super) fn new(args: &Args, console: &Console) -> Self {
        Self {
            args: args.clone(),
            options: PlanOptions::default(),
            resolve: Resolve::default(),
            workloads: None,
            base: None,
            digests: Arc::default(),
            paths: Vec::new(),
            console: console.clone(),
            held: None,
        }
    }

    /// For a command that plans.
    pub(super) fn planning(args: &Args, planning: &Planning, console: &Console) -> Self {
        Self { options: planning.options(), resolve: planning.resolve, ..Self::new(args, console) }
    }

    /// The source at the commit of a saved plan, with the trusted config and what that commit's own may add to it.
    pub(super) fn at_commit(&self, commit: &str) -> Result<(Settings, Box<dyn Source>), Failure> {
        let now = git::open(&location(&self.args))?;
        let source = self.source(Some(commit))?;
        let at = |revision: &str| self.source(Some(revision));
        let settings = settings::of_commit(&self.args, &self.options, (&*now, &*source), &at)?;
        Ok((settings, source))
    }

    /// Where a commit is in the history of the source as it is named.
    pub(super) fn history(&self, commit: &str) -> Result<History, Failure> {
        Ok(git::history(&location(&self.args), commit)?)
    }

    /// The source at the commit that it is at now: of a work tree, what is committed.
    pub(super) fn at_tip(&self) -> Result<Opened, Failure> {
        let (settings, _) = self.open(None)?;
        let committed = local_folder(&self.args.source).map(|_| "HEAD");
        let source = self.source(self.args.revision.as_deref().or(committed))?;
        Ok(Opened { settings, source: source.into(), broken: None })
    }

    /// A session that works by these flags.
    pub(super) fn session<'s, P: Progress>(&'s self, progress: &'s P) -> Session<'s, Self, P> {
        let reason = |step: &Step| render::reason(&step.reason);
        Session { opener: self, progress, tool: TOOL, clock: now, reason }
    }
}

impl Opener for Flags {
    type Live = WithWorkloads;
    type Memory = Cache;
    type Registry<'a> = Answered<Upstreams<'a>>;
    type Writer<'a> = AnyWriter<'a>;

    fn open(&self, commit: Option<&str>) -> Result<(Settings, Box<dyn Source>), Failure> {
        if !self.paths.is_empty() {
            return Ok((settings::load(&self.args, &self.options)?, git::named(self.paths.clone())));
        }
        let source = git::open(&Location { commit: commit.map(str::to_owned), ..location(&self.args) })?;
        let at = |revision: &str| self.source(Some(revision));
        let settings = settings::of_source(&self.args, &self.options, self.base.as_deref(), &*source, &at)?;
        if !settings.ignored_keys.is_empty() {
            let keys = settings.ignored_keys.join("`, `");
            self.console.say(&format!("keys of the source's own config that count only when it is trusted: `{keys}`"));
        }
        Ok((settings, source))
    }

    fn source(&self, revision: Option<&str>) -> Result<Box<dyn Source>, Failure> {
        let own = location(&self.args);
        let revision = revision.map(str::to_owned).or(own.revision.clone());
        Ok(git::open(&Location { revision, ..own })?)
    }

    fn merge_base(&self, revision: &str) -> Option<String> {
        git::merge_base(&location(&self.args), revision, self.args.revision.as_deref())
    }

    async fn target(&self, settings: &Settings) -> Result<WithWorkloads, Failure> {
        let mut live = Live::open(&self.args, settings).await?;
        if let Some(held) = &self.held {
            live = live.with_informer(Arc::clone(&held.informer));
        }
        WithWorkloads::open(live, self.workloads.as_deref(), &self.console)
    }

    fn memory(&self, settings: &Settings, live: &WithWorkloads) -> Arc<Cache> {
        Arc::new(live.live.memory(&self.args, settings))
    }

    async fn registries<'a>(
        &'a self,
        settings: &'a Settings,
        live: &'a WithWorkloads,
        memory: &'a Arc<Cache>,
        desired: &Desired,
    ) -> Result<Answered<Upstreams<'a>>, Failure> {
        let asked = upstreams(self.resolve, &settings.config, &live.live, memory, desired, &self.console).await?;
        Ok(Answered { asked, digests: Arc::clone(&self.digests) })
    }

    async fn writer<'a>(&'a self, settings: &'a Settings, live: &'a WithWorkloads) -> Result<AnyWriter<'a>, Failure> {
        if let Live::Cluster(cluster) = &live.live {
            return Ok(AnyWriter::Cluster(cluster));
        }
        let writer = match &self.held {
            Some(held) => Arc::clone(&held.writer),
            None => {
                let store = settings::store(&self.args, settings)?;
                Arc::new(Mutex::new(Some(Writer::open(store, &settings.identities_of_store())?)))
            }
        };
        OwnedMutexGuard::try_map(writer.lock_owned().await, Option::as_mut).map(AnyWriter::Store).map_err(|_| {
            let why = "another process writes to it".to_owned();
            PortError::Unusable { what: "the store".to_owned(), why }.into()
        })
    }
}

/// A target, to change.
pub(super) enum AnyWriter<'a> {
    /// The store, opened for one command or held by `run`.
    Store(OwnedMappedMutexGuard<Option<Writer>, Writer>),
    /// A cluster.
    Cluster(&'a Cluster),
}

impl Target for AnyWriter<'_> {
    async fn perform(&self, command: Command<'_>) -> Result<Performed, PortError> {
        match self {
            Self::Store(writer) => writer.perform(command).await,
            Self::Cluster(cluster) => cluster.perform(command).await,
        }
    }

    async fn update(&self, update: &Update) -> Result<Performed, PortError> {
        match self {
            Self::Store(writer) => writer.update(update).await,
            Self::Cluster(cluster) => cluster.update(update).await,
        }
    }

    async fn begin(&self, plan: &Plan, now: Timestamp) -> Result<i64, PortError> {
        match self {
            Self::Store(writer) => writer.begin(plan, now).await,
            Self::Cluster(cluster) => cluster.begin(plan, now).await,
        }
    }

    async fn finish(&self, run: i64, report: &Report) -> Result<(), PortError> {
        match self {
            Self::Store(writer) => writer.finish(run, report).await,
            Self::Cluster(cluster) => cluster.finish(run, report).await,
        }
    }
}
