//! Changing the streams of a cluster: one step, one request that writes.

use std::sync::PoisonError;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::api::TagReference;
use crate::model::{Action, ImportItem, ImportResult, Plan, Precondition, Report, StreamHeader, StreamId};
use crate::ports::{Command, Performed, PortError, Target};

use super::access::Trouble;
use super::owned::{CREATED_BY, DEFINITION, Object, SCOPE};
use super::reply::Imported;
use super::{Cluster, reply, request};

impl Target for Cluster {
    async fn perform(&self, command: Command<'_>) -> Result<Performed, PortError> {
        let stream = command.action.stream();
        let failed = |trouble: Trouble| trouble.failed(format!("write `{stream}`"));
        let current = self.current(stream).await.map_err(failed)?;
        if let Some(stale) = self.check(&command.requires, stream, current.as_ref()).await.map_err(failed)? {
            return Ok(stale);
        }
        let result = match command.action {
            Action::CreateStream { header, tags, .. } => {
                let mut wanted = Wanted::new(stream, current.as_ref(), &self.manager);
                wanted.header(&StreamHeader::default(), header);
                tags.iter().for_each(|tag| wanted.tag(tag));
                wanted.annotate(CREATED_BY, &self.manager);
                self.apply(stream, wanted, &command).await
            }
            Action::UpdateStream { before, after, .. } => {
                let mut wanted = Wanted::new(stream, current.as_ref(), &self.manager);
                wanted.header(before, after);
                self.apply(stream, wanted, &command).await
            }
            Action::SetTag { after, .. } => {
                let mut wanted = Wanted::new(stream, current.as_ref(), &self.manager);
                wanted.tag(after);
                self.apply(stream, wanted, &command).await
            }
            Action::Follow { tag, .. } => {
                let mut wanted = Wanted::new(stream, current.as_ref(), &self.manager);
                if !wanted.spell_again(stream, tag) {
                    let message = format!("the tag `{tag}` is not one of ours that names another tag");
                    return Ok(Performed::Refused { message });
                }
                self.apply(stream, wanted, &command).await
            }
            Action::Import { images, .. } => self.import(stream, images).await,
            Action::DeleteTag { tag, .. } => self.delete_tag(stream, tag).await,
            Action::DeleteStream { .. } => self.delete_stream(stream, current.as_ref()).await,
        };
        match result {
            Ok(performed) => Ok(performed),
            Err(Trouble::Refused(refused)) if refused.is_stale() => {
                self.forget(stream);
                let precondition = Precondition::ResourceVersion {
                    stream: stream.clone(),
                    version: current.as_ref().map_or_else(String::new, |object| object.version().to_owned()),
                    uid: current.as_ref().map_or_else(String::new, |object| object.uid().to_owned()),
                };
                Ok(Performed::Stale { precondition, actual: refused.message })
            }
            Err(Trouble::Refused(refused)) if !refused.managers.is_empty() => {
                let owned: Vec<String> =
                    refused.managers.iter().map(|(manager, field)| format!("`{field}` by `{manager}`")).collect();
                let message = format!("owned by others: {}; `--force-conflicts` takes them over", owned.join(", "));
                Ok(Performed::Refused { message })
            }
            Err(Trouble::Refused(refused)) if matches!(refused.code, 400 | 403 | 404 | 422) => {
                Ok(Performed::Refused { message: refused.message })
            }
            Err(trouble) => {
                // It may have been done: the next step looks.
                self.forget(stream);
                Err(failed(trouble))
            }
        }
    }

    async fn begin(&self, plan: &Plan, now: Timestamp) -> Result<i64, PortError> {
        plan.scope.clone_into(&mut self.scope.lock().unwrap_or_else(PoisonError::into_inner));
        // A cluster keeps no journal of ours: its own history and managed fields are what there is.
        Ok(now.as_second())
    }

    async fn finish(&self, _: i64, _: &Report) -> Result<(), PortError> {
        Ok(())
    }
}

impl Cluster {
    fn remember(&self, stream: &StreamId, object: Object) {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).insert(stream.clone(), object);
    }

    fn forget(&self, stream: &StreamId) {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).remove(stream);
    }

    /// The stream as our last write left it, or else as it is.
    async fn current(&self, stream: &StreamId) -> Result<Option<Object>, Trouble> {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner).get(stream).cloned();
        match left {
            Some(object) => Ok(Some(object)),
            None => self.look(stream).await,
        }
    }

    async fn look(&self, stream: &StreamId) -> Result<Option<Object>, Trouble> {
        match self.connection.send(request::get(stream)).await {
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
            let actual = match precondition {
                Precondition::StreamAbsent { .. } => current.map(|_| "it is there".to_owned()),
                Precondition::ResourceVersion { version, uid, .. } => match current {
                    None => Some("it is gone".to_owned()),
                    Some(object) if object.uid() != uid => Some("it is another stream of that name".to_owned()),
                    Some(object) if object.version() != version => {
                        Some(format!("it is at version {}", object.version()))
                    }
                    Some(_) => None,
                },
                Precondition::TagAt { tag, reference } => {
                    let other = if tag.stream == *stream { current.cloned() } else { self.look(&tag.stream).await? };
                    let stream = other.and_then(|object| object.stream().ok()).unwrap_or_default();
                    let head = stream.head(&tag.tag).map(|head| head.docker_image_reference.clone());
                    (head.as_ref() != Some(reference))
                        .then(|| head.map_or_else(|| "it has no image".to_owned(), |head| format!("it is at {head}")))
                }
            };
            if let Some(actual) = actual {
                self.forget(stream);
                return Ok(Some(Performed::Stale { precondition: precondition.clone(), actual }));
            }
        }
        Ok(None)
    }

    async fn apply(&self, stream: &StreamId, mut wanted: Wanted, command: &Command<'_>) -> Result<Performed, Trouble> {
        if !command.provenance.path.is_empty() {
            wanted.annotate(DEFINITION, command.provenance.path);
        }
        let scope = self.scope.lock().unwrap_or_else(PoisonError::into_inner).clone();
        wanted.annotate(SCOPE, &scope);
        let body = self.connection.send(request::apply(stream, &wanted.object, &self.manager, self.force)).await?;
        let object = reply::object(&body).map_err(Trouble::Lost)?;
        Ok(self.applied(stream, object))
    }

    fn applied(&self, stream: &StreamId, object: Object) -> Performed {
        let now = Precondition::ResourceVersion {
            stream: stream.clone(),
            version: object.version().to_owned(),
            uid: object.uid().to_owned(),
        };
        self.remember(stream, object);
        Performed::Applied { now: Some(now) }
    }

    /// Imports, and compares what the server found with what was planned: it has looked the tags up once more.
    async fn import(&self, stream: &StreamId, images: &[ImportItem]) -> Result<Performed, Trouble> {
        let body = self.connection.send(request::import(stream, images, &self.manager)).await?;
        let Imported { stream: object, images: results } = reply::imported(&body).map_err(Trouble::Lost)?;
        let performed = match object {
            Some(object) => self.applied(stream, object),
            None => return Err(Trouble::Lost("the import says nothing of the stream".to_owned())),
        };
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
        Ok(performed)
    }

    async fn delete_tag(&self, stream: &StreamId, tag: &str) -> Result<Performed, Trouble> {
        match self.connection.send(request::delete_tag(stream, tag)).await {
            Ok(_) => {}
            Err(Trouble::Refused(refused)) if refused.code == 404 => {}
            Err(trouble) => return Err(trouble),
        }
        // The answer does not say how the stream was left.
        self.forget(stream);
        match self.look(stream).await? {
            Some(object) => Ok(self.applied(stream, object)),
            None => Ok(Performed::Applied { now: None }),
        }
    }

    async fn delete_stream(&self, stream: &StreamId, current: Option<&Object>) -> Result<Performed, Trouble> {
        let Some(object) = current else { return Ok(Performed::AlreadySo { now: None }) };
        self.connection.send(request::delete_stream(stream, object.uid(), object.version())).await?;
        self.forget(stream);
        Ok(Performed::Applied { now: None })
    }
}

/// Everything that we want of a stream: what we have applied so far, changed.
struct Wanted {
    object: Value,
}

impl Wanted {
    /// What we have applied, at the version it was seen with, so that no write in between is lost.
    fn new(stream: &StreamId, current: Option<&Object>, manager: &str) -> Self {
        let mut object = current.map_or_else(
            || json!({"apiVersion": crate::api::IMAGE_API_VERSION, "kind": "ImageStream"}),
            |object| object.applied(manager),
        );
        let metadata = at(&mut object, &["metadata"]);
        metadata.insert("name".to_owned(), stream.name.as_str().into());
        metadata.insert("namespace".to_owned(), stream.namespace.as_str().into());
        if let Some(current) = current {
            metadata.insert("resourceVersion".to_owned(), current.version().into());
        }
        Self { object }
    }

    fn header(&mut self, before: &StreamHeader, after: &StreamHeader) {
        let StreamHeader { labels, annotations, lookup_policy, docker_image_repository } = after;
        for (name, was, is) in [("labels", &before.labels, labels), ("annotations", &before.annotations, annotations)] {
            let map = at(&mut self.object, &["metadata", name]);
            map.retain(|key, _| !was.contains_key(key) || is.contains_key(key));
            map.extend(is.iter().map(|(key, value)| (key.clone(), value.as_str().into())));
        }
        let spec = at(&mut self.object, &["spec"]);
        spec.insert("lookupPolicy".to_owned(), json!({"local": lookup_policy.local}));
        if docker_image_repository.is_empty() {
            spec.remove("dockerImageRepository");
        } else {
            spec.insert("dockerImageRepository".to_owned(), docker_image_repository.as_str().into());
        }
    }

    fn annotate(&mut self, key: &str, value: &str) {
        at(&mut self.object, &["metadata", "annotations"]).insert(key.to_owned(), value.into());
    }

    fn tags(&mut self) -> &mut Vec<Value> {
        let tags = at(&mut self.object, &["spec"]).entry("tags").or_insert_with(|| Value::Array(Vec::new()));
        if !tags.is_array() {
            *tags = Value::Array(Vec::new());
        }
        tags.as_array_mut().expect("it was made an array")
    }

    /// Every field in words: what an import has set and nobody owns is put back only by applying it.
    fn tag(&mut self, tag: &TagReference) {
        let TagReference { name, annotations, from, reference, generation: _, import_policy, reference_policy } = tag;
        let mut value = json!({
            "name": name,
            "reference": reference,
            "importPolicy": {
                "importMode": import_policy.import_mode,
                "insecure": import_policy.insecure,
                "scheduled": import_policy.scheduled,
            },
            "referencePolicy": {"type": reference_policy.kind},
        });
        if let Some(from) = from {
            value["from"] = json!(from);
        }
        if !annotations.is_empty() {
            value["annotations"] = json!(annotations);
        }
        let tags = self.tags();
        tags.retain(|other| other["name"] != name.as_str());
        tags.push(value);
    }

    /// Names the same tag in another way: for the server that is a change, and it takes the image over anew (semantics 2.3).
    fn spell_again(&mut self, stream: &StreamId, name: &str) -> bool {
        let Some(tag) = self.tags().iter_mut().find(|tag| tag["name"] == name) else { return false };
        let Some(from) = tag.get_mut("from").and_then(Value::as_object_mut) else { return false };
        match from.get("namespace").and_then(Value::as_str) {
            Some(namespace) if namespace == stream.namespace => {
                from.remove("namespace");
            }
            None | Some("") => {
                from.insert("namespace".to_owned(), stream.namespace.as_str().into());
            }
            Some(_) => return false,
        }
        true
    }
}

/// A map inside a map, made where it is missing.
fn at<'a>(value: &'a mut Value, path: &[&str]) -> &'a mut Map<String, Value> {
    let mut place = value;
    for key in path {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        let map = place.as_object_mut().expect("it was made a map");
        place = map.entry(*key).or_insert_with(|| Value::Object(Map::new()));
    }
    if !place.is_object() {
        *place = Value::Object(Map::new());
    }
    place.as_object_mut().expect("it was made a map")
}
