//! What others have attached to an image: signatures, attestations, lists of what is in it.
//!
//! Asked is the registry's list of referrers (OCI distribution specification 1.1), or, of a registry that has none, the tag that
//! stands for it; then the tags that cosign writes, for what was not found yet. None of it is verified: it is there, or it is not.

use std::sync::Arc;

use crate::model::{Attached, Digest, ImageReference, Question};

use super::failure::Failure;
use super::host::Host;
use super::http::{Ask, Http, Room};
use super::listing::same_host;
use super::manifests::good;
use super::mirrors::Place;
use super::{Registries, Target, join, wire};

/// Pages of a list of referrers, and entries of all of them.
const PAGES: usize = 10;
const ENTRIES: usize = 1000;

impl Registries {
    /// Everything that is attached to the image of a digest.
    ///
    /// # Errors
    ///
    /// When nobody who may know has an answer.
    pub(super) async fn all_attached(&self, image: &Question) -> Result<Attached, Failure> {
        let Some(digest) = &image.reference.digest else {
            return Err(Failure::malformed("only a digest can be looked at"));
        };
        let mut attached = Attached::default();
        let mut failures = Vec::new();
        for place in self.places(image)? {
            match self.attached_at(&place, digest, &mut attached).await {
                Ok(()) if place.is_source => return Ok(attached),
                // A mirror need not have it all.
                Ok(()) => {}
                Err(failure) => failures.push(failure),
            }
        }
        if failures.is_empty() || attached.is_signed { Ok(attached) } else { Err(join(failures)) }
    }

    async fn attached_at(&self, place: &Place, digest: &Digest, attached: &mut Attached) -> Result<(), Failure> {
        let target = self.target(place);
        let tagged = |end: &str| ImageReference {
            tag: format!("{}{end}", digest.as_str().replace(':', "-")),
            digest: None,
            ..place.reference.clone()
        };
        let referrers = match &target {
            Target::Host(host) => self.http.referrers(&place.reference, host, digest).await?,
            Target::Folder(_) => None,
        };
        let referrers = match referrers {
            Some(referrers) => referrers,
            None => match self.get(&target, &tagged("")).await? {
                Some(manifest) => wire::referrers(&manifest.bytes).map_err(Failure::malformed)?,
                None => Vec::new(),
            },
        };
        for referrer in referrers {
            attached.is_signed |= referrer.is_signature();
            attached.is_attested |= referrer.is_attestation();
            *attached.kinds.entry(referrer.kind).or_default() += 1;
        }
        if !attached.is_signed && self.is_there(&target, &tagged(".sig")).await? {
            attached.is_signed = true;
            attached.kinds.insert("cosign signature".to_owned(), 1);
        }
        if !attached.is_attested && self.is_there(&target, &tagged(".att")).await? {
            attached.is_attested = true;
            attached.kinds.insert("cosign attestation".to_owned(), 1);
        }
        Ok(())
    }

    async fn is_there(&self, target: &Target, reference: &ImageReference) -> Result<bool, Failure> {
        match target {
            Target::Host(host) => self.http.head(reference, host).await.map(|hint| hint.is_some()),
            Target::Folder(_) => self.get(target, reference).await.map(|it| it.is_some()),
        }
    }
}

impl Http {
    /// What refers to a digest, all pages of it; none where the registry has no such lists.
    async fn referrers(
        &self,
        reference: &ImageReference,
        host: &Arc<Host>,
        digest: &Digest,
    ) -> Result<Option<Vec<wire::Referrer>>, Failure> {
        if host.has_no_referrers() {
            return Ok(None);
        }
        let repository = reference.path();
        let mut path = format!("{repository}/referrers/{digest}");
        let mut referrers = Vec::new();
        for page in 0..PAGES {
            let ask = Ask { get: true, path: &path, repository: &repository, room: Room::Memory(wire::MANIFEST_LIMIT) };
            let answer = self.ask(host, ask).await?;
            // A registry with lists answers with an empty one: it never says that there is none.
            if page == 0 && matches!(answer.status.as_u16(), 404 | 405 | 501) {
                host.tell_no_referrers();
                return Ok(None);
            }
            let answer = good(answer)?;
            referrers.extend(wire::referrers(&answer.bytes).map_err(Failure::malformed)?);
            if referrers.len() > ENTRIES {
                break;
            }
            let link = answer.header("link").and_then(wire::next_page);
            path = match link.map(|next| same_host(&answer, next)) {
                None => return Ok(Some(referrers)),
                Some(Some(next)) => next,
                Some(None) => return Err(Failure::malformed("the next page of referrers is on another host")),
            };
        }
        Err(Failure::malformed("the list of referrers does not end"))
    }
}
