//! Which of several processes writes: the one that holds the store's lock, or the cluster's Lease.

use std::path::Path;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::block_in_place;

use crate::adapters::cluster::{Access, Candidate, Connection};
use crate::adapters::store::Writer;
use crate::cli::context::Context;
use crate::cli::target::access;
use crate::text::inert;

use super::{Lane, PATIENCE};

/// After so long without renewal a Lease may be taken: what Kubernetes' own controllers have.
const LEASE: Duration = Duration::from_secs(15);

impl Lane {
    /// Becomes the one that writes, when whoever does lets go: of the store's lock, or of the cluster's Lease. `leads` says
    /// whether it is; when nobody listens any more, what is held is given back.
    pub(in crate::cli) async fn lead(&self, leads: watch::Sender<bool>) {
        let store = Context::load(&self.args).ok().filter(|context| self.writes_store(context)).map(|it| it.store);
        match store {
            Some(store) => self.lock_store(&store, &leads).await,
            None => self.hold_lease(&leads).await,
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

    async fn hold_lease(&self, leads: &watch::Sender<bool>) {
        let access = Access { timeout: Some(PATIENCE * 5), ..access(&self.args) };
        let manager = Context::load(&self.args).ok().and_then(|context| context.config.field_manager);
        let duration = self.lease.duration.map_or(LEASE, |duration| duration.duration().unsigned_abs());
        let candidate = Candidate {
            namespace: self.lease.namespace.clone().unwrap_or_else(own_namespace),
            name: self.lease_name(manager.as_deref()),
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
        let name = if self.name == "main" { base } else { format!("{base}-{}", self.name) };
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
