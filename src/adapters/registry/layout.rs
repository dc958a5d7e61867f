//! OCI layout folders that stand in for a registry's host (OCI image layout specification).
//!
//! Two forms are in use: one folder for the host, whose index names `path:tag`; or a folder for each repository below it,
//! whose index names the tag alone, as `skopeo copy … oci:DIR:TAG` writes them.

use std::path::{Path, PathBuf};

use oci_client::manifest::OciImageIndex;

use crate::model::{Digest, ImageReference};
use crate::text::inert;

use super::wire::{self, Manifest};

const REF_NAME: &str = "org.opencontainers.image.ref.name";
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// A folder with an index, and how its index names the tags of one repository.
struct Layout {
    folder: PathBuf,
    prefixes: Vec<String>,
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

    /// Tags of the repository with the digests they stand for.
    fn tags(&self) -> Result<Vec<(String, Digest, String)>, String> {
        let path = self.folder.join("index.json");
        let bytes = std::fs::read(&path).map_err(|error| format!("failed to read `{}`: {error}", path.display()))?;
        let index: OciImageIndex = serde_json::from_slice(&bytes)
            .map_err(|error| format!("`{}` is not an index: {}", path.display(), inert(&error.to_string(), 160)))?;
        let mut tags = Vec::new();
        for entry in index.manifests {
            let annotations = entry.annotations.unwrap_or_default();
            let names = [REF_NAME, CONTAINERD_NAME].iter().filter_map(|key| annotations.get(*key));
            let tag = names
                .flat_map(|name| self.prefixes.iter().filter_map(move |prefix| name.strip_prefix(prefix.as_str())))
                .next();
            if let (Some(tag), Some(digest)) = (tag, Digest::parse(&entry.digest)) {
                tags.push((tag.to_owned(), digest, entry.media_type.clone()));
            }
        }
        Ok(tags)
    }

    fn blob(&self, digest: &Digest, media_type: Option<String>) -> Result<Option<Manifest>, String> {
        // A digest is checked when it is made: algorithm and hex digits, no way out of the folder.
        let path =
            self.folder.join("blobs").join(digest.as_str().split(':').next().unwrap_or_default()).join(digest.hex());
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

/// The manifest of a reference; none when the folder has no such tag or digest.
pub(super) fn manifest(folder: &Path, reference: &ImageReference) -> Result<Option<Manifest>, String> {
    let layout = Layout::find(folder, reference)?;
    if let Some(digest) = &reference.digest {
        return layout.blob(digest, None);
    }
    let Some((_, digest, media_type)) = layout.tags()?.into_iter().find(|(tag, ..)| *tag == reference.tag) else {
        return Ok(None);
    };
    let missing = || format!("`{}` names {} and does not hold it", layout.folder.display(), digest.short());
    layout.blob(&digest, Some(media_type))?.ok_or_else(missing).map(Some)
}

/// The tags of a repository.
pub(super) fn tags(folder: &Path, reference: &ImageReference) -> Result<Vec<String>, String> {
    Ok(Layout::find(folder, reference)?.tags()?.into_iter().map(|(tag, ..)| tag).collect())
}
