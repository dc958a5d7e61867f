//! Which of several processes writes: the one that holds the store's lock, or the cluster's Lease.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::block_in_place;

use crate::adapters::cluster::{Access, Candidate, Connection};
use crate::adapters::store::Writer;
use crate::cli::context::Context;
use crate::cli::target::access;
use crate::text::{chain, inert, short_hash};

use super::open::{self, Election, Opened};
use super::{Lane, PATIENCE};

/// After so long without renewal a Lease may be taken: what Kubernetes' own controllers have.
const LEASE: Duration = Duration::from_secs(15);

impl Lane {
    /// Becomes the one that writes, when whoever does lets go: of the store's lock, or of the cluster's Lease. `leads` says
    /// whether it is; when nobody listens any more, what is held is given back. A config that names another target is another
    /// election.
    pub(in crate::cli) async fn lead(&self, leads: watch::Sender<bool>) {
        let mut election = self.election.subscribe();
        tokio::select! {
            () = self.first_config() => {}
            () = leads.closed() => return,
        }
        loop {
            let wanted = election.borrow_and_update().clone();
            let held = async {
                match wanted {
                    Some(Election::Store(store)) => self.lock_store(&store, &leads).await,
                    Some(Election::Lease(manager)) => self.hold_lease(manager.as_deref(), &leads).await,
                    None => leads.closed().await,
                }
            };
            tokio::select! {
                () = held => return,
                _ = election.changed() => {
                    let _ = leads.send(false);
                    *self.writer.lock().await = None;
                }
            }
        }
    }

    /// Reads the config that says what there is to be elected for. Only a field manager may be said by a revision that has to be
    /// fetched.
    async fn first_config(&self) {
        let known = |context: &Context| {
            let election = Election::of(context, &self.args);
            self.election.send_if_modified(|known| {
                let is_first = known.is_none();
                *known = known.take().or(Some(election));
                is_first
            });
        };
        if let Ok(context) = Context::load(&self.args)
            && (self.writes_store(&context) || !Context::is_in_revision(&self.args))
        {
            return known(&context);
        }
        let mut pause = PATIENCE;
        let mut told = String::new();
        loop {
            match open::open(&self.args, None, None, &AtomicBool::new(false)).await {
                Ok(Opened { context, .. }) => return known(&context),
                Err(failure) => {
                    let error = inert(&chain(&*failure.error), 600);
                    if error != told {
                        tracing::error!(lane = self.name, error, "no pass before the config is known");
                        self.failed(&error);
                        told = error;
                    }
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PATIENCE * 60);
        }
    }

    async fn lock_store(&self, store: &Path, leads: &watch::Sender<bool>) {
        let mut told = String::new();
        loop {
            match block_in_place(|| Writer::open(store)) {
                Ok(writer) => {
                    *self.writer.lock().await = Some(writer);
                    let _ = leads.send(true);
                    return leads.closed().await;
                }
                Err(error) => {
                    let error = error.chain();
                    if told != error {
                        tracing::info!(lane = self.name, error, "stands by");
                        told = error;
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(PATIENCE) => {}
                () = leads.closed() => return,
            }
        }
    }

    async fn hold_lease(&self, manager: Option<&str>, leads: &watch::Sender<bool>) {
        let access = Access { timeout: Some(PATIENCE * 5), ..access(&self.args) };
        let duration = self.lease.duration.map_or(LEASE, |duration| duration.duration().unsigned_abs());
        let candidate = Candidate {
            namespace: self.lease.namespace.clone().unwrap_or_else(own_namespace),
            name: self.lease_name(manager),
            identity: identity(),
            duration,
            pause: duration / 7,
        };
        let told = |why: &str| tracing::warn!(lane = self.name, error = inert(why, 400), "the Lease cannot be held");
        loop {
            match Connection::open(&access).await {
                Ok(connection) => return connection.stand(&candidate, leads, told).await,
                Err(error) => told(&error.chain()),
            }
            tokio::select! {
                () = tokio::time::sleep(candidate.pause) => {}
                () = leads.closed() => return,
            }
        }
    }

    /// Each lane has a Lease of its own: those of one process must not keep each other waiting.
    fn lease_name(&self, manager: Option<&str>) -> String {
        let base = self.lease.name.clone();
        let base = base.unwrap_or_else(|| format!("streamkeeper-{}", manager.unwrap_or("streamkeeper")));
        // `a` and `b-c` are not `a-b` and `c`.
        let hash = short_hash(format!("{base}\n{}", self.name), 8);
        let name = match self.name.as_str() {
            "main" => base,
            lane => format!("{base}-{lane}-{hash}"),
        };
        let plain =
            |char: char| if char.is_ascii_alphanumeric() || char == '.' { char.to_ascii_lowercase() } else { '-' };
        name.chars().map(plain).take(253).collect::<String>().trim_matches(['-', '.']).to_owned()
    }
}

/// The namespace of the pod that this runs in.
fn own_namespace() -> String {
    let path = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
    let namespace = std::fs::read_to_string(path).unwrap_or_default();
    let namespace = namespace.trim();
    if namespace.is_empty() { "default".to_owned() } else { namespace.to_owned() }
}

/// This process, told from all others.
fn identity() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut random = [0_u8; 4];
    let filled = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut random);
    let random = if filled.is_ok() { u32::from_le_bytes(random) } else { std::process::id() };
    format!("{}_{}_{random:08x}", inert(&host, 120), std::process::id())
}
