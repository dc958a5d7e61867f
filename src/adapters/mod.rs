//! The outside world behind the ports.
//!
//! Each adapter does one thing to one kind of system and decides nothing. May name `api`, `model`, `ports`, `rules` and
//! `text`.

pub mod git;
pub mod registry;
pub mod store;
