//! What `run` runs: every source on every target of a config, as the flags that would name them.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{ListenConfig, RunConfig};
use crate::controller::Bells;

use super::args::{Args, Planning, Run};
use super::console::Console;
use super::failure::Failure;
use super::opener::{Flags, Held};
use super::signals::{self, Heard};

/// After a signal to stop, steps under way have so long to end: less than the 30 seconds that Kubernetes gives.
const GRACE: Duration = Duration::from_secs(25);

/// A name and a host for each reconciler.
pub(super) fn hosts(args: &Args, planning: &Planning, config: &RunConfig) -> Vec<(String, Flags)> {
    let console = Console::new(args.color, true);
    let host = |(name, args): (String, Args)| {
        let held = Held { informer: Arc::default(), writer: Arc::default(), lease: config.lease.clone() };
        (name, Flags { held: Some(held), ..Flags::planning(&args, planning, &console) })
    };
    flags(args, config).into_iter().map(host).collect()
}

fn flags(args: &Args, config: &RunConfig) -> Vec<(String, Args)> {
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
    let mut all = Vec::new();
    for (source, args) in sources {
        for target in &config.targets {
            let flags = Args {
                target: Some(target.target),
                context: target.context.clone(),
                kubeconfig: target.kubeconfig.clone().or_else(|| args.kubeconfig.clone()),
                store: target.store.as_ref().map(|store| store.join(&source)).or_else(|| args.store.clone()),
                ..args.clone()
            };
            all.push((format!("{source}@{}", target.name).trim_start_matches('@').to_owned(), flags));
        }
        if config.targets.is_empty() {
            all.push((if source.is_empty() { "main".to_owned() } else { source }, args));
        }
    }
    all
}

/// Refuses flags whose effect would be repeated in every pass.
pub(super) fn check(planning: &Planning) -> Result<(), Failure> {
    for (flag, given) in [("--refresh", planning.refresh.is_some()), ("--allow-empty", planning.allow_empty)] {
        if given {
            let message = format!("`run` would do what `{flag}` says again and again");
            return Err(Failure::usage(message).hint(format!("use `streamkeeper apply {flag}` once")));
        }
    }
    Ok(())
}

/// Where the server listens: `--listen` is for this machine alone, the config may say more.
pub(super) fn listen(command: &Run, config: &RunConfig) -> Result<Option<ListenConfig>, Failure> {
    match command.listen {
        Some(address) if !address.ip().is_loopback() => {
            Err(Failure::usage(format!("`--listen {address}` is no loopback address"))
                .hint("say so in the config, in `run.listen`, with `tokenFile` and a certificate"))
        }
        Some(address) => {
            Ok(Some(ListenConfig { address, token_file: None, certificate: None, key: None, plain_text: true }))
        }
        None => Ok(config.listen.clone()),
    }
}

/// A signal to stop ends all reconcilers; SIGHUP looks at once.
pub(super) async fn stop_on_signal(bells: Bells) {
    let heard = move |what| match what {
        Heard::Look => bells.look(),
        Heard::Stop => {
            bells.stop();
            // What hangs, as a source that is silent, does not keep the process: to end here is safe as well.
            tokio::spawn(async {
                tokio::time::sleep(GRACE).await;
                std::process::exit(1);
            });
        }
    };
    signals::listen(true, heard).await;
}
