//! What an image is, read from its manifest and config: no layer is looked into.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::openshift::Digest;

use super::live::{Observed, PlatformImage};

/// What is known of the image, or the list of images, that a digest names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageFacts {
    /// What was asked for.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// The images of a list, in its order, attestations among them; empty for a single image.
    pub images: Vec<PlatformImage>,
    /// Annotations of the manifest or list.
    pub annotations: BTreeMap<String, String>,
    /// The image itself; of a list, the one for the platform that was asked for, if it has one.
    pub image: Option<ImageConfig>,
    /// The image with the most layers that is known and that it is made from, as it was pulled.
    pub base: Option<String>,
}

/// What others have attached to an image, in one repository: the same image elsewhere may lack it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Whether somebody has signed it.
    pub signed: Observed<bool>,
    /// Whether somebody says how it was made.
    pub attested: Observed<bool>,
}

/// The packages that an image has installed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packages {
    /// Who keeps lists of them: `apk`, `dpkg`, `rpm`. Empty: nobody does.
    pub databases: BTreeSet<String>,
    /// Versions by name; some are there in several.
    pub installed: BTreeMap<String, BTreeSet<String>>,
}

/// What an image's config says, and its layers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// Digest of its manifest; of a list, of the image that was chosen.
    pub digest: String,
    /// `linux`.
    pub os: String,
    /// `amd64`.
    pub architecture: String,
    /// When it was made, as it says.
    pub created: Option<Timestamp>,
    /// Who its processes run as: empty means root.
    pub user: String,
    /// What is run.
    pub entrypoint: Vec<String>,
    /// Its arguments.
    pub command: Vec<String>,
    /// Where.
    pub working_dir: String,
    /// Environment. Not for output: values may be secrets.
    pub env: BTreeMap<String, String>,
    /// Such as `8080/tcp`.
    pub ports: BTreeSet<String>,
    /// Paths of volumes.
    pub volumes: BTreeSet<String>,
    /// Such as `SIGTERM`.
    pub stop_signal: String,
    /// The command of the health check, as it is written.
    pub health_check: String,
    /// Labels. Not for output as they are: values may be secrets.
    pub labels: BTreeMap<String, String>,
    /// The lowest first.
    pub layers: Vec<LayerFacts>,
}

/// A layer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayerFacts {
    /// Its digest.
    pub digest: String,
    /// Bytes, compressed.
    pub size: u64,
    /// The command that made it, if the image says so.
    pub command: String,
}

impl ImageConfig {
    /// Bytes of all layers, compressed.
    pub fn size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).fold(0, u64::saturating_add)
    }

    /// Whether its processes run as root, as far as it says.
    pub fn is_root(&self) -> bool {
        let user = self.user.split(':').next().unwrap_or_default();
        matches!(user, "" | "root" | "0")
    }
}
