//! Reads the files of a source on all cores; what was read before is remembered by content.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

use crate::definitions::{self, Candidate, FileDefinitions, Kustomization, ReadOptions};
use crate::findings::Code;
use crate::ports::{BlobReader, Entry, Memory, Progress, Source, SourceError};
use crate::source::{Hasher, SourceText, chain, inert};

use super::selection::Reading;

/// Raised whenever reading the same bytes gives something else: what was remembered is then read again.
const READER_VERSION: u32 = 7;

/// What became of one file.
pub(super) enum FileRead {
    /// Equal files share what they define.
    Definitions(Arc<FileDefinitions>),
    /// Nothing in it is about image streams.
    PassedOver,
    /// The files before it have as many bytes as are read.
    OverTotal,
    Finding(Code, String),
}

impl FileRead {
    /// Nothing depends on what is in the file.
    fn is_silent(&self) -> bool {
        match self {
            Self::PassedOver => true,
            Self::OverTotal | Self::Finding(..) => false,
            Self::Definitions(definitions) => {
                let FileDefinitions { streams, workloads, uses, findings, parameters, kustomization, complete, .. } =
                    &**definitions;
                let is_empty = streams.is_empty() && workloads.is_empty() && uses.is_empty() && kustomization.is_none();
                is_empty && findings.is_empty() && parameters.is_empty() && *complete
            }
        }
    }
}

/// The files to read.
pub(super) struct Files<'a, M, P> {
    pub(super) source: &'a dyn Source,
    pub(super) reading: &'a Reading,
    pub(super) memory: &'a M,
    pub(super) progress: &'a P,
}

/// A file with its key, once its content is known.
struct Keyed {
    key: [u8; 32],
    id: String,
    read: FileRead,
    /// Encoded for the memory, if it was not remembered.
    fresh: Option<Vec<u8>>,
    /// Bytes that count against the total: none for what is not read into memory.
    bytes: u64,
    dirty: bool,
}

/// What was read already, by key: equal files are read once. The number is the bytes of the file.
type Done = Mutex<BTreeMap<[u8; 32], (Arc<FileDefinitions>, u64)>>;

/// Encoded definitions that are larger are not kept: to read such a file again costs little beside it.
const KEPT: usize = 256 * 1024;

impl<M: Memory, P: Progress> Files<'_, M, P> {
    /// Reads all entries, in their order, on all cores. Also says whether a file differs from what is committed, and gives a
    /// hash over the paths and contents of those that say anything. The id of a file on disk is known from then on.
    pub(super) fn read(&self, entries: &mut [Entry]) -> Result<(Vec<FileRead>, bool, String), SourceError> {
        let keys: Vec<[u8; 32]> =
            entries.iter().filter_map(|entry| Some(self.key(&entry.path, entry.id.as_deref()?))).collect();
        let remembered = if self.memory.keeps() { self.memory.definitions(&keys) } else { BTreeMap::new() };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let next = AtomicUsize::new(0);
        let (done, total) = (Done::default(), AtomicU64::new(0));
        // Small pieces, so that no thread waits long for another at the end.
        const PIECE: usize = 16;
        let results: Vec<Result<Vec<(usize, Keyed)>, SourceError>> = std::thread::scope(|scope| {
            let worker = || -> Result<Vec<(usize, Keyed)>, SourceError> {
                let mut reader = self.source.reader()?;
                let mut read = Vec::new();
                loop {
                    // Pieces are taken in order and read to their end: what is read is always the first part of the source.
                    if total.load(Ordering::Relaxed) > self.reading.limits.total_bytes {
                        return Ok(read);
                    }
                    let start = next.fetch_add(PIECE, Ordering::Relaxed);
                    let Some(piece) = entries
                        .get(start..)
                        .map(|rest| &rest[..rest.len().min(PIECE)])
                        .filter(|piece| !piece.is_empty())
                    else {
                        return Ok(read);
                    };
                    for (offset, entry) in piece.iter().enumerate() {
                        let file = self.file(&mut *reader, entry, &remembered, &done);
                        total.fetch_add(file.bytes, Ordering::Relaxed);
                        read.push((start + offset, file));
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
        drop(done);
        let mut keyed: BTreeMap<usize, Keyed> = BTreeMap::new();
        for result in results {
            keyed.extend(result?);
        }
        self.cut(entries, &mut keyed);
        let mut content = Context::new(&SHA256);
        let mut changed = Vec::new();
        let mut fresh = Vec::new();
        let mut read = Vec::with_capacity(keyed.len());
        for (entry, file) in entries.iter_mut().zip(keyed.into_values()) {
            // A file that says nothing, such as a plan that was saved here, makes no other source of it.
            if !file.read.is_silent() {
                content.update(entry.path.as_bytes());
                content.update(b"\0");
                content.update(file.id.as_bytes());
                content.update(b"\n");
            }
            let is_new = entry.committed.as_ref().is_some_and(String::is_empty);
            if file.dirty && !(is_new && file.read.is_silent()) {
                changed.push(Arc::clone(&entry.path));
            }
            fresh.extend(file.fresh.map(|bytes| (file.key, bytes)));
            read.push(file.read);
            entry.id = entry.id.take().or(Some(file.id).filter(|id| !id.is_empty()));
        }
        if !fresh.is_empty() {
            self.memory.keep_definitions(&fresh);
        }
        let paths: Vec<&str> = changed.iter().map(|path| &**path).collect();
        let dirty = !paths.is_empty() && self.source.unchanged(&paths).len() < paths.len();
        Ok((read, dirty, hex::encode(content.finish())))
    }

    /// Leaves out what is past the limit of the total, in the order of the files.
    fn cut(&self, entries: &[Entry], keyed: &mut BTreeMap<usize, Keyed>) {
        let mut total = 0;
        for (at, entry) in entries.iter().enumerate() {
            let over = || Keyed {
                key: [0; 32],
                id: entry.id.clone().unwrap_or_default(),
                read: FileRead::OverTotal,
                fresh: None,
                bytes: 0,
                dirty: false,
            };
            let file = keyed.entry(at).or_insert_with(over);
            total += file.bytes;
            if total > self.reading.limits.total_bytes && file.bytes > 0 {
                *file = over();
            }
        }
    }

    fn file(
        &self,
        reader: &mut dyn BlobReader,
        entry: &Entry,
        remembered: &BTreeMap<[u8; 32], Vec<u8>>,
        done: &Done,
    ) -> Keyed {
        let known = |key: &[u8; 32]| {
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((definitions, _)) = done.get(key) {
                return Some((Arc::clone(definitions), 0));
            }
            let bytes = remembered.get(key)?;
            let definitions = Arc::new(serde_json::from_slice(bytes).ok()?);
            done.insert(*key, (Arc::clone(&definitions), bytes.len() as u64));
            Some((definitions, bytes.len() as u64))
        };
        if let Some(id) = &entry.id {
            let key = self.key(&entry.path, id);
            if let Some((definitions, bytes)) = known(&key) {
                let read = FileRead::Definitions(definitions);
                return Keyed { key, id: id.clone(), read, fresh: None, bytes, dirty: false };
            }
        }
        let bytes = match reader.read(entry, self.reading.limits.file_bytes) {
            Ok(bytes) => bytes,
            Err(error) => {
                let (code, message) = explain(error);
                let id = entry.id.clone().unwrap_or_default();
                let read = FileRead::Finding(code, message);
                return Keyed { key: [0; 32], id, read, fresh: None, bytes: 0, dirty: false };
            }
        };
        let id = entry.id.clone().unwrap_or_else(|| blob_id(&bytes));
        let dirty =
            entry.committed.as_ref().is_some_and(|committed| *committed != id && !is_cleaned(&bytes, committed));
        let key = self.key(&entry.path, &id);
        // On disk, what a file has is known only now.
        if let Some((definitions, bytes)) = known(&key) {
            return Keyed { key, id, read: FileRead::Definitions(definitions), fresh: None, bytes, dirty };
        }
        let (candidate, size) = (self.reading.selection.candidate(&entry.path), bytes.len() as u64);
        let (read, fresh) = self.definitions(candidate, bytes);
        let mut bytes = 0;
        if let FileRead::Definitions(definitions) = &read {
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            // Two threads may have read it at once: it counts once.
            if done.insert(key, (Arc::clone(definitions), size)).is_none() {
                bytes = size;
            }
        }
        Keyed { key, id, read, fresh, bytes, dirty }
    }

    fn definitions(&self, candidate: Candidate, bytes: Vec<u8>) -> (FileRead, Option<Vec<u8>>) {
        if candidate == Candidate::Kustomization
            && let Some(read) = kustomization(&bytes)
        {
            return (FileRead::Definitions(Arc::new(read)), None);
        }
        if !definitions::mentions_streams(candidate, &bytes) {
            // Passed over: cheaper to find out again than to remember. UTF-16, which tools on Windows write, hides every word.
            if candidate == Candidate::Named && (bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff])) {
                return (FileRead::Finding(Code::NotUtf8, "the file is UTF-16; save it as UTF-8".to_owned()), None);
            }
            if candidate == Candidate::Named && bytes.starts_with(b"version https://git-lfs.github.com/spec/") {
                let message = "this is a Git LFS pointer, not the file".to_owned();
                return (FileRead::Finding(Code::PlaceholderFile, message), None);
            }
            if bytes.starts_with(b"\0GITCRYPT\0") {
                let message = "the file is encrypted by git-crypt".to_owned();
                return (FileRead::Finding(Code::PlaceholderFile, message), None);
            }
            return (FileRead::PassedOver, None);
        }
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                return (FileRead::Finding(Code::NotUtf8, format!("byte {at} is not UTF-8")), None);
            }
        };
        let definitions = definitions::read(&SourceText::new(text), &self.reading.options);
        let encoded = self.memory.keeps().then(|| serde_json::to_vec(&definitions).ok()).flatten();
        (FileRead::Definitions(Arc::new(definitions)), encoded.filter(|encoded| encoded.len() <= KEPT))
    }

    /// Everything that what a file says depends on: its content, how it is read, and whether its name makes it a candidate.
    fn key(&self, path: &str, id: &str) -> [u8; 32] {
        let mut hasher = Hasher::default();
        hasher.part(READER_VERSION.to_le_bytes());
        let ReadOptions { namespace, parameters } = &self.reading.options;
        hasher.part(namespace);
        hasher.part((parameters.len() as u64).to_le_bytes());
        for (name, value) in parameters {
            hasher.part(name);
            hasher.part(value);
        }
        hasher.part([self.reading.selection.candidate(path) as u8]);
        hasher.part(id);
        hasher.finish()
    }
}

/// A file that tells kustomize what to build; none where it says nothing of other files.
fn kustomization(bytes: &[u8]) -> Option<FileDefinitions> {
    let text = SourceText::new(std::str::from_utf8(bytes).ok()?.to_owned());
    let kustomization = definitions::kustomization(&text).filter(|it| *it != Kustomization::default())?;
    Some(FileDefinitions { kustomization: Some(kustomization), complete: true, ..FileDefinitions::default() })
}

fn explain(error: SourceError) -> (Code, String) {
    if let SourceError::TooLarge { size, limit } = error {
        return (Code::TooLarge, format!("the file has {size} bytes, the limit is {limit}"));
    }
    (Code::UnreadableFile, inert(&chain(&error), 300))
}

/// Whether bytes on disk are those of a blob as Git writes them into a work tree: with other line ends (`core.autocrlf`, `eol`), or with
/// the id in them (`ident`).
fn is_cleaned(bytes: &[u8], committed: &str) -> bool {
    if committed.is_empty() {
        return false;
    }
    let mut text = Vec::with_capacity(bytes.len());
    for (at, byte) in bytes.iter().enumerate() {
        if *byte != b'\r' || bytes.get(at + 1) != Some(&b'\n') {
            text.push(*byte);
        }
    }
    blob_id(&text) == *committed
        || blob_id(&without_ident(&text)) == *committed
        || blob_id(&without_ident(bytes)) == *committed
}

/// The text with `$Id: …$` as it is committed.
fn without_ident(text: &[u8]) -> Vec<u8> {
    const MARK: &[u8] = b"$Id: ";
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text);
    while let Some(at) = rest.windows(MARK.len()).position(|window| window == MARK) {
        let (before, after) = rest.split_at(at + MARK.len());
        // On one line, as Git expands it.
        let end = after.iter().position(|byte| matches!(byte, b'$' | b'\n')).filter(|end| after[*end] == b'$');
        match end {
            Some(end) => {
                out.extend_from_slice(&before[..at]);
                out.extend_from_slice(b"$Id$");
                rest = &after[end + 1..];
            }
            None => {
                out.extend_from_slice(before);
                rest = after;
            }
        }
    }
    out.extend_from_slice(rest);
    out
}

/// The id that Git gives a blob of these bytes, so that a file on disk and the same file in a commit are one to the memory.
fn blob_id(bytes: &[u8]) -> String {
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    context.update(format!("blob {}\0", bytes.len()).as_bytes());
    context.update(bytes);
    hex::encode(context.finish())
}

#[cfg(test)]
mod tests {
    #[test]
    fn blob_ids_are_gits() {
        assert_eq!(super::blob_id(b""), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
        assert_eq!(super::blob_id(b"hello\n"), "ce013625030ba8dba906f756967f9e9ca394464a");
    }
}
