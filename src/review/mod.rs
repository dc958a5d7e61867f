//! What a change really changes, for who has to judge it.
//!
//! Pure, over facts that were fetched by digest: `definitions` compares two revisions, `images` two images, `risks` says what to
//! look at, `secrets` what not to show. [`review`] puts it together; what it gives travels in the plan.
//! May name `api`, `model` and `text`.
//! Tests: beside the code, `tests/it/review.rs`.

mod definitions;
mod images;
mod risks;
mod secrets;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Desired, Digest, ImageFacts, Live, Observed, Plan, Review, Revision};
use crate::text::Diagnostic;

pub use images::{Wanted, wanted};
pub use risks::{WORKLOADS, risk_of};
pub use secrets::masked;

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
    /// What is there.
    pub live: &'a Live,
    /// The images by digest.
    pub facts: &'a BTreeMap<Digest, Observed<ImageFacts>>,
    /// More workloads than this at once are worth a word.
    pub most_workloads: usize,
    /// Operating system and architecture that the target runs on.
    pub platform: (&'a str, &'a str),
}

/// What a plan means; and what is risky, to be judged by the config.
pub fn review(input: &Input<'_>) -> (Review, Vec<Diagnostic>) {
    let base: Option<Revision> = input.base.map(|base| base.revision.clone());
    let definitions = input.base.map(|base| definitions::changes(base, input.desired)).unwrap_or_default();
    let images = images::changes(input);
    let pending = input.base.map(|_| definitions::pending(input.plan, &definitions)).unwrap_or_default();
    let risks = risks::risks(input, &images, &pending);
    (Review { base, definitions, pending, images, risks: Vec::new(), waived: 0 }, risks)
}
