//! Which of several processes writes: the one that holds the store's lock, or the cluster's Lease.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::model::Backoff;
use crate::source::{chain, inert};

use super::host::{Election, Host};
use super::open;
use super::reconciler::Reconciler;

/// Between two tries to open a source whose config is not known yet.
const PAUSE: Backoff = Backoff::doubling(Duration::from_secs(1), Duration::from_secs(60));

impl<H: Host> Reconciler<H> {
    /// Becomes the one that writes, when the process that does lets go. `leads` says whether it is; when all its receivers are
    /// gone, what is held is given back. A config that names another target is another election.
    pub(super) async fn lead(&self, leads: watch::Sender<bool>) {
        let mut election = self.election.subscribe();
        tokio::select! {
            () = self.first_config() => {}
            () = leads.closed() => return,
        }
        loop {
            let wanted = election.borrow_and_update().clone();
            let trouble = |why: &str| {
                let error = inert(why, 400);
                match &wanted {
                    Some(Election::Lease(..)) => tracing::warn!(lane = self.name(), error, "the Lease cannot be held"),
                    Some(Election::Store(..) | Election::Nowhere) | None => {
                        tracing::info!(lane = self.name(), error, "stands by")
                    }
                }
            };
            let held = async {
                match &wanted {
                    Some(wanted) => self.host.stand(wanted, self.name(), &leads, &trouble).await,
                    None => leads.closed().await,
                }
            };
            tokio::select! {
                () = held => return,
                _ = election.changed() => {
                    let _ = leads.send(false);
                    self.host.step_down().await;
                }
            }
        }
    }

    /// Reads the config that says what there is to be elected for. Only a field manager may be said by a revision that has to be
    /// fetched.
    async fn first_config(&self) {
        let known = |settings| {
            let election = self.host.election(settings);
            self.election.send_if_modified(|known| {
                let is_first = known.is_none();
                *known = known.take().or(Some(election));
                is_first
            });
        };
        if let Some(settings) = self.host.known_settings() {
            return known(&settings);
        }
        let (mut tries, mut reported) = (0, String::new());
        loop {
            match open::open(&self.host, None, None, &CancellationToken::new()).await {
                Ok(opened) => return known(&opened.settings),
                Err(failure) => {
                    let error = inert(&chain(&*failure.error), 600);
                    if error != reported {
                        tracing::error!(lane = self.name(), error, "no pass before the config is known");
                        self.failed(&error);
                        reported = error;
                    }
                }
            }
            tokio::time::sleep(PAUSE.after(tries)).await;
            tries += 1;
        }
    }
}
