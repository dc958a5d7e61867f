//! From the config to registries.

use std::sync::Arc;
use std::time::Duration;

use crate::adapters::registry::{
    AllowedRegistry, Credentials, HostConfig, Mirror, Mirrors, Pulls, Registries, Rule, Settings, read_mirrors,
};
use crate::adapters::store::Cache;
use crate::config::{Config, MirrorSourcePolicy, PullConfig, RegistryConfig};

use super::failure::{Exit, Failure};

/// Registries as the config has them, with the logins that it and the user's files have. `person_waits`: then what is kept
/// back of quotas may be used too.
pub(super) fn open(config: &Config, cache: Arc<Cache>, person_waits: bool) -> Result<Registries, Failure> {
    let allowed = config.policy.allowed_registries_for_import.iter();
    let settings = Settings {
        hosts: config.registries.iter().map(|registry| (registry.host.clone(), host(registry))).collect(),
        mirrors: mirrors(config)?,
        allowed: allowed
            .map(|allowed| AllowedRegistry { domain: allowed.domain_name.clone(), insecure: allowed.insecure })
            .collect(),
        blocked: config.policy.blocked_registries.clone(),
        person_waits,
    };
    let mut credentials = Credentials::default();
    for path in &config.credentials {
        credentials = credentials.and(Credentials::from_file(path)?);
    }
    Ok(Registries::new(settings, credentials.and(Credentials::of_user()?), cache))
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
    let wrong = |why: String| Failure::new(Exit::Refused, format!("`mirrors` in the config: {why}"));
    let mut mirrors = Mirrors::default();
    for mirror in &config.mirrors {
        let pulls = match mirror.pull {
            PullConfig::All => Pulls::All,
            PullConfig::Digests => Pulls::Digests,
            PullConfig::Tags => Pulls::Tags,
        };
        let mirror_at = |location: &String| Mirror { location: location.clone(), pulls, insecure: false };
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

/// The first field of a config that only somebody who has this machine may give: nobody who proposes a change to a source
/// chooses its files, its private network, or whom it trusts.
pub(super) fn reaching(config: &Config) -> Option<&'static str> {
    let fields = [
        ("credentials", !config.credentials.is_empty()),
        ("mirrorFiles", !config.mirror_files.is_empty()),
        ("mirrors", !config.mirrors.is_empty()),
        ("registries", config.registries.iter().any(RegistryConfig::reaches)),
        ("store", config.store.is_some()),
        ("target", config.target.is_some()),
    ];
    fields.into_iter().find(|(_, reaches)| *reaches).map(|(field, _)| field)
}
