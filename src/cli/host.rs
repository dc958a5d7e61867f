//! What a reconciler needs beside a session: the source's host, the files, and who may write.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::block_in_place;

use crate::adapters::cluster::{Access, Candidate, Connection};
use crate::adapters::git;
use crate::adapters::random;
use crate::adapters::store::Writer;
use crate::config::TargetConfig;
use crate::controller::{Election, Host, Watched};
use crate::model::Identities;
use crate::ports::PortError;
use crate::reconcile::Settings;
use crate::source::{chain, inert, short_hash};

use super::opener::{Flags, Held};
use super::settings::{self, location};
use super::target::{Live, access};

/// After so long without renewal a Lease may be taken: what Kubernetes' own controllers have.
const LEASE: Duration = Duration::from_secs(15);

/// How often another process that writes is asked whether it has let go.
const PATIENCE: Duration = Duration::from_secs(1);

impl Host for Flags {
    fn source_name(&self) -> String {
        git::without_credentials(&self.args.source)
    }

    fn source_url(&self) -> String {
        self.args.source.clone()
    }

    fn watched(&self) -> Watched {
        let store = settings::load(&self.args, &self.options).ok().and_then(|settings| settings.store);
        Watched { folders: git::watched(&location(&self.args)), config: self.args.config.clone(), store }
    }

    fn is_folder(&self) -> bool {
        self.args.revision.is_none() && !git::watched(&location(&self.args)).is_empty()
    }

    fn ask(&self) -> Result<Option<String>, String> {
        git::ask(&location(&self.args)).map_err(|error| chain(&error))
    }

    fn known_settings(&self) -> Option<Settings> {
        let settings = settings::load(&self.args, &self.options).ok()?;
        let is_store = settings::target(&self.args, &settings.config) == TargetConfig::Store;
        (is_store || !settings::is_in_revision(&self.args)).then_some(settings)
    }

    fn election(&self, settings: &Settings) -> Election {
        match settings::target(&self.args, &settings.config) {
            TargetConfig::Store => match &settings.store {
                Some(store) => Election::Store(store.clone(), settings.identities_of_store()),
                None => Election::Nowhere,
            },
            _ => Election::Lease(settings.manager(), settings.identities()),
        }
    }

    async fn stand(
        &self,
        election: &Election,
        name: &str,
        leads: &watch::Sender<bool>,
        trouble: &(dyn Fn(&str) + Sync),
    ) {
        match (election, &self.held) {
            (Election::Store(store, identities), Some(held)) => {
                let open = || Writer::open(store, identities);
                lock_store(&open, held, leads, trouble).await;
            }
            (Election::Lease(manager, identities), Some(held)) => {
                let candidate = candidate(held, name, manager, identities);
                let access = Access { timeout: Some(PATIENCE * 5), ..access(&self.args) };
                hold_lease(&candidate, &access, leads, trouble).await;
            }
            (Election::Nowhere, _) | (_, None) => leads.closed().await,
        }
    }

    async fn step_down(&self) {
        if let Some(held) = &self.held {
            *held.writer.lock().await = None;
        }
    }

    async fn watch(&self, settings: &Settings, changed: &(dyn Fn() + Sync)) {
        let Some(held) = &self.held else { return std::future::pending().await };
        if settings::target(&self.args, &settings.config) == TargetConfig::Store {
            return std::future::pending().await;
        }
        let mut lost = false;
        loop {
            let live = Live::open(&self.args, settings).await;
            match live.map(|live| live.with_informer(std::sync::Arc::clone(&held.informer))) {
                Ok(Live::Cluster(cluster)) => cluster.watch(lost, changed).await,
                Ok(Live::Store(_)) => return std::future::pending().await,
                // The passes report what is wrong.
                Err(_) => tokio::time::sleep(PATIENCE * 30).await,
            }
            lost = true;
        }
    }

    fn forget(&self) {
        if let Some(held) = &self.held {
            held.informer.clear();
        }
    }
}

/// Takes the store's lock when the process that holds it lets go, and holds it until the reconciler has ended.
async fn lock_store(
    open: &(dyn Fn() -> Result<Writer, PortError> + Sync),
    held: &Held,
    leads: &watch::Sender<bool>,
    trouble: &(dyn Fn(&str) + Sync),
) {
    let mut reported = String::new();
    loop {
        match block_in_place(open) {
            Ok(writer) => {
                *held.writer.lock().await = Some(writer);
                let _ = leads.send(true);
                leads.closed().await;
                *held.writer.lock().await = None;
                return;
            }
            Err(error) => {
                let error = error.chain();
                if reported != error {
                    trouble(&error);
                    reported = error;
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(PATIENCE) => {}
            () = leads.closed() => return,
        }
    }
}

/// Stands for the Lease, and holds it until the reconciler has ended.
async fn hold_lease(
    candidate: &Candidate,
    access: &Access,
    leads: &watch::Sender<bool>,
    trouble: &(dyn Fn(&str) + Sync),
) {
    loop {
        match Connection::open(access).await {
            Ok(connection) => return connection.stand(candidate, leads, trouble).await,
            Err(error) => trouble(&error.chain()),
        }
        tokio::select! {
            () = tokio::time::sleep(candidate.pause) => {}
            () = leads.closed() => return,
        }
    }
}

fn candidate(held: &Held, name: &str, manager: &str, source: &Identities) -> Candidate {
    let duration = held.lease.duration.map_or(LEASE, |duration| duration.duration().unsigned_abs());
    Candidate {
        namespace: held.lease.namespace.clone().unwrap_or_else(own_namespace),
        name: lease_name(held.lease.name.as_deref(), name, manager),
        identity: identity(),
        source: source.clone(),
        duration,
        pause: duration / 7,
    }
}

/// Each reconciler has a Lease of its own: those of one process must not keep each other waiting.
fn lease_name(configured: Option<&str>, name: &str, manager: &str) -> String {
    // The usual managers begin with it.
    let usual = || format!("streamkeeper-{}", manager.strip_prefix("streamkeeper-").unwrap_or(manager));
    let base = configured.map_or_else(usual, str::to_owned);
    // `a` and `b-c` are not `a-b` and `c`.
    let hash = short_hash(format!("{base}\n{name}"), 8);
    // The usual name is that of a field manager, which is one source's alone.
    let name = match (name, configured) {
        ("main", _) | (_, None) => base,
        (other, Some(_)) => format!("{base}-{other}-{hash}"),
    };
    let plain = |char: char| if char.is_ascii_alphanumeric() || char == '.' { char.to_ascii_lowercase() } else { '-' };
    name.chars().map(plain).take(253).collect::<String>().trim_matches(['-', '.']).to_owned()
}

/// The namespace of the pod that this runs in.
fn own_namespace() -> String {
    let path = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
    let namespace = std::fs::read_to_string(path).unwrap_or_default();
    let namespace = namespace.trim();
    if namespace.is_empty() { "default".to_owned() } else { namespace.to_owned() }
}

/// A name for this process that no other one has.
fn identity() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let random = random().map_or_else(std::process::id, u32::from_le_bytes);
    format!("{}_{}_{random:08x}", inert(&host, 120), std::process::id())
}
