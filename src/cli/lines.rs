//! Lines of files that findings are about.

use std::collections::BTreeMap;

use crate::ports::{BlobReader, Entry, Source};
use crate::render::SourceLines;

/// Bytes that are gone through for the sake of lines, each finding's file counted: after that, findings show none.
const BYTES: u64 = 256 * 1024 * 1024;

/// Reads files again to show lines of them, one at a time: findings come sorted by file. What has the same blob is read once.
pub(super) struct Files<'a> {
    reader: Option<Box<dyn BlobReader + 'a>>,
    entries: BTreeMap<&'a str, &'a Entry>,
    limit: u64,
    /// Bytes that are left of [`BYTES`].
    left: u64,
    current: Option<Current<'a>>,
}

struct Current<'a> {
    path: String,
    blob: Option<&'a str>,
    text: Option<String>,
}

impl<'a> Files<'a> {
    pub(super) fn new(source: &'a dyn Source, entries: &'a [Entry], limit: u64) -> Self {
        let entries = entries.iter().map(|entry| (&*entry.path, entry)).collect();
        Self { reader: source.reader().ok(), entries, limit, left: BYTES, current: None }
    }
}

impl SourceLines for Files<'_> {
    fn text(&mut self, path: &str) -> Option<&str> {
        let entry = self.entries.get(path).copied();
        let blob = entry.and_then(|entry| entry.id.as_deref());
        let is_current = |current: &Current<'_>| current.path == path || (blob.is_some() && current.blob == blob);
        if self.left > 0 && !self.current.as_ref().is_some_and(is_current) {
            let bytes = entry.and_then(|entry| self.reader.as_mut()?.read(entry, self.limit).ok());
            let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
            self.current = Some(Current { path: path.to_owned(), blob, text });
        }
        let text = self.current.as_ref()?.text.as_deref()?;
        self.left = self.left.saturating_sub(text.len() as u64);
        (self.left > 0).then_some(text)
    }
}
