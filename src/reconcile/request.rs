//! By what a plan is made.

use crate::model::{PassState, Policy};
use crate::rules::Server;

/// By what a plan is made.
#[derive(Clone, Debug, Default)]
pub struct PlanRequest<'a> {
    /// What people allow.
    pub policy: Policy,
    /// What holds for this pass.
    pub state: PassState,
    /// How the target is set up.
    pub server: Server,
    /// Name and version of the program.
    pub tool: &'a str,
    /// Everything is looked at, also streams that had nothing to do and have not changed since.
    pub look_at_all: bool,
}
