//! Files that logins are kept in: Docker's and podman's config, `.dockercfg`, manifests of Kubernetes pull secrets.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;

use crate::openshift::{ObjectMeta, split_port};
use crate::source::inert;

use super::{Login, canonical};

/// What a file says.
#[derive(Default)]
pub(super) struct AuthFile {
    /// What it is called; empty where nobody has said.
    pub(super) shown: String,
    /// Logins, and why those that are no logins are none.
    logins: Vec<(Key, Result<Login, String>)>,
    helpers: Vec<(Key, String)>,
    /// Helper for every host (`credsStore`).
    pub(super) store: Option<String>,
}

/// `host[:port][/path]`, the host in lower case.
struct Key {
    host: String,
    path: String,
}

/// Each of its fields may be null.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct DockerConfig {
    auths: Option<BTreeMap<String, Value>>,
    cred_helpers: Option<BTreeMap<String, Option<String>>>,
    creds_store: Option<String>,
}

#[derive(Deserialize)]
struct DockerAuth {
    auth: Option<SecretString>,
    username: Option<String>,
    password: Option<SecretString>,
    identitytoken: Option<SecretString>,
    registrytoken: Option<SecretString>,
}

/// A Kubernetes Secret, or a list of them; of other objects nothing is read.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Object {
    kind: String,
    metadata: ObjectMeta,
    items: Vec<Object>,
    data: BTreeMap<String, SecretString>,
    string_data: BTreeMap<String, SecretString>,
}

/// Reads a list of pull secrets as the API server sends it: its items say no kind. One that is broken is named, and the
/// others are read.
///
/// # Errors
///
/// What is wrong and where, without anything of the content.
pub(super) fn parse_list(bytes: &[u8]) -> Result<(AuthFile, Vec<String>), String> {
    let list: Object = serde_json::from_slice(bytes).map_err(|error| json_place(&error))?;
    let mut file = AuthFile::default();
    let mut broken = Vec::new();
    for mut item in list.items {
        "Secret".clone_into(&mut item.kind);
        let name = inert(&item.metadata.name, 120);
        if let Err(why) = file.read_object(item) {
            broken.push(format!("the pull secret `{name}` is passed over: {why}"));
        }
    }
    Ok((file, broken))
}

/// Reads a file in any of the formats.
///
/// # Errors
///
/// What is wrong and where, without anything of the content.
pub(super) fn parse(bytes: &[u8]) -> Result<AuthFile, String> {
    let mut file = AuthFile::default();
    // Only JSON is a Docker config; YAML and JSON are Secrets.
    match serde_json::from_slice::<Value>(bytes) {
        Ok(value) if value.get("kind").is_none() => file.read_config(bytes)?,
        Ok(_) => file.read_object(serde_json::from_slice(bytes).map_err(|error| json_place(&error))?)?,
        Err(error) if bytes.trim_ascii_start().starts_with(b"{") => return Err(json_place(&error)),
        Err(_) => {
            let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
            let objects: Vec<Object> = serde_saphyr::from_multiple(text).map_err(|error| {
                let place = error
                    .location()
                    .map_or(String::new(), |at| format!(" (line {}, column {})", at.line(), at.column()));
                format!("it is neither a Docker config nor a Secret{place}")
            })?;
            for object in objects {
                file.read_object(object)?;
            }
        }
    }
    Ok(file)
}

fn json_place(error: &serde_json::Error) -> String {
    format!("it is not a Docker config (line {}, column {})", error.line(), error.column())
}

impl AuthFile {
    /// `config.json`, `auth.json`, `.dockerconfigjson`; or, without `auths`, `.dockercfg`. An entry that is no login is one for itself: the
    /// others count.
    fn read_config(&mut self, bytes: &[u8]) -> Result<(), String> {
        let config: DockerConfig = serde_json::from_slice(bytes).map_err(|error| json_place(&error))?;
        let is_config = config.auths.is_some() || config.cred_helpers.is_some() || config.creds_store.is_some();
        let entries = if is_config {
            config.auths.unwrap_or_default()
        } else {
            // Docker's config has fields of other things; a `.dockercfg` has nothing but logins.
            let mut all: BTreeMap<String, Value> = serde_json::from_slice(bytes).map_err(|error| json_place(&error))?;
            all.retain(|_, value| ["auth", "username", "identitytoken"].iter().any(|key| value.get(key).is_some()));
            all
        };
        for (key, entry) in entries {
            let auth = serde_json::from_value::<Option<DockerAuth>>(entry);
            let login = match auth {
                Ok(auth) => auth.and_then(DockerAuth::login),
                Err(_) => Some(Err("a field of it is no text".to_owned())),
            };
            self.logins.extend(login.map(|login| (Key::parse(&key), login)));
        }
        let helpers = config.cred_helpers.unwrap_or_default().into_iter();
        self.helpers.extend(helpers.filter_map(|(key, helper)| Some((Key::parse(&key), helper?))));
        self.store = self.store.take().or(config.creds_store.filter(|store| !store.is_empty()));
        Ok(())
    }

    fn read_object(&mut self, object: Object) -> Result<(), String> {
        let Object { kind, metadata: _, items, data, string_data } = object;
        for item in items {
            self.read_object(item)?;
        }
        if kind != "Secret" {
            return Ok(());
        }
        for key in [".dockerconfigjson", ".dockercfg"] {
            let wrong = |why: String| format!("its Secret has a `{key}` that is not one: {why}");
            if let Some(text) = string_data.get(key) {
                self.read_config(text.expose_secret().as_bytes()).map_err(wrong)?;
            } else if let Some(text) = data.get(key) {
                let packed: String = text.expose_secret().split_ascii_whitespace().collect();
                let bytes = STANDARD.decode(packed).map_err(|_| wrong("not base64".to_owned()))?;
                self.read_config(&bytes).map_err(wrong)?;
            }
        }
        // A pull secret names no programs.
        self.helpers.clear();
        self.store = None;
        Ok(())
    }

    /// The login of the longest key that fits; or why it is none.
    pub(super) fn login(&self, host: &str, repository: &str) -> Option<Result<&Login, &str>> {
        longest(&self.logins, host, repository).map(|login| login.as_ref().map_err(String::as_str))
    }

    /// Entries that are no logins: the host of each, and why.
    pub(super) fn broken(&self) -> impl Iterator<Item = (&str, &str)> {
        self.logins.iter().filter_map(|(key, login)| Some((&*key.host, login.as_ref().err()?.as_str())))
    }

    /// The helper of the longest key that fits.
    pub(super) fn helper(&self, host: &str, repository: &str) -> Option<&str> {
        longest(&self.helpers, host, repository).map(String::as_str)
    }
}

fn longest<'a, T>(entries: &'a [(Key, T)], host: &str, repository: &str) -> Option<&'a T> {
    let fitting = entries.iter().filter(|(key, _)| key.fits(host, repository));
    // Of equal ones, the one without `*`.
    fitting.max_by_key(|(key, _)| (key.path.len(), !key.host.contains('*'))).map(|(_, value)| value)
}

impl Key {
    /// Reads `https://index.docker.io/v1/`, `quay.io/team`, `*.example.com:5000`.
    fn parse(text: &str) -> Self {
        let rest = text.split_once("://").map_or(text, |(_, rest)| rest).trim_end_matches('/');
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = if matches!(path, "v1" | "v2") { "" } else { path };
        Self { host: canonical(host), path: path.to_owned() }
    }

    fn fits(&self, host: &str, repository: &str) -> bool {
        let in_path = match repository.strip_prefix(self.path.as_str()) {
            Some(rest) => self.path.is_empty() || rest.is_empty() || rest.starts_with('/'),
            None => false,
        };
        in_path && fits_host(&self.host, host)
    }
}

/// Whether a host fits a pattern: label by label, `*` for any one of them or a part of it; the ports are equal.
pub(in super::super) fn fits_host(pattern: &str, host: &str) -> bool {
    if !pattern.contains('*') {
        return pattern == host;
    }
    let split = |text: &str| {
        let (name, port) = split_port(text);
        (name.split('.').map(str::to_owned).collect::<Vec<_>>(), port.map(str::to_owned))
    };
    let ((wanted, wanted_port), (labels, port)) = (split(pattern), split(host));
    let fits = |(pattern, label): (&String, &String)| match pattern.split_once('*') {
        None => pattern == label,
        Some((before, after)) => {
            label.len() >= before.len() + after.len() && label.starts_with(before) && label.ends_with(after)
        }
    };
    wanted_port == port && wanted.len() == labels.len() && wanted.iter().zip(&labels).all(fits)
}

impl DockerAuth {
    /// The login, if there is one; or why it is none.
    fn login(self) -> Option<Result<Login, String>> {
        let sound = |token: &SecretString| !token.expose_secret().is_empty();
        if let Some(token) = self.registrytoken.filter(sound) {
            return Some(Ok(Login::Bearer(token)));
        }
        if let Some(token) = self.identitytoken.filter(sound) {
            return Some(Ok(Login::Identity(token)));
        }
        if let (Some(user), Some(password)) = (self.username, self.password)
            && !user.is_empty()
        {
            return Some(Ok(Login::Password { user, password }));
        }
        self.auth.filter(sound).map(|auth| packed(&auth).map_err(|why| format!("its `auth` {why}")))
    }
}

/// `user:password` in base64.
fn packed(auth: &SecretString) -> Result<Login, &'static str> {
    let decoded = STANDARD.decode(auth.expose_secret().trim()).map_err(|_| "is not base64")?;
    let text = String::from_utf8(decoded).map_err(|_| "is not UTF-8 in base64")?;
    let (user, password) = text.trim_end_matches('\0').split_once(':').ok_or("has no `:` in it")?;
    Ok(Login::Password { user: user.to_owned(), password: password.to_owned().into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(file: &AuthFile, host: &str, repository: &str) -> Option<String> {
        let header = file.login(&canonical(host), repository)?.ok()?.header()?;
        let encoded = header.expose_secret().strip_prefix("Basic ")?.to_owned();
        String::from_utf8(STANDARD.decode(encoded).ok()?).ok()
    }

    fn auth(login: &str) -> String {
        format!("{{\"auth\":\"{}\"}}", STANDARD.encode(login))
    }

    #[test]
    fn the_longest_key_wins() {
        let text = format!(
            r#"{{"auths":{{"https://index.docker.io/v1/":{},"quay.io":{{"username":"u","password":"p"}},"quay.io/team":{},"quay.io/team/app":{},"*.example.com":{},"a.example.com":{},"*.example.com:5000":{},"x":{{}}}}}}"#,
            auth("hub:pass:word"),
            auth("team:t"),
            auth("app:a"),
            auth("wild:w"),
            auth("exact:e"),
            auth("port:p"),
        );
        let file = parse(text.as_bytes()).expect("a good file");
        let table = [
            ("registry-1.docker.io", "library/x", Some("hub:pass:word")),
            ("docker.io", "a/b", Some("hub:pass:word")),
            ("quay.io", "other/app", Some("u:p")),
            ("quay.io", "team/other", Some("team:t")),
            ("quay.io", "team", Some("team:t")),
            ("quay.io", "teams/app", Some("u:p")),
            ("quay.io", "team/app", Some("app:a")),
            ("quay.io", "team/app/deep", Some("app:a")),
            ("quay.io:443", "team/app", Some("app:a")),
            ("quay.io:8443", "team/app", None),
            ("b.example.com", "x", Some("wild:w")),
            ("a.example.com", "x", Some("exact:e")),
            ("a.b.example.com", "x", None),
            ("example.com", "x", None),
            ("b.example.com:5000", "x", Some("port:p")),
            ("x", "x", None),
        ];
        for (host, repository, expected) in table {
            assert_eq!(found(&file, host, repository).as_deref(), expected, "{host}/{repository}");
        }
    }

    #[test]
    fn pull_secrets_of_both_types_are_read() {
        let config = format!("{{\"auths\":{{\"quay.io\":{}}}}}", auth("new:n"));
        let legacy = format!("{{\"https://r.example.com\":{}}}", auth("old:o"));
        let yaml = format!(
            "apiVersion: v1\nkind: List\nitems:\n  - kind: Secret\n    type: kubernetes.io/dockerconfigjson\n    data:\n      .dockerconfigjson: {}\n  - kind: ConfigMap\n    data: {{.dockercfg: 'no'}}\n---\nkind: Secret\ntype: kubernetes.io/dockercfg\nstringData:\n  .dockercfg: '{legacy}'\n",
            STANDARD.encode(&config),
        );
        let file = parse(yaml.as_bytes()).expect("good secrets");
        assert_eq!(found(&file, "quay.io", "a").as_deref(), Some("new:n"));
        assert_eq!(found(&file, "r.example.com", "a").as_deref(), Some("old:o"));
        let mounted = parse(legacy.as_bytes()).expect("a `.dockercfg`");
        assert_eq!(found(&mounted, "r.example.com", "a").as_deref(), Some("old:o"));
        let evil = format!("{{\"credsStore\":\"evil\",\"auths\":{{\"quay.io\":{}}}}}", auth("u:p"));
        let secret =
            format!("{{\"kind\":\"Secret\",\"data\":{{\".dockerconfigjson\":\"{}\"}}}}", STANDARD.encode(evil));
        assert!(parse(secret.as_bytes()).is_ok_and(|file| file.store.is_none()), "a pull secret starts no program");
    }

    #[test]
    fn mistakes_have_a_place_and_no_content() {
        for text in ["{\"auths\": hunter2}", "kind: [hunter2", r#"{"kind":"Secret","data":{".dockercfg":"hunter2!"}}"#]
        {
            let error = parse(text.as_bytes()).err().unwrap_or_default();
            assert!(!error.is_empty() && !error.contains("hunter2"), "{text}: {error}");
        }
        for fine in
            ["{}", r#"{"auths": null, "credHelpers": null}"#, r#"{"HttpHeaders": {"a": "b"}, "experimental": "on"}"#]
        {
            assert!(parse(fine.as_bytes()).is_ok_and(|file| file.logins.is_empty()), "{fine}");
        }
    }

    #[test]
    fn an_entry_that_is_no_login_stops_no_other() {
        let text = format!(
            r#"{{"auths":{{"null.example.com":null,"empty.example.com":{{}},"deep.example.com":{{"auth":{{"hunter2":5}}}},
                "text.example.com":{{"auth":"hunter2!"}},"half.example.com":{{"auth":"{}"}},"quay.io":{}}},
                "credHelpers":{{"x":null}}}}"#,
            STANDARD.encode("hunter2"),
            auth("u:p"),
        );
        let file = parse(text.as_bytes()).expect("one entry is good");
        assert_eq!(found(&file, "quay.io", "a").as_deref(), Some("u:p"));
        let broken: Vec<(&str, &str)> = file.broken().collect();
        assert_eq!(
            broken,
            [
                ("deep.example.com", "a field of it is no text"),
                ("half.example.com", "its `auth` has no `:` in it"),
                ("text.example.com", "its `auth` is not base64"),
            ]
        );
        assert!(file.login("null.example.com", "a").is_none() && file.login("empty.example.com", "a").is_none());
    }
}
