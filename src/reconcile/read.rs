//! A source down to what it defines.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::definitions::{self, Assembled, Candidate, FileEntry, assemble};
use crate::findings::{Code, Diagnostic, Severity};
use crate::model::{Cause, Ignorance};
use crate::ports::{Entry, Listing, Memory, Progress, Refused, RefusedEntry, Source, SourceError};
use crate::source::{Place, inert};

use super::files::{FileRead, Files};
use super::selection::Reading;

/// A source that was read.
pub struct ReadSource {
    /// What it says.
    pub assembled: Assembled,
    /// Its files, to show lines of.
    pub entries: Vec<Entry>,
    /// The source, to look into a file again.
    pub source: Arc<dyn Source>,
}

impl ReadSource {
    /// Whether the findings stop a session: errors always do, warnings when `strict`.
    pub fn stops(&self, strict: bool) -> bool {
        let least = if strict { Severity::Warning } else { Severity::Error };
        self.assembled.findings.iter().any(|finding| finding.severity >= least)
    }

    /// How many findings are errors.
    pub fn errors(&self) -> usize {
        self.assembled.findings.iter().filter(|finding| finding.severity == Severity::Error).count()
    }
}

/// The files of a source, and which were left out by patterns.
#[derive(Debug)]
pub struct List {
    /// The files.
    pub listing: Listing,
    /// What is there and not looked into.
    unread: BTreeSet<String>,
}

/// Lists a source.
///
/// # Errors
///
/// When the source as a whole cannot be read.
pub(super) fn list(source: &dyn Source, reading: &Reading) -> Result<List, SourceError> {
    let Reading { selection, limits, .. } = reading;
    let filtered = Mutex::new(BTreeSet::new());
    let wanted = |path: &str| {
        let wanted = selection.candidate(path) != Candidate::No;
        // Left out by a pattern, not by its name.
        if !wanted && matches!(definitions::candidate(path), Candidate::Named | Candidate::Kustomization) {
            filtered.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned());
        }
        wanted
    };
    let mut listing = source.list(&wanted, limits.files)?;
    let mut unread = std::mem::take(&mut *filtered.lock().unwrap_or_else(PoisonError::into_inner));
    unread.extend(listing.refused.iter().map(|entry| entry.path.clone()));
    // Links to whatever is no definition by its name are nobody's trouble.
    listing.refused.retain(|entry| entry.kind != Refused::Link || wanted(&entry.path));
    Ok(List { listing, unread })
}

/// Reads everything that the files of a source define.
///
/// # Errors
///
/// When the source as a whole can no longer be read. What is wrong with single files are findings.
pub(super) fn definitions(
    source: &Arc<dyn Source>,
    list: List,
    reading: &Reading,
    memory: &impl Memory,
    progress: &impl Progress,
) -> Result<ReadSource, SourceError> {
    let Reading { selection, identity, limits, options, findings: policy, no_local_registry } = reading;
    let List { mut listing, mut unread } = list;
    let mut findings = refused(&listing.refused);
    let mut incomplete = Vec::new();
    for entry in listing.refused.iter().filter(|entry| matches!(entry.kind, Refused::LongPath)) {
        // Its path is cut: what was defined there cannot be told from the rest.
        incomplete.push(Ignorance::new(inert(&entry.path, 200), Cause::Unreadable, "its path is too long to be read"));
    }
    if listing.truncated {
        let message = format!("more than {} files could be definitions; the rest is not read", limits.files);
        let finding = Diagnostic::new(Code::TooManyFiles, Place::default(), message);
        findings.push(finding.help("narrow the source with `include` and `exclude`, or raise `limits.files`"));
        let detail = format!("it has more than {} files", limits.files);
        incomplete.push(Ignorance::new(&listing.revision.source, Cause::Unreadable, detail));
    }

    progress.begin("reading definitions", listing.entries.len());
    let (read, dirty, content) = Files { source: &**source, reading, memory, progress }.read(&mut listing.entries)?;
    progress.end();
    let left = read.iter().filter(|read| matches!(read, FileRead::OverTotal)).count();
    if left > 0 {
        let message = format!(
            "the files with definitions have more than {} bytes; {left} of them are not read",
            limits.total_bytes
        );
        incomplete.push(Ignorance::new(&listing.revision.source, Cause::Unreadable, &message));
        let finding = Diagnostic::new(Code::TooLargeSource, Place::default(), message);
        findings.push(finding.help("narrow the source with `include` and `exclude`, or raise `limits.totalBytes`"));
    }
    listing.revision.dirty |= dirty;
    listing.revision.content = content;
    let mut files = Vec::new();
    for (entry, read) in listing.entries.iter().zip(read) {
        match read {
            FileRead::Definitions(definitions) => files.push(FileEntry { path: Arc::clone(&entry.path), definitions }),
            FileRead::PassedOver | FileRead::OverTotal => {
                unread.insert(entry.path.to_string());
            }
            FileRead::Finding(code, message) => {
                let asked = inert(&entry.path, 200);
                incomplete.push(Ignorance::new(asked, Cause::Unreadable, &message));
                findings.push(Diagnostic::new(code, Place::file(&entry.path), message));
            }
        }
    }
    let read = definitions::Files { revision: listing.revision, files, findings, incomplete };
    let mut assembled = assemble(read, policy, *no_local_registry);
    assembled.desired.unread = unread;
    assembled.desired.scope = selection.scope(identity, &listing.folder, &options.namespace);
    Ok(ReadSource { assembled, entries: listing.entries, source: Arc::clone(source) })
}

/// What was not looked into, each with a finding; of files that are not in the work tree, one for all of them.
fn refused(entries: &[RefusedEntry]) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    let mut not_checked_out = Vec::new();
    for entry in entries {
        let (code, message) = match &entry.kind {
            Refused::Link => (Code::Link, "a symbolic link is not followed".to_owned()),
            Refused::Submodule => (Code::Submodule, "another repository inside this one is not read".to_owned()),
            Refused::UnsafePath => {
                (Code::UnsafePath, "a name that could lead out of the source is not read".to_owned())
            }
            Refused::LongPath => (Code::UnsafePath, "a path of more than 4096 bytes is not read".to_owned()),
            Refused::Unreadable(why) => (Code::UnreadableFile, format!("it cannot be read: {}", inert(why, 300))),
            Refused::NotCheckedOut => {
                not_checked_out.push(&entry.path);
                continue;
            }
        };
        findings.push(Diagnostic::new(code, Place::file(&entry.path), message));
    }
    if let Some(first) = not_checked_out.first() {
        let first_path = inert(first, 200);
        let message = match not_checked_out.len() - 1 {
            0 => format!("Git tracks `{first_path}`, which is not in the work tree"),
            more => format!("Git tracks `{first_path}` and {more} more that are not in the work tree"),
        };
        let help = "check it out, or delete it with `git rm`; until then nothing that was defined there changes";
        findings.push(Diagnostic::new(Code::NotCheckedOut, Place::file(first), message).help(help));
    }
    findings
}
