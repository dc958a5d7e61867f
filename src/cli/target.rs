//! The target that a command is about: the embedded store, or a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::adapters::cluster::{Access, Api, Cluster, Connection, Informer, Owner};
use crate::adapters::store::{Cache, Reader};
use crate::config::TargetConfig;
use crate::model::{LiveStream, Observed};
use crate::openshift::StreamId;
use crate::ports::{LiveState, Looking, Observation, PortError, TargetKind, Which, Workloads};
use crate::reconcile::Settings;
use crate::source::short_hash;

use super::args::Args;
use super::console::Console;
use super::failure::Failure;
use super::places;
use super::settings;

/// A target, opened to look at.
pub(super) enum Live {
    /// The embedded store.
    Store(Box<Reader>),
    /// A cluster.
    Cluster(Box<Cluster>),
}

impl Live {
    /// Opens the target that flags and config name. A named context alone means a cluster; what kind, it is asked.
    pub(super) async fn open(args: &Args, settings: &Settings) -> Result<Self, Failure> {
        let config = &settings.config;
        let target = settings::target(args, config);
        if target == TargetConfig::Store {
            let reader = Reader::open(settings::store(args, settings)?, &settings.identities_of_store())?;
            return Ok(Self::Store(Box::new(reader)));
        }
        let connection = Connection::open(&access(args)).await?;
        let api = match target {
            TargetConfig::Openshift => Some(Api::OpenShift),
            TargetConfig::Kubernetes => Some(Api::Kubernetes),
            TargetConfig::Auto | TargetConfig::Store => connection.image_streams().await?,
        };
        let Some(api) = api else {
            let message = "the cluster has neither the `image.openshift.io` API nor the custom resource";
            return Err(Failure::failed(message).hint("`streamkeeper install crd` makes the custom resource"));
        };
        let (manager, previous) = (settings.manager(), settings.previous_managers());
        let owner = Owner { manager, previous, identities: settings.identities() };
        let namespaces = config.namespaces.iter().cloned().collect();
        let cluster = Cluster::new(connection, api, owner, settings.options.force_conflicts, namespaces);
        let cluster = cluster.with_registry(config.internal_registry.clone());
        Ok(Self::Cluster(Box::new(cluster.with_kinds(config.policy.workloads.kinds()))))
    }

    /// With what a watch of it hears.
    pub(super) fn with_informer(self, informer: Arc<Informer>) -> Self {
        match self {
            Self::Cluster(cluster) => Self::Cluster(Box::new(cluster.with_informer(informer))),
            Self::Store(reader) => Self::Store(reader),
        }
    }

    /// What is remembered of it.
    pub(super) fn memory(&self, args: &Args, settings: &Settings) -> Cache {
        match self {
            Self::Store(_) => cache_of_store(args, settings),
            Self::Cluster(cluster) => {
                let name = short_hash(cluster.identity(), 16);
                Cache::new(places::cache_dir(args).map(|cache| cache.join("clusters").join(name)).as_deref())
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

    /// All streams of the store; of a cluster those of this namespace.
    pub(super) async fn streams(&self, namespace: &str) -> Result<BTreeMap<StreamId, LiveStream>, Failure> {
        match self {
            Self::Store(reader) => Ok(reader.streams()?),
            Self::Cluster(cluster) => {
                let namespaces = BTreeSet::from([namespace.to_owned()]);
                let looking = Looking { namespaces: &namespaces, settled: &BTreeMap::new(), anew: true };
                let seen = cluster.observe(looking).await?;
                if let Some(Observed::Unknown(ignorance)) = seen.listed.get(namespace) {
                    return Err(Failure::failed(ignorance.to_string()));
                }
                Ok(seen.streams)
            }
        }
    }
}

/// What is remembered of the store that the settings name.
pub(super) fn cache_of_store(args: &Args, settings: &Settings) -> Cache {
    let store = settings.store.as_ref().and_then(|store| std::path::absolute(store).ok());
    let folder = store
        .zip(places::cache_dir(args))
        .map(|(store, cache)| cache.join("stores").join(short_hash(store.as_os_str().as_encoded_bytes(), 32)));
    Cache::new(folder.as_deref())
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

impl LiveState for Live {
    fn kind(&self) -> TargetKind {
        match self {
            Self::Store(reader) => reader.kind(),
            Self::Cluster(cluster) => cluster.kind(),
        }
    }

    fn manager(&self) -> Option<&str> {
        match self {
            Self::Store(reader) => reader.manager(),
            Self::Cluster(cluster) => cluster.manager(),
        }
    }

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
