//! Streamkeeper: GitOps for OpenShift image streams.
//!
//! ```text
//!  Git revision ──► definitions ──► Desired ──┬──► questions ──► collect ──► Live
//!    (bytes)             │             ▲      │      (pure)         ▲          │
//!                        ▼             │      │                     │          │
//!                    findings       Policy    │  registries · cluster · store  │
//!                   (code, place)             │                                │
//!                                             ▼                                ▼
//!                                    planner(Desired, Live, Policy, now)     (pure)
//!                                                      │
//!                                                      ▼
//!  text · markdown · json ◄── render ◄─────────────── Plan ──► executor ──► registries · cluster · store
//!                                ▲                                │
//!                                └──────────── Report ◄───────────┘ ──► journal, exit code, metrics
//!
//!  reconcile::Session  the line, once     controller  when to run it again     cli  who asked, how to show it
//! ```
//!
//! # Rooms, in reading order
//!
//! | room | what it is for | may name |
//! | --- | --- | --- |
//! | [`openshift`] | OpenShift's and Kubernetes' nouns as data, and what their text means | |
//! | [`source`] | files as text with positions: one spanned tree for YAML and JSON | |
//! | [`findings`] | one catalogue of codes, severities, waivers, and the finding | `openshift`, `source` |
//! | [`model`] | our nouns as plain data: desired, live, policy, plan, report | `findings`, `openshift`, `source` |
//! | [`rules`] | what image streams do: [`rules::perform`] | `model`, `openshift` |
//! | [`definitions`] | bytes to what is desired, and everything wrong with them | `findings`, `model`, `openshift`, `rules`, `source` |
//! | [`planner`] | what is desired and known, to a plan | `findings`, `model`, `openshift`, `rules`, `source` |
//! | [`review`] | what a plan means to a reviewer | `findings`, `model`, `openshift`, `rules`, `source` |
//! | [`render`] | values to text, Markdown, JSON | `findings`, `model`, `openshift`, `source` |
//! | [`config`] | the config file | `findings`, `model`, `openshift`, `source` |
//! | [`ports`] | the traits at the edge | `model`, `openshift`, `source` |
//! | [`observe`] | what must be known, and asking for it | `model`, `openshift`, `ports`, `rules` |
//! | [`executor`] | carry a plan out | `model`, `openshift`, `ports`, `rules` |
//! | [`reconcile`] | the whole line, once, for everybody: [`reconcile::Session`] | `config`, `definitions`, `executor`, `findings`, `model`, `observe`, `openshift`, `planner`, `ports`, `review`, `rules`, `source` |
//! | [`controller`] | reconcile again and again | `config`, `findings`, `model`, `openshift`, `ports`, `reconcile`, `render`, `source` |
//! | [`adapters`] | Git, registries, clusters, the store | `model`, `openshift`, `ports`, `rules`, `source` |
//! | [`cli`] | who asked, how to show it | all |
//!
//! `openshift` to `config` are pure: no clock, no file, no network, no environment, no randomness; time comes in as a value.
//! Nothing that decides can see a port; one session is the only way from a source to a target; only `cli` knows which adapter it
//! is. `tests/it/tidy.rs` holds this table.
//!
//! # Invariants
//!
//! 1. The rooms that decide touch nothing; the rooms that touch decide nothing.
//! 2. [`rules::perform`] is the meaning of an action: for the planner, the store and the tests' server alike.
//! 3. [`model::Observed`] is known, absent or unknown. Unknown is never folded into absent: incomplete input destroys nothing.
//! 4. A plan leaves no choice to its execution. It is never edited, only made again.
//! 5. One step is one request to one system.
//! 6. Reading and writing are two traits: what plans cannot write.
//! 7. `plan`, `apply` and the controller use the same session; a stage is left out by not calling it.
//! 8. No work tree is checked out to read definitions.
//! 9. The same input gives the same bytes.
//! 10. A rule of the domain is one function, in `openshift` or `rules`. What is hashed is serialised, with a version.

pub mod adapters;
pub mod cli;
pub mod config;
pub mod controller;
pub mod definitions;
pub mod executor;
pub mod findings;
pub mod model;
pub mod observe;
pub mod openshift;
pub mod planner;
pub mod ports;
pub mod reconcile;
pub mod render;
pub mod review;
pub mod rules;
pub mod source;
