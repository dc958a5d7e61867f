//! What a code host is told of a commit: whether it is applied. Pure.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::model::CodeHost;
use crate::openshift::{normal_host, split_port};
use crate::source::is_scp;

use super::status::PassStatus;

/// What stays as it is in a path of GitLab's API (RFC 3986, unreserved characters).
const PROJECT: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// How far a commit has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Everything is as it says.
    Success,
    /// Something is not, and waits for somebody.
    Failure,
}

/// What is told of a commit, on behalf of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitStatus {
    /// The lane: each has a line of its own at the commit.
    pub lane: String,
    /// The commit, in full.
    pub commit: String,
    /// How far it has come.
    pub state: State,
    /// In a line.
    pub description: String,
}

/// GitHub cuts at 140 characters (REST API, "Create a commit status").
const DESCRIPTION: usize = 140;

impl CommitStatus {
    /// What a pass over that commit has come to; none for a pass that was none.
    pub fn of(lane: &str, commit: &str, streams: usize, status: &PassStatus) -> Option<Self> {
        if status.error.is_some() {
            return None;
        }
        let state = if status.is_good() { State::Success } else { State::Failure };
        let many = |number: usize, what: &str| (number > 0).then(|| format!("{number} {what}"));
        let failed: usize = status.not_done().map(|(_, number)| number).sum();
        let refused: usize = status.failed_imports.values().sum();
        let wrong = [
            many(status.errors, "errors in the definitions"),
            many(failed, "steps not done"),
            many(refused, "imports refused"),
            many(status.deferred, "waiting"),
            status.config_error.as_ref().map(|_| "the config is broken".to_owned()),
        ];
        let wrong: Vec<String> = wrong.into_iter().flatten().collect();
        let description = match state {
            State::Success => format!("{streams} image streams are as they should be"),
            State::Failure => wrong.join(", "),
        };
        let (lane, commit) = (lane.to_owned(), commit.to_owned());
        Some(Self { lane, commit, state, description: description.chars().take(DESCRIPTION).collect() })
    }

    /// The request that tells it: path behind the API's base, and body.
    pub fn request(&self, host: CodeHost, repository: &str) -> (String, Value) {
        let Self { lane, commit, state, description } = self;
        let name = format!("streamkeeper/{lane}");
        match host {
            CodeHost::Github | CodeHost::Gitea => {
                let state = match state {
                    State::Success => "success",
                    State::Failure => "failure",
                };
                let body = json!({"state": state, "context": name, "description": description});
                (format!("/repos/{repository}/statuses/{commit}"), body)
            }
            CodeHost::Gitlab => {
                let state = match state {
                    State::Success => "success",
                    State::Failure => "failed",
                };
                let body = json!({"state": state, "name": name, "description": description});
                let project = utf8_percent_encode(repository, &PROJECT);
                (format!("/projects/{project}/statuses/{commit}"), body)
            }
        }
    }
}

/// Host and repository of a source behind a URL: `https://user@host/a/b.git`, `ssh://git@host:22/a/b`, `git@host:a/b`. None for anything whose
/// parts are not plain names, since they become parts of a request.
pub fn repository(source: &str) -> Option<(String, String)> {
    let (scheme, (authority, path)) = match source.split_once("://") {
        Some((scheme, rest)) => (scheme, rest.split_once('/')?),
        None if is_scp(source) => {
            ("ssh", source.split_once(':').map(|(host, path)| (host, path.trim_start_matches('/')))?)
        }
        None => return None,
    };
    let host = authority.rsplit('@').next()?;
    let host = if scheme == "ssh" { split_port(host).0 } else { host };
    let host = normal_host(host);
    let path = path.trim_end_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    let plain = |part: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        !part.is_empty() && part != "." && part != ".." && part.bytes().all(is_plain)
    };
    let is_repository = path.contains('/') && path.split('/').all(plain);
    let (name, port) = split_port(&host);
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let is_address = address.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
    let is_host = (plain(name) || is_address) && port.is_none_or(plain) && matches!(scheme, "https" | "ssh");
    (is_repository && is_host).then(|| (host.clone(), path.to_owned()))
}

impl CodeHost {
    /// Base of the API of a host, as its makers have it by default.
    pub fn api(self, host: &str) -> String {
        match self {
            Self::Github if host == "github.com" => "https://api.github.com".to_owned(),
            Self::Github => format!("https://{host}/api/v3"),
            Self::Gitlab => format!("https://{host}/api/v4"),
            Self::Gitea => format!("https://{host}/api/v1"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_told_about_in_the_words_of_its_host() {
        let good = PassStatus::default();
        let told = CommitStatus::of("main", "abc", 12, &good).expect("a pass");
        assert_eq!((told.state, told.description.as_str()), (State::Success, "12 image streams are as they should be"));
        let (path, body) = told.request(CodeHost::Github, "acme/streams");
        assert_eq!(path, "/repos/acme/streams/statuses/abc");
        assert_eq!(body["context"], "streamkeeper/main");
        let bad = PassStatus { errors: 2, deferred: 1, ..PassStatus::default() };
        let told = CommitStatus::of("main", "abc", 12, &bad).expect("a pass");
        assert_eq!(told.description, "2 errors in the definitions, 1 waiting");
        let (path, body) = told.request(CodeHost::Gitlab, "acme/sub/streams");
        assert_eq!((path.as_str(), &body["state"]), ("/projects/acme%2Fsub%2Fstreams/statuses/abc", &json!("failed")));
        let none = PassStatus { error: Some("x".to_owned()), ..PassStatus::default() };
        assert_eq!(CommitStatus::of("main", "abc", 12, &none), None, "nothing is known of the commit");
    }

    #[test]
    fn only_plain_names_become_parts_of_a_request() {
        let of = |source: &str| repository(source).map(|(host, path)| format!("{host} {path}"));
        assert_eq!(of("https://token@github.com/acme/streams.git").as_deref(), Some("github.com acme/streams"));
        assert_eq!(
            of("ssh://git@git.example.com:2222/acme/sub/streams").as_deref(),
            Some("git.example.com acme/sub/streams")
        );
        for wrong in
            ["streams", "file:///a/b", "https://h/a", "https://h/a/../b", "https://h/a/b?x=y", "https://h/a/b%2Fc"]
        {
            assert_eq!(of(wrong), None, "{wrong}");
        }
        assert_eq!(CodeHost::Github.api("github.com"), "https://api.github.com");
        assert_eq!(CodeHost::Gitea.api("codeberg.org"), "https://codeberg.org/api/v1");
    }
}
