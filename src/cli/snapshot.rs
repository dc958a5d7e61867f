//! Workloads that somebody saved, in the place of those of the target.

use std::path::Path;

use crate::definitions;
use crate::model::{LiveWorkload, Manner};
use crate::ports::{LiveState, Looking, Observation, PortError, Which, Workloads};

use super::failure::{Exit, Failure};
use super::target::Live;

/// Bytes of a file of workloads: some ten thousand of them, as a cluster gives them.
const MOST: u64 = 512 * 1024 * 1024;

/// A target, with its own workloads or those of a file.
pub(super) struct WithWorkloads<'a> {
    live: &'a Live,
    saved: Option<Vec<LiveWorkload>>,
}

impl<'a> WithWorkloads<'a> {
    /// Reads the file, if there is one.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or the target is one whose workloads a plan writes: for that, it has to know them as they are.
    pub(super) fn open(live: &'a Live, file: Option<&Path>) -> Result<Self, Failure> {
        let Some(file) = file else { return Ok(Self { live, saved: None }) };
        if live.updates_workloads() {
            let message = "`--workloads` with a target whose workloads are given their images by the plan";
            return Err(Failure::usage(message).hint("leave it out: the cluster is asked for its workloads"));
        }
        let manner = if live.has_workloads() { Manner::OpenShift } else { Manner::Ours };
        let failed = |why: String| {
            Failure::new(Exit::Failed, format!("failed to read the workloads of `{}`: {why}", file.display()))
                .hint("`oc get deploy,sts,ds,cronjob,dc,bc -A -o json` gives such a file")
        };
        let size = std::fs::metadata(file).map_err(|error| failed(error.to_string()))?.len();
        if size > MOST {
            return Err(failed(format!("it has {size} bytes, the limit is {MOST}")));
        }
        let bytes = std::fs::read(file).map_err(|error| failed(error.to_string()))?;
        let saved = definitions::snapshot(bytes, manner).map_err(failed)?;
        Ok(Self { live, saved: Some(saved) })
    }
}

impl LiveState for WithWorkloads<'_> {
    fn identity(&self) -> String {
        self.live.identity()
    }

    fn version(&self) -> Option<String> {
        self.live.version()
    }

    async fn observe(&self, looking: Looking<'_>) -> Result<Observation, PortError> {
        self.live.observe(looking).await
    }

    fn has_workloads(&self) -> bool {
        self.saved.is_some() || self.live.has_workloads()
    }

    async fn workloads(&self, which: Which<'_>) -> Workloads {
        match (&self.saved, which) {
            (None, which) => self.live.workloads(which).await,
            (Some(saved), Which::All { .. }) => Workloads { seen: saved.clone(), unseen: Vec::new() },
            (Some(saved), Which::These(ids)) => {
                let seen = saved.iter().filter(|workload| ids.contains(&workload.id)).cloned().collect();
                Workloads { seen, unseen: Vec::new() }
            }
        }
    }
}
