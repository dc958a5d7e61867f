//! What references are now, asked of registries and of OCI layout folders.
//!
//! `wire` is pure (what is asked, how answers are read), `http` asks, `auth` knows who may be told what, `layout` reads
//! folders that stand in for a host. Rules of the house: HEAD first, GET only for a digest never seen; every byte hashed
//! before it is parsed; a credential reaches only the host it is for; no answer is ever taken for "no".
//! `oci-client` gives the manifest types. Its client is not used: it hides response headers, sends a GET after a refused
//! HEAD, keeps the first credential of a host for its whole life and reads bodies without a limit.
//! Tests: beside the code, `tests/it/registry.rs`.

mod auth;
mod http;
mod layout;
mod wire;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::model::{Cause, Digest, Ignorance, ImageReference, Observed, Question, Resolution};
use crate::ports::{PortError, Registry};

pub use auth::Credentials;

/// How the config wants a host treated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostConfig {
    /// Read this OCI layout folder instead of asking the host.
    pub layout: Option<PathBuf>,
    /// TLS need not be verified, plain http is a fallback.
    pub insecure: bool,
    /// The config says so, not only a definition: then credentials may travel like that.
    pub insecure_by_config: bool,
    /// Host of the token service that may be given this registry's credentials, besides the registry itself.
    pub token_service: Option<String>,
}

/// Keeps manifests and image configs by digest. What comes out is checked again.
pub trait ContentCache: Send + Sync {
    /// Media type and bytes.
    fn get(&self, digest: &Digest) -> Option<(String, Vec<u8>)>;

    /// Keeps them.
    fn put(&self, digest: &Digest, media_type: &str, bytes: &[u8]);
}

/// All registries and layout folders there are.
pub struct Registries {
    hosts: BTreeMap<String, HostConfig>,
    http: http::Http,
    layouts: layout::Layouts,
    cache: Arc<dyn ContentCache>,
}

impl Registries {
    /// Hosts as the config has them, credentials, a cache.
    ///
    /// # Errors
    ///
    /// When no HTTP client can be made, as without any root certificates.
    pub fn new(
        hosts: BTreeMap<String, HostConfig>,
        credentials: Credentials,
        cache: Arc<dyn ContentCache>,
    ) -> Result<Self, PortError> {
        Ok(Self { hosts, http: http::Http::new(credentials)?, layouts: layout::Layouts::default(), cache })
    }

    fn host(&self, question: &Question) -> HostConfig {
        let mut config = self.hosts.get(&question.reference.registry).cloned().unwrap_or_default();
        config.insecure |= question.insecure;
        config
    }

    /// What a manifest resolves to, from the cache if it is there.
    fn known(&self, digest: &Digest) -> Option<Resolution> {
        let (media_type, bytes) = self.cache.get(digest)?;
        if wire::digest_of(&bytes) != *digest {
            return None;
        }
        wire::resolution(digest.clone(), &media_type, &bytes).ok()
    }

    /// Keeps the config of a new image as well: what `describe` shows of it. The manifest is what counts, so a config that
    /// cannot be had is asked for again with the next image of that digest, and nobody is told.
    async fn learn_config(&self, reference: &ImageReference, host: &HostConfig, manifest: &wire::Manifest) {
        let Some((digest, media_type)) = wire::config_of(&manifest.bytes) else { return };
        if self.cache.get(&digest).is_some() {
            return;
        }
        let bytes = match &host.layout {
            Some(folder) => layout::blob(folder, reference, &digest),
            None => self.http.blob(reference, host, &digest).await,
        };
        if let Some(bytes) = bytes.filter(|bytes| wire::digest_of(bytes) == digest) {
            self.cache.put(&digest, &media_type, &bytes);
        }
    }

    fn learn(&self, asked: &str, manifest: &wire::Manifest) -> Observed<Resolution> {
        match wire::resolution(manifest.digest.clone(), &manifest.media_type, &manifest.bytes) {
            Ok(resolution) => {
                self.cache.put(&manifest.digest, &manifest.media_type, &manifest.bytes);
                Observed::Known(resolution)
            }
            Err(detail) => Observed::Unknown(Ignorance { asked: asked.to_owned(), cause: Cause::BadAnswer, detail }),
        }
    }
}

impl Registry for Registries {
    async fn resolve(&self, question: &Question) -> Observed<Resolution> {
        let asked = question.reference.to_string();
        let host = self.host(question);
        if let Some(folder) = &host.layout {
            return match self.layouts.manifest(folder, &question.reference) {
                Ok(Some(manifest)) => {
                    self.learn_config(&question.reference, &host, &manifest).await;
                    self.learn(&asked, &manifest)
                }
                Ok(None) => Observed::Absent,
                Err(detail) => Observed::Unknown(Ignorance { asked, cause: Cause::Unreadable, detail }),
            };
        }
        let head = match self.http.head(&question.reference, &host).await {
            Observed::Known(head) => head,
            Observed::Absent => return Observed::Absent,
            Observed::Unknown(ignorance) => return Observed::Unknown(ignorance),
        };
        // What HEAD says is a hint: only bytes prove a digest. That this repository has it, only HEAD can say.
        if let Some(known) = head.and_then(|digest| self.known(&digest)) {
            return Observed::Known(known);
        }
        match self.http.get(&question.reference, &host).await {
            Observed::Known(manifest) => {
                self.learn_config(&question.reference, &host, &manifest).await;
                self.learn(&asked, &manifest)
            }
            Observed::Absent => Observed::Absent,
            Observed::Unknown(ignorance) => Observed::Unknown(ignorance),
        }
    }

    async fn tags(&self, repository: &Question) -> Observed<Vec<String>> {
        let host = self.host(repository);
        match &host.layout {
            Some(folder) => match self.layouts.tags(folder, &repository.reference) {
                Ok(tags) => Observed::Known(tags),
                Err(detail) => {
                    let asked = repository.reference.repository();
                    Observed::Unknown(Ignorance { asked, cause: Cause::Unreadable, detail })
                }
            },
            None => self.http.tags(&repository.reference, &host).await,
        }
    }
}
