//! What the source says of the steps of a saved plan now, where it has moved on from the plan's commit.

use crate::model::{Action, Desired, DesiredStream, Plan, Step};
use crate::openshift::{StreamId, TagReference};

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
    saved.steps.iter().filter(is_other).map(deviation).collect()
}

/// The part of the definitions that a step follows from.
#[derive(PartialEq)]
enum Meaning<'a> {
    Absent,
    Broken,
    Stream { header: Option<Header<'a>>, repository: &'a str, tags: Vec<Option<&'a TagReference>> },
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
    let is_whole = matches!(action, Action::CreateStream { .. } | Action::UpdateStream { .. });
    let DesiredStream { labels, annotations, lookup_policy, keeps_tags, docker_image_repository, tags, .. } = stream;
    let tag = |name: &str| tags.get(name).map(|tag| &tag.reference);
    Meaning::Stream {
        header: is_whole.then_some((labels, annotations, lookup_policy, keeps_tags)),
        repository: docker_image_repository,
        tags: action.tags().into_iter().map(tag).collect(),
    }
}
