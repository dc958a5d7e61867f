//! A registry that repeats what it was shown: its words reach plans and logs, secrets do not.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Request;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use secrecy::{ExposeSecret, SecretString};

/// Shorter ones would strike out half of what is said, and guard nothing.
const SHORTEST: usize = 4;

/// The secrets of one request, in every form that it had.
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

    /// The words of an error without them.
    pub(super) fn strike_from(&self, bytes: Vec<u8>) -> Vec<u8> {
        if self.in_body {
            return Vec::new();
        }
        if self.secrets.is_empty() {
            return bytes;
        }
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        for secret in &self.secrets {
            text = text.replace(secret.expose_secret(), "…");
        }
        text.into_bytes()
    }

    /// Headers that repeat them are gone.
    pub(super) fn strike_out(&self, headers: &mut HeaderMap) {
        let repeats = |value: &[u8]| {
            self.secrets.iter().any(|secret| {
                let secret = secret.expose_secret().as_bytes();
                value.windows(secret.len()).any(|window| window == secret)
            })
        };
        let gone: Vec<_> =
            headers.iter().filter(|(_, value)| repeats(value.as_bytes())).map(|(name, _)| name.clone()).collect();
        for name in gone {
            headers.remove(name);
        }
    }
}
