//! Who may be told what: credentials of Docker config files, and where they may go.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::ports::PortError;

/// User and password by host. Cannot be printed.
#[derive(Clone, Default)]
pub struct Credentials {
    hosts: BTreeMap<String, Login>,
}

#[derive(Clone)]
struct Login {
    user: String,
    password: SecretString,
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, DockerAuth>,
}

#[derive(Deserialize)]
struct DockerAuth {
    auth: Option<SecretString>,
    username: Option<String>,
    password: Option<SecretString>,
}

impl Credentials {
    /// Reads a Docker config file; none where there is none.
    ///
    /// # Errors
    ///
    /// When the file is there and cannot be read. The error repeats nothing of its content.
    pub fn from_docker_config(path: &Path) -> Result<Self, PortError> {
        let what = || format!("the Docker config `{}`", path.display());
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(PortError::failed(format!("read {}", what()), error)),
        };
        let config: DockerConfig = serde_json::from_slice(&bytes).map_err(|error| PortError::Unusable {
            what: what(),
            why: format!("it is not a Docker config (line {}, column {})", error.line(), error.column()),
        })?;
        let mut hosts = BTreeMap::new();
        for (key, auth) in config.auths {
            if let Some(login) = auth.login() {
                hosts.insert(host_of(&key), login);
            }
        }
        Ok(Self { hosts })
    }

    /// The value of an `Authorization: Basic` header for a host, if there is a login for it.
    pub(super) fn basic(&self, host: &str) -> Option<SecretString> {
        let login = self.hosts.get(&canonical(host))?;
        let plain = format!("{}:{}", login.user, login.password.expose_secret());
        Some(format!("Basic {}", STANDARD.encode(plain)).into())
    }
}

impl DockerAuth {
    fn login(self) -> Option<Login> {
        if let (Some(user), Some(password)) = (self.username, self.password) {
            return Some(Login { user, password });
        }
        let decoded = STANDARD.decode(self.auth?.expose_secret().trim()).ok()?;
        let text = String::from_utf8(decoded).ok()?;
        let (user, password) = text.trim_end_matches('\0').split_once(':')?;
        Some(Login { user: user.to_owned(), password: password.to_owned().into() })
    }
}

/// The host of a key such as `https://index.docker.io/v1/` or `quay.io/team`.
fn host_of(key: &str) -> String {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    canonical(rest.split('/').next().unwrap_or_default())
}

/// Docker Hub goes by three names.
fn canonical(host: &str) -> String {
    match host.to_ascii_lowercase().as_str() {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        host => host.to_owned(),
    }
}

/// Whether the credentials of a registry may go to a token service: to itself, to the one that the config names, and to
/// Docker Hub's, which is on another host and known. Anything else a challenge names gets an anonymous request.
pub(super) fn may_receive(registry: &str, configured: Option<&str>, service: &str) -> bool {
    service == registry
        || configured.is_some_and(|configured| configured == service)
        || (canonical(registry) == "docker.io" && service == "auth.docker.io")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_config_files_are_read() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("config.json");
        let auth = STANDARD.encode("user:pass:word");
        let text = format!(
            r#"{{"auths":{{"https://index.docker.io/v1/":{{"auth":"{auth}"}},"quay.io":{{"username":"u","password":"p"}},"x":{{}}}}}}"#
        );
        std::fs::write(&path, text).expect("writable");
        let credentials = Credentials::from_docker_config(&path).expect("a good file");
        let header = |host: &str| credentials.basic(host).map(|value| value.expose_secret().to_owned());
        assert_eq!(header("registry-1.docker.io"), Some(format!("Basic {auth}")));
        assert_eq!(header("quay.io"), Some(format!("Basic {}", STANDARD.encode("u:p"))));
        assert_eq!(header("x"), None);
        std::fs::write(&path, r#"{"auths": {"h": {"auth": 5}}}"#).expect("writable");
        let error = Credentials::from_docker_config(&path).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("line 1"), "{error}");
        assert!(Credentials::from_docker_config(&folder.path().join("none")).is_ok());
    }

    #[test]
    fn credentials_stay_at_home() {
        assert!(may_receive("r.example.com", None, "r.example.com"));
        assert!(may_receive("registry-1.docker.io", None, "auth.docker.io"));
        assert!(may_receive("registry.redhat.io", Some("sso.redhat.com"), "sso.redhat.com"));
        for (registry, service) in [
            ("r.example.com", "evil.example.com"),
            ("r.example.com", "r.example.com:81"),
            ("quay.io", "auth.docker.io"),
        ] {
            assert!(!may_receive(registry, None, service), "{registry} {service}");
        }
    }
}
