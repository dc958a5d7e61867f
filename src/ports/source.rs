//! Where definitions come from.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::Revision;

/// A state of the definitions that can be read. Listing and reading are bound to one revision.
pub trait Source: Send + Sync {
    /// The files whose paths are `wanted`, sorted by path, at most `limit` of them, and what was refused on the way.
    ///
    /// # Errors
    ///
    /// When the source as a whole cannot be read.
    fn list(&self, wanted: &(dyn Fn(&str) -> bool + Sync), limit: usize) -> Result<Listing, SourceError>;

    /// What is at a path, whatever else the source has.
    ///
    /// # Errors
    ///
    /// When that cannot be told.
    fn find(&self, path: &str) -> Result<Found, SourceError>;

    /// Which of these files differ from what is committed and are unchanged all the same, by Git's own word: their content is converted
    /// when they are checked out, or they are ignored and no commit is to have them.
    fn unchanged(&self, paths: &[&str]) -> BTreeSet<String> {
        let _ = paths;
        BTreeSet::new()
    }

    /// Something that reads files, for one thread.
    ///
    /// # Errors
    ///
    /// When the source can no longer be opened.
    fn reader(&self) -> Result<Box<dyn BlobReader + '_>, SourceError>;
}

/// Reads files of one source.
pub trait BlobReader {
    /// Identity of the content: the Git blob id. Empty when the file has to be read first.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    fn read(&mut self, entry: &Entry, limit: u64) -> Result<Vec<u8>, SourceError>;
}

/// The files of a source.
#[derive(Debug, Default)]
pub struct Listing {
    /// What was listed. `content` is filled in by whoever reads.
    pub revision: Revision,
    /// The files.
    pub entries: Vec<Entry>,
    /// What is there and is not read.
    pub refused: Vec<RefusedEntry>,
    /// Folder of the repository that the source is, with `/`; empty for its root and outside of Git.
    pub folder: String,
    /// There were more files than the limit.
    pub truncated: bool,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Path in the source, with `/`.
    pub path: Arc<str>,
    /// Git blob id in hex, where it is known without reading.
    pub id: Option<String>,
    /// For a work tree: the blob id that the commit has at this path, empty where it has none; differing content is dirty.
    pub committed: Option<String>,
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing, or a directory.
    Nothing,
    /// A file.
    File(Entry),
    /// Something that is not read.
    Refused(Refused),
}

/// Something that is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedEntry {
    /// Path in the source.
    pub path: String,
    /// What it is.
    pub kind: Refused,
}

/// Why something is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A symbolic link.
    Link,
    /// Another repository.
    Submodule,
    /// A name that could leave the source.
    UnsafePath,
    /// A path that is longer than any system allows. The path is cut.
    LongPath,
    /// A directory, or a part of the source, that cannot be read: why.
    Unreadable(String),
    /// A file that Git tracks and that is not in the work tree.
    NotCheckedOut,
}

impl Refused {
    /// In a word, for hashes.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Submodule => "submodule",
            Self::UnsafePath => "unsafe path",
            Self::LongPath => "long path",
            Self::Unreadable(_) => "unreadable",
            Self::NotCheckedOut => "not checked out",
        }
    }
}

/// A source cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// There is nothing at that path.
    #[error("there is no `{path}`")]
    Missing {
        /// The path.
        path: String,
    },
    /// Git objects were asked for and there is no repository.
    #[error("`{path}` is not in a Git repository, so it has no revision `{revision}`")]
    NoRepository {
        /// The path.
        path: String,
        /// The revision.
        revision: String,
    },
    /// The repository does not have that revision.
    #[error("the repository `{repository}` has no revision `{revision}`")]
    NoRevision {
        /// The repository, without credentials.
        repository: String,
        /// The revision.
        revision: String,
        /// Why it cannot be resolved.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A branch and a tag have the same name and are at different commits: who may push the one must not move what is pinned to the
    /// other.
    #[error(
        "`{revision}` is a branch and a tag of the repository `{repository}`, at different commits: `refs/heads/{revision}` and \
         `refs/tags/{revision}`"
    )]
    Ambiguous {
        /// The repository, without credentials.
        repository: String,
        /// The name.
        revision: String,
    },
    /// The source is given in a way that is not understood.
    #[error("`{given}` is not a source: {why}")]
    NotUnderstood {
        /// What was given.
        given: String,
        /// What is wrong.
        why: String,
    },
    /// A file is larger than the limit.
    #[error("{size} bytes, the limit is {limit}")]
    TooLarge {
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// The system below failed.
    #[error("failed to {action}")]
    Failed {
        /// What was tried.
        action: String,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl SourceError {
    /// The system below failed.
    pub fn failed(action: impl Into<String>, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Failed { action: action.into(), source: source.into() }
    }
}
