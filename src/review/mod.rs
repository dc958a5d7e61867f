//! What a change really changes, for who has to judge it.
//!
//! Pure, over facts that were fetched by digest: `wanted` says which, `definitions` compares two revisions, `images` two images, `risks` says what to
//! look at, `secrets` what not to show. [`review`] puts it together; what it gives travels in the plan.
//! May name `api`, `model` and `text`.
//! Tests: beside the code, `tests/it/review.rs`.

mod definitions;
mod images;
mod risks;
mod secrets;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    Attached, Desired, Digest, ImageFacts, ImageReference, Observed, Packages, Plan, Review, Revision, StreamId, TagId,
};
use crate::text::Diagnostic;

pub use risks::{WORKLOADS, risk_of};
pub use secrets::masked;
pub use wanted::{wanted, wanted_attached, wanted_packages};

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

/// Tags that get another image, and that nobody follows. What could not be looked at may follow: then none is named.
fn unused(plan: &Plan) -> Vec<TagId> {
    if !plan.unseen.is_empty() {
        return Vec::new();
    }
    let followed: BTreeSet<&TagId> = plan
        .rolls
        .iter()
        .flat_map(|roll| roll.follows.iter().chain(roll.images.iter().map(|image| &image.tag)))
        .collect();
    let moved: Vec<(TagId, &String)> = plan
        .steps
        .iter()
        .flat_map(|step| step.moves.iter().map(move |it| (step.action.stream(), it)))
        .filter_map(|(stream, it)| it.before.as_ref().and(it.after.as_ref()).map(|after| (stream.tag(&it.tag), after)))
        .collect();
    // Who follows an alias follows what it copies.
    let used: BTreeSet<(&StreamId, &String)> =
        moved.iter().filter(|(tag, _)| followed.contains(tag)).map(|(tag, after)| (&tag.stream, *after)).collect();
    let is_used = |tag: &TagId, after: &String| followed.contains(tag) || used.contains(&(&tag.stream, after));
    let unused: BTreeSet<TagId> =
        moved.iter().filter(|(tag, after)| !is_used(tag, after)).map(|(tag, _)| tag.clone()).collect();
    unused.into_iter().collect()
}

/// What a plan means; and what is risky, to be judged by the config.
pub fn review(input: &Input<'_>) -> (Review, Vec<Diagnostic>) {
    let base: Option<Revision> = input.base.map(|base| base.revision.clone());
    let definitions = input.base.map(|base| definitions::changes(base, input.desired)).unwrap_or_default();
    let images = images::changes(input);
    let pending = input.base.map(|_| definitions::pending(input.plan, &definitions)).unwrap_or_default();
    let risks = risks::risks(input, &images, &pending);
    let unused = unused(input.plan);
    (Review { base, definitions, pending, images, unused, risks: Vec::new(), waived: 0 }, risks)
}
