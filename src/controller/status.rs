//! What lanes do, for people and programs that ask.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::machine::Pass;

/// Version of the format of [`Status`].
const FORMAT_VERSION: u32 = 1;

/// All that `run` says of itself.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Version of this format.
    pub format_version: u32,
    /// Name and version of the program.
    pub tool: String,
    /// Since when it runs.
    pub started: Timestamp,
    /// Its lanes by name: a source and a target each.
    pub lanes: BTreeMap<String, LaneStatus>,
}

/// One source and one target.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LaneStatus {
    /// Where definitions come from, without credentials.
    pub source: String,
    /// What is kept what they say, as plans name it; empty until it was reached.
    pub target: String,
    /// This process may write.
    pub leads: bool,
    /// A pass is under way.
    pub busy: bool,
    /// Commit of the definitions that were read last; none for a folder without Git.
    pub revision: Option<String>,
    /// Streams that they name.
    pub streams: usize,
    /// Passes since the start.
    pub passes: u64,
    /// The last pass that has ended.
    pub last_pass: Option<PassStatus>,
    /// When everything was last found or made as it should be.
    pub last_success: Option<Timestamp>,
    /// Since when passes fail; none if the last one did not.
    pub failing_since: Option<Timestamp>,
    /// Since when the first event waits for a pass to begin.
    #[serde(default)]
    pub waiting_since: Option<Timestamp>,
    /// When something will happen next although nothing else does.
    pub next: Option<Timestamp>,
    /// The source could not be asked: why.
    pub source_error: Option<String>,
}

/// A pass that has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PassStatus {
    /// When it began.
    pub began: Timestamp,
    /// How long it took.
    pub milliseconds: u64,
    /// Why it was made.
    pub cause: String,
    /// It looked at everything.
    pub full: bool,
    /// Steps by what became of them.
    pub steps: BTreeMap<String, usize>,
    /// Imports that registries refused, by reason.
    pub failed_imports: BTreeMap<String, usize>,
    /// Why steps failed, each in a line; at most [`LINES`].
    pub failures: Vec<String>,
    /// What has to wait, each in a line; at most [`LINES`].
    pub waits: Vec<String>,
    /// How much has to wait.
    pub deferred: usize,
    /// Findings in the definitions that hold streams back.
    pub errors: usize,
    /// Why there was no pass to speak of.
    pub error: Option<String>,
    /// The config as it is now is broken, and an older one counted: what is wrong with it.
    #[serde(default)]
    pub config_error: Option<String>,
}

/// Lines of a list in a status.
pub const LINES: usize = 50;

impl PassStatus {
    /// Everything is as it should be.
    pub fn is_good(&self) -> bool {
        let done = self.error.is_none() && self.config_error.is_none() && self.deferred == 0 && self.errors == 0;
        done && self.failed_imports.is_empty() && self.not_done().next().is_none()
    }

    /// The steps that did not bring about what they were to, by what became of them.
    pub(super) fn not_done(&self) -> impl Iterator<Item = (&str, usize)> {
        let steps = self.steps.iter().map(|(word, number)| (word.as_str(), *number));
        steps.filter(|(word, _)| !matches!(*word, "applied" | "alreadySo"))
    }
}

/// Where lanes write what they do.
#[derive(Debug)]
pub struct Board {
    status: Mutex<Status>,
}

impl Board {
    /// Nothing is known yet.
    pub fn new(tool: &str, started: Timestamp) -> Self {
        let status = Status { format_version: FORMAT_VERSION, tool: tool.to_owned(), started, lanes: BTreeMap::new() };
        Self { status: Mutex::new(status) }
    }

    fn lock(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known now.
    pub fn status(&self) -> Status {
        self.lock().clone()
    }

    /// Changes what is said of a lane.
    pub fn lane(&self, name: &str, change: impl FnOnce(&mut LaneStatus)) {
        change(self.lock().lanes.entry(name.to_owned()).or_default());
    }

    /// A pass has ended.
    pub fn ended(&self, name: &str, pass: Pass, took: Duration, mut ended: PassStatus) {
        ended.milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        ended.cause = pass.cause.to_string();
        ended.full = pass.full;
        self.lane(name, |lane| {
            lane.busy = false;
            lane.passes += 1;
            if ended.is_good() {
                lane.last_success = Some(ended.began);
                lane.failing_since = None;
            } else {
                lane.failing_since.get_or_insert(ended.began);
            }
            lane.last_pass = Some(ended);
        });
    }

    /// Whether any lane may write.
    pub fn leads(&self) -> bool {
        self.lock().lanes.values().any(|lane| lane.leads)
    }

    /// Every lane that may write has come through at least one pass, good or not: whoever asks gets an answer that means
    /// something. A replica that does not lead is ready to.
    pub fn is_ready(&self) -> bool {
        let status = self.lock();
        !status.lanes.is_empty() && status.lanes.values().all(|lane| !lane.leads || lane.passes > 0)
    }
}
