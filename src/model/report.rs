//! What became of each step.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::plan::{Deferred, Precondition, StepId};
use super::revision::Revision;

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
    /// How many outcomes satisfy a test.
    pub fn count(&self, test: impl Fn(&Outcome) -> bool) -> usize {
        self.outcomes.values().filter(|outcome| test(outcome)).count()
    }
}
