//! A simulated OpenShift cluster, a registry that it and we look at, and a source.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use streamkeeper::openshift::StreamId;

use crate::registry::{allow, stream};
use crate::sim::openshift::OpenShift;
use crate::sim::registry::{Content, Registry};
use crate::support::{outcome, program};

/// A cluster, a registry that both look at, and a source.
pub struct Site {
    pub folder: tempfile::TempDir,
    pub cluster: OpenShift,
    pub registry: Registry,
    /// `openshift`, `kubernetes` or `auto`.
    pub target: &'static str,
}

impl Site {
    pub fn new() -> Self {
        Self::with(Registry::start(Content::default()))
    }

    pub fn with(registry: Registry) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let site = Self { folder, cluster: OpenShift::start(), registry, target: "openshift" };
        std::fs::create_dir(site.root().join("source")).unwrap();
        std::fs::write(site.root().join("kubeconfig"), site.cluster.kubeconfig()).unwrap();
        let source = site.root().join("source");
        allow(&source, &[&site.registry.server.host], "");
        let config = std::fs::read_to_string(source.join("streamkeeper.yaml")).unwrap();
        std::fs::write(source.join("streamkeeper.yaml"), format!("{config}fieldManager: streamkeeper-tests\n"))
            .unwrap();
        for tag in ["1", "2", "3", "4", "5"] {
            site.push(tag, tag);
        }
        site
    }

    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    pub fn from(&self, tag: &str) -> String {
        format!("{}/lab/app:{tag}", self.registry.server.host)
    }

    /// Moves a tag of the registry to an image of that content, for us and for the cluster.
    pub fn push(&self, tag: &str, content: &str) {
        let mut held = self.registry.content.lock().unwrap();
        let image = held.image("lab/app", "amd64", content);
        held.tag("lab/app", tag, &image);
        self.cluster.world.lock().unwrap().images.insert(self.from(tag), (image.clone(), image));
    }

    /// Defines a stream with these tags.
    pub fn define(&self, name: &str, tags: &[&str]) {
        let froms: Vec<String> = tags.iter().map(|tag| self.from(tag)).collect();
        let tags: Vec<(&str, &str)> = tags.iter().copied().zip(froms.iter().map(String::as_str)).collect();
        std::fs::write(self.root().join(format!("source/{name}.yaml")), stream(name, &tags, "")).unwrap();
    }

    pub fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = program(self.root());
        command.args(arguments).args(["-s", "source", "--target", self.target, "--kubeconfig", "kubeconfig"]);
        let (code, out, err) = outcome(command.output().unwrap());
        assert!(!format!("{out}{err}").contains("hunter2canary"), "{out}{err}");
        (code, out, err)
    }

    pub fn apply(&self) {
        let (code, out, err) = self.run(&["apply", "--yes"]);
        assert_eq!(code, 0, "{out}{err}");
        let (code, out, err) = self.run(&["plan", "--exit-code"]);
        assert_eq!(code, 0, "a second plan is empty: {out}{err}");
    }

    /// Tag and image of a stream.
    pub fn images(&self, name: &str) -> BTreeMap<String, String> {
        let world = self.cluster.world.lock().unwrap();
        let Some(stored) = world.streams.get(&StreamId::new("default", name)) else { return BTreeMap::new() };
        let tags = stored
            .stream
            .status
            .tags
            .iter()
            .filter_map(|list| Some((list.tag.clone(), list.items.first()?.image.clone())));
        tags.collect()
    }

    /// Somebody else applies a stream.
    pub fn stranger(&self, manager: &str, name: &str, tags: &[(&str, &str)]) {
        let tags: Vec<Value> = tags
            .iter()
            .map(|(tag, from)| json!({"name": tag, "from": {"kind": "DockerImage", "name": self.from(from)}}))
            .collect();
        let wanted = json!({"apiVersion": "image.openshift.io/v1", "kind": "ImageStream", "metadata": {"name": name, "namespace": "default"}, "spec": {"tags": tags}});
        self.cluster.world.lock().unwrap().put(manager, &wanted);
    }
}
