//! What the source says of the steps of a saved plan now, where it has moved on from the plan's commit.

use crate::model::{Action, Desired, DesiredStream, Plan, Step};
use crate::openshift::{StreamId, TagId, TagReference};

use super::saved::{Deviation, DeviationReason};

/// Steps of a saved plan that later commits define otherwise: a plan that was reverted since is not to be done. `then`: the definitions at
/// the plan's commit; `now`: those at the commit that the source is at.
pub fn redefined(saved: &Plan, then: &Desired, now: &Desired) -> Vec<Deviation> {
    let is_other = |step: &&Step| {
        // What cannot be read may define what the step removes.
        let is_unsure = step.action.is_removal() && !now.incomplete.is_empty();
        is_unsure || meaning(then, &step.action) != meaning(now, &step.action)
    };
    let deviation = |step: &Step| {
        let tag = step.action.tags().first().map_or(String::new(), |tag| format!(":{tag}"));
        Deviation {
            step: step.id,
            about: format!("{}{tag}", step.action.stream()),
            why: DeviationReason::Redefined { commit: now.revision.commit.clone().unwrap_or_default() },
        }
    };
    let mut deviations: Vec<Deviation> = saved.steps.iter().filter(is_other).map(deviation).collect();
    for update in &saved.updates {
        let tags: Vec<&TagId> = update.images.iter().map(|image| &image.tag).collect();
        let of = |desired: &Desired, tag: &TagId| {
            let stream = desired.streams.get(&tag.stream)?;
            Some((stream.annotations.clone(), stream.tags.get(&tag.tag).map(|tag| tag.reference.clone())))
        };
        let is_held = |desired: &Desired, tag: &TagId| desired.held.contains_key(&tag.stream);
        if tags.iter().any(|tag| of(then, tag) != of(now, tag) || is_held(then, tag) != is_held(now, tag)) {
            let commit = now.revision.commit.clone().unwrap_or_default();
            let (step, about) = (update.id, update.workload.to_string());
            deviations.push(Deviation { step, about, why: DeviationReason::Redefined { commit } });
        }
    }
    deviations
}

/// The part of the definitions that a step follows from.
#[derive(PartialEq)]
enum Meaning<'a> {
    Absent,
    Broken,
    Stream { header: Header<'a>, repository: &'a str, tags: Vec<Option<&'a TagReference>> },
}

/// All of a stream but its tags.
type Header<'a> = (
    &'a std::collections::BTreeMap<String, String>,
    &'a std::collections::BTreeMap<String, String>,
    &'a crate::openshift::ImageLookupPolicy,
    &'a Option<String>,
);

fn meaning<'a>(desired: &'a Desired, action: &Action) -> Meaning<'a> {
    let id: &StreamId = action.stream();
    let Some(stream) = desired.streams.get(id) else {
        return if desired.held.contains_key(id) { Meaning::Broken } else { Meaning::Absent };
    };
    let DesiredStream { labels, annotations, lookup_policy, keeps_tags, docker_image_repository, tags, .. } = stream;
    let tag = |name: &str| tags.get(name).map(|tag| &tag.reference);
    Meaning::Stream {
        // An annotation may suspend the stream, or say how its tags are imported.
        header: (labels, annotations, lookup_policy, keeps_tags),
        repository: docker_image_repository,
        tags: action.tags().into_iter().map(tag).collect(),
    }
}
