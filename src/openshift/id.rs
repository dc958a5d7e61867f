//! Names of streams and tags, printed one way.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A stream in a namespace, printed `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct StreamId {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// A tag of a stream, printed `namespace/name:tag`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct TagId {
    /// The stream.
    pub stream: StreamId,
    /// Name of the tag.
    pub tag: String,
}

impl StreamId {
    /// The stream of that name.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// Whether namespace and name together are as long as a server takes (semantics 1.10).
    pub fn fits(&self) -> bool {
        self.namespace.len() + "/".len() + self.name.len() <= 255
    }

    /// A tag of this stream.
    pub fn tag(&self, tag: impl Into<String>) -> TagId {
        TagId { stream: self.clone(), tag: tag.into() }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Display for TagId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.stream, self.tag)
    }
}
