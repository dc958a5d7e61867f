//! The images of `examples/`: an OCI layout folder made here, byte for byte, so that nobody has to trust a binary file.
//! `SNAPSHOTS=overwrite cargo test example` writes it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{digest, manifest_folder, overwrite};

/// A layout folder under construction: paths with their bytes.
#[derive(Default)]
pub struct LayoutFiles {
    pub files: BTreeMap<String, Vec<u8>>,
    index: Vec<Value>,
}

impl LayoutFiles {
    fn blob(&mut self, bytes: Vec<u8>) -> (String, usize) {
        let digest = digest(&bytes);
        let size = bytes.len();
        self.files.insert(format!("blobs/{}", digest.replace(':', "/")), bytes);
        (digest, size)
    }

    /// An image with one layer that holds one small file; gives its descriptor.
    pub fn image(&mut self, name: &str, architecture: &str) -> Value {
        let layer = tar("etc/image", format!("{name} for {architecture}\n").as_bytes());
        let (layer, layer_size) = self.blob(layer);
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "created": "2026-11-01T00:00:00Z",
            "config": {"User": "1001", "Labels": {"org.opencontainers.image.title": name}},
            "rootfs": {"type": "layers", "diff_ids": [layer]},
        });
        let (config, config_size) = self.blob(serde_json::to_vec(&config).unwrap());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": config_size},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": layer_size}],
        });
        let (digest, size) = self.blob(serde_json::to_vec(&manifest).unwrap());
        json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": size})
    }

    /// Names a descriptor in the index.
    pub fn tag(&mut self, mut descriptor: Value, name: &str) {
        descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        self.index.push(descriptor);
    }

    /// A list of images for several architectures.
    pub fn list(&mut self, name: &str, architectures: &[&str]) -> Value {
        let manifests: Vec<Value> = architectures
            .iter()
            .map(|architecture| {
                let mut descriptor = self.image(name, architecture);
                descriptor["platform"] = json!({"os": "linux", "architecture": architecture});
                descriptor
            })
            .collect();
        let media_type = "application/vnd.oci.image.index.v1+json";
        let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests});
        let (digest, size) = self.blob(serde_json::to_vec(&index).unwrap());
        json!({"mediaType": media_type, "digest": digest, "size": size})
    }

    pub fn finish(mut self) -> BTreeMap<String, Vec<u8>> {
        self.files.insert("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec());
        let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": self.index});
        let mut bytes = serde_json::to_vec_pretty(&index).unwrap();
        bytes.push(b'\n');
        self.files.insert("index.json".to_owned(), bytes);
        self.files
    }
}

/// A tar archive of one file (POSIX ustar).
fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; 512];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", content.len()));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\0");
    put(263, "00");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = header.to_vec();
    archive.extend_from_slice(content);
    archive.resize(1024 + 1024, 0);
    archive
}

fn images() -> BTreeMap<String, Vec<u8>> {
    let mut layout = LayoutFiles::default();
    for name in ["base/os:9.5", "base/os:9.6", "base/node:22", "shop/web:1.4", "shop/web:1.5", "shop/backend:2.3"] {
        let image = layout.image(name, "amd64");
        layout.tag(image, name);
    }
    let list = layout.list("base/python:3.12", &["amd64", "arm64"]);
    layout.tag(list, "base/python:3.12");
    layout.finish()
}

#[test]
fn the_examples_images_are_what_this_makes() {
    let folder = manifest_folder().join("examples/images");
    let wanted = images();
    if overwrite() {
        let _ = std::fs::remove_dir_all(&folder);
        for (path, bytes) in &wanted {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }
    for (path, bytes) in &wanted {
        let found = std::fs::read(folder.join(path)).unwrap_or_default();
        assert_eq!(found, *bytes, "{path}; `SNAPSHOTS=overwrite cargo test example` makes it anew");
    }
}
