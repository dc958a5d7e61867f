//! `get`: streams and tags of the target.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::adapters::cluster::Api;
use crate::api::{IMAGE_API_VERSION, ImageStream};
use crate::cli::args::{Args, Get, Output, Resource};
use crate::cli::console::Console;
use crate::cli::context::{Context, now};
use crate::cli::failure::{Exit, Failure};
use crate::cli::target::Live;
use crate::model::{LiveStream, StreamId};
use crate::render::{self, StreamRow};

use super::pretty;

pub(in crate::cli) fn run(args: &Args, command: &Get, console: &Console) -> Result<Exit, Failure> {
    if command.resource == Resource::Workloads {
        return super::workloads::get(args, command, console);
    }
    let context = Context::load(args)?;
    let runtime = super::runtime()?;
    let live = runtime.block_on(Live::open(&context, args, false))?;
    let mut streams = runtime.block_on(live.streams(&context.namespace))?;
    if args.namespace.is_some() {
        streams.retain(|id, _| id.namespace == context.namespace);
    }
    let mut missing = Vec::new();
    if !command.names.is_empty() {
        streams = named(&context, streams, command, &mut missing)?;
    }
    let mut commits = BTreeMap::new();
    if command.output == Output::Wide {
        for id in streams.keys() {
            let commit = match &live {
                Live::Store(reader) => reader.changes(id, None, 1)?.first().map(commit_of).unwrap_or_default(),
                Live::Cluster(cluster) if cluster.api() == Api::OpenShift => String::new(),
                Live::Cluster(cluster) => {
                    runtime.block_on(cluster.changes(id))?.first().map(commit_of).unwrap_or_default()
                }
            };
            commits.insert(id.clone(), commit);
        }
    }
    let rows: Vec<StreamRow<'_>> = streams
        .iter()
        .map(|(id, live)| StreamRow { id, stream: &live.stream, commit: commits.get(id).map_or("", String::as_str) })
        .collect();
    let namespaces = args.namespace.is_none();
    let wide = command.output == Output::Wide;
    match (command.output, command.resource) {
        (Output::Table | Output::Wide, _) if rows.is_empty() => {}
        (Output::Table | Output::Wide, Resource::Is) => {
            console.out(&render::streams_table(&rows, namespaces, wide, now()))
        }
        (Output::Table | Output::Wide, Resource::Istag | Resource::Workloads) => {
            console.out(&render::tags_table(&rows, namespaces, wide, now()))
        }
        (Output::Name, _) => console.out(&names(&rows, command.resource)),
        (Output::Json, _) => console.out(&pretty(&objects(&rows, command))?),
        (Output::Yaml, _) => {
            let text =
                serde_saphyr::to_string(&objects(&rows, command)).map_err(|error| Failure::new(Exit::Failed, error))?;
            console.out(&text);
        }
    }
    for name in &missing {
        console.error(
            &*Box::<dyn std::error::Error + Send + Sync>::from(format!("there is no stream or tag `{name}`")),
            None,
        );
    }
    if rows.is_empty() && missing.is_empty() {
        console.say("No streams found.");
    }
    Ok(if missing.is_empty() { Exit::Done } else { Exit::Failed })
}

/// The commit behind a change, cut, with a mark where the files differed from it.
pub(super) fn commit_of(change: &crate::model::Change) -> String {
    let commit = change.revision.as_deref().map_or("no commit".to_owned(), |commit| crate::text::inert(commit, 12));
    if change.dirty { format!("{commit} (dirty)") } else { commit }
}

fn named(
    context: &Context,
    mut all: BTreeMap<StreamId, LiveStream>,
    command: &Get,
    missing: &mut Vec<String>,
) -> Result<BTreeMap<StreamId, LiveStream>, Failure> {
    let mut chosen: BTreeMap<StreamId, LiveStream> = BTreeMap::new();
    for name in &command.names {
        let (id, tag) = context.name(name)?;
        let found = all.remove(&id).or_else(|| chosen.get(&id).cloned());
        let Some(mut live) = found.filter(|live| tag.as_ref().is_none_or(|tag| live.stream.status_tag(tag).is_some()))
        else {
            missing.push(id.to_string());
            continue;
        };
        if let (Resource::Istag, Some(tag)) = (command.resource, &tag) {
            live.stream.status.tags.retain(|list| list.tag == *tag);
        }
        chosen.insert(id, live);
    }
    Ok(chosen)
}

fn names(rows: &[StreamRow<'_>], resource: Resource) -> String {
    let mut out = String::new();
    for StreamRow { id, stream, .. } in rows {
        match resource {
            Resource::Is => out.push_str(&format!("imagestream.image.openshift.io/{}\n", id.name)),
            Resource::Istag | Resource::Workloads => {
                for list in stream
                    .status
                    .tags
                    .iter()
                    .filter(|list| list.items.first().is_some_and(|head| !head.image.is_empty()))
                {
                    out.push_str(&format!("imagestreamtag.image.openshift.io/{}:{}\n", id.name, list.tag));
                }
            }
        }
    }
    out
}

/// One object as it is, several in a list, as `oc` prints them.
fn objects(rows: &[StreamRow<'_>], command: &Get) -> Value {
    let mut objects: Vec<Value> = match command.resource {
        Resource::Is => rows.iter().map(|row| json!(row.stream)).collect(),
        Resource::Istag | Resource::Workloads => rows.iter().flat_map(|row| tags(row.id, row.stream)).collect(),
    };
    if command.names.len() == 1 && objects.len() == 1 {
        return objects.remove(0);
    }
    json!({"apiVersion": "v1", "kind": "List", "items": objects, "metadata": {}})
}

/// ImageStreamTags as the server makes them of a stream (semantics 6.1).
fn tags(id: &StreamId, stream: &ImageStream) -> Vec<Value> {
    let with_image = stream
        .status
        .tags
        .iter()
        .filter_map(|list| Some((list, list.items.first().filter(|head| !head.image.is_empty())?)));
    with_image
        .map(|(list, head)| {
            let spec = stream.spec_tag(&list.tag);
            json!({
                "apiVersion": IMAGE_API_VERSION,
                "kind": "ImageStreamTag",
                "metadata": {
                    "name": format!("{}:{}", id.name, list.tag),
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
                    "dockerImageReference": crate::rules::resolve(stream, &list.tag),
                },
            })
        })
        .collect()
}
