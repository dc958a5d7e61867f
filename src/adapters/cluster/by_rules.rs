//! Writing the custom resource: what OpenShift's server would make of a step, `rules` say, and we write it.
//!
//! The status is put in its place first, at the version that was seen; then the wish is applied as on OpenShift, at the version
//! that this has left, with the generations that the rules give. A run that is killed in between makes the same step again.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::model::{Action, Precondition};
use crate::openshift::{ImageStream, StreamId};
use crate::ports::{Command, Performed, PortError};
use crate::rules::{self, Server, State};

use super::access::Trouble;
use super::owned::{Kept, Object};
use super::wanted::Wanted;
use super::write::conflict;
use super::{Cluster, reply, request, told};

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
        let mut before = current.map(Object::stream).transpose().map_err(Trouble::Lost)?;
        let others = self.sources(command.action, before.as_ref()).await?;
        let server = Server { internal_registry: self.registry.clone(), ..Server::default() };
        if let Some(object) = current.filter(|object| object.is_unobserved()) {
            // What its making should have come to is made up for, all of it at once.
            let made = object.whole().map_err(Trouble::Lost)?;
            let state = State { id, stream: None, others: &others, server: &server };
            if let Ok(effect) = rules::answer(state, &rules::Request::Create(&made), command.now) {
                before = effect.stream.map(|mut stream| {
                    stream.metadata.generation = made.metadata.generation;
                    stream
                });
            }
        }
        let state = State { id, stream: before.as_ref(), others: &others, server: &server };
        let after = match rules::perform(state, command.action, command.now) {
            Err(refusal) => return Ok(Performed::Refused { message: refusal.to_string() }),
            Ok(effect) => effect.stream,
        };
        let Some(after) = after else {
            let changes = told::changes(id, command, before.as_ref(), None);
            let deleted = self.delete_stream(id, current).await?;
            if let (Performed::Applied { .. }, Some(object)) = (&deleted, current) {
                self.tell(id, object, command, &changes).await;
            }
            return Ok(deleted);
        };
        let Some(seen) = current else { return self.create_by_rules(id, command, &after).await };
        let conflicts = seen.conflicts(&self.owner, self.wish(id, seen, command, before.as_ref(), &after).object());
        if !conflicts.is_empty() && !self.force {
            return Ok(Performed::Refused { message: conflict(&conflicts) });
        }
        // What came of the wish first, then the wish: a run that is killed in between makes the same step again, and an event
        // that is there already is not added twice.
        let mut object = seen.clone();
        let status = status(&after, &object, command.now);
        if object.raw.get("status") != Some(&status) {
            let request = request::status(id, object.version(), &status, &self.owner.manager);
            object = reply::object(&self.connection.send(request).await?).map_err(Trouble::Lost)?;
        }
        let changes = told::changes(id, command, before.as_ref(), Some(&after));
        let mut wanted = self.wish(id, &object, command, before.as_ref(), &after);
        told::annotate(&mut wanted, Some(&object), &self.owner.manager, &changes);
        let (mut object, _) = self.send_apply(id, &wanted, true).await?;
        if let Action::DeleteTag { tag, .. } = command.action {
            object = self.drop_previous(id, object, tag).await?;
        }
        self.tell(id, &object, command, &changes).await;
        let object = self.release(id, object).await?;
        Ok(self.applied(id, object))
    }

    /// A stream that is not there yet: the wish first, since without it there is nothing to write a status to. As long as it has
    /// none, it counts as one without tags ([`Object::stream`]).
    async fn create_by_rules(
        &self,
        id: &StreamId,
        command: &Command<'_>,
        after: &ImageStream,
    ) -> Result<Performed, Trouble> {
        let mut wanted = Wanted::new(id, None, &self.owner.manager);
        wanted.change(command.action, &self.owner.manager, false);
        for tag in &after.spec.tags {
            wanted.generation(&tag.name, tag.generation.unwrap_or(1));
        }
        self.mark(id, None, &mut wanted, command.provenance.path);
        let changes = told::changes(id, command, None, Some(after));
        told::annotate(&mut wanted, None, &self.owner.manager, &changes);
        let (object, is_new) = self.send_apply(id, &wanted, self.force).await?;
        if !is_new {
            // Somebody else has made it at the same moment: the next run sees what there is.
            let mut wanted = Wanted::new(id, Some(&object), &self.owner.manager);
            wanted.forget(&Kept::Created.key(&self.owner.manager));
            let (object, _) = self.send_apply(id, &wanted, true).await?;
            self.forget(id);
            let precondition = Precondition::StreamAbsent { stream: id.clone() };
            let actual = format!("it is there, at version {}", object.version());
            return Ok(Performed::Stale { precondition, actual });
        }
        let status = status(after, &object, command.now);
        let request = request::status(id, object.version(), &status, &self.owner.manager);
        let object = reply::object(&self.connection.send(request).await?).map_err(Trouble::Lost)?;
        self.tell(id, &object, command, &changes).await;
        Ok(self.applied(id, object))
    }

    /// Takes a tag out of what field managers apply that the source had before: no server removes it for us.
    async fn drop_previous(&self, id: &StreamId, mut object: Object, tag: &str) -> Result<Object, Trouble> {
        let claims = |manager: &&str| object.claims(manager, tag);
        let previous: Vec<String> = object.previous(&self.owner).filter(claims).map(str::to_owned).collect();
        for manager in previous {
            let mut wanted = Wanted::new(id, Some(&object), &manager);
            wanted.drop_tag(tag);
            let request = request::apply(self.api, id, wanted.object(), &manager, false);
            object = reply::object(&self.connection.send(request).await?).map_err(Trouble::Lost)?;
        }
        Ok(object)
    }

    /// All that we wish of a stream after a step.
    fn wish(
        &self,
        id: &StreamId,
        seen: &Object,
        command: &Command<'_>,
        before: Option<&ImageStream>,
        after: &ImageStream,
    ) -> Wanted {
        let mut wanted = Wanted::new(id, Some(seen), &self.owner.manager);
        wanted.change(command.action, &self.owner.manager, self.is_handed_over(Some(seen)));
        self.generations(&mut wanted, seen, command.action, before, after);
        self.mark(id, Some(seen), &mut wanted, command.provenance.path);
        if let Action::Import { repository: Some(repository), .. } = command.action {
            wanted.annotate(&Kept::Imported.key(&self.owner.manager), repository);
        }
        wanted
    }

    /// The streams that tags of a step copy from.
    async fn sources(
        &self,
        action: &Action,
        before: Option<&ImageStream>,
    ) -> Result<BTreeMap<StreamId, ImageStream>, Trouble> {
        let mut others = BTreeMap::new();
        for source in rules::sources(action, before) {
            if let Some(stream) = self.look(&source).await?.and_then(|object| object.stream().ok()) {
                others.insert(source, stream);
            }
        }
        Ok(others)
    }

    /// Generations, which here nobody else gives; and tags that an import of a whole repository has made.
    fn generations(
        &self,
        wanted: &mut Wanted,
        seen: &Object,
        action: &Action,
        before: Option<&ImageStream>,
        after: &ImageStream,
    ) {
        if let Action::DeleteTag { tag, .. } = action {
            wanted.drop_tag(tag);
        }
        for tag in &after.spec.tags {
            let is_new = before.is_none_or(|before| before.spec_tag(&tag.name).is_none());
            let made = matches!(action, Action::Import { images, .. } if is_new && images.iter().any(|item| item.tag == tag.name));
            let set = matches!(action, Action::SetTag { after, .. } if after.name == tag.name);
            if made {
                wanted.tag(tag);
            }
            if let Some(generation) =
                tag.generation.filter(|_| made || set || seen.claims(&self.owner.manager, &tag.name))
            {
                wanted.generation(&tag.name, generation);
            }
        }
    }
}

/// The status that the rules give, with the conditions that kstatus reads.
fn status(after: &ImageStream, object: &Object, now: Timestamp) -> Value {
    let mut status = json!(after.status);
    // A list that is left out of a merge patch stays.
    if status["tags"].is_null() {
        status["tags"] = json!([]);
    }
    for list in status["tags"].as_array_mut().into_iter().flatten() {
        // A custom resource holds no nulls.
        if list["items"].is_null() {
            list["items"] = json!([]);
        }
    }
    let generation = after.metadata.generation;
    status["observedGeneration"] = generation.into();
    let failed: Vec<String> = after
        .status
        .tags
        .iter()
        .filter_map(|list| Some(format!("{}: {}", list.tag, list.conditions.first()?.message)))
        .collect();
    let pending: Vec<&str> =
        after.spec.tags.iter().filter(|tag| after.is_import_pending(tag)).map(|tag| tag.name.as_str()).collect();
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
