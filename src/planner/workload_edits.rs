//! What has to be written into the files that define workloads, for them to have the images that tags have.

use std::collections::BTreeMap;

use crate::model::{DefinedWorkload, Desired, LiveStream, Manner, RollImage, WorkloadId, WorkloadPolicy};
use crate::openshift::StreamId;
use crate::rules::{self, Follows};
use crate::source::Span;

/// One value to write into a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadEdit {
    /// The bytes of the value that is there.
    pub span: Span,
    /// The image field, with its value before and after.
    pub image: RollImage,
}

/// Edits of files, by path; and what cannot be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkloadEdits<'a> {
    /// The edits of each file.
    pub files: BTreeMap<&'a str, Vec<WorkloadEdit>>,
    /// What should be written and cannot be: file, workload, reason.
    pub left_out: Vec<(&'a str, &'a WorkloadId, String)>,
}

/// The edits that give the workloads of the definitions the images that tags have.
pub fn workload_edits<'a>(
    desired: &'a Desired,
    streams: &BTreeMap<StreamId, LiveStream>,
    policy: &WorkloadPolicy,
) -> WorkloadEdits<'a> {
    let mut edits = WorkloadEdits::default();
    for workload in &desired.workloads {
        let Some(DefinedWorkload { workload: defined, places }) = workload.defined.as_deref() else { continue };
        // Its image counts only until OpenShift starts it; a build has none.
        if matches!(workload.id.kind.as_str(), "DeploymentConfig" | "BuildConfig") {
            continue;
        }
        let path = &*workload.origin.path;
        let mut leave_out = |why: String| edits.left_out.push((path, &workload.id, why));
        let Follows { images, why, tags: _ } = rules::follows(defined, streams, Manner::Ours);
        if let Some(why) = why {
            leave_out(why);
        }
        for image in images.into_iter().filter(|image| image.before.as_ref() != Some(&image.after)) {
            if !policy.allows(&workload.id.namespace, &image.tag.stream.namespace) {
                leave_out(not_shared(&image));
                continue;
            }
            let of_name = || defined.images.iter().enumerate().filter(|(_, is)| is.name == image.container);
            if image.container.is_empty() || of_name().count() != 1 {
                leave_out(format!("which container is `{}` cannot be said", image.container));
                continue;
            }
            let Some(span) = of_name().find_map(|(at, _)| places.get(at).copied().flatten()) else {
                leave_out(format!("`{}` has no `image` to write to", image.container));
                continue;
            };
            edits.files.entry(path).or_default().push(WorkloadEdit { span, image });
        }
    }
    edits
}

/// Why a workload does not get the image of a tag of another namespace.
pub fn not_shared(image: &RollImage) -> String {
    format!("`policy.workloads.shared` in the config does not name `{}`", image.tag.stream.namespace)
}
