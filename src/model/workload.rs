//! Workloads that follow tags: what a tag change moves.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::desired::Origin;
use super::id::TagId;

/// What an account that is bound to some namespaces cannot look at, as it is said: there it has nothing to do either.
pub const OTHER_NAMESPACES: &str = "workloads of other namespaces";

/// A workload, printed `Kind namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct WorkloadId {
    /// `Deployment`, `DeploymentConfig`, `BuildConfig`, …
    pub kind: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// A workload with image triggers, as its definition has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    /// Which one.
    pub id: WorkloadId,
    /// What it follows.
    pub triggers: Vec<WorkloadTrigger>,
    /// Where it is defined.
    pub origin: Origin,
}

/// One trigger of a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadTrigger {
    /// The tag it follows.
    pub tag: TagId,
    /// The image fields it writes; for a build, none.
    pub paths: Vec<FieldPath>,
    /// Held back by its definition (`paused`, `automatic: false`).
    pub paused: bool,
}

/// An image field of a pod template.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FieldPath {
    /// Init container or container.
    pub init: bool,
    /// Which of them.
    pub container: Container,
}

/// A container by name or by position.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Container {
    /// By name.
    Named(String),
    /// By position, from 0.
    At(usize),
}

impl fmt::Display for WorkloadId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}
