//! What of a stream is ours: read from its managed fields (server-side apply). Pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::api::ImageStream;
use crate::model::Owned;
use crate::text::inert;

/// Which file a stream was defined in: annotation of ours, in no definition and no plan.
pub(super) const DEFINITION: &str = "streamkeeper.io/definition";
/// Which part of the source was read when it was written; likewise.
pub(super) const SCOPE: &str = "streamkeeper.io/scope";
/// Who made the stream; likewise.
pub(super) const CREATED_BY: &str = "streamkeeper.io/created-by";

/// Annotations that are ours to keep and nobody's to define.
pub(super) const KEPT: [&str; 3] = [DEFINITION, SCOPE, CREATED_BY];

/// An object with its managed fields.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Object {
    /// As the server sent it.
    pub(super) raw: Value,
}

impl Object {
    /// The fields that a manager has applied; none, if it has applied nothing.
    fn fields(&self, manager: &str) -> Option<&Value> {
        let entries = self.raw.pointer("/metadata/managedFields")?.as_array()?;
        let ours = |entry: &&Value| entry["manager"] == manager && entry["operation"] == "Apply";
        entries.iter().find(ours).map(|entry| &entry["fieldsV1"])
    }

    /// What a manager has applied, with the values that are there now: what it has to apply again to keep it.
    pub(super) fn applied(&self, manager: &str) -> Value {
        let empty = Value::Object(Map::new());
        let mut applied = extract(&self.raw, self.fields(manager).unwrap_or(&empty));
        if let Value::Object(map) = &mut applied {
            for (key, value) in [("apiVersion", crate::api::IMAGE_API_VERSION), ("kind", "ImageStream")] {
                map.insert(key.to_owned(), value.into());
            }
        }
        applied
    }

    /// What of it is ours, and which other manager has applied a tag of the stream.
    pub(super) fn owned(&self, manager: &str) -> Owned {
        let annotation = |key: &str| self.raw.pointer("/metadata/annotations")?.get(key)?.as_str();
        let applied = self.applied(manager);
        let keys = |pointer: &str| -> Vec<String> {
            let map = applied.pointer(pointer).and_then(Value::as_object);
            map.map(|map| map.keys().filter(|key| !KEPT.contains(&key.as_str())).cloned().collect()).unwrap_or_default()
        };
        let path = annotation(DEFINITION).unwrap_or_default().to_owned();
        let tags = applied.pointer("/spec/tags").and_then(Value::as_array).into_iter().flatten();
        let others = self.others(manager);
        // A tag whose source another manager applies is not ours to remove, though a part of it may be.
        let names =
            tags.filter_map(|tag| tag["name"].as_str().map(str::to_owned)).filter(|name| !others.contains_key(name));
        Owned {
            stream: annotation(CREATED_BY) == Some(manager),
            tags: names.map(|name| (name, path.clone())).collect(),
            others,
            labels: keys("/metadata/labels"),
            annotations: keys("/metadata/annotations"),
            adopts: true,
            repository: applied.pointer("/spec/dockerImageRepository").and_then(Value::as_str).map(str::to_owned),
            scope: annotation(SCOPE).map(str::to_owned),
        }
    }

    /// Tags whose source another manager applies, with its name. What was only written (`Update`: `oc`, an import, a push) is
    /// nobody's wish to keep.
    fn others(&self, manager: &str) -> BTreeMap<String, String> {
        let entries = self.raw.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten();
        let mut others = BTreeMap::new();
        for entry in entries.filter(|entry| entry["manager"] != manager && entry["operation"] == "Apply") {
            let tags = entry["fieldsV1"]["f:spec"]["f:tags"].as_object().into_iter().flatten();
            for (key, _) in tags.filter(|(_, fields)| fields.get("f:from").is_some()) {
                let key: Value =
                    key.strip_prefix("k:").and_then(|key| serde_json::from_str(key).ok()).unwrap_or_default();
                if let (Some(tag), Some(name)) = (key["name"].as_str(), entry["manager"].as_str()) {
                    others.insert(tag.to_owned(), inert(name, 128));
                }
            }
        }
        others
    }

    /// The stream, without what is ours to keep.
    pub(super) fn stream(&self) -> Result<ImageStream, String> {
        let mut stream: ImageStream = serde_json::from_value(self.raw.clone()).map_err(|error| error.to_string())?;
        stream.metadata.annotations.retain(|key, _| !KEPT.contains(&key.as_str()));
        // The server keeps a map and sends it sorted; what is not, was not written by it.
        stream.spec.tags.sort_by(|one, other| one.name.cmp(&other.name));
        stream.status.tags.sort_by(|one, other| one.tag.cmp(&other.tag));
        Ok(stream)
    }

    pub(super) fn version(&self) -> &str {
        self.raw.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default()
    }

    pub(super) fn uid(&self) -> &str {
        self.raw.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default()
    }
}

/// The part of a value that a set of fields names (`FieldsV1`: `f:` a field, `k:` an item of a list by its key, `.` the value
/// itself).
fn extract(value: &Value, fields: &Value) -> Value {
    let Some(fields) = fields.as_object() else { return value.clone() };
    match value {
        Value::Object(map) => {
            let mut kept = Map::new();
            for (key, inner) in fields {
                let Some(name) = key.strip_prefix("f:") else { continue };
                if let Some(value) = map.get(name) {
                    // Nothing below: the whole of it.
                    let is_leaf = inner.as_object().is_none_or(Map::is_empty);
                    kept.insert(name.to_owned(), if is_leaf { value.clone() } else { extract(value, inner) });
                }
            }
            Value::Object(kept)
        }
        Value::Array(items) => {
            let item = |(key, inner): (&String, &Value)| {
                let key: Map<String, Value> = serde_json::from_str(key.strip_prefix("k:")?).ok()?;
                let is_it = |item: &&Value| key.iter().all(|(name, value)| item.get(name) == Some(value));
                Some(extract(items.iter().find(is_it)?, inner))
            };
            Value::Array(fields.iter().filter_map(item).collect())
        }
        other => other.clone(),
    }
}
