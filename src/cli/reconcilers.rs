//! What `run` runs: every source on every target of a config, as the flags that would name them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{ListenConfig, RunConfig, TargetConfig};
use crate::controller::Bells;
use crate::source::is_url;

use super::args::{Args, Planning, Run};
use super::console::Console;
use super::failure::Failure;
use super::opener::{Flags, Held};
use super::settings;
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
            config: source.config.clone().or_else(|| args.config.clone().filter(|_| is_url(&source.source))),
            namespace: source.namespace.clone().or_else(|| args.namespace.clone()),
            trusted: source.trusted,
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

/// Refuses two reconcilers that would manage the same target as the same field manager, or write the same store: each would take away
/// what the other one has put there.
pub(super) fn check_owners(hosts: &[(String, Flags)]) -> Result<(), Failure> {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for (name, flags) in hosts {
        // A config that is not known yet is checked when it is: by the Lease, and by what each stream says of its source.
        let Ok(settings) = settings::load(&flags.args, &flags.options) else { continue };
        let Args { context, kubeconfig, impersonate, .. } = &flags.args;
        let what = match settings::target(&flags.args, &settings.config) {
            TargetConfig::Store => {
                let store = settings.store.as_ref().and_then(|store| std::path::absolute(store).ok());
                let Some(store) = store else { continue };
                format!("the store `{}`", store.display())
            }
            _ => {
                let cluster = (context, kubeconfig.as_ref().map(|path| path.display().to_string()), impersonate);
                let cluster = match cluster {
                    (None, None, None) => "the cluster".to_owned(),
                    (context, kubeconfig, user) => {
                        let parts = [context.clone(), kubeconfig, user.clone()];
                        format!("the cluster `{}`", parts.into_iter().flatten().collect::<Vec<_>>().join("`, `"))
                    }
                };
                format!("{cluster} as the field manager `{}`", settings.manager())
            }
        };
        if let Some(other) = seen.insert(what.clone(), name) {
            let message = format!("`{other}` and `{name}` would both manage {what}");
            return Err(Failure::refused(message).hint(
                "give each source a `fieldManager` of its own in its config, or leave `fieldManager` out; give each a store of its own",
            ));
        }
    }
    Ok(())
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
            let (token_file, certificate, key) = (None, None, None);
            Ok(Some(ListenConfig { address, health: None, token_file, certificate, key, plain_text: true }))
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
