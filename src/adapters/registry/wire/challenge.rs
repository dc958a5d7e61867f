//! `WWW-Authenticate`, and what token services send (distribution token specification).

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::source::inert;

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

/// Reads the challenge to answer: a token if one is offered.
///
/// # Errors
///
/// Why there is none that can be answered, with what was sent.
pub(in super::super) fn challenge(header: &str) -> Result<Challenge, String> {
    if header.is_empty() {
        return Err("it does not say what it wants to see (`WWW-Authenticate`)".to_owned());
    }
    let unreadable = || format!("its `WWW-Authenticate` cannot be read: `{}`", inert(header, 200));
    if header.len() > LONGEST {
        return Err(unreadable());
    }
    let challenges = http_auth::parse_challenges(header).map_err(|_| unreadable())?;
    let bearer = challenges.iter().find(|challenge| challenge.scheme.eq_ignore_ascii_case("bearer"));
    if let Some(bearer) = bearer {
        let value = |name: &str| {
            bearer.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_unescaped())
        };
        let realm = value("realm").ok_or_else(unreadable)?;
        return Ok(Challenge::Bearer { realm, service: value("service"), scope: value("scope") });
    }
    let is_basic = challenges.iter().any(|challenge| challenge.scheme.eq_ignore_ascii_case("basic"));
    let other = challenges.first().map_or("", |challenge| challenge.scheme);
    if is_basic {
        Ok(Challenge::Basic)
    } else {
        Err(format!("it wants `{}`, which is not known here", inert(other, 60)))
    }
}

/// A token as services send it, under either name.
#[derive(Deserialize)]
pub(in super::super) struct TokenAnswer {
    token: Option<SecretString>,
    access_token: Option<SecretString>,
    /// Seconds; 60 when it is not said (distribution token specification). Some services send it as text.
    #[serde(default)]
    expires_in: serde_json::Value,
}

impl TokenAnswer {
    /// The token and for how many seconds it is good.
    pub(in super::super) fn into_token(self) -> Option<(SecretString, u64)> {
        let seconds = match &self.expires_in {
            serde_json::Value::String(text) => text.trim().parse().ok(),
            number => number.as_u64().or_else(|| number.as_f64().filter(|it| *it > 0.0).map(|it| it as u64)),
        };
        let seconds = seconds.unwrap_or(60);
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
        assert_eq!(challenge(header), Ok(expected.clone()));
        assert_eq!(challenge(&format!("Basic realm=\"x\", {header}")), Ok(expected), "a token is preferred");
        assert_eq!(challenge("Basic realm=\"x\""), Ok(Challenge::Basic));
        let why = |header: &str| challenge(header).err().unwrap_or_default();
        assert!(why("").contains("does not say") && why("Negotiate").contains("it wants `Negotiate`"));
        assert!(why("Bearer").contains("cannot be read: `Bearer`"), "{}", why("Bearer"));
        assert!(
            why("Bearer realm=\"\u{1b}[31m").contains("cannot be read")
                && !why("Bearer realm=\"\u{1b}[31m").contains('\u{1b}')
        );
        let long = (0..1000).fold("Bearer realm=\"https://r/\"".to_owned(), |text, at| format!("{text},p{at}=\"v\""));
        assert!(why(&long).len() < 400);
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
        assert_eq!(read(r#"{"token":"a","expires_in":"300"}"#), Some(("a".to_owned(), 300)));
        assert_eq!(read(r#"{"token":"a","expires_in":299.9}"#), Some(("a".to_owned(), 299)));
        for odd in ["null", "\"soon\"", "-5", "{}"] {
            assert_eq!(read(&format!(r#"{{"token":"a","expires_in":{odd}}}"#)), Some(("a".to_owned(), 60)), "{odd}");
        }
        assert_eq!(read("{}"), None);
    }
}
