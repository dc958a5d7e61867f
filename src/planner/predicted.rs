//! The streams as they will be: the live ones, under those that steps have changed.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::model::LiveStream;
use crate::openshift::{ImageStream, StreamId, TagId, alias_target};
use crate::rules::Streams;

/// What the steps of a plan leave behind: the streams they change; none for those that they delete.
#[derive(Clone, Debug, Default)]
pub struct ChangedStreams(BTreeMap<StreamId, Option<ImageStream>>);

/// The streams as they will be after the steps so far.
pub(super) struct PredictedStreams<'a> {
    live: &'a BTreeMap<StreamId, LiveStream>,
    changed: Cow<'a, ChangedStreams>,
}

impl<'a> PredictedStreams<'a> {
    /// Nothing is changed yet.
    pub(super) fn new(live: &'a BTreeMap<StreamId, LiveStream>) -> Self {
        Self { live, changed: Cow::Owned(ChangedStreams::default()) }
    }

    /// After the steps of a finished plan.
    pub(super) fn after(live: &'a BTreeMap<StreamId, LiveStream>, changed: &'a ChangedStreams) -> Self {
        Self { live, changed: Cow::Borrowed(changed) }
    }

    /// A step leaves the stream like that.
    pub(super) fn put(&mut self, id: StreamId, stream: Option<ImageStream>) {
        self.changed.to_mut().0.insert(id, stream);
    }

    /// What all steps together leave behind.
    pub(super) fn into_changed(self) -> ChangedStreams {
        self.changed.into_owned()
    }

    /// The tags that copy each tag.
    pub(super) fn aliases(&self) -> BTreeMap<TagId, BTreeSet<TagId>> {
        let ids: BTreeSet<&StreamId> = self.live.keys().chain(self.changed.0.keys()).collect();
        let mut aliases: BTreeMap<TagId, BTreeSet<TagId>> = BTreeMap::new();
        for id in ids {
            for tag in self.stream(id).into_iter().flat_map(|stream| &stream.spec.tags) {
                if let Some(source) = alias_target(id, tag) {
                    aliases.entry(source).or_default().insert(id.tag(&tag.name));
                }
            }
        }
        aliases
    }
}

impl Streams for PredictedStreams<'_> {
    fn stream(&self, id: &StreamId) -> Option<&ImageStream> {
        match self.changed.0.get(id) {
            Some(changed) => changed.as_ref(),
            None => self.live.get(id).map(|live| &live.stream),
        }
    }
}
