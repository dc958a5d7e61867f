//! Names of workloads.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

impl fmt::Display for WorkloadId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}
