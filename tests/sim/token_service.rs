//! A token service as the distribution token specification has it: it signs what a real registry accepts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::json;

use super::server::{Reply, Server};

/// A service that knows one user.
pub struct TokenService {
    pub server: Server,
    /// PEM of the certificate that its tokens are signed with.
    pub certificate: String,
}

impl TokenService {
    /// Tokens are for `service`, given to `user:password`, and good for so many seconds.
    pub fn start(service: &'static str, login: &'static str, seconds: u64) -> Self {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(vec!["token.example.com".to_owned()]).unwrap();
        let pkcs8 = signing_key.serialize_der();
        let random = ring::rand::SystemRandom::new();
        let key = Arc::new(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8, &random).unwrap());
        let chain = STANDARD.encode(cert.der());
        let number = AtomicU64::new(0);
        let server = Server::start(move |request| {
            let expected = format!("Basic {}", STANDARD.encode(login));
            if request.header("authorization") != Some(expected.as_str()) {
                return Reply::new("401 Unauthorized", &[], "{\"details\":\"incorrect username or password\"}");
            }
            let Some(query) = request.path.strip_prefix("/token?") else { return Reply::new("404 Not Found", &[], "") };
            let value = |name: &str| {
                let part = query.split('&').find_map(|part| part.strip_prefix(&format!("{name}=")))?;
                Some(part.replace("%3A", ":").replace("%2F", "/").replace('+', " "))
            };
            let (Some(scope), Some(asked)) = (value("scope"), value("service")) else {
                return Reply::new("400 Bad Request", &[], "{\"details\":\"scope and service are needed\"}");
            };
            let mut parts = scope.split(':');
            let (Some("repository"), Some(name), Some("pull"), None) =
                (parts.next(), parts.next(), parts.next(), parts.next())
            else {
                return Reply::new("400 Bad Request", &[], "{\"details\":\"only one scope, only to pull\"}");
            };
            if asked != service {
                return Reply::new("400 Bad Request", &[], "{\"details\":\"another service\"}");
            }
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
            let header = json!({"typ": "JWT", "alg": "ES256", "x5c": [chain]});
            let claims = json!({
                "iss": "tests", "sub": "user", "aud": service, "nbf": now - 10, "iat": now, "exp": now + seconds,
                "jti": number.fetch_add(1, Ordering::Relaxed).to_string(),
                "access": [{"type": "repository", "name": name, "actions": ["pull"]}],
            });
            let encode = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
            let text = format!("{}.{}", encode(&header), encode(&claims));
            let signature = key.sign(&ring::rand::SystemRandom::new(), text.as_bytes()).unwrap();
            let token = format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()));
            Reply::new(
                "200 OK",
                &[("Content-Type", "application/json")],
                json!({"token": token, "expires_in": seconds}).to_string(),
            )
        });
        Self { server, certificate: cert.pem() }
    }
}
