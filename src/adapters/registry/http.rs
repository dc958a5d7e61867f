//! Registries over HTTP (OCI distribution specification, Docker registry v2).

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LINK, RETRY_AFTER, WWW_AUTHENTICATE,
};
use reqwest::{Client, Method, Response, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

use crate::model::{Cause, Digest, Ignorance, ImageReference, Observed, is_tag_name};
use crate::ports::PortError;
use crate::text::inert;

use super::wire::{self, Challenge, Manifest};
use super::{Credentials, HostConfig, auth};

/// Requests under way at one host: enough to hide its latency, few enough not to be taken for an attack.
const PER_HOST: usize = 16;
/// A registry that has not begun to answer by then is down for us.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Tries after the first, for answers that may be better next time.
const RETRIES: u32 = 2;
/// A longer wait that a registry asks for is left to the next run.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// A token is asked for anew after an hour, whatever its service says.
const LONGEST_TOKEN: u64 = 3600;
/// A whole answer: a registry that drips is down for us as well.
const TOTAL: Duration = Duration::from_secs(120);
/// Tags of one repository; the largest known have about fifty thousand.
const TAGS: usize = 200_000;
/// Pages of tags; with a hundred tags a page more than any repository has.
const PAGES: usize = 1000;
/// Digest of the manifest, as the registry computes it.
const DIGEST_HEADER: &str = "docker-content-digest";

/// A client for all hosts, one pool for verified TLS and one without.
pub(super) struct Http {
    verified: Client,
    unverified: Client,
    credentials: Credentials,
    /// By name, and by whether TLS need not be verified: what is learned over one way is not used on the other.
    hosts: Mutex<BTreeMap<(String, bool), Arc<Host>>>,
}

/// What is learned of a host while the process lives.
struct Host {
    slots: Semaphore,
    /// Where it answers: set by the first request that got through.
    base: tokio::sync::OnceCell<Base>,
    /// Tokens by what they were asked for.
    tokens: Mutex<BTreeMap<String, (SecretString, Instant)>>,
    /// One question for a token at a time: those behind it find it in `tokens`.
    asking: tokio::sync::Mutex<()>,
    /// It wants a password with each request.
    wants_basic: std::sync::atomic::AtomicBool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Base {
    scheme: &'static str,
    verified: bool,
}

/// Why there is no answer.
struct Failure {
    cause: Cause,
    detail: String,
}

impl Http {
    pub(super) fn new(credentials: Credentials) -> Result<Self, PortError> {
        crate::adapters::use_ring();
        let builder = || {
            Client::builder()
                .user_agent(concat!("streamkeeper/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(Duration::from_secs(10))
                .read_timeout(TIMEOUT)
                .timeout(TOTAL)
                .redirect(reqwest::redirect::Policy::limited(5))
        };
        let failed = |error| PortError::failed("make an HTTP client", error);
        let verified = builder().build().map_err(failed)?;
        let unverified = builder().tls_danger_accept_invalid_certs(true).build().map_err(failed)?;
        Ok(Self { verified, unverified, credentials, hosts: Mutex::default() })
    }

    /// The digest that HEAD names; `Known(None)` where it names none.
    pub(super) async fn head(&self, reference: &ImageReference, host: &HostConfig) -> Observed<Option<Digest>> {
        let path = format!("{}/manifests/{}", reference.path(), reference.version());
        let answer = self.send(Method::HEAD, reference, host, &path).await;
        // An answer to HEAD has no words, so a "no" without them is asked again with GET.
        if answer.as_ref().is_ok_and(|response| response.status() == StatusCode::NOT_FOUND) {
            return Observed::Known(None);
        }
        observe(reference, answer, |response| async move {
            let digest =
                response.headers().get(DIGEST_HEADER).and_then(|value| value.to_str().ok()).and_then(Digest::parse);
            Ok(digest)
        })
        .await
    }

    /// The manifest, its bytes hashed.
    pub(super) async fn get(&self, reference: &ImageReference, host: &HostConfig) -> Observed<Manifest> {
        let path = format!("{}/manifests/{}", reference.path(), reference.version());
        let answer = self.send(Method::GET, reference, host, &path).await;
        let wanted = reference.digest.clone();
        observe(reference, answer, |response| async move {
            let header =
                |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
            let media_type = header(CONTENT_TYPE.as_str()).unwrap_or_default();
            let claimed = header(DIGEST_HEADER).and_then(|text| Digest::parse(&text));
            let bytes = body(response, wire::MANIFEST_LIMIT).await?;
            let digest = wire::digest_of(&bytes);
            let expected = wanted.into_iter().chain(claimed).find(|expected| *expected != digest);
            if let Some(expected) = expected {
                let detail = format!("asked for {} and got {}", expected.short(), digest.short());
                return Err(Failure { cause: Cause::BadAnswer, detail });
            }
            let media_type = media_type.split(';').next().unwrap_or_default().trim().to_owned();
            Ok(Manifest { digest, media_type, bytes })
        })
        .await
    }

    /// The bytes of a blob, up to the size of a manifest; none if they cannot be had.
    pub(super) async fn blob(&self, reference: &ImageReference, host: &HostConfig, digest: &Digest) -> Option<Vec<u8>> {
        let path = format!("{}/blobs/{digest}", reference.path());
        let response = self.send(Method::GET, reference, host, &path).await.ok()?;
        if !response.status().is_success() {
            return None;
        }
        body(response, wire::MANIFEST_LIMIT).await.ok()
    }

    /// All tags of a repository: every page, or `Unknown`. A listing cut short is not a listing.
    pub(super) async fn tags(&self, reference: &ImageReference, host: &HostConfig) -> Observed<Vec<String>> {
        let first = format!("{}/tags/list?n=1000", reference.path());
        let mut path = first.clone();
        let mut tags = Vec::new();
        let mut seen = std::collections::BTreeSet::from([first.clone()]);
        for _ in 0..PAGES {
            let answer = self.send(Method::GET, reference, host, &path).await;
            let page = observe(reference, answer, |response| async move {
                let link = response.headers().get(LINK).and_then(|value| value.to_str().ok()).map(str::to_owned);
                let here = response.url().clone();
                let bytes = body(response, wire::TAGS_LIMIT).await?;
                let unreadable =
                    || Failure { cause: Cause::BadAnswer, detail: "the list of tags cannot be read".to_owned() };
                Ok((wire::tags(&bytes).ok_or_else(unreadable)?, link, here))
            })
            .await;
            let (page, link, here) = match page {
                Observed::Known(page) => page,
                Observed::Absent => return Observed::Absent,
                Observed::Unknown(ignorance) => return Observed::Unknown(ignorance),
            };
            // What is no tag cannot be asked for.
            tags.extend(page.into_iter().filter(|tag| is_tag_name(tag)));
            if tags.len() > TAGS {
                break;
            }
            let Some(next) = link.as_deref().and_then(wire::next_page) else { return Observed::Known(tags) };
            // A page elsewhere would be asked with this host's credentials.
            match here.join(next).ok().filter(|next| next.origin() == here.origin()) {
                Some(next) => {
                    let query = next.query().unwrap_or_default();
                    let same = format!("{}?{query}", next.path()).trim_start_matches("/v2/").to_owned();
                    if !seen.insert(same.clone()) {
                        return unknown(
                            reference,
                            Failure { cause: Cause::BadAnswer, detail: "the list of tags goes in a circle".to_owned() },
                        );
                    }
                    path = same;
                }
                None => {
                    let detail = "the next page of tags is on another host".to_owned();
                    return unknown(reference, Failure { cause: Cause::BadAnswer, detail });
                }
            }
        }
        unknown(reference, Failure { cause: Cause::BadAnswer, detail: "the list of tags does not end".to_owned() })
    }

    fn host(&self, name: &str, insecure: bool) -> Arc<Host> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let host = hosts.entry((name.to_owned(), insecure)).or_insert_with(|| {
            Arc::new(Host {
                slots: Semaphore::new(PER_HOST),
                base: tokio::sync::OnceCell::new(),
                tokens: Mutex::default(),
                asking: tokio::sync::Mutex::default(),
                wants_basic: false.into(),
            })
        });
        Arc::clone(host)
    }

    /// Sends a request with whatever the host wants to see, once more where that can help.
    async fn send(
        &self,
        method: Method,
        reference: &ImageReference,
        config: &HostConfig,
        path: &str,
    ) -> Result<Response, Failure> {
        // Docker Hub's registry is on another host than its name (semantics 2.11).
        let name = match reference.registry.as_str() {
            "docker.io" | "index.docker.io" => "registry-1.docker.io",
            name => name,
        };
        let host = self.host(name, config.insecure);
        let closed = || Failure { cause: Cause::Unreachable, detail: "the client is shutting down".to_owned() };
        let _slot = host.slots.acquire().await.map_err(|_| closed())?;
        let mut waited = 0;
        loop {
            let result = self.authorized(&host, &method, reference, config, name, path).await;
            let (again, asked_wait) = match &result {
                Ok(response) => (is_transient(response.status()), retry_after(response.headers())),
                Err(failure) => (matches!(failure.cause, Cause::TimedOut), None),
            };
            let wait = asked_wait.unwrap_or(Duration::from_millis(300 << waited));
            if !again || waited >= RETRIES || wait > LONGEST_WAIT {
                return result;
            }
            tokio::time::sleep(wait).await;
            waited += 1;
        }
    }

    async fn authorized(
        &self,
        host: &Host,
        method: &Method,
        reference: &ImageReference,
        config: &HostConfig,
        name: &str,
        path: &str,
    ) -> Result<Response, Failure> {
        let scope = format!("repository:{}:pull", reference.path());
        let cached = host.token(&scope);
        let basic = host
            .wants_basic
            .load(std::sync::atomic::Ordering::Relaxed)
            .then(|| self.login(host, config, name))
            .flatten();
        let had_token = cached.is_some();
        let response = self.request(host, method, config, name, path, cached.or(basic)).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let challenges = response.headers().get_all(WWW_AUTHENTICATE);
        let header: Vec<&str> = challenges.iter().filter_map(|value| value.to_str().ok()).collect();
        let header = header.join(", ");
        let authorization = match wire::challenge(&header) {
            None => return Ok(response),
            Some(Challenge::Basic) => match self.login(host, config, name) {
                Some(basic) => {
                    host.wants_basic.store(true, std::sync::atomic::Ordering::Relaxed);
                    basic
                }
                None => return Ok(response),
            },
            Some(Challenge::Bearer { realm, service, scope: offered }) => {
                if had_token {
                    host.forget(&scope);
                }
                let offered = offered.unwrap_or_else(|| scope.clone());
                self.token(host, config, name, &realm, service.as_deref(), &scope, &offered).await?
            }
        };
        self.request(host, method, config, name, path, Some(authorization)).await
    }

    /// The login for a host, if it may travel: never over a connection that nobody verified, unless the config of this
    /// machine says that the host is like that. A definition's `insecure` is a stranger's word.
    fn login(&self, host: &Host, config: &HostConfig, name: &str) -> Option<SecretString> {
        let verified = host.base.get().is_some_and(|base| base.verified);
        if verified || config.insecure_by_config { self.credentials.basic(name) } else { None }
    }

    async fn request(
        &self,
        host: &Host,
        method: &Method,
        config: &HostConfig,
        name: &str,
        path: &str,
        authorization: Option<SecretString>,
    ) -> Result<Response, Failure> {
        // OpenShift's order for `insecure`: https verified by nobody, then http (semantics 3.5). Verified is tried first here,
        // so that a good certificate is never waived.
        const VERIFIED: Base = Base { scheme: "https", verified: true };
        const FALLBACKS: &[Base] =
            &[VERIFIED, Base { scheme: "https", verified: false }, Base { scheme: "http", verified: false }];
        let known = host.base.get().copied();
        let bases = match (known, config.insecure) {
            (Some(base), insecure) if insecure || base.verified => vec![base],
            (_, true) => FALLBACKS.to_vec(),
            (_, false) => vec![VERIFIED],
        };
        let mut last = None;
        for base in bases {
            let url = format!("{}://{name}/v2/{path}", base.scheme);
            let client = if base.verified { &self.verified } else { &self.unverified };
            let mut request = client.request(method.clone(), &url).header(ACCEPT, wire::ACCEPT);
            if let Some(authorization) = &authorization {
                request = request.header(AUTHORIZATION, secret_header(authorization)?);
            }
            match request.send().await {
                Ok(response) => {
                    let _ = host.base.set(base);
                    return Ok(response);
                }
                // Only a transport that fails leads on: an answer, whatever it says, is an answer.
                Err(error) if error.is_connect() && !error.is_timeout() => last = Some(transport(&error)),
                Err(error) => return Err(transport(&error)),
            }
        }
        Err(last.unwrap_or(Failure { cause: Cause::Unreachable, detail: "no way to ask".to_owned() }))
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "everything a token is asked with, and nothing it could be grouped by"
    )]
    async fn token(
        &self,
        host: &Host,
        config: &HostConfig,
        name: &str,
        realm: &str,
        service: Option<&str>,
        scope: &str,
        offered: &str,
    ) -> Result<SecretString, Failure> {
        let _turn = host.asking.lock().await;
        if let Some(token) = host.token(scope) {
            return Ok(token);
        }
        let bad = |detail: String| Failure { cause: Cause::BadAnswer, detail };
        let mut url =
            Url::parse(realm).map_err(|_| bad(format!("the token service `{}` is no URL", inert(realm, 120))))?;
        let plain = host.base.get().is_some_and(|base| base.scheme == "http");
        if url.scheme() != "https" && !(plain && url.scheme() == "http") {
            return Err(bad(format!("the token service `{}` is not https", inert(realm, 120))));
        }
        let realm_host = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.to_owned(),
            (None, _) => return Err(bad(format!("the token service `{}` has no host", inert(realm, 120)))),
        };
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = service {
                query.append_pair("service", service);
            }
            query.append_pair("scope", offered);
        }
        let verified = host.base.get().is_none_or(|base| base.verified);
        let client = if verified { &self.verified } else { &self.unverified };
        let mut request = client.get(url);
        let basic = self.login(host, config, name);
        let may = auth::may_receive(name, config.token_service.as_deref(), &realm_host);
        if let Some(basic) = basic.as_ref().filter(|_| may) {
            request = request.header(AUTHORIZATION, secret_header(basic)?);
        }
        let response = request.send().await.map_err(|error| transport(&error))?;
        if !response.status().is_success() {
            let withheld = basic.is_some() && !may;
            let hint = if withheld {
                format!("; to let `{realm_host}` have the login of `{name}`, set `tokenService`")
            } else {
                String::new()
            };
            let detail = format!("the token service `{realm_host}` answers {}{hint}", response.status().as_u16());
            let cause = if is_transient(response.status()) { Cause::ServerError } else { Cause::Unauthorized };
            return Err(Failure { cause, detail });
        }
        let bytes = body(response, 1024 * 1024).await?;
        let answer: wire::TokenAnswer = serde_json::from_slice(&bytes)
            .map_err(|_| bad(format!("the token service `{realm_host}` sends no token")))?;
        let (token, seconds) =
            answer.into_token().ok_or_else(|| bad(format!("the token service `{realm_host}` sends no token")))?;
        let token: SecretString = format!("Bearer {token}").into();
        // Given up a little early, so that none expires on the way.
        let until = Instant::now() + Duration::from_secs(seconds.min(LONGEST_TOKEN).saturating_sub(5));
        let mut tokens = host.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.insert(scope.to_owned(), (token.clone(), until));
        Ok(token)
    }
}

impl Host {
    fn token(&self, scope: &str) -> Option<SecretString> {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.get(scope).filter(|(_, until)| Instant::now() < *until).map(|(token, _)| token.clone())
    }

    fn forget(&self, scope: &str) {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).remove(scope);
    }
}

fn secret_header(value: &SecretString) -> Result<HeaderValue, Failure> {
    let mut header = HeaderValue::from_str(value.expose_secret()).map_err(|_| Failure {
        cause: Cause::Unauthorized,
        detail: "the login has characters that no header can carry".to_owned(),
    })?;
    header.set_sensitive(true);
    Ok(header)
}

/// A body up to a limit, whatever its length header says.
async fn body(mut response: Response, limit: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| transport(&error))? {
        if bytes.len() + chunk.len() > limit {
            return Err(Failure {
                cause: Cause::BadAnswer,
                detail: format!("the answer is larger than {limit} bytes"),
            });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

async fn observe<T, F>(
    reference: &ImageReference,
    answer: Result<Response, Failure>,
    read: impl FnOnce(Response) -> F,
) -> Observed<T>
where
    F: Future<Output = Result<T, Failure>>,
{
    let response = match answer {
        Ok(response) => response,
        Err(failure) => return unknown(reference, failure),
    };
    let status = response.status();
    if status.is_success() {
        return match read(response).await {
            Ok(value) => Observed::Known(value),
            Err(failure) => unknown(reference, failure),
        };
    }
    let bytes = body(response, 64 * 1024).await.unwrap_or_default();
    let error = wire::error_of(&bytes);
    // A 404 means "no" only in a registry's own words: a proxy or a login page that answers 404 has not said anything of the
    // image.
    let definite =
        |(code, _): &(String, String)| matches!(code.as_str(), "MANIFEST_UNKNOWN" | "NAME_UNKNOWN" | "NOT_FOUND");
    if status == StatusCode::NOT_FOUND && error.as_ref().is_some_and(definite) {
        return Observed::Absent;
    }
    let words = error.map_or_else(String::new, |(code, message)| format!(" {code}: {message}"));
    let cause = match status {
        StatusCode::UNAUTHORIZED => Cause::Unauthorized,
        StatusCode::FORBIDDEN => Cause::Forbidden,
        StatusCode::TOO_MANY_REQUESTS => Cause::RateLimited,
        status if status.is_server_error() => Cause::ServerError,
        _ => Cause::BadAnswer,
    };
    unknown(reference, Failure { cause, detail: format!("the registry answers {}{words}", status.as_u16()) })
}

fn unknown<T>(reference: &ImageReference, Failure { cause, detail }: Failure) -> Observed<T> {
    Observed::Unknown(Ignorance { asked: inert(&reference.to_string(), 300), cause, detail })
}

fn is_transient(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

/// Seconds; the form with a date is left to the next run.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    Some(text.trim().parse().map_or(Duration::MAX, Duration::from_secs))
}

fn transport(error: &reqwest::Error) -> Failure {
    let cause = if error.is_timeout() { Cause::TimedOut } else { Cause::Unreachable };
    // The innermost cause is the one that helps; the outer ones repeat the URL.
    let mut innermost: &dyn Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    Failure { cause, detail: inert(&innermost.to_string(), 200) }
}
