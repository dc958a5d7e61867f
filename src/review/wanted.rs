//! Which images a plan is about: what has to be known of them to say what it means.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Action, ImageFacts, Observed, Plan, Question};
use crate::openshift::{Digest, ImageReference};

/// Images of tags that had none are judged up to this many: of more, a person judges none.
const NEW: usize = 200;

/// Whether there are so many new images that none of them is looked at.
pub(super) fn too_many_new(plan: &Plan) -> bool {
    let moves = plan.steps.iter().flat_map(|step| &step.moves);
    let new: BTreeSet<&String> =
        moves.filter(|change| change.before.is_none()).filter_map(|it| it.after.as_ref()).collect();
    new.len() > NEW
}

/// The images that a plan changes from and to, each digest once.
pub fn wanted(plan: &Plan) -> Vec<Question> {
    let mut wanted = BTreeMap::new();
    for (digest, question) in changed(plan) {
        wanted.entry(digest).or_insert(question);
    }
    wanted.into_values().collect()
}

/// Likewise, wherever they are: what is attached to an image in one repository need not be in another.
pub fn wanted_attached(plan: &Plan) -> Vec<Question> {
    let mut wanted: BTreeMap<(String, ImageReference), bool> = BTreeMap::new();
    for (_, Question { namespace, reference, insecure }) in changed(plan) {
        *wanted.entry((namespace, reference)).or_default() |= insecure;
    }
    let question = |((namespace, reference), insecure)| Question { namespace, reference, insecure };
    wanted.into_iter().map(question).collect()
}

fn changed(plan: &Plan) -> Vec<(Digest, Question)> {
    let mut changed = Vec::new();
    let too_many = too_many_new(plan);
    for step in &plan.steps {
        let insecure = is_insecure(&step.action);
        // Of a tag that goes there is nothing to compare.
        let moves = step.moves.iter().filter(|change| change.after.is_some() && (change.before.is_some() || !too_many));
        for spec in moves.flat_map(|change| [&change.before, &change.after]).flatten() {
            let Some((digest, reference)) = pinned(spec) else { continue };
            let namespace = step.action.stream().namespace.clone();
            changed.push((digest, Question { namespace, reference, insecure }));
        }
    }
    changed
}

/// The images whose packages are to be compared: those of pairs that are not the same where the target runs.
pub fn wanted_packages(plan: &Plan, facts: &BTreeMap<Digest, Observed<ImageFacts>>) -> Vec<Question> {
    let mut wanted = BTreeMap::new();
    let image = |spec: &Option<String>| {
        let (digest, reference) = pinned(spec.as_ref()?)?;
        let image = Digest::parse(&facts.get(&digest)?.known()?.image.as_ref()?.digest)?;
        Some((image.clone(), ImageReference { digest: Some(image), ..reference }))
    };
    for step in &plan.steps {
        let insecure = is_insecure(&step.action);
        for change in &step.moves {
            if let (Some(old), Some(new)) = (image(&change.before), image(&change.after))
                && old.0 != new.0
            {
                for (digest, reference) in [old, new] {
                    let namespace = step.action.stream().namespace.clone();
                    wanted.entry(digest).or_insert(Question { namespace, reference, insecure });
                }
            }
        }
    }
    wanted.into_values().collect()
}

fn is_insecure(action: &Action) -> bool {
    matches!(action, Action::Import { images, .. } if images.iter().any(|it| it.import_policy.insecure))
}

/// The digest that a pull spec names, and where.
pub(super) fn pinned(spec: &str) -> Option<(Digest, ImageReference)> {
    let reference: ImageReference = spec.parse().ok()?;
    Some((reference.digest.clone()?, reference.with_defaults()))
}
