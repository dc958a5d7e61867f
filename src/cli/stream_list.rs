//! Streams and tags, as `get` prints them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::model::LiveStream;
use crate::openshift::{IMAGE_API_VERSION, ImageStream, StreamId};
use crate::reconcile::Settings;
use crate::render::StreamRow;
use crate::rules;

use super::args::{Args, Get, Resource};
use super::failure::Failure;
use super::live_streams::LiveStreams;

/// The streams that a command names, cut down to the tags that it names; `missing` gets the names of those that are not there.
pub(super) fn named(
    live: &LiveStreams,
    (settings, args): (&Settings, &Args),
    command: &Get,
    missing: &mut Vec<String>,
) -> Result<BTreeMap<StreamId, LiveStream>, Failure> {
    let mut chosen: BTreeMap<StreamId, LiveStream> = BTreeMap::new();
    for name in command.names() {
        let (id, tag) = live.named(settings, args, name)?;
        let found = chosen.get(&id).or(live.streams.get(&id)).cloned();
        let Some(mut live) = found.filter(|live| tag.as_ref().is_none_or(|tag| live.stream.status_tag(tag).is_some()))
        else {
            missing.push(id.to_string());
            continue;
        };
        if let (Resource::Istag, Some(tag)) = (command.resource(), &tag) {
            live.stream.status.tags.retain(|list| list.tag == *tag);
        }
        chosen.insert(id, live);
    }
    Ok(chosen)
}

/// A table without its first line.
pub(super) fn without_headers(table: &str) -> &str {
    table.split_once('\n').map_or("", |(_, rows)| rows)
}

/// Resource and name, a line each.
pub(super) fn names(rows: &[StreamRow<'_>], resource: Resource) -> String {
    let mut out = String::new();
    for StreamRow { id, stream, .. } in rows {
        match resource {
            Resource::Is => out.push_str(&format!("imagestream.image.openshift.io/{}\n", id.name)),
            Resource::Istag | Resource::Workloads => {
                for (tag, _) in stream.heads() {
                    out.push_str(&format!("imagestreamtag.image.openshift.io/{}:{tag}\n", id.name));
                }
            }
        }
    }
    out
}

/// One object as it is, several in a list, as `oc` prints them.
pub(super) fn objects(rows: &[StreamRow<'_>], command: &Get) -> Value {
    let mut objects: Vec<Value> = match command.resource() {
        Resource::Is => rows.iter().map(|row| json!(row.stream)).collect(),
        Resource::Istag | Resource::Workloads => rows.iter().flat_map(|row| tags(row.id, row.stream)).collect(),
    };
    if command.names().len() == 1 && objects.len() == 1 {
        return objects.remove(0);
    }
    json!({"apiVersion": "v1", "kind": "List", "items": objects, "metadata": {}})
}

/// ImageStreamTags as the server makes them of a stream (semantics 6.1).
fn tags(id: &StreamId, stream: &ImageStream) -> Vec<Value> {
    stream
        .heads()
        .map(|(tag, head)| {
            let spec = stream.spec_tag(tag);
            json!({
                "apiVersion": IMAGE_API_VERSION,
                "kind": "ImageStreamTag",
                "metadata": {
                    "name": format!("{}:{tag}", id.name),
                    "namespace": id.namespace,
                    "uid": stream.metadata.uid,
                    "resourceVersion": stream.metadata.resource_version,
                    "creationTimestamp": head.created,
                    "labels": stream.metadata.labels,
                    "annotations": spec.map(|spec| &spec.annotations),
                },
                "tag": spec,
                "generation": head.generation,
                "lookupPolicy": stream.spec.lookup_policy,
                "image": {
                    "metadata": {"name": head.image},
                    "dockerImageReference": rules::resolve(stream, tag),
                },
            })
        })
        .collect()
}
