//! One file a command.

pub(super) mod apply;
pub(super) mod describe;
pub(super) mod explain;
pub(super) mod generate;
pub(super) mod get;
pub(super) mod history;
pub(super) mod install;
pub(super) mod plan;
mod review;
mod rules;
pub(super) mod run;
pub(super) mod schema;
pub(super) mod show;
pub(super) mod status;
pub(super) mod validate;
mod workloads;

use crate::text::{Diagnostic, Severity};

/// Whether findings stop a run: errors always count, warnings when `strict`.
fn stops(findings: &[Diagnostic], strict: bool) -> bool {
    let least = if strict { Severity::Warning } else { Severity::Error };
    findings.iter().any(|finding| finding.severity >= least)
}

/// Pretty JSON with a line break at its end.
fn pretty(value: &impl serde::Serialize) -> Result<String, super::failure::Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| super::failure::Failure::new(super::failure::Exit::Failed, error))?;
    Ok(text + "\n")
}

/// What waits for the network.
pub(in crate::cli) fn runtime() -> Result<tokio::runtime::Runtime, super::failure::Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| super::failure::Failure::new(super::failure::Exit::Failed, error))
}
