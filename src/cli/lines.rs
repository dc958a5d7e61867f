//! Lines of files that findings are about.

use std::collections::BTreeMap;

use crate::ports::{BlobReader, Entry, Source};
use crate::render::SourceLines;

/// Reads files again to show lines of them, one at a time: findings come sorted by file.
pub(super) struct Files<'a> {
    reader: Option<Box<dyn BlobReader + 'a>>,
    entries: BTreeMap<&'a str, &'a Entry>,
    limit: u64,
    current: Option<(String, Option<String>)>,
}

impl<'a> Files<'a> {
    pub(super) fn new(source: &'a dyn Source, entries: &'a [Entry], limit: u64) -> Self {
        let entries = entries.iter().map(|entry| (&*entry.path, entry)).collect();
        Self { reader: source.reader().ok(), entries, limit, current: None }
    }
}

impl SourceLines for Files<'_> {
    fn text(&mut self, path: &str) -> Option<&str> {
        if self.current.as_ref().is_none_or(|(current, _)| current != path) {
            let bytes = self.entries.get(path).and_then(|entry| self.reader.as_mut()?.read(entry, self.limit).ok());
            let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
            self.current = Some((path.to_owned(), text));
        }
        self.current.as_ref()?.1.as_deref()
    }
}
