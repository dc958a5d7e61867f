//! From the config to registries.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;

use crate::adapters::cluster::{Cluster, Resolver};
use crate::adapters::registry::{
    AllowedRegistry, Credentials, HostConfig, Mirror, Mirrors, Registries, Rule, Settings, read_mirrors,
};
use crate::adapters::store::Cache;
use crate::config::{Config, MirrorSourcePolicy, RegistryConfig};
use crate::model::{Attached, Desired, ImageFacts, Observed, Packages, Question, Resolution, Tally};
use crate::observe;
use crate::openshift::Digest;
use crate::ports::Registry;

use super::args::Resolve;
use super::console::Console;
use super::failure::Failure;
use super::target::Live;

/// Registries as the config has them, with the logins that it and the user's files have. Where somebody waits at the console, what is
/// kept back of quotas may be used too.
fn open(config: &Config, cache: Arc<Cache>, console: &Console, more: Credentials) -> Result<Registries, Failure> {
    let allowed = config.policy.allowed_registries_for_import.iter();
    let settings = Settings {
        hosts: config.registries.iter().map(|registry| (registry.host.clone(), host(registry))).collect(),
        mirrors: mirrors(config)?,
        allowed: allowed
            .map(|allowed| AllowedRegistry { domain: allowed.domain_name.clone(), insecure: allowed.insecure })
            .collect(),
        blocked: config.policy.blocked_registries.clone(),
        person_waits: console.can_ask(),
    };
    let mut credentials = Credentials::default();
    for path in &config.credentials {
        credentials = credentials.and(Credentials::from_file(path)?);
    }
    let credentials = credentials.and(Credentials::of_user()?);
    credentials.broken().iter().for_each(|broken| console.say(broken));
    Ok(Registries::new(settings, credentials.and(more), cache))
}

/// What upstream tags are asked of: registries, or the cluster in their place.
pub(super) async fn upstreams<'a>(
    resolve: Resolve,
    config: &Config,
    live: &'a Live,
    cache: &Arc<Cache>,
    desired: &Desired,
    console: &Console,
) -> Result<Upstreams<'a>, Failure> {
    Ok(match (resolve, live) {
        (Resolve::Registries, _) => {
            let more = match live {
                Live::Cluster(cluster) if config.pull_secrets => pull_secrets(cluster, desired, console).await,
                Live::Cluster(_) | Live::Store(_) => Credentials::default(),
            };
            Upstreams::Registries(Box::new(open(config, Arc::clone(cache), console, more)?))
        }
        (Resolve::Cluster, Live::Cluster(cluster)) => {
            Upstreams::Cluster(cluster.resolver(observe::asking_namespaces(desired)))
        }
        (Resolve::Cluster, Live::Store(_)) => {
            return Err(Failure::usage("`--resolve cluster` without a cluster")
                .hint("name one with `--target openshift` or `--context`"));
        }
    })
}

/// What upstream tags are asked of.
pub(super) enum Upstreams<'a> {
    /// The registries.
    Registries(Box<Registries>),
    /// The cluster, in their place.
    Cluster(Resolver<'a>),
}

impl Registry for Upstreams<'_> {
    async fn resolve(&self, question: &Question) -> Observed<Resolution> {
        match self {
            Self::Registries(registries) => registries.resolve(question).await,
            Self::Cluster(cluster) => cluster.resolve(question).await,
        }
    }

    async fn fetch(&self, image: &Question) -> Observed<()> {
        match self {
            Self::Registries(registries) => registries.fetch(image).await,
            Self::Cluster(cluster) => cluster.fetch(image).await,
        }
    }

    fn known(&self, digest: &Digest) -> Option<Resolution> {
        match self {
            Self::Registries(registries) => registries.known(digest),
            Self::Cluster(cluster) => cluster.known(digest),
        }
    }

    fn forbids(&self, question: &Question) -> Option<String> {
        match self {
            Self::Registries(registries) => registries.forbids(question),
            // The server has rules of its own.
            Self::Cluster(_) => None,
        }
    }

    async fn tags(&self, repository: &Question) -> Observed<Vec<String>> {
        match self {
            Self::Registries(registries) => registries.tags(repository).await,
            Self::Cluster(cluster) => cluster.tags(repository).await,
        }
    }

    async fn image(&self, image: &Question, platform: (&str, &str)) -> Observed<ImageFacts> {
        match self {
            Self::Registries(registries) => registries.image(image, platform).await,
            Self::Cluster(cluster) => cluster.image(image, platform).await,
        }
    }

    fn base(&self, image: &ImageFacts) -> Option<String> {
        match self {
            Self::Registries(registries) => registries.base(image),
            Self::Cluster(cluster) => cluster.base(image),
        }
    }

    async fn attached(&self, image: &Question) -> Attached {
        match self {
            Self::Registries(registries) => registries.attached(image).await,
            Self::Cluster(cluster) => cluster.attached(image).await,
        }
    }

    async fn packages(&self, image: &Question) -> Observed<Packages> {
        match self {
            Self::Registries(registries) => registries.packages(image).await,
            Self::Cluster(cluster) => cluster.packages(image).await,
        }
    }

    fn tally(&self) -> Tally {
        match self {
            Self::Registries(registries) => registries.tally(),
            Self::Cluster(cluster) => cluster.tally(),
        }
    }
}

/// The pull secrets of the namespaces that streams are in, each for what is asked for its own; what cannot be read is said.
async fn pull_secrets(cluster: &Cluster, desired: &Desired, console: &Console) -> Credentials {
    let namespaces: BTreeSet<String> = desired.streams.keys().map(|id| id.namespace.clone()).collect();
    let mut all = Credentials::default();
    let ask = |namespace: String| async move {
        let answer = cluster.pull_secrets(&namespace).await;
        (namespace, answer)
    };
    let answers: Vec<_> = futures::stream::iter(namespaces).map(ask).buffered(16).collect().await;
    for (namespace, answer) in answers {
        match answer {
            Ok(bytes) => match Credentials::of_secrets(&bytes) {
                Ok((credentials, broken)) => {
                    all = all.with_secrets_of(namespace.clone(), &credentials);
                    let broken = broken.into_iter().chain(credentials.broken());
                    broken.for_each(|broken| console.say(&format!("namespace {namespace}: {broken}")));
                }
                Err(why) => console.say(&format!("pull secrets of {namespace}: {why}")),
            },
            Err(ignorance) => console.say(&ignorance.to_string()),
        }
    }
    all
}

fn host(registry: &RegistryConfig) -> HostConfig {
    HostConfig {
        layout: registry.layout.clone(),
        insecure: registry.insecure,
        private: registry.private,
        token_service: registry.token_service.clone(),
        ca: registry.ca.clone(),
        client_certificate: registry.client_certificate.clone().zip(registry.client_key.clone()),
        concurrency: registry.concurrency,
        rate: registry.requests_per_second,
        timeout: registry.timeout.map(|timeout| Duration::try_from(timeout.duration()).unwrap_or_default()),
    }
}

fn mirrors(config: &Config) -> Result<Mirrors, Failure> {
    let wrong = |why: String| Failure::refused(format!("`mirrors` in the config: {why}"));
    let mut mirrors = Mirrors::default();
    for mirror in &config.mirrors {
        let mirror_at = |location: &String| Mirror { location: location.clone(), pulls: mirror.pull, insecure: false };
        let rule = Rule {
            mirrors: mirror.mirrors.iter().map(mirror_at).collect(),
            never_source: mirror.mirror_source_policy == MirrorSourcePolicy::NeverContactSource,
            ..Rule::default()
        };
        mirrors.add(&mirror.source, rule).map_err(wrong)?;
    }
    for path in &config.mirror_files {
        mirrors = mirrors.and(read_mirrors(path)?).map_err(wrong)?;
    }
    Ok(mirrors)
}
