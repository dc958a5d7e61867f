//! A source down to what it defines; what was read before is remembered by content.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

use crate::definitions::{self, Assembled, Candidate, FileDefinitions, FileEntry, ReadOptions, Ruling, assemble};
use crate::model::{Cause, Ignorance};
use crate::ports::{BlobReader, Entry, Listing, Memory, Progress, Refused, Source, SourceError};
use crate::text::{Code, Diagnostic, Place, SourceText, chain, hex, inert};

/// Raised whenever reading the same bytes gives something else: what was remembered is then read anew.
const READER_VERSION: u32 = 4;

/// Which files of a source are looked at.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Files that are read whatever they are called.
    pub named: BTreeSet<String>,
    /// Only these; everything when there is none.
    pub include: Option<globset::GlobSet>,
    /// Not these.
    pub exclude: Option<globset::GlobSet>,
    /// The patterns of `include`, as they were given.
    pub included: Vec<String>,
    /// The patterns of `exclude`, as they were given.
    pub excluded: Vec<String>,
}

/// How much is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Files.
    pub files: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { file_bytes: 4 * 1024 * 1024, files: 50_000 }
    }
}

impl Selection {
    /// Which part of a source this is, in words.
    fn scope(&self, folder: &str, namespace: &str) -> String {
        let folder = if folder.is_empty() { "." } else { folder };
        let mut scope = format!("folder {folder}, namespace {namespace}");
        for (word, patterns) in [("include", &self.included), ("exclude", &self.excluded)] {
            if !patterns.is_empty() {
                scope.push_str(&format!(", {word} {}", patterns.join(" ")));
            }
        }
        scope
    }

    fn candidate(&self, path: &str) -> Candidate {
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

/// A source that was read.
#[derive(Debug)]
pub struct ReadSource {
    /// What it says.
    pub assembled: Assembled,
    /// Its files, to show lines of.
    pub entries: Vec<Entry>,
}

/// What became of one file.
enum Read {
    Definitions(Box<FileDefinitions>),
    /// Nothing in it is ours.
    PassedOver,
    Finding(Code, String),
}

/// How a source is read.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// Which files are looked at.
    pub selection: &'a Selection,
    /// How much is read.
    pub limits: Limits,
    /// What reading a file depends on besides its content.
    pub options: &'a ReadOptions,
    /// The config's say on findings.
    pub ruling: &'a Ruling,
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
pub fn list(source: &dyn Source, selection: &Selection, limits: Limits) -> Result<List, SourceError> {
    let filtered = Mutex::new(BTreeSet::new());
    let wanted = |path: &str| {
        let wanted = selection.candidate(path) != Candidate::No;
        // Left out by a pattern, not by its name.
        if !wanted && definitions::candidate(path) == Candidate::Named {
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
pub fn definitions(
    source: &dyn Source,
    list: List,
    reading: &Reading<'_>,
    memory: &impl Memory,
    progress: &impl Progress,
) -> Result<ReadSource, SourceError> {
    let Reading { selection, limits, options, ruling } = *reading;
    let List { mut listing, mut unread } = list;
    let mut findings = refused(&listing.refused);
    let mut incomplete = Vec::new();
    if listing.truncated {
        let message = format!("more than {} files could be definitions; the rest is not read", limits.files);
        let finding = Diagnostic::new(Code::TooManyFiles, Place::default(), message);
        findings.push(finding.help("narrow the source with `include` and `exclude`, or raise `limits.files`"));
        let detail = format!("it has more than {} files", limits.files);
        incomplete.push(Ignorance::new(&listing.revision.source, Cause::Unreadable, detail));
    }

    progress.begin("reading definitions", listing.entries.len());
    let (read, dirty, content) =
        Files { source, selection, limits, options, memory, progress }.read(&mut listing.entries)?;
    progress.end();
    listing.revision.dirty |= dirty;
    listing.revision.content = content;
    let mut files = Vec::new();
    for (entry, read) in listing.entries.iter().zip(read) {
        match read {
            Read::Definitions(definitions) => {
                files.push(FileEntry { path: Arc::clone(&entry.path), definitions: *definitions })
            }
            Read::PassedOver => {
                unread.insert(entry.path.to_string());
            }
            Read::Finding(code, message) => {
                let asked = inert(&entry.path, 200);
                incomplete.push(Ignorance::new(asked, Cause::Unreadable, &message));
                findings.push(Diagnostic::new(code, Place::file(&entry.path), message));
            }
        }
    }
    let mut assembled = assemble(listing.revision, files, findings, incomplete, ruling);
    assembled.desired.unread = unread;
    assembled.desired.scope = selection.scope(&listing.folder, &options.namespace);
    Ok(ReadSource { assembled, entries: listing.entries })
}

fn refused(entries: &[crate::ports::RefusedEntry]) -> Vec<Diagnostic> {
    let finding = |entry: &crate::ports::RefusedEntry| {
        let (code, message) = match entry.kind {
            Refused::Link => (Code::Link, "a symbolic link is not followed"),
            Refused::Submodule => (Code::Submodule, "another repository inside this one is not read"),
            Refused::UnsafePath => (Code::UnsafePath, "a name that could lead out of the source is not read"),
        };
        Diagnostic::new(code, Place::file(&entry.path), message)
    };
    entries.iter().map(finding).collect()
}

struct Files<'a, M, P> {
    source: &'a dyn Source,
    selection: &'a Selection,
    limits: Limits,
    options: &'a ReadOptions,
    memory: &'a M,
    progress: &'a P,
}

/// A file with its key, once its content is known.
struct Keyed {
    key: [u8; 32],
    id: String,
    read: Read,
    /// Encoded for the memory, if it was not remembered.
    fresh: Option<Vec<u8>>,
    dirty: bool,
}

impl<M: Memory, P: Progress> Files<'_, M, P> {
    /// Reads all entries, in their order, on all cores. Also says whether a file differs from what is committed, and gives a
    /// hash over all paths and contents. The id of a file on disk is known from then on.
    fn read(&self, entries: &mut [Entry]) -> Result<(Vec<Read>, bool, String), SourceError> {
        let keys: Vec<[u8; 32]> =
            entries.iter().filter_map(|entry| Some(self.key(&entry.path, entry.id.as_deref()?))).collect();
        let remembered = self.memory.definitions(&keys);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let next = AtomicUsize::new(0);
        // Small pieces, so that no thread waits long for another at the end.
        const PIECE: usize = 16;
        let results: Vec<Result<Vec<(usize, Keyed)>, SourceError>> = std::thread::scope(|scope| {
            let worker = || -> Result<Vec<(usize, Keyed)>, SourceError> {
                let mut reader = self.source.reader()?;
                let mut done = Vec::new();
                loop {
                    let start = next.fetch_add(PIECE, Ordering::Relaxed);
                    let Some(piece) = entries
                        .get(start..)
                        .map(|rest| &rest[..rest.len().min(PIECE)])
                        .filter(|piece| !piece.is_empty())
                    else {
                        return Ok(done);
                    };
                    for (offset, entry) in piece.iter().enumerate() {
                        done.push((start + offset, self.file(&mut *reader, entry, &remembered)));
                    }
                    self.progress.advance(piece.len());
                }
            };
            let handles: Vec<_> = (0..threads.min(entries.len().max(1))).map(|_| scope.spawn(worker)).collect();
            handles
                .into_iter()
                .map(|handle| handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        });
        let mut keyed: BTreeMap<usize, Keyed> = BTreeMap::new();
        for result in results {
            keyed.extend(result?);
        }
        let mut content = Context::new(&SHA256);
        let mut dirty = false;
        let mut fresh = Vec::new();
        let mut read = Vec::with_capacity(keyed.len());
        for (entry, file) in entries.iter_mut().zip(keyed.into_values()) {
            content.update(entry.path.as_bytes());
            content.update(b"\0");
            content.update(file.id.as_bytes());
            content.update(b"\n");
            dirty |= file.dirty;
            fresh.extend(file.fresh.map(|bytes| (file.key, bytes)));
            read.push(file.read);
            entry.id = entry.id.take().or(Some(file.id).filter(|id| !id.is_empty()));
        }
        if !fresh.is_empty() {
            self.memory.keep_definitions(&fresh);
        }
        Ok((read, dirty, hex(content.finish().as_ref())))
    }

    fn file(&self, reader: &mut dyn BlobReader, entry: &Entry, remembered: &BTreeMap<[u8; 32], Vec<u8>>) -> Keyed {
        if let Some(id) = &entry.id {
            let key = self.key(&entry.path, id);
            if let Some(definitions) = remembered.get(&key).and_then(|bytes| serde_json::from_slice(bytes).ok()) {
                let read = Read::Definitions(Box::new(definitions));
                return Keyed { key, id: id.clone(), read, fresh: None, dirty: false };
            }
        }
        let bytes = match reader.read(entry, self.limits.file_bytes) {
            Ok(bytes) => bytes,
            Err(error) => {
                let (code, message) = explain(error);
                let id = entry.id.clone().unwrap_or_default();
                return Keyed { key: [0; 32], id, read: Read::Finding(code, message), fresh: None, dirty: false };
            }
        };
        let id = entry.id.clone().unwrap_or_else(|| blob_id(&bytes));
        let dirty = entry.committed.as_ref().is_some_and(|committed| *committed != id);
        let key = self.key(&entry.path, &id);
        let candidate = self.selection.candidate(&entry.path);
        let (read, fresh) = self.definitions(candidate, bytes);
        Keyed { key, id, read, fresh, dirty }
    }

    fn definitions(&self, candidate: Candidate, bytes: Vec<u8>) -> (Read, Option<Vec<u8>>) {
        if !definitions::mentions_streams(candidate, &bytes) {
            // Passed over: cheaper to find out again than to remember. UTF-16, which tools on Windows write, hides every word.
            if candidate == Candidate::Named && (bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff])) {
                return (Read::Finding(Code::NotUtf8, "the file is UTF-16; save it as UTF-8".to_owned()), None);
            }
            return (Read::PassedOver, None);
        }
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                return (Read::Finding(Code::NotUtf8, format!("byte {at} is not UTF-8")), None);
            }
        };
        let definitions = definitions::read(&SourceText::new(text), self.options);
        let encoded = self.memory.keeps().then(|| serde_json::to_vec(&definitions).ok()).flatten();
        (Read::Definitions(Box::new(definitions)), encoded)
    }

    /// Everything that what a file says depends on: its content, how it is read, and whether its name makes it a candidate.
    fn key(&self, path: &str, id: &str) -> [u8; 32] {
        let mut context = Context::new(&SHA256);
        context.update(&READER_VERSION.to_le_bytes());
        let ReadOptions { namespace, parameters } = self.options;
        for part in std::iter::once(namespace).chain(parameters.iter().flat_map(|(name, value)| [name, value])) {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part.as_bytes());
        }
        context.update(&[u8::from(self.selection.candidate(path) == Candidate::Named)]);
        context.update(id.as_bytes());
        let mut key = [0; 32];
        key.copy_from_slice(context.finish().as_ref());
        key
    }
}

fn explain(error: SourceError) -> (Code, String) {
    if let SourceError::TooLarge { size, limit } = error {
        return (Code::TooLarge, format!("the file has {size} bytes, the limit is {limit}"));
    }
    (Code::UnreadableFile, inert(&chain(&error), 300))
}

/// The id that Git gives a blob of these bytes, so that a file on disk and the same file in a commit are one to the memory.
fn blob_id(bytes: &[u8]) -> String {
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    context.update(format!("blob {}\0", bytes.len()).as_bytes());
    context.update(bytes);
    hex(context.finish().as_ref())
}

#[cfg(test)]
mod tests {
    #[test]
    fn blob_ids_are_gits() {
        assert_eq!(super::blob_id(b""), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
        assert_eq!(super::blob_id(b"hello\n"), "ce013625030ba8dba906f756967f9e9ca394464a");
    }
}
