//! All reconcilers of a process, and its server, until they are told to stop.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::{Interval, ListenConfig, RunConfig};
use crate::reconcile::Failure;

use super::host::Host;
use super::machine::{Machine, Pace, Poke};
use super::reconciler::{Reconciler, Shared};
use super::reread::Reread;
use super::run::{Bell, run};
use super::secret::secret;
use super::server::{Server, Site};

/// A reconciler that has broken begins again after so long.
const BEGIN_AGAIN: Duration = Duration::from_secs(10);

/// Rings all reconcilers of a process.
#[derive(Clone, Debug, Default)]
pub struct Bells(BTreeMap<String, Arc<Bell>>);

impl Bells {
    /// One for each of these reconcilers.
    pub fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        Self(names.into_iter().map(|name| (name.to_owned(), Arc::default())).collect())
    }

    /// Tells all of them to stop: steps under way end, no others begin.
    pub fn stop(&self) {
        self.0.values().for_each(|bell| bell.stop());
    }

    /// Tells all of them to look at once.
    pub fn look(&self) {
        self.0.values().for_each(|bell| bell.poke(Poke::Asked));
    }
}

/// Runs a reconciler for each of these hosts until all have stopped.
///
/// # Errors
///
/// When the server cannot be opened, or ends by itself.
pub async fn serve<H: Host>(
    hosts: Vec<(String, H)>,
    config: &RunConfig,
    listen: Option<&ListenConfig>,
    shared: &Shared,
    bells: &Bells,
) -> Result<(), Failure> {
    let server = match listen {
        None => None,
        Some(listen) => Some(bind(config, listen, shared, bells).await?),
    };
    let mut tasks = JoinSet::new();
    let mut watchers = Vec::new();
    for (name, host) in hosts {
        let (leads, is_leader) = watch::channel(false);
        let reconciler = Arc::new(Reconciler::new(&name, host, config, shared, is_leader.clone()));
        let bell = bells.0.get(&name).cloned().unwrap_or_default();
        watchers.push(begin(&mut tasks, reconciler, (leads, is_leader), bell, config));
    }
    let all = async {
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(Failure::failed)?;
        }
        Ok(())
    };
    let answer = async {
        match server {
            Some(server) => server.serve().await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        ended = all => ended,
        () = answer => Err(Failure::failed("the HTTP server has ended")),
    };
    watchers.iter().for_each(JoinHandle::abort);
    ended
}

/// Begins a reconciler: its watch of files, its election, its loop. Gives the task of the watch.
fn begin<H: Host>(
    tasks: &mut JoinSet<()>,
    reconciler: Arc<Reconciler<H>>,
    (leads, is_leader): (watch::Sender<bool>, watch::Receiver<bool>),
    bell: Arc<Bell>,
    config: &RunConfig,
) -> JoinHandle<()> {
    let watched = reconciler.watched();
    let seconds = |interval: Interval| interval.duration().unsigned_abs();
    let mut pace = Pace { seed: seed(reconciler.name()), ..Pace::default() };
    pace.poll = config.poll.map(seconds).or(pace.poll).filter(|_| watched.folders.is_empty());
    pace.full = config.full.map_or(pace.full, seconds);
    let (name, rung) = (reconciler.name().to_owned(), Arc::clone(&bell));
    let (ready, begun) = oneshot::channel();
    let watcher = tokio::spawn(async move { watched.ring(&name, &rung, ready).await });
    tasks.spawn(async move {
        // In a task of its own: a source that keeps the reconciler waiting does not keep the Lease from being renewed.
        let elector = Arc::clone(&reconciler);
        let elected = tokio::spawn(async move { elector.lead(leads).await });
        // A change that comes while the first pass reads is noticed.
        let _ = begun.await;
        run_until_stopped(&reconciler, &pace, &bell, &is_leader).await;
        // The election goes on until the reconciler has ended; then what is held is given back.
        drop(is_leader);
        reconciler.end();
        let _ = elected.await;
    });
    watcher
}

/// Runs a reconciler until it is told to stop. When it breaks, which is a defect of the program, that is reported, and it begins
/// again: the others are not affected.
async fn run_until_stopped<H: Host>(
    reconciler: &Arc<Reconciler<H>>,
    pace: &Pace,
    bell: &Arc<Bell>,
    is_leader: &watch::Receiver<bool>,
) {
    loop {
        let (one, pace) = (Arc::clone(reconciler), pace.clone());
        let (bell, is_leader) = (Arc::clone(bell), is_leader.clone());
        let running = tokio::spawn(async move {
            tokio::select! {
                () = run(&*one, Machine::new(pace), Arc::clone(&bell), is_leader, Timestamp::now) => {}
                () = one.watch(&bell) => {}
            }
        });
        match running.await {
            Ok(()) => return,
            Err(error) => reconciler.broke(&error.to_string()),
        }
        tokio::time::sleep(BEGIN_AGAIN).await;
    }
}

/// Opens the server, with its secrets.
async fn bind(config: &RunConfig, listen: &ListenConfig, shared: &Shared, bells: &Bells) -> Result<Server, Failure> {
    let of = |path: &PathBuf| {
        let path = path.clone();
        Reread::new(&[&path.clone()], move || secret(&path))
    };
    let token = listen.token_file.as_ref().map(of).transpose()?;
    let mut webhooks = BTreeMap::new();
    for webhook in &config.webhooks {
        webhooks.insert(webhook.kind, of(&webhook.secret_file)?);
    }
    let site = Site {
        board: Arc::clone(&shared.board),
        metrics: Arc::clone(&shared.metrics),
        bells: bells.0.clone(),
        hints: Arc::clone(&shared.hints),
        token,
        webhooks,
    };
    let tls = match (&listen.certificate, &listen.key) {
        (Some(certificate), Some(key)) => {
            let (chain, private) = (certificate.clone(), key.clone());
            Some(Reread::new(&[certificate, key], move || tls(&chain, &private))?)
        }
        _ => None,
    };
    let health = listen.health;
    let failed = |error| {
        let health = health.map_or(String::new(), |health| format!(" or {health}"));
        Failure::failed(format!("failed to listen at {}{health}: {error}", listen.address))
    };
    let server = Server::bind(site, (listen.address, health), tls).await.map_err(failed)?;
    if let Some(address) = server.address() {
        tracing::info!(%address, "listens");
    }
    if let Some(address) = server.health_address() {
        tracing::info!(%address, "listens for probes");
    }
    Ok(server)
}

fn tls(certificate: &Path, key: &Path) -> Result<ServerConfig, Failure> {
    let failed = |path: &Path, why: String| {
        Failure::failed(format!("failed to read the certificate or key in `{}`: {why}", path.display()))
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
    let chain = chain.map_err(|error| failed(certificate, error.to_string()))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| failed(key, error.to_string()))?;
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = builder.and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private));
    config.map_err(|error| failed(certificate, error.to_string()))
}

/// Reconcilers, and processes, do not all ask at the same moment.
fn seed(name: &str) -> u64 {
    let digest = crate::source::short_hash(format!("{name} {}", std::process::id()), 16);
    u64::from_str_radix(&digest, 16).unwrap_or_default()
}
