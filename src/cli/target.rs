//! The target that a command is about: the embedded store, or a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::adapters::cluster::{Access, Api, Cluster, Connection, Informer};
use crate::adapters::store::Reader;
use crate::model::{Change, LiveStream, StreamId};
use crate::ports::{LiveState, Looking, Observation, PortError, Which, Workloads};

use super::args::{Args, Target};
use super::console::Console;
use super::context::{Context, cache_folder};
use super::failure::{Exit, Failure};

/// A target, opened to look at.
pub(super) enum Live {
    /// The embedded store.
    Store(Reader),
    /// An OpenShift cluster.
    Cluster(Box<Cluster>),
}

impl Live {
    /// Opens the target that flags and config name. A named context alone means a cluster; what kind, it is asked.
    pub(super) async fn open(context: &Context, args: &Args, force: bool) -> Result<Self, Failure> {
        Self::open_as(context, args, force, context.config.field_manager.as_deref()).await
    }

    /// With what somebody who watches it hears.
    pub(super) fn with_informer(self, informer: Arc<Informer>) -> Self {
        match self {
            Self::Cluster(cluster) => Self::Cluster(Box::new(cluster.with_informer(informer))),
            Self::Store(reader) => Self::Store(reader),
        }
    }

    /// What flags and config name.
    fn named(context: &Context, args: &Args) -> Target {
        // Whoever names a cluster means one, though the config names the store.
        let named = args.context.is_some() || args.kubeconfig.is_some() || args.impersonate.is_some();
        let configured = context.config.target.map(Target::from).filter(|target| !named || *target != Target::Store);
        args.target.or(configured).or(named.then_some(Target::Auto)).unwrap_or(Target::Store)
    }

    /// Whether it is the store that they name.
    pub(super) fn is_store(context: &Context, args: &Args) -> bool {
        Self::named(context, args) == Target::Store
    }

    /// Likewise, written as that field manager.
    pub(super) async fn open_as(
        context: &Context,
        args: &Args,
        force: bool,
        manager: Option<&str>,
    ) -> Result<Self, Failure> {
        let target = Self::named(context, args);
        if target == Target::Store {
            return Ok(Self::Store(context.reader()?));
        }
        let connection = Connection::open(&access(args)).await?;
        let api = match target {
            Target::Openshift => Some(Api::OpenShift),
            Target::Kubernetes => Some(Api::Kubernetes),
            Target::Auto | Target::Store => connection.image_streams().await?,
        };
        let Some(api) = api else {
            let message = "the cluster has neither the `image.openshift.io` API nor the custom resource";
            return Err(
                Failure::new(Exit::Failed, message).hint("`streamkeeper install crd` makes the custom resource")
            );
        };
        let manager = manager.unwrap_or("streamkeeper");
        let namespaces = context.config.namespaces.iter().cloned().collect();
        let cluster = Cluster::new(connection, api, manager, force, namespaces);
        let cluster = cluster.with_registry(context.config.internal_registry.clone());
        Ok(Self::Cluster(Box::new(cluster.with_kinds(context.config.policy.workloads.kinds()))))
    }

    /// Whether workloads get their images from us.
    pub(super) fn updates_workloads(&self) -> bool {
        matches!(self, Self::Cluster(cluster) if cluster.api() == Api::Kubernetes)
    }

    /// Where what is remembered of it lies. Made for a cluster, which has no folder of its own; failing to is no error.
    pub(super) fn memory(&self, store: &Path) -> PathBuf {
        match self {
            Self::Store(_) => store.to_owned(),
            Self::Cluster(cluster) => {
                let name = crate::text::short_hash(cluster.identity(), 16);
                let folder = cache_folder().join("clusters").join(name);
                let _ = std::fs::create_dir_all(&folder);
                folder
            }
        }
    }

    /// Shows what the server has warned of.
    pub(super) fn show_warnings(&self, console: &Console) {
        if let Self::Cluster(cluster) = self {
            for warning in cluster.warnings() {
                console.say(&format!("the server warns: {warning}"));
            }
        }
    }

    /// How many images one import request has. The server fetches two manifests a second within one request after the first
    /// three (semantics 3.4): several small ones are quicker than one.
    pub(super) fn images_per_import(&self) -> usize {
        match self {
            Self::Cluster(cluster) if cluster.api() == Api::OpenShift => 3,
            Self::Store(_) | Self::Cluster(_) => usize::MAX,
        }
    }

    /// All streams of these namespaces, or all there are.
    pub(super) async fn streams(&self, namespace: &str) -> Result<BTreeMap<StreamId, LiveStream>, Failure> {
        match self {
            Self::Store(reader) => Ok(reader.streams()?),
            Self::Cluster(cluster) => {
                let namespaces = BTreeSet::from([namespace.to_owned()]);
                let looking = Looking { namespaces: &namespaces, settled: &BTreeMap::new(), anew: true };
                let seen = cluster.observe(looking).await?;
                if let Some(crate::model::Observed::Unknown(ignorance)) = seen.listed.get(namespace) {
                    return Err(Failure::new(Exit::Failed, ignorance.to_string()));
                }
                Ok(seen.streams)
            }
        }
    }
}

/// Which cluster the flags name, and as whom.
pub(super) fn access(args: &Args) -> Access {
    Access {
        kubeconfig: args.kubeconfig.clone(),
        context: args.context.clone(),
        impersonate: args.impersonate.clone(),
        allow_exec: args.allow_exec,
        timeout: args.request_timeout.map(|timeout| timeout.duration().unsigned_abs()),
    }
}

/// A target with its streams, for commands that show them.
pub(super) struct Shown {
    pub(super) live: Live,
    pub(super) streams: BTreeMap<StreamId, LiveStream>,
    runtime: tokio::runtime::Runtime,
}

impl Shown {
    /// Opens the target and looks at the streams of these namespaces.
    pub(super) fn open(context: &Context, args: &Args, namespaces: BTreeSet<String>) -> Result<Self, Failure> {
        let runtime = super::commands::runtime()?;
        let live = runtime.block_on(Live::open(context, args, false))?;
        let mut streams = BTreeMap::new();
        for namespace in namespaces {
            streams.extend(runtime.block_on(live.streams(&namespace))?);
        }
        Ok(Self { live, streams, runtime })
    }

    /// Changes of a stream, or of one tag of it, newest first. A cluster keeps images and their times; what was behind them is
    /// known of the newest, where we have written it down.
    pub(super) fn changes(&self, id: &StreamId, tag: Option<&str>, limit: usize) -> Result<Vec<Change>, Failure> {
        let mut changes = match &self.live {
            Live::Store(reader) => return Ok(reader.changes(id, tag, limit)?),
            Live::Cluster(cluster) => self.runtime.block_on(cluster.changes(id))?,
        };
        changes.retain(|change| tag.is_none_or(|tag| change.tag == tag));
        // Each change that was written down accounts for one image, the newest first.
        let mut known: BTreeMap<(String, Option<String>), usize> = BTreeMap::new();
        for change in &changes {
            *known.entry((change.tag.clone(), change.after.clone())).or_default() += 1;
        }
        let lists = self.streams.get(id).into_iter().flat_map(|live| &live.stream.status.tags);
        for list in lists.filter(|list| tag.is_none_or(|tag| list.tag == tag)) {
            for (at, item) in list.items.iter().enumerate() {
                let image = Some(item.docker_image_reference.clone());
                if let Some(left) = known.get_mut(&(list.tag.clone(), image)).filter(|left| **left > 0) {
                    *left -= 1;
                    continue;
                }
                changes.push(Change {
                    stream: id.to_string(),
                    tag: list.tag.clone(),
                    at: item.created.map(|at| at.to_string()).unwrap_or_default(),
                    run: 0,
                    revision: None,
                    dirty: false,
                    path: String::new(),
                    action: "image".to_owned(),
                    reason: String::new(),
                    before: list.items.get(at + 1).map(|before| before.docker_image_reference.clone()),
                    after: Some(item.docker_image_reference.clone()),
                });
            }
        }
        changes.sort_by(|one, other| other.at.cmp(&one.at));
        changes.truncate(limit);
        Ok(changes)
    }

    /// When the store first saw an image.
    pub(super) fn first_seen(&self, digest: &str) -> Result<Option<jiff::Timestamp>, Failure> {
        match &self.live {
            Live::Store(reader) => Ok(reader.first_seen(digest)?),
            Live::Cluster(_) => Ok(None),
        }
    }
}

impl LiveState for Live {
    fn identity(&self) -> String {
        match self {
            Self::Store(reader) => reader.identity(),
            Self::Cluster(cluster) => cluster.identity(),
        }
    }

    fn version(&self) -> Option<String> {
        match self {
            Self::Store(reader) => reader.version(),
            Self::Cluster(cluster) => cluster.version(),
        }
    }

    async fn observe(&self, looking: Looking<'_>) -> Result<Observation, PortError> {
        match self {
            Self::Store(reader) => reader.observe(looking).await,
            Self::Cluster(cluster) => cluster.observe(looking).await,
        }
    }

    fn has_workloads(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    async fn workloads(&self, which: Which<'_>) -> Workloads {
        match self {
            Self::Store(reader) => reader.workloads(which).await,
            Self::Cluster(cluster) => cluster.workloads(which).await,
        }
    }
}
