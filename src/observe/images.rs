//! Looking at the images that a plan would write.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    Action, Attached, Ignorance, ImageFacts, ImportItem, ImportResult, Observed, Packages, Plan, Question,
};
use crate::openshift::{Digest, ImageReference};
use crate::ports::{Progress, Registry};

use super::collect::ask_told;

/// The questions whose answers a plan relies on and whose images cannot be had, each with the reason.
pub async fn unseen(plan: &Plan, registry: &impl Registry, progress: &impl Progress) -> BTreeMap<Question, Ignorance> {
    // One image may be the answer to several questions.
    let mut wanted: BTreeMap<Question, BTreeSet<Question>> = BTreeMap::new();
    let all = plan.steps.iter().flat_map(|step| items(&step.action).iter().map(|item| (step.action.stream(), item)));
    for (stream, item) in all {
        let ImportResult::Image { digest } = &item.result else { continue };
        let Ok(from) = item.from.parse::<ImageReference>() else { continue };
        let asked = Question::new(&stream.namespace, &from, item.import_policy.insecure);
        wanted.entry(asked.at(digest)).or_default().insert(asked);
    }
    let seen = ask_told("reading images", wanted.keys().cloned(), progress, |image| async move {
        let answer = registry.fetch(&image).await;
        (image, answer)
    })
    .await;
    let mut unseen = BTreeMap::new();
    for (image, answer) in seen {
        let ignorance = match answer {
            Observed::Known(()) => continue,
            Observed::Unknown(ignorance) => ignorance,
            Observed::Absent => {
                let asked = image.reference.to_string();
                Ignorance::new(asked, crate::model::Cause::Malformed, "it was named and is not there")
            }
        };
        let asked = wanted.remove(&image).unwrap_or_default();
        unseen.extend(asked.into_iter().map(|question| (question, ignorance.clone())));
    }
    unseen
}

fn items(action: &Action) -> &[ImportItem] {
    match action {
        Action::Import { images, .. } => images,
        Action::CreateStream { .. }
        | Action::UpdateStream { .. }
        | Action::SetTag { .. }
        | Action::Follow { .. }
        | Action::DeleteTag { .. }
        | Action::DeleteStream { .. } => &[],
    }
}

/// What images are, by digest. Of those that were fetched nobody is asked.
pub async fn images(
    wanted: Vec<Question>,
    platform: (&str, &str),
    registry: &impl Registry,
    progress: &impl Progress,
) -> BTreeMap<Digest, Observed<ImageFacts>> {
    let seen = ask_told("looking at images", wanted, progress, |image| async move {
        let answer = registry.image(&image, platform).await;
        (image.reference.digest, answer)
    })
    .await;
    let mut seen: BTreeMap<Digest, Observed<ImageFacts>> =
        seen.into_iter().filter_map(|(digest, answer)| Some((digest?, answer))).collect();
    // Each may be made from another of them: so all have to be seen first.
    for answer in seen.values_mut() {
        if let Observed::Known(facts) = answer {
            facts.base = registry.base(facts);
        }
    }
    seen
}

/// What others have attached to images, by where they are.
pub async fn attached(
    wanted: Vec<Question>,
    registry: &impl Registry,
    progress: &impl Progress,
) -> BTreeMap<ImageReference, Attached> {
    let seen = ask_told("looking for signatures", wanted, progress, |image| async move {
        let answer = registry.attached(&image).await;
        (image.reference, answer)
    })
    .await;
    seen.into_iter().collect()
}

/// What is installed in images, by digest. Their layers are downloaded.
pub async fn packages(
    wanted: Vec<Question>,
    registry: &impl Registry,
    progress: &impl Progress,
) -> BTreeMap<Digest, Observed<Packages>> {
    let seen = ask_told("reading packages", wanted, progress, |image| async move {
        let answer = registry.packages(&image).await;
        (image.reference.digest, answer)
    })
    .await;
    seen.into_iter().filter_map(|(digest, answer)| Some((digest?, answer))).collect()
}
