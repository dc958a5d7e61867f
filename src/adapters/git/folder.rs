//! A folder as it lies there, in a work tree or not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::model::Revision;
use crate::ports::{BlobReader, Entry, Found, Listing, Refused, RefusedEntry, Source, SourceError};

use super::{objects, paths, unchanged};

/// A folder on disk.
pub(super) struct Folder {
    root: PathBuf,
    repository: Option<gix::ThreadSafeRepository>,
}

/// Folders that are never looked into: Git's own, and ours.
const OURS: &[&str] = &[".git", ".streamkeeper"];

impl Folder {
    pub(super) fn open(root: &Path) -> Result<Self, SourceError> {
        let root = root
            .canonicalize()
            .map_err(|error| SourceError::failed(format!("open the folder `{}`", root.display()), error))?;
        let repository = objects::discover(&root).map(gix::Repository::into_sync);
        Ok(Self { root, repository })
    }
}

impl Source for Folder {
    fn list(&self, wanted: &(dyn Fn(&str) -> bool + Sync), limit: usize) -> Result<Listing, SourceError> {
        let revision = Revision { source: self.root.display().to_string(), ..Revision::default() };
        let mut listing = Listing { revision, ..Listing::default() };
        walk(&self.root, "", wanted, limit, &mut listing)?;
        listing.entries.sort_by(|a, b| a.path.cmp(&b.path));
        if let Some(repository) = &self.repository {
            let repository = repository.to_thread_local();
            let prefix = objects::prefix(&repository, &self.root);
            listing.folder = prefix.join("/");
            let there: BTreeSet<&str> = listing.entries.iter().map(|entry| &*entry.path).collect();
            let refused: BTreeSet<&str> = listing.refused.iter().map(|entry| &*entry.path).collect();
            let is_seen = |path: &str| {
                let above = path.match_indices('/').map(|(at, _)| &path[..at]);
                there.contains(path) || above.chain([path]).any(|path| refused.contains(path))
            };
            let missing = objects::not_checked_out(&repository, &prefix, wanted, is_seen);
            let missing = missing.into_iter().map(|path| RefusedEntry { path, kind: Refused::NotCheckedOut });
            let missing: Vec<_> = missing.collect();
            listing.refused.extend(missing);
            if let Some((commit, committed)) = objects::committed(&repository, &prefix, wanted) {
                listing.revision.commit = Some(commit.to_string());
                let mut ids: BTreeMap<Arc<str>, String> =
                    committed.into_iter().filter_map(|entry| Some((entry.path, entry.id?))).collect();
                for entry in &mut listing.entries {
                    entry.committed = Some(ids.remove(&entry.path).unwrap_or_default());
                }
                // A file that is committed and gone. What is new or has other content shows when it is read.
                listing.revision.dirty = !ids.is_empty();
            }
        }
        Ok(listing)
    }

    fn find(&self, path: &str) -> Result<Found, SourceError> {
        at(&self.root.join(path), path)
    }

    fn unchanged(&self, paths: &[&str]) -> BTreeSet<String> {
        let Some(repository) = &self.repository else { return BTreeSet::new() };
        unchanged::unchanged(&repository.to_thread_local(), &self.root, paths)
    }

    fn reader(&self) -> Result<Box<dyn BlobReader + '_>, SourceError> {
        Ok(Box::new(FileReader { root: &self.root }))
    }
}

/// Files and folders named one by one, as they lie there; paths are shown as they were given.
pub(super) struct Named {
    paths: Vec<PathBuf>,
}

impl Named {
    pub(super) fn new(paths: Vec<PathBuf>) -> Self {
        Self { paths }
    }
}

impl Source for Named {
    fn list(&self, wanted: &(dyn Fn(&str) -> bool + Sync), limit: usize) -> Result<Listing, SourceError> {
        let mut listing = Listing::default();
        for path in &self.paths {
            let shown = path.display().to_string();
            // A path given by hand may be a link: whoever gave it has the say.
            let metadata = fs::metadata(path).map_err(|_| SourceError::Missing { path: shown.clone() })?;
            if metadata.is_dir() {
                let prefix = if shown == "." { String::new() } else { format!("{}/", shown.trim_end_matches('/')) };
                walk(path, &prefix, wanted, limit, &mut listing)?;
            } else {
                listing.entries.push(Entry { path: Arc::from(shown), id: None, committed: None });
            }
        }
        listing.entries.sort_by(|a, b| a.path.cmp(&b.path));
        listing.entries.dedup();
        Ok(listing)
    }

    fn find(&self, path: &str) -> Result<Found, SourceError> {
        at(Path::new(path), path)
    }

    fn reader(&self) -> Result<Box<dyn BlobReader + '_>, SourceError> {
        Ok(Box::new(NamedReader))
    }
}

/// What is at a path on disk. `shown`: its path in the source.
fn at(path: &Path, shown: &str) -> Result<Found, SourceError> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(SourceError::failed(format!("read `{shown}`"), error)),
    };
    Ok(match metadata.file_type() {
        kind if kind.is_symlink() => Found::Refused(Refused::Link),
        kind if kind.is_file() => Found::File(Entry { path: Arc::from(shown), id: None, committed: None }),
        _ => Found::Nothing,
    })
}

struct NamedReader;

impl BlobReader for NamedReader {
    fn read(&mut self, entry: &Entry, limit: u64) -> Result<Vec<u8>, SourceError> {
        let path = fs::canonicalize(&*entry.path).map_err(|error| SourceError::failed("read the file", error))?;
        read_file(&path, limit)
    }
}

fn walk(
    folder: &Path,
    prefix: &str,
    wanted: &(dyn Fn(&str) -> bool + Sync),
    limit: usize,
    listing: &mut Listing,
) -> Result<(), SourceError> {
    let failed = |error| SourceError::failed(format!("read the folder `{}`", folder.display()), error);
    let below = match fs::read_dir(folder) {
        Ok(below) => below,
        // One directory that cannot be read does not stop the others.
        Err(error) if !prefix.is_empty() => {
            let path = prefix.trim_end_matches('/').to_owned();
            listing.refused.push(RefusedEntry { path, kind: Refused::Unreadable(error.to_string()) });
            return Ok(());
        }
        Err(error) => return Err(failed(error)),
    };
    for entry in below {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if OURS.contains(&name.as_str()) {
            continue;
        }
        let path = format!("{prefix}{name}");
        // The type of the entry itself: a link is a link, wherever it leads.
        let kind = entry.file_type().map_err(failed)?;
        if !paths::is_safe(&name) {
            listing.refused.push(RefusedEntry { path, kind: Refused::UnsafePath });
        } else if kind.is_dir() {
            if entry.path().join(".git").exists() {
                listing.refused.push(RefusedEntry { path, kind: Refused::Submodule });
            } else {
                walk(&entry.path(), &format!("{path}/"), wanted, limit, listing)?;
            }
        } else if kind.is_symlink() {
            listing.refused.push(RefusedEntry { path, kind: Refused::Link });
        } else if !wanted(&path) {
        } else if listing.entries.len() == limit {
            listing.truncated = true;
        } else {
            listing.entries.push(Entry { path: Arc::from(path), id: None, committed: None });
        }
        if listing.truncated {
            break;
        }
    }
    Ok(())
}

struct FileReader<'a> {
    root: &'a Path,
}

impl BlobReader for FileReader<'_> {
    fn read(&mut self, entry: &Entry, limit: u64) -> Result<Vec<u8>, SourceError> {
        read_file(&self.root.join(&*entry.path), limit)
    }
}

fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, SourceError> {
    let failed = |error| SourceError::failed("read the file", error);
    // Should the file have become a link or a pipe since it was listed, opening it fails instead of following or waiting.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(failed(std::io::Error::other("it is not a regular file")));
    }
    if metadata.len() > limit {
        return Err(SourceError::TooLarge { size: metadata.len(), limit });
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(SourceError::TooLarge { size: bytes.len() as u64, limit });
    }
    Ok(bytes)
}
