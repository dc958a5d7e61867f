//! The integration tests: one binary, one module a subject.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on should panic, and says what it skips"
)]

mod cli;
mod corpus;
mod crash;
mod definitions;
mod example;
mod https;
mod properties;
mod readme;
mod real_registry;
mod recorded;
mod registry;
mod schemas;
mod sources;
mod support;
mod tidy;
