//! The custom resource, as a plain API server keeps it: what is applied is stored, what was not changed keeps its version, a
//! changed spec raises the generation, the status is a subresource. Nobody imports.

use serde_json::{Value, json};
use streamkeeper::openshift::StreamId;

use super::machinery::merge_patch;
use super::{Query, Reply, Request, World, found, managed, not_found, stale, status, success};

const GROUP: &str = "image.streamkeeper.io";

/// An object with its owners.
#[derive(Clone, Debug, Default)]
pub struct Custom {
    pub object: Value,
    pub managers: managed::Managers,
}

impl World {
    pub(super) fn custom(&mut self, request: &Request, id: &StreamId, subresource: bool, query: &Query) -> Reply {
        match (&*request.method, subresource) {
            ("GET", _) if id.name.is_empty() => {
                let mine =
                    self.custom.iter().filter(|(other, _)| id.namespace.is_empty() || other.namespace == id.namespace);
                let items: Vec<Value> = mine.map(|(_, custom)| Self::custom_object(custom)).collect();
                found(
                    "200 OK",
                    &json!({"kind": "ImageStreamList", "apiVersion": "image.streamkeeper.io/v1", "metadata": {"resourceVersion": self.version.to_string()}, "items": items}),
                )
            }
            ("GET", _) => match self.custom.get(id) {
                Some(custom) => found("200 OK", &Self::custom_object(custom)),
                None => not_found(GROUP, "imagestreams", &id.name),
            },
            ("PATCH", false) => self.apply_custom(request, id, query),
            ("PATCH", true) => {
                let patch: Value = serde_json::from_str(&request.body).unwrap();
                let Some(before) = self.custom.get(id).cloned() else {
                    return not_found(GROUP, "imagestreams", &id.name);
                };
                if patch["metadata"]["resourceVersion"] != before.object["metadata"]["resourceVersion"] {
                    return stale(&id.name);
                }
                let mut after = before.clone();
                merge_patch(&mut after.object["status"], &patch["status"]);
                found("200 OK", &self.keep(id, Some(&before), after))
            }
            ("DELETE", _) => {
                let Some(custom) = self.custom.get(id) else { return not_found(GROUP, "imagestreams", &id.name) };
                let options: Value = serde_json::from_str(&request.body).unwrap();
                let metadata = &custom.object["metadata"];
                if options["preconditions"]["uid"] != metadata["uid"]
                    || options["preconditions"]["resourceVersion"] != metadata["resourceVersion"]
                {
                    return stale(&id.name);
                }
                self.version += 1;
                if let Some(mut custom) = self.custom.remove(id) {
                    custom.object["metadata"]["resourceVersion"] = self.version.to_string().into();
                    self.gone.push((self.version, "imagestreams".to_owned(), custom.object));
                }
                success(&json!({}))
            }
            _ => status(405, "MethodNotAllowed", "nobody asks for that", &json!({})),
        }
    }

    pub fn custom_object(custom: &Custom) -> Value {
        let mut object = custom.object.clone();
        object["metadata"]["managedFields"] = managed::managed(&custom.managers);
        object
    }

    fn apply_custom(&mut self, request: &Request, id: &StreamId, query: &Query) -> Reply {
        let wanted: Value = serde_json::from_str(&request.body).unwrap();
        if wanted["apiVersion"] != "image.streamkeeper.io/v1"
            || query.get("fieldValidation").map(String::as_str) != Some("Strict")
        {
            return status(400, "BadRequest", "not as this server wants it", &json!({}));
        }
        let before = self.custom.get(id).cloned();
        let mut after = before.clone().unwrap_or_default();
        let version = &wanted["metadata"]["resourceVersion"];
        if version.is_string() && *version != after.object["metadata"]["resourceVersion"] {
            return stale(&id.name);
        }
        let force = query.get("force").is_some_and(|force| force == "true");
        let live = if after.object.is_null() { json!({}) } else { after.object.clone() };
        match managed::apply(&live, &mut after.managers, &query["fieldManager"], &wanted, force) {
            Ok(merged) => after.object = merged,
            Err(conflicts) => {
                let cause = |(manager, path): &(String, managed::Path)| json!({"reason": "FieldManagerConflict", "message": format!("conflict with {}", managed::who(manager)), "field": managed::shown(path)});
                let causes: Vec<Value> = conflicts.iter().map(cause).collect();
                return status(409, "Conflict", "Apply failed", &json!({"causes": causes}));
            }
        }
        let is_new = before.is_none();
        after.object["kind"] = "ImageStream".into();
        after.object["apiVersion"] = "image.streamkeeper.io/v1".into();
        after.object["metadata"]["name"] = id.name.clone().into();
        after.object["metadata"]["namespace"] = id.namespace.clone().into();
        let object = self.keep(id, before.as_ref(), after);
        found(if is_new { "201 Created" } else { "200 OK" }, &object)
    }

    fn keep(&mut self, id: &StreamId, before: Option<&Custom>, mut after: Custom) -> Value {
        let is_same = before.is_some_and(|before| before.object == after.object && before.managers == after.managers);
        if !is_same {
            self.version += 1;
            let generation = after.object["metadata"]["generation"].as_i64().unwrap_or(0);
            if before.is_none_or(|before| before.object["spec"] != after.object["spec"]) {
                after.object["metadata"]["generation"] = (generation + 1).into();
            }
            if before.is_none() {
                after.object["metadata"]["uid"] = format!("uid-{}", self.version).into();
            }
            after.object["metadata"]["resourceVersion"] = self.version.to_string().into();
        }
        let object = Self::custom_object(&after);
        self.custom.insert(id.clone(), after);
        object
    }
}
