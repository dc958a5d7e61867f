//! Opening the source of a pass, which may hang.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::reconcile::{Failure, Opened, Settings};

use super::host::Host;

/// A source that has not answered for so long is silent: a big repository may take minutes, the first time.
const FETCH: Duration = Duration::from_secs(600);
/// Likewise, for a list of its references.
pub(super) const ASK: Duration = Duration::from_secs(60);

/// Opens the source beside the reconciler: one that hangs is left alone in the end, and a stop is heard meanwhile. With a config
/// that is broken the last one counts, if there is one.
pub(super) async fn open<H: Host>(
    host: &H,
    commit: Option<String>,
    last: Option<Settings>,
    stop: &CancellationToken,
) -> Result<Opened, Failure> {
    let host = host.clone();
    let opening = tokio::task::spawn_blocking(move || Opened::open_or_last(&host, commit.as_deref(), last.as_ref()));
    wait(opening, FETCH, stop).await?
}

/// What a task comes to. One that lasts for longer than `most`, or when it is to stop, is left to itself.
pub(super) async fn wait<T>(task: JoinHandle<T>, most: Duration, stop: &CancellationToken) -> Result<T, Failure> {
    tokio::select! {
        done = task => done.map_err(Failure::failed),
        () = stop.cancelled() => Err(Failure::failed("it was told to stop")),
        () = tokio::time::sleep(most) => {
            let message = format!("the source has not answered for {} seconds", most.as_secs());
            Err(Failure::failed(message).hint("it is asked again later; see whether its host is well"))
        }
    }
}
