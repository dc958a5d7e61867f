//! Why what differs is no difference.

use crate::model::{DesiredStream, EqualBy, Equality, LiveStream};
use crate::openshift::{DOCKER_IMAGE, ImageStream, REPOSITORY_CHECK_ANNOTATION, StreamId, TagReference};

use super::input::PlanInput;
use super::streams;

/// Every place in which Git and the target differ without anything to do, each with the rule.
pub fn equalities(input: &PlanInput<'_>) -> Vec<Equality> {
    let mut all = Vec::new();
    for (id, wanted) in &input.desired.streams {
        let Some(live) = input.live.streams.get(id) else { continue };
        header(id, wanted, live, &mut all);
        tags(input, id, wanted, live, &mut all);
    }
    all
}

fn header(id: &StreamId, wanted: &DesiredStream, live: &LiveStream, all: &mut Vec<Equality>) {
    let metadata = &live.stream.metadata;
    for (name, is, wanted, ours) in [
        ("labels", &metadata.labels, &wanted.labels, &live.owned.labels),
        ("annotations", &metadata.annotations, &wanted.annotations, &live.owned.annotations),
    ] {
        for (key, value) in is.iter().filter(|(key, _)| !wanted.contains_key(*key) && !ours.contains(key)) {
            let rule = if key == REPOSITORY_CHECK_ANNOTATION { EqualBy::ServerAnnotation } else { EqualBy::NotOurs };
            let field = format!("{name}.{key}");
            all.push(Equality { stream: id.clone(), tag: None, field, git: String::new(), live: value.clone(), rule });
        }
    }
    let repository = &live.stream.spec.docker_image_repository;
    if wanted.docker_image_repository.is_empty() && !repository.is_empty() && !live.owned.applies_repository {
        let (field, git, live) = ("dockerImageRepository".to_owned(), String::new(), repository.clone());
        all.push(Equality { stream: id.clone(), tag: None, field, git, live, rule: EqualBy::NotOurs });
    }
}

fn tags(input: &PlanInput<'_>, id: &StreamId, wanted: &DesiredStream, live: &LiveStream, all: &mut Vec<Equality>) {
    let ImageStream { spec, .. } = &live.stream;
    for is in &spec.tags {
        let mut push = |field: &str, git: String, live: String, rule: EqualBy| {
            let (stream, tag, field) = (id.clone(), Some(is.name.clone()), field.to_owned());
            all.push(Equality { stream, tag, field, git, live, rule });
        };
        let from = |tag: &TagReference| tag.from.as_ref().map(|from| from.name.clone()).unwrap_or_default();
        let Some(wanted) = wanted.tags.get(&is.name) else {
            if live.owned.others.contains_key(&is.name) {
                push("tag", String::new(), from(is), EqualBy::Theirs);
            } else if !live.owned.tags.contains_key(&is.name) {
                push("tag", String::new(), from(is), EqualBy::NotOurs);
            }
            continue;
        };
        let wanted = &wanted.reference;
        let written = input.policy.written(wanted);
        // What is a difference is in the plan.
        let differs = streams::tag_differences(id, is, &written);
        let same = |field: &str| !differs.iter().any(|differing| differing == field);
        let (mine, theirs) = (wanted.from.clone().unwrap_or_default(), is.from.clone().unwrap_or_default());
        if mine.namespace != theirs.namespace && same("from.namespace") {
            let rule = if mine.kind == DOCKER_IMAGE { EqualBy::ImageNamespace } else { EqualBy::OwnNamespace };
            push("from.namespace", mine.namespace, theirs.namespace, rule);
        }
        if mine.name != theirs.name && same("from.name") {
            push("from.name", mine.name, theirs.name, EqualBy::AliasSpelling);
        }
        if wanted.generation != is.generation {
            let number = |generation: Option<i64>| generation.map_or(String::new(), |number| number.to_string());
            push("generation", number(wanted.generation), number(is.generation), EqualBy::Generation);
        }
        let (mine, theirs) = (wanted.import_policy.scheduled, is.import_policy.scheduled);
        if mine != theirs && same("importPolicy.scheduled") {
            push("importPolicy.scheduled", mine.to_string(), theirs.to_string(), EqualBy::TakenOver);
        }
        let ours = live.owned.tag_annotations.get(&is.name);
        for (key, value) in is.annotations.iter().filter(|(key, _)| !wanted.annotations.contains_key(*key)) {
            if live.owned.adopts && ours.is_none_or(|ours| !ours.contains(key)) {
                push(&format!("annotations.{key}"), String::new(), value.clone(), EqualBy::NotOurs);
            }
        }
    }
}
