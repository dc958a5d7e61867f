//! What of a stream is ours: read from its managed fields (server-side apply). Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::model::{Foreign, Identities, Owned, Precondition};
use crate::openshift::{ImageStream, StreamId, TagReference, alias_target};
use crate::source::inert;

/// Stands for the source of what does not say which it is of.
pub(super) const UNRECORDED: &str = "not recorded";

/// Annotations of ours, in no definition and no plan; each manager has its own, named by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// Which file a stream was defined in.
    Definition,
    /// Which part of the source was read when the stream was written.
    Scope,
    /// Which source the stream was written from.
    Source,
    /// The manager made the stream.
    Created,
    /// The repository whose tags were imported.
    Imported,
    /// What the manager has changed, as JSON, newest first.
    Changes,
    /// What each tag was applied as, as JSON: hashes by tag.
    Applied,
}

impl Kept {
    const ALL: [(Self, &str); 7] = [
        (Self::Definition, "streamkeeper.io/definition."),
        (Self::Scope, "streamkeeper.io/scope."),
        (Self::Source, "streamkeeper.io/source."),
        (Self::Created, "streamkeeper.io/created."),
        (Self::Imported, "streamkeeper.io/imported."),
        (Self::Changes, "streamkeeper.io/changes."),
        (Self::Applied, "streamkeeper.io/applied."),
    ];

    /// The annotation's key.
    pub(super) fn key(self, manager: &str) -> String {
        format!("{}{manager}", self.prefix())
    }

    fn prefix(self) -> &'static str {
        Self::ALL.iter().find(|(kept, _)| *kept == self).map_or("", |(_, prefix)| prefix)
    }

    /// Whether that is its key, of whatever manager.
    pub(super) fn is_for(self, key: &str) -> bool {
        key.starts_with(self.prefix())
    }

    fn is(key: &str) -> bool {
        Self::ALL.iter().any(|(_, prefix)| key.starts_with(prefix))
    }
}

/// As whom a cluster is written.
#[derive(Clone, Debug, Default)]
pub struct Owner {
    /// Field manager of server-side apply: what makes a field ours.
    pub manager: String,
    /// Field managers that the source had before: what they manage is taken over.
    pub previous: Vec<String>,
    /// The source. What another one has applied as the same manager is not its own.
    pub identities: Identities,
}

impl Owner {
    /// A manager of a source that had no other one.
    pub fn new(manager: impl Into<String>, identities: Identities) -> Self {
        Self { manager: manager.into(), previous: Vec::new(), identities }
    }

    fn is_one(&self, manager: &str) -> bool {
        self.manager == manager || self.previous.iter().any(|previous| previous == manager)
    }
}

/// An object with its managed fields.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Object {
    /// As the server sent it.
    pub(super) raw: Value,
}

impl Object {
    /// Managers that apply something of it (`Update` is no wish to keep), each with its fields.
    fn appliers(&self) -> impl Iterator<Item = (&str, &Value)> {
        let entries = self.raw.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten();
        let applies = entries.filter(|entry| entry["operation"] == "Apply");
        applies.filter_map(|entry| Some((entry["manager"].as_str()?, &entry["fieldsV1"])))
    }

    /// The fields that a manager has applied; none, if it has applied nothing.
    fn fields(&self, manager: &str) -> Option<&Value> {
        self.appliers().find(|(name, _)| *name == manager).map(|(_, fields)| fields)
    }

    /// What a manager has applied, with the values that are there now: what it has to apply again to keep it.
    pub(super) fn applied(&self, manager: &str) -> Value {
        let empty = Value::Object(Map::new());
        let mut applied = extract(&self.raw, self.fields(manager).unwrap_or(&empty));
        if let Value::Object(map) = &mut applied {
            for (key, value) in [("apiVersion", crate::openshift::IMAGE_API_VERSION), ("kind", "ImageStream")] {
                map.insert(key.to_owned(), value.into());
            }
        }
        applied
    }

    /// What of it is ours, and which other manager has applied a tag of the stream.
    pub(super) fn owned(&self, owner: &Owner) -> Owned {
        let foreign = Foreign { stream: self.foreign(owner), ..Foreign::default() };
        if foreign.stream.is_some() {
            return Owned { adopts: true, foreign, ..Owned::default() };
        }
        let manager = owner.manager.as_str();
        let managers = || std::iter::once(manager).chain(self.previous(owner));
        let annotation = |kept: Kept| managers().find_map(|manager| self.kept(kept, manager));
        let applied = self.applied(manager);
        let keys = |pointer: &str| -> Vec<String> {
            let applied = managers().map(|manager| self.applied(manager));
            let keys = applied.flat_map(|applied| {
                let map = applied.pointer(pointer).and_then(Value::as_object);
                map.map(|map| map.keys().cloned().collect::<Vec<_>>()).unwrap_or_default()
            });
            keys.filter(|key| !Kept::is(key)).collect::<BTreeSet<_>>().into_iter().collect()
        };
        let tags = applied.pointer("/spec/tags").and_then(Value::as_array).into_iter().flatten();
        let others = self.others(owner);
        // A tag whose source another manager applies is not ours to remove, though a part of it may be.
        let keys_of = |tag: &Value| -> Option<(String, Vec<String>)> {
            let keys = tag["annotations"].as_object()?.keys().cloned().collect();
            Some((tag["name"].as_str()?.to_owned(), keys))
        };
        let tag_annotations = tags.clone().filter_map(keys_of).collect();
        let path_of = |manager: &str| self.kept(Kept::Definition, manager).unwrap_or_default().to_owned();
        let names =
            tags.filter_map(|tag| tag["name"].as_str().map(str::to_owned)).filter(|name| !others.contains_key(name));
        let tags: BTreeMap<String, String> = names.map(|name| (name, path_of(manager))).collect();
        let of_previous = self.previous(owner).flat_map(|previous| {
            let path = path_of(previous);
            self.sources_applied(previous).into_iter().map(move |tag| (tag, path.clone()))
        });
        let previous = of_previous.filter(|(tag, _)| !tags.contains_key(tag) && !others.contains_key(tag)).collect();
        Owned {
            stream: annotation(Kept::Created).is_some(),
            last_writer: self.last_writer(manager),
            applied: annotation(Kept::Applied).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default(),
            tags,
            previous,
            is_handed_over: self.previous(owner).next().is_some(),
            others,
            other_fields: self.other_fields(owner),
            labels: keys("/metadata/labels"),
            annotations: keys("/metadata/annotations"),
            adopts: true,
            repository: annotation(Kept::Imported).map(str::to_owned),
            applies_repository: managers().any(|it| self.applied(it).pointer("/spec/dockerImageRepository").is_some()),
            tag_annotations,
            scope: annotation(Kept::Scope).map(str::to_owned),
            source: annotation(Kept::Source).map(str::to_owned),
            sources: BTreeMap::new(),
            foreign: Foreign::default(),
        }
    }

    /// Field managers that the source had before and that still apply something of it.
    pub(super) fn previous<'o>(&'o self, owner: &'o Owner) -> impl Iterator<Item = &'o str> {
        owner.previous.iter().map(String::as_str).filter(|previous| self.fields(previous).is_some())
    }

    /// The other source that has applied it as this manager, or as one that this source had before. What says nothing of its source
    /// was written by hand or by another program.
    fn foreign(&self, owner: &Owner) -> Option<String> {
        let managers = std::iter::once(owner.manager.as_str()).chain(self.previous(owner));
        let mut sources = managers.filter(|manager| self.fields(manager).is_some()).map(|manager| {
            self.kept(Kept::Source, manager).map_or_else(|| UNRECORDED.to_owned(), |source| inert(source, 400))
        });
        sources.find(|source| !owner.identities.include(source))
    }

    /// Whether every tag that a manager applies is applied by another one, too.
    pub(super) fn is_covered(&self, manager: &str, by: &str) -> bool {
        self.sources_applied(manager).iter().all(|tag| self.claims(by, tag))
    }

    /// The manager of the newest entry, unless it is that one.
    fn last_writer(&self, manager: &str) -> Option<String> {
        let entries = self.raw.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten();
        let newest = entries.filter(|entry| entry["manager"] != manager).max_by_key(|entry| entry["time"].as_str())?;
        newest["manager"].as_str().map(|name| inert(name, 128))
    }

    /// Tags whose source another manager applies, with its name. What was only written (`Update`: `oc`, an import, a push) is
    /// nobody's wish to keep.
    fn others(&self, owner: &Owner) -> BTreeMap<String, String> {
        let others = self.appliers().filter(|(name, _)| !owner.is_one(name));
        others
            .flat_map(|(name, _)| self.sources_applied(name).into_iter().map(move |tag| (tag, inert(name, 128))))
            .collect()
    }

    /// Tags whose source a manager applies.
    fn sources_applied(&self, manager: &str) -> Vec<String> {
        let tags = self.fields(manager).map(|fields| &fields["f:spec"]["f:tags"]).and_then(Value::as_object);
        let tags = tags.into_iter().flatten().filter(|(_, fields)| fields.get("f:from").is_some());
        let name = |key: &String| {
            let key: Value = serde_json::from_str(key.strip_prefix("k:")?).ok()?;
            Some(key["name"].as_str()?.to_owned())
        };
        tags.filter_map(|(key, _)| name(key)).collect()
    }

    /// Fields outside of tags that other managers apply.
    fn other_fields(&self, owner: &Owner) -> BTreeMap<String, String> {
        let mut others = BTreeMap::new();
        for (name, fields) in self.appliers().filter(|(name, _)| !owner.is_one(name)) {
            let mut theirs = |field: String| others.insert(field, inert(name, 128));
            for part in ["labels", "annotations"] {
                let keys = fields["f:metadata"][format!("f:{part}")].as_object().into_iter().flatten();
                for key in keys.filter_map(|(key, _)| key.strip_prefix("f:")) {
                    theirs(format!("{part}.{key}"));
                }
            }
            if fields["f:spec"].get("f:lookupPolicy").is_some() {
                theirs("lookupPolicy.local".to_owned());
            }
            if fields["f:spec"].get("f:dockerImageRepository").is_some() {
                theirs("dockerImageRepository".to_owned());
            }
        }
        others
    }

    /// An annotation of ours. On a stream that somebody has copied from one of ours, it is none.
    pub(super) fn kept(&self, kept: Kept, manager: &str) -> Option<&str> {
        let key = format!("f:{}", kept.key(manager));
        self.fields(manager)?["f:metadata"]["f:annotations"].get(&key)?;
        self.raw.pointer("/metadata/annotations")?.get(kept.key(manager).as_str())?.as_str()
    }

    /// Whether a manager has applied a tag, whatever is left of it.
    pub(super) fn claims(&self, manager: &str, tag: &str) -> bool {
        let key = format!("k:{}", serde_json::json!({ "name": tag }));
        self.fields(manager).is_some_and(|fields| fields["f:spec"]["f:tags"].get(&key).is_some())
    }

    /// Aliases of the stream itself that a manager has applied and that have not the image of what they follow.
    pub(super) fn lagging(&self, id: &StreamId, owner: &Owner) -> Vec<String> {
        let Ok(stream) = self.stream() else { return Vec::new() };
        let head = |tag: &str| stream.head(tag).map(|head| (&head.image, &head.docker_image_reference));
        let lags = |tag: &&TagReference| {
            let target = alias_target(id, tag).filter(|target| target.stream == *id);
            target.is_some_and(|it| head(&it.tag).is_some_and(|theirs| head(&tag.name) != Some(theirs)))
        };
        let lagging = stream.spec.tags.iter().filter(lags).map(|tag| tag.name.clone());
        let others = self.others(owner);
        lagging.filter(|tag| self.claims(&owner.manager, tag) && !others.contains_key(tag)).collect()
    }

    /// Fields that other managers apply and that what is wanted would change, each with the manager.
    pub(super) fn conflicts(&self, owner: &Owner, wanted: &Value) -> Vec<(String, String)> {
        let mut conflicts = Vec::new();
        for (name, fields) in self.appliers().filter(|(name, _)| !owner.is_one(name)) {
            differing(&self.raw, wanted, fields, "", &mut |field| {
                conflicts.push((inert(name, 128), inert(field, 200)));
            });
        }
        conflicts
    }

    /// Whether anything but status, versions and what imports leave behind differs.
    pub(super) fn is_same_wish(&self, other: &Self) -> bool {
        let wish = |object: &Self| {
            let mut stream = object.stream().unwrap_or_default();
            stream.metadata.annotations.remove(crate::openshift::REPOSITORY_CHECK_ANNOTATION);
            for tag in &mut stream.spec.tags {
                tag.generation = None;
            }
            (object.uid().to_owned(), stream.metadata.labels, stream.metadata.annotations, stream.spec)
        };
        wish(self) == wish(other)
    }

    /// The stream, without what is ours to keep.
    pub(super) fn stream(&self) -> Result<ImageStream, String> {
        let mut stream = self.whole()?;
        // Nobody has yet written what its tags came to: they are still to be made.
        if self.is_unobserved() {
            stream.spec.tags.clear();
        }
        Ok(stream)
    }

    /// A stream of the custom resource that has no status yet: whoever made it was killed before it could write one.
    pub(super) fn is_unobserved(&self) -> bool {
        let is_custom = self.raw["apiVersion"] == crate::openshift::CUSTOM_API_VERSION;
        is_custom && self.raw["status"]["observedGeneration"].is_null()
    }

    /// The same, with its tags whatever they came to.
    pub(super) fn whole(&self) -> Result<ImageStream, String> {
        let mut stream: ImageStream = serde_json::from_value(self.raw.clone()).map_err(|error| error.to_string())?;
        stream.metadata.annotations.retain(|key, _| !Kept::is(key));
        // The server keeps a map and sends it sorted; what is not, was not written by it.
        stream.spec.tags.sort_by(|one, other| one.name.cmp(&other.name));
        stream.status.tags.sort_by(|one, other| one.tag.cmp(&other.tag));
        Ok(stream)
    }

    pub(super) fn version(&self) -> &str {
        self.raw.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default()
    }

    /// As it is, as a precondition of the next step on it.
    pub(super) fn as_is(&self, stream: &StreamId) -> Precondition {
        let (version, uid) = (self.version().to_owned(), self.uid().to_owned());
        Precondition::ResourceVersion { stream: stream.clone(), version, uid }
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
                    // Of a map that was applied empty, nothing that others have put there is ours.
                    if is_leaf && matches!(name, "labels" | "annotations") {
                        continue;
                    }
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

/// Names the fields of a set that are wanted with another value than they have.
fn differing(live: &Value, wanted: &Value, fields: &Value, way: &str, out: &mut impl FnMut(&str)) {
    let Some(fields) = fields.as_object() else { return };
    for (key, inner) in fields {
        let is_leaf = inner.as_object().is_none_or(Map::is_empty);
        let (is, new, way) = if let Some(name) = key.strip_prefix("f:") {
            (live.get(name), wanted.get(name), format!("{way}.{name}"))
        } else if let Some(key) = key.strip_prefix("k:").and_then(|key| serde_json::from_str::<Value>(key).ok()) {
            let item = |list: &'_ Value| list.as_array()?.iter().position(|item| item["name"] == key["name"]);
            let is = item(live).and_then(|at| live.get(at));
            let new = item(wanted).and_then(|at| wanted.get(at));
            (is, new, format!("{way}[name={}]", key["name"]))
        } else {
            continue;
        };
        let Some(new) = new else { continue };
        match is {
            Some(is) if !is_leaf => differing(is, new, inner, &way, out),
            is => {
                // What the server leaves out is false.
                let was = is.cloned().unwrap_or(Value::Bool(false));
                if was != *new {
                    out(&way);
                }
            }
        }
    }
}
