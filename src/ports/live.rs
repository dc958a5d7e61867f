//! What is read of a target.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Ignorance, LiveStream, LiveWorkload, Observed, WorkloadId};
use crate::openshift::StreamId;

use super::PortError;

/// Kinds of targets: who imports, and who gives workloads their images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// The embedded store: Streamkeeper does both.
    Store,
    /// An OpenShift cluster: its API server imports, its own controllers update workloads.
    OpenShift,
    /// Another cluster, with the custom resource: Streamkeeper does both.
    Kubernetes,
}

impl TargetKind {
    /// Images in one import request at most. The server fetches two manifests a second within one request after the first three
    /// (semantics 3.4): several small ones are quicker than one.
    pub fn images_per_import(self) -> usize {
        match self {
            Self::OpenShift => 3,
            Self::Store | Self::Kubernetes => usize::MAX,
        }
    }

    /// Whether plans write the images of workloads.
    pub fn updates_workloads(self) -> bool {
        self == Self::Kubernetes
    }
}

/// A target, to look at. It cannot be written through this.
pub trait LiveState: Sync {
    /// Which kind of target it is.
    fn kind(&self) -> TargetKind;

    /// The field manager that it is written as; none where there are no field managers.
    fn manager(&self) -> Option<&str> {
        None
    }

    /// What identifies the target in plans, such as `store 5b0c…`.
    fn identity(&self) -> String;

    /// Something that differs whenever anything in the target differs; none where the target has no such thing.
    fn version(&self) -> Option<String>;

    /// The streams of these namespaces and of all others that hold something of ours.
    ///
    /// # Errors
    ///
    /// When the target as a whole cannot be read; parts that cannot be are `Unknown` in the observation.
    fn observe(&self, looking: Looking<'_>) -> impl Future<Output = Result<Observation, PortError>> + Send;

    /// Whether it holds workloads at all; of one that does not, those of the definitions are what follows.
    fn has_workloads(&self) -> bool {
        true
    }

    /// Workloads with image triggers. Never an error: what cannot be looked at is said beside what can.
    fn workloads(&self, which: Which<'_>) -> impl Future<Output = Workloads> + Send;
}

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Looking<'a> {
    /// Namespaces that definitions are for.
    pub namespaces: &'a BTreeSet<String>,
    /// Streams that, still at this version, need only be said to be there.
    pub settled: &'a BTreeMap<StreamId, String>,
    /// What was heard before does not count: the target itself is asked.
    pub anew: bool,
}

/// Which workloads to look at.
#[derive(Clone, Copy, Debug)]
pub enum Which<'a> {
    /// All there are; where that is not permitted, those of these namespaces.
    All {
        /// The namespaces.
        namespaces: &'a BTreeSet<String>,
        /// What was heard before does not count.
        anew: bool,
    },
    /// These.
    These(&'a BTreeSet<WorkloadId>),
}

/// What was seen of workloads.
#[derive(Clone, Debug, Default)]
pub struct Workloads {
    /// Those with image triggers.
    pub seen: Vec<LiveWorkload>,
    /// What could not be looked at.
    pub unseen: Vec<Ignorance>,
}

/// What was seen of a target.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    /// Which namespaces were listed whole.
    pub listed: BTreeMap<String, Observed<()>>,
    /// The streams.
    pub streams: BTreeMap<StreamId, LiveStream>,
    /// Streams that are there and cannot be read.
    pub unreadable: BTreeMap<StreamId, Ignorance>,
    /// Streams that are as they were when nothing was left to do, with their version.
    pub settled: BTreeSet<StreamId>,
    /// Tags of ours in settled streams: they count for the limit of removals.
    pub settled_tags: usize,
    /// Which part of the source the last apply read.
    pub scope: Option<String>,
}
