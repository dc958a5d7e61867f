//! `WWW-Authenticate`, and what token services send (distribution token specification).

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

/// Real challenges have some 200 characters.
const LONGEST: usize = 4096;
/// Real tokens have up to some 8 KiB.
const LONGEST_TOKEN: usize = 64 * 1024;

/// What a registry wants to see before it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Challenge {
    /// A token, fetched there (distribution token specification).
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
    /// User and password (RFC 7617).
    Basic,
}

/// Reads the challenge to answer: a token if one is offered. None as well for one that nobody would write in earnest.
pub(in super::super) fn challenge(header: &str) -> Option<Challenge> {
    if header.len() > LONGEST {
        return None;
    }
    let challenges = http_auth::parse_challenges(header).ok()?;
    let bearer = challenges.iter().find(|challenge| challenge.scheme.eq_ignore_ascii_case("bearer"));
    if let Some(bearer) = bearer {
        let value = |name: &str| {
            bearer.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_unescaped())
        };
        return Some(Challenge::Bearer { realm: value("realm")?, service: value("service"), scope: value("scope") });
    }
    challenges.iter().any(|challenge| challenge.scheme.eq_ignore_ascii_case("basic")).then_some(Challenge::Basic)
}

/// A token as services send it, under either name.
#[derive(Deserialize)]
pub(in super::super) struct TokenAnswer {
    token: Option<SecretString>,
    access_token: Option<SecretString>,
    /// Seconds; 60 when it is not said (distribution token specification).
    expires_in: Option<u64>,
}

impl TokenAnswer {
    /// The token and for how many seconds it is good.
    pub(in super::super) fn into_token(self) -> Option<(SecretString, u64)> {
        let seconds = self.expires_in.unwrap_or(60);
        let sound = |token: &SecretString| (1..=LONGEST_TOKEN).contains(&token.expose_secret().len());
        self.token.filter(sound).or(self.access_token.filter(sound)).map(|token| (token, seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let header =
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull""#;
        let expected = Challenge::Bearer {
            realm: "https://auth.docker.io/token".to_owned(),
            service: Some("registry.docker.io".to_owned()),
            scope: Some("repository:a/b:pull".to_owned()),
        };
        assert_eq!(challenge(header), Some(expected.clone()));
        assert_eq!(challenge(&format!("Basic realm=\"x\", {header}")), Some(expected), "a token is preferred");
        assert_eq!(challenge("Basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(challenge("Negotiate"), None);
        assert_eq!(challenge("Bearer"), None);
        let long = (0..1000).fold("Bearer realm=\"https://r/\"".to_owned(), |text, at| format!("{text},p{at}=\"v\""));
        assert_eq!(challenge(&long), None);
    }

    #[test]
    fn tokens_have_two_names_and_a_life() {
        let read = |text: &str| {
            let answer: TokenAnswer = serde_json::from_str(text).expect("the table is JSON");
            answer.into_token().map(|(token, seconds)| (token.expose_secret().to_owned(), seconds))
        };
        assert_eq!(read(r#"{"token":"a"}"#), Some(("a".to_owned(), 60)));
        assert_eq!(read(r#"{"access_token":"b","expires_in":300}"#), Some(("b".to_owned(), 300)));
        assert_eq!(read(r#"{"token":"","access_token":"c"}"#), Some(("c".to_owned(), 60)));
        assert_eq!(read("{}"), None);
    }
}
