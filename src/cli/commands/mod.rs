//! One file a command: arguments, session, output.

pub(super) mod apply;
mod apply_saved;
mod compare;
pub(super) mod describe;
pub(super) mod explain;
pub(super) mod generate;
pub(super) mod get;
mod get_workloads;
pub(super) mod history;
pub(super) mod install;
pub(super) mod plan;
pub(super) mod run;
pub(super) mod schema;
pub(super) mod show;
pub(super) mod status;
pub(super) mod validate;
mod write_workloads;
