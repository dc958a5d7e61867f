//! HTTP clients, one for each way in which hosts are trusted: that is also one pool of connections each.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::{Certificate, Client, Identity};

use crate::adapters::lock;

use super::HostConfig;
use super::address::{self, Guard};

/// A registry that has not begun to answer by then is down for us.
const SILENCE: Duration = Duration::from_secs(30);
/// A whole answer, in times of the silence that is allowed: a registry that drips is down for us as well.
const WHOLE: u32 = 4;
const CONNECT: Duration = Duration::from_secs(10);

/// What a client depends on.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Profile {
    verified: bool,
    private: bool,
    ca: Option<PathBuf>,
    client_certificate: Option<(PathBuf, PathBuf)>,
    silence: Duration,
    /// Answers are left as they are packed: so layers are, whatever a header says of them.
    raw: bool,
}

/// Clients by how hosts are trusted, made when they are first needed.
pub(super) struct Clients {
    made: Mutex<BTreeMap<Profile, Client>>,
    proxies: Arc<BTreeSet<String>>,
}

impl Clients {
    pub(super) fn new() -> Self {
        crate::adapters::use_ring();
        Self { made: Mutex::default(), proxies: Arc::new(address::proxies()) }
    }

    /// Whether a host is a proxy that the environment names.
    pub(super) fn is_proxy(&self, host: &str) -> bool {
        self.proxies.contains(host)
    }

    /// The client for a host, whose certificate is verified or not.
    ///
    /// # Errors
    ///
    /// When a file that the config names cannot be used, or there are no root certificates. In words, with what to do.
    pub(super) fn get(&self, host: &HostConfig, verified: bool, raw: bool) -> Result<Client, String> {
        let profile = Profile {
            verified,
            private: host.private,
            ca: host.ca.clone(),
            client_certificate: host.client_certificate.clone(),
            silence: host.timeout.unwrap_or(SILENCE),
            raw,
        };
        let mut made = lock(&self.made);
        if let Some(client) = made.get(&profile) {
            return Ok(client.clone());
        }
        let client = self.make(&profile)?;
        made.insert(profile, client.clone());
        Ok(client)
    }

    fn make(&self, profile: &Profile) -> Result<Client, String> {
        let Profile { verified, private, ca, client_certificate, silence, raw } = profile;
        let mut builder = Client::builder()
            .user_agent(concat!("streamkeeper/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT.min(*silence))
            .read_timeout(*silence)
            .timeout(*silence * WHOLE)
            // Hops are made one by one: each is looked at, and none takes a login along.
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .dns_resolver(Guard { private: *private, proxies: Arc::clone(&self.proxies) });
        if *raw {
            builder = builder.no_gzip();
        }
        if !verified {
            builder = builder.tls_danger_accept_invalid_certs(true);
        }
        if let Some(path) = ca {
            let certificates = Certificate::from_pem_bundle(&read(path)?).map_err(|_| unusable(path))?;
            if certificates.is_empty() {
                return Err(unusable(path));
            }
            builder = builder.tls_certs_merge(certificates);
        }
        if let Some((certificate, key)) = client_certificate {
            let mut pem = read(key)?;
            pem.push(b'\n');
            pem.extend(read(certificate)?);
            builder = builder.identity(Identity::from_pem(&pem).map_err(|_| unusable(certificate))?);
        }
        builder.build().map_err(|error| format!("no client can be made: {}", crate::source::chain(&error)))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("failed to read `{}`: {error}", path.display()))
}

fn unusable(path: &Path) -> String {
    format!("`{}` holds nothing in PEM form that can be used", path.display())
}
