//! Where image streams live, as config and flags name it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where image streams live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum TargetConfig {
    /// The embedded store.
    Store,
    /// An OpenShift cluster.
    Openshift,
    /// Another cluster, with the custom resource (`streamkeeper install crd`).
    Kubernetes,
    /// A cluster, which is asked what it is.
    Auto,
}

impl TargetConfig {
    /// As config and flags write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Openshift => "openshift",
            Self::Kubernetes => "kubernetes",
            Self::Auto => "auto",
        }
    }
}
