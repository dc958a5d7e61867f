//! What became of each step.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::live::Ignorance;
use super::plan::{Deferred, FORMAT_VERSION, Plan, Precondition};
use super::revision::Revision;
use super::step_id::StepId;
use super::workload::WorkloadId;

/// What became of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[must_use]
pub struct Report {
    /// [`super::FORMAT_VERSION`].
    pub format_version: u32,
    /// The definitions it brought about.
    pub revision: Revision,
    /// Which part of the source was read for it.
    pub scope: String,
    /// When the first step began.
    pub started: Timestamp,
    /// When the last step ended.
    pub finished: Timestamp,
    /// One entry for each step of the plan.
    pub outcomes: BTreeMap<StepId, Outcome>,
    /// What the plan had deferred.
    pub deferred: Vec<Deferred>,
    /// What became of the workloads that were to follow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workloads: Vec<Followed>,
}

/// What became of a workload that was to follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Followed {
    /// The workload.
    pub workload: WorkloadId,
    /// How it was seen last.
    pub following: Following,
}

/// How a workload that was to follow was seen last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Following {
    /// Its images are the planned ones; how its roll-out goes on was not waited for.
    HasImage,
    /// All its pods are new.
    RolledOut,
    /// A build was started.
    Builds,
    /// It has another image: nobody has given it the planned one.
    Behind {
        /// The container; empty for a build.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        container: String,
        /// Pull spec of the plan.
        expected: String,
        /// Pull spec there is.
        actual: String,
    },
    /// Its roll-out is still under way.
    Unfinished {
        /// What is missing.
        why: String,
    },
    /// Its roll-out has failed.
    Failed {
        /// In the words of its controller.
        why: String,
    },
    /// It is no longer there, or follows nothing any more.
    Gone,
    /// It could not be looked at.
    Unknown(Ignorance),
    /// A step behind its images did not succeed.
    NotTried {
        /// That step.
        behind: StepId,
    },
}

impl Following {
    /// It is as planned, as far as was waited for.
    pub fn is_good(&self) -> bool {
        matches!(self, Self::HasImage | Self::RolledOut | Self::Builds)
    }
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Outcome {
    /// Done, and durable.
    Applied,
    /// It was so already.
    AlreadySo,
    /// Done, with another image than planned: shown and kept, planned afresh next time.
    Diverged {
        /// The image of the plan.
        expected: String,
        /// The image there is.
        actual: String,
    },
    /// The world has moved since the plan was made.
    Stale {
        /// What is no longer so.
        precondition: Precondition,
        /// What is so instead.
        actual: String,
    },
    /// It was tried and failed.
    Failed {
        /// Why.
        error: String,
        /// Whether trying again can help.
        again: bool,
    },
    /// A step it needs did not succeed, or the run was stopped.
    Skipped {
        /// That step; none when the run was stopped.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        behind: Option<StepId>,
    },
}

impl Outcome {
    /// The world is now as the step wanted it.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Applied | Self::AlreadySo)
    }
}

impl Report {
    /// The report of a plan of which nothing was tried.
    pub fn of(plan: &Plan, at: Timestamp) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            revision: plan.revision.clone(),
            scope: plan.scope.clone(),
            started: at,
            finished: at,
            outcomes: BTreeMap::new(),
            deferred: plan.deferred.clone(),
            workloads: Vec::new(),
        }
    }

    /// How many outcomes satisfy a test.
    pub fn count(&self, test: impl Fn(&Outcome) -> bool) -> usize {
        self.outcomes.values().filter(|outcome| test(outcome)).count()
    }
}
