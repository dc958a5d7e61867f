//! `streamkeeper run`: when to run a pass.
//!
//! `machine` is pure: events in, commands out. `run` has the one loop, for one source and one target (a lane); many lanes run
//! beside each other and know nothing of each other. What a lane does is a [`Work`]: `cli` gives it the adapters, the tests
//! give it a simulated world. May name `model`, `ports`, `reconcile` and `text`.
//! Tests: beside the code; `tests/it/daemon.rs`.

mod machine;
mod run;
mod status;

pub use machine::{Cause, Command, Ended, Event, Look, Machine, Pace, Pass, Poke};
pub use run::{Bell, Work, run};
pub use status::{Board, LINES, LaneStatus, PassStatus, Status};
