//! Changing the streams of a cluster: one step, one request that writes.

use jiff::Timestamp;

use crate::adapters::lock;
use crate::model::{Action, ImportItem, ImportResult, Observed, Plan, Precondition, Report, Update};
use crate::openshift::{ImageStream, StreamId, TagId};
use crate::ports::{Command, LiveState, Performed, PortError, Target};
use crate::rules::{self, Check};

use super::access::Trouble;
use super::owned::{Kept, Object};
use super::reply::Imported;
use super::request::Api;
use super::wanted::Wanted;
use super::{Cluster, reply, request};

/// How often a write is tried that OpenShift's own controllers came before.
const TRIES: u32 = 3;
/// How many aliases in a row are brought along.
const CHAIN: usize = 8;

impl Target for Cluster {
    async fn perform(&self, command: Command<'_>) -> Result<Performed, PortError> {
        let stream = command.action.stream();
        let failed = |trouble: Trouble| trouble.failed(format!("write `{stream}`"));
        let current = self.current(stream).await.map_err(failed)?;
        if let Some(stale) = self.check(&command.requires, stream, current.as_ref()).await.map_err(failed)? {
            return Ok(stale);
        }
        if self.api == Api::Kubernetes {
            return self.perform_by_rules(current.as_ref(), &command).await;
        }
        let result = match command.action {
            Action::Import { images, repository, .. } => {
                self.import(stream, current.as_ref(), images, repository.as_deref()).await
            }
            Action::DeleteTag { tag, .. } => self.delete_tag(stream, tag, &command.requires).await,
            Action::DeleteStream { .. } => self.delete_stream(stream, current.as_ref()).await,
            Action::Follow { tag, source, .. } => self.follow(stream, current.as_ref(), tag, source).await,
            Action::CreateStream { .. } | Action::UpdateStream { .. } | Action::SetTag { .. } => {
                self.apply(stream, current.as_ref(), &command).await
            }
        };
        self.outcome(stream, current.as_ref(), result)
    }

    async fn update(&self, update: &Update) -> Result<Performed, PortError> {
        let result = self.update_workload(update).await;
        if matches!(result, Ok(Performed::Applied { .. })) {
            self.tell_update(update).await;
        }
        result
    }

    async fn begin(&self, plan: &Plan, now: Timestamp) -> Result<i64, PortError> {
        // How earlier plans left streams is long ago.
        lock(&self.left).clear();
        let removals = plan.steps.iter().filter(|step| step.action.is_removal());
        let mut under_way = lock(&self.under_way);
        under_way.scope.clone_from(&plan.scope);
        under_way.revision.clone_from(&plan.revision);
        under_way.removed_from = removals.map(|step| step.action.stream().clone()).collect();
        // A cluster keeps no journal of ours: its own history and managed fields are what there is.
        Ok(now.as_second())
    }

    async fn finish(&self, _: i64, _: &Report) -> Result<(), PortError> {
        Ok(())
    }
}

impl Cluster {
    /// What the end of a request means for its step.
    pub(super) fn outcome(
        &self,
        stream: &StreamId,
        current: Option<&Object>,
        result: Result<Performed, Trouble>,
    ) -> Result<Performed, PortError> {
        match result {
            Ok(performed) => Ok(performed),
            Err(Trouble::Refused(refused)) if refused.is_stale() => {
                self.forget(stream);
                Ok(stale(stream, current, refused.message))
            }
            Err(Trouble::Refused(refused)) if !refused.managers.is_empty() => {
                Ok(Performed::Refused { message: conflict(&refused.managers) })
            }
            Err(Trouble::Refused(refused)) if matches!(refused.code, 400 | 403 | 404 | 422) => {
                self.forget(stream);
                Ok(Performed::Refused { message: advice(refused) })
            }
            Err(trouble) => {
                // It may have been done: the next step looks.
                self.forget(stream);
                Err(trouble.failed(format!("write `{stream}`")))
            }
        }
    }

    pub(super) fn remember(&self, stream: &StreamId, object: Object) {
        let (id, version, live) = self.live(object.raw.clone());
        self.informer.wrote(&self.identity(), &id, &version, &live);
        lock(&self.left).insert(stream.clone(), object);
    }

    pub(super) fn forget(&self, stream: &StreamId) {
        lock(&self.left).remove(stream);
    }

    /// The stream as our last write left it, or else as it is.
    async fn current(&self, stream: &StreamId) -> Result<Option<Object>, Trouble> {
        let left = lock(&self.left).get(stream).cloned();
        match left {
            Some(object) => Ok(Some(object)),
            None => self.look(stream).await,
        }
    }

    pub(super) async fn look(&self, stream: &StreamId) -> Result<Option<Object>, Trouble> {
        match self.connection.send(request::get(self.api, stream)).await {
            Ok(body) => reply::object(&body).map(Some).map_err(Trouble::Lost),
            Err(Trouble::Refused(refused)) if refused.code == 404 => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    /// The first thing that a step relies on and that is not so.
    async fn check(
        &self,
        requires: &[Precondition],
        stream: &StreamId,
        current: Option<&Object>,
    ) -> Result<Option<Performed>, Trouble> {
        for precondition in requires {
            let other = match precondition.stream() {
                Some(other) if other != stream => self.look(other).await?,
                Some(_) | None => None,
            };
            let seen = if precondition.stream() == Some(stream) { current } else { other.as_ref() };
            // What cannot be read is not without an image.
            let about = precondition.stream().unwrap_or(stream);
            let unreadable = |_| Trouble::Lost(format!("`{about}` cannot be read"));
            let seen = seen.map(Object::stream).transpose().map_err(unreadable)?;
            let seen = seen.as_ref().map_or(Observed::Absent, Observed::Known);
            if let Check::Stale { actual } = rules::check(precondition, seen) {
                self.forget(stream);
                return Ok(Some(Performed::Stale { precondition: precondition.clone(), actual }));
            }
        }
        Ok(None)
    }

    /// Applies what a step wants. OpenShift's own controllers write the same objects: a write of theirs in between, which has
    /// changed nothing of what anybody wishes, is not what a step is stale for.
    async fn apply(
        &self,
        stream: &StreamId,
        current: Option<&Object>,
        command: &Command<'_>,
    ) -> Result<Performed, Trouble> {
        let mut current = current.cloned();
        for tries in 1.. {
            let mut wanted = Wanted::new(stream, current.as_ref(), &self.owner.manager);
            wanted.change(command.action, &self.owner.manager, self.is_handed_over(current.as_ref()));
            self.mark(stream, current.as_ref(), &mut wanted, command.provenance.path);
            // What others apply is theirs. What was only written, by `oc` or an import, is put back: so much force is meant.
            let conflicts = current.as_ref().map(|object| object.conflicts(&self.owner, wanted.object()));
            if let Some(conflicts) = conflicts.filter(|conflicts| !conflicts.is_empty() && !self.force) {
                return Ok(Performed::Refused { message: conflict(&conflicts) });
            }
            // Nothing was there to be looked at: whatever is there now is not changed against its owners.
            let force = current.is_some() || self.force;
            match self.send_apply(stream, &wanted, force).await {
                Err(Trouble::Refused(refused)) if refused.is_stale() && tries < TRIES => {
                    let fresh = self.look(stream).await?;
                    let same = match (&current, &fresh) {
                        (Some(before), Some(now)) => before.is_same_wish(now),
                        (None, None) => true,
                        (Some(_), None) | (None, Some(_)) => false,
                    };
                    if !same {
                        return Err(Trouble::Refused(refused));
                    }
                    current = fresh;
                }
                Err(trouble) => return Err(trouble),
                // Somebody else has made it at the same moment: it is not ours to remove.
                Ok((object, false)) if current.is_none() => {
                    let mut wanted = Wanted::new(stream, Some(&object), &self.owner.manager);
                    wanted.forget(&Kept::Created.key(&self.owner.manager));
                    let (object, _) = self.send_apply(stream, &wanted, true).await?;
                    return self.settled(stream, object).await;
                }
                Ok((object, _)) => return self.settled(stream, object).await,
            }
        }
        Err(Trouble::Lost("it was tried too often".to_owned()))
    }

    /// Applies; also says whether the stream is new.
    pub(super) async fn send_apply(
        &self,
        stream: &StreamId,
        wanted: &Wanted,
        force: bool,
    ) -> Result<(Object, bool), Trouble> {
        let request = request::apply(self.api, stream, wanted.object(), &self.owner.manager, force);
        let (status, body) = self.connection.exchange(request).await?;
        Ok((reply::object(&body).map_err(Trouble::Lost)?, status == http::StatusCode::CREATED))
    }

    /// Aliases of the stream itself follow what was written, along the whole chain. The server leaves some behind (semantics 2.3
    /// and 2.4): those of ours are written once more, spelled in the other way, which for it is a change.
    async fn settled(&self, stream: &StreamId, mut object: Object) -> Result<Performed, Trouble> {
        for _ in 0..CHAIN {
            let lagging = object.lagging(stream, &self.owner);
            if lagging.is_empty() {
                break;
            }
            let mut wanted = Wanted::new(stream, Some(&object), &self.owner.manager);
            lagging.iter().for_each(|tag| wanted.spell_again(stream, tag));
            object = match self.send_apply(stream, &wanted, true).await {
                Ok((object, _)) => object,
                // OpenShift's controllers write as well. What the step is about is done; the next plan sees what is left.
                Err(Trouble::Refused(refused)) if refused.is_stale() => match self.look(stream).await? {
                    Some(object) => object,
                    None => break,
                },
                Err(trouble) => return Err(trouble),
            };
        }
        let object = self.release(stream, object).await?;
        Ok(self.applied(stream, object))
    }

    /// Whether a field manager that the source had before still applies something of a stream.
    pub(super) fn is_handed_over(&self, object: Option<&Object>) -> bool {
        object.is_some_and(|object| object.previous(&self.owner).next().is_some())
    }

    /// Ends what field managers that the source had before apply, once all of their tags are taken over: an empty set as such a manager
    /// leaves nothing to it, and nothing of what is applied under the new name changes.
    pub(super) async fn release(&self, stream: &StreamId, mut object: Object) -> Result<Object, Trouble> {
        let is_covered = |previous: &&str| object.is_covered(previous, &self.owner.manager);
        let previous: Vec<String> = object.previous(&self.owner).filter(is_covered).map(str::to_owned).collect();
        for manager in previous {
            let nothing = Wanted::nothing(stream);
            let request = request::apply(self.api, stream, nothing.object(), &manager, false);
            let (_, body) = self.connection.exchange(request).await?;
            object = reply::object(&body).map_err(Trouble::Lost)?;
        }
        Ok(object)
    }

    /// Takes the image of another tag over once more. Of the own stream the name is spelled in another way; of another one
    /// there is no other way, so the tag names the image itself for a moment (semantics 2.3 and 1.7).
    async fn follow(
        &self,
        stream: &StreamId,
        current: Option<&Object>,
        tag: &str,
        source: &TagId,
    ) -> Result<Performed, Trouble> {
        let Some(current) = current.filter(|object| object.claims(&self.owner.manager, tag)) else {
            return Ok(Performed::Refused { message: format!("the tag `{tag}` is not one that we apply") });
        };
        let mut wanted = Wanted::new(stream, Some(current), &self.owner.manager);
        if source.stream == *stream {
            wanted.spell_again(stream, tag);
            let (object, _) = self.send_apply(stream, &wanted, true).await?;
            return self.settled(stream, object).await;
        }
        let theirs = self.look(&source.stream).await?.and_then(|object| object.stream().ok()).unwrap_or_default();
        let Some(head) = theirs.head(&source.tag) else {
            return Ok(Performed::Refused { message: format!("`{source}` has no image any more") });
        };
        wanted.detour(tag, &source.stream, &head.image);
        let (object, _) = self.send_apply(stream, &wanted, true).await?;
        let mut wanted = Wanted::new(stream, Some(&object), &self.owner.manager);
        wanted.back(tag, current);
        let (object, _) = self.send_apply(stream, &wanted, true).await?;
        self.settled(stream, object).await
    }

    /// Writes down where a stream is defined, and from which part of the source it is written. While it still has what was
    /// written from another part, and nothing of it is removed in this run, it stays with that part.
    pub(super) fn mark(&self, stream: &StreamId, current: Option<&Object>, wanted: &mut Wanted, path: &str) {
        if !path.is_empty() {
            wanted.annotate(&Kept::Definition.key(&self.owner.manager), path);
        }
        let under_way = lock(&self.under_way);
        let before = current.and_then(|object| object.kept(Kept::Scope, &self.owner.manager));
        let scope = before.filter(|_| !under_way.removed_from.contains(stream)).unwrap_or(&under_way.scope);
        wanted.annotate(&Kept::Scope.key(&self.owner.manager), scope);
        wanted.annotate(&Kept::Source.key(&self.owner.manager), &self.owner.identities.own);
        // That it made the stream, and what it has imported, goes over with what another name of this source has applied.
        let previous = || current.iter().flat_map(|object| object.previous(&self.owner).map(move |it| (object, it)));
        for kept in [Kept::Created, Kept::Imported] {
            if let Some(value) = previous().find_map(|(object, previous)| object.kept(kept, previous)) {
                wanted.annotate(&kept.key(&self.owner.manager), value);
            }
        }
    }

    pub(super) fn applied(&self, stream: &StreamId, object: Object) -> Performed {
        let now = object.as_is(stream);
        self.remember(stream, object);
        Performed::Applied { now: Some(now) }
    }

    /// Imports, and compares what the server found with what was planned: it has looked the tags up once more.
    async fn import(
        &self,
        stream: &StreamId,
        current: Option<&Object>,
        images: &[ImportItem],
        repository: Option<&str>,
    ) -> Result<Performed, Trouble> {
        let mut current = current.cloned();
        let mut tries = 0;
        let body = loop {
            let version = current.as_ref().map(Object::version);
            match self.connection.send(request::import(stream, images, &self.owner.manager, version)).await {
                // OpenShift's controller imports as well: as long as nobody wishes otherwise, the next try is as good.
                Err(Trouble::Refused(refused)) if refused.is_stale() && tries < TRIES => {
                    tries += 1;
                    let fresh = self.look(stream).await?;
                    let same =
                        current.as_ref().zip(fresh.as_ref()).is_some_and(|(before, now)| before.is_same_wish(now));
                    if !same {
                        return Err(Trouble::Refused(refused));
                    }
                    current = fresh;
                }
                other => break other?,
            }
        };
        let Imported { stream: object, images: results } = reply::imported(&body).map_err(Trouble::Lost)?;
        let object = object.ok_or_else(|| Trouble::Lost("the import says nothing of the stream".to_owned()))?;
        let mut performed = self.settled(stream, object.clone()).await?;
        let expected = |item: &ImportItem| match &item.result {
            ImportResult::Image { digest } => digest.to_string(),
            ImportResult::Failure(failure) => failure.message.clone(),
        };
        for (at, item) in images.iter().enumerate() {
            let actual = match (results.get(at), &item.result) {
                (Some(Ok(digest)), ImportResult::Image { digest: planned }) if digest == planned.as_str() => continue,
                (Some(Err(_)), ImportResult::Failure(_)) => continue,
                (Some(Ok(digest)), _) => digest.clone(),
                (Some(Err(message)), _) => message.clone(),
                (None, _) => "no answer".to_owned(),
            };
            let Performed::Applied { now } = performed else { return Ok(performed) };
            return Ok(Performed::Diverged { expected: format!("{}: {}", item.tag, expected(item)), actual, now });
        }
        if let Some(repository) = repository {
            // Only now are all its tags there, as planned: an import that was interrupted, or went otherwise, goes on.
            let object = lock(&self.left).get(stream).cloned().unwrap_or(object);
            let mut wanted = Wanted::new(stream, Some(&object), &self.owner.manager);
            wanted.annotate(&Kept::Imported.key(&self.owner.manager), repository);
            performed = self.applied(stream, self.send_apply(stream, &wanted, true).await?.0);
        }
        Ok(performed)
    }

    /// Removes a tag that is still ours and still as the run has seen it: DELETE takes no version, so it is looked at just
    /// before. Afterwards the claim is given up: who makes the tag anew shall have it.
    async fn delete_tag(&self, stream: &StreamId, tag: &str, requires: &[Precondition]) -> Result<Performed, Trouble> {
        let seen = lock(&self.left).get(stream).cloned();
        let Some(fresh) = self.look(stream).await? else { return Ok(Performed::AlreadySo { now: None }) };
        let moved = match seen {
            Some(seen) => !seen.is_same_wish(&fresh),
            None => {
                let mut own = requires.iter().filter(|it| matches!(it, Precondition::ResourceVersion { .. }));
                own.any(|it| fresh.as_is(stream) != *it)
            }
        };
        let owned = fresh.owned(&self.owner);
        if moved || !(owned.tags.contains_key(tag) || owned.previous.contains_key(tag)) {
            self.forget(stream);
            return Ok(stale(
                stream,
                Some(&fresh),
                "it has changed meanwhile, or the tag is no longer ours".to_owned(),
            ));
        }
        match self.connection.send(request::delete_tag(stream, tag)).await {
            Ok(_) => {}
            Err(Trouble::Refused(refused)) if refused.code == 404 => {}
            Err(trouble) => return Err(trouble),
        }
        // The answer does not say how the stream was left.
        self.forget(stream);
        match self.look(stream).await? {
            Some(object) if object.claims(&self.owner.manager, tag) => {
                let mut wanted = Wanted::new(stream, Some(&object), &self.owner.manager);
                wanted.drop_tag(tag);
                self.mark(stream, Some(&object), &mut wanted, "");
                let (object, _) = self.send_apply(stream, &wanted, true).await?;
                let object = self.release(stream, object).await?;
                Ok(self.applied(stream, object))
            }
            Some(object) => {
                let object = self.release(stream, object).await?;
                Ok(self.applied(stream, object))
            }
            None => Ok(Performed::Applied { now: None }),
        }
    }

    pub(super) async fn delete_stream(
        &self,
        stream: &StreamId,
        current: Option<&Object>,
    ) -> Result<Performed, Trouble> {
        let Some(object) = current else { return Ok(Performed::AlreadySo { now: None }) };
        // Whatever the plan was made from: what we have not made, we do not take away.
        if !object.owned(&self.owner).stream {
            let message = format!("`{stream}` was not made by `{}`", self.owner.manager);
            return Ok(Performed::Refused { message });
        }
        self.connection.send(request::delete_stream(self.api, stream, object.uid(), object.version())).await?;
        self.forget(stream);
        Ok(Performed::Applied { now: None })
    }
}

/// The server's sentence, with what to do where that is not in it.
fn advice(refused: reply::Refused) -> String {
    let next = match refused.code {
        404 if refused.message.starts_with("namespaces ") => {
            "; streams are not made without their namespace: make it first"
        }
        403 if refused.message.contains("being terminated") => "; wait until the namespace is gone, and make it anew",
        403 => "; `examples/openshift` has roles with what is needed",
        _ => "",
    };
    refused.message + next
}

pub(super) fn conflict(managers: &[(String, String)]) -> String {
    let owned: Vec<String> = managers.iter().map(|(manager, field)| format!("`{field}` by `{manager}`")).collect();
    format!("applied by others: {}; `--force-conflicts` takes them over", owned.join(", "))
}

fn stale(stream: &StreamId, seen: Option<&Object>, actual: String) -> Performed {
    let nothing = || rules::as_is(stream, Some(&ImageStream::default()));
    let precondition = seen.map_or_else(nothing, |object| object.as_is(stream));
    Performed::Stale { precondition, actual }
}
