//! What people decide: `streamkeeper.yaml`, read strictly, everything with a default that works.
//!
//! Flags and `STREAMKEEPER_*` variables override it; that is `cli`'s business. A mistake is an error with its place in the
//! file, never a default taken in silence. May name `findings`, `model`, `openshift` and
//! `source`.
//! Tests: beside the code, `tests/it/schemas.rs`.

mod admit;
mod duration;
mod expression;
mod file;
mod freeze;
mod key_class;
mod registries;
mod run;
mod target;
mod workloads;

pub use admit::{Admitted, admit};
pub use duration::Interval;
pub use file::{
    Config, ConfigError, FILE_BYTES, FILES, FindingRules, FindingSeverity, ImportConfig, LimitConfig, MaxRemovals,
    PolicyConfig, ReviewConfig, TOTAL_BYTES, WORKLOADS, WaiverConfig,
};
pub use freeze::{FreezeConfig, Moment};
pub use key_class::{Key, KeyClass, keys, keys_markdown};
pub use registries::{AllowedRegistryConfig, MirrorConfig, MirrorSourcePolicy, RegistryConfig};
pub use run::{
    CommitStatusConfig, LeaseConfig, ListenConfig, NotifyConfig, RunConfig, RunSource, RunTarget, WebhookConfig,
};
pub use target::TargetConfig;
pub use workloads::{WorkloadConfig, WorkloadKind};

/// Name of the config file at the root of a source.
pub const FILE_NAME: &str = "streamkeeper.yaml";
