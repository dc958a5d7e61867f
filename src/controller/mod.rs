//! `streamkeeper run`: when to reconcile, again and again.
//!
//! `machine` is pure: events in, commands out. `run` has the one loop, for one source and one target; many reconcilers run beside
//! each other and know nothing of each other. A [`Reconciler`] runs the session of [`crate::reconcile`] with a [`Host`], to which
//! `cli` gives the adapters; `leader` elects who writes; `serve` runs all of them. `server`
//! answers requests and takes webhooks, which only ever lead to a look (`webhook`). May name `config`, `findings`, `model`,
//! `openshift`, `ports`, `reconcile`, `render` and `source`.
//! Tests: beside the code; `tests/it/daemon.rs`, `tests/it/daemon_cluster.rs`.

mod commit_status;
mod conflict_backoff;
mod connections;
mod file_watch;
mod guard;
mod hints;
mod host;
mod leader;
mod log_lines;
mod machine;
mod metrics;
mod notice;
mod notifier;
mod open;
mod reconciler;
mod reread;
mod run;
mod secret;
mod serve;
mod server;
mod status;
mod summary;
mod webhook;
mod work;

pub use commit_status::{CommitStatus, State, repository};
pub use conflict_backoff::ConflictBackoff;
pub use file_watch::Watched;
pub use guard::Guarded;
pub use hints::{Hints, names};
pub use host::{Election, Host};
pub use machine::{Cause, Command, Ended, Event, Look, Machine, Pace, Pass, Poke};
pub use metrics::Metrics;
pub use notice::{LASTS, Notice, Told};
pub use notifier::Notifier;
pub use reconciler::{Reconciler, SPANS, Shared};
pub use run::{Bell, Work, run};
pub use serve::{Bells, serve};
pub use server::{Server, Site};
pub use status::{Board, LINES, LaneStatus, PassStatus, Status};
pub use webhook::repositories;
