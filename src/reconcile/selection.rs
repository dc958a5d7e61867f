//! Which files of a source are read, and how.

use std::collections::BTreeSet;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::config::{FILE_BYTES, FILES, TOTAL_BYTES};
use crate::definitions::{self, Candidate, ReadOptions};
use crate::findings::FindingPolicy;

/// Which files of a source are looked at.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Files that are read whatever they are called.
    named: BTreeSet<String>,
    /// Only these; everything when there is none.
    include: Option<GlobSet>,
    /// Not these.
    exclude: Option<GlobSet>,
    /// The patterns of `include`, as they were given.
    included: Vec<String>,
    /// The patterns of `exclude`, as they were given.
    excluded: Vec<String>,
}

/// How much is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Bytes of all files with definitions; equal files count once.
    pub total_bytes: u64,
    /// Files.
    pub files: usize,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self { file_bytes: FILE_BYTES, total_bytes: TOTAL_BYTES, files: FILES }
    }
}

/// How a source is read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Which files are looked at.
    pub selection: Selection,
    /// Names the source.
    pub identity: String,
    /// How much is read.
    pub limits: ReadLimits,
    /// What reading a file depends on besides its content.
    pub options: ReadOptions,
    /// What the config says of findings.
    pub findings: FindingPolicy,
    /// The target has no registry of its own, and the config names none.
    pub no_local_registry: bool,
}

impl Selection {
    /// The files that match one of the patterns `include` and none of `exclude`, and those that are `named`.
    ///
    /// # Errors
    ///
    /// Which pattern is none, and why.
    pub fn new(
        named: impl IntoIterator<Item = String>,
        include: &[String],
        exclude: &[String],
    ) -> Result<Self, String> {
        Ok(Self {
            named: named.into_iter().collect(),
            include: globs(include)?,
            exclude: globs(exclude)?,
            included: include.to_vec(),
            excluded: exclude.to_vec(),
        })
    }

    /// Which part of a source this is, in words.
    pub(super) fn scope(&self, identity: &str, folder: &str, namespace: &str) -> String {
        let folder = if folder.is_empty() { "." } else { folder };
        let mut scope = format!("source {identity}, folder {folder}, namespace {namespace}");
        for (word, patterns) in [("include", &self.included), ("exclude", &self.excluded)] {
            if !patterns.is_empty() {
                scope.push_str(&format!(", {word} {}", patterns.join(" ")));
            }
        }
        scope
    }

    /// What identifies the selection: compiled patterns say nothing more.
    pub(super) fn identity(&self) -> (&BTreeSet<String>, &[String], &[String]) {
        (&self.named, &self.included, &self.excluded)
    }

    pub(super) fn candidate(&self, path: &str) -> Candidate {
        if self.named.contains(path) {
            return Candidate::Named;
        }
        let included = self.include.as_ref().map(|globs| globs.is_match(path));
        if included == Some(false) || self.exclude.as_ref().is_some_and(|globs| globs.is_match(path)) {
            return Candidate::No;
        }
        match definitions::candidate(path) {
            // A pattern that names a file of another kind means it.
            Candidate::No | Candidate::Bare if included == Some(true) => Candidate::Named,
            candidate => candidate,
        }
    }
}

fn globs(patterns: &[String]) -> Result<Option<GlobSet>, String> {
    if patterns.is_empty() {
        return Ok(None);
    }
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = GlobBuilder::new(pattern).literal_separator(true).build();
        set.add(glob.map_err(|error| format!("`{pattern}` is not a pattern: {error}"))?);
    }
    set.build().map(Some).map_err(|error| error.to_string())
}
