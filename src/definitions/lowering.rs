//! What a file says, and what reading it is under way with.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::findings::Diagnostic;
use crate::model::{DesiredStream, DesiredTag, Workload, WorkloadId};
use crate::openshift::{StreamId, TagId};
use crate::source::{Node, Span};

use super::kustomize::Kustomization;
use super::reader::Reader;

/// What reading a file depends on besides its content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadOptions {
    /// Namespace of objects that name none.
    pub namespace: String,
    /// Values of template parameters.
    pub parameters: BTreeMap<String, String>,
}

/// What a file says. Paths are not known yet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FileDefinitions {
    /// The streams, in the order of the file, wrong ones included.
    pub streams: Vec<FoundStream>,
    /// The workloads that follow tags.
    pub workloads: Vec<Workload>,
    /// Tags that builds of the file push to.
    pub built: Vec<TagId>,
    /// Tags that builds of the file name, each with the build.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uses: Vec<(WorkloadId, TagId)>,
    /// What is wrong.
    pub findings: Vec<Diagnostic>,
    /// How much was read.
    pub counts: Counts,
    /// Template parameters that the file declares.
    pub parameters: Vec<String>,
    /// Findings about workloads, which hide no stream.
    pub elsewhere: Vec<usize>,
    /// What it says of other files, if it is a kustomization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kustomization: Option<Kustomization>,
    /// Everything in the file was read: without it, what it does not say is unknown.
    pub complete: bool,
}

/// How much a file holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Documents with content.
    pub documents: usize,
    /// Objects of kinds that are none of our business.
    pub passed_over: usize,
    /// Image triggers, wrong ones included; an annotation counts as one.
    pub triggers: Triggers,
}

/// Image triggers by where they stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Triggers {
    /// Annotations.
    pub annotations: usize,
    /// Entries of DeploymentConfigs.
    pub deployment_configs: usize,
    /// Entries of BuildConfigs.
    pub build_configs: usize,
}

/// A stream as a file defines it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FoundStream {
    /// Which one; without a name, `None`.
    pub id: Option<StreamId>,
    /// All but its tags.
    pub header: DesiredStream,
    /// Its tags as they are written, equal names included.
    pub tags: Vec<DesiredTag>,
    /// Which of the file's findings are about it.
    pub findings: std::ops::Range<usize>,
}

/// A file on its way from nodes to definitions.
pub(super) struct Lowering<'a> {
    pub(super) reader: Reader<'a>,
    pub(super) options: &'a ReadOptions,
    /// Findings of the parser that belong to whatever object they are in.
    pub(super) inside: Vec<Diagnostic>,
    /// Objects that are none of our business.
    pub(super) passed: Vec<Span>,
    pub(super) out: FileDefinitions,
}

/// What an object inherits from the list or template around it.
#[derive(Clone, Default)]
pub(super) struct Context {
    /// Kind of items that say none: those of an ImageStreamList.
    pub(super) kind: Option<&'static str>,
    /// Labels that a template gives its objects.
    pub(super) labels: Arc<BTreeMap<String, String>>,
    /// Parameters that have no value, for findings.
    pub(super) missing: Arc<BTreeMap<String, String>>,
}

impl Lowering<'_> {
    /// Reports what the parser found inside a node.
    pub(super) fn report_inside(&mut self, node: &Node) {
        let within = |finding: &Diagnostic| {
            node.span.start <= finding.place.span.start && finding.place.span.end <= node.span.end
        };
        let (here, rest) = std::mem::take(&mut self.inside).into_iter().partition(within);
        self.inside = rest;
        self.reader.findings.extend::<Vec<_>>(here);
    }
}
