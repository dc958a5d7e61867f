//! Definitions from Git repositories and plain folders; `edit` writes single values back into the files of a folder.
//!
//! Blobs are read from Git objects, never from a checkout of ours; a folder is read as it lies there, links refused. No
//! process is started, except what Git's own transports start for `ssh://` (`ssh`) and for credentials that a helper
//! keeps. `gix` breaks monthly and stays in this room. What it saves us: packs, refs, revisions, the wire protocol.
//! Tests: `tests/it/sources.rs`, `tests/it/store_workloads.rs`.

mod edit;
mod folder;
mod identity;
mod mirror;
mod objects;
mod paths;
mod unchanged;

pub use edit::{Edit, EditError, edit};
pub use identity::{absolute, identity};
pub use mirror::without_credentials;

use std::path::{Path, PathBuf};

use crate::ports::{Source, SourceError};
use crate::source::{is_scp, is_url};

/// How a source is given.
#[derive(Clone, Debug, Default)]
pub struct Location {
    /// A path or a URL.
    pub given: String,
    /// Read this revision from Git objects; without it a path is read as it lies there.
    pub revision: Option<String>,
    /// Where caches are; mirrors of URLs are kept there. None: they cannot be kept.
    pub cache: Option<PathBuf>,
    /// A commit that a URL's revision is known to be: if the mirror has it, nobody is asked.
    pub commit: Option<String>,
}

/// What a URL's revision is now: references are listed, and nothing is fetched. None for a source that is no URL.
///
/// # Errors
///
/// When it cannot be reached, or has no such revision.
pub fn ask(location: &Location) -> Result<Option<String>, SourceError> {
    let Location { given, revision, cache, commit: _ } = location;
    if !is_remote(given) {
        return Ok(None);
    }
    mirror::ask(given, revision.as_deref(), cache.as_deref()).map(Some)
}

/// Whether a source is fetched from somewhere else.
fn is_remote(given: &str) -> bool {
    match given.split_once("://") {
        Some((scheme, _)) => matches!(scheme, "https" | "ssh"),
        None => is_scp(given),
    }
}

/// The folders whose changes are changes of a source; none for a URL.
pub fn watched(location: &Location) -> Vec<PathBuf> {
    let path = match location.given.split_once("://") {
        None if is_scp(&location.given) => return Vec::new(),
        Some(("file", path)) => path,
        Some(_) => return Vec::new(),
        None => &location.given,
    };
    let path = Path::new(path);
    if location.revision.is_none() && !objects::is_bare(path) && !is_url(&location.given) {
        return vec![path.to_owned()];
    }
    let git = objects::discover(path).map(|repository| repository.common_dir().to_owned());
    git.or_else(|| objects::is_bare(path).then(|| path.to_owned())).into_iter().collect()
}

/// The last commit that two revisions of a local repository have in common; none where that is not known: a URL, a clone without
/// its history.
pub fn merge_base(location: &Location, one: &str, other: Option<&str>) -> Option<String> {
    let path = location.given.strip_prefix("file://").unwrap_or(&location.given);
    if is_url(path) {
        return None;
    }
    objects::merge_base(Path::new(path), one, other.unwrap_or("HEAD"))
}

/// Where a commit is in the history of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    /// It is what the source is at.
    Tip,
    /// The source is this many commits ahead of it.
    Behind(usize),
    /// Neither; or that is not known.
    Outside,
}

/// Where a commit is in the history of a source. A URL is asked, and only what it is at now is known.
///
/// # Errors
///
/// When the source cannot be reached, or has no such revision.
pub fn history(location: &Location, commit: &str) -> Result<History, SourceError> {
    if let Some(now) = ask(location)? {
        return Ok(if now == commit { History::Tip } else { History::Outside });
    }
    let path = location.given.strip_prefix("file://").unwrap_or(&location.given);
    let tip = location.revision.as_deref().unwrap_or("HEAD");
    Ok(match objects::ahead(Path::new(path), commit, tip) {
        None => History::Outside,
        Some(0) => History::Tip,
        Some(ahead) => History::Behind(ahead),
    })
}

/// Opens a source. A URL is fetched here.
///
/// # Errors
///
/// When there is no such source, or it cannot be reached or read.
pub fn open(location: &Location) -> Result<Box<dyn Source>, SourceError> {
    let Location { given, revision, cache, commit } = location;
    if given.starts_with('-') || given.contains(['\n', '\r', '\0']) {
        let why = "it begins with `-` or has a line break in it".to_owned();
        return Err(SourceError::NotUnderstood { given: without_credentials(given.trim()), why });
    }
    match given.split_once("://") {
        _ if is_remote(given) => {
            Ok(Box::new(mirror::open(given, revision.as_deref(), commit.as_deref(), cache.as_deref())?))
        }
        Some(("file", path)) => Ok(Box::new(objects::open(Path::new(path), revision.as_deref())?)),
        Some((scheme, _)) => {
            let why =
                format!("a source is a path, `user@host:path`, or a URL with `https`, `ssh` or `file`, not `{scheme}`");
            Err(SourceError::NotUnderstood { given: without_credentials(given), why })
        }
        None => open_path(Path::new(given), revision.as_deref()),
    }
}

/// Whether a path is itself a bare repository.
pub fn is_bare(path: &Path) -> bool {
    objects::is_bare(path)
}

/// Whether Git tracks anything in a folder of a work tree, in the index or in `HEAD`.
pub fn tracks(folder: &Path) -> bool {
    objects::tracks(folder)
}

/// Whether Git tracks a file of a work tree: the index lists it, or `HEAD` has it where there is no index that can be read.
pub fn is_tracked(file: &Path) -> bool {
    objects::is_tracked(file)
}

/// Files and folders named one by one.
pub fn named(paths: Vec<PathBuf>) -> Box<dyn Source> {
    Box::new(folder::Named::new(paths))
}

fn open_path(path: &Path, revision: Option<&str>) -> Result<Box<dyn Source>, SourceError> {
    if !path.exists() {
        return Err(SourceError::Missing { path: path.display().to_string() });
    }
    if revision.is_some() || objects::is_bare(path) {
        return Ok(Box::new(objects::open(path, revision)?));
    }
    if path.is_file() {
        let why = "a source is a folder or a repository; to look at one file use `validate FILE`".to_owned();
        return Err(SourceError::NotUnderstood { given: path.display().to_string(), why });
    }
    Ok(Box::new(folder::Folder::open(path)?))
}
