//! Observe and plan, given what was read.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use ring::digest::{Context, SHA256};

use crate::model::{Desired, DesiredStream, Live, Plan, Policy, StreamId};
use crate::observe;
use crate::planner::{self, PlanInput};
use crate::ports::{LiveState, Memory, PortError, Progress, Registry, Settled};
use crate::rules::Server;

/// Everything a pass needs besides the definitions.
pub struct Pass<'a, L, R, M, P> {
    /// The target, to look at.
    pub live: &'a L,
    /// The registries.
    pub registry: &'a R,
    /// What is remembered.
    pub memory: &'a M,
    /// Who hears of progress.
    pub progress: &'a P,
    /// What people allow.
    pub policy: &'a Policy,
    /// How the target is set up.
    pub server: &'a Server,
    /// Name and version of the program.
    pub tool: &'a str,
}

/// A plan with what it was made from.
#[derive(Debug)]
pub struct Planned {
    /// The plan.
    pub plan: Plan,
    /// What was known.
    pub live: Live,
}

impl<L: LiveState, R: Registry, M: Memory, P: Progress> Pass<'_, L, R, M, P> {
    /// Looks at the world and plans.
    ///
    /// # Errors
    ///
    /// When the target as a whole cannot be read.
    pub async fn plan(&self, desired: &Desired, now: Timestamp) -> Result<Planned, PortError> {
        let target = self.live.identity();
        let hashes: BTreeMap<&StreamId, [u8; 16]> =
            desired.streams.iter().map(|(id, stream)| (id, self.hash(stream))).collect();
        let settled = self.settled(desired, &target, &hashes, now);
        let Self { live, registry, memory, progress, policy, server, tool } = *self;
        let sources = observe::Sources { live, registry, memory, progress };
        let live = observe::collect(sources, desired, &settled, policy, now).await?;
        let plan = planner::plan(&PlanInput { desired, live: &live, policy, server, target: &target, tool });
        self.remember(desired, &target, &hashes, &live, &plan);
        Ok(Planned { plan, live })
    }

    /// Streams for which this definition left nothing to do, which is still so unless the target has changed since.
    fn settled(
        &self,
        desired: &Desired,
        target: &str,
        hashes: &BTreeMap<&StreamId, [u8; 16]>,
        now: Timestamp,
    ) -> BTreeMap<StreamId, String> {
        if self.policy.refresh != crate::model::Refresh::None {
            return BTreeMap::new();
        }
        let mut settled = self.memory.settled(target);
        settled.retain(|id, known| hashes.get(id) == Some(&known.definition) && known.due.is_none_or(|due| now < due));
        // A stream whose tags copy another one's must be looked at together with it.
        let mut open: Vec<(StreamId, StreamId)> = Vec::new();
        for (id, sources) in planner::sources(desired) {
            open.extend(sources.into_iter().map(|source| (id.clone(), source)));
        }
        loop {
            let before = settled.len();
            for (one, other) in &open {
                if !settled.contains_key(one) || !settled.contains_key(other) {
                    settled.remove(one);
                    settled.remove(other);
                }
            }
            if settled.len() == before {
                break;
            }
        }
        settled.into_iter().map(|(id, known)| (id, known.version)).collect()
    }

    /// Remembers the streams that nothing is to be done for.
    fn remember(
        &self,
        desired: &Desired,
        target: &str,
        hashes: &BTreeMap<&StreamId, [u8; 16]>,
        live: &Live,
        plan: &Plan,
    ) {
        let busy: BTreeSet<&StreamId> = plan
            .steps
            .iter()
            .map(|step| step.action.stream())
            .chain(plan.deferred.iter().map(|deferred| &deferred.stream))
            .collect();
        let mut settled = BTreeMap::new();
        for (id, stream) in desired.streams.iter().filter(|(id, _)| !busy.contains(id)) {
            let Some(seen) = live.streams.get(id) else { continue };
            let Some(version) = seen.stream.metadata.resource_version.clone() else { continue };
            let due = planner::due(stream, live, self.policy);
            settled.insert(id.clone(), Settled { version, definition: hashes[id], due });
        }
        if !settled.is_empty() {
            self.memory.keep_settled(target, &settled);
        }
    }

    /// Identifies a definition together with the policy it was judged by. Where it stands in which file does not matter.
    fn hash(&self, stream: &DesiredStream) -> [u8; 16] {
        let Self { policy, server, tool, .. } = self;
        let DesiredStream { labels, annotations, lookup_policy, docker_image_repository, tags, origin: _ } = stream;
        let references: Vec<_> = tags.values().map(|tag| &tag.reference).collect();
        let parts = (labels, annotations, lookup_policy, docker_image_repository, references);
        let mut context = Context::new(&SHA256);
        context.update(tool.as_bytes());
        context.update(format!("{:?} {:?} {server:?}", policy.schedule_interval, policy.check_interval).as_bytes());
        // Serialised rather than hashed field by field: a new field is part of it by itself.
        context.update(&serde_json::to_vec(&parts).unwrap_or_default());
        let mut hash = [0; 16];
        hash.copy_from_slice(&context.finish().as_ref()[..16]);
        hash
    }
}
