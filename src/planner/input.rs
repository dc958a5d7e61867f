//! What a plan is made from.

use crate::model::{Desired, DesiredTag, Live, PassState, Policy, Wait, WorkloadId};
use crate::openshift::{StreamId, StreamSource, stream_source};
use crate::rules::Server;

/// Everything a plan depends on.
pub struct PlanInput<'a> {
    /// What Git says.
    pub desired: &'a Desired,
    /// What is known.
    pub live: &'a Live,
    /// What people allow.
    pub policy: &'a Policy,
    /// What holds for this pass.
    pub state: &'a PassState,
    /// How the target is set up.
    pub server: &'a Server,
    /// What identifies the target.
    pub target: &'a str,
    /// Name and version of the program.
    pub tool: &'a str,
}

/// A tag waits for a workload that does not run its image.
pub(super) fn held(workload: &WorkloadId, why: &str) -> Wait {
    Wait::Held { by: format!("{workload}, which does not roll out with the image that it has: {why}") }
}

/// Tags that are written after everything they may copy is in place: they name another stream, or an image.
pub(super) fn is_copied(id: &StreamId, tag: &DesiredTag) -> bool {
    match tag.reference.from.as_ref().and_then(|from| stream_source(id, from)) {
        Some(StreamSource::Image { .. }) => true,
        Some(StreamSource::Tag(target)) => target.stream != *id,
        None => false,
    }
}
