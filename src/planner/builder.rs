//! The plan under construction, and the world as it will be.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    Action, Deferred, DeferredAction, LiveStream, Observed, Origin, Plan, Precondition, Reason, Step, StepId,
    StreamHeader, Wait,
};
use crate::openshift::{ImageStream, StreamId, TagId, TagReference};
use crate::rules::{self, State, Streams};

use super::input::PlanInput;
use super::predicted::{ChangedStreams, PredictedStreams};

/// Collects steps and what they leave behind.
pub(super) struct Builder<'a> {
    pub(super) input: &'a PlanInput<'a>,
    world: PredictedStreams<'a>,
    steps: Vec<Step>,
    deferred: Vec<Deferred>,
    /// The last step on each stream.
    last: BTreeMap<StreamId, StepId>,
    /// Streams that cannot be planned for: nothing more is planned on them.
    blocked: BTreeSet<StreamId>,
    /// Tags that are left to others.
    left: BTreeSet<TagId>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(input: &'a PlanInput<'a>) -> Self {
        Self {
            input,
            world: PredictedStreams::new(&input.live.streams),
            steps: Vec::new(),
            deferred: Vec::new(),
            left: BTreeSet::new(),
            last: BTreeMap::new(),
            blocked: BTreeSet::new(),
        }
    }

    /// The stream as it will be after the steps so far.
    pub(super) fn predicted(&self, id: &StreamId) -> Option<&ImageStream> {
        self.world.stream(id)
    }

    /// Nothing can be planned on this stream.
    pub(super) fn is_blocked(&self, id: &StreamId) -> bool {
        self.blocked.contains(id) || self.input.live.settled.contains(id)
    }

    /// Somebody else applies the tag, and it is not to be taken over.
    pub(super) fn is_theirs(&self, id: &StreamId, tag: &str) -> bool {
        let live = self.input.live.streams.get(id);
        let applied =
            !self.input.policy.force_conflicts && live.is_some_and(|live| live.owned.others.contains_key(tag));
        let foreign = live.is_some_and(|live| live.owned.foreign.tags.contains_key(tag));
        applied || foreign || self.left.contains(&id.tag(tag))
    }

    /// A tag is left to whoever has written it: no import puts it back either.
    pub(super) fn leave(&mut self, id: &StreamId, tag: &str) {
        self.left.insert(id.tag(tag));
    }

    pub(super) fn block(&mut self, id: &StreamId) {
        self.blocked.insert(id.clone());
    }

    /// Plans to keep a tag that is there as it is: nothing moves, and from then on it is ours.
    pub(super) fn adopt(&mut self, id: &StreamId, tag: &TagReference, origin: &Origin) {
        let before = Some(TagReference { generation: None, ..tag.clone() });
        let action = Action::SetTag { stream: id.clone(), before, after: tag.clone() };
        let unchanged = self.world.stream(id).cloned();
        self.push(id.clone(), action, Reason::Adopted, Some(origin), Vec::new(), unchanged);
    }

    /// Likewise, everything of a stream but its tags.
    pub(super) fn adopt_header(&mut self, id: &StreamId, header: &StreamHeader, origin: &Origin) {
        let (stream, before, after) = (id.clone(), header.clone(), header.clone());
        let unchanged = self.world.stream(id).cloned();
        let action = Action::UpdateStream { stream, before, after };
        self.push(id.clone(), action, Reason::Adopted, Some(origin), Vec::new(), unchanged);
    }

    /// Plans an action, unless it would change nothing. What the rules refuse is deferred and blocks the stream.
    pub(super) fn step(
        &mut self,
        action: Action,
        reason: Reason,
        origin: Option<&Origin>,
        requires: Vec<Precondition>,
    ) {
        let id = action.stream().clone();
        if self.is_blocked(&id) {
            return;
        }
        let before = self.world.stream(&id);
        let state = State { id: &id, stream: before, others: &self.world, server: self.input.server };
        let effect = match rules::perform(state, &action, self.input.live.observed_at) {
            Ok(effect) if !effect.changed => return,
            Ok(effect) => effect,
            Err(refusal) => {
                let wait = Wait::Refused { rule: refusal.to_string() };
                let tag = match &action {
                    Action::SetTag { after, .. } => Some(after.name.clone()),
                    Action::Follow { tag, .. } | Action::DeleteTag { tag, .. } => Some(tag.clone()),
                    Action::CreateStream { .. }
                    | Action::UpdateStream { .. }
                    | Action::Import { .. }
                    | Action::DeleteStream { .. } => None,
                };
                if tag.is_none() {
                    self.block(&id);
                }
                return self.defer(&id, tag.as_deref(), DeferredAction::Reconcile, origin, wait);
            }
        };
        self.push(id, action, reason, origin, requires, effect.stream);
    }

    /// Writes a step down, with what it leaves behind.
    fn push(
        &mut self,
        id: StreamId,
        action: Action,
        reason: Reason,
        origin: Option<&Origin>,
        requires: Vec<Precondition>,
        leaves: Option<ImageStream>,
    ) {
        let moves = rules::moves(self.world.stream(&id), leaves.as_ref());
        let mut all = Vec::new();
        if !self.last.contains_key(&id) {
            all.push(self.as_seen(&id));
        }
        all.extend(requires);
        let mut after: BTreeSet<StepId> = self.last.get(&id).copied().into_iter().collect();
        // The server resolves what a tag copies when it is written: an image of another stream has to be there by then.
        let sources = rules::sources(&action, self.world.stream(&id));
        after.extend(sources.iter().filter_map(|source| self.last.get(source)));
        for precondition in &all {
            if let Precondition::TagAt { tag, .. } = precondition {
                after.extend(self.last.get(&tag.stream));
            }
        }
        let step_id = StepId(u32::try_from(self.steps.len() + 1).unwrap_or(u32::MAX));
        self.steps.push(Step {
            id: step_id,
            action,
            reason,
            origin: origin.cloned(),
            requires: all,
            after: after.into_iter().collect(),
            moves,
        });
        self.last.insert(id.clone(), step_id);
        self.world.put(id, leaves);
    }

    /// The stream as it was seen, as a precondition of its first step.
    fn as_seen(&self, id: &StreamId) -> Precondition {
        rules::as_is(id, self.input.live.streams.get(id).map(|live| &live.stream))
    }

    pub(super) fn defer(
        &mut self,
        stream: &StreamId,
        tag: Option<&str>,
        action: DeferredAction,
        origin: Option<&Origin>,
        wait: Wait,
    ) {
        let (stream, tag, origin) = (stream.clone(), tag.map(str::to_owned), origin.cloned());
        self.deferred.push(Deferred { stream, tag, action, origin, wait });
    }

    /// The live stream, or what is known instead of it.
    pub(super) fn live(&self, id: &StreamId) -> Observed<&'a LiveStream> {
        self.input.live.stream(id)
    }

    /// What waits so far.
    pub(super) fn deferred(&self) -> &[Deferred] {
        &self.deferred
    }

    /// The plan, and what its steps leave behind.
    pub(super) fn finish(mut self) -> (Plan, ChangedStreams) {
        let PlanInput { desired, live, target, tool, state, .. } = self.input;
        if let Some(by) = &state.frozen {
            // What would be done is told.
            for Step { action, origin, .. } in std::mem::take(&mut self.steps) {
                let (tag, kind) = match &action {
                    Action::SetTag { after, .. } => (Some(after.name.as_str()), DeferredAction::Reconcile),
                    Action::Follow { tag, .. } => (Some(tag.as_str()), DeferredAction::Follow),
                    Action::Import { images, .. } => {
                        (images.first().map(|item| item.tag.as_str()), DeferredAction::Import)
                    }
                    Action::DeleteTag { tag, .. } => (Some(tag.as_str()), DeferredAction::DeleteTag),
                    Action::DeleteStream { .. } => (None, DeferredAction::DeleteStream),
                    Action::CreateStream { .. } | Action::UpdateStream { .. } => (None, DeferredAction::Reconcile),
                };
                self.defer(action.stream(), tag, kind, origin.as_ref(), Wait::Held { by: by.clone() });
            }
        }
        self.deferred.sort_by(|a, b| (&a.stream, &a.tag, a.action).cmp(&(&b.stream, &b.tag, b.action)));
        // What is frozen leaves nothing behind.
        let changed = if state.frozen.is_some() { ChangedStreams::default() } else { self.world.into_changed() };
        let plan = Plan::of(desired, tool, target, live.observed_at);
        let plan = Plan { steps: self.steps, deferred: self.deferred, ..plan };
        (plan, changed)
    }
}
