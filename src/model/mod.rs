//! Our nouns: what is wanted, what is known, what shall be done, what became of it.
//!
//! Plain data with its invariants, no decisions. Pure; may name `api` and `text`.
//! Tests: beside the code; round trips and schemas in `tests/it/schemas.rs`.

mod change;
mod desired;
mod equality;
mod id;
mod image_facts;
mod image_reference;
mod live;
mod live_workload;
mod outside;
mod plan;
mod policy;
mod report;
mod review;
mod revision;
mod tag_order;
mod tally;
mod workload;

pub use change::Change;
pub use desired::{Desired, DesiredStream, DesiredTag, Held, Origin};
pub use equality::{EqualBy, Equality};
pub use id::{StreamId, TagId, is_namespace};
pub use image_facts::{Attached, ImageConfig, ImageFacts, LayerFacts, Packages};
pub use image_reference::{Digest, ImageReference, InvalidReference, is_tag_name};
pub use live::{Cause, Ignorance, Live, LiveStream, Observed, Owned, PlatformImage, Question, Resolution, Upstream};
pub use live_workload::{ConfigTrigger, ContainerImage, LiveWorkload, Manner, Rollout, Triggers};
pub use outside::{CodeHost, NoticeFormat, Sender};
pub use plan::{
    Action, Deferred, DeferredAction, ImportFailure, ImportItem, ImportResult, Inputs, Move, Plan, Precondition,
    Reason, Roll, RollEffect, RollImage, Step, StepId, StreamHeader, Update, Wait,
};
pub use policy::{
    Drift, INTERVAL_ANNOTATION, OnFailure, Policy, Quarrel, RECONCILE_ANNOTATION, Refresh, RemovalLimit, Schedule,
    WorkloadPolicy, fingerprint, interval,
};
pub use report::{Followed, Following, Outcome, Report};
pub use review::{DefinitionChange, Difference, ImageChange, ImageSummary, Layer, PackageChanges, Review, Risk};
pub use revision::Revision;
pub use tag_order::import_order;
pub use tally::{HostTally, Tally};
pub use workload::{
    Container, DefinedWorkload, FieldPath, OTHER_NAMESPACES, Quotes, Workload, WorkloadId, WorkloadTrigger,
};

/// Version of the formats of saved plans and reports.
pub const FORMAT_VERSION: u32 = 1;
