//! The whole line, once, for everybody: from a source to a target.
//!
//! A [`Session`] goes from one stage to the next: [`Opened`] → [`Listed`] → ([`Recalled`]) → [`ReadSource`] →
//! [`Planned`] → [`Reviewed`] → [`Executed`] → [`Verified`]. Each stage is a type that the next one is made from; a stage is left out by not
//! calling it. Every command and the controller use it, with an [`Opener`] that knows the adapters. It joins the rooms
//! and decides nothing of its own. May name all rooms but `adapters`, `cli`, `controller` and `render`.
//! Tests: `tests/it/cli.rs`, `tests/it/properties.rs`.

mod base;
mod doubts;
mod execute;
mod failure;
mod files;
mod observe_and_plan;
mod open;
mod opener;
mod plan;
mod read;
mod redefined;
mod request;
mod review;
mod saved;
mod selection;
mod session;
mod settings;
mod settled;
mod stale;
mod unchanged;

pub use base::Basis;
pub use execute::{Applied, Executed, Patience, Verified};
pub use failure::{Failure, FailureKind};
pub use observe_and_plan::{Prediction, observe_and_plan};
pub use open::{Listed, Opened};
pub use opener::Opener;
pub use plan::Planned;
pub use read::{List, ReadSource};
pub use redefined::redefined;
pub use request::PlanRequest;
pub use review::{ReviewOptions, Reviewed};
pub use saved::{Deviation, DeviationReason, HeldPlan, answers};
pub use selection::{ReadLimits, Reading, Selection};
pub use session::{Connected, Session};
pub use settings::{PlanOptions, Settings};
pub use stale::{StaleStep, stale_steps};
pub use unchanged::Recalled;
