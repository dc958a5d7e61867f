//! What a plan is reviewed with.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Attached, Desired, ImageFacts, Observed, Packages, Plan, Revision};
use crate::openshift::{Digest, ImageReference};

/// What Git said before: of the files that are other ones now. A file that was renamed is none of them.
pub struct Base {
    /// The revision.
    pub revision: Revision,
    /// What those files defined.
    pub desired: Desired,
    /// The paths of those that are other ones now; none: of all of them.
    pub touched: Option<BTreeSet<String>>,
}

/// What was found out, to judge by.
pub struct Input<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// What Git says.
    pub desired: &'a Desired,
    /// What Git said before; none: there is nothing to compare with.
    pub base: Option<&'a Base>,
    /// The images by digest.
    pub facts: &'a BTreeMap<Digest, Observed<ImageFacts>>,
    /// What is attached to them, by where they are; empty where nobody has looked.
    pub attached: &'a BTreeMap<ImageReference, Attached>,
    /// What is installed in them, by the digest of the single image; empty where nobody has looked.
    pub packages: &'a BTreeMap<Digest, Observed<Packages>>,
    /// More workloads than this at once are worth a word.
    pub most_workloads: usize,
    /// Operating system and architecture that the target runs on.
    pub platform: (&'a str, &'a str),
}
