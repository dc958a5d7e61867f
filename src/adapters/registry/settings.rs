//! How the config wants registries treated.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::auth::fits_host;
use super::mirrors::Mirrors;
use crate::openshift::split_port;

/// Everything the config says of registries.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// By `host[:port]` as it stands in references; `*` stands for a label or a part of one.
    pub hosts: BTreeMap<String, HostConfig>,
    /// Who answers in whose place.
    pub mirrors: Mirrors,
    /// Registries that images may be imported from; all, when there is none (OpenShift's `allowedRegistriesForImport`).
    pub allowed: Vec<AllowedRegistry>,
    /// Registries that nothing is imported from.
    pub blocked: Vec<String>,
    /// A person waits for the answers: then what is kept back of a quota may be used too.
    pub person_waits: bool,
}

/// How a host is treated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostConfig {
    /// Read this OCI layout folder instead of asking the host.
    pub layout: Option<PathBuf>,
    /// TLS need not be verified, plain http is a fallback, and logins may travel like that.
    pub insecure: bool,
    /// It is on a private network, and that is meant.
    pub private: bool,
    /// Host of the token service that may be given this registry's login, besides the registry itself.
    pub token_service: Option<String>,
    /// PEM file of certificates that may sign this host's, besides the system's.
    pub ca: Option<PathBuf>,
    /// PEM file of a certificate to show, and its key.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// Requests under way at once.
    pub concurrency: Option<usize>,
    /// Requests a second.
    pub rate: Option<u32>,
    /// For how long an answer may keep silent; four times that for the whole of it.
    pub timeout: Option<Duration>,
}

/// A registry that images may be imported from (semantics 1.10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedRegistry {
    /// `host` or `host:port`, with `*` and `?`.
    pub domain: String,
    /// Without a port: 80 instead of 443.
    pub insecure: bool,
}

impl Settings {
    /// What the config says of a host: under its own name, or else under the longest pattern that fits.
    pub(super) fn host(&self, name: &str) -> HostConfig {
        // Docker Hub goes by several names.
        let own = self.hosts.get(name).or_else(|| {
            let same =
                |(known, _): &(&String, &HostConfig)| super::auth::canonical(known) == super::auth::canonical(name);
            self.hosts.iter().find(same).map(|(_, config)| config)
        });
        let by_pattern = || {
            let name = super::auth::canonical(name);
            let fits = |pattern: &String| pattern.contains('*') && fits_host(&super::auth::canonical(pattern), &name);
            let fitting = self.hosts.iter().filter(|(pattern, _)| fits(pattern));
            fitting.max_by_key(|(pattern, _)| pattern.len()).map(|(_, config)| config)
        };
        own.or_else(by_pattern).cloned().unwrap_or_default()
    }

    /// Whether a registry itself must not be asked: its mirrors may be (semantics 3.5).
    pub(super) fn blocks(&self, registry: &str) -> bool {
        let name = super::auth::canonical(registry);
        self.blocked.iter().any(|blocked| super::auth::canonical(blocked) == name)
    }

    /// Why images of a registry may not be imported, in the API server's words (semantics 1.10).
    pub(super) fn forbids(&self, registry: &str, insecure: bool) -> Option<String> {
        let name = super::auth::canonical(registry);
        let admits = |allowed: &AllowedRegistry| {
            let default = if allowed.insecure { "80" } else { "443" };
            let domain = allowed.domain.to_ascii_lowercase();
            let (host, port) = split_port(&domain);
            let (asked, asked_port) = split_port(&name);
            // A tag that may be asked in any way fits either port (semantics 1.10).
            let any_way = insecure && asked_port.is_none() && port.is_none();
            let (port, asked_port) =
                (port.unwrap_or(default), asked_port.unwrap_or(if insecure { "80" } else { "443" }));
            wildcard(host, asked) && (any_way || wildcard(port, asked_port))
        };
        if self.allowed.is_empty() || self.allowed.iter().any(admits) {
            return None;
        }
        let shown: Vec<String> = self.allowed.iter().take(5).map(|allowed| format!("\"{}\"", allowed.domain)).collect();
        let more = match self.allowed.len().saturating_sub(5) {
            0 => String::new(),
            more => format!(" and {more} more ..."),
        };
        Some(format!("registry \"{registry}\" not allowed by whitelist: {}{more}", shown.join(", ")))
    }
}

/// `*` for any run of characters, `?` for one.
fn wildcard(pattern: &str, text: &str) -> bool {
    // Where the last `*` was, and how much of the text it has taken: without going back further, as every glob does.
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut in_text, mut star) = (0, 0, None);
    while in_text < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, in_text));
                at += 1;
            }
            Some(char) if *char == '?' || *char == text[in_text] => {
                at += 1;
                in_text += 1;
            }
            _ => match &mut star {
                Some((from, taken)) => {
                    *taken += 1;
                    at = *from + 1;
                    in_text = *taken;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|char| *char == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_found_by_name_and_by_pattern() {
        let rate = |rate| HostConfig { rate: Some(rate), ..HostConfig::default() };
        let hosts = [("*.example.com", 1), ("*.lab.example.com", 2), ("a.example.com", 3), ("*.example.com:5000", 4)];
        let settings =
            Settings { hosts: hosts.map(|(name, of)| (name.to_owned(), rate(of))).into(), ..Settings::default() };
        for (name, expected) in [
            ("b.example.com", Some(1)),
            ("x.lab.example.com", Some(2)),
            ("a.example.com", Some(3)),
            ("a.example.com:5000", Some(4)),
            ("example.com", None),
        ] {
            assert_eq!(settings.host(name).rate, expected, "{name}");
        }
    }

    #[test]
    fn allowed_and_blocked_are_as_on_openshift() {
        let allowed = |domain: &str, insecure| AllowedRegistry { domain: domain.to_owned(), insecure };
        let settings = Settings {
            allowed: vec![allowed("docker.io", false), allowed("*.corp:5000", false), allowed("plain", true)],
            blocked: vec!["bad.docker.io".to_owned(), "quay.io".to_owned(), "x.corp:5000".to_owned()],
            ..Settings::default()
        };
        let table = [
            ("docker.io", false, true),
            ("registry-1.docker.io", false, true),
            ("docker.io:444", false, false),
            ("a.corp:5000", false, true),
            ("a.corp", false, false),
            ("plain", false, false),
            ("plain", true, true),
            ("quay.io", false, false),
            ("x.corp:5000", false, false),
            ("other", false, false),
        ];
        for (registry, insecure, expected) in table {
            let refused = settings.forbids(registry, insecure);
            let refused = refused.or_else(|| settings.blocks(registry).then(String::new));
            assert_eq!(refused.is_none(), expected, "{registry} {insecure} {refused:?}");
        }
        assert_eq!(Settings::default().forbids("anything", false), None);
    }

    #[test]
    fn wildcards_fit_as_people_expect() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a?c", "abc", true),
            ("a*c", "abbc", true),
            ("a*c*", "acbcx", true),
            ("a*c", "abb", false),
            ("?", "", false),
            ("**", "x", true),
        ] {
            assert_eq!(wildcard(pattern, text), expected, "{pattern} {text}");
        }
    }
}
