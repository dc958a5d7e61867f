//! `run`: keeps at it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use notify::{RecursiveMode, Watcher};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::cli::args::{Args, LogFormat, Run};
use crate::cli::console::Console;
use crate::cli::context::{Context, TOOL};
use crate::cli::failure::{Exit, Failure};
use crate::cli::lane::Lane;
use crate::daemon::{self, Bell, Board, Machine, Pace, Poke};

use super::runtime;

/// How often another process that writes is asked whether it has let go.
const PATIENCE: Duration = Duration::from_secs(1);

pub(in crate::cli) fn run(args: &Args, command: &Run, console: &Console) -> Result<Exit, Failure> {
    log(command.log, console);
    // What is wrong with the config is said before anything begins.
    Context::load(args)?;
    let board = Arc::new(Board::new(TOOL, Timestamp::now()));
    let console = Console::new(args.color, true);
    let lane = Arc::new(Lane::new("main", args.clone(), command.planning.clone(), console, Arc::clone(&board)));
    let runtime = runtime()?;
    runtime.block_on(serve(command, vec![lane]))
}

/// Runs all lanes until a signal says to stop.
async fn serve(command: &Run, lanes: Vec<Arc<Lane>>) -> Result<Exit, Failure> {
    let mut tasks = JoinSet::new();
    let mut bells = Vec::new();
    let mut watchers = Vec::new();
    for lane in lanes {
        let bell = Arc::new(Bell::default());
        bells.push(Arc::clone(&bell));
        let watched = lane.watched();
        let mut pace = Pace { seed: seed(lane.name()), ..Pace::default() };
        if let Some(poll) = command.poll {
            pace.poll = Some(poll.duration().unsigned_abs());
        }
        if !watched.is_empty() {
            pace.poll = None;
            watchers.push(watch_files(&watched, Arc::clone(&bell))?);
        }
        let (leads, standing) = watch::channel(false);
        let elector = Arc::clone(&lane);
        tasks.spawn(async move {
            let led = elector.lead(leads, PATIENCE);
            let ran = daemon::run(&*elector, Machine::new(pace), bell, standing, Timestamp::now);
            tokio::select! {
                () = ran => {}
                () = async { led.await; std::future::pending::<()>().await } => {}
            }
        });
    }
    let signals = tokio::spawn(on_signals(bells));
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            signals.abort();
            return Err(Failure::new(Exit::Failed, error));
        }
    }
    signals.abort();
    drop(watchers);
    Ok(Exit::Done)
}

/// Tells of changes of files. What an event says is not believed: everything is read again.
fn watch_files(folders: &[std::path::PathBuf], bell: Arc<Bell>) -> Result<notify::RecommendedWatcher, Failure> {
    let failed = |error: notify::Error| Failure::new(Exit::Failed, format!("failed to watch the source: {error}"));
    let ours = |path: &std::path::PathBuf| path.components().any(|part| part.as_os_str() == ".streamkeeper");
    let on_event = move |event: Result<notify::Event, notify::Error>| {
        // Reading is no change, and what we write ourselves is no definition. An overflow is an event without paths.
        let is_change = event
            .is_ok_and(|event| !event.kind.is_access() && (event.paths.is_empty() || !event.paths.iter().all(ours)));
        if is_change {
            bell.poke(Poke::Source);
        }
    };
    let mut watcher = notify::recommended_watcher(on_event).map_err(failed)?;
    for folder in folders {
        watcher.watch(folder, RecursiveMode::Recursive).map_err(failed)?;
    }
    Ok(watcher)
}

/// The first signal lets the steps under way end; the second ends the program, which is safe as well. SIGHUP looks at once.
async fn on_signals(bells: Vec<Arc<Bell>>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()), signal(SignalKind::hangup()))
    else {
        return;
    };
    let mut stopping = false;
    loop {
        let stop = tokio::select! {
            _ = interrupt.recv() => true,
            _ = terminate.recv() => true,
            _ = hangup.recv() => false,
        };
        if stop && stopping {
            std::process::exit(130);
        }
        stopping |= stop;
        for bell in &bells {
            if stop {
                bell.stop();
            } else {
                bell.poke(Poke::Asked);
            }
        }
    }
}

/// Lanes, and processes, do not all ask at the same moment.
fn seed(name: &str) -> u64 {
    let digest = ring::digest::digest(&ring::digest::SHA256, format!("{name} {}", std::process::id()).as_bytes());
    digest.as_ref().iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}

/// Where log lines go, and how.
fn log(format: LogFormat, console: &Console) {
    let builder = tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false);
    let ansi = console.err_paint().color;
    // A second one in the same process, as in tests, is not needed.
    let _ = match format {
        LogFormat::Text => builder.with_ansi(ansi).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
