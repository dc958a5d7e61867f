//! `get`: streams and tags of the target.

use std::collections::BTreeMap;

use crate::cli::args::{Args, Get, Output, Resource};
use crate::cli::console::Console;
use crate::cli::failure::{Exit, Failure};
use crate::cli::live_streams::{LiveStreams, commit_of};
use crate::cli::process::now;
use crate::cli::selector::Selector;
use crate::cli::{output, settings, stream_list};
use crate::openshift::StreamId;
use crate::ports::{LiveState, TargetKind};
use crate::reconcile::PlanOptions;
use crate::render::{self, StreamRow};

pub(in crate::cli) fn run(args: &Args, command: &Get, console: &Console) -> Result<Exit, Failure> {
    let args = &Args { namespace: args.namespace.clone().filter(|_| !command.all_namespaces), ..args.clone() };
    if command.resource() == Resource::Workloads {
        return super::get_workloads::run(args, command, console);
    }
    let settings = settings::load(args, &PlanOptions::default())?;
    let mut live = LiveStreams::open(&settings, args, [settings.namespace.clone()].into())?;
    if args.namespace.is_some() {
        live.streams.retain(|id, _| id.namespace == settings.namespace);
    }
    let mut missing = Vec::new();
    if !command.names().is_empty() {
        live.streams = stream_list::named(&live, (&settings, args), command, &mut missing)?;
    }
    if let Some(selector) = &command.selector {
        let selector = Selector::parse(selector)?;
        live.streams.retain(|_, live| selector.fits(&live.stream.metadata.labels));
    }
    let commits = if command.output == Output::Wide { commits(&live)? } else { BTreeMap::new() };
    let commit = |id: &StreamId| commits.get(id).map_or("", String::as_str);
    let rows: Vec<StreamRow<'_>> =
        live.streams.iter().map(|(id, live)| StreamRow { id, stream: &live.stream, commit: commit(id) }).collect();
    let (namespaces, wide) = (args.namespace.is_none(), command.output == Output::Wide);
    let table = |text: String| match command.no_headers {
        true => console.out(stream_list::without_headers(&text)),
        false => console.out(&text),
    };
    match (command.output, command.resource()) {
        (Output::Table | Output::Wide, _) if rows.is_empty() => {}
        (Output::Table | Output::Wide, Resource::Is) => table(render::streams_table(&rows, namespaces, wide, now())),
        (Output::Table | Output::Wide, Resource::Istag | Resource::Workloads) => {
            table(render::tags_table(&rows, namespaces, wide, now()))
        }
        (Output::Name, _) => console.out(&stream_list::names(&rows, command.resource())),
        (Output::Json, _) => console.out(&output::pretty(&stream_list::objects(&rows, command))?),
        (Output::Yaml, _) => console.out(&output::yaml(&stream_list::objects(&rows, command))?),
    }
    for name in &missing {
        let Failure { error, hint, .. } = Failure::failed(format!("there is no stream or tag `{name}`"));
        console.error(&*error, hint.as_deref());
    }
    if rows.is_empty() && missing.is_empty() {
        console.say("No streams found.");
    }
    Ok(if missing.is_empty() { Exit::Done } else { Exit::Failed })
}

/// The commit behind the last change of each stream. OpenShift keeps none.
fn commits(live: &LiveStreams) -> Result<BTreeMap<StreamId, String>, Failure> {
    let mut commits = BTreeMap::new();
    for id in live.streams.keys() {
        let commit = match live.live.kind() {
            TargetKind::OpenShift => String::new(),
            TargetKind::Store | TargetKind::Kubernetes => {
                live.last_recorded(id)?.as_ref().map(commit_of).unwrap_or_default()
            }
        };
        commits.insert(id.clone(), commit);
    }
    Ok(commits)
}
