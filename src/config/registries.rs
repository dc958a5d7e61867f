//! What the config says of registries.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Interval;
use crate::model::MirrorPulls;

/// How a host is treated.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegistryConfig {
    /// `host[:port]` as it stands in image references; `*` stands for a label or a part of one, as in `*.example.com`.
    pub host: String,
    /// OCI layout folder to read in its place, relative to this file.
    #[serde(default)]
    pub layout: Option<PathBuf>,
    /// TLS need not be verified, plain http is a fallback, and logins may travel like that.
    #[serde(default)]
    pub insecure: bool,
    /// It is on this machine or on a private network. Without this, such addresses are refused.
    #[serde(default)]
    pub private: bool,
    /// Host of the token service that may be given this registry's login, if it is another one.
    #[serde(default)]
    pub token_service: Option<String>,
    /// PEM file of certificates that may sign the host's, besides the system's; relative to this file.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// PEM file of a certificate to show to the host, relative to this file.
    #[serde(default)]
    pub client_certificate: Option<PathBuf>,
    /// PEM file of its key, relative to this file.
    #[serde(default)]
    pub client_key: Option<PathBuf>,
    /// Requests under way at once; 16 when it is not given.
    #[serde(default)]
    #[schemars(range(min = 1, max = 256))]
    pub concurrency: Option<usize>,
    /// Requests a second; as many as there are answers when it is not given.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1000))]
    pub requests_per_second: Option<u32>,
    /// For how long an answer may keep silent; 30 seconds when it is not given.
    #[serde(default)]
    pub timeout: Option<Interval>,
}

/// Who answers in a registry's place.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MirrorConfig {
    /// `host`, `host/path` or `*.host` as it stands in image references; the longest that fits counts.
    pub source: String,
    /// `host` or `host/path` in its place, asked in this order.
    pub mirrors: Vec<String>,
    /// What the mirrors are asked for.
    #[serde(default)]
    pub pull: MirrorPulls,
    /// Whether the source is asked where no mirror has an answer.
    #[serde(default)]
    pub mirror_source_policy: MirrorSourcePolicy,
}

/// Whether a source is asked besides its mirrors, in OpenShift's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MirrorSourcePolicy {
    /// It is, last.
    #[default]
    AllowContactingSource,
    /// It is not.
    NeverContactSource,
}

/// A registry that images may be imported from, in OpenShift's words.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AllowedRegistryConfig {
    /// `host` or `host:port`, with `*` and `?`.
    pub domain_name: String,
    /// Without a port: 80 instead of 443.
    #[serde(default)]
    pub insecure: bool,
}

impl RegistryConfig {
    /// Makes its layout relative to a folder.
    pub(super) fn place(&mut self, folder: &Path) {
        self.layout = self.layout.take().map(|path| folder.join(path));
    }

    /// The files that it names.
    pub(super) fn files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        [&mut self.ca, &mut self.client_certificate, &mut self.client_key].into_iter().flatten()
    }

    /// What of it contradicts itself.
    pub(super) fn check(&self) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("`{}` under `registries` {what}", crate::source::inert(&self.host, 120)));
        if self.host.is_empty() || self.host.contains(['/', '@', ' ']) {
            return wrong("is no `host[:port]`");
        }
        if self.client_certificate.is_some() != self.client_key.is_some() {
            return wrong("needs both of `clientCertificate` and `clientKey`");
        }
        if self.concurrency.is_some_and(|number| !(1..=256).contains(&number)) {
            return wrong("has a `concurrency` that is not between 1 and 256");
        }
        if self.requests_per_second.is_some_and(|number| !(1..=1000).contains(&number)) {
            return wrong("has a `requestsPerSecond` that is not between 1 and 1000");
        }
        Ok(())
    }
}
