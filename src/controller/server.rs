//! The HTTP server: health, metrics, status; and webhooks, which only ever lead to a look.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
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
use super::run::Bell;
use super::status::Board;
use super::webhook::{is_same, repositories};

/// Bytes of a body.
const BODY: usize = 2 * 1024 * 1024;
/// How long a client may take to send one.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bodies in memory at once.
const AT_ONCE: usize = 16;
/// Bytes of a body that is read however many forged ones have come.
const SMALL: usize = 64 * 1024;
/// Forged webhooks a second that are read whole, and how many may come at once after a quiet time.
const RATE: f64 = 20.0;
const BURST: f64 = 100.0;

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
    pub token: Option<SecretString>,
    /// Who may send webhooks.
    pub webhooks: BTreeMap<Sender, SecretString>,
}

/// A server that may begin.
pub struct Server {
    site: Arc<Shared>,
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
}

struct Shared {
    site: Site,
    bodies: Semaphore,
    bucket: Mutex<Bucket>,
}

/// So many may come in a time.
struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    fn peek(&mut self, now: Instant) -> bool {
        let may = self.take(now);
        if may {
            self.left += 1.0;
        }
        may
    }

    fn take(&mut self, now: Instant) -> bool {
        let since = now.duration_since(self.at).as_secs_f64();
        self.left = (self.left + since * RATE).min(BURST);
        self.at = now;
        let may = self.left >= 1.0;
        if may {
            self.left -= 1.0;
        }
        may
    }
}

impl Server {
    /// Takes the address.
    ///
    /// # Errors
    ///
    /// When it is taken.
    pub async fn bind(site: Site, address: SocketAddr, tls: Option<ServerConfig>) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let bucket = Mutex::new(Bucket { left: BURST, at: Instant::now() });
        let site = Arc::new(Shared { site, bodies: Semaphore::new(AT_ONCE), bucket });
        Ok(Self { site, listener, tls: tls.map(Arc::new) })
    }

    /// Where it listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
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
        let router = guarded
            .route("/livez", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .route("/webhooks/{sender}", post(webhook))
            .route("/webhooks/{sender}/{secret}", post(webhook_with_path))
            .with_state(site);
        let result = match Connections::accept(self.listener, self.tls) {
            Ok(connections) => axum::serve(connections, router).await,
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            tracing::error!(%error, "the HTTP server has ended");
        }
    }
}

type Asked = State<Arc<Shared>>;

/// Lets through who has the token.
async fn guard(State(shared): Asked, request: Request, next: Next) -> Response {
    if let Some(token) = &shared.site.token {
        let given = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
        let given = given.strip_prefix(b"Bearer ").unwrap_or_default();
        if !is_same(token.expose_secret().as_bytes(), given) {
            let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
            return (StatusCode::UNAUTHORIZED, challenge, "the bearer token is missing or wrong\n").into_response();
        }
    }
    next.run(request).await
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
    // Only forged ones are counted: who floods us with them does not silence who has the secret.
    let has_room = |taken: bool| {
        let mut bucket = shared.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        if taken { bucket.take(Instant::now()) } else { bucket.peek(Instant::now()) }
    };
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if !has_room(false) && length.is_none_or(|length| length > SMALL) {
        return refuse(StatusCode::TOO_MANY_REQUESTS, "too many");
    }
    let Ok(Ok(_slot)) = tokio::time::timeout(PATIENCE, shared.bodies.acquire()).await else {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "too many at once");
    };
    let body: Bytes = match tokio::time::timeout(PATIENCE, to_bytes(body, BODY)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return refuse(StatusCode::PAYLOAD_TOO_LARGE, "too large"),
        Err(_) => return refuse(StatusCode::REQUEST_TIMEOUT, "too slow"),
    };
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    if !sender.proves(secret.expose_secret().as_bytes(), header, path, &body, Timestamp::now()) {
        let code = if has_room(true) { StatusCode::FORBIDDEN } else { StatusCode::TOO_MANY_REQUESTS };
        return refuse(code, "forged");
    }
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
