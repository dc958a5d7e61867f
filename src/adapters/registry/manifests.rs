//! Manifests and configs: asked for, hashed, believed.

use std::fs::File;
use std::sync::Arc;

use reqwest::StatusCode;

use crate::model::Cause;
use crate::openshift::{Digest, ImageReference};

use super::failure::Failure;
use super::host::Host;
use super::http::{Answer, Ask, Http, Room, said_no};
use super::wire::{self, Manifest};

/// Digest of the manifest, as the registry computes it.
const DIGEST_HEADER: &str = "docker-content-digest";

/// What HEAD says: a hint, until the bytes are seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hint {
    pub(super) digest: Option<Digest>,
    pub(super) media_type: String,
}

impl Http {
    /// What HEAD says of a reference; none for a "no" in the registry's own words. An answer to HEAD has no words, and some registries know
    /// no HEAD: what it refuses is asked again with GET.
    ///
    /// # Errors
    ///
    /// When there is no answer that can be used.
    pub(super) async fn head(&self, reference: &ImageReference, host: &Arc<Host>) -> Result<Option<Hint>, Failure> {
        let (repository, path) = paths(reference);
        let ask = Ask { get: false, path: &path, repository: &repository, room: Room::Memory(0) };
        if !host.has_no_head() {
            let answer = self.ask(host, ask).await?;
            if is_no_head(answer.status) {
                host.tell_no_head();
            } else if !is_refused(answer.status) {
                let answer = good(answer)?;
                let digest = answer.header(DIGEST_HEADER).and_then(Digest::parse);
                return Ok(Some(Hint { digest, media_type: answer.media_type().to_owned() }));
            }
        }
        let hint = |manifest: Manifest| Hint { digest: Some(manifest.digest), media_type: manifest.media_type };
        Ok(self.get(reference, host).await?.map(hint))
    }

    /// The manifest, its bytes hashed; none for a "no" in the registry's own words.
    ///
    /// # Errors
    ///
    /// When there is no answer that can be used: among them one with other bytes than were asked for.
    pub(super) async fn get(&self, reference: &ImageReference, host: &Arc<Host>) -> Result<Option<Manifest>, Failure> {
        let (repository, path) = paths(reference);
        let ask = Ask { get: true, path: &path, repository: &repository, room: Room::Memory(wire::MANIFEST_LIMIT) };
        let answer = self.ask(host, ask).await?;
        if absent(&answer) {
            return Ok(None);
        }
        let answer = good(answer)?;
        let claimed = answer.header(DIGEST_HEADER).and_then(Digest::parse);
        let mut expected = reference.digest.iter().chain(&claimed);
        if let Some(expected) = expected.find(|expected| !wire::has_digest(&answer.bytes, expected)) {
            let got = wire::digest_of(&answer.bytes);
            return Err(Failure::malformed(format!("asked for {} and got {}", expected.short(), got.short())));
        }
        let digest = reference.digest.clone().unwrap_or_else(|| wire::digest_of(&answer.bytes));
        let media_type = answer.media_type().to_owned();
        Ok(Some(Manifest { digest, media_type, bytes: answer.bytes }))
    }

    /// The bytes of a blob, no more than a manifest may have. Nobody has hashed them yet.
    ///
    /// # Errors
    ///
    /// When there is no such answer.
    pub(super) async fn blob(
        &self,
        reference: &ImageReference,
        host: &Arc<Host>,
        digest: &Digest,
    ) -> Result<Vec<u8>, Failure> {
        let repository = reference.path();
        let path = format!("{repository}/blobs/{digest}");
        let ask = Ask { get: true, path: &path, repository: &repository, room: Room::Memory(wire::MANIFEST_LIMIT) };
        let answer = good(self.ask(host, ask).await?)?;
        Ok(answer.bytes)
    }

    /// The bytes of a blob, into a file. Nobody has hashed them yet.
    ///
    /// # Errors
    ///
    /// When there is no such answer, or it is larger than `limit` bytes.
    pub(super) async fn download(
        &self,
        reference: &ImageReference,
        host: &Arc<Host>,
        digest: &Digest,
        into: &File,
        limit: u64,
    ) -> Result<(), Failure> {
        let repository = reference.path();
        let path = format!("{repository}/blobs/{digest}");
        let ask = Ask { get: true, path: &path, repository: &repository, room: Room::File(into, limit) };
        good(self.ask(host, ask).await?).map(|_| ())
    }
}

/// There is no HEAD at that host, which says nothing of the image.
fn is_no_head(status: StatusCode) -> bool {
    matches!(status, StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED)
}

/// The answer to a HEAD is a refusal without words.
fn is_refused(status: StatusCode) -> bool {
    status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS
}

fn paths(reference: &ImageReference) -> (String, String) {
    let repository = reference.path();
    let path = format!("{repository}/manifests/{}", reference.version());
    (repository, path)
}

/// A 404 means "no" only in a registry's own words: a proxy or a login page that answers 404 has not said anything of the
/// image.
pub(super) fn absent(answer: &Answer) -> bool {
    let definite = |(code, _): &(String, String)| is_definite(code);
    answer.status == StatusCode::NOT_FOUND && wire::error_of(&answer.bytes).as_ref().is_some_and(definite)
}

/// Codes that registries send with a 404 and that say something else than that it is not there.
const OTHERWISE: [&str; 6] = ["UNAUTHORIZED", "DENIED", "UNSUPPORTED", "TOOMANYREQUESTS", "UNAVAILABLE", "UNKNOWN"];

/// Whether the code of an error, in the form that the distribution specification gives it, says that something is not there. Registries
/// have words of their own for that, such as `TAG_EXPIRED`.
fn is_definite(code: &str) -> bool {
    let is_word = (1..=64).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    is_word && !OTHERWISE.contains(&code)
}

/// An answer of success, or what the registry says instead.
pub(super) fn good(answer: Answer) -> Result<Answer, Failure> {
    if answer.status.is_success() {
        return Ok(answer);
    }
    let mut failure = said_no(&answer);
    if failure.cause == Cause::Malformed && answer.bytes.is_empty() {
        failure.detail.push_str(" and no word why");
    }
    Err(failure)
}
