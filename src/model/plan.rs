//! What shall be done, in full: nothing is decided again when a plan is carried out.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::openshift::{Digest, ImageLookupPolicy, StreamId, TagId, TagImportPolicy, TagReference, TagReferencePolicy};

use super::desired::{Desired, Origin};
use super::impact::{Roll, Update};
use super::live::Ignorance;
use super::reason::Reason;
use super::review::Review;
use super::revision::Revision;
use super::step_id::StepId;
use super::workload::WorkloadId;

/// What a plan is for that is for no target.
pub const NO_TARGET: &str = "nothing: definitions alone were compared";

/// Version of the formats of saved plans and reports.
pub const FORMAT_VERSION: u32 = 1;

/// The steps from what is to what is wanted, and those that have to wait. Never edited, only made again.
///
/// Invariant: the same inputs give the same bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[must_use]
pub struct Plan {
    /// [`super::FORMAT_VERSION`].
    pub format_version: u32,
    /// Name and version of the program that made it.
    pub tool: String,
    /// What it is for, such as `store 5b0c…`: a plan is refused by any other target.
    pub target: String,
    /// The definitions.
    pub revision: Revision,
    /// Which part of the source was read, in words: a plan over another part removes nothing.
    pub scope: String,
    /// When the target and the registries were looked at.
    pub observed_at: Timestamp,
    /// Streams that the definitions name, those with errors included.
    pub streams: usize,
    /// In an order that can be carried out: removals last.
    pub steps: Vec<Step>,
    /// What should be done and cannot be yet.
    pub deferred: Vec<Deferred>,
    /// Workloads that get images from us, where nobody else gives them: after the steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub updates: Vec<Update>,
    /// What becomes of workloads that follow the tags that move.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rolls: Vec<Roll>,
    /// Workloads that could not be looked at: they may follow as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unseen: Vec<Ignorance>,
    /// What else it was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Inputs>,
    /// What it means, for who has to judge it; the executor never looks at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<Box<Review>>,
    /// [`Plan::id`], for programs that read a plan. What is read is never taken for it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Authenticates a saved plan: HMAC-SHA256 over everything else, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
}

/// What a plan was made from, beside the definitions and the target: hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Inputs {
    /// Of the config.
    pub config: String,
    /// Of what it and the flags allow.
    pub policy: String,
    /// Of the files that steps come from, by path: Git's own. `revision.content` stands for all files that were read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
}

/// One request to one system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Step {
    /// Its number.
    pub id: StepId,
    /// What to do.
    pub action: Action,
    /// Why; for people, the executor never looks at it.
    pub reason: Reason,
    /// The definition behind it; none where a definition is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// What must still be so when its turn comes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Precondition>,
    /// Steps that must have succeeded before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<StepId>,
    /// The tags whose current image changes with it, aliases included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moves: Vec<Move>,
}

/// A tag gets another current image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Move {
    /// The tag.
    pub tag: String,
    /// Pull spec it resolves to before; none when it had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Pull spec it resolves to after; none when it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// What a step does. Its meaning is [`crate::rules::perform`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Action {
    /// Make a stream with its tags.
    CreateStream {
        /// The stream.
        stream: StreamId,
        /// All of it but tags.
        header: StreamHeader,
        /// Its tags by name.
        tags: Vec<TagReference>,
    },
    /// Change a stream's labels, annotations, lookup policy or repository.
    UpdateStream {
        /// The stream.
        stream: StreamId,
        /// As it is.
        before: StreamHeader,
        /// As it shall be; labels and annotations that only `before` has are taken away.
        after: StreamHeader,
    },
    /// Make or change one tag.
    SetTag {
        /// The stream.
        stream: StreamId,
        /// As it is; none for a new tag.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<TagReference>,
        /// As it shall be.
        after: TagReference,
    },
    /// Give a tag that copies another stream's tag the image that one has now.
    Follow {
        /// The stream.
        stream: StreamId,
        /// The tag that follows.
        tag: String,
        /// The tag it follows.
        source: TagId,
    },
    /// Import images, exactly these.
    Import {
        /// The stream.
        stream: StreamId,
        /// One entry a tag.
        images: Vec<ImportItem>,
        /// With this, the whole of that repository is imported (`dockerImageRepository`).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        repository: Option<String>,
    },
    /// Remove a tag from spec and status.
    DeleteTag {
        /// The stream.
        stream: StreamId,
        /// The tag.
        tag: String,
    },
    /// Remove a stream.
    DeleteStream {
        /// The stream.
        stream: StreamId,
    },
}

/// All of a stream but its tags.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StreamHeader {
    /// Labels that are ours.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations that are ours.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Lookup policy.
    #[serde(default)]
    pub lookup_policy: ImageLookupPolicy,
    /// Repository to import whole, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub docker_image_repository: String,
}

/// One image of an import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImportItem {
    /// The tag it goes to.
    pub tag: String,
    /// The pull spec as defined.
    pub from: String,
    /// The tag's policy as defined, so that the import changes nothing else (semantics 3.8).
    pub import_policy: TagImportPolicy,
    /// Likewise.
    pub reference_policy: TagReferencePolicy,
    /// What the import finds.
    pub result: ImportResult,
}

/// What an import finds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum ImportResult {
    /// An image.
    Image {
        /// Its digest.
        digest: Digest,
    },
    /// A definite no, which becomes a condition of the tag.
    Failure(ImportFailure),
}

/// Why an import failed, as `ImportSuccess=False` records it (semantics 3.8).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportFailure {
    /// `NotFound`, `Unauthorized`, …
    pub reason: String,
    /// For people.
    pub message: String,
}

/// What must be so for a step to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Precondition {
    /// There is no such stream.
    StreamAbsent {
        /// The stream.
        stream: StreamId,
    },
    /// The stream is as it was seen.
    ResourceVersion {
        /// The stream.
        stream: StreamId,
        /// Its version then.
        version: String,
        /// Its identity then.
        uid: String,
    },
    /// A workload has the images that it was seen with.
    WorkloadAt {
        /// The workload.
        workload: WorkloadId,
        /// The first of them that was to change.
        image: String,
    },
    /// A tag has this current image.
    TagAt {
        /// The tag.
        tag: TagId,
        /// Pull spec of its head; none: it has no image, or is not there, and what copies it gets none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
}

impl Precondition {
    /// The stream that it is about; none for a workload.
    pub fn stream(&self) -> Option<&StreamId> {
        match self {
            Self::StreamAbsent { stream } | Self::ResourceVersion { stream, .. } => Some(stream),
            Self::TagAt { tag, .. } => Some(&tag.stream),
            Self::WorkloadAt { .. } => None,
        }
    }

    /// Whether it holds a stream to one version, or to not being there.
    pub fn is_version(&self) -> bool {
        matches!(self, Self::StreamAbsent { .. } | Self::ResourceVersion { .. })
    }
}

/// A step that has to wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deferred {
    /// The stream it is about.
    pub stream: StreamId,
    /// The tag, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// What would be done.
    pub action: DeferredAction,
    /// Where it is defined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// For what it waits.
    pub wait: Wait,
}

/// What would be done if it did not have to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum DeferredAction {
    /// Whatever the stream needs.
    Reconcile,
    /// Import an image.
    Import,
    /// Copy another stream's tag.
    Follow,
    /// Remove a tag.
    DeleteTag,
    /// Remove a stream.
    DeleteStream,
}

/// For what a step waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Wait {
    /// Something could not be observed.
    Unknown(Ignorance),
    /// The definition has errors, or somebody asked to wait.
    Held {
        /// By what.
        by: String,
    },
    /// More would be removed than one run may.
    OverLimit {
        /// How many removals there would be.
        removals: usize,
        /// How many there may be.
        limit: usize,
    },
    /// It belongs to somebody else.
    NotOwned {
        /// To whom, or what.
        by: String,
    },
    /// The upstream tag has another image; nobody asked to follow it.
    Behind {
        /// The image upstream.
        upstream: Digest,
        /// The image the tag has.
        current: String,
    },
    /// The upstream tag has another image, and the server imports it on its own schedule.
    Scheduled {
        /// The image upstream.
        upstream: Digest,
        /// The image the tag has.
        current: String,
    },
    /// The registry has said that there is no such image.
    NotFound {
        /// The reference.
        reference: String,
    },
    /// A rule forbids it.
    Refused {
        /// Which, and why.
        rule: String,
    },
}

impl Plan {
    /// A plan for these definitions without any step.
    pub fn of(desired: &Desired, tool: &str, target: &str, observed_at: Timestamp) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            tool: tool.to_owned(),
            target: target.to_owned(),
            revision: desired.revision.clone(),
            scope: desired.scope.clone(),
            observed_at,
            streams: desired.streams.len() + desired.held.len(),
            steps: Vec::new(),
            deferred: Vec::new(),
            updates: Vec::new(),
            rolls: Vec::new(),
            unseen: Vec::new(),
            inputs: None,
            review: None,
            id: String::new(),
            mac: None,
        }
    }

    /// Nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.updates.is_empty()
    }

    /// Definitions alone were compared, and no target was looked at: there are no steps.
    pub fn is_comparison(&self) -> bool {
        self.target == NO_TARGET
    }

    /// What is to be done and cannot be done now.
    pub fn blocked(&self) -> impl Iterator<Item = &Deferred> {
        self.deferred.iter().filter(|deferred| !deferred.wait.is_note())
    }

    /// Whether the target is as the definitions want it: nothing is to be done, and nothing is blocked.
    pub fn is_in_sync(&self) -> bool {
        self.is_empty() && self.is_complete()
    }

    /// Nothing has to wait. Tags that are behind and not followed, or not by us, wait for nobody.
    pub fn is_complete(&self) -> bool {
        self.deferred.iter().all(|deferred| deferred.wait.is_note())
    }
}

impl Wait {
    /// It is told, and nothing is missing.
    pub fn is_note(&self) -> bool {
        matches!(self, Self::Behind { .. } | Self::Scheduled { .. })
    }
}

impl Action {
    /// The stream it writes.
    pub fn stream(&self) -> &StreamId {
        match self {
            Self::CreateStream { stream, .. }
            | Self::UpdateStream { stream, .. }
            | Self::SetTag { stream, .. }
            | Self::Follow { stream, .. }
            | Self::Import { stream, .. }
            | Self::DeleteTag { stream, .. }
            | Self::DeleteStream { stream } => stream,
        }
    }

    /// The tags that it names; of a whole stream, none.
    pub fn tags(&self) -> Vec<&str> {
        match self {
            Self::CreateStream { tags, .. } => tags.iter().map(|tag| tag.name.as_str()).collect(),
            Self::SetTag { after, .. } => vec![&after.name],
            Self::Follow { tag, .. } | Self::DeleteTag { tag, .. } => vec![tag],
            Self::Import { images, .. } => images.iter().map(|item| item.tag.as_str()).collect(),
            Self::UpdateStream { .. } | Self::DeleteStream { .. } => Vec::new(),
        }
    }

    /// What it does, in a word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::CreateStream { .. } => "createStream",
            Self::UpdateStream { .. } => "updateStream",
            Self::SetTag { .. } => "setTag",
            Self::Follow { .. } => "follow",
            Self::Import { .. } => "import",
            Self::DeleteTag { .. } => "deleteTag",
            Self::DeleteStream { .. } => "deleteStream",
        }
    }

    /// The images whose import it writes down as failed, each with why.
    pub fn failed_imports(&self) -> impl Iterator<Item = (&ImportItem, &ImportFailure)> {
        let images = if let Self::Import { images, .. } = self { images.as_slice() } else { &[] };
        images.iter().filter_map(|item| match &item.result {
            ImportResult::Failure(failure) => Some((item, failure)),
            ImportResult::Image { .. } => None,
        })
    }

    /// Whether a tag is gone after it.
    pub fn removes(&self, tag: &TagId) -> bool {
        match self {
            Self::DeleteTag { stream, tag: name } => tag.stream == *stream && tag.tag == *name,
            Self::DeleteStream { stream } => tag.stream == *stream,
            Self::CreateStream { .. }
            | Self::UpdateStream { .. }
            | Self::SetTag { .. }
            | Self::Follow { .. }
            | Self::Import { .. } => false,
        }
    }

    /// Whether it takes something away.
    pub fn is_removal(&self) -> bool {
        match self {
            Self::DeleteTag { .. } | Self::DeleteStream { .. } => true,
            Self::CreateStream { .. }
            | Self::UpdateStream { .. }
            | Self::SetTag { .. }
            | Self::Follow { .. }
            | Self::Import { .. } => false,
        }
    }
}
