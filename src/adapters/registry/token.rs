//! Showing a host what it wants to see: a login, or a token for it (distribution token specification).

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};

use crate::model::Cause;
use crate::source::inert;

use super::auth::{self, Found, Login};
use super::failure::Failure;
use super::host::{By, Host, Token};
use super::http::{Answer, Ask, Http, Room, host_of, is_at, said_no, with};
use super::wire::{self, Challenge};

/// A token is asked for anew after an hour, whatever its service says.
const LONGEST_LIFE: u64 = 3600;
/// Given up a little early, so that none expires on the way.
const EARLY: u64 = 5;
const ANSWER_LIMIT: usize = 256 * 1024;

impl Http {
    /// Asks with what the host wanted to see last; if it wants something else, or something newer, once more with that. An answer that lets
    /// nobody in says what it was shown.
    pub(super) async fn authorized(&self, host: &Arc<Host>, ask: Ask<'_>) -> Result<Answer, Failure> {
        let scope = format!("repository:{}:pull", ask.repository);
        let shown = match host.challenge() {
            None => None,
            Some(Challenge::Basic) => self.header(host, ask.repository).await?.0,
            // A host may want tokens for some repositories only, and its service refuse one for the others.
            Some(challenge @ Challenge::Bearer { .. }) => {
                self.token(host, ask.repository, &challenge, &scope, None).await.ok().map(|(token, _)| token)
            }
        };
        let mut answer = self.follow(host, ask, shown.as_ref()).await?;
        if let (Some(shown), Some(Challenge::Basic)) = (&shown, host.challenge()) {
            judge(host, shown, &answer);
        }
        // Only the host itself is answered: where one was sent on to gets nothing.
        if answer.status != StatusCode::UNAUTHORIZED || !is_at(&answer.url, &host.name) {
            return self.explained(host, ask.repository, answer, None).await;
        }
        let values = answer.headers.get_all(reqwest::header::WWW_AUTHENTICATE);
        let header: Vec<&str> = values.iter().filter_map(|value| value.to_str().ok()).collect();
        let header = header.join(", ");
        let challenge = match wire::challenge(&header) {
            Ok(challenge) => challenge,
            Err(_) => {
                // Struck first: what is cut or made inert cannot be told any more.
                let why = wire::challenge(&answer.shown.strike(&header)).err();
                answer.explained = why.map_or(String::new(), |why| format!("; {why}"));
                return Ok(answer);
            }
        };
        host.learn(&challenge);
        let (authorization, by) = match &challenge {
            Challenge::Basic => match self.header(host, ask.repository).await? {
                (Some(header), by) => (header, by),
                (None, by) => return self.explained(host, ask.repository, answer, Some(by)).await,
            },
            Challenge::Bearer { .. } => self.token(host, ask.repository, &challenge, &scope, shown.as_ref()).await?,
        };
        let answer = self.follow(host, ask, Some(&authorization)).await?;
        let answer = self.explained(host, ask.repository, answer, Some(by)).await?;
        if challenge == Challenge::Basic {
            judge(host, &authorization, &answer);
        }
        Ok(answer)
    }

    /// An answer of the host itself that lets nobody in, with what it was shown; none: what it would be.
    async fn explained(
        &self,
        host: &Host,
        repository: &str,
        mut answer: Answer,
        by: Option<By>,
    ) -> Result<Answer, Failure> {
        let is_closed = matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if is_closed && is_at(&answer.url, &host.name) {
            let by = match by {
                Some(by) => by,
                None => self.login(host, repository).await?.1,
            };
            answer.explained = by.explain(&host.name);
        }
        Ok(answer)
    }

    /// The login for a repository, if there is one and it may travel.
    async fn login(&self, host: &Host, repository: &str) -> Result<(Option<Login>, By), Failure> {
        if !host.is_trusted() {
            return Ok((None, By::Unverified));
        }
        match self.credentials.login(&host.name, repository, &host.namespace).await {
            Ok(Some(Found { login, from })) => Ok((Some(login), By::Login(from))),
            Ok(None) => Ok((None, By::Nobody)),
            // The image may be there for everybody.
            Err(why) => Ok((None, By::Broken(why))),
        }
    }

    /// The same, as a header for the registry itself.
    async fn header(&self, host: &Host, repository: &str) -> Result<(Option<SecretString>, By), Failure> {
        let (login, by) = self.login(host, repository).await?;
        let header = login.and_then(|login| login.header());
        match header.as_ref().and_then(|header| host.refusal(header)) {
            Some(failure) => Err(failure),
            None => Ok((header, by)),
        }
    }

    /// The token for a scope, from its place or from the token service. One that was `refused` is not taken again.
    async fn token(
        &self,
        host: &Arc<Host>,
        repository: &str,
        challenge: &Challenge,
        scope: &str,
        refused: Option<&SecretString>,
    ) -> Result<(SecretString, By), Failure> {
        let place = host.token(scope);
        // Whoever comes second waits here and finds what the first was given.
        let mut place = place.lock().await;
        let stale = |token: &Token| {
            token.until <= Instant::now()
                || refused.is_some_and(|refused| refused.expose_secret() == token.header.expose_secret())
        };
        if let Some(token) = place.as_ref().filter(|token| !stale(token)) {
            return Ok((token.header.clone(), token.by.clone()));
        }
        *place = None;
        let (login, by) = self.login(host, repository).await?;
        if let Some(Login::Bearer(_)) = &login
            && let Some(header) = login.as_ref().and_then(Login::header)
        {
            return Ok((header, by));
        }
        let (token, seconds, by) = self.exchange(host, challenge, scope, (login, by)).await?;
        let header: SecretString = format!("Bearer {}", token.expose_secret()).into();
        let until = Instant::now() + Duration::from_secs(seconds.min(LONGEST_LIFE).saturating_sub(EARLY));
        *place = Some(Token { header: header.clone(), until, by: by.clone() });
        Ok((header, by))
    }

    /// Asks the token service. It gets the login only if it is the registry's own, a known one, or the one the config names.
    async fn exchange(
        &self,
        host: &Arc<Host>,
        challenge: &Challenge,
        scope: &str,
        (login, by): (Option<Login>, By),
    ) -> Result<(SecretString, u64, By), Failure> {
        let Challenge::Bearer { realm, service, scope: offered } = challenge else {
            return Err(Failure::malformed("the registry wants no token"));
        };
        let url = realm_url(host, realm)?;
        let name = host_of(&url);
        let may = auth::may_receive(&host.name, host.config.token_service.as_deref(), &name);
        let by = if login.is_some() && !may { By::Withheld(name.clone()) } else { by };
        let login = login.filter(|_| may);
        let secret = login.as_ref().map(Login::secret);
        if let Some(failure) = secret.as_ref().and_then(|secret| host.refusal(secret)) {
            return Err(failure);
        }
        // The scope of this question: what was offered for another one names another repository.
        let scope = offered.as_deref().filter(|offered| offered.split(' ').any(|one| one == scope)).unwrap_or(scope);
        let target = self.hosts.get((&name, ""), &self.settings.host(&name), false);
        // The registry itself is as it was found; another host is as its own config says.
        let verified = if is_at(&url, &host.name) {
            host.base.get().is_none_or(|base| base.verified)
        } else {
            !target.config.insecure
        };
        let service = service.as_deref().unwrap_or_default();
        let answer = self
            .hop(&target, &url, verified, Room::Memory(ANSWER_LIMIT), |client| match &login {
                // A refresh token is changed for another by OAuth2 (distribution, "OAuth2 token authentication").
                Some(Login::Identity(token)) => Ok(client.post(url.clone()).form(&[
                    ("grant_type", "refresh_token"),
                    ("service", service),
                    ("scope", scope),
                    ("client_id", "streamkeeper"),
                    ("refresh_token", token.expose_secret()),
                ])),
                other => {
                    let mut url = url.clone();
                    if !service.is_empty() {
                        url.query_pairs_mut().append_pair("service", service);
                    }
                    url.query_pairs_mut().append_pair("scope", scope);
                    with(client.get(url), other.as_ref().and_then(Login::header).as_ref())
                }
            })
            .await
            .map_err(|failure| Failure {
                detail: format!("the token service `{name}`: {}", failure.detail),
                ..failure
            })?;
        if !answer.status.is_success() {
            let mut failure = said_no(&answer);
            failure.detail =
                failure.detail.replace("the registry answers", &format!("the token service `{name}` answers"));
            if matches!(answer.status.as_u16(), 400 | 401 | 403) {
                failure.detail.push_str(&by.explain(&host.name));
            }
            if let Some(secret) = secret.as_ref().filter(|_| answer.status == StatusCode::UNAUTHORIZED) {
                host.refuse(secret, &failure);
            }
            if failure.cause == Cause::Malformed || failure.cause == Cause::Forbidden {
                failure.cause = Cause::Unauthorized;
            }
            return Err(failure);
        }
        if let Some(secret) = secret {
            host.accept(&secret);
        }
        let no_token = || Failure::malformed(format!("the token service `{name}` sends no token"));
        let token: wire::TokenAnswer = serde_json::from_slice(&answer.bytes).map_err(|_| no_token())?;
        let (token, seconds) = token.into_token().ok_or_else(no_token)?;
        Ok((token, seconds, by))
    }
}

/// What an answer says of the login it was given to.
fn judge(host: &Host, login: &SecretString, answer: &Answer) {
    if answer.status.is_success() {
        host.accept(login);
    } else if answer.status == StatusCode::UNAUTHORIZED {
        host.refuse(login, &said_no(answer));
    }
}

/// The URL of a token service: https, unless the registry itself has none. Of one that is refused, no more than the host is
/// repeated: it may be made of what the registry was shown.
fn realm_url(host: &Host, realm: &str) -> Result<Url, Failure> {
    let url = Url::parse(realm).map_err(|_| Failure::malformed("the token service that it names is no URL"))?;
    let name = inert(&host_of(&url), 120);
    let wrong = |what: &str| Failure::malformed(format!("the token service `{name}` {what}"));
    let plain = host.base.get().is_some_and(|base| base.scheme == "http");
    match url.scheme() {
        "https" => {}
        "http" if plain => {}
        _ => return Err(wrong("is not https")),
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(wrong("has no host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("has a login in it"));
    }
    Ok(url)
}
