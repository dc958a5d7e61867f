//! Workloads that use tags, as `get workloads` prints them.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::{LiveStream, LiveWorkload, Manner, RollImage, WorkloadId, WorkloadPolicy};
use crate::openshift::StreamId;
use crate::planner::not_shared;
use crate::render::{self, WorkloadRow};
use crate::rules::{self, Follows};
use crate::source::inert;

/// A workload with the images that it is meant to have.
pub(super) type Meant<'a> = (&'a LiveWorkload, Follows);

/// One image field of a workload, as JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Item<'a> {
    workload: &'a WorkloadId,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<&'a RollImage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
}

/// Whether a workload is one of these, by name or by namespace and name; any is, where none is named.
pub(super) fn is_named(workload: &LiveWorkload, names: &[String]) -> bool {
    let WorkloadId { namespace, name, .. } = &workload.id;
    names.is_empty() || names.iter().any(|given| given == name || *given == format!("{namespace}/{name}"))
}

/// The images that workloads are meant to have.
pub(super) fn meant<'a>(
    workloads: &'a [LiveWorkload],
    streams: &BTreeMap<StreamId, LiveStream>,
    manner: Manner,
    policy: &WorkloadPolicy,
) -> Vec<Meant<'a>> {
    let meant = |workload: &'a LiveWorkload| {
        let mut follows = rules::follows(workload, streams, manner);
        // On OpenShift the tags of every namespace are shared.
        if manner == Manner::Ours {
            let strange = |image: &&RollImage| !policy.allows(&workload.id.namespace, &image.tag.stream.namespace);
            follows.why = follows.images.iter().find(strange).map(not_shared).or(follows.why);
            follows.images.retain(|image| !strange(&image));
        }
        if follows.images.is_empty() && follows.why.is_none() {
            follows.why = Some("its triggers are paused".to_owned());
        }
        (workload, follows)
    };
    workloads.iter().map(meant).collect()
}

/// A table.
pub(super) fn table(list: &[Meant<'_>], namespaces: bool) -> String {
    let rows: Vec<WorkloadRow<'_>> = list
        .iter()
        .map(|(workload, Follows { images, why, .. })| WorkloadRow { id: &workload.id, images, why: why.as_deref() })
        .collect();
    render::workloads_table(&rows, namespaces)
}

/// Kind and name, a line each.
pub(super) fn names(list: &[Meant<'_>]) -> String {
    let name = |(workload, _): &Meant<'_>| format!("{}/{}", workload.id.kind.to_lowercase(), workload.id.name);
    list.iter().map(|meant| inert(&name(meant), 300) + "\n").collect()
}

/// An entry for each image field, and for each reason why there is none.
pub(super) fn items<'a>(list: &'a [Meant<'a>]) -> Vec<Item<'a>> {
    let items = |(workload, follows): &'a Meant<'a>| {
        let row = |image, why| Item { workload: &workload.id, image, why };
        let images = follows.images.iter().map(move |image| row(Some(image), None));
        images.chain(follows.why.as_deref().map(|why| row(None, Some(why))))
    };
    list.iter().flat_map(items).collect()
}
