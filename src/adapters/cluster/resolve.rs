//! Asking the cluster what references are, in the place of the registries: imports that import nothing (semantics 3.10).
//!
//! For images that only the cluster can reach: it asks with its own credentials, mirrors and trust, those of the namespace
//! that wants the image.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::model::{Cause, Ignorance, Observed, Question, Resolution, Tally};
use crate::openshift::{Digest, ImageReference};
use crate::ports::Registry;

use super::access::{Connection, Trouble};
use super::{Cluster, reply, request};

/// Namespaces that are asked in turn, when one has no login for an image.
const NAMESPACES: usize = 3;

/// The cluster as whoever answers for registries.
pub struct Resolver<'a> {
    connection: &'a Connection,
    /// Which namespaces want to know.
    namespaces: BTreeMap<Question, Vec<String>>,
    asked: AtomicUsize,
    requests: AtomicUsize,
    started: Instant,
}

impl Cluster {
    /// Answers questions as the cluster sees it, from the namespaces that want to know.
    pub fn resolver(&self, namespaces: BTreeMap<Question, Vec<String>>) -> Resolver<'_> {
        let (asked, requests) = (AtomicUsize::default(), AtomicUsize::default());
        Resolver { connection: &self.connection, namespaces, asked, requests, started: Instant::now() }
    }
}

impl Resolver<'_> {
    /// Asks in one namespace after the other until one knows. What one may not see, another may.
    async fn ask<T>(
        &self,
        question: &Question,
        request: impl Fn(&str) -> http::Request<Vec<u8>>,
        read: impl Fn(&[u8]) -> Result<Observed<T>, String>,
    ) -> Observed<T> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let asked = question.reference.to_string();
        let unknown = |cause: Cause, detail: String| Observed::Unknown(Ignorance::new(&asked, cause, detail));
        let mut answer = unknown(Cause::Refused, "no namespace asks for it".to_owned());
        // A tag of a repository that is imported whole is wanted by whoever wants the repository.
        let whole = ImageReference { tag: String::new(), digest: None, ..question.reference.clone() };
        let whole = Question { reference: whole, ..question.clone() };
        let namespaces = self.namespaces.get(question).or_else(|| self.namespaces.get(&whole));
        let mut unsure: Option<Observed<T>> = None;
        for (at, namespace) in namespaces.into_iter().flatten().enumerate() {
            if at == NAMESPACES {
                unsure.get_or_insert(unknown(
                    Cause::Incomplete,
                    "not every namespace that wants it was asked".to_owned(),
                ));
                break;
            }
            self.requests.fetch_add(1, Ordering::Relaxed);
            answer = match self.connection.send(request(namespace)).await {
                Ok(body) => read(&body).unwrap_or_else(|error| unknown(Cause::Malformed, error)),
                Err(Trouble::Refused(refused)) if refused.code == 403 => {
                    let why = format!("{}; grant `create` on `imagestreamimports` there", refused.message);
                    unknown(Cause::Forbidden, why)
                }
                Err(Trouble::Refused(refused)) => unknown(Cause::ServerError, refused.message),
                Err(Trouble::Lost(detail)) => unknown(Cause::Unreachable, detail),
            };
            let another_may_know = match &answer {
                Observed::Known(_) => false,
                // Registries hide what somebody may not see.
                Observed::Absent => true,
                Observed::Unknown(ignorance) => matches!(ignorance.cause, Cause::Unauthorized | Cause::Forbidden),
            };
            if !another_may_know {
                return answer;
            }
            if matches!(answer, Observed::Unknown(_)) && unsure.is_none() {
                unsure = Some(answer);
                answer = Observed::Absent;
            }
        }
        // That one says no is not enough as long as another one could not say.
        unsure.unwrap_or(answer)
    }
}

impl Registry for Resolver<'_> {
    async fn resolve(&self, question: &Question) -> Observed<Resolution> {
        let asked = question.reference.to_string();
        self.ask(question, |namespace| request::look_up(namespace, question), |body| reply::looked_up(&asked, body))
            .await
    }

    /// The server has read it already.
    async fn fetch(&self, _: &Question) -> Observed<()> {
        Observed::Known(())
    }

    fn known(&self, _: &Digest) -> Option<Resolution> {
        None
    }

    async fn tags(&self, repository: &Question) -> Observed<Vec<String>> {
        let asked = repository.reference.repository();
        let read = |body: &[u8]| reply::listed_tags(&asked, body);
        self.ask(repository, |namespace| request::look_up_repository(namespace, repository), read).await
    }

    fn tally(&self) -> Tally {
        Tally {
            asked: self.asked.load(Ordering::Relaxed),
            requests: self.requests.load(Ordering::Relaxed),
            milliseconds: self.started.elapsed().as_millis(),
            ..Tally::default()
        }
    }
}
