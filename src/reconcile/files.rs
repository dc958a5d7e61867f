//! Reads the files of a source on all cores; what was read before is remembered by content.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

use crate::definitions::{self, Candidate, FileDefinitions, ReadOptions};
use crate::findings::Code;
use crate::ports::{BlobReader, Entry, Memory, Progress, Source, SourceError};
use crate::source::{Hasher, SourceText, chain, inert};

use super::selection::Reading;

/// Raised whenever reading the same bytes gives something else: what was remembered is then read again.
const READER_VERSION: u32 = 5;

/// What became of one file.
pub(super) enum FileRead {
    Definitions(Box<FileDefinitions>),
    /// Nothing in it is about image streams.
    PassedOver,
    Finding(Code, String),
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
    dirty: bool,
}

impl<M: Memory, P: Progress> Files<'_, M, P> {
    /// Reads all entries, in their order, on all cores. Also says whether a file differs from what is committed, and gives a
    /// hash over all paths and contents. The id of a file on disk is known from then on.
    pub(super) fn read(&self, entries: &mut [Entry]) -> Result<(Vec<FileRead>, bool, String), SourceError> {
        let keys: Vec<[u8; 32]> =
            entries.iter().filter_map(|entry| Some(self.key(&entry.path, entry.id.as_deref()?))).collect();
        let remembered = if self.memory.keeps() { self.memory.definitions(&keys) } else { BTreeMap::new() };
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
        Ok((read, dirty, hex::encode(content.finish())))
    }

    fn file(&self, reader: &mut dyn BlobReader, entry: &Entry, remembered: &BTreeMap<[u8; 32], Vec<u8>>) -> Keyed {
        if let Some(id) = &entry.id {
            let key = self.key(&entry.path, id);
            if let Some(definitions) = remembered.get(&key).and_then(|bytes| serde_json::from_slice(bytes).ok()) {
                let read = FileRead::Definitions(Box::new(definitions));
                return Keyed { key, id: id.clone(), read, fresh: None, dirty: false };
            }
        }
        let bytes = match reader.read(entry, self.reading.limits.file_bytes) {
            Ok(bytes) => bytes,
            Err(error) => {
                let (code, message) = explain(error);
                let id = entry.id.clone().unwrap_or_default();
                return Keyed { key: [0; 32], id, read: FileRead::Finding(code, message), fresh: None, dirty: false };
            }
        };
        let id = entry.id.clone().unwrap_or_else(|| blob_id(&bytes));
        let dirty = entry.committed.as_ref().is_some_and(|committed| *committed != id);
        let key = self.key(&entry.path, &id);
        let candidate = self.reading.selection.candidate(&entry.path);
        let (read, fresh) = self.definitions(candidate, bytes);
        Keyed { key, id, read, fresh, dirty }
    }

    fn definitions(&self, candidate: Candidate, bytes: Vec<u8>) -> (FileRead, Option<Vec<u8>>) {
        if !definitions::mentions_streams(candidate, &bytes) {
            // Passed over: cheaper to find out again than to remember. UTF-16, which tools on Windows write, hides every word.
            if candidate == Candidate::Named && (bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff])) {
                return (FileRead::Finding(Code::NotUtf8, "the file is UTF-16; save it as UTF-8".to_owned()), None);
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
        (FileRead::Definitions(Box::new(definitions)), encoded)
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
        hasher.part([u8::from(self.reading.selection.candidate(path) == Candidate::Named)]);
        hasher.part(id);
        hasher.finish()
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
