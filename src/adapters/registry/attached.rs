//! What others have attached to an image: signatures, attestations, lists of what is in it.
//!
//! Asked is the registry's list of referrers (OCI distribution specification 1.1), or, of a registry that has none, the tag that
//! stands for it; then the tags that cosign writes, for what was not found yet. None of it is verified: it is there, or it is not.

use std::sync::Arc;

use crate::model::{Attached, Observed, Question};
use crate::openshift::{Digest, ImageReference};

use super::failure::Failure;
use super::host::Host;
use super::http::{Ask, Http, Room};
use super::listing::same_host;
use super::manifests::good;
use super::mirrors::Place;
use super::{Registries, Target, join, lacks, wire};

/// Pages of a list of referrers.
const PAGES: usize = 10;

/// What one place says of an image.
struct Said {
    signed: Result<bool, Failure>,
    attested: Result<bool, Failure>,
}

impl Registries {
    /// Everything that is attached to the image of a digest. That there is nothing, only a source can say.
    pub(super) async fn all_attached(&self, image: &Question) -> Attached {
        let asked = image.reference.to_string();
        let (mut signed, mut attested) = (Vec::new(), Vec::new());
        match (self.places(image), &image.reference.digest) {
            (Ok(places), Some(digest)) => {
                for place in places {
                    let said = self.attached_at(&place, digest).await;
                    for (all, said) in [(&mut signed, said.signed), (&mut attested, said.attested)] {
                        all.push(match said {
                            Ok(false) if !place.is_source => Err(lacks(&place)),
                            said => said,
                        });
                    }
                }
            }
            (Err(failure), _) => {
                signed.push(Err(failure.clone()));
                attested.push(Err(failure));
            }
            (Ok(_), None) => {}
        }
        Attached { signed: told(signed, &asked), attested: told(attested, &asked) }
    }

    async fn attached_at(&self, place: &Place, digest: &Digest) -> Said {
        let target = self.target(place);
        let tagged = |end: &str| ImageReference {
            tag: format!("{}{end}", digest.as_str().replace(':', "-")),
            digest: None,
            ..place.reference.clone()
        };
        let referrers = self.referrers(place, &target, digest, &tagged("")).await;
        let is_any = |is_it: fn(&wire::Referrer) -> bool| match &referrers {
            Ok(referrers) => Ok(referrers.iter().any(is_it)),
            Err(failure) => Err(failure.clone()),
        };
        let mut said =
            Said { signed: is_any(wire::Referrer::is_signature), attested: is_any(wire::Referrer::is_attestation) };
        // What was found one way is not looked for in another.
        for (said, end) in [(&mut said.signed, ".sig"), (&mut said.attested, ".att")] {
            if *said == Ok(true) {
                continue;
            }
            match self.is_there(&target, &tagged(end)).await {
                Ok(true) => *said = Ok(true),
                Ok(false) => {}
                Err(failure) => *said = Err(failure),
            }
        }
        said
    }

    /// What refers to a digest, by the registry's list or by the tag that stands for one.
    async fn referrers(
        &self,
        place: &Place,
        target: &Target,
        digest: &Digest,
        tag: &ImageReference,
    ) -> Result<Vec<wire::Referrer>, Failure> {
        if let Target::Host(host) = target
            && let Some(referrers) = self.http.referrers(&place.reference, host, digest).await?
        {
            return Ok(referrers);
        }
        match self.get(target, tag).await? {
            Some(manifest) => wire::referrers(&manifest.bytes).map_err(Failure::malformed),
            None => Ok(Vec::new()),
        }
    }

    async fn is_there(&self, target: &Target, reference: &ImageReference) -> Result<bool, Failure> {
        match target {
            Target::Host(host) => self.http.head(reference, host).await.map(|hint| hint.is_some()),
            Target::Folder(_) => self.get(target, reference).await.map(|it| it.is_some()),
        }
    }
}

/// What all places say: one that has it is enough.
fn told(said: Vec<Result<bool, Failure>>, asked: &str) -> Observed<bool> {
    let mut failures = Vec::new();
    for said in said {
        match said {
            Ok(is_there) => return Observed::Known(is_there),
            Err(failure) => failures.push(failure),
        }
    }
    join(failures).of(asked)
}

impl Http {
    /// What refers to a digest, all pages of it; none where the registry has no such lists.
    async fn referrers(
        &self,
        reference: &ImageReference,
        host: &Arc<Host>,
        digest: &Digest,
    ) -> Result<Option<Vec<wire::Referrer>>, Failure> {
        let repository = reference.path();
        if host.has_no_referrers(&repository) {
            return Ok(None);
        }
        let mut path = format!("{repository}/referrers/{digest}");
        let mut referrers = Vec::new();
        for page in 0..PAGES {
            let ask = Ask { get: true, path: &path, repository: &repository, room: Room::Memory(wire::MANIFEST_LIMIT) };
            let answer = self.ask(host, ask).await?;
            // A registry with lists answers with an empty one: it never says that there is none.
            if page == 0 && matches!(answer.status.as_u16(), 404 | 405 | 501) {
                host.tell_no_referrers(&repository);
                return Ok(None);
            }
            let answer = good(answer)?;
            referrers.extend(wire::referrers(&answer.bytes).map_err(Failure::malformed)?);
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
