//! Webhooks: whether somebody may say that there is something to look at. What they say is not believed; of registries, the
//! repositories they name are asked about. Pure.

use jiff::Timestamp;
use ring::hmac;
use serde_json::Value;

use crate::model::Sender;

/// Seconds that a signed time may be off.
const WINDOW: u64 = 300;
/// Repositories that one webhook may name.
const REPOSITORIES: usize = 32;

impl Sender {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Github, Self::Gitlab, Self::Gitea, Self::Forgejo, Self::Bitbucket, Self::Generic, Self::Registry];

    /// As the path names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Gitlab => "gitlab",
            Self::Gitea => "gitea",
            Self::Forgejo => "forgejo",
            Self::Bitbucket => "bitbucket",
            Self::Generic => "generic",
            Self::Registry => "registry",
        }
    }

    /// What a request claims, before its body is read. `header` gives a header by its name in lower case; `path` is what stands behind
    /// the sender's name.
    pub fn claim(self, secret: &[u8], header: impl Fn(&str) -> Option<String>, path: &str, now: Timestamp) -> Claim {
        if secret.is_empty() {
            return Claim::Forged;
        }
        let signed = |name: &str, prefix: &str| {
            let value = header(name).unwrap_or_default();
            value.strip_prefix(prefix).map_or(Claim::Forged, |hex| Claim::signed(secret, &[], hex))
        };
        let shown = |is_right: bool| if is_right { Claim::Proven } else { Claim::Forged };
        match self {
            Self::Github => signed("x-hub-signature-256", "sha256="),
            Self::Bitbucket => signed("x-hub-signature", "sha256="),
            Self::Gitea => signed("x-gitea-signature", ""),
            Self::Forgejo => signed("x-forgejo-signature", ""),
            Self::Gitlab => shown(header("x-gitlab-token").is_some_and(|token| is_same(secret, token.as_bytes()))),
            Self::Generic => {
                let value = header("x-streamkeeper-signature").unwrap_or_default();
                let part =
                    |name: &str| value.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
                let (Some(time), Some(hex)) = (part("t"), part("v1")) else { return Claim::Forged };
                // The time is text of whoever asks: any number, however far off.
                match time.parse::<i64>().is_ok_and(|time| time.abs_diff(now.as_second()) <= WINDOW) {
                    true => Claim::signed(secret, &[time.as_bytes(), b"."], hex),
                    false => Claim::Forged,
                }
            }
            Self::Registry => {
                let value = header("authorization").unwrap_or_default();
                let token = value.strip_prefix("Bearer ").unwrap_or(&value);
                shown(is_same(secret, token.as_bytes()) || is_same(secret, path.as_bytes()))
            }
        }
    }

    /// Whether it was sent by somebody who has the secret.
    pub fn proves(
        self,
        secret: &[u8],
        header: impl Fn(&str) -> Option<String>,
        path: &str,
        body: &[u8],
        now: Timestamp,
    ) -> bool {
        match self.claim(secret, header, path, now) {
            Claim::Proven => true,
            Claim::Signed(mut signature) => {
                signature.update(body);
                signature.proves()
            }
            Claim::Forged => false,
        }
    }
}

/// What a request claims.
pub enum Claim {
    /// It has shown the secret itself.
    Proven,
    /// Its body has to have this signature.
    Signed(Box<Signature>),
    /// It was sent by somebody else.
    Forged,
}

/// A signature of a body that is still read: it is kept nowhere.
pub struct Signature {
    context: hmac::Context,
    given: [u8; 32],
}

impl Claim {
    fn signed(secret: &[u8], before: &[&[u8]], digits: &str) -> Self {
        let mut given = [0; 32];
        if hex::decode_to_slice(digits.trim(), &mut given).is_err() {
            return Self::Forged;
        }
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret));
        before.iter().for_each(|part| context.update(part));
        Self::Signed(Box::new(Signature { context, given }))
    }
}

impl Signature {
    /// Takes a further part of the body.
    pub fn update(&mut self, part: &[u8]) {
        self.context.update(part);
    }

    /// Whether the body has the signature.
    pub fn proves(self) -> bool {
        is_same(self.context.sign().as_ref(), &self.given)
    }
}

/// In constant time: digests under a key are compared, so that neither contents nor lengths show.
pub(super) fn is_same(secret: &[u8], given: &[u8]) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let expected = hmac::sign(&key, secret);
    hmac::verify(&key, given, expected.as_ref()).is_ok()
}

/// Repositories that a registry says something was pushed to, with or without their host: where to look, and nothing else.
/// Docker Hub, Quay, Harbor, and notifications of distribution.
pub fn repositories(body: &[u8]) -> Vec<String> {
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return Vec::new() };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let mut all = Vec::new();
    all.extend(text(&body["docker_url"]));
    all.extend(text(&body["repository"]["repo_name"]));
    for resource in body["event_data"]["resources"].as_array().into_iter().flatten() {
        all.extend(text(&resource["resource_url"]));
    }
    for event in body["events"].as_array().into_iter().flatten() {
        all.extend(text(&event["target"]["repository"]));
    }
    let bare = |name: String| {
        let name = name.split('@').next().unwrap_or_default();
        // A tag, and no port of the host.
        let name = match name.rsplit_once(':') {
            Some((before, tag)) if !tag.contains('/') => before,
            _ => name,
        };
        name.to_owned()
    };
    let is_plain = |name: &String| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/' | b':');
        (1..=255).contains(&name.len()) && name.bytes().all(plain)
    };
    let mut all: Vec<String> = all.into_iter().map(bare).filter(is_plain).collect();
    all.sort();
    all.dedup();
    all.truncate(REPOSITORIES);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"It's a Secret to Everybody";

    fn sign(secret: &[u8], body: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        hex::encode(hmac::sign(&key, body))
    }

    fn proves(sender: Sender, name: &str, value: &str, path: &str, body: &[u8]) -> bool {
        let now = Timestamp::from_second(1_800_000_000).expect("a time");
        sender.proves(SECRET, |asked| (asked == name).then(|| value.to_owned()), path, body, now)
    }

    #[test]
    fn githubs_own_example_is_right() {
        // docs.github.com, "Validating webhook deliveries".
        let value = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert!(proves(Sender::Github, "x-hub-signature-256", value, "", b"Hello, World!"));
        assert!(!proves(Sender::Github, "x-hub-signature-256", value, "", b"Hello, World?"));
    }

    #[test]
    fn each_sender_proves_itself_in_its_own_way_and_in_no_other() {
        let body = br#"{"x": 1}"#;
        let signature = sign(SECRET, body);
        let timed = |time: i64| format!("t={time},v1={}", sign(SECRET, format!("{time}.{{\"x\": 1}}").as_bytes()));
        let secret = String::from_utf8_lossy(SECRET).into_owned();
        for (sender, name, value) in [
            (Sender::Github, "x-hub-signature-256", format!("sha256={signature}")),
            (Sender::Bitbucket, "x-hub-signature", format!("sha256={signature}")),
            (Sender::Gitea, "x-gitea-signature", signature.clone()),
            (Sender::Forgejo, "x-forgejo-signature", signature.clone()),
            (Sender::Gitlab, "x-gitlab-token", secret.clone()),
            (Sender::Generic, "x-streamkeeper-signature", timed(1_800_000_200)),
            (Sender::Registry, "authorization", format!("Bearer {secret}")),
        ] {
            assert!(proves(sender, name, &value, "", body), "{sender:?}");
            assert!(!proves(sender, "x-other", &value, "", body), "{sender:?}");
            for wrong in
                ["", "sha256=", "sha256=zz", &value[..value.len() - 1], &format!("{value}0"), &value.to_uppercase()]
            {
                // Hex may be in capitals.
                let is_hex = matches!(sender, Sender::Gitea | Sender::Forgejo) && *wrong == value.to_uppercase();
                assert!(is_hex || !proves(sender, name, wrong, "", body), "{sender:?} {wrong}");
            }
            let nobody = |_: &str| Some(value.clone());
            assert!(!sender.proves(b"", nobody, "", body, Timestamp::UNIX_EPOCH), "an empty secret is none");
        }
        assert!(proves(Sender::Registry, "", "", &secret, body), "where no header can be set");
        assert!(!proves(Sender::Generic, "x-streamkeeper-signature", &timed(1_799_999_000), "", body), "replayed");
        for time in [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX] {
            assert!(!proves(Sender::Generic, "x-streamkeeper-signature", &timed(time), "", body), "{time}");
        }
    }

    #[test]
    fn repositories_are_read_in_all_four_forms_and_nothing_else() {
        for (body, expected) in [
            (r#"{"repository": {"repo_name": "library/ruby"}, "push_data": {"tag": "3.3"}}"#, "library/ruby"),
            (r#"{"docker_url": "quay.io/centos/ruby", "updated_tags": ["3.3"]}"#, "quay.io/centos/ruby"),
            (
                r#"{"type": "PUSH_ARTIFACT", "event_data": {"resources": [{"resource_url": "harbor.example.com:8443/lib/ruby:3.3"}]}}"#,
                "harbor.example.com:8443/lib/ruby",
            ),
            (r#"{"events": [{"action": "push", "target": {"repository": "lib/ruby", "tag": "3.3"}}]}"#, "lib/ruby"),
        ] {
            assert_eq!(repositories(body.as_bytes()), [expected]);
        }
        for body in ["", "[]", "{", r#"{"docker_url": "a b"}"#, r#"{"docker_url": 7}"#, r#"{"docker_url": "a\u0000"}"#]
        {
            assert!(repositories(body.as_bytes()).is_empty(), "{body}");
        }
        let many: Vec<String> = (0..1000).map(|at| format!(r#"{{"target": {{"repository": "r{at}"}}}}"#)).collect();
        assert_eq!(repositories(format!(r#"{{"events": [{}]}}"#, many.join(",")).as_bytes()).len(), REPOSITORIES);
    }
}
