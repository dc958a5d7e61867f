//! Streams: reading, creating, the four ways to change, deleting.

use serde_json::{Value, json};
use streamkeeper::openshift::{ImageStream, StreamId, alias_target};
use streamkeeper::rules;

use super::machinery::{json_patch, merge_patch, strategic_patch, unknown_field};
use super::{BASE, Query, Reply, Request, Stored, World, found, managed, stale, status, success};

impl World {
    /// As the server sends it.
    pub fn object(stored: &Stored) -> Value {
        let mut object = serde_json::to_value(&stored.stream).unwrap();
        object["kind"] = "ImageStream".into();
        object["apiVersion"] = "image.openshift.io/v1".into();
        object["metadata"]["managedFields"] = managed::managed(&stored.managers);
        if stored.deleting {
            object["metadata"]["deletionTimestamp"] = "2026-11-21T08:00:00Z".into();
        }
        if !stored.finalizers.is_empty() {
            object["metadata"]["finalizers"] = json!(stored.finalizers);
        }
        for tag in object.pointer_mut("/spec/tags").and_then(Value::as_array_mut).into_iter().flatten() {
            // As Go writes what is not set.
            tag.as_object_mut().unwrap().entry("annotations").or_insert(Value::Null);
        }
        object
    }

    pub(super) fn store(&mut self, id: &StreamId, mut stored: Stored) -> Value {
        let before = self.streams.get(id);
        let same = before.is_some_and(|before| {
            let plain = |stored: &Stored| {
                let mut stream = stored.stream.clone();
                stream.metadata.resource_version = None;
                stream
            };
            plain(before) == plain(&stored) && before.managers == stored.managers && before.deleting == stored.deleting
        });
        if !same {
            self.version += 1;
            stored.stream.metadata.resource_version = Some(self.version.to_string());
        } else if let Some(before) = before {
            stored.stream.metadata.resource_version.clone_from(&before.stream.metadata.resource_version);
        }
        if stored.stream.metadata.uid.is_none() {
            stored.stream.metadata.uid = Some(format!("uid-{}", self.version));
            stored.stream.metadata.creation_timestamp = Some(self.now());
        }
        let object = Self::object(&stored);
        self.streams.insert(id.clone(), stored);
        object
    }

    /// After a write: what OpenShift's controllers do, quicker than anybody looks.
    fn settle(&mut self, id: &StreamId) {
        if self.controller {
            self.import_controller(id, false);
        }
        self.run_triggers();
    }

    pub(super) fn read(&self, id: &StreamId) -> Reply {
        match self.streams.get(id) {
            Some(stored) => found("200 OK", &Self::object(stored)),
            None => super::not_found("image.openshift.io", "imagestreams", &id.name),
        }
    }

    pub(super) fn list(&mut self, namespace: Option<&str>, query: &Query) -> Reply {
        if query.contains_key("continue") && self.expired > 0 {
            self.expired -= 1;
            let message = "The provided continue parameter is too old to display a consistent list result.";
            return status(410, "Expired", message, &json!({}));
        }
        let limit: usize = query.get("limit").and_then(|text| text.parse().ok()).unwrap_or(usize::MAX);
        let after: usize = query.get("continue").and_then(|text| text.parse().ok()).unwrap_or(0);
        let all = self.streams.iter().filter(|(id, _)| namespace.is_none_or(|it| id.namespace == it));
        let all: Vec<&Stored> = all.map(|(_, stored)| stored).collect();
        let item = |stored: &&Stored| {
            let mut object = Self::object(stored);
            for key in ["kind", "apiVersion"] {
                object.as_object_mut().unwrap().remove(key);
            }
            object
        };
        let mut items: Vec<Value> = all.iter().skip(after).take(limit).map(item).collect();
        let left = all.len() - after - items.len();
        items.extend(self.malformed.clone());
        let mut metadata = json!({"resourceVersion": self.version.to_string()});
        if left > 0 {
            metadata["continue"] = (after + items.len()).to_string().into();
            metadata["remainingItemCount"] = left.into();
        }
        let body = json!({"kind": "ImageStreamList", "apiVersion": "image.openshift.io/v1", "metadata": metadata, "items": items});
        found("200 OK", &body)
    }

    pub(super) fn create(&mut self, namespace: &str, request: &Request, query: &Query) -> Reply {
        let body: Value = serde_json::from_str(&request.body).unwrap();
        if let Some(version) = body["apiVersion"].as_str().filter(|version| *version != "image.openshift.io/v1") {
            let message = format!(
                "the API version in the data ({version}) does not match the expected API version (image.openshift.io/v1)"
            );
            return status(400, "BadRequest", &message, &json!({}));
        }
        let stream = match read(&body, query) {
            Ok(stream) => stream,
            Err(reply) => return reply,
        };
        let id = StreamId::new(namespace, &stream.metadata.name);
        match self.perform(&id, &rules::Request::Create(&stream)) {
            Ok(stream) => {
                let mut stored = Stored { stream: stream.unwrap(), ..Stored::default() };
                stored.stream.metadata.namespace.clone_from(&id.namespace);
                self.wrote(&mut stored, None, query);
                let object = self.store(&id, stored);
                self.settle(&id);
                found("201 Created", &object)
            }
            Err(reply) => reply,
        }
    }

    /// What was written otherwise than by apply belongs to whoever wrote it, as far as it changed.
    fn wrote(&self, stored: &mut Stored, before: Option<&Stored>, query: &Query) {
        let manager = query.get("fieldManager").map_or("unknown", String::as_str);
        let now = Self::object(stored);
        let was = before.map(Self::object).unwrap_or_default();
        managed::wrote(&mut stored.managers, manager, &was, &now);
    }

    pub(super) fn replace(&mut self, id: &StreamId, request: &Request, query: &Query) -> Reply {
        let body: Value = serde_json::from_str(&request.body).unwrap();
        self.update(id, &body, query)
    }

    fn update(&mut self, id: &StreamId, object: &Value, query: &Query) -> Reply {
        let Some(before) = self.streams.get(id).cloned() else {
            return super::not_found("image.openshift.io", "imagestreams", &id.name);
        };
        if let Some(version) = object["metadata"]["resourceVersion"].as_str()
            && before.stream.metadata.resource_version.as_deref() != Some(version)
        {
            return stale(&id.name);
        }
        let stream = match read(object, query) {
            Ok(stream) => stream,
            Err(reply) => return reply,
        };
        match self.perform(id, &rules::Request::Update(&stream)) {
            Ok(stream) => {
                let mut stored = Stored { stream: stream.unwrap(), ..before.clone() };
                Self::leave_aliases_behind(id, Some(&before), &mut stored.stream);
                stored.stream.metadata.namespace.clone_from(&id.namespace);
                self.wrote(&mut stored, Some(&before), query);
                let object = self.store(id, stored);
                self.settle(id);
                found("200 OK", &object)
            }
            Err(reply) => reply,
        }
    }

    /// What a write of a whole stream leaves behind: aliases whose own definition did not change (semantics 2.3).
    fn leave_aliases_behind(id: &StreamId, before: Option<&Stored>, stream: &mut ImageStream) {
        let Some(before) = before.map(|before| &before.stream) else { return };
        let names: Vec<String> = stream.spec.tags.iter().map(|tag| tag.name.clone()).collect();
        for name in names {
            let (was, is) = (before.spec_tag(&name), stream.spec_tag(&name));
            let own = is.and_then(|tag| alias_target(id, tag)).filter(|target| target.stream == *id);
            let is_changed = was.zip(is).is_none_or(|(was, is)| rules::source_changed(was, is, &id.namespace));
            if own.is_some() && !is_changed {
                stream.status.tags.retain(|list| list.tag != name);
                stream.status.tags.extend(before.status_tag(&name).cloned());
            }
        }
        stream.status.tags.sort_by(|one, other| one.tag.cmp(&other.tag));
    }

    pub(super) fn patch(&mut self, id: &StreamId, request: &Request, query: &Query) -> Reply {
        let kind = request.header("content-type").unwrap_or_default();
        if kind == "application/apply-patch+yaml" {
            return self.apply(id, request, query);
        }
        let Some(before) = self.streams.get(id) else {
            return super::not_found("image.openshift.io", "imagestreams", &id.name);
        };
        let version = before.stream.metadata.resource_version.clone();
        let mut object = Self::object(before);
        let patch: Value = serde_json::from_str(&request.body).unwrap();
        match kind {
            "application/merge-patch+json" => merge_patch(&mut object, &patch),
            "application/strategic-merge-patch+json" => strategic_patch(&mut object, &patch),
            "application/json-patch+json" => json_patch(&mut object, &patch),
            other => panic!("no patch of type `{other}` was recorded"),
        }
        if patch.pointer("/metadata/resourceVersion").is_none() {
            object["metadata"]["resourceVersion"] = json!(version);
        }
        self.update(id, &object, query)
    }

    fn apply(&mut self, id: &StreamId, request: &Request, query: &Query) -> Reply {
        let Some(manager) = query.get("fieldManager") else {
            let message =
                "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch";
            return status(422, "Invalid", message, &json!({}));
        };
        if self.strict && query.get("fieldValidation").map(String::as_str) != Some("Strict") {
            return status(400, "BadRequest", "this server wants strict validation", &json!({}));
        }
        let wanted: Value = serde_json::from_str(&request.body).unwrap();
        let before = self.streams.get(id).cloned();
        let mut stored = before.clone().unwrap_or_default();
        let is_new = before.is_none();
        if let Some(version) = wanted["metadata"]["resourceVersion"].as_str()
            && stored.stream.metadata.resource_version.as_deref() != Some(version)
        {
            return stale(&id.name);
        }
        if let Err(reply) = read(&wanted, query) {
            return reply;
        }
        let live = serde_json::to_value(&stored.stream).unwrap();
        let force = query.get("force").is_some_and(|force| force == "true");
        let merged = match managed::apply(&live, &mut stored.managers, manager, &wanted, force) {
            Ok(merged) => merged,
            Err(conflicts) => {
                let shown = |(manager, _): &(String, managed::Path)| format!("conflict with {}", managed::who(manager));
                let causes: Vec<Value> = conflicts
                    .iter()
                    .map(|one| json!({"reason": "FieldManagerConflict", "message": shown(one), "field": managed::shown(&one.1)}))
                    .collect();
                let each: Vec<String> =
                    conflicts.iter().map(|one| format!("{}: {}", shown(one), managed::shown(&one.1))).collect();
                let number =
                    if each.len() == 1 { "1 conflict".to_owned() } else { format!("{} conflicts", each.len()) };
                let message = format!("Apply failed with {number}: {}", each.join(", "));
                return status(409, "Conflict", &message, &json!({"causes": causes}));
            }
        };
        let mut stream: ImageStream = serde_json::from_value(merged).unwrap();
        stream.metadata.name.clone_from(&id.name);
        stream.metadata.namespace.clone_from(&id.namespace);
        let means = if is_new { rules::Request::Create(&stream) } else { rules::Request::Update(&stream) };
        let dry = query.contains_key("dryRun");
        match self.perform(id, &means) {
            Ok(stream) => {
                stored.stream = stream.unwrap();
                Self::leave_aliases_behind(id, before.as_ref(), &mut stored.stream);
                let object = if dry { Self::object(&stored) } else { self.store(id, stored) };
                if !dry {
                    self.settle(id);
                }
                let reply = found(if is_new { "201 Created" } else { "200 OK" }, &object);
                match &self.warning {
                    Some(warning) => reply.header("Warning", &format!("299 - \"{warning}\"")),
                    None => reply,
                }
            }
            Err(reply) => reply,
        }
    }

    /// Somebody changes a stream with `oc edit`: nobody applies what they wrote.
    pub fn edit(&mut self, id: &StreamId, change: impl FnOnce(&mut ImageStream)) {
        let before = self.streams[id].clone();
        let mut stored = before.clone();
        change(&mut stored.stream);
        let stream = self.perform(id, &rules::Request::Update(&stored.stream)).unwrap_or_else(|_| panic!("{id}"));
        stored.stream = stream.unwrap();
        let query = Query::from([("fieldManager".to_owned(), "kubectl-edit".to_owned())]);
        self.wrote(&mut stored, Some(&before), &query);
        self.store(id, stored);
        self.run_triggers();
    }

    pub(super) fn delete_tag(&mut self, id: &StreamId, tag: &str) -> Reply {
        match self.perform(id, &rules::Request::DeleteTag(tag)) {
            Ok(stream) => {
                let mut stored = Stored { stream: stream.unwrap(), ..self.streams[id].clone() };
                let key = format!("k:{}", json!({ "name": tag }));
                for owned in stored.managers.values_mut() {
                    owned.retain(|path| !path.contains(&key));
                }
                self.store(id, stored);
                success(&json!({}))
            }
            Err(reply) => reply,
        }
    }

    pub(super) fn delete(&mut self, id: &StreamId, request: &Request) -> Reply {
        let Some(stored) = self.streams.get(id).cloned() else {
            return super::not_found("image.openshift.io", "imagestreams", &id.name);
        };
        let options: Value = serde_json::from_str(&request.body).unwrap_or_default();
        let (uid, version) =
            (options["preconditions"]["uid"].as_str(), options["preconditions"]["resourceVersion"].as_str());
        if self.strict && (uid.is_none() || version.is_none()) {
            return status(400, "BadRequest", "this server wants preconditions", &json!({}));
        }
        let (is_uid, is_version) = (&stored.stream.metadata.uid, &stored.stream.metadata.resource_version);
        let wrong = match (uid, version) {
            (Some(uid), _) if is_uid.as_deref() != Some(uid) => Some(format!(
                "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been deleted and then recreated",
                is_uid.as_deref().unwrap_or_default()
            )),
            (_, Some(version)) if is_version.as_deref() != Some(version) => Some(format!(
                "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({}). The object might have been modified",
                is_version.as_deref().unwrap_or_default()
            )),
            _ => None,
        };
        if let Some(wrong) = wrong {
            let message =
                format!("Operation cannot be fulfilled on ImageStream.image.openshift.io \"{}\": {wrong}", id.name);
            let details = json!({"name": id.name, "group": "image.openshift.io", "kind": "ImageStream"});
            return status(409, "Conflict", &message, &details);
        }
        if !stored.finalizers.is_empty() {
            // It goes when whoever put them there has taken them away.
            let object = self.store(id, Stored { deleting: true, ..stored });
            return found("200 OK", &object);
        }
        self.drop_stream(id);
        success(
            &json!({"name": id.name, "group": "image.openshift.io", "kind": "imagestreams", "uid": stored.stream.metadata.uid}),
        )
    }

    /// A stream is gone.
    pub fn drop_stream(&mut self, id: &StreamId) {
        self.version += 1;
        if let Some(mut stored) = self.streams.remove(id) {
            stored.stream.metadata.resource_version = Some(self.version.to_string());
            self.gone.push((self.version, "imagestreams".to_owned(), Self::object(&stored)));
        }
    }

    /// Somebody else writes: a stream as they want it, owned by `manager`.
    pub fn put(&mut self, manager: &str, wanted: &Value) {
        let id = StreamId::new(
            wanted["metadata"]["namespace"].as_str().unwrap(),
            wanted["metadata"]["name"].as_str().unwrap(),
        );
        let request = Request {
            method: "PATCH".to_owned(),
            path: format!("{BASE}/namespaces/{}/imagestreams/{}", id.namespace, id.name),
            head: "PATCH / HTTP/1.1\r\ncontent-type: application/apply-patch+yaml\r\n".to_owned(),
            body: wanted.to_string(),
        };
        let query = Query::from([
            ("fieldManager".to_owned(), manager.to_owned()),
            ("fieldValidation".to_owned(), "Strict".to_owned()),
            ("force".to_owned(), "true".to_owned()),
        ]);
        let reply = self.apply(&id, &request, &query);
        let bytes = String::from_utf8(reply.bytes(false)).unwrap();
        assert!(bytes.starts_with("HTTP/1.1 20"), "{bytes}");
    }
}

/// Decodes a stream. What its types cannot hold is refused in the server's words.
fn read(object: &Value, query: &Query) -> Result<ImageStream, Reply> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    for tag in object["spec"]["tags"].as_array().into_iter().flatten() {
        let checks = [
            (
                "referencePolicy.type",
                &tag["referencePolicy"]["type"],
                ["", "Source", "Local"],
                "valid values are \"Source\", \"Local\"",
            ),
            (
                "importPolicy.importMode",
                &tag["importPolicy"]["importMode"],
                ["", "Legacy", "PreserveOriginal"],
                "invalid import mode, valid modes are '', 'Legacy', 'PreserveOriginal'",
            ),
        ];
        for (field, value, known, words) in checks {
            let value = value.as_str().unwrap_or_default();
            if !known.contains(&value) {
                let field = format!("spec.tags[{}].{field}", tag["name"].as_str().unwrap_or_default());
                let wrong = format!("Invalid value: \"{value}\": {words}");
                let message = format!("ImageStream.image.openshift.io \"{name}\" is invalid: {field}: {wrong}");
                let details = json!({"name": name, "group": "image.openshift.io", "kind": "ImageStream", "causes": [{"reason": "FieldValueInvalid", "message": wrong, "field": field}]});
                return Err(status(422, "Invalid", &message, &details));
            }
        }
    }
    let stream: ImageStream = serde_json::from_value(object.clone()).unwrap();
    if query.get("fieldValidation").map(String::as_str) == Some("Strict")
        && let Some(field) = unknown_field(&object["spec"], &serde_json::to_value(&stream.spec).unwrap(), "spec")
    {
        let message = format!(
            "ImageStream in version \"v1\" cannot be handled as a ImageStream: strict decoding error: unknown field \"{field}\""
        );
        return Err(status(400, "BadRequest", &message, &json!({})));
    }
    Ok(stream)
}
