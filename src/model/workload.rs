//! Workloads that follow tags: what a tag change moves.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::desired::Origin;
use super::id::TagId;
use super::live_workload::LiveWorkload;
use crate::text::Span;

/// What an account that is bound to some namespaces cannot look at, as it is said: there it has nothing to do either.
pub const OTHER_NAMESPACES: &str = "workloads of other namespaces";

/// A workload, printed `Kind namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct WorkloadId {
    /// `Deployment`, `DeploymentConfig`, `BuildConfig`, …
    pub kind: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// A workload with image triggers, as its definition has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    /// Which one.
    pub id: WorkloadId,
    /// What it follows.
    pub triggers: Vec<WorkloadTrigger>,
    /// Where it is defined.
    pub origin: Origin,
    /// As the controllers would see it, were it applied as it is defined. None where its definition is not whole: a patch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defined: Option<Box<DefinedWorkload>>,
}

/// A workload as its definition has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefinedWorkload {
    /// The workload; it has no identity and no status.
    pub workload: LiveWorkload,
    /// Where in the file each of its images stands, in the order of `workload.images`; none for one that is left out.
    pub places: Vec<Option<Span>>,
}

/// One trigger of a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadTrigger {
    /// The tag it follows.
    pub tag: TagId,
    /// The image fields it writes; for a build, none.
    pub paths: Vec<FieldPath>,
    /// Held back by its definition (`paused`, `automatic: false`).
    pub paused: bool,
}

/// An image field of a pod template.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FieldPath {
    /// Init container or container.
    pub init: bool,
    /// Which of them.
    pub container: Container,
}

/// A container by name or by position.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Container {
    /// By name.
    Named(String),
    /// By position, from 0.
    At(usize),
}

/// How a field path names a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quotes {
    /// In double quotes, or by position: as OpenShift's controller reads it (semantics 5.2).
    Strict,
    /// In a spelling in circulation that it refuses: single quotes, one `=`, `[@name='x']` of the documentation.
    Odd,
}

impl FieldPath {
    /// Reads `<base>.containers[0].image`, `<base>.initContainers[?(@.name=="x")].image`, and odd spellings of it.
    pub fn parse(field: &str, base: &str) -> Option<(Self, Quotes)> {
        let rest = field.strip_prefix(base)?.strip_prefix('.')?;
        let (init, rest) = match rest.strip_prefix("initContainers[") {
            Some(rest) => (true, rest),
            None => (false, rest.strip_prefix("containers[")?),
        };
        let inner = rest.strip_suffix("].image")?;
        if !inner.is_empty() && inner.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some((Self { init, container: Container::At(inner.parse().ok()?) }, Quotes::Strict));
        }
        let filter = inner.strip_prefix("?(").and_then(|inner| inner.strip_suffix(')'));
        let condition = filter.unwrap_or(inner);
        let after = condition.strip_prefix("@.name").or_else(|| condition.strip_prefix("@name"))?;
        let value = after.trim_start().trim_start_matches('=').trim_start();
        let name = [('"', '"'), ('\'', '\'')]
            .iter()
            .find_map(|(open, close)| value.strip_prefix(*open)?.strip_suffix(*close))
            .filter(|name| !name.is_empty())?;
        let quotes = if inner == format!("?(@.name==\"{name}\")") { Quotes::Strict } else { Quotes::Odd };
        Some((Self { init, container: Container::Named(name.to_owned()) }, quotes))
    }
}

impl fmt::Display for WorkloadId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_paths_are_read_in_all_spellings_and_the_refused_ones_told() {
        let base = "spec.template.spec";
        let table = [
            (
                r#"spec.template.spec.containers[?(@.name=="web")].image"#,
                Some((false, Container::Named("web".into()), false)),
            ),
            (
                "spec.template.spec.containers[?(@.name=='web')].image",
                Some((false, Container::Named("web".into()), true)),
            ),
            ("spec.template.spec.containers[@name='web'].image", Some((false, Container::Named("web".into()), true))),
            (
                "spec.template.spec.containers[?(@.name='web')].image",
                Some((false, Container::Named("web".into()), true)),
            ),
            ("spec.template.spec.initContainers[0].image", Some((true, Container::At(0), false))),
            ("spec.template.spec.containers[0].command", None),
            ("spec.containers[0].image", None),
            ("spec.template.spec.containers[].image", None),
            ("", None),
        ];
        for (path, expected) in table {
            let got =
                FieldPath::parse(path, base).map(|(path, quotes)| (path.init, path.container, quotes == Quotes::Odd));
            assert_eq!(got, expected, "{path}");
        }
    }
}
