//! What the definitions were where a change began.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use crate::ports::{Entry, Memory, Progress, Source};
use crate::review::Base;

use super::failure::Failure;
use super::open::Opened;
use super::opener::Opener;
use super::read;
use super::session::Session;

/// A base to review against.
pub struct Basis {
    /// What Git said.
    pub base: Base,
    /// The two revisions have no commit in common that is known: they are compared as they are.
    pub is_unrelated: bool,
}

impl<O: Opener, P: Progress> Session<'_, O, P> {
    /// What the definitions were at the last commit that `revision` and the source have in common. Only files that are other ones
    /// now are read: it costs what the change touches. `head`: the files of the source.
    ///
    /// # Errors
    ///
    /// When there is no such revision, or it cannot be read.
    pub fn base(
        &self,
        opened: &Opened,
        revision: &str,
        head: &[Entry],
        memory: &impl Memory,
    ) -> Result<Basis, Failure> {
        let begun = self.opener.merge_base(revision);
        let is_unrelated = begun.is_none();
        let source: Arc<dyn Source> = self.opener.source(Some(begun.as_deref().unwrap_or(revision)))?.into();
        let now: Timestamp = (self.clock)();
        let mut reading = opened.settings.reading([], now)?;
        // Where the change gives all definitions another meaning, equal files do not say the same.
        let before = opened.settings.base_options.clone().unwrap_or_else(|| reading.options.clone());
        let is_same = before == reading.options;
        reading.options = before;
        let mut list = read::list(&*source, &reading)?;
        let revision = list.listing.revision.clone();
        let touched = if is_same { touched(&mut list.listing.entries, head) } else { None };
        let read = read::definitions(&source, list, &reading, memory, self.progress)?;
        Ok(Basis { base: Base { revision, desired: read.assembled.desired, touched }, is_unrelated })
    }
}

/// Drops the files of the base that the head has, too, and gives the paths of those that only the head has; none where contents
/// are not known. Files are told apart by their content: one of the same content elsewhere was renamed.
fn touched(base: &mut Vec<Entry>, head: &[Entry]) -> Option<BTreeSet<String>> {
    let ids =
        |entries: &[Entry]| -> Option<BTreeSet<String>> { entries.iter().map(|entry| entry.id.clone()).collect() };
    let (before, now) = (ids(base)?, ids(head)?);
    base.retain(|entry| entry.id.as_ref().is_none_or(|id| !now.contains(id)));
    let is_new = |entry: &&Entry| entry.id.as_ref().is_none_or(|id| !before.contains(id));
    Some(head.iter().filter(is_new).map(|entry| entry.path.to_string()).collect())
}
