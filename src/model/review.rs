//! What a plan means to who has to judge it: which images change into which, and what is risky about that.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::findings::{Code, Severity};
use crate::openshift::{Digest, StreamId, TagId};

use super::desired::Origin;
use super::live::Ignorance;
use super::revision::Revision;
use super::step_id::StepId;

/// What a plan means. All of it was said by definitions, registries and the target: nothing in it is to be trusted as markup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Review {
    /// What the definitions are compared with; none: with nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Revision>,
    /// What differs between the two revisions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub definitions: Vec<DefinitionChange>,
    /// Steps that would be in the plan without the change, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending: Vec<StepId>,
    /// The images that change into others, each pair once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<ImageChange>,
    /// Tags that get another image and that no workload or build follows, where all of them could be looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unused: Vec<TagId>,
    /// What is risky, the worst first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub risks: Vec<Risk>,
    /// Risks that somebody answers for.
    #[serde(default)]
    pub waived: usize,
}

/// A stream or tag whose definition is another one than in the base.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DefinitionChange {
    /// The stream.
    pub stream: StreamId,
    /// The tag; none for the rest of the stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// What it is in the base, in a line; none: it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What it is now; none: it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Where it is defined, or was.
    pub origin: Origin,
}

/// An image that takes another one's place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageChange {
    /// The tags that it happens to.
    pub tags: Vec<TagId>,
    /// The steps that do it.
    pub steps: Vec<StepId>,
    /// The image before; none: there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<ImageSummary>,
    /// The image afterwards; none: the tag goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<ImageSummary>,
    /// In a line that a person can judge.
    pub line: String,
    /// What runs where the target runs is the same to the bit: only attestations, annotations or other platforms differ.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub runs_the_same: bool,
    /// What differs, in the order of how much it matters; values that look like secrets are masked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
    /// Layers that only the old image has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers_dropped: Vec<Layer>,
    /// Layers that only the new image has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers_new: Vec<Layer>,
    /// How many layers both have.
    #[serde(default)]
    pub layers_shared: usize,
    /// What differs in what is installed; none where nobody has looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packages: Option<PackageChanges>,
    /// Where the commits between the two can be read, if labels say so: an `https` URL of plain parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commits: Option<String>,
    /// What could not be looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unseen: Vec<Ignorance>,
}

/// An image in a few words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageSummary {
    /// Where it is pulled from.
    pub pull_spec: String,
    /// Its digest.
    pub digest: Digest,
    /// When it was made, as it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// Bytes of its layers, compressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Its platforms, `os/architecture`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<String>,
    /// Attestations beside its images.
    #[serde(default)]
    pub attestations: usize,
    /// A signature is attached to it; none where nobody has looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<bool>,
    /// Somebody's word how it was made is attached to it; none where nobody has looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attested: Option<bool>,
    /// What it is made from, as its labels say, or by the layers that it shares with an image that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
}

/// What is installed in one image and not, or in another version, in another one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PackageChanges {
    /// Who keeps the lists of the old image: `apk`, `dpkg`, `rpm`. Empty: nobody does, and nothing can be said.
    pub before: Vec<String>,
    /// Who keeps those of the new one.
    pub after: Vec<String>,
    /// Packages of the new image.
    pub installed: usize,
    /// Packages that both have, in other versions.
    pub changed: usize,
    /// Packages that the new one has alone.
    pub new: usize,
    /// Packages that it has no more.
    pub gone: usize,
    /// What differs, by name; of very many the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Difference>,
}

impl PackageChanges {
    /// How many packages differ.
    pub fn differences(&self) -> usize {
        self.changed + self.new + self.gone
    }
}

/// Something that is not the same in two images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    /// What: `user`, `env.PATH`, `label.version`, `port`, …
    pub what: String,
    /// In the old image; none: it has no such thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// In the new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// A layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// Its digest, short.
    pub digest: String,
    /// Bytes, compressed.
    pub size: u64,
    /// The command that made it, secrets masked.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub command: String,
}

/// Something in a plan that a reviewer should look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Risk {
    /// The rule that found it.
    pub rule: Code,
    /// How bad it is, after the config's severities.
    pub severity: Severity,
    /// What it is about.
    pub about: Subject,
    /// The evidence, in a sentence.
    pub message: String,
    /// Where it is defined; none where no definition is behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// The step behind it; none where it is about more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepId>,
}

/// What a risk is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Subject {
    /// The plan as a whole.
    Plan,
    /// A stream.
    Stream(StreamId),
    /// Tags, at least one.
    Tags(Vec<TagId>),
    /// A rule of the config, by its name.
    Rule(String),
    /// A key of the config.
    Key(String),
}

impl fmt::Display for Subject {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plan => out.write_str("the plan"),
            Self::Stream(stream) => write!(out, "{stream}"),
            Self::Tags(tags) => {
                let shown: Vec<String> = tags.iter().take(3).map(TagId::to_string).collect();
                out.write_str(&shown.join(", "))?;
                if tags.len() > 3 { write!(out, " and {} more", tags.len() - 3) } else { Ok(()) }
            }
            Self::Rule(name) => write!(out, "rule {name}"),
            Self::Key(key) => write!(out, "config key {key}"),
        }
    }
}
