//! `get workloads`, and what `apply --write-workloads` does to their files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;

use crate::adapters::git::{Edit, edit};
use crate::adapters::store::Cache;
use crate::api::ImageStream;
use crate::cli::args::{Args, Get, Output};
use crate::cli::console::Console;
use crate::cli::context::Context;
use crate::cli::failure::{Exit, Failure};
use crate::cli::target::Live;
use crate::model::{DefinedWorkload, Desired, LiveStream, LiveWorkload, Manner, RollImage, StreamId, WorkloadPolicy};
use crate::ports::{LiveState, Which, Workloads};
use crate::reconcile;
use crate::render::{self, WorkloadRow};
use crate::rules::{self, Follows, Streams};

use super::{pretty, runtime};

/// The streams of a target, as rules see them.
struct Seen<'a>(&'a BTreeMap<StreamId, LiveStream>);

impl Streams for Seen<'_> {
    fn stream(&self, id: &StreamId) -> Option<&ImageStream> {
        self.0.get(id).map(|live| &live.stream)
    }
}

/// One image field of a workload, as JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    workload: &'a crate::model::WorkloadId,
    #[serde(flatten)]
    image: Option<&'a RollImage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
}

/// Lists workloads that follow tags, with the images that they are meant to have: those of the source where the target is the
/// store, otherwise those of the cluster.
pub(super) fn get(args: &Args, command: &Get, console: &Console) -> Result<Exit, Failure> {
    let (context, source) = Context::open(args)?;
    let runtime = runtime()?;
    let live = runtime.block_on(Live::open(&context, args, false))?;
    let streams = runtime.block_on(live.streams(&context.namespace))?;
    let (mut workloads, manner): (Vec<LiveWorkload>, Manner) = match &live {
        Live::Store(_) => {
            let parts = context.reading(BTreeSet::new())?;
            let list = reconcile::list(&*source, &parts.selection, context.limits())?;
            let cache = Cache::new(&live.memory(&context.store));
            let read = context.read(&*source, &parts, list, &cache, console)?;
            let defined = read.assembled.desired.workloads.into_iter().filter_map(|workload| workload.defined);
            (defined.map(|defined| defined.workload).collect(), Manner::Ours)
        }
        Live::Cluster(_) => {
            let namespaces = BTreeSet::from([context.namespace.clone()]);
            let Workloads { seen, unseen } = runtime.block_on(live.workloads(Which::All(&namespaces)));
            unseen.iter().for_each(|ignorance| console.say(&format!("not looked at: {ignorance}")));
            (seen, if live.updates_workloads() { Manner::Ours } else { Manner::OpenShift })
        }
    };
    workloads.retain(|workload| args.namespace.is_none() || workload.id.namespace == context.namespace);
    let wanted = |workload: &LiveWorkload| {
        let has = |name: &String| {
            *name == workload.id.name || *name == format!("{}/{}", workload.id.namespace, workload.id.name)
        };
        command.names.is_empty() || command.names.iter().any(has)
    };
    workloads.retain(wanted);
    workloads.sort_by(|one, other| one.id.cmp(&other.id));
    let follows: Vec<(&LiveWorkload, Follows)> =
        workloads.iter().map(|workload| (workload, rules::follows(workload, &Seen(&streams), manner))).collect();
    match command.output {
        Output::Table | Output::Wide => {
            let rows: Vec<WorkloadRow<'_>> = follows
                .iter()
                .map(|(workload, follows)| WorkloadRow {
                    id: &workload.id,
                    images: &follows.images,
                    why: follows.why.as_deref(),
                })
                .collect();
            if !rows.is_empty() {
                console.out(&render::workloads_table(&rows, args.namespace.is_none()));
            }
        }
        Output::Name => follows.iter().for_each(|(workload, _)| {
            console.out(&format!("{}/{}\n", workload.id.kind.to_lowercase(), workload.id.name));
        }),
        Output::Json | Output::Yaml => {
            let items: Vec<Shown<'_>> =
                follows.iter().flat_map(|(workload, follows)| shown(workload, follows)).collect();
            if command.output == Output::Json {
                console.out(&pretty(&items)?);
            } else {
                let text = serde_saphyr::to_string(&items).map_err(|error| Failure::new(Exit::Failed, error))?;
                console.out(&text);
            }
        }
    }
    if follows.is_empty() {
        console.say("No workloads that follow tags found.");
    }
    Ok(if follows.is_empty() && !command.names.is_empty() { Exit::Failed } else { Exit::Done })
}

fn shown<'a>(workload: &'a LiveWorkload, follows: &'a Follows) -> Vec<Shown<'a>> {
    let row = |image, why| Shown { workload: &workload.id, image, why };
    let images = follows.images.iter().map(|image| row(Some(image), None));
    images.chain(follows.why.as_deref().map(|why| row(None, Some(why)))).collect()
}

/// Writes the images that tags have into the files that define the workloads. Gives whether all could be written.
pub(super) fn write(
    folder: &Path,
    desired: &Desired,
    streams: &BTreeMap<StreamId, LiveStream>,
    policy: &WorkloadPolicy,
    console: &Console,
) -> bool {
    let mut files: BTreeMap<&str, Vec<(Edit, String)>> = BTreeMap::new();
    let mut is_whole = true;
    let mut tell = |place: &str, why: &str| {
        console.say(&format!("{}: {}", crate::text::inert(place, 300), crate::text::inert(why, 400)));
        is_whole = false;
    };
    for workload in &desired.workloads {
        let Some(DefinedWorkload { workload: defined, places }) = workload.defined.as_deref() else { continue };
        // Its image counts only until OpenShift starts it; a build has none.
        if matches!(workload.id.kind.as_str(), "DeploymentConfig" | "BuildConfig") {
            continue;
        }
        let path = &*workload.origin.path;
        let Follows { images, why, tags: _ } = rules::follows(defined, &Seen(streams), Manner::Ours);
        if let Some(why) = why {
            tell(path, &format!("{}: {why}", workload.id));
        }
        for image in images.iter().filter(|image| image.before.as_ref() != Some(&image.after)) {
            if !policy.allows(&workload.id.namespace, &image.tag.stream.namespace) {
                let stream = &image.tag.stream.namespace;
                tell(
                    path,
                    &format!("{}: `policy.workloads.shared` in the config does not name `{stream}`", workload.id),
                );
                continue;
            }
            let at = defined.images.iter().position(|is| is.name == image.container);
            let Some(place) = at.and_then(|at| places.get(at).copied().flatten()) else {
                tell(path, &format!("{}: `{}` has no `image` to write to", workload.id, image.container));
                continue;
            };
            let edit = Edit {
                range: place.range(),
                before: image.before.clone().unwrap_or_default(),
                after: image.after.clone(),
            };
            files.entry(path).or_default().push((edit, render::image_line(image)));
        }
    }
    for (path, edits) in files {
        let changes: Vec<Edit> = edits.iter().map(|(edit, _)| edit.clone()).collect();
        match edit(folder, path, &changes) {
            Ok(()) => edits
                .iter()
                .for_each(|(_, line)| console.say(&format!("wrote {}: {line}", crate::text::inert(path, 300)))),
            Err(error) => tell(path, &format!("not written: {error}")),
        }
    }
    is_whole
}
