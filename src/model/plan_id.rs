//! Which plan was reviewed: a name that another plan with the same effect has as well.

use serde::Serialize;

use crate::openshift::StreamId;
use crate::source::Hasher;

use super::impact::{RollImage, Update};
use super::plan::{Action, ImportItem, ImportResult, Move, Plan, Step, StreamHeader};
use super::reason::Reason;
use super::step_id::StepId;
use super::workload::WorkloadId;

/// Version of what is hashed, and the beginning of every id.
const VERSION: &str = "p1";

/// Hexadecimal digits of an id.
const DIGITS: usize = 32;

/// Whether a text is an id of this version, whole.
pub fn is_plan_id(text: &str) -> bool {
    let digits = text.strip_prefix(VERSION).and_then(|rest| rest.strip_prefix('-'));
    digits.is_some_and(|it| it.len() == DIGITS && it.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
}

/// The part of a step that counts: what it does, without what was there before.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Effect<'a> {
    UpdateStream { stream: &'a StreamId, after: &'a StreamHeader },
    SetTag { stream: &'a StreamId, after: &'a crate::openshift::TagReference },
    Import { stream: &'a StreamId, images: Vec<ImportItem>, repository: &'a Option<String> },
    Other(&'a Action),
    Update { workload: &'a WorkloadId, images: &'a [RollImage] },
}

impl Plan {
    /// What `apply --expect` takes: a versioned hash of the target, of what each step does without what was there before, of the tags that
    /// move, and of the images that workloads get. Two plans with one effect have one id: time, versions, revision, source, reasons and the
    /// numbers of steps are not in it. Neither are moves that nobody has committed: see [`Self::reviewable`].
    pub fn id(&self) -> String {
        let outside = self.outside();
        let steps = self.steps.iter().filter(|step| !outside.contains(&step.id)).map(step_effect);
        let updates = self.updates.iter().filter(|update| !outside.contains(&update.id)).map(update_effect);
        let mut effects: Vec<String> = steps.chain(updates).collect();
        effects.sort_unstable();
        let mut hasher = Hasher::default();
        hasher.part(VERSION);
        hasher.part(&self.target);
        for effect in effects {
            hasher.part(effect);
        }
        format!("{VERSION}-{}", hex::encode(&hasher.finish()[..DIGITS / 2]))
    }

    /// A name for what the plan does to streams, all of it: that of the same plan again, after a run of it was interrupted.
    pub fn actions_hash(&self) -> String {
        let mut actions: Vec<String> = self.steps.iter().map(|step| action_effect(&step.action)).collect();
        actions.sort_unstable();
        let mut hasher = Hasher::default();
        hasher.part(VERSION);
        actions.iter().for_each(|action| hasher.part(action));
        hex::encode(hasher.finish())
    }

    /// The part of the plan that its id stands for: without scheduled moves, imports that are tried again and corrections of drift, all of
    /// which come and go without a commit, and without what depends on them.
    pub fn reviewable(self) -> Self {
        let outside = self.outside();
        let is_inside = |id: &StepId| !outside.contains(id);
        Self {
            steps: self.steps.into_iter().filter(|step| is_inside(&step.id)).collect(),
            updates: self.updates.into_iter().filter(|update| is_inside(&update.id)).collect(),
            ..self
        }
    }

    fn outside(&self) -> Vec<StepId> {
        let mut outside: Vec<StepId> = Vec::new();
        for Step { id, reason, after, .. } in &self.steps {
            // Steps are in the order of their dependencies.
            if comes_by_itself(reason) || after.iter().any(|before| outside.contains(before)) {
                outside.push(*id);
            }
        }
        for Update { id, reason, after, .. } in &self.updates {
            if comes_by_itself(reason) || after.iter().any(|before| outside.contains(before)) {
                outside.push(*id);
            }
        }
        outside
    }
}

fn comes_by_itself(reason: &Reason) -> bool {
    match reason {
        Reason::UpstreamMoved | Reason::ListMoved { .. } | Reason::ImportFailed { .. } | Reason::Drifted { .. } => true,
        Reason::Missing
        | Reason::Changed { .. }
        | Reason::Adopted
        | Reason::Asked
        | Reason::Follows { .. }
        | Reason::NotInRevision => false,
    }
}

fn step_effect(step: &Step) -> String {
    let moves: Vec<&Move> = step.moves.iter().collect();
    // A value of ours can always be written.
    serde_json::to_string(&(effect(&step.action), moves)).unwrap_or_default()
}

fn action_effect(action: &Action) -> String {
    serde_json::to_string(&effect(action)).unwrap_or_default()
}

fn effect(action: &Action) -> Effect<'_> {
    match action {
        Action::UpdateStream { stream, before: _, after } => Effect::UpdateStream { stream, after },
        Action::SetTag { stream, before: _, after } => Effect::SetTag { stream, after },
        Action::Import { stream, images, repository } => {
            Effect::Import { stream, images: images.iter().map(without_words).collect(), repository }
        }
        other @ (Action::CreateStream { .. }
        | Action::Follow { .. }
        | Action::DeleteTag { .. }
        | Action::DeleteStream { .. }) => Effect::Other(other),
    }
}

fn update_effect(update: &Update) -> String {
    let effect = Effect::Update { workload: &update.workload, images: &update.images };
    serde_json::to_string(&effect).unwrap_or_default()
}

/// A failure's words may be others at the next try.
fn without_words(item: &ImportItem) -> ImportItem {
    let mut item = item.clone();
    if let ImportResult::Failure(failure) = &mut item.result {
        failure.message.clear();
    }
    item
}
