//! A real registry on loopback: Debian's `docker-registry`, where it is installed.
//!
//! Images are laid into its storage as it would lay them there itself, which is quick enough for thousands.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::tools::tool;

/// A registry that runs until it is dropped.
pub struct RealRegistry {
    child: Child,
    pub host: String,
    storage: PathBuf,
}

fn digest(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    streamkeeper::openshift::Digest::sha256(digest.as_ref()).to_string()
}

impl RealRegistry {
    /// Starts one with its files in a folder; none where it is not installed. `more` is added to its configuration.
    pub fn start(folder: &Path, more: &str) -> Option<Self> {
        Self::start_with(folder, "", more)
    }

    /// Likewise, with `http` added to that part of its configuration.
    pub fn start_with(folder: &Path, http: &str, more: &str) -> Option<Self> {
        let separator = if http.is_empty() { "" } else { ", " };
        tool("docker-registry", "docker-registry", "what a real registry answers")?;
        let port = TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?.port();
        let host = format!("127.0.0.1:{port}");
        let storage = folder.join("registry");
        std::fs::create_dir_all(&storage).ok()?;
        let config = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '{host}'{separator}{http}}}\n{more}",
            storage.display()
        );
        let path = folder.join("registry.yml");
        std::fs::write(&path, config).ok()?;
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let registry = Self { child, host, storage };
        for _ in 0..200 {
            if registry.answers() {
                return Some(registry);
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        panic!("the registry does not answer");
    }

    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(&self.host) else { return false };
        let request = format!("GET /v2/ HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.host);
        let mut answer = String::new();
        stream.write_all(request.as_bytes()).is_ok()
            && stream.read_to_string(&mut answer).is_ok()
            && answer.starts_with("HTTP/1.")
    }

    fn put(&self, path: &str, bytes: &[u8]) {
        let path = self.storage.join("docker/registry/v2").join(path);
        std::fs::create_dir_all(path.parent().expect("a path in the storage")).expect("a writable folder");
        std::fs::write(path, bytes).expect("a writable folder");
    }

    fn blob(&self, repository: &str, bytes: &[u8], kind: &str) -> String {
        let digest = digest(bytes);
        let hex = &digest[7..];
        self.put(&format!("blobs/sha256/{}/{hex}/data", &hex[..2]), bytes);
        self.put(&format!("repositories/{repository}/{kind}/sha256/{hex}/link"), digest.as_bytes());
        digest
    }

    /// Lays an image into a repository and gives its digest. Other content, another digest.
    pub fn image(&self, repository: &str, architecture: &str, content: &str) -> (String, usize) {
        let layer = self.blob(repository, content.as_bytes(), "_layers");
        let config =
            json!({"architecture": architecture, "os": "linux", "rootfs": {"type": "layers", "diff_ids": [layer]}})
                .to_string();
        let config_digest = self.blob(repository, config.as_bytes(), "_layers");
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": config.len(), "digest": config_digest},
            "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar", "size": content.len(), "digest": layer}],
        })
        .to_string();
        (self.blob(repository, manifest.as_bytes(), "_manifests/revisions"), manifest.len())
    }

    /// Points a tag at a digest that is there.
    pub fn tag(&self, repository: &str, tag: &str, digest: &str) {
        let tags = format!("repositories/{repository}/_manifests/tags/{tag}");
        self.put(&format!("{tags}/current/link"), digest.as_bytes());
        self.put(&format!("{tags}/index/sha256/{}/link", &digest[7..]), digest.as_bytes());
    }

    /// A manifest list over images that are there.
    pub fn list(&self, repository: &str, images: &[(&str, (String, usize))]) -> String {
        let manifests: Vec<_> = images
            .iter()
            .map(|(architecture, (digest, size))| {
                json!({
                    "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
                    "digest": digest,
                    "size": size,
                    "platform": {"os": "linux", "architecture": architecture},
                })
            })
            .collect();
        let media_type = "application/vnd.docker.distribution.manifest.list.v2+json";
        let list = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests}).to_string();
        self.blob(repository, list.as_bytes(), "_manifests/revisions")
    }
}

impl Drop for RealRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
