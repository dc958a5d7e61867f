//! What a change really changes, for who has to judge it.
//!
//! Pure, over facts that were fetched by digest: `wanted` says which, `definitions` compares two revisions, `images` two images, `risks` says what to
//! look at, `secrets` what not to show. [`review`] puts it together; what it gives travels in the plan.
//! May name `findings`, `model`, `openshift`, `rules` and `source`.
//! Tests: beside the code, `tests/it/review.rs`.

mod custom_rules;
mod definitions;
mod images;
mod imports;
mod input;
mod risks;
mod rule_cost;
mod secrets;
mod wanted;

use std::collections::BTreeSet;

use crate::model::{Plan, Review, Revision};
use crate::openshift::{StreamId, TagId};

pub use custom_rules::{CustomRule, RuleError, broken_rules};
pub use input::{Base, Input};
pub use risks::{config_keys, judge};
pub use secrets::masked;
pub use wanted::{wanted, wanted_attached, wanted_packages};

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

/// What a plan means. Its risks are not judged by the config yet.
pub fn review(input: &Input<'_>) -> Review {
    let base: Option<Revision> = input.base.map(|base| base.revision.clone());
    let definitions = input.base.map(|base| definitions::changes(base, input.desired)).unwrap_or_default();
    let images = images::changes(input);
    let pending = input.base.map(|_| definitions::pending(input.plan, &definitions)).unwrap_or_default();
    let mut risks = risks::risks(input, &images, &pending);
    risks.extend(imports::risks(input, &pending, input.base.map(|_| &*definitions)));
    let unused = unused(input.plan);
    Review { base, definitions, pending, images, unused, risks, waived: 0 }
}
