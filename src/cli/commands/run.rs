//! `run`: keeps at it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use secrecy::SecretString;
use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tracing::Level;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::cli::args::{Args, LogFormat, Run, Target};
use crate::cli::console::Console;
use crate::cli::context::{Context, TOOL};
use crate::cli::failure::{Exit, Failure};
use crate::cli::lane::{Lane, Shared};
use crate::cli::notify::Notifier;
use crate::config::{ListenConfig, RunConfig};
use crate::daemon::{self, Bell, Board, Hints, Machine, Pace, Poke, Server, Site};

use super::runtime;

pub(in crate::cli) fn run(args: &Args, command: &Run, console: &Console) -> Result<Exit, Failure> {
    let runtime = runtime()?;
    let traces = log(command.log, console, &runtime)?;
    for (flag, given) in
        [("--refresh", command.planning.refresh.is_some()), ("--allow-empty", command.planning.allow_empty)]
    {
        if given {
            let message = format!("`run` would do what `{flag}` says again and again");
            return Err(Failure::usage(message).hint(format!("use `streamkeeper apply {flag}` once")));
        }
    }
    // What is wrong with the config is said before anything begins.
    let config = Context::load(args)?.config.run;
    let flags = lanes(args, &config);
    let notifier = runtime.block_on(async { Notifier::start(&config) })?;
    let shared = Shared {
        notifier,
        board: Arc::new(Board::new(TOOL, Timestamp::now())),
        metrics: Arc::default(),
        hints: Arc::new(Hints::new(flags.iter().map(|(name, _)| &**name))),
    };
    let lane = |(name, args): (String, Args)| {
        let (leads, standing) = watch::channel(false);
        (
            Arc::new(Lane::new(&name, args, command.planning.clone(), &config, &shared, standing.clone())),
            leads,
            standing,
        )
    };
    let lanes: Vec<Led> = flags.into_iter().map(lane).collect();
    let listen = match command.listen {
        Some(address) if !address.ip().is_loopback() => {
            return Err(Failure::usage(format!("`--listen {address}` is no loopback address"))
                .hint("say so in the config, in `run.listen`, with `tokenFile` and a certificate"));
        }
        Some(address) => {
            Some(ListenConfig { address, token_file: None, certificate: None, key: None, plain_text: true })
        }
        None => config.listen.clone(),
    };
    let ended = runtime.block_on(serve(command, &config, listen.as_ref(), &shared, lanes));
    // What is left of them is sent.
    drop(traces);
    // A source that hangs is not waited for.
    runtime.shutdown_background();
    ended
}

/// A lane, with both ends of whether it leads.
type Led = (Arc<Lane>, watch::Sender<bool>, watch::Receiver<bool>);

/// Every source on every target, as the flags that would name them.
fn lanes(args: &Args, config: &RunConfig) -> Vec<(String, Args)> {
    let mut sources = Vec::new();
    for source in &config.sources {
        let args = Args {
            source: source.source.clone(),
            revision: source.revision.clone(),
            config: source.config.clone().or_else(|| args.config.clone().filter(|_| source.source.contains("://"))),
            namespace: source.namespace.clone().or_else(|| args.namespace.clone()),
            ..args.clone()
        };
        sources.push((source.name.clone(), args));
    }
    if sources.is_empty() {
        sources.push((String::new(), args.clone()));
    }
    let mut lanes = Vec::new();
    for (source, args) in sources {
        for target in &config.targets {
            let flags = Args {
                target: Some(Target::from(target.target)),
                context: target.context.clone(),
                kubeconfig: target.kubeconfig.clone().or_else(|| args.kubeconfig.clone()),
                store: target.store.as_ref().map(|store| store.join(&source)).or_else(|| args.store.clone()),
                ..args.clone()
            };
            lanes.push((format!("{source}@{}", target.name).trim_start_matches('@').to_owned(), flags));
        }
        if config.targets.is_empty() {
            lanes.push((if source.is_empty() { "main".to_owned() } else { source }, args));
        }
    }
    lanes
}

/// Runs all lanes until a signal says to stop.
async fn serve(
    command: &Run,
    config: &RunConfig,
    listen: Option<&ListenConfig>,
    shared: &Shared,
    lanes: Vec<Led>,
) -> Result<Exit, Failure> {
    let bells: BTreeMap<String, Arc<Bell>> =
        lanes.iter().map(|(lane, ..)| (lane.name().to_owned(), Arc::default())).collect();
    let server = match listen {
        None => None,
        Some(listen) => Some(bind(config, listen, shared, &bells).await?),
    };
    let signals = tokio::spawn(on_signals(bells.values().cloned().collect()));
    let mut tasks = JoinSet::new();
    let mut watchers = Vec::new();
    for (lane, leads, standing) in lanes {
        let bell = bells.get(lane.name()).cloned().unwrap_or_default();
        let mut pace = Pace { seed: seed(lane.name()), ..Pace::default() };
        let poll = command.poll.or(config.poll);
        pace.poll = poll.map(|poll| poll.duration().unsigned_abs()).or(pace.poll);
        pace.full = config.full.map_or(pace.full, |full| full.duration().unsigned_abs());
        let watched = lane.watched();
        if !watched.folders.is_empty() {
            pace.poll = None;
        }
        let (name, rung) = (lane.name().to_owned(), Arc::clone(&bell));
        let (ready, begun) = oneshot::channel();
        watchers.push(tokio::spawn(async move { watched.ring(&name, &rung, ready).await }));
        tasks.spawn(async move {
            // In a task of its own: a source that keeps the lane waiting does not keep the Lease from being renewed.
            let elector = Arc::clone(&lane);
            let elected = tokio::spawn(async move { elector.lead(leads).await });
            // A change that comes while the first pass reads is noticed.
            let _ = begun.await;
            keep_at_it(&lane, &pace, &bell, &standing).await;
            // Whoever stands for election does so until the lane has ended, and then gives back what it holds.
            drop(standing);
            lane.end();
            let _ = elected.await;
        });
    }
    let lanes = async {
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(|error| Failure::new(Exit::Failed, error))?;
        }
        Ok(Exit::Done)
    };
    let answer = async {
        match server {
            Some(server) => server.serve().await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        ended = lanes => ended,
        () = answer => Err(Failure::new(Exit::Failed, "the HTTP server has ended")),
    };
    signals.abort();
    watchers.iter().for_each(tokio::task::JoinHandle::abort);
    ended
}

/// Runs a lane until it is told to stop. What breaks in it, which is a defect of ours, is told, and it begins anew: the others
/// know nothing of it.
async fn keep_at_it(lane: &Arc<Lane>, pace: &Pace, bell: &Arc<Bell>, standing: &watch::Receiver<bool>) {
    loop {
        let (lane_, pace, bell, standing) = (Arc::clone(lane), pace.clone(), Arc::clone(bell), standing.clone());
        let running = tokio::spawn(async move {
            tokio::select! {
                () = daemon::run(&*lane_, Machine::new(pace), Arc::clone(&bell), standing, Timestamp::now) => {}
                () = lane_.watch(&bell) => {}
            }
        });
        match running.await {
            Ok(()) => return,
            Err(error) => lane.broke(&error.to_string()),
        }
        tokio::time::sleep(ANEW).await;
    }
}

/// Opens the server, with its secrets.
async fn bind(
    config: &RunConfig,
    listen: &ListenConfig,
    shared: &Shared,
    bells: &BTreeMap<String, Arc<Bell>>,
) -> Result<Server, Failure> {
    let token = listen.token_file.as_deref().map(secret).transpose()?;
    let mut webhooks = BTreeMap::new();
    for webhook in &config.webhooks {
        webhooks.insert(webhook.kind, secret(&webhook.secret_file)?);
    }
    let site = Site {
        board: Arc::clone(&shared.board),
        metrics: Arc::clone(&shared.metrics),
        bells: bells.clone(),
        hints: Arc::clone(&shared.hints),
        token,
        webhooks,
    };
    let tls = match (&listen.certificate, &listen.key) {
        (Some(certificate), Some(key)) => Some(tls(certificate, key)?),
        _ => None,
    };
    let failed = |error| Failure::new(Exit::Failed, format!("failed to listen at {}: {error}", listen.address));
    let server = Server::bind(site, listen.address, tls).await.map_err(failed)?;
    if let Some(address) = server.address() {
        tracing::info!(%address, "listens");
    }
    Ok(server)
}

/// The one line of a file that nobody else is to see.
fn secret(path: &Path) -> Result<SecretString, Failure> {
    let failed =
        |why: String| Failure::new(Exit::Failed, format!("failed to read the secret in `{}`: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let secret = text.trim_end_matches(['\n', '\r']);
    if secret.len() < 16 {
        return Err(failed("it has less than 16 characters".to_owned()));
    }
    Ok(SecretString::from(secret))
}

fn tls(certificate: &Path, key: &Path) -> Result<ServerConfig, Failure> {
    let failed = |path: &Path, why: String| {
        Failure::new(Exit::Failed, format!("failed to read the certificate or key in `{}`: {why}", path.display()))
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
    let chain = chain.map_err(|error| failed(certificate, error.to_string()))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| failed(key, error.to_string()))?;
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = builder.and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private));
    config.map_err(|error| failed(certificate, error.to_string()))
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
        if stop {
            // What hangs, as a source that is silent, does not keep the process: to end here is safe as well.
            tokio::spawn(async {
                tokio::time::sleep(GRACE).await;
                std::process::exit(1);
            });
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

/// After a signal to stop, steps under way have so long to end: less than the 30 seconds that Kubernetes gives.
const GRACE: std::time::Duration = std::time::Duration::from_secs(25);

/// A lane that has broken begins anew after so long.
const ANEW: std::time::Duration = std::time::Duration::from_secs(10);

/// Where log lines go, and how; and traces, where they are built in and somebody wants them: what is given back sends them.
fn log(format: LogFormat, console: &Console, runtime: &Runtime) -> Result<Option<impl Sized>, Failure> {
    // What libraries say on their way is theirs.
    let ours = Targets::new().with_target("streamkeeper", Level::INFO).with_default(Level::ERROR);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let lines: Box<dyn Layer<_> + Send + Sync> = match format {
        LogFormat::Text => lines.with_ansi(console.err_paint().color).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    #[cfg(feature = "otlp")]
    let (layer, traces) = crate::cli::traces::layer(runtime.handle())?.unzip();
    #[cfg(not(feature = "otlp"))]
    let (layer, traces) = {
        let _ = runtime;
        (None::<tracing_subscriber::layer::Identity>, None::<()>)
    };
    // A second one in the same process is not needed.
    let _ = tracing_subscriber::registry().with(lines.with_filter(ours)).with(layer).try_init();
    Ok(traces)
}
