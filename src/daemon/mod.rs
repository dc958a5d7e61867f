//! `streamkeeper run`: when to run a pass.
//!
//! `machine` is pure: events in, commands out. `run` has the one loop, for one source and one target (a lane); many lanes run
//! beside each other and know nothing of each other. What a lane does is a [`Work`]: `cli` gives it the adapters, the tests
//! give it a simulated world. `server` answers whoever asks, and takes webhooks, which only ever lead to a look (`webhook`).
//! May name `model`, `ports`, `reconcile` and `text`.
//! Tests: beside the code; `tests/it/daemon.rs`, `tests/it/daemon_cluster.rs`.

mod commit_status;
mod connections;
mod guard;
mod hints;
mod machine;
mod metrics;
mod notice;
mod quarrels;
mod run;
mod server;
mod status;
mod webhook;

pub use commit_status::{CommitStatus, State, repository};
pub use guard::Guarded;
pub use hints::{Hints, names};
pub use machine::{Cause, Command, Ended, Event, Look, Machine, Pace, Pass, Poke};
pub use metrics::Metrics;
pub use notice::{LASTS, Notice, Told};
pub use quarrels::Quarrels;
pub use run::{Bell, Work, run};
pub use server::{Server, Site};
pub use status::{Board, LINES, LaneStatus, PassStatus, Status};
pub use webhook::repositories;
