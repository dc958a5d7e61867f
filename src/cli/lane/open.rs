//! Opening the source of a pass, which may hang, and the config that comes with it, which may be broken.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::adapters::git;
use crate::cli::args::Args;
use crate::cli::context::{Context, location};
use crate::cli::failure::{Exit, Failure};
use crate::config::ConfigError;
use crate::ports::Source;
use crate::text::{chain, inert};

/// A source that has not answered for so long is silent: a big repository may take minutes, the first time.
const FETCH: Duration = Duration::from_secs(600);
/// Likewise, for a list of its references.
pub(super) const ASK: Duration = Duration::from_secs(60);
/// Between two looks at whether to stop.
const TICK: Duration = Duration::from_millis(50);

/// A source, and the config that counts.
pub(super) struct Opened {
    pub(super) context: Context,
    pub(super) source: Box<dyn Source>,
    /// Why it is not the newest config.
    pub(super) broken: Option<String>,
}

/// Opens the source beside the lane: one that hangs is left alone in the end, and a stop is heard meanwhile. With a config that
/// is broken the last one counts, if there is one.
pub(super) async fn open(
    args: &Args,
    commit: Option<String>,
    last: Option<&Context>,
    stop: &AtomicBool,
) -> Result<Opened, Failure> {
    let flags = args.clone();
    let opening = tokio::task::spawn_blocking(move || Context::open_at(&flags, commit));
    let broken = match wait(opening, FETCH, stop).await? {
        Ok((context, source)) => return Ok(Opened { context, source, broken: None }),
        Err(failure) if failure.error.is::<ConfigError>() => failure,
        Err(failure) => return Err(failure),
    };
    let Some(context) = last.cloned() else { return Err(broken) };
    let location = location(args);
    let opening = tokio::task::spawn_blocking(move || git::open(&location));
    let source = wait(opening, FETCH, stop).await??;
    Ok(Opened { context, source, broken: Some(inert(&chain(&*broken.error), 600)) })
}

/// What a task comes to. One that lasts for longer than `most`, or when it is to stop, is left to itself.
pub(super) async fn wait<T>(mut task: JoinHandle<T>, most: Duration, stop: &AtomicBool) -> Result<T, Failure> {
    let begun = Instant::now();
    loop {
        tokio::select! {
            done = &mut task => return done.map_err(|error| Failure::new(Exit::Failed, error)),
            () = tokio::time::sleep(TICK) => {}
        }
        if stop.load(Ordering::Relaxed) {
            return Err(Failure::new(Exit::Failed, "it was told to stop"));
        }
        if begun.elapsed() > most {
            let message = format!("the source has not answered for {} seconds", most.as_secs());
            return Err(
                Failure::new(Exit::Failed, message).hint("it is asked again later; see whether its host is well")
            );
        }
    }
}

/// Which store or Lease a lane's config means: another one takes another election.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Election {
    /// The store in this folder.
    Store(std::path::PathBuf),
    /// The Lease of this field manager.
    Lease(Option<String>),
}

impl Election {
    pub(super) fn of(context: &Context, args: &Args) -> Self {
        if crate::cli::target::Live::is_store(context, args) {
            let folder: &Path = &context.store;
            return Self::Store(folder.to_owned());
        }
        Self::Lease(context.config.field_manager.clone())
    }
}
