//! Kustomizations: which files they take as patches, so that no patch is taken for a whole stream. They are not built here.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::source::{Limits, Node, SourceText, inert, parse};

/// Fields by which a kustomization changes what its resources define.
const CHANGES: &[&str] = &[
    "commonAnnotations",
    "commonLabels",
    "components",
    "images",
    "labels",
    "namePrefix",
    "nameSuffix",
    "namespace",
    "replacements",
    "transformers",
    "vars",
];

/// What a `kustomization.yaml` says of other files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kustomization {
    /// Paths of patches, relative to its folder.
    pub patches: Vec<String>,
    /// Paths of resources, relative to its folder.
    pub resources: Vec<String>,
    /// By which fields it changes what they define.
    pub changes: Vec<String>,
}

/// Reads a kustomization; none where it cannot be read.
pub fn kustomization(source: &SourceText) -> Option<Kustomization> {
    let parsed = parse(source, Limits::default());
    let root = parsed.documents.first().filter(|_| parsed.complete)?;
    let items = |key: &str| root.get(key).map(Node::items).unwrap_or_default();
    let mut patches: Vec<String> = Vec::new();
    for key in ["patches", "patchesJson6902"] {
        patches.extend(items(key).iter().filter_map(|patch| Some(patch.get("path")?.text()?.to_owned())));
    }
    // A patch of this kind may also be written out.
    let is_path = |text: &&str| !text.contains('\n') && !text.contains(": ");
    let merges = items("patchesStrategicMerge").iter().filter_map(Node::text).filter(is_path);
    patches.extend(merges.map(str::to_owned));
    let resources = ["resources", "bases"].iter().flat_map(|key| items(key)).filter_map(Node::text);
    let changes = CHANGES.iter().filter(|key| root.get(key).is_some_and(|value| !value.is_null()));
    Some(Kustomization {
        patches,
        resources: resources.map(str::to_owned).collect(),
        changes: changes.map(|key| (*key).to_owned()).collect(),
    })
}

/// Which files kustomizations take, and how.
#[derive(Debug, Default)]
pub(super) struct Taken {
    patches: BTreeMap<String, Arc<str>>,
    resources: BTreeMap<String, Arc<str>>,
}

impl Taken {
    /// By all kustomizations of a source, each with its path.
    pub(super) fn by<'a>(all: impl Iterator<Item = (&'a Arc<str>, &'a Kustomization)>) -> Self {
        let mut taken = Self::default();
        for (path, Kustomization { patches, resources, changes: _ }) in all {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            let at = |relative: &String| Some((joined(folder, relative)?, Arc::clone(path)));
            taken.patches.extend(patches.iter().filter_map(at));
            taken.resources.extend(resources.iter().filter_map(at));
        }
        taken
    }

    /// The kustomization that takes a file as a patch.
    pub(super) fn patch(&self, path: &str) -> Option<&str> {
        self.patches.get(path).map(|by| &**by)
    }

    /// The kustomization that takes a file, as a patch or as a resource.
    pub(super) fn any(&self, path: &str) -> Option<&str> {
        self.patch(path).or_else(|| self.resources.get(path).map(|by| &**by))
    }
}

/// What to do about files that are to be built first.
pub(super) fn build(kustomization: &str) -> String {
    let folder = kustomization.rsplit_once('/').map_or(".", |(folder, _)| folder);
    format!(
        "build it (`kustomize build {}`) and give the result as the source, or leave it out with `exclude`",
        inert(folder, 200)
    )
}

/// A path relative to a folder of the source; none where it leads out of it.
fn joined(folder: &str, relative: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_and_resources_are_found_in_every_form() {
        let text = "resources: [../base, own.yaml]\nbases: [../old]\nnamePrefix: x-\nlabels: null\npatches:\n- path: a.yaml\n  target: {kind: ImageStream}\n- patch: |-\n    kind: ImageStream\npatchesStrategicMerge:\n- b.yaml\n- |-\n  kind: ImageStream\n  metadata: {name: x}\npatchesJson6902: [{path: ./c/../d.yaml, target: {}}]\n";
        let read = kustomization(&SourceText::new(text.to_owned())).expect("it can be read");
        assert_eq!(read.patches, ["a.yaml", "./c/../d.yaml", "b.yaml"]);
        assert_eq!(read.resources, ["../base", "own.yaml", "../old"]);
        assert_eq!(read.changes, ["namePrefix"]);
        let path: Arc<str> = Arc::from("overlays/test/kustomization.yaml");
        let taken = Taken::by([(&path, &read)].into_iter());
        assert_eq!(taken.patch("overlays/test/d.yaml"), Some(&*path));
        assert_eq!((taken.patch("overlays/base"), taken.any("overlays/base")), (None, Some(&*path)));
        assert!(kustomization(&SourceText::new("a: [".to_owned())).is_none());
        assert_eq!(joined("a", "../../b"), None);
    }
}
