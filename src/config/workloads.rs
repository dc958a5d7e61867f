//! How workloads follow tags.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{Drift, OnFailure, WorkloadPolicy};

/// How workloads follow tags. All but `onFailure` is for clusters that are not OpenShift, where Streamkeeper writes images;
/// `onFailure` is for tags that Streamkeeper imports, on OpenShift with `import: ours`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WorkloadConfig {
    /// Kinds that are looked at, which the account has to be allowed to `get`, `list` and `patch`; Deployment, StatefulSet, DaemonSet and CronJob when it is not given, as OpenShift does.
    pub kinds: Option<BTreeSet<WorkloadKind>>,
    /// How many workloads are given new images at once; 16 when it is not given.
    pub at_once: Option<NonZeroUsize>,
    /// Namespaces whose tags the workloads of other namespaces may follow, `'*'` for all; none when it is not given.
    pub shared: BTreeSet<String>,
    /// What becomes of an image that somebody else has set; it is put back when it is not given.
    pub drift: Option<Drift>,
    /// What becomes of a tag whose followers do not roll out with the image that it has; it goes on when it is not given.
    /// Deployments and DeploymentConfigs say that they do not; StatefulSets and DaemonSets never do.
    pub on_failure: Option<OnFailure>,
}

/// A kind of workload that images can be written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum WorkloadKind {
    /// `apps/v1`
    Deployment,
    /// `apps/v1`
    StatefulSet,
    /// `apps/v1`
    DaemonSet,
    /// `batch/v1`
    CronJob,
    /// `apps/v1`: those that no Deployment has.
    ReplicaSet,
    /// `v1`: those that no DeploymentConfig has.
    ReplicationController,
    /// `batch/v1`: told only, since a Job's image cannot be changed.
    Job,
    /// `v1`: those that no controller has; the container is started again.
    Pod,
}

impl WorkloadKind {
    /// As objects name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::CronJob => "CronJob",
            Self::ReplicaSet => "ReplicaSet",
            Self::ReplicationController => "ReplicationController",
            Self::Job => "Job",
            Self::Pod => "Pod",
        }
    }
}

impl WorkloadConfig {
    /// The planner's policy, with the field manager that images are applied as.
    pub fn policy(&self, manager: &str) -> WorkloadPolicy {
        let drift = self.drift.unwrap_or_default();
        WorkloadPolicy { manager: manager.to_owned(), shared: self.shared.clone(), drift }
    }

    /// Names of the kinds that are looked at.
    pub fn kinds(&self) -> BTreeSet<&'static str> {
        use WorkloadKind::{CronJob, DaemonSet, Deployment, StatefulSet};
        let usual = || [Deployment, StatefulSet, DaemonSet, CronJob].into();
        self.kinds.clone().unwrap_or_else(usual).into_iter().map(WorkloadKind::name).collect()
    }
}
