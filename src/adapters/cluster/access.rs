//! Finding a cluster and talking to it: the one client, how often it asks, what it does when it is told to wait.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use http::header::{RETRY_AFTER, WARNING};
use http::{Request, Response, StatusCode};
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::sync::Semaphore;

use crate::adapters::lock;
use crate::model::Backoff;
use crate::ports::PortError;
use crate::source::inert;

use super::reply::{self, Refused};
use super::request::{self, Api};

/// Requests under way at once: as many as kubectl would send in a burst.
const AT_ONCE: usize = 32;
/// Tries after the first, of requests that the server did not take on.
const RETRIES: u32 = 5;
/// All waiting of one request together: then the step fails, and the next run goes on.
const PATIENCE: Duration = Duration::from_secs(60);
/// Imports look images up one after the other, each in seconds.
const SILENCE: Duration = Duration::from_secs(300);

/// Which cluster, and as whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// File to read instead of `KUBECONFIG` and `~/.kube/config`.
    pub kubeconfig: Option<std::path::PathBuf>,
    /// Context of it; the current one when it is not given.
    pub context: Option<String>,
    /// User to act as.
    pub impersonate: Option<String>,
    /// The kubeconfig may start a program to log in.
    pub allow_exec: bool,
    /// How long the server may be silent; long enough for imports when it is not given.
    pub timeout: Option<Duration>,
}

/// A connection to an API server.
pub struct Connection {
    client: Client,
    slots: Semaphore,
    /// What the server warned of, each once.
    warnings: Mutex<BTreeSet<String>>,
    /// URL of the server.
    pub(super) server: String,
}

/// Why there is no good answer.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The server said no.
    Refused(Refused),
    /// It said nothing, or nothing that can be read.
    Lost(String),
}

impl Connection {
    /// Opens the cluster that kubectl would talk to, or the one this process runs in.
    ///
    /// # Errors
    ///
    /// When there is none, or the kubeconfig would start a program and that is not allowed.
    pub async fn open(access: &Access) -> Result<Self, PortError> {
        crate::adapters::use_ring();
        let unusable = |why: String| PortError::Unusable { what: "the kubeconfig".to_owned(), why };
        let options = KubeConfigOptions { context: access.context.clone(), ..KubeConfigOptions::default() };
        let kubeconfig = match &access.kubeconfig {
            Some(path) => Kubeconfig::read_from(path),
            None => Kubeconfig::read(),
        };
        let mut config = match kubeconfig {
            Ok(kubeconfig) => {
                let context = access.context.as_ref().or(kubeconfig.current_context.as_ref());
                let named = kubeconfig.contexts.iter().find(|named| Some(&named.name) == context);
                let user = named.and_then(|named| named.context.as_ref()).and_then(|context| context.user.clone());
                let starts =
                    kubeconfig.auth_infos.iter().filter(|known| Some(&known.name) == user.as_ref()).any(|user| {
                        user.auth_info.as_ref().is_some_and(|info| info.exec.is_some() || info.auth_provider.is_some())
                    });
                if starts && !access.allow_exec {
                    let why = "it starts a program to log in; if that is meant, give `--allow-exec`";
                    return Err(unusable(why.to_owned()));
                }
                let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
                config.map_err(|error| unusable(inert(&error.to_string(), 200)))?
            }
            // One that is there and broken is not passed over.
            Err(error) if access.kubeconfig.is_some() || access.context.is_some() || names_a_file() => {
                return Err(unusable(inert(&error.to_string(), 200)));
            }
            Err(_) => Config::incluster().map_err(|_| PortError::Unusable {
                what: "the cluster".to_owned(),
                why: "there is no kubeconfig, and this process does not run in a cluster; name one with `--kubeconfig`"
                    .to_owned(),
            })?,
        };
        if let Some(user) = &access.impersonate {
            config.auth_info.impersonate = Some(user.clone());
        }
        // The client's own retries send writes again that the server may have done.
        config.default_retry = false;
        config.connect_timeout = Some(Duration::from_secs(10));
        config.read_timeout = Some(access.timeout.unwrap_or(SILENCE));
        let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let client = Client::try_from(config).map_err(|error| PortError::failed("connect to the cluster", error))?;
        Ok(Self { client, slots: Semaphore::new(AT_ONCE), warnings: Mutex::default(), server })
    }

    /// Adds to what is to be shown with the server's warnings.
    pub(super) fn warn(&self, warning: &str) {
        lock(&self.warnings).insert(warning.to_owned());
    }

    /// What the server has warned of so far.
    pub(super) fn warnings(&self) -> BTreeSet<String> {
        lock(&self.warnings).clone()
    }

    /// Which API of image streams the cluster has; OpenShift's own, if both. None for neither.
    ///
    /// # Errors
    ///
    /// When it cannot be asked.
    pub async fn image_streams(&self) -> Result<Option<Api>, PortError> {
        for api in [Api::OpenShift, Api::Kubernetes] {
            match self.send(request::discover(api)).await {
                Ok(_) => return Ok(Some(api)),
                Err(Trouble::Refused(refused)) if refused.code == 404 => {}
                Err(trouble) => return Err(trouble.failed("ask the cluster what it is")),
            }
        }
        Ok(None)
    }

    /// Sends a request and reads the whole answer. What the server did not take on (429, 503 with a time to come back) is sent
    /// again, whatever it is; what it may have done is not.
    pub(super) async fn send(&self, request: Request<Vec<u8>>) -> Result<Vec<u8>, Trouble> {
        self.exchange(request).await.map(|(_, body)| body)
    }

    /// Sends a request and gives its answer to be read piece by piece. It takes no slot: it may last.
    pub(super) async fn stream(&self, request: Request<Vec<u8>>) -> Result<Body, Trouble> {
        let lost = |detail: String| Trouble::Lost(inert(&detail, 300));
        let response =
            self.client.send(request.map(Body::from)).await.map_err(|error| lost(crate::source::chain(&error)))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response.into_body());
        }
        let bytes = response.into_body().collect_bytes().await.map_err(|error| lost(crate::source::chain(&error)))?;
        Err(Trouble::Refused(reply::refused(status, &bytes)))
    }

    /// As [`Self::send`], with the status: of an apply, it says whether the object is new.
    pub(super) async fn exchange(&self, request: Request<Vec<u8>>) -> Result<(StatusCode, Vec<u8>), Trouble> {
        let lost = |detail: String| Trouble::Lost(inert(&detail, 300));
        let _slot = self.slots.acquire().await.map_err(|error| lost(error.to_string()))?;
        let (parts, body) = request.into_parts();
        let reads = parts.method == http::Method::GET;
        let path = parts.uri.path().to_owned();
        let started = std::time::Instant::now();
        let mut tries = 0;
        loop {
            let again = Request::from_parts(parts.clone(), Body::from(body.clone()));
            let answer = self.client.send(again).await;
            let wait = match &answer {
                Ok(response) => wait(response, reads, tries),
                // A read that broke off can be made again.
                Err(_) if reads => Some(BACKOFF.after(tries)),
                Err(_) => None,
            };
            if let Some(wait) =
                wait.filter(|wait| tries < RETRIES && started.elapsed().saturating_add(*wait) <= PATIENCE)
            {
                tokio::time::sleep(wait).await;
                tries += 1;
                continue;
            }
            let response = answer.map_err(|error| lost(crate::source::chain(&error)))?;
            let status = response.status();
            let said = response
                .headers()
                .get_all(WARNING)
                .iter()
                .filter_map(|value| warning(&String::from_utf8_lossy(value.as_bytes())));
            // What it says of kinds that we only look at, such as DeploymentConfigs, is nothing that anybody here wrote.
            if path.contains("/imagestream") {
                lock(&self.warnings).extend(said);
            }
            let bytes =
                response.into_body().collect_bytes().await.map_err(|error| lost(crate::source::chain(&error)))?;
            return if status.is_success() {
                Ok((status, bytes.to_vec()))
            } else {
                Err(Trouble::Refused(reply::refused(status, &bytes)))
            };
        }
    }
}

/// The words of a `Warning: 299 - "words"` header (RFC 7234, 5.5), made inert.
fn warning(value: &str) -> Option<String> {
    let words = value.strip_prefix("299 ")?.split_once('"')?.1.rsplit_once('"')?.0;
    Some(inert(&words.replace("\\\"", "\""), 300))
}

/// Whether there is a kubeconfig where kubectl looks.
fn names_a_file() -> bool {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    set("KUBECONFIG").is_some()
        || set("HOME").is_some_and(|home| std::path::Path::new(&home).join(".kube/config").exists())
}

/// How long to wait before the request is sent again; none if it is not to be.
fn wait(response: &Response<Body>, reads: bool, tries: u32) -> Option<Duration> {
    let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let asked = asked.map(Duration::from_secs);
    match response.status() {
        StatusCode::TOO_MANY_REQUESTS => Some(asked.unwrap_or_else(|| BACKOFF.after(tries))),
        StatusCode::SERVICE_UNAVAILABLE if asked.is_some() || reads => {
            Some(asked.unwrap_or_else(|| BACKOFF.after(tries)))
        }
        StatusCode::INTERNAL_SERVER_ERROR | StatusCode::GATEWAY_TIMEOUT if reads => Some(BACKOFF.after(tries)),
        _ => None,
    }
}

/// Between two tries of one request.
const BACKOFF: Backoff = Backoff::doubling(Duration::from_millis(200), Duration::from_millis(12_800));

impl Trouble {
    /// As the failure of something that was tried.
    pub(super) fn failed(self, action: impl Into<String>) -> PortError {
        let action = action.into();
        match self {
            Self::Refused(refused) => PortError::failed(action, refused),
            Self::Lost(detail) => PortError::failed(action, std::io::Error::other(detail)),
        }
    }
}
