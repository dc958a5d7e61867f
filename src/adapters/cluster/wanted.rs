//! What is applied to a stream: everything that we want of it, changed step by step. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::model::{Action, StreamHeader, fingerprint};
use crate::openshift::{IMAGE_STREAM_IMAGE, StreamId, TagReference, other_spelling};

use super::owned::{Kept, Object};

/// Everything that we want of a stream: what we have applied so far, changed.
pub(super) struct Wanted {
    object: Value,
}

impl Wanted {
    /// What we have applied, at the version it was seen with, so that no write in between is lost.
    pub(super) fn new(stream: &StreamId, current: Option<&Object>, manager: &str) -> Self {
        let mut object = current.map_or_else(
            || json!({"apiVersion": crate::openshift::IMAGE_API_VERSION, "kind": "ImageStream"}),
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

    /// Nothing of a stream: what a manager applies that no longer wants any of it.
    pub(super) fn nothing(stream: &StreamId) -> Self {
        Self::new(stream, None, "")
    }

    /// As it is applied.
    pub(super) fn object(&self) -> &Value {
        &self.object
    }

    /// What a step changes. `takes_over`: what another manager applies of it is to be applied as well, changed or not.
    pub(super) fn change(&mut self, action: &Action, manager: &str, takes_over: bool) {
        match action {
            Action::CreateStream { header, tags, .. } => {
                self.header(&StreamHeader::default(), header, true);
                tags.iter().for_each(|tag| self.tag(tag));
                self.record(tags, manager);
                self.annotate(&Kept::Created.key(manager), "true");
            }
            Action::UpdateStream { before, after, .. } => self.header(before, after, takes_over),
            Action::SetTag { after, .. } => {
                self.tag(after);
                self.record(std::slice::from_ref(after), manager);
            }
            // Done in other requests.
            Action::Follow { .. } | Action::Import { .. } | Action::DeleteTag { .. } | Action::DeleteStream { .. } => {}
        }
    }

    fn header(&mut self, before: &StreamHeader, after: &StreamHeader, is_new: bool) {
        let StreamHeader { labels, annotations, lookup_policy, docker_image_repository } = after;
        for (name, was, is) in [("labels", &before.labels, labels), ("annotations", &before.annotations, annotations)] {
            let map = at(&mut self.object, &["metadata", name]);
            map.retain(|key, _| !was.contains_key(key) || is.contains_key(key));
            map.extend(is.iter().map(|(key, value)| (key.clone(), value.as_str().into())));
            // An empty map would be ours as a whole.
            if map.is_empty() {
                at(&mut self.object, &["metadata"]).remove(name);
            }
        }
        let spec = at(&mut self.object, &["spec"]);
        // What is as it was, and was never ours, stays with whoever it belongs to.
        if is_new || spec.contains_key("lookupPolicy") || before.lookup_policy != *lookup_policy {
            spec.insert("lookupPolicy".to_owned(), json!({"local": lookup_policy.local}));
        }
        if docker_image_repository.is_empty() {
            spec.remove("dockerImageRepository");
        } else if is_new
            || spec.contains_key("dockerImageRepository")
            || before.docker_image_repository != *docker_image_repository
        {
            spec.insert("dockerImageRepository".to_owned(), docker_image_repository.as_str().into());
        }
    }

    pub(super) fn annotate(&mut self, key: &str, value: &str) {
        at(&mut self.object, &["metadata", "annotations"]).insert(key.to_owned(), value.into());
    }

    pub(super) fn forget(&mut self, key: &str) {
        at(&mut self.object, &["metadata", "annotations"]).remove(key);
    }

    /// Writes down what tags were applied as: whether Git or somebody else has changed them since can be told by that.
    fn record(&mut self, tags: &[TagReference], manager: &str) {
        let key = Kept::Applied.key(manager);
        let before =
            self.object.pointer("/metadata/annotations").and_then(|annotations| annotations.get(&key)?.as_str());
        let mut all: BTreeMap<String, String> =
            before.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let there: BTreeSet<String> =
            self.tags().iter().filter_map(|tag| Some(tag["name"].as_str()?.to_owned())).collect();
        all.retain(|name, _| there.contains(name));
        all.extend(tags.iter().map(|tag| (tag.name.clone(), fingerprint(tag))));
        if !all.is_empty() {
            self.annotate(&key, &json!(all).to_string());
        }
    }

    fn tags(&mut self) -> &mut Vec<Value> {
        let tags = at(&mut self.object, &["spec"]).entry("tags").or_insert_with(|| Value::Array(Vec::new()));
        if !tags.is_array() {
            *tags = Value::Array(Vec::new());
        }
        tags.as_array_mut().expect("it was made an array")
    }

    /// Every field in words: what an import has set and nobody owns is put back only by applying it.
    pub(super) fn tag(&mut self, tag: &TagReference) {
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

    /// Which generation a tag is of, where no server says so.
    pub(super) fn generation(&mut self, name: &str, generation: i64) {
        if let Some(tag) = self.tags().iter_mut().find(|tag| tag["name"] == name) {
            tag["generation"] = generation.into();
        }
    }

    pub(super) fn drop_tag(&mut self, name: &str) {
        self.tags().retain(|other| other["name"] != name);
    }

    fn source(&mut self, name: &str) -> Option<&mut Map<String, Value>> {
        let tag = self.tags().iter_mut().find(|tag| tag["name"] == name)?;
        tag.get_mut("from")?.as_object_mut()
    }

    /// Names a tag of the own stream in the other way, `T` as `stream:T` and back: for the server that is a change, and it
    /// takes the image over anew (semantics 2.3).
    pub(super) fn spell_again(&mut self, stream: &StreamId, tag: &str) {
        let Some(from) = self.source(tag) else { return };
        let name = from.get("name").and_then(Value::as_str).unwrap_or_default();
        let other = other_spelling(stream, name);
        from.insert("name".to_owned(), other.into());
    }

    /// Lets a tag name an image of another stream, in place of the tag that has it; without one, whatever else makes the
    /// server take the tag for changed.
    pub(super) fn detour(&mut self, tag: &str, source: &StreamId, image: &str) {
        if image.is_empty() {
            if let Some(tag) = self.tags().iter_mut().find(|other| other["name"] == tag) {
                let is_reference = tag["reference"] == true;
                tag["reference"] = (!is_reference).into();
            }
        } else if let Some(from) = self.source(tag) {
            *from = Map::new();
            let image = format!("{}@{image}", source.name);
            for (key, value) in [("kind", IMAGE_STREAM_IMAGE), ("namespace", &source.namespace), ("name", &image)] {
                from.insert(key.to_owned(), value.into());
            }
        }
    }

    /// Lets a tag be again what it was.
    pub(super) fn back(&mut self, tag: &str, before: &Object) {
        let raw = before.raw.pointer("/spec/tags").and_then(Value::as_array).into_iter().flatten();
        let Some(was) = raw.into_iter().find(|other| other["name"] == tag) else { return };
        if let Some(tag) = self.tags().iter_mut().find(|other| other["name"] == tag) {
            tag["from"] = was["from"].clone();
            tag["reference"] = was.get("reference").cloned().unwrap_or(Value::Bool(false));
        }
    }
}

/// A map inside a map, made where it is missing.
pub(super) fn at<'a>(value: &'a mut Value, path: &[&str]) -> &'a mut Map<String, Value> {
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
