//! What was observed, and what could not be.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::openshift::{DOCKER_IMAGE, Digest, ImageReference, ImageStream, StreamId, TagId, TagReference};

use super::identities::Identities;
use super::workload::WorkloadId;

/// The three things an observation can be. `Unknown` is never folded into `Absent`: ignorance destroys nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Observed<T> {
    /// It is this.
    Known(T),
    /// It is not there, and whoever knows has said so.
    Absent,
    /// Nobody could say.
    Unknown(Ignorance),
}

/// Why something is not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ignorance {
    /// What was asked: a file, a repository, a namespace.
    pub asked: String,
    /// Why there is no answer.
    pub cause: Cause,
    /// The answer or error in words, made inert.
    pub detail: String,
    /// Not before then will it be asked again, where somebody has to be left alone; otherwise the next pass asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<Timestamp>,
}

/// Kinds of ignorance: they differ in what helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Cause {
    /// Nobody answers at that address.
    Unreachable,
    /// The answer took too long.
    TimedOut,
    /// Credentials are missing or wrong.
    Unauthorized,
    /// The credentials are good and not enough.
    Forbidden,
    /// Asked too much, come back later.
    RateLimited,
    /// The other side says it is broken.
    ServerError,
    /// The answer cannot be believed or understood.
    Malformed,
    /// The answer lacks a part: a list of tags that is shorter than it was. It is good for nothing that takes away.
    Incomplete,
    /// It could not be read.
    Unreadable,
    /// Our own policy forbids to ask.
    Refused,
}

impl fmt::Display for Cause {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed out",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::RateLimited => "rate limited",
            Self::ServerError => "server error",
            Self::Malformed => "malformed answer",
            Self::Incomplete => "incomplete answer",
            Self::Unreadable => "unreadable",
            Self::Refused => "refused by policy",
        })
    }
}

impl fmt::Display for Ignorance {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, cause, detail, again } = self;
        write!(out, "{asked}: {cause}: {detail}")?;
        match again {
            Some(again) => write!(out, "; not asked again before {again}"),
            None => Ok(()),
        }
    }
}

impl Ignorance {
    /// The next pass asks again.
    pub fn new(asked: impl Into<String>, cause: Cause, detail: impl Into<String>) -> Self {
        Self { asked: asked.into(), cause, detail: detail.into(), again: None }
    }
}

/// Everything a plan relies on besides the definitions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Live {
    /// When, to the second.
    pub observed_at: Timestamp,
    /// Which namespaces were listed whole. Missing means: not asked.
    pub listed: BTreeMap<String, Observed<()>>,
    /// The streams that were seen.
    pub streams: BTreeMap<StreamId, LiveStream>,
    /// Streams that are there and could not be read.
    pub unreadable: BTreeMap<StreamId, Ignorance>,
    /// What upstream references resolve to.
    pub upstream: BTreeMap<Question, Upstream>,
    /// Tags of repositories that are imported whole, by repository.
    pub listings: BTreeMap<(String, String), Observed<Vec<String>>>,
    /// Manifest lists that tags have now, where something of them is remembered.
    pub lists: BTreeMap<Digest, Resolution>,
    /// Streams that are as they were when the same definition left nothing to do. They are not in `streams`.
    pub settled: BTreeSet<StreamId>,
    /// Tags of ours in settled streams.
    pub settled_tags: usize,
    /// Which part of the source the last apply read; none before the first.
    pub scope: Option<String>,
    /// Tags whose image does not run: the workload that has not rolled out with it, and why.
    pub failing: BTreeMap<TagId, (WorkloadId, String)>,
    /// Workloads that might not run their images, and could not be looked at.
    pub unseen_followers: Option<Ignorance>,
}

/// A stream as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LiveStream {
    /// The object.
    pub stream: ImageStream,
    /// What of it is ours.
    pub owned: Owned,
}

/// What of a stream Streamkeeper put there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owned {
    /// The stream itself.
    pub stream: bool,
    /// Tags, each with the path of the definition that put it there.
    pub tags: BTreeMap<String, String>,
    /// Who has changed it last, if that was somebody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_writer: Option<String>,
    /// What our tags were last applied as, by tag, on targets that keep that: hashes of their definitions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub applied: BTreeMap<String, String>,
    /// Labels by key.
    pub labels: Vec<String>,
    /// Annotations by key.
    pub annotations: Vec<String>,
    /// Tags that somebody else applies, each with who: they are left alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub others: BTreeMap<String, String>,
    /// Fields outside of tags that somebody else applies, such as `labels.team`, each with who.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub other_fields: BTreeMap<String, String>,
    /// Annotations of tags that are ours, by tag, on targets that keep that.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tag_annotations: BTreeMap<String, Vec<String>>,
    /// `dockerImageRepository` is ours, on targets that keep that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub applies_repository: bool,
    /// The target keeps who owns what, and what nobody applies can be taken over by applying it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopts: bool,
    /// Which part of the source was read when it was last written, on targets that keep that for each stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The repository that was imported whole, where one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Tags that only field managers apply that the source had before, each with the path of the definition that put it there: they are
    /// taken over.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub previous: BTreeMap<String, String>,
    /// A field manager that the source had before still applies something of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_handed_over: bool,
    /// Identity of the source that made the stream, on targets that keep that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Identities of the sources of tags, by tag, where it is another one than that of the stream.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, String>,
    /// What of it another source manages; it is left alone.
    #[serde(skip)]
    pub foreign: Foreign,
}

/// What of a stream other sources manage, under the same field manager or in the same store. Nothing overrides that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Foreign {
    /// Identity of the source that manages all of it.
    pub stream: Option<String>,
    /// Identity of the source that manages everything but the tags.
    pub header: Option<String>,
    /// Tags, each with the identity of its source.
    pub tags: BTreeMap<String, String>,
}

impl Owned {
    /// Identity of the source of a tag, where it is known.
    pub fn source_of(&self, tag: &str) -> Option<&String> {
        self.sources.get(tag).or(self.source.as_ref())
    }

    /// The same for one source: what belongs to others is not its own.
    #[must_use]
    pub fn seen_by(mut self, identities: &Identities) -> Self {
        let is_foreign = |source: &&String| !identities.include(source);
        let by_tag = |tag: &String| Some((tag.clone(), self.source_of(tag).filter(is_foreign)?.clone()));
        let tags: BTreeMap<String, String> = self.tags.keys().filter_map(by_tag).collect();
        self.tags.retain(|tag, _| !tags.contains_key(tag));
        self.foreign.tags = tags;
        self.foreign.header = self.source.as_ref().filter(is_foreign).cloned();
        if self.foreign.header.is_some() {
            self.stream = false;
            self.labels.clear();
            self.annotations.clear();
            self.repository = None;
        }
        self
    }
}

/// One question to a registry: what is this reference now?
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Question {
    /// The namespace that it is for, whose pull secrets may be shown; empty: none may.
    pub namespace: String,
    /// The reference, defaults applied.
    pub reference: ImageReference,
    /// TLS need not be verified.
    pub insecure: bool,
}

/// What is known of a question, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// The answer.
    pub answer: Observed<Resolution>,
    /// When the registry gave it.
    pub checked_at: Timestamp,
}

/// What a reference resolves to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolution {
    /// Digest of the manifest, or of the manifest list.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// For a manifest list, its images in the order of the list; empty for a single image.
    pub platforms: Vec<PlatformImage>,
    /// The mirror whose word this is, where the source should have confirmed it and had no answer. A tag that has an image is
    /// not moved by that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_mirror: Option<String>,
}

/// An image of a manifest list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlatformImage {
    /// Digest of its manifest.
    pub digest: Digest,
    /// `linux`, `windows`, `unknown` (attestations).
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `v7`, `v8`, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

impl Resolution {
    /// A single image.
    pub fn image(digest: Digest, media_type: impl Into<String>) -> Self {
        Self { digest, media_type: media_type.into(), platforms: Vec::new(), only_mirror: None }
    }
}

impl Question {
    /// What a reference is, for a namespace.
    pub fn new(namespace: impl Into<String>, reference: &ImageReference, insecure: bool) -> Self {
        Self { namespace: namespace.into(), reference: reference.with_defaults(), insecure }
    }

    /// The same, of an image that is known by its digest. The tag stays: some mirrors are asked for tags alone.
    pub fn at(&self, digest: &Digest) -> Self {
        let reference = ImageReference { digest: Some(digest.clone()), ..self.reference.clone() };
        Self { reference, ..self.clone() }
    }

    /// What is asked for a tag that is filled by imports; none for other tags, and for references that do not parse (which
    /// their definition was told).
    pub fn of(namespace: &str, tag: &TagReference) -> Option<Self> {
        let from = tag.from.as_ref().filter(|from| from.kind == DOCKER_IMAGE && !tag.reference)?;
        let reference: ImageReference = from.name.parse().ok()?;
        Some(Self::new(namespace, &reference, tag.import_policy.insecure))
    }
}

impl<T> Observed<T> {
    /// The same, of what the value leads to.
    pub fn map<U>(self, to: impl FnOnce(T) -> U) -> Observed<U> {
        match self {
            Self::Known(value) => Observed::Known(to(value)),
            Self::Absent => Observed::Absent,
            Self::Unknown(ignorance) => Observed::Unknown(ignorance),
        }
    }

    /// The value, if it is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Absent | Self::Unknown(_) => None,
        }
    }

    /// Why it is not known, if it is not.
    pub fn unknown(&self) -> Option<&Ignorance> {
        match self {
            Self::Unknown(ignorance) => Some(ignorance),
            Self::Absent | Self::Known(_) => None,
        }
    }
}

impl Live {
    /// What is known of a stream: it is there, it is not there, or its namespace could not be listed.
    pub fn stream(&self, id: &StreamId) -> Observed<&LiveStream> {
        if let Some(ignorance) = self.unreadable.get(id) {
            return Observed::Unknown(ignorance.clone());
        }
        match (self.streams.get(id), self.listed.get(&id.namespace)) {
            (Some(stream), _) => Observed::Known(stream),
            (None, Some(Observed::Known(()) | Observed::Absent)) => Observed::Absent,
            (None, Some(Observed::Unknown(ignorance))) => Observed::Unknown(ignorance.clone()),
            (None, None) => {
                let asked = format!("namespace {}", id.namespace);
                Observed::Unknown(Ignorance::new(asked, Cause::Unreadable, "it was not listed"))
            }
        }
    }
}
