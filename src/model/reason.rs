//! Why a step is done, for people.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::openshift::TagId;

/// Why a step is in a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Reason {
    /// It is wanted and not there.
    Missing,
    /// The definition changed in these fields.
    Changed {
        /// Paths such as `from.name`.
        fields: Vec<String>,
    },
    /// A followed upstream tag has another image.
    UpstreamMoved,
    /// A followed upstream tag has another list of images, in which the image for this platform is the same: nothing that
    /// runs there changes.
    ListMoved {
        /// `os/architecture`.
        platform: String,
    },
    /// It is as it should be, and nobody keeps it so: from now on we do.
    Adopted,
    /// It was asked for with `--refresh`.
    Asked,
    /// The last import failed.
    ImportFailed {
        /// Since when.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<Timestamp>,
    },
    /// It copies that tag, which has another image.
    Follows {
        /// The tag.
        tag: TagId,
    },
    /// Somebody else changed it.
    Drifted {
        /// Fields that differ.
        fields: Vec<String>,
        /// Who, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// It is ours and no longer defined.
    NotInRevision,
}
