//! A target with its streams, for commands that show them.

use std::collections::{BTreeMap, BTreeSet};

use tokio::runtime::Runtime;

use crate::model::{Change, LiveStream};
use crate::openshift::StreamId;
use crate::reconcile::Settings;
use crate::rules;
use crate::source::inert;

use super::args::Args;
use super::failure::Failure;
use super::process::runtime;
use super::target::Live;

/// A target with its streams.
pub(super) struct LiveStreams {
    pub(super) live: Live,
    pub(super) streams: BTreeMap<StreamId, LiveStream>,
    pub(super) runtime: Runtime,
}

impl LiveStreams {
    /// Opens the target and looks at the streams of these namespaces.
    pub(super) fn open(settings: &Settings, args: &Args, namespaces: BTreeSet<String>) -> Result<Self, Failure> {
        let runtime = runtime()?;
        let live = runtime.block_on(Live::open(args, settings))?;
        let mut streams = BTreeMap::new();
        for namespace in namespaces {
            streams.extend(runtime.block_on(live.streams(&namespace))?);
        }
        Ok(Self { live, streams, runtime })
    }

    /// The stream and the tag that a name is about. A name without a namespace, where none is given either, is that of a stream in the usual
    /// namespace; otherwise of the one namespace that has such a stream.
    ///
    /// # Errors
    ///
    /// When it is no name, or several namespaces have such a stream.
    pub(super) fn named(
        &self,
        settings: &Settings,
        args: &Args,
        name: &str,
    ) -> Result<(StreamId, Option<String>), Failure> {
        let (id, tag) = settings.name(name)?;
        if args.namespace.is_some() || name.contains('/') || self.streams.contains_key(&id) {
            return Ok((id, tag));
        }
        let others: Vec<&StreamId> = self.streams.keys().filter(|other| other.name == id.name).collect();
        match others[..] {
            [] => Ok((id, tag)),
            [other] => Ok((other.clone(), tag)),
            [first, ..] => {
                let namespaces: Vec<&str> = others.iter().map(|other| &*other.namespace).collect();
                let message = format!("`{}` is in the namespaces {}", inert(&id.name, 120), namespaces.join(", "));
                Err(Failure::usage(message).hint(format!("name one of them, such as `{first}`, or give `--namespace`")))
            }
        }
    }

    /// Changes of a stream, or of one tag of it, newest first.
    pub(super) fn changes(&self, id: &StreamId, tag: Option<&str>, limit: usize) -> Result<Vec<Change>, Failure> {
        match &self.live {
            Live::Store(reader) => Ok(reader.changes(id, tag, limit)?),
            Live::Cluster(cluster) => {
                let recorded = self.runtime.block_on(cluster.changes(id))?;
                let stream = self.streams.get(id).map(|live| &live.stream);
                Ok(rules::history(id, tag, recorded, stream, limit))
            }
        }
    }

    /// The last change of a stream that was written down.
    pub(super) fn last_recorded(&self, id: &StreamId) -> Result<Option<Change>, Failure> {
        let changes = match &self.live {
            Live::Store(reader) => reader.changes(id, None, 1)?,
            Live::Cluster(cluster) => self.runtime.block_on(cluster.changes(id))?,
        };
        Ok(changes.into_iter().next())
    }

    /// When the store first saw an image.
    pub(super) fn first_seen(&self, digest: &str) -> Result<Option<jiff::Timestamp>, Failure> {
        match &self.live {
            Live::Store(reader) => Ok(reader.first_seen(digest)?),
            Live::Cluster(_) => Ok(None),
        }
    }
}

/// The commit behind a change, cut, with a mark where the files differed from it.
pub(super) fn commit_of(change: &Change) -> String {
    let commit = change.revision.as_deref().map_or("no commit".to_owned(), |commit| inert(commit, 12));
    if change.dirty { format!("{commit} (dirty)") } else { commit }
}

/// The same in a sentence.
pub(super) fn by_commit(change: &Change) -> String {
    let commit = commit_of(change);
    if change.revision.is_some() { format!("commit {commit}") } else { commit }
}
