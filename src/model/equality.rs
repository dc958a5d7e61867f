//! Values that differ and mean the same, with the rule that says so.

use crate::openshift::StreamId;

/// A place where Git and the target differ, and nothing is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Equality {
    /// The stream.
    pub stream: StreamId,
    /// The tag, if it is in one.
    pub tag: Option<String>,
    /// The field, such as `from.name` or `labels.team`.
    pub field: String,
    /// What Git says; empty where it says nothing.
    pub git: String,
    /// What the target has; empty where it has nothing.
    pub live: String,
    /// Why that is no difference.
    pub rule: EqualBy,
}

/// Why two values count as one (semantics 1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EqualBy {
    /// The namespace of the stream itself may be named or left out.
    OwnNamespace,
    /// An image of a registry has no namespace: imports drop what stands there.
    ImageNamespace,
    /// A tag of the own stream is `T` or `stream:T` (semantics 2.3).
    AliasSpelling,
    /// The server counts generations by itself (semantics 1.7).
    Generation,
    /// OpenShift's importer writes it.
    ServerAnnotation,
    /// Somebody else put it there, and nobody here has ever applied it.
    NotOurs,
    /// Another manager applies it.
    Theirs,
    /// `scheduled` is taken over by us, and so kept from the server.
    TakenOver,
}
