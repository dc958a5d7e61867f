//! Registries over HTTP (OCI distribution specification, Docker registry v2).
//!
//! [`Http::ask`] is the only way out. It waits for its turn at the host, shows what the host wants to see, follows hops one
//! by one, and reads the whole answer within a limit before it gives its place away.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

use crate::model::Cause;
use crate::source::inert;

use super::address;
use super::client::Clients;
use super::echo;
use super::failure::Failure;
use super::host::{Host, Hosts};
use super::pace::Ending;
use super::wire::{self, Quota};
use super::{Credentials, RegistryMemory, Settings};

/// Hops of one request; registries send clients to their storage, and storage to its mirrors.
const HOPS: usize = 5;
/// Of an answer that is an error, no more than this is read.
const ERROR_LIMIT: usize = 64 * 1024;
/// Answers larger than this wait for one another: nearly all manifests are smaller, and memory has to be bounded.
const LARGE: usize = 512 * 1024;
const LARGE_AT_ONCE: usize = 6;
/// How long such an answer waits for room.
const FOR_ROOM: Duration = Duration::from_secs(10);
/// Lists of tags that are read at once, for the same reason.
const LISTINGS_AT_ONCE: usize = 4;
/// A whole answer that goes into a file. That it does not fall silent is another matter.
const FOR_FILE: Duration = Duration::from_secs(30 * 60);
/// Before a request is sent once more to a host that said it is broken.
const SECOND_TRY: Duration = Duration::from_millis(300);

/// A client for all hosts.
pub(super) struct Http {
    pub(super) settings: Arc<Settings>,
    pub(super) credentials: Credentials,
    pub(super) hosts: Hosts,
    pub(super) requests: AtomicUsize,
    clients: Clients,
    large: Semaphore,
    pub(super) listings: Semaphore,
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask<'a> {
    pub(super) get: bool,
    /// After `/v2/`.
    pub(super) path: &'a str,
    /// Whose token it takes.
    pub(super) repository: &'a str,
    /// Where a good answer goes, and how large it may be.
    pub(super) room: Room<'a>,
}

/// Where a good answer goes, and how many bytes it may have.
#[derive(Clone, Copy, Debug)]
pub(super) enum Room<'a> {
    /// With the answer.
    Memory(usize),
    /// Into a file, which then holds nothing else: a layer. It may take longer.
    File(&'a File, u64),
}

/// An answer, read to its end.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) url: Url,
    /// Decoded. Of answers that are errors, the beginning.
    pub(super) bytes: Vec<u8>,
    /// What the request showed: none of it is repeated to people.
    pub(super) shown: echo::Shown,
    /// Of an answer that lets nobody in: what it was shown, and what to do next.
    pub(super) explained: String,
}

impl Answer {
    /// The value of a header, if it is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The media type, without parameters.
    pub(super) fn media_type(&self) -> &str {
        let text = self.header(CONTENT_TYPE.as_str()).unwrap_or_default();
        text.split(';').next().unwrap_or_default().trim()
    }
}

impl Http {
    pub(super) fn new(settings: Arc<Settings>, credentials: Credentials, memory: Arc<dyn RegistryMemory>) -> Self {
        Self {
            settings,
            credentials,
            hosts: Hosts::new(memory),
            requests: AtomicUsize::new(0),
            clients: Clients::new(),
            large: Semaphore::new(LARGE_AT_ONCE),
            listings: Semaphore::new(LISTINGS_AT_ONCE),
        }
    }

    /// Asks, and once more where that can help: after 429 when the host takes questions again, after a broken answer soon.
    pub(super) async fn ask(&self, host: &Arc<Host>, ask: Ask<'_>) -> Result<Answer, Failure> {
        let first = self.authorized(host, ask).await;
        match &first {
            Ok(answer) if answer.status == StatusCode::TOO_MANY_REQUESTS => {}
            Ok(answer) if is_broken(answer.status) => tokio::time::sleep(SECOND_TRY).await,
            Err(failure) if failure.cause == Cause::ServerError => tokio::time::sleep(SECOND_TRY).await,
            Ok(_) | Err(_) => return first,
        }
        match self.authorized(host, ask).await {
            // It is not asked again: then what it said first is what it said.
            Err(Failure { cause: Cause::RateLimited, again, .. }) if first.is_ok() => {
                let mut failure = first.map_or_else(|failure| failure, |answer| said_no(&answer));
                failure.again = again;
                Err(failure)
            }
            second => second,
        }
    }

    /// Sends a request to wherever the host answers and follows it.
    pub(super) async fn follow(
        &self,
        host: &Arc<Host>,
        ask: Ask<'_>,
        authorization: Option<&SecretString>,
    ) -> Result<Answer, Failure> {
        let method = if ask.get { Method::GET } else { Method::HEAD };
        let mut answer = self.first_hop(host, &method, ask, authorization).await?;
        let origin = answer.url.origin();
        let mut authorization = authorization;
        // Where the last answer came from, and whether its certificate has to be good.
        let mut at = (Arc::clone(host), host.base.get().is_none_or(|base| base.verified));
        for _ in 0..HOPS {
            if !matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(answer);
            }
            let next = hop(&answer)?;
            // A login is for its host alone, and what has left a host does not come back as its own.
            if next.origin() != origin {
                authorization = None;
            }
            if next.origin() != answer.url.origin() {
                // Another host is trusted by its own config alone, whatever a definition says of this one.
                let name = host_of(&next);
                let other = self.hosts.get((&name, ""), &self.settings.host(&name), false);
                at = (Arc::clone(&other), !other.config.insecure);
            }
            let (target, verified) = (&at.0, at.1);
            answer = self
                .hop(target, &next, verified, ask.room, |client| {
                    with(accepting(client.request(method.clone(), next.clone())), authorization)
                })
                .await?;
        }
        Err(Failure::malformed(format!("the registry sends one on more than {HOPS} times")))
    }

    /// The request to the host itself: where it is not known yet how it answers, one way after the other.
    async fn first_hop(
        &self,
        host: &Arc<Host>,
        method: &Method,
        ask: Ask<'_>,
        authorization: Option<&SecretString>,
    ) -> Result<Answer, Failure> {
        let turn = host.turn(self.settings.person_waits).await?;
        // Whoever has waited for a turn may have been overtaken by the news that this login is no good.
        if let Some(failure) = authorization.and_then(|login| host.refusal(login)) {
            return Err(failure);
        }
        let bases = host.bases();
        let last = bases.len() - 1;
        let mut failed = None;
        for (at, base) in bases.into_iter().enumerate() {
            let url = Url::parse(&format!("{}://{}/v2/{}", base.scheme, host.name, ask.path))
                .map_err(|_| Failure::malformed(format!("`{}` is no host", inert(&host.name, 120))))?;
            let result = self
                .send(host, &url, base.verified, ask.room, |client| {
                    with(accepting(client.request(method.clone(), url.clone())), authorization)
                })
                .await;
            match result {
                // Only a connection that cannot be made leads on: an answer, whatever it says, is an answer.
                Err((failure, true)) if at < last && failure.cause == Cause::Unreachable => failed = Some(failure),
                Err((failure, _)) => {
                    // Verified TLS failed first: that is the reason to show, unless the others got further.
                    let failure = if failure.cause == Cause::Unreachable { failed.unwrap_or(failure) } else { failure };
                    return finish(host, turn, ask.room, Err(failure));
                }
                Ok(answer) => {
                    let _ = host.base.set(base);
                    return finish(host, turn, ask.room, Ok(answer));
                }
            }
        }
        Err(failed.unwrap_or_else(|| Failure::new(Cause::Unreachable, "no way to ask")))
    }

    /// One request to a URL.
    pub(super) async fn hop(
        &self,
        host: &Arc<Host>,
        url: &Url,
        verified: bool,
        room: Room<'_>,
        request: impl FnOnce(&reqwest::Client) -> Result<RequestBuilder, Failure>,
    ) -> Result<Answer, Failure> {
        let turn = host.turn(self.settings.person_waits).await?;
        let result = self.send(host, url, verified, room, request).await.map_err(|(failure, _)| failure);
        finish(host, turn, room, result)
    }

    /// Sends and reads. With an error, whether it was the connection that could not be made.
    async fn send(
        &self,
        host: &Host,
        url: &Url,
        verified: bool,
        room: Room<'_>,
        request: impl FnOnce(&reqwest::Client) -> Result<RequestBuilder, Failure>,
    ) -> Result<Answer, (Failure, bool)> {
        // A proxy may be where nobody else may: it is not to be asked for images.
        let name = url.host_str().unwrap_or_default();
        if self.clients.is_proxy(name) && !host.config.private {
            let detail = format!("`{}` is a proxy of this machine", inert(name, 120));
            return Err((Failure::new(Cause::Refused, detail), false));
        }
        let refused = |refused: address::RefusedAddress| (Failure::address(&host.name, &refused), false);
        address::check_url(url, host.config.private).map_err(refused)?;
        let is_file = matches!(room, Room::File(..));
        let unusable = |why: String| (Failure::new(Cause::Unreadable, why), false);
        let client = self.clients.get(&host.config, verified, is_file).map_err(unusable)?;
        let unsendable = |error| (Failure::transport(&host.name, &error), false);
        let mut request = request(&client).map_err(|failure| (failure, false))?;
        if is_file {
            request = request.timeout(FOR_FILE);
        }
        let request = request.build().map_err(unsendable)?;
        let shown = echo::Shown::of(&request);
        let sent = client.execute(request).await;
        let response = sent.map_err(|error| {
            let failure = Failure::transport(&host.name, &error);
            // A connection that was made and broke: a second try may find a better one.
            let broke = failure.cause == Cause::Unreachable && !error.is_connect();
            let failure = if broke { Failure { cause: Cause::ServerError, ..failure } } else { failure };
            (failure, error.is_connect() && !error.is_timeout())
        })?;
        self.requests.fetch_add(1, Ordering::Relaxed);
        let (status, headers, url) = (response.status(), response.headers().clone(), response.url().clone());
        let bytes = if status.is_success() {
            self.body(host, response, room).await.map_err(|failure| (failure, false))?
        } else {
            beginning(response).await
        };
        Ok(Answer { status, headers, url, bytes, shown, explained: String::new() })
    }

    /// A body up to a limit, whatever its length header says, and decoded: what it was packed into counts for nothing.
    async fn body(&self, host: &Host, mut response: Response, room: Room<'_>) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        let mut written = 0;
        if let Room::File(mut file, _) = room {
            // There may be a piece in it of an answer that broke off.
            file.set_len(0).and_then(|()| file.rewind()).map_err(unwritable)?;
        }
        let mut permit = None;
        loop {
            let chunk = response.chunk().await.map_err(|error| match Failure::transport(&host.name, &error) {
                failure if failure.cause == Cause::TimedOut => failure,
                Failure { detail, .. } => Failure::new(Cause::ServerError, format!("the answer broke off: {detail}")),
            })?;
            let Some(chunk) = chunk else { return Ok(bytes) };
            written += chunk.len() as u64;
            let limit = match room {
                Room::Memory(limit) => limit as u64,
                Room::File(_, limit) => limit,
            };
            if written > limit {
                return Err(Failure::malformed(format!("the answer is larger than {limit} bytes")));
            }
            if let Room::File(mut file, _) = room {
                file.write_all(&chunk).map_err(unwritable)?;
                continue;
            }
            bytes.extend_from_slice(&chunk);
            if bytes.len() > LARGE && permit.is_none() {
                // One a host, so that one cannot keep the others waiting; and none waits for long.
                let permits = async { (host.large.acquire().await.ok(), self.large.acquire().await.ok()) };
                let busy = |_| Failure::new(Cause::ServerError, "too many large answers at once");
                permit = Some(tokio::time::timeout(FOR_ROOM, permits).await.map_err(busy)?);
            }
        }
    }
}

fn unwritable(error: std::io::Error) -> Failure {
    Failure::new(Cause::Unreadable, format!("there is nowhere to put the answer: {error}"))
}

/// Tells the host and its gate how it went.
fn finish(
    host: &Host,
    turn: super::host::Turn,
    room: Room<'_>,
    result: Result<Answer, Failure>,
) -> Result<Answer, Failure> {
    match result {
        Ok(answer) => {
            host.is_up();
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
            let quota = wire::quota(|name| answer.header(name), now);
            let wait = answer.header(RETRY_AFTER.as_str()).and_then(|text| wire::retry_after(text, Timestamp::now()));
            let ending = match answer.status {
                StatusCode::TOO_MANY_REQUESTS => Ending::Limited(wait),
                StatusCode::SERVICE_UNAVAILABLE if wait.is_some() => Ending::Limited(wait),
                status if is_broken(status) => Ending::Broken,
                _ => Ending::Answered,
            };
            if ending == Ending::Answered {
                turn.end(ending, quota, None);
                return Ok(answer);
            }
            let mut failure = said_no(&answer);
            if let Ending::Limited(_) = ending {
                failure.cause = Cause::RateLimited;
            }
            turn.end(ending, quota, Some(&mut failure));
            // With a time it will not be asked before, nothing is gained by looking at the answer further.
            if failure.again.is_some() { Err(failure) } else { Ok(answer) }
        }
        Err(mut failure) => {
            match failure.cause {
                // A layer that takes too long says nothing of the next question.
                Cause::TimedOut if matches!(room, Room::File(..)) => drop(turn),
                Cause::Unreachable | Cause::TimedOut | Cause::Refused => {
                    host.is_down(&failure);
                    drop(turn);
                }
                Cause::ServerError => turn.end(Ending::Broken, Quota::default(), Some(&mut failure)),
                _ => turn.end(Ending::Answered, Quota::default(), None),
            }
            Err(failure)
        }
    }
}

/// An answer that is no good, in the registry's words.
pub(super) fn said_no(answer: &Answer) -> Failure {
    let inert = |words: &str, most: usize| inert(&answer.shown.strike(words), most);
    let words = wire::error_of(&answer.bytes).or_else(|| wire::plain_words(answer.media_type(), &answer.bytes));
    let words = words.map_or_else(String::new, |(code, message)| match code.as_str() {
        "" => format!(": {}", inert(&message, 200)),
        code => format!(" {}: {}", inert(code, 60), inert(&message, 200)),
    });
    let cause = match answer.status {
        StatusCode::UNAUTHORIZED => Cause::Unauthorized,
        StatusCode::FORBIDDEN => Cause::Forbidden,
        StatusCode::TOO_MANY_REQUESTS => Cause::RateLimited,
        status if status.is_server_error() => Cause::ServerError,
        _ => Cause::Malformed,
    };
    Failure::new(cause, format!("the registry answers {}{words}{}", answer.status.as_u16(), answer.explained))
}

fn is_broken(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

/// Where an answer sends one on to.
fn hop(answer: &Answer) -> Result<Url, Failure> {
    let location = answer.header(LOCATION.as_str()).and_then(|location| answer.url.join(location).ok());
    let next = location.ok_or_else(|| Failure::malformed("the registry sends one on to nowhere"))?;
    let shown = || inert(next.host_str().unwrap_or_default(), 120);
    match next.scheme() {
        "https" => Ok(next),
        "http" if answer.url.scheme() == "http" => Ok(next),
        _ => Err(Failure::new(Cause::Refused, format!("the registry sends one on to `{}` without https", shown()))),
    }
}

/// Whether a URL is at a host, whatever is left out of its port.
pub(super) fn is_at(url: &Url, name: &str) -> bool {
    Url::parse(&format!("{}://{name}", url.scheme())).is_ok_and(|host| host.origin() == url.origin())
}

/// `host[:port]` of a URL.
pub(super) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// A request for an image in any form, each in a line of its own: old registries compare whole lines, and all lines mean the same.
fn accepting(request: RequestBuilder) -> RequestBuilder {
    wire::ACCEPT.iter().fold(request, |request, media_type| request.header(ACCEPT, *media_type))
}

/// A request with something to show.
pub(super) fn with(request: RequestBuilder, authorization: Option<&SecretString>) -> Result<RequestBuilder, Failure> {
    let Some(authorization) = authorization else { return Ok(request) };
    let mut header = HeaderValue::from_str(authorization.expose_secret())
        .map_err(|_| Failure::new(Cause::Unauthorized, "the login has characters that no header can carry"))?;
    header.set_sensitive(true);
    Ok(request.header(AUTHORIZATION, header))
}

/// As much of an error as anybody reads.
async fn beginning(mut response: Response) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < ERROR_LIMIT {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk[..chunk.len().min(ERROR_LIMIT - bytes.len())]),
            Ok(None) | Err(_) => break,
        }
    }
    bytes
}
