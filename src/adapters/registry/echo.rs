//! A registry that repeats what it was shown: its words reach plans and logs, secrets do not.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Request;
use reqwest::header::AUTHORIZATION;
use secrecy::{ExposeSecret, SecretString};

/// Shorter ones would strike out half of what is said, and guard nothing.
const SHORTEST: usize = 4;

/// The secrets of one request, in every form that it had.
#[derive(Clone, Default)]
pub(super) struct Shown {
    secrets: Vec<SecretString>,
    /// Secrets were in its body.
    in_body: bool,
}

impl Shown {
    /// What a request shows.
    pub(super) fn of(request: &Request) -> Self {
        let value = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (scheme, text) = value.split_once(' ').unwrap_or_default();
        let mut secrets = vec![text.to_owned()];
        if scheme == "Basic"
            && let Some(login) = STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok())
            && let Some((_, password)) = login.split_once(':')
        {
            secrets.push(password.to_owned());
        }
        secrets.retain(|secret| secret.len() >= SHORTEST);
        // The longest first: one may be a part of another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self { secrets: secrets.into_iter().map(SecretString::from).collect(), in_body: request.body().is_some() }
    }

    /// Words of the answer as they may be shown: decoded already, and not yet made inert.
    pub(super) fn strike(&self, words: &str) -> String {
        if self.in_body {
            return String::new();
        }
        let strike = |text: String, secret: &SecretString| text.replace(secret.expose_secret(), "…");
        self.secrets.iter().fold(words.to_owned(), strike)
    }
}
