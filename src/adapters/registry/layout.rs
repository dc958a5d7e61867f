//! OCI layout folders that stand in for a registry's host (OCI image layout specification).
//!
//! Two forms are in use: one folder for the host, whose index names `path:tag`; or a folder for each repository below it,
//! whose index names the tag alone, as `skopeo copy … oci:DIR:TAG` writes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;

use crate::openshift::{Digest, ImageReference, is_tag_name};
use crate::source::inert;

use super::wire::{self, Manifest};

const REF_NAME: &str = "org.opencontainers.image.ref.name";
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// A folder with an index, and how its index names the tags of one repository.
struct Layout {
    folder: PathBuf,
    prefixes: Vec<String>,
}

/// What an index names: digest and media type by name.
type Names = BTreeMap<String, (Digest, String)>;

/// The indexes that were read. A folder is taken to stand still for the life of a process, as a site's images do.
#[derive(Debug, Default)]
pub(super) struct Layouts {
    indexes: Mutex<BTreeMap<PathBuf, Arc<Names>>>,
}

impl Layouts {
    /// The manifest of a reference; none when the folder has no such tag or digest.
    pub(super) fn manifest(&self, folder: &Path, reference: &ImageReference) -> Result<Option<Manifest>, String> {
        let layout = Layout::find(folder, reference)?;
        if let Some(digest) = &reference.digest {
            return layout.blob(digest, None);
        }
        let names = self.names(&layout.folder)?;
        let found = layout.prefixes.iter().find_map(|prefix| names.get(&format!("{prefix}{}", reference.tag)));
        let Some((digest, media_type)) = found else { return Ok(None) };
        let missing = || format!("`{}` names {} and does not hold it", layout.folder.display(), digest.short());
        layout
            .blob(digest, Some(media_type.clone()).filter(|media_type| !media_type.is_empty()))?
            .ok_or_else(missing)
            .map(Some)
    }

    /// The tags of a repository.
    pub(super) fn tags(&self, folder: &Path, reference: &ImageReference) -> Result<Vec<String>, String> {
        let layout = Layout::find(folder, reference)?;
        let names = self.names(&layout.folder)?;
        let tag = |name: &String| {
            layout.prefixes.iter().find_map(|prefix| name.strip_prefix(prefix.as_str())).map(str::to_owned)
        };
        let tags: BTreeSet<String> = names.keys().filter_map(tag).filter(|tag| is_tag_name(tag)).collect();
        Ok(tags.into_iter().collect())
    }

    fn names(&self, folder: &Path) -> Result<Arc<Names>, String> {
        let mut indexes = self.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(names) = indexes.get(folder) {
            return Ok(Arc::clone(names));
        }
        let names = Arc::new(read_index(folder)?);
        indexes.insert(folder.to_owned(), Arc::clone(&names));
        Ok(names)
    }
}

/// The bytes of a blob, if the folder has it.
pub(super) fn blob(folder: &Path, reference: &ImageReference, digest: &Digest) -> Option<Vec<u8>> {
    let layout = Layout::find(folder, reference).ok()?;
    layout.blob(digest, Some(String::new())).ok().flatten().map(|blob| blob.bytes)
}

/// A blob of any size. Nobody has hashed it yet.
///
/// # Errors
///
/// In words, when the folder does not have it, or has something that is no file in its place.
pub(super) fn open(folder: &Path, reference: &ImageReference, digest: &Digest) -> Result<File, String> {
    let path = Layout::find(folder, reference)?.path(digest);
    let failed = |error: std::io::Error| format!("failed to read `{}`: {error}", path.display());
    if !std::fs::metadata(&path).map_err(failed)?.is_file() {
        return Err(format!("`{}` is no file", path.display()));
    }
    File::open(&path).map_err(failed)
}

/// What is read of an index: a field that is not needed may be missing, or anything.
#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default)]
    media_type: String,
    digest: String,
    #[serde(default)]
    annotations: Option<BTreeMap<String, serde_json::Value>>,
}

fn read_index(folder: &Path) -> Result<Names, String> {
    let path = folder.join("index.json");
    let bytes = std::fs::read(&path).map_err(|error| format!("failed to read `{}`: {error}", path.display()))?;
    let index: Index = serde_json::from_slice(&bytes)
        .map_err(|error| format!("`{}` is not an index: {}", path.display(), inert(&error.to_string(), 160)))?;
    let mut names = Names::new();
    for entry in index.manifests.unwrap_or_default() {
        let Some(digest) = Digest::parse(&entry.digest) else { continue };
        let annotations = entry.annotations.unwrap_or_default();
        for name in [REF_NAME, CONTAINERD_NAME].iter().filter_map(|key| annotations.get(*key)?.as_str()) {
            names.insert(name.to_owned(), (digest.clone(), entry.media_type.clone()));
        }
    }
    Ok(names)
}

impl Layout {
    fn find(folder: &Path, reference: &ImageReference) -> Result<Self, String> {
        let path = reference.path();
        let own = folder.join(&path);
        if own.join("oci-layout").is_file() {
            return Ok(Self { folder: own, prefixes: vec![String::new()] });
        }
        if !folder.join("oci-layout").is_file() {
            return Err(format!("`{}` is not an OCI layout folder (no `oci-layout` in it)", folder.display()));
        }
        let prefixes = vec![format!("{}/{path}:", reference.registry), format!("{path}:")];
        Ok(Self { folder: folder.to_owned(), prefixes })
    }

    /// A digest is checked when it is made: algorithm and hex digits, no way out of the folder.
    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join("blobs").join(digest.as_str().split(':').next().unwrap_or_default()).join(digest.hex())
    }

    fn blob(&self, digest: &Digest, media_type: Option<String>) -> Result<Option<Manifest>, String> {
        let path = self.path(digest);
        let size = match std::fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("failed to read `{}`: {error}", path.display())),
        };
        if size > wire::MANIFEST_LIMIT as u64 {
            return Err(format!("`{}` is larger than a manifest may be", path.display()));
        }
        let bytes = std::fs::read(&path).map_err(|error| format!("failed to read `{}`: {error}", path.display()))?;
        if wire::digest_of(&bytes) != *digest {
            return Err(format!("`{}` does not have the digest it is named by", path.display()));
        }
        let media_type = media_type.or_else(|| wire::guess_media_type(&bytes)).unwrap_or_default();
        Ok(Some(Manifest { digest: digest.clone(), media_type, bytes }))
    }
}
