//! Who may be told what: logins from where people keep them, and where they may go.
//!
//! `file` reads the formats, `helper` asks credential helpers. A login is found by the longest key that is a prefix of
//! `host/repository`, as containers-auth.json(5) and the kubelet do; keys may have `*` for a label of the host.

mod file;
mod helper;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

use crate::openshift::normal_host;
use crate::ports::PortError;
use crate::source::inert;

use file::AuthFile;

pub(super) use file::fits_host;

/// What a helper said is taken for so long: cloud logins live for hours, and a person who logs in anew does not wait longer.
const HELPER_LIFE: Duration = Duration::from_secs(300);

/// Logins, from several files; the first file that has one for a repository wins. Cannot be printed.
#[derive(Clone, Default)]
pub struct Credentials {
    files: Vec<Arc<AuthFile>>,
    /// Pull secrets, by the namespace that they count in.
    namespaces: BTreeMap<String, Arc<AuthFile>>,
    helped: Arc<Mutex<Answers>>,
}

/// What helpers said and when, by helper and host.
type Answers = BTreeMap<(String, String), (Instant, Helped)>;

/// A login, nothing, or why the helper has no answer.
type Helped = Result<Option<Login>, String>;

/// What a registry or its token service is shown.
#[derive(Clone)]
pub(super) enum Login {
    /// User and password.
    Password { user: String, password: SecretString },
    /// A token that a token service changes for others (OAuth2 refresh token; `identitytoken` in files).
    Identity(SecretString),
    /// A token for the registry itself (`registrytoken` in files).
    Bearer(SecretString),
}

impl Credentials {
    /// Reads a file: a Docker or podman config, a `.dockercfg`, or a manifest of Kubernetes pull secrets.
    ///
    /// # Errors
    ///
    /// When it cannot be read. The error repeats nothing of its content.
    pub fn from_file(path: &Path) -> Result<Self, PortError> {
        let what = || format!("the credentials `{}`", path.display());
        let bytes = std::fs::read(path).map_err(|error| PortError::failed(format!("read {}", what()), error))?;
        let mut file = file::parse(&bytes).map_err(|why| PortError::Unusable { what: what(), why })?;
        file.shown = format!("`{}`", path.display());
        Ok(Self { files: vec![Arc::new(file)], ..Self::default() })
    }

    /// Reads the text of such a file.
    ///
    /// # Errors
    ///
    /// What is wrong and where, without anything of the content.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let file = file::parse(bytes)?;
        Ok(Self { files: vec![Arc::new(file)], ..Self::default() })
    }

    /// Reads pull secrets as an API server lists them; also says which of them cannot be read.
    ///
    /// # Errors
    ///
    /// What is wrong and where, without anything of the content.
    pub fn of_secrets(bytes: &[u8]) -> Result<(Self, Vec<String>), String> {
        let (file, broken) = file::parse_list(bytes)?;
        Ok((Self { files: vec![Arc::new(file)], ..Self::default() }, broken))
    }

    /// The files of this user, in the order of containers-auth.json(5): the one that `REGISTRY_AUTH_FILE` names alone, or
    /// podman's and Docker's.
    ///
    /// # Errors
    ///
    /// When a file is there and cannot be read, or the one that is named is not there.
    pub fn of_user() -> Result<Self, PortError> {
        let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(path) = of("REGISTRY_AUTH_FILE") {
            return Self::from_file(&path);
        }
        let home = of("HOME");
        let in_home = |path: &str| home.as_ref().map(|home| home.join(path));
        let runtime = of("XDG_RUNTIME_DIR")
            .unwrap_or_else(|| PathBuf::from(format!("/run/containers/{}", rustix::process::getuid().as_raw())));
        let places = [
            Some(if of("XDG_RUNTIME_DIR").is_some() { runtime.join("containers") } else { runtime })
                .map(|folder| folder.join("auth.json")),
            of("XDG_CONFIG_HOME").or_else(|| in_home(".config")).map(|folder| folder.join("containers/auth.json")),
            of("DOCKER_CONFIG").or_else(|| in_home(".docker")).map(|folder| folder.join("config.json")),
            in_home(".dockercfg"),
        ];
        let mut all = Self::default();
        for path in places.into_iter().flatten().filter(|path| path.is_file()) {
            all = all.and(Self::from_file(&path)?);
        }
        Ok(all)
    }

    /// These, and where they have none, the others.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.files.extend(others.files);
        self.namespaces.extend(others.namespaces);
        self
    }

    /// The login for a repository at a host, if there is one, and where it is from.
    ///
    /// # Errors
    ///
    /// When a helper fails, or the only login that fits cannot be read.
    pub(super) async fn login(&self, host: &str, repository: &str, namespace: &str) -> Result<Option<Found>, String> {
        let host = canonical(host);
        let mut broken = None;
        for file in &self.files {
            if let Some(helper) = file.helper(&host, repository)
                && let Some(found) = self.helped(helper, &host).await?
            {
                return Ok(Some(found));
            }
            match file.login(&host, repository) {
                Some(Ok(login)) => return Ok(Some(Found { login: login.clone(), from: file.shown.clone() })),
                Some(Err(why)) => broken = broken.or_else(|| Some(unreadable(&host, &file.shown, why))),
                None => {}
            }
            if let Some(store) = &file.store
                && let Some(found) = self.helped(store, &host).await?
            {
                return Ok(Some(found));
            }
        }
        let from = || format!("a pull secret of the namespace `{namespace}`");
        match self.namespaces.get(namespace).and_then(|file| file.login(&host, repository)) {
            Some(Ok(login)) => Ok(Some(Found { login: login.clone(), from: from() })),
            Some(Err(why)) => Err(broken.unwrap_or_else(|| unreadable(&host, &from(), why))),
            None => broken.map_or(Ok(None), Err),
        }
    }

    /// Logins that cannot be read, each with its host and file.
    pub fn broken(&self) -> Vec<String> {
        let files =
            self.files.iter().flat_map(|file| file.broken().map(|(host, why)| unreadable(host, &file.shown, why)));
        files.collect()
    }

    /// With the pull secrets of a namespace, for what is asked for it alone.
    #[must_use]
    pub fn with_secrets_of(mut self, namespace: String, secrets: &Self) -> Self {
        if let Some(file) = secrets.files.first() {
            self.namespaces.insert(namespace, Arc::clone(file));
        }
        self
    }

    /// Whether any namespace has logins of its own.
    pub(super) fn has_namespaces(&self) -> bool {
        !self.namespaces.is_empty()
    }

    /// Whether a namespace has a login of its own for a repository.
    pub(super) fn has_of(&self, namespace: &str, host: &str, repository: &str) -> bool {
        let file = self.namespaces.get(namespace);
        file.is_some_and(|file| file.login(&canonical(host), repository).is_some_and(|login| login.is_ok()))
    }

    async fn helped(&self, helper: &str, host: &str) -> Result<Option<Found>, String> {
        let login = self.ask_helper(helper, host).await?;
        Ok(login.map(|login| Found { login, from: format!("`docker-credential-{}`", inert(helper, 60)) }))
    }

    async fn ask_helper(&self, helper: &str, host: &str) -> Helped {
        // One process at a time: helpers ask key chains, which ask people.
        let mut helped = self.helped.lock().await;
        let key = (helper.to_owned(), host.to_owned());
        if let Some((asked, answer)) = helped.get(&key)
            && asked.elapsed() < HELPER_LIFE
        {
            return answer.clone();
        }
        let answer = helper::ask(helper, host).await;
        helped.insert(key, (Instant::now(), answer.clone()));
        answer
    }
}

/// A login, and where it is from.
#[derive(Clone)]
pub(super) struct Found {
    /// The login.
    pub(super) login: Login,
    /// The file or the helper, as it is shown.
    pub(super) from: String,
}

fn unreadable(host: &str, file: &str, why: &str) -> String {
    let file = if file.is_empty() { String::new() } else { format!(" in {file}") };
    format!("the credentials for `{}`{file} cannot be read: {why}", inert(host, 120))
}

impl Login {
    /// What of it is secret.
    pub(super) fn secret(&self) -> SecretString {
        match self {
            Self::Password { user, password } => format!("{user}:{}", password.expose_secret()).into(),
            Self::Identity(token) | Self::Bearer(token) => token.clone(),
        }
    }

    /// The value of an `Authorization` header, if the login is one that can be shown to a registry or token service itself.
    pub(super) fn header(&self) -> Option<SecretString> {
        match self {
            Self::Password { user, password } => {
                let plain = format!("{user}:{}", password.expose_secret());
                Some(format!("Basic {}", STANDARD.encode(plain)).into())
            }
            Self::Bearer(token) => Some(format!("Bearer {}", token.expose_secret()).into()),
            Self::Identity(_) => None,
        }
    }
}

/// The one name of a registry, whatever spelling stands in a reference, a config or a login. Docker Hub goes by three names.
pub(super) fn canonical(host: &str) -> String {
    match normal_host(host) {
        host if matches!(host.as_str(), "index.docker.io" | "registry-1.docker.io") => "docker.io".to_owned(),
        host => host,
    }
}

/// Registries whose token service is on another host, as their operators document it.
const TOKEN_SERVICES: [(&str, &str); 4] = [
    ("docker.io", "auth.docker.io"),
    ("registry.gitlab.com", "gitlab.com"),
    ("registry.redhat.io", "sso.redhat.com"),
    ("registry.connect.redhat.com", "sso.redhat.com"),
];

/// Whether the login of a registry may go to a token service: to itself, to the one that the config names, and to those that
/// are known. Anything else a challenge names gets an anonymous request.
pub(super) fn may_receive(registry: &str, configured: Option<&str>, service: &str) -> bool {
    let (registry, service) = (canonical(registry), normal_host(service));
    service == registry
        || configured.is_some_and(|configured| normal_host(configured) == service)
        || TOKEN_SERVICES.contains(&(registry.as_str(), service.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_stay_at_home() {
        assert!(may_receive("r.example.com", None, "r.example.com"));
        assert!(may_receive("registry-1.docker.io", None, "auth.docker.io"));
        assert!(may_receive("registry.redhat.io", None, "sso.redhat.com"));
        assert!(may_receive("r.example.com", Some("t.example.com"), "t.example.com"));
        for (registry, service) in [
            ("r.example.com", "evil.example.com"),
            ("r.example.com", "r.example.com:81"),
            ("quay.io", "auth.docker.io"),
            ("docker.io", "gitlab.com"),
        ] {
            assert!(!may_receive(registry, None, service), "{registry} {service}");
        }
    }
}
