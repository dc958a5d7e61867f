//! `get workloads`, and what `apply --write-workloads` does to their files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;

use crate::adapters::git::{Edit, edit};
use crate::adapters::store::Cache;
use crate::cli::args::{Args, Get, Output};
use crate::cli::console::Console;
use crate::cli::context::Context;
use crate::cli::failure::{Exit, Failure};
use crate::cli::target::Live;
use crate::model::{DefinedWorkload, Desired, LiveStream, LiveWorkload, Manner, RollImage, StreamId, WorkloadPolicy};
use crate::ports::{LiveState, Which, Workloads};
use crate::reconcile;
use crate::render::{self, WorkloadRow};
use crate::rules::{self, Follows};
use crate::text::inert;

use super::{pretty, runtime};

/// One image field of a workload, as JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    workload: &'a crate::model::WorkloadId,
    #[serde(skip_serializing_if = "Option::is_none")]
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
    let mut streams = runtime.block_on(live.streams(&context.namespace))?;
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
            let Workloads { seen, unseen } =
                runtime.block_on(live.workloads(Which::All { namespaces: &namespaces, anew: true }));
            unseen.iter().for_each(|ignorance| console.say(&format!("not looked at: {ignorance}")));
            (seen, if live.updates_workloads() { Manner::Ours } else { Manner::OpenShift })
        }
    };
    // Tags of namespaces that were not listed with it: unknown is not "no image".
    let mut elsewhere: BTreeSet<String> =
        workloads.iter().flat_map(LiveWorkload::tags).map(|tag| tag.stream.namespace).collect();
    elsewhere.retain(|namespace| !streams.keys().any(|id| id.namespace == *namespace));
    for namespace in elsewhere {
        match runtime.block_on(live.streams(&namespace)) {
            Ok(more) => streams.extend(more),
            Err(failure) => console.say(&format!("not looked at: {}", failure.error)),
        }
    }
    workloads.retain(|workload| args.namespace.is_none() || workload.id.namespace == context.namespace);
    let wanted = |workload: &LiveWorkload| {
        let has = |name: &String| {
            *name == workload.id.name || *name == format!("{}/{}", workload.id.namespace, workload.id.name)
        };
        command.names.is_empty() || command.names.iter().any(has)
    };
    workloads.retain(wanted);
    workloads.sort_by(|one, other| one.id.cmp(&other.id));
    let policy = context.config.policy.workloads.policy("");
    let meant = |workload| {
        let mut follows = rules::follows(workload, &streams, manner);
        // On OpenShift every namespace's tags are everybody's.
        if manner == Manner::Ours {
            let strange = |image: &&RollImage| !policy.allows(&workload.id.namespace, &image.tag.stream.namespace);
            follows.why = follows.images.iter().find(strange).map(not_shared).or(follows.why);
            follows.images.retain(|image| !strange(&image));
        }
        if follows.images.is_empty() && follows.why.is_none() {
            follows.why = Some("its triggers are paused".to_owned());
        }
        (workload, follows)
    };
    let follows: Vec<(&LiveWorkload, Follows)> = workloads.iter().map(meant).collect();
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
            let name = format!("{}/{}", workload.id.kind.to_lowercase(), workload.id.name);
            console.out(&(inert(&name, 300) + "\n"));
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

/// Edits of files, each with a line that says what it does.
pub(super) struct Edits<'a> {
    files: BTreeMap<&'a str, Vec<(Edit, String)>>,
    /// Nothing that should be written was left out.
    is_whole: bool,
}

/// What has to be written into the files that define workloads, for them to have the images that tags have. What cannot be is
/// said.
pub(super) fn edits<'a>(
    desired: &'a Desired,
    streams: &BTreeMap<StreamId, LiveStream>,
    policy: &WorkloadPolicy,
    console: &Console,
) -> Edits<'a> {
    let mut edits = Edits { files: BTreeMap::new(), is_whole: true };
    for workload in &desired.workloads {
        let Some(DefinedWorkload { workload: defined, places }) = workload.defined.as_deref() else { continue };
        // Its image counts only until OpenShift starts it; a build has none.
        if matches!(workload.id.kind.as_str(), "DeploymentConfig" | "BuildConfig") {
            continue;
        }
        let path = &*workload.origin.path;
        let mut tell = |why: String| {
            console.say(&format!(
                "{}: {}: {}",
                inert(path, 300),
                inert(&workload.id.to_string(), 300),
                inert(&why, 400)
            ));
            edits.is_whole = false;
        };
        let Follows { images, why, tags: _ } = rules::follows(defined, streams, Manner::Ours);
        if let Some(why) = why {
            tell(why);
        }
        for image in images.iter().filter(|image| image.before.as_ref() != Some(&image.after)) {
            if !policy.allows(&workload.id.namespace, &image.tag.stream.namespace) {
                tell(not_shared(image));
                continue;
            }
            let of_name = || defined.images.iter().enumerate().filter(|(_, is)| is.name == image.container);
            if image.container.is_empty() || of_name().count() != 1 {
                tell(format!("which container is `{}` cannot be said", image.container));
                continue;
            }
            let Some(place) = of_name().find_map(|(at, _)| places.get(at).copied().flatten()) else {
                tell(format!("`{}` has no `image` to write to", image.container));
                continue;
            };
            let (before, after) = (image.before.clone().unwrap_or_default(), image.after.clone());
            let edit = Edit { range: place.range(), before, after };
            edits.files.entry(path).or_default().push((edit, render::image_line(image)));
        }
    }
    edits
}

fn not_shared(image: &RollImage) -> String {
    format!("`policy.workloads.shared` in the config does not name `{}`", image.tag.stream.namespace)
}

impl Edits<'_> {
    /// There is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// What would be written, a line each.
    pub(super) fn lines(&self) -> Vec<String> {
        let lines = self.files.iter().flat_map(|(path, edits)| edits.iter().map(move |(_, line)| (path, line)));
        lines.map(|(path, line)| format!("{}: {line}", inert(path, 300))).collect()
    }

    /// Writes. Gives whether all that should be written was.
    pub(super) fn write(&self, folder: &Path, console: &Console) -> bool {
        let mut is_whole = self.is_whole;
        for (path, edits) in &self.files {
            let changes: Vec<Edit> = edits.iter().map(|(edit, _)| edit.clone()).collect();
            let shown = inert(path, 300);
            match edit(folder, path, &changes) {
                Ok(()) => edits.iter().for_each(|(_, line)| console.say(&format!("wrote {shown}: {line}"))),
                Err(error) => {
                    console.say(&format!("{shown}: not written: {error}"));
                    is_whole = false;
                }
            }
        }
        is_whole
    }
}
