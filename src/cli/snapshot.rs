//! Workloads that a file holds, in the place of those of the target.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::definitions;
use crate::model::{LiveWorkload, Manner};
use crate::ports::{LiveState, Looking, Observation, PortError, TargetKind, Which, Workloads};

use super::console::Console;
use super::failure::Failure;
use super::target::Live;

/// Bytes of a file of workloads: some ten thousand of them, as a cluster gives them.
const MOST: u64 = 128 * 1024 * 1024;

/// A target, with its own workloads or those of a file.
pub(super) struct WithWorkloads {
    /// The target.
    pub(super) live: Live,
    saved: Option<Vec<LiveWorkload>>,
}

impl WithWorkloads {
    /// Reads the file, if there is one, and says what it has: kinds that are not in it are taken not to be there.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or the target is one whose workloads a plan writes: for that, it has to know them as they are.
    pub(super) fn open(live: Live, file: Option<&Path>, console: &Console) -> Result<Self, Failure> {
        let Some(file) = file else { return Ok(Self { live, saved: None }) };
        if live.kind().updates_workloads() {
            let message = "`--workloads` with a target whose workloads are given their images by the plan";
            return Err(Failure::usage(message).hint("leave it out: the cluster is asked for its workloads"));
        }
        let manner = if live.has_workloads() { Manner::OpenShift } else { Manner::Ours };
        let failed = |why: String| {
            Failure::failed(format!("failed to read the workloads of `{}`: {why}", file.display()))
                .hint("`oc get deploy,sts,ds,cronjob,dc,bc -A -o json` gives such a file")
        };
        // It may be a pipe.
        let mut bytes = Vec::new();
        let read = File::open(file).and_then(|file| file.take(MOST + 1).read_to_end(&mut bytes));
        read.map_err(|error| failed(error.to_string()))?;
        if bytes.len() as u64 > MOST {
            return Err(failed(format!("it has more than {MOST} bytes")));
        }
        let snapshot = definitions::snapshot(bytes, manner).map_err(failed)?;
        let kinds: Vec<String> = snapshot.kinds.iter().map(|(kind, number)| format!("{number} {kind}")).collect();
        let kinds = if kinds.is_empty() { "nothing".to_owned() } else { kinds.join(", ") };
        let follow = snapshot.workloads.len();
        console.say(&format!("{} holds {kinds}; {follow} of them follow tags", file.display()));
        Ok(Self { live, saved: Some(snapshot.workloads) })
    }
}

impl LiveState for WithWorkloads {
    fn kind(&self) -> TargetKind {
        self.live.kind()
    }

    fn manager(&self) -> Option<&str> {
        self.live.manager()
    }

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
