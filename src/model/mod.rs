//! Our nouns: what is wanted, what is known, what shall be done, what became of it.
//!
//! Plain data with its invariants, no decisions. Pure; may name `findings`, `openshift` and `source`.
//! Tests: beside the code; round trips and schemas in `tests/it/schemas.rs`.

mod backoff;
mod change;
mod desired;
mod equality;
mod identities;
mod image_facts;
mod impact;
mod import_cause;
mod integrations;
mod live;
mod live_workload;
mod pass_state;
mod plan;
mod plan_id;
mod policy;
mod reason;
mod report;
mod review;
mod revision;
mod step_id;
mod tally;
mod workload;

pub use backoff::Backoff;
pub use change::Change;
pub use desired::{DefinedWorkload, Desired, DesiredStream, DesiredTag, Held, Origin, Workload, WorkloadTrigger};
pub use equality::{EqualBy, Equality};
pub use identities::Identities;
pub use image_facts::{Attached, ImageConfig, ImageFacts, LayerFacts, Packages};
pub use impact::{Roll, RollEffect, RollImage, Update};
pub use integrations::{CodeHost, MirrorPulls, NoticeFormat, Sender};
pub use live::{
    Cause, Foreign, Ignorance, Live, LiveStream, Observed, Owned, PlatformImage, Question, Resolution, Upstream,
};
pub use live_workload::{ConfigTrigger, ContainerImage, LiveWorkload, Manner, Rollout, Triggers};
pub use pass_state::{Conflict, PassState, Refresh};
pub use plan::{
    Action, Deferred, DeferredAction, FORMAT_VERSION, ImportFailure, ImportItem, ImportResult, Inputs, Move, NO_TARGET,
    Plan, Precondition, Step, StreamHeader, Wait,
};
pub use plan_id::is_plan_id;
pub use policy::{
    Drift, INTERVAL_ANNOTATION, OnFailure, Policy, RECONCILE_ANNOTATION, RemovalLimit, Schedule, WorkloadPolicy,
    fingerprint, interval,
};
pub use reason::Reason;
pub use report::{Followed, Following, Outcome, Report};
pub use review::{
    DefinitionChange, Difference, ImageChange, ImageSummary, Layer, PackageChanges, Review, Risk, Subject,
};
pub use revision::Revision;
pub use step_id::StepId;
pub use tally::{HostTally, Tally};
pub use workload::{OTHER_NAMESPACES, WorkloadId};
