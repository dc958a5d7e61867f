//! What must be known for a plan, and asking for it.
//!
//! [`questions`] is pure: it decides what to ask. [`collect`] asks, each question once, a bounded number at a time, and
//! folds nothing: what could not be observed is `Unknown`. [`unseen`] looks at the images that a plan would write, [`images`] at
//! what they are. May name `model`, `openshift`, `ports` and `rules`.
//! Tests: beside the code, `tests/it/properties.rs`, `tests/it/registry.rs`.

mod collect;
mod images;
mod questions;

pub use collect::{Known, Sources, collect};
pub use images::{attached, images, packages, unseen};
pub use questions::{Questions, asking_namespaces, questions, repository};
