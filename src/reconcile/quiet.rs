//! Nothing has changed and there was nothing to do: said again without doing all of it again.
//!
//! A plan is a pure function of what was read, what is live, the policy and the time. Where all of these are known to be
//! what they were when it came out empty, complete and without a finding worth showing, it is that plan again.

use jiff::Timestamp;
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use crate::definitions::{ReadOptions, Ruling};
use crate::model::{Policy, Refresh};
use crate::ports::{Listing, LiveState, Memory};
use crate::rules::Server;
use crate::text::Severity;

use super::pass::Planned;
use super::read::{ReadSource, Selection};

/// What a quiet plan depends on.
pub struct Inputs<'a> {
    /// The files, all with the id of their content.
    pub listing: &'a Listing,
    /// Which of them are looked at.
    pub selection: &'a Selection,
    /// How they are read.
    pub options: &'a ReadOptions,
    /// The config's say on findings.
    pub ruling: &'a Ruling,
    /// What people allow.
    pub policy: &'a Policy,
    /// How the target is set up.
    pub server: &'a Server,
    /// Name and version of the program.
    pub tool: &'a str,
}

/// A plan that found nothing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quiet {
    /// From when on it has to be made anew.
    pub until: Option<Timestamp>,
    /// The plan.
    pub plan: crate::model::Plan,
}

impl Inputs<'_> {
    /// Identifies all of it together with the state of the target; none where something cannot be identified: files on disk
    /// that have to be read first, a target that does not count its changes, a question that was asked.
    pub fn key(&self, live: &impl LiveState) -> Option<[u8; 32]> {
        let Inputs { listing, selection, options, ruling, policy, server, tool } = self;
        if policy.refresh != Refresh::None || listing.truncated {
            return None;
        }
        let mut context = Context::new(&SHA256);
        let mut part = |text: &str| {
            context.update(&(text.len() as u64).to_le_bytes());
            context.update(text.as_bytes());
        };
        part(&live.identity());
        part(&live.version()?);
        part(tool);
        part(&format!("{selection:?} {options:?} {ruling:?} {policy:?} {server:?}"));
        part(&format!("{:?} {}", listing.refused, listing.folder));
        for entry in &listing.entries {
            part(&entry.path);
            part(entry.id.as_deref()?);
        }
        let mut key = [0; 32];
        key.copy_from_slice(context.finish().as_ref());
        Some(key)
    }
}

/// Remembers a plan, if it is one that may be said again.
pub fn remember(memory: &impl Memory, key: [u8; 32], read: &ReadSource, planned: &Planned) {
    let Planned { plan, due, .. } = planned;
    let silent = read.assembled.findings.iter().all(|finding| finding.severity == Severity::Info);
    if silent && plan.is_empty() && plan.deferred.is_empty() && read.assembled.desired.incomplete.is_empty() {
        let quiet = Quiet { until: *due, plan: plan.clone() };
        if let Ok(bytes) = serde_json::to_vec(&quiet) {
            memory.keep_definitions(&[(key, bytes)]);
        }
    }
}

/// The plan that was remembered, with the time of now.
pub fn recall(memory: &impl Memory, key: [u8; 32], listing: &Listing, now: Timestamp) -> Option<Quiet> {
    let bytes = memory.definitions(&[key]).remove(&key)?;
    let quiet: Quiet = serde_json::from_slice(&bytes).ok()?;
    if quiet.until.is_some_and(|until| now >= until) {
        return None;
    }
    let Quiet { until, mut plan } = quiet;
    plan.observed_at = now;
    // The same files can be those of another commit.
    plan.revision.commit.clone_from(&listing.revision.commit);
    plan.revision.source.clone_from(&listing.revision.source);
    Some(Quiet { until, plan })
}
