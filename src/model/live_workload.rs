//! Workloads as they are on a target, with what a trigger controller reads of them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::openshift::{AnnotationTrigger, FieldPath, TagId, container_at, trigger_tag};
use crate::source::inert;

use super::workload::WorkloadId;

/// How triggers are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As OpenShift's controller reads them, where it acts.
    OpenShift,
    /// As they are meant, where we act: names in either kind of quotes, `paused` as text.
    Ours,
}

/// A workload with image triggers, as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveWorkload {
    /// Which one.
    pub id: WorkloadId,
    /// What it follows, as its controller reads it.
    pub triggers: Triggers,
    /// The image fields of its pod template, init containers first.
    pub images: Vec<ContainerImage>,
    /// Its images may name streams of its namespace, where that is ours to look up (semantics 1.11).
    pub looks_up: bool,
    /// How far its last change has come.
    pub rollout: Rollout,
    /// Its identity.
    pub uid: String,
    /// Pods that it wants, where it says so.
    #[serde(default)]
    pub replicas: Option<u64>,
    /// How it replaces them, such as `Recreate`; empty where it does not say.
    #[serde(default)]
    pub strategy: String,
    /// The tag that a build pushes to.
    #[serde(default)]
    pub output: Option<TagId>,
    /// Tags that a build takes images from or pushes to, followed or not.
    #[serde(default)]
    pub uses: BTreeSet<TagId>,
}

/// An image field of a pod template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerImage {
    /// Of an init container.
    pub init: bool,
    /// Name of the container.
    pub name: String,
    /// Pull spec.
    pub image: String,
    /// Managers that apply it (server-side apply).
    pub appliers: Vec<String>,
    /// Managers that have applied it, until somebody else changed it: they still apply the container, by its name alone.
    pub lost_by: Vec<String>,
}

/// What a workload follows, in the form of its kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Triggers {
    /// The annotation `image.openshift.io/triggers` (semantics 5.2).
    Annotation(Vec<AnnotationTrigger>),
    /// A DeploymentConfig's image change triggers (semantics 5.4).
    DeploymentConfig(Vec<ConfigTrigger>),
    /// A BuildConfig's image change triggers (semantics 5.5).
    BuildConfig(Vec<ConfigTrigger>),
    /// None of them ever fires.
    Void {
        /// Why, and what to do.
        why: String,
        /// Tags that the triggers name, where they can be read.
        tags: Vec<TagId>,
    },
}

/// An image change trigger of a DeploymentConfig or BuildConfig.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigTrigger {
    /// The tag it follows.
    pub tag: TagId,
    /// Containers whose image it sets; none for a build.
    pub containers: Vec<String>,
    /// It fires by itself (`automatic: true`; for a build, not `paused`).
    pub active: bool,
    /// Pull spec it has fired for last; empty if never.
    pub fired: String,
}

/// How far the last change of a workload has come (kstatus).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rollout {
    /// All there, all new.
    Complete,
    /// Under way.
    Progressing(String),
    /// It will not come to an end by itself.
    Failed(String),
    /// Changes of its template wait until somebody resumes it.
    Paused,
    /// Its kind has none: a CronJob's next run takes what is there.
    None,
}

impl Rollout {
    /// It will not come to an end by itself, with the controller's own message.
    pub fn failed(message: &str) -> Self {
        Self::Failed(inert(message, 300))
    }
}

impl LiveWorkload {
    /// The tags that its triggers name.
    pub fn tags(&self) -> Vec<TagId> {
        match &self.triggers {
            Triggers::Annotation(list) => {
                let named = |it: &AnnotationTrigger| trigger_tag(&it.from.name, &it.from.namespace, &self.id.namespace);
                list.iter().filter_map(named).collect()
            }
            Triggers::DeploymentConfig(list) | Triggers::BuildConfig(list) => {
                list.iter().map(|trigger| trigger.tag.clone()).collect()
            }
            Triggers::Void { tags, .. } => tags.clone(),
        }
    }

    /// The place in `images` of the container that a path names.
    pub fn container(&self, path: &FieldPath) -> Option<usize> {
        let names = |init: bool| -> Vec<&str> {
            self.images.iter().filter(|image| image.init == init).map(|image| image.name.as_str()).collect()
        };
        let (in_init, at) = container_at(path, &names(true), &names(false))?;
        self.images.iter().enumerate().filter(|(_, image)| image.init == in_init).map(|(place, _)| place).nth(at)
    }
}
