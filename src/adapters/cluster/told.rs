//! What we have done, told on the cluster itself: an annotation of each stream that `history` reads, and Events.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::adapters::lock;
use crate::model::{Action, Change, Move, Revision, Update, WorkloadId};
use crate::openshift::{CUSTOM_API_VERSION, ImageStream, StreamId, short_image};
use crate::ports::Command;
use crate::rules;
use crate::source::inert;

use super::Cluster;
use super::access::Trouble;
use super::owned::{Kept, Object};
use super::request::{KINDS, event};
use super::wanted::Wanted;

/// Changes that a stream keeps, and how long they may be: all annotations of an object have 256 KiB (Kubernetes API,
/// `TotalAnnotationSizeLimitB`).
const CHANGES: usize = 40;
const CHANGES_BYTES: usize = 24 * 1024;
/// What the note of an Event may have, in bytes (events.k8s.io/v1).
const NOTE: usize = 1024;

/// What a step has changed, with what was behind it.
pub(super) fn changes(
    id: &StreamId,
    command: &Command<'_>,
    before: Option<&ImageStream>,
    after: Option<&ImageStream>,
) -> Vec<Change> {
    let Command { action, provenance, now, requires: _ } = command;
    let change = |(done, Move { tag, before, after }): (&str, Move)| Change {
        stream: id.to_string(),
        tag,
        at: now.to_string(),
        run: provenance.run,
        revision: provenance.revision.commit.clone(),
        dirty: provenance.revision.dirty,
        path: provenance.path.to_owned(),
        action: done.to_owned(),
        reason: provenance.reason.to_owned(),
        before,
        after,
    };
    rules::changes(action, before, after).into_iter().map(change).collect()
}

/// Writes changes down in front of those that are there; the oldest go when there are too many.
pub(super) fn annotate(wanted: &mut Wanted, seen: Option<&Object>, manager: &str, new: &[Change]) {
    if new.is_empty() {
        return;
    }
    let old = seen.and_then(|object| object.kept(Kept::Changes, manager));
    let old: Vec<Value> = old.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let mut kept = Vec::new();
    let mut bytes = 0;
    for change in new.iter().map(short).chain(old).take(CHANGES) {
        bytes += change.to_string().len() + 1;
        if bytes > CHANGES_BYTES {
            break;
        }
        kept.push(change);
    }
    wanted.annotate(&Kept::Changes.key(manager), &Value::from(kept).to_string());
}

/// Without what says nothing.
fn short(change: &Change) -> Value {
    let mut value = json!(change);
    if let Value::Object(map) = &mut value {
        map.remove("stream");
        map.retain(|_, value| !value.is_null() && *value != "" && *value != false);
    }
    value
}

/// Changes that managers have written down on a stream, newest first.
pub(super) fn recorded(id: &StreamId, object: &Object) -> Vec<Change> {
    let annotations = object.raw.pointer("/metadata/annotations").and_then(Value::as_object).into_iter().flatten();
    let lists = annotations.filter(|(key, _)| Kept::Changes.is_for(key)).filter_map(|(_, text)| text.as_str());
    let mut all: Vec<Change> =
        lists.filter_map(|text| serde_json::from_str::<Vec<Change>>(text).ok()).flatten().collect();
    all.iter_mut().for_each(|change| change.stream = id.to_string());
    all.sort_by(|one, other| other.at.cmp(&one.at));
    all
}

impl Cluster {
    /// Tells what a step has done to a stream; that it cannot be told fails nothing.
    pub(super) async fn tell(&self, id: &StreamId, object: &Object, command: &Command<'_>, changes: &[Change]) {
        if changes.is_empty() {
            return;
        }
        let failed = changes.iter().any(|change| change.action == "import failed");
        let one = |change: &Change| {
            let name = |image: &Option<String>| image.as_deref().map_or("none".to_owned(), shown_image);
            let tag = if change.tag.is_empty() { "stream" } else { &change.tag };
            match (&change.before, &change.after) {
                (None, None) => format!("{tag}: {}", change.action),
                _ => format!("{tag}: {} -> {}", name(&change.before), name(&change.after)),
            }
        };
        let shown: Vec<String> = changes.iter().map(one).collect();
        let note = format!("{}{}", because(command.provenance.reason, command.provenance.revision), shown.join("; "));
        let regarding = json!({
            "apiVersion": CUSTOM_API_VERSION, "kind": "ImageStream", "namespace": id.namespace, "name": id.name,
            "uid": object.uid(), "resourceVersion": object.version(),
        });
        self.event(&regarding, failed, reason(command.action), &note).await;
    }

    /// Likewise, that a workload was given its images.
    pub(super) async fn tell_update(&self, update: &Update) {
        let WorkloadId { kind, namespace, name } = &update.workload;
        let Some(version) = KINDS.iter().find(|is| is.name == kind).map(|kind| kind.version()) else { return };
        let one = |image: &crate::model::RollImage| {
            format!("{} follows {}: {}", image.container, image.tag, shown_image(&image.after))
        };
        let shown: Vec<String> = update.images.iter().map(one).collect();
        let revision = lock(&self.under_way).revision.clone();
        let note = format!("{}{}", because("", &revision), shown.join("; "));
        let regarding =
            json!({"apiVersion": version, "kind": kind, "namespace": namespace, "name": name, "uid": update.uid});
        self.event(&regarding, false, "ImageUpdated", &note).await;
    }

    async fn event(&self, regarding: &Value, is_warning: bool, reason: &str, note: &str) {
        let mut note = inert(note, NOTE);
        while note.len() > NOTE {
            note.pop();
        }
        let body = event(regarding, is_warning, reason, &note, &self.owner.manager, Timestamp::now());
        match self.connection.send(body).await {
            Err(Trouble::Refused(refused)) if refused.code == 403 => {
                self.connection
                    .warn("Events are not written: grant `create` on `events.events.k8s.io`, if they are wanted");
            }
            // An Event is for whoever looks: nothing depends on it.
            Err(_) | Ok(_) => {}
        }
    }
}

/// What a step is called where Events are filtered.
fn reason(action: &Action) -> &'static str {
    match action {
        Action::CreateStream { .. } => "StreamCreated",
        Action::UpdateStream { .. } => "StreamUpdated",
        Action::SetTag { .. } => "TagSet",
        Action::Follow { .. } => "TagFollowed",
        Action::Import { .. } => "Imported",
        Action::DeleteTag { .. } => "TagDeleted",
        Action::DeleteStream { .. } => "StreamDeleted",
    }
}

fn because(reason: &str, revision: &Revision) -> String {
    let commit = revision.short_commit();
    let dirty = if revision.dirty { " (dirty)" } else { "" };
    match (reason, commit) {
        ("", None) => String::new(),
        ("", Some(commit)) => format!("commit {commit}{dirty}: "),
        (reason, None) => format!("{reason}: "),
        (reason, Some(commit)) => format!("{reason}, commit {commit}{dirty}: "),
    }
}

fn shown_image(spec: &str) -> String {
    inert(short_image(spec), 120)
}
