//! Streamkeeper keeps image streams what Git says they are.
//!
//! ```text
//!  Git revision ──► definitions ──► Desired ──┬──► questions ──► collect ──► Live
//!    (bytes)             │             ▲      │      (pure)         ▲          │
//!                        ▼             │      │                     │          │
//!                   Diagnostics      Policy   │  registries · cluster · store  │
//!                   (code, span)              │                                │
//!                                             ▼                                ▼
//!                                    planner(Desired, Live, Policy, now)     (pure)
//!                                                      │
//!                                                      ▼
//!  text · markdown · json ◄── render ◄─────────────── Plan ──► executor ──► cluster · store
//!                                ▲                                │
//!                                └──────────── Report ◄───────────┘ ──► journal, exit code
//! ```
//!
//! # Rooms, in reading order
//!
//! | room | what it is for | may name |
//! | --- | --- | --- |
//! | [`api`] | OpenShift's nouns as serde types | |
//! | [`text`] | files with positions: spans, one tree for YAML and JSON, findings | |
//! | [`model`] | our nouns: desired, live, policy, plan, report | `api`, `text` |
//! | [`rules`] | what image streams do: [`rules::perform`] | `api`, `model` |
//! | [`definitions`] | bytes to what is wanted, and everything wrong with them | `api`, `text`, `model` |
//! | [`planner`] | what is wanted and known, to a plan | `api`, `model`, `rules` |
//! | [`review`] | what a plan means to who has to judge it | `api`, `text`, `model` |
//! | [`render`] | values to text, Markdown, JSON | `api`, `text`, `model` |
//! | [`config`] | the config file | `text`, `model` |
//! | [`ports`] | the traits at the edge | `api`, `text`, `model` |
//! | [`observe`] | what must be known, and asking for it | `api`, `model`, `ports` |
//! | [`executor`] | carry a plan out | `api`, `model`, `ports` |
//! | [`reconcile`] | one pass | `definitions`, `executor`, `model`, `observe`, `planner`, `ports`, `rules`, `text` |
//! | [`daemon`] | when to run a pass | `model`, `ports`, `reconcile`, `text` |
//! | [`adapters`] | Git, registries, clusters, the store | `api`, `model`, `ports`, `rules`, `text` |
//! | [`cli`] | who asked, how to show it | all |
//!
//! `api` to `config` are pure: no clock, no file, no network, no environment, no randomness; time comes in as a value.
//! `tests/it/tidy.rs` holds this table.
//!
//! # Invariants
//!
//! 1. The rooms that decide touch nothing; the rooms that touch decide nothing.
//! 2. [`rules::perform`] is the meaning of an action: for the planner, the store and the tests' server alike.
//! 3. [`model::Observed`] is known, absent or unknown. Unknown is never folded into absent: ignorance destroys nothing.
//! 4. A plan leaves no choice to its execution. It is never edited, only made again.
//! 5. One step is one request to one system.
//! 6. Reading and writing are two traits: what plans cannot write.
//! 7. `plan`, `apply`, `run` and the tests run the same pass.
//! 8. No process is started and no work tree is checked out to read definitions.
//! 9. The same input gives the same bytes.

pub mod adapters;
pub mod api;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod definitions;
pub mod executor;
pub mod model;
pub mod observe;
pub mod planner;
pub mod ports;
pub mod reconcile;
pub mod render;
pub mod review;
pub mod rules;
pub mod text;
