//! What a plan does to workloads and builds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::openshift::TagId;

use super::live_workload::LiveWorkload;
use super::reason::Reason;
use super::step_id::StepId;
use super::workload::WorkloadId;

/// Images that a workload gets, in one request: one roll-out, however many of its triggers have moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Update {
    /// Its number, counted on from the steps.
    pub id: StepId,
    /// The workload.
    pub workload: WorkloadId,
    /// Its new images.
    pub images: Vec<RollImage>,
    /// Why; for people.
    pub reason: Reason,
    /// Identity of the workload that was seen.
    pub uid: String,
    /// Steps that must have succeeded before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<StepId>,
}

/// What becomes of a workload when the tags that it follows move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Roll {
    /// The workload.
    pub workload: WorkloadId,
    /// What becomes of it.
    pub effect: RollEffect,
    /// The images that it gets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<RollImage>,
    /// Its pods, where it says how many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u64>,
    /// How they are replaced, such as `Recreate`, where it says so.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub strategy: String,
    /// The tags that it follows, moved or not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub follows: Vec<TagId>,
    /// The steps behind it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<StepId>,
}

/// What becomes of a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum RollEffect {
    /// It gets new pods.
    RollsOut,
    /// A build is started, and what comes of it cannot be said.
    Builds,
    /// It follows what a build will push, and what that is cannot be said.
    AfterBuild {
        /// The build.
        build: WorkloadId,
    },
    /// It gets the image, and uses it later.
    Waits {
        /// For what.
        why: String,
    },
    /// A tag that it uses is removed.
    Loses,
    /// It is meant to follow, and does not.
    Ignores {
        /// Why.
        why: String,
    },
}

/// An image that a workload gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RollImage {
    /// The container; empty for a build.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub container: String,
    /// The tag whose image it is.
    pub tag: TagId,
    /// Pull spec now; none if a build was never started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Pull spec afterwards.
    pub after: String,
}

impl Roll {
    /// What becomes of a workload, without images.
    pub fn new(workload: &LiveWorkload, effect: RollEffect) -> Self {
        Self {
            workload: workload.id.clone(),
            effect,
            images: Vec::new(),
            replicas: workload.replicas,
            strategy: workload.strategy.clone(),
            follows: workload.tags(),
            after: Vec::new(),
        }
    }
}
