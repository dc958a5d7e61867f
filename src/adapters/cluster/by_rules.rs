//! Writing the custom resource: what OpenShift's server would make of a step, `rules` say, and we write it.
//!
//! The wish is applied as on OpenShift, with the generations that the rules give; then the status is put in its place, at the
//! version that the wish has left. A run that is killed in between leaves tags that are newer than their images: the next one
//! goes on from there.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::api::{DOCKER_IMAGE, ImageStream, TagReference};
use crate::model::{Action, Precondition, StreamId};
use crate::ports::{Command, Performed, PortError};
use crate::rules::{self, Server, State};

use super::access::Trouble;
use super::owned::{Kept, Object};
use super::wanted::Wanted;
use super::write::conflict;
use super::{Cluster, reply, request};

impl Cluster {
    pub(super) async fn perform_by_rules(
        &self,
        current: Option<&Object>,
        command: &Command<'_>,
    ) -> Result<Performed, PortError> {
        let stream = command.action.stream();
        let result = self.write_by_rules(stream, current, command).await;
        self.outcome(stream, current, result)
    }

    async fn write_by_rules(
        &self,
        id: &StreamId,
        current: Option<&Object>,
        command: &Command<'_>,
    ) -> Result<Performed, Trouble> {
        let before = current.map(Object::stream).transpose().map_err(Trouble::Lost)?;
        let others = self.sources(id, command.action, before.as_ref()).await?;
        let server = Server { internal_registry: self.registry.clone(), ..Server::default() };
        let state = State { id, stream: before.as_ref(), others: &others, server: &server };
        let after = match rules::perform(state, command.action, command.now) {
            Err(refusal) => return Ok(Performed::Refused { message: refusal.to_string() }),
            Ok(effect) => effect.stream,
        };
        let Some(after) = after else { return self.delete_stream(id, current).await };
        let mut wanted = Wanted::new(id, current, &self.manager);
        wanted.change(command.action, &self.manager);
        self.generations(&mut wanted, current, command.action, before.as_ref(), &after);
        self.mark(id, current, &mut wanted, command.provenance.path);
        if let Action::Import { repository: Some(repository), .. } = command.action {
            wanted.annotate(&Kept::Imported.key(&self.manager), repository);
        }
        let conflicts = current.map(|object| object.conflicts(&self.manager, wanted.object())).unwrap_or_default();
        if !conflicts.is_empty() && !self.force {
            return Ok(Performed::Refused { message: conflict(&conflicts) });
        }
        let force = current.is_some() || self.force;
        let (mut object, is_new) = self.send_apply(id, &wanted, force).await?;
        if current.is_none() && !is_new {
            // Somebody else has made it at the same moment: the next run sees what there is.
            let mut wanted = Wanted::new(id, Some(&object), &self.manager);
            wanted.forget(&Kept::Created.key(&self.manager));
            let (object, _) = self.send_apply(id, &wanted, true).await?;
            self.forget(id);
            let precondition = Precondition::StreamAbsent { stream: id.clone() };
            let actual = format!("it is there, at version {}", object.version());
            return Ok(Performed::Stale { precondition, actual });
        }
        let status = status(&after, &object, command.now);
        if object.raw.get("status") != Some(&status) {
            let request = request::status(id, object.version(), &status, &self.manager);
            let body = self.connection.send(request).await?;
            object = reply::object(&body).map_err(Trouble::Lost)?;
        }
        Ok(self.applied(id, object))
    }

    /// The streams that tags of a step copy from.
    async fn sources(
        &self,
        id: &StreamId,
        action: &Action,
        before: Option<&ImageStream>,
    ) -> Result<BTreeMap<StreamId, ImageStream>, Trouble> {
        let tags: Vec<&TagReference> = match action {
            Action::CreateStream { tags, .. } => tags.iter().collect(),
            Action::SetTag { after, .. } => vec![after],
            Action::Follow { tag, .. } => before.and_then(|stream| stream.spec_tag(tag)).into_iter().collect(),
            Action::UpdateStream { .. }
            | Action::Import { .. }
            | Action::DeleteTag { .. }
            | Action::DeleteStream { .. } => Vec::new(),
        };
        let mut others = BTreeMap::new();
        for from in tags.iter().filter_map(|tag| tag.from.as_ref()).filter(|from| from.kind != DOCKER_IMAGE) {
            let namespace = if from.namespace.is_empty() { &id.namespace } else { &from.namespace };
            let Some((name, _)) = from.name.split_once([':', '@']) else { continue };
            let source = StreamId::new(namespace, name);
            if source != *id
                && let Some(stream) = self.look(&source).await?.and_then(|object| object.stream().ok())
            {
                others.insert(source, stream);
            }
        }
        Ok(others)
    }

    /// Tags as the rules have left them, those that are ours or become it: with their generations, which here nobody else gives.
    fn generations(
        &self,
        wanted: &mut Wanted,
        current: Option<&Object>,
        action: &Action,
        before: Option<&ImageStream>,
        after: &ImageStream,
    ) {
        if let Action::DeleteTag { tag, .. } = action {
            wanted.drop_tag(tag);
        }
        let named = |name: &str| match action {
            Action::CreateStream { .. } => true,
            Action::SetTag { after, .. } => after.name == name,
            Action::Import { images, .. } => images.iter().any(|item| item.tag == name),
            Action::UpdateStream { .. }
            | Action::Follow { .. }
            | Action::DeleteTag { .. }
            | Action::DeleteStream { .. } => false,
        };
        for tag in &after.spec.tags {
            let is_ours = current.is_some_and(|object| object.claims(&self.manager, &tag.name));
            let is_changed = before.and_then(|before| before.spec_tag(&tag.name)) != Some(tag);
            if named(&tag.name) || (is_ours && is_changed) {
                wanted.tag(tag);
                if let Some(generation) = tag.generation {
                    wanted.generation(&tag.name, generation);
                }
            }
        }
    }
}

/// The status that the rules give, with the conditions that kstatus reads.
fn status(after: &ImageStream, object: &Object, now: Timestamp) -> Value {
    let mut status = json!(after.status);
    for list in status["tags"].as_array_mut().into_iter().flatten() {
        // A custom resource holds no nulls.
        if list["items"].is_null() {
            list["items"] = json!([]);
        }
    }
    let generation = object.raw.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default();
    status["observedGeneration"] = generation.into();
    let failed: Vec<String> = after
        .status
        .tags
        .iter()
        .filter_map(|list| Some(format!("{}: {}", list.tag, list.conditions.first()?.message)))
        .collect();
    let pending = |tag: &&TagReference| {
        let list = after.status_tag(&tag.name);
        let seen = list.and_then(|list| list.items.first()).map(|head| head.generation);
        let tried = list.and_then(|list| list.conditions.first()).map(|condition| condition.generation);
        rules::is_imported(tag) && seen.max(tried) < tag.generation
    };
    let pending: Vec<&str> = after.spec.tags.iter().filter(pending).map(|tag| tag.name.as_str()).collect();
    let (ready, reason, message) = match (failed.is_empty(), pending.is_empty()) {
        (false, _) => (false, "ImportFailed", failed.join("; ")),
        (true, false) => (false, "Importing", format!("tags without their image: {}", pending.join(", "))),
        (true, true) => (true, "Imported", "every tag has its image".to_owned()),
    };
    let before = object.raw.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let condition = |kind: &str, is: bool, reason: &str, message: &str| {
        let word = if is { "True" } else { "False" };
        // The time at which it became so, not at which it was said again.
        let since = before.iter().find(|was| was["type"] == kind && was["status"] == word);
        let since = since.map_or_else(|| json!(now.to_string()), |was| was["lastTransitionTime"].clone());
        let message: String = message.chars().take(30_000).collect();
        json!({"type": kind, "status": word, "observedGeneration": generation, "lastTransitionTime": since, "reason": reason, "message": message})
    };
    status["conditions"] = json!([
        condition("Ready", ready, reason, &message),
        condition("Reconciling", !ready && failed.is_empty(), reason, &message),
        condition("Stalled", !failed.is_empty(), reason, &message),
    ]);
    status
}
