//! Registries, after an authenticated plan: what it says of a reference counts, and the digest that it names is what is looked at.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{Attached, ImageFacts, Observed, Packages, Question, Resolution, Tally};
use crate::openshift::Digest;
use crate::ports::Registry;

/// What is asked of registries, and what has been answered before.
pub(super) struct Answered<R> {
    /// Whom the rest is asked of.
    pub(super) asked: R,
    /// What references are.
    pub(super) digests: Arc<BTreeMap<Question, Digest>>,
}

impl<R: Registry> Registry for Answered<R> {
    async fn resolve(&self, question: &Question) -> Observed<Resolution> {
        let Some(digest) = self.digests.get(question) else { return self.asked.resolve(question).await };
        if let Some(known) = self.asked.known(digest) {
            return Observed::Known(known);
        }
        self.asked.resolve(&question.at(digest)).await
    }

    async fn fetch(&self, image: &Question) -> Observed<()> {
        self.asked.fetch(image).await
    }

    fn known(&self, digest: &Digest) -> Option<Resolution> {
        self.asked.known(digest)
    }

    fn forbids(&self, question: &Question) -> Option<String> {
        self.asked.forbids(question)
    }

    async fn tags(&self, repository: &Question) -> Observed<Vec<String>> {
        self.asked.tags(repository).await
    }

    async fn image(&self, image: &Question, platform: (&str, &str)) -> Observed<ImageFacts> {
        self.asked.image(image, platform).await
    }

    fn base(&self, image: &ImageFacts) -> Option<String> {
        self.asked.base(image)
    }

    async fn attached(&self, image: &Question) -> Attached {
        self.asked.attached(image).await
    }

    async fn packages(&self, image: &Question) -> Observed<Packages> {
        self.asked.packages(image).await
    }

    fn tally(&self) -> Tally {
        self.asked.tally()
    }
}
