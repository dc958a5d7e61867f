//! The HTTP server: health, metrics, status; and webhooks, which only ever lead to a look.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures::StreamExt;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::rustls::ServerConfig;

use crate::model::Sender;

use super::connections::Connections;
use super::hints::Hints;
use super::machine::Poke;
use super::metrics::Metrics;
use super::reread::Reread;
use super::run::Bell;
use super::status::Board;
use super::webhook::{Claim, Signature, is_same, repositories};

/// Bytes of a body.
const BODY: usize = 2 * 1024 * 1024;
/// How long a client may take to send one.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bodies in memory at once: of senders that have shown the secret before.
const AT_ONCE: usize = 16;

/// What the server tells of, and whom it tells.
#[derive(Debug)]
pub struct Site {
    /// What lanes do.
    pub board: Arc<Board>,
    /// What was counted.
    pub metrics: Arc<Metrics>,
    /// Every lane's bell.
    pub bells: BTreeMap<String, Arc<Bell>>,
    /// Repositories that registries have named.
    pub hints: Arc<Hints>,
    /// What everything but health asks for; without one, only a loopback address may be listened at.
    pub(super) token: Option<Reread<SecretString>>,
    /// Who may send webhooks.
    pub(super) webhooks: BTreeMap<Sender, Reread<SecretString>>,
}

/// A server that may begin.
pub struct Server {
    site: Arc<Shared>,
    listener: TcpListener,
    tls: Option<Arc<Reread<ServerConfig>>>,
    health: Option<TcpListener>,
}

struct Shared {
    site: Site,
    bodies: Semaphore,
}

impl Server {
    /// Takes the address; and one for health alone, where nobody who is busy with the other keeps a probe waiting.
    ///
    /// # Errors
    ///
    /// When one of them is taken.
    pub(super) async fn bind(
        site: Site,
        (address, health): (SocketAddr, Option<SocketAddr>),
        tls: Option<Reread<ServerConfig>>,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let health = match health {
            Some(address) => Some(TcpListener::bind(address).await?),
            None => None,
        };
        let site = Arc::new(Shared { site, bodies: Semaphore::new(AT_ONCE) });
        Ok(Self { site, listener, tls: tls.map(Arc::new), health })
    }

    /// Where it listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// Where it listens for probes, if that is another address.
    pub fn health_address(&self) -> Option<SocketAddr> {
        self.health.as_ref()?.local_addr().ok()
    }

    /// Answers, for as long as it is polled.
    pub async fn serve(self) {
        let site = self.site;
        let guarded = Router::new()
            .route("/metrics", get(metrics))
            .route("/api/v1/status", get(status))
            .route("/api/v1/reconcile", post(reconcile))
            .route("/api/v1/reconcile/{lane}", post(reconcile_one))
            .route_layer(middleware::from_fn_with_state(Arc::clone(&site), guard));
        let health = Router::new().route("/livez", get(|| async { "ok\n" })).route("/readyz", get(ready));
        let router = guarded
            .route("/webhooks/{sender}", post(webhook))
            .route("/webhooks/{sender}/{secret}", post(webhook_with_path));
        let (main, probes) = match self.health {
            Some(listener) => (router, Some((listener, health.with_state(Arc::clone(&site))))),
            None => (router.merge(health), None),
        };
        let main = listen(self.listener, self.tls, main.with_state(site));
        let probes = async {
            match probes {
                Some((listener, router)) => listen(listener, None, router).await,
                None => std::future::pending().await,
            }
        };
        let error = tokio::select! {
            error = main => error,
            error = probes => error,
        };
        tracing::error!(%error, "the HTTP server has ended");
    }
}

/// Answers until that fails.
async fn listen(listener: TcpListener, tls: Option<Arc<Reread<ServerConfig>>>, router: Router) -> std::io::Error {
    let served = match Connections::accept(listener, tls) {
        Ok(connections) => axum::serve(connections, router).await,
        Err(error) => Err(error),
    };
    served.err().unwrap_or_else(|| std::io::Error::other("it listens no longer"))
}

type Asked = State<Arc<Shared>>;

/// Lets through who has the token. Where there is none the address is loopback, and a page of somebody else's that has had its name
/// resolved to it is kept out: it names itself as the host.
async fn guard(State(shared): Asked, request: Request, next: Next) -> Response {
    if shared.site.token.is_none() && !is_loopback(&request) {
        let why = "without a token only `localhost` and loopback addresses are answered as hosts\n";
        return (StatusCode::MISDIRECTED_REQUEST, why).into_response();
    }
    if shared.site.token.is_none() && is_of_a_page(&request) {
        return (StatusCode::FORBIDDEN, "without a token no page of a browser is answered\n").into_response();
    }
    if let Some(token) = &shared.site.token {
        let token = token.current();
        let given = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
        let given = given.strip_prefix(b"Bearer ").unwrap_or_default();
        if !is_same(token.expose_secret().as_bytes(), given) {
            let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
            return (StatusCode::UNAUTHORIZED, challenge, "the bearer token is missing or wrong\n").into_response();
        }
    }
    next.run(request).await
}

/// Whether a request names this machine as its host.
fn is_loopback(request: &Request) -> bool {
    let named = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let Some(named) = named.or_else(|| request.uri().authority().map(|authority| authority.as_str())) else {
        return false;
    };
    let Ok(authority) = named.parse::<Authority>() else { return false };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether a page in a browser asks: one of another site may send what changes something, although it cannot read the answer. Nothing
/// here is for pages.
fn is_of_a_page(request: &Request) -> bool {
    request.headers().contains_key(header::ORIGIN) || request.headers().contains_key("sec-fetch-site")
}

async fn ready(State(shared): Asked) -> Response {
    match shared.site.board.is_ready() {
        true => "ok\n".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, "the first pass has not ended yet\n").into_response(),
    }
}

async fn metrics(State(shared): Asked) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], shared.site.metrics.text()).into_response()
}

async fn status(State(shared): Asked) -> Response {
    let text = serde_json::to_string_pretty(&shared.site.board.status()).unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/json")], text + "\n").into_response()
}

async fn reconcile(State(shared): Asked) -> Response {
    shared.site.bells.values().for_each(|bell| bell.poke(Poke::Asked));
    (StatusCode::ACCEPTED, "everything is looked at\n").into_response()
}

async fn reconcile_one(State(shared): Asked, Path(lane): Path<String>) -> Response {
    match shared.site.bells.get(&lane) {
        Some(bell) => {
            bell.poke(Poke::Asked);
            (StatusCode::ACCEPTED, "it is looked at\n").into_response()
        }
        None => (StatusCode::NOT_FOUND, "there is no such lane\n").into_response(),
    }
}

async fn webhook(state: Asked, Path(sender): Path<String>, headers: HeaderMap, body: Body) -> Response {
    take(state, &sender, "", headers, body).await
}

async fn webhook_with_path(
    state: Asked,
    Path((sender, secret)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    take(state, &sender, &secret, headers, body).await
}

async fn take(State(shared): Asked, sender: &str, path: &str, headers: HeaderMap, body: Body) -> Response {
    let site = &shared.site;
    let known = Sender::ALL.into_iter().find(|known| known.name() == sender);
    // Without a secret there is no such thing, whoever asks.
    let Some((sender, secret)) = known.and_then(|sender| Some((sender, site.webhooks.get(&sender)?))) else {
        return (StatusCode::NOT_FOUND, "no such webhook\n").into_response();
    };
    let refuse = |code: StatusCode, result: &'static str| {
        site.metrics.webhook(sender.name(), result);
        (code, result).into_response()
    };
    let secret = secret.current();
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body = match sender.claim(secret.expose_secret().as_bytes(), header, path, Timestamp::now()) {
        Claim::Forged => return refuse(StatusCode::FORBIDDEN, "forged"),
        // Nothing is kept of a body until it is known who has sent it, so that no number of forged ones fills the memory or takes the
        // place of a genuine one.
        Claim::Signed(mut signature) => match tokio::time::timeout(PATIENCE, signed(body, &mut signature)).await {
            Ok(true) if signature.proves() => Bytes::new(),
            Ok(true) => return refuse(StatusCode::FORBIDDEN, "forged"),
            Ok(false) => return refuse(StatusCode::PAYLOAD_TOO_LARGE, "too large"),
            Err(_) => return refuse(StatusCode::REQUEST_TIMEOUT, "too slow"),
        },
        Claim::Proven => {
            let Ok(Ok(_slot)) = tokio::time::timeout(PATIENCE, shared.bodies.acquire()).await else {
                return refuse(StatusCode::SERVICE_UNAVAILABLE, "too many at once");
            };
            match tokio::time::timeout(PATIENCE, to_bytes(body, BODY)).await {
                Ok(Ok(body)) => body,
                Ok(Err(_)) => return refuse(StatusCode::PAYLOAD_TOO_LARGE, "too large"),
                Err(_) => return refuse(StatusCode::REQUEST_TIMEOUT, "too slow"),
            }
        }
    };
    // Said, so that whoever sends it tries again: a replica that stands by can do nothing about it.
    if !site.board.leads() {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "stands by");
    }
    let poke = if sender == Sender::Registry {
        site.hints.add(repositories(&body));
        Poke::Registry
    } else {
        Poke::Source
    };
    site.bells.values().for_each(|bell| bell.poke(poke));
    site.metrics.webhook(sender.name(), "taken");
    (StatusCode::ACCEPTED, "taken\n").into_response()
}

/// Reads a body into its signature; false: it is too large, or broken.
async fn signed(body: Body, signature: &mut Signature) -> bool {
    let (mut parts, mut length) = (body.into_data_stream(), 0);
    while let Some(part) = parts.next().await {
        let Ok(part) = part else { return false };
        length += part.len();
        if length > BODY {
            return false;
        }
        signature.update(&part);
    }
    true
}
