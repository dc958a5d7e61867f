//! Clusters as targets: OpenShift, where the API server does the work, and others, where the custom resource is written by
//! `rules`.
//!
//! Pure: `request` and `reply`, what is asked and how answers are read; `owned`, what of a stream is ours by its managed
//! fields; `wanted`, what is applied to it. `access` is the one client. [`Cluster`] looks (`live`, `workloads`), answers in the
//! place of registries (`resolve`) and writes. On OpenShift (`write`): server-side apply for streams and tags, ImageStreamImport
//! for images, DELETE of the ImageStreamTag for what goes. What server-side apply would leave behind
//! (`tests/recorded/openshift/owned_imports.json`) is why every field of a tag is applied in words, and why tags are removed by
//! DELETE. Elsewhere (`install`, `by_rules`, `update`): the resource itself, its status, and the images of workloads; `told` says on the cluster what was done,
//! `lease` who of several processes may; `watch` hears of what others change, and `informer` keeps it, so that passes need not list.
//! May name `api`, `model`, `ports`, `rules` and `text`.
//! Tests: beside the code; `tests/it/openshift.rs`, `tests/it/openshift_{faults,guards,roles,upstream}.rs`,
//! `tests/it/workloads.rs`, `tests/it/kubernetes.rs`, `tests/it/kubernetes_workloads.rs`; against real servers `tests/it/live_openshift.rs`,
//! `tests/it/live_kubernetes.rs`.

mod access;
mod by_rules;
mod informer;
mod install;
mod lease;
mod live;
mod owned;
#[cfg(test)]
mod recorded;
mod reply;
mod request;
mod resolve;
mod told;
mod update;
mod wanted;
mod watch;
mod workloads;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use crate::model::{Cause, Change, Ignorance, Revision};
use crate::openshift::{ANNOTATED_KINDS, StreamId};
use crate::ports::PortError;

pub use access::{Access, Connection};
pub use informer::Informer;
pub use lease::Candidate;
pub use request::Api;
pub use resolve::Resolver;

use owned::Object;
pub use owned::Owner;

/// The image streams of a cluster.
pub struct Cluster {
    connection: Connection,
    api: Api,
    /// As whom it is written.
    owner: Owner,
    /// Take fields over that another manager has applied.
    force: bool,
    /// What stands in for an integrated registry, where there is none.
    registry: Option<String>,
    /// Where streams of ours can be; empty: anywhere.
    namespaces: BTreeSet<String>,
    /// Kinds of workloads that are looked at, where we write images.
    kinds: BTreeSet<&'static str>,
    /// Streams as our own last write left them.
    left: Mutex<BTreeMap<StreamId, Object>>,
    under_way: Mutex<UnderWay>,
    /// What a watch has heard, where somebody watches.
    informer: Arc<Informer>,
}

/// What the plan under way says of all its steps.
#[derive(Default)]
struct UnderWay {
    /// Which part of the source it was made from.
    scope: String,
    /// The definitions behind it.
    revision: Revision,
    /// Streams that it removes something from.
    removed_from: BTreeSet<StreamId>,
}

impl Cluster {
    /// The pull secrets of a namespace, as the server lists them. To be kept out of every output.
    ///
    /// # Errors
    ///
    /// Why they cannot be read.
    pub async fn pull_secrets(&self, namespace: &str) -> Result<Vec<u8>, Ignorance> {
        let asked = format!("pull secrets of {namespace}");
        self.connection.send(request::pull_secrets(self.api, namespace)).await.map_err(|trouble| match trouble {
            access::Trouble::Refused(refused) if refused.code == 403 => {
                let right = match self.api {
                    Api::OpenShift => "`get` on `imagestreams/secrets` in `image.openshift.io`",
                    Api::Kubernetes => "`list` on `secrets`",
                };
                let why = format!("grant {right} there, or leave `pullSecrets` out of the config");
                Ignorance::new(asked, Cause::Forbidden, why)
            }
            access::Trouble::Refused(refused) => Ignorance::new(asked, Cause::ServerError, refused.message),
            access::Trouble::Lost(detail) => Ignorance::new(asked, Cause::Unreachable, detail),
        })
    }

    /// What managers have written down of their changes of a stream, newest first.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub async fn changes(&self, stream: &StreamId) -> Result<Vec<Change>, PortError> {
        let object = self.look(stream).await.map_err(|trouble| trouble.failed(format!("read `{stream}`")))?;
        Ok(object.map(|object| told::recorded(stream, &object)).unwrap_or_default())
    }

    /// With a registry that tags with `referencePolicy: Local` are pulled from, where we write what streams resolve to.
    #[must_use]
    pub fn with_registry(self, registry: Option<String>) -> Self {
        Self { registry, ..self }
    }

    /// With the kinds of workloads to look at, where we write their images.
    #[must_use]
    pub fn with_kinds(self, kinds: BTreeSet<&'static str>) -> Self {
        Self { kinds, ..self }
    }

    /// With what somebody who watches it hears.
    #[must_use]
    pub fn with_informer(self, informer: Arc<Informer>) -> Self {
        Self { informer, ..self }
    }

    /// Which API its streams are in.
    pub fn api(&self) -> Api {
        self.api
    }

    /// What the server has warned of, such as a deprecated field.
    pub fn warnings(&self) -> BTreeSet<String> {
        self.connection.warnings()
    }

    /// The streams of the cluster, written as this owner.
    pub fn new(connection: Connection, api: Api, owner: Owner, force: bool, namespaces: BTreeSet<String>) -> Self {
        Self {
            connection,
            api,
            owner,
            force,
            registry: None,
            kinds: ANNOTATED_KINDS.iter().copied().collect(),
            namespaces,
            left: Mutex::default(),
            under_way: Mutex::default(),
            informer: Arc::default(),
        }
    }
}
