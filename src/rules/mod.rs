//! What image streams do.
//!
//! [`answer`] is the meaning of a request to the image API: given a stream as it is, what is it afterwards? [`perform`] is
//! the meaning of a plan's action, said in such requests. The planner uses it to see what its own earlier steps will
//! have done, the store to do them, the tests' API server to answer; the exchanges recorded from a real server prove it
//! right (`tests/it/recorded.rs`). Pure; may name `openshift` and `model`. Rules cite `imagestream-semantics.md` as
//! "semantics 1.7".

mod changes;
mod events;
mod history;
mod import;
mod import_due;
mod moves;
mod perform;
mod precondition;
mod refusal;
mod resolve;
mod satisfied;
mod sources;
mod triggers;
mod validate;
mod workload;
mod write;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::model::{ImportItem, LiveStream};
use crate::openshift::{ImageStream, StreamId, TagReference};

pub use changes::changes;
pub use history::history;
pub use import::check_import;
pub use import_due::{ImportDue, import_due};
pub use moves::moves;
pub use perform::perform;
pub use precondition::{Check, as_is, at_head, check, check_workload};
pub use refusal::{Cause, Refusal, RefusalReason};
pub use resolve::{choose_image, platform, preferred_platform, resolve, source_changed};
pub use satisfied::{is_same, is_satisfied};
pub use sources::{other_source, sources};
pub use triggers::{Fires, Follows, fires, follows, image, runs};
pub use workload::{build_uses, may_follow, read_workload};

/// What a request is answered from.
#[derive(Clone, Copy)]
pub struct State<'a> {
    /// Name of the stream.
    pub id: &'a StreamId,
    /// The stream as it is; none when there is none.
    pub stream: Option<&'a ImageStream>,
    /// The other streams, which tags can name.
    pub others: &'a dyn Streams,
    /// How the server is set up.
    pub server: &'a Server,
}

/// Other streams by name.
pub trait Streams {
    /// That stream, or none.
    fn stream(&self, id: &StreamId) -> Option<&ImageStream>;
}

/// How a server is set up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Server {
    /// Host of the integrated registry, where there is one (semantics 1.9).
    pub internal_registry: Option<String>,
    /// Platform that `Legacy` imports prefer: operating system and architecture (semantics 3.6).
    pub platform: (String, String),
}

/// A request to the image API.
pub enum Request<'a> {
    /// POST of a stream.
    Create(&'a ImageStream),
    /// PUT of a stream (PATCH and apply come down to it).
    Update(&'a ImageStream),
    /// POST or PUT of an ImageStreamTag: the tag is replaced, the stream made if it is not there.
    PutTag(&'a TagReference),
    /// What a new write of a tag that copies another stream's does: take its image over once more (semantics 2.1).
    Follow(&'a str),
    /// ImageStreamImport with its images looked up.
    Import(&'a [ImportItem]),
    /// DELETE of an ImageStreamTag.
    DeleteTag(&'a str),
    /// DELETE of the stream.
    Delete,
}

/// What a request leaves behind.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Effect {
    /// The stream afterwards; none when it is gone. Its `resourceVersion` is for whoever stores it.
    pub stream: Option<ImageStream>,
    /// Whether anything is to be written.
    pub changed: bool,
}

/// The meaning of a request.
///
/// # Errors
///
/// What the API server would refuse, in its words.
pub fn answer(state: State<'_>, request: &Request<'_>, now: Timestamp) -> Result<Effect, Refusal> {
    match request {
        Request::Create(stream) => write::create(state, stream, now),
        Request::Update(stream) => write::update(state, stream, now),
        Request::PutTag(tag) => write::put_tag(state, tag, now),
        Request::Follow(tag) => write::follow(state, tag, now),
        Request::Import(items) => import::import(state, items, now),
        Request::DeleteTag(tag) => write::delete_tag(state, tag),
        Request::Delete => write::delete(state),
    }
}

impl Server {
    /// The same, with the integrated registry that the status of streams shows (semantics 1.9).
    #[must_use]
    pub fn seen<'a>(&self, streams: impl IntoIterator<Item = (&'a StreamId, &'a ImageStream)>) -> Self {
        let host = |(id, stream): (&StreamId, &ImageStream)| {
            let shown = &stream.status.docker_image_repository;
            let host = shown.strip_suffix(&format!("/{}/{}", id.namespace, id.name))?;
            stream.spec.docker_image_repository.is_empty().then(|| host.to_owned())
        };
        let internal_registry = self
            .internal_registry
            .clone()
            .or_else(|| streams.into_iter().find_map(host).filter(|host| !host.is_empty()));
        Self { internal_registry, ..self.clone() }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self { internal_registry: None, platform: ("linux".to_owned(), "amd64".to_owned()) }
    }
}

impl Streams for BTreeMap<StreamId, LiveStream> {
    fn stream(&self, id: &StreamId) -> Option<&ImageStream> {
        self.get(id).map(|live| &live.stream)
    }
}

impl Streams for BTreeMap<StreamId, ImageStream> {
    fn stream(&self, id: &StreamId) -> Option<&ImageStream> {
        self.get(id)
    }
}
