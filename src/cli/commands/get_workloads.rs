//! `get workloads`: workloads that use tags, with the images that they are meant to have.

use std::collections::BTreeSet;

use crate::cli::args::{Args, Get, Output};
use crate::cli::console::Console;
use crate::cli::failure::{Exit, Failure};
use crate::cli::opener::Flags;
use crate::cli::process::runtime;
use crate::cli::{output, workload_list};
use crate::model::{LiveWorkload, Manner};
use crate::ports::{LiveState, TargetKind, Which, Workloads};
use crate::reconcile::{Connected, Opened};

pub(super) fn run(args: &Args, command: &Get, console: &Console) -> Result<Exit, Failure> {
    let flags = Flags::new(args, console);
    let (session, runtime) = (flags.session(console), runtime()?);
    let opened = session.open()?;
    let live = runtime.block_on(session.target(&opened.settings))?;
    let memory = session.memory(&opened.settings, &live);
    let connected = session.connected(&opened.settings, &live, &memory);
    let mut workloads = runtime.block_on(workloads(&connected, &opened, console))?;
    let namespace = &opened.settings.namespace;
    workloads.retain(|workload| args.namespace.is_none() || workload.id.namespace == *namespace);
    workloads.retain(|workload| workload_list::is_named(workload, command.names()));
    workloads.sort_by(|one, other| one.id.cmp(&other.id));
    let mut streams = runtime.block_on(live.live.streams(namespace))?;
    // Tags of namespaces that were not listed with it: unknown is not "no image".
    let mut elsewhere: BTreeSet<String> =
        workloads.iter().flat_map(LiveWorkload::tags).map(|tag| tag.stream.namespace).collect();
    elsewhere.retain(|namespace| !streams.keys().any(|id| id.namespace == *namespace));
    for namespace in elsewhere {
        match runtime.block_on(live.live.streams(&namespace)) {
            Ok(more) => streams.extend(more),
            Err(failure) => console.say(&format!("not looked at: {}", failure.error)),
        }
    }
    let manner = if live.kind() == TargetKind::OpenShift { Manner::OpenShift } else { Manner::Ours };
    let policy = opened.settings.config.policy.workloads.policy("");
    let list = workload_list::meant(&workloads, &streams, manner, &policy);
    match command.output {
        Output::Table | Output::Wide if list.is_empty() => {}
        Output::Table | Output::Wide => console.out(&workload_list::table(&list, args.namespace.is_none())),
        Output::Name => console.out(&workload_list::names(&list)),
        Output::Json => console.out(&output::pretty(&workload_list::items(&list))?),
        Output::Yaml => console.out(&output::yaml(&workload_list::items(&list))?),
    }
    if list.is_empty() {
        console.say("No workloads that follow tags found.");
    }
    Ok(if list.is_empty() && !command.names().is_empty() { Exit::Failed } else { Exit::Done })
}

/// Those of the source where the target is the store, otherwise those of the cluster.
async fn workloads(
    connected: &Connected<'_, '_, Flags, Console>,
    opened: &Opened,
    console: &Console,
) -> Result<Vec<LiveWorkload>, Failure> {
    if connected.live.kind() == TargetKind::Store {
        let listed = opened.list([], (connected.session.clock)())?;
        let read = listed.read(&**connected.memory, console)?;
        let defined = read.assembled.desired.workloads.into_iter().filter_map(|workload| workload.defined);
        return Ok(defined.map(|defined| defined.workload).collect());
    }
    let namespaces = BTreeSet::from([opened.settings.namespace.clone()]);
    let which = Which::All { namespaces: &namespaces, anew: true };
    let Workloads { seen, unseen } = connected.live.workloads(which).await;
    unseen.iter().for_each(|ignorance| console.say(&format!("not looked at: {ignorance}")));
    Ok(seen)
}
