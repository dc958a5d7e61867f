//! `run`: reconciles continuously.

use std::sync::Arc;

use jiff::Timestamp;

use crate::adapters;
use crate::cli::args::{Args, Run};
use crate::cli::console::Console;
use crate::cli::failure::{Exit, Failure};
use crate::cli::process::{TOOL, now, runtime};
use crate::cli::{log, reconcilers, settings};
use crate::config::RunConfig;
use crate::controller::{Bells, Board, Hints, Notifier, Shared, serve};

pub(in crate::cli) fn run(args: &Args, command: &Run, console: &Console) -> Result<Exit, Failure> {
    let runtime = runtime()?;
    let traces = log::begin(command.log, console, &runtime)?;
    reconcilers::check(&command.planning)?;
    // What is wrong with the config is reported before anything begins.
    let config = settings::load(args, &command.planning.options())?.config.run;
    let config = RunConfig { poll: command.poll.or(config.poll), ..config };
    let listen = reconcilers::listen(command, &config)?;
    let hosts = reconcilers::hosts(args, &command.planning, &config);
    reconcilers::check_owners(&hosts)?;
    adapters::use_ring();
    let notifier = runtime.block_on(async { Notifier::start(&config, reqwest::Client::builder(), TOOL) })?;
    let names = || hosts.iter().map(|(name, _)| &**name);
    let shared = Shared {
        notifier,
        board: Arc::new(Board::new(TOOL, Timestamp::now())),
        metrics: Arc::default(),
        hints: Arc::new(Hints::new(names())),
        tool: TOOL,
        clock: now,
    };
    let bells = Bells::new(names());
    let ended = runtime.block_on(async {
        let signals = tokio::spawn(reconcilers::stop_on_signal(bells.clone()));
        let ended = serve(hosts, &config, listen.as_ref(), &shared, &bells).await;
        signals.abort();
        ended
    });
    // The traces that are left are sent.
    drop(traces);
    // A source that hangs is not waited for.
    runtime.shutdown_background();
    ended.map(|()| Exit::Done)
}
