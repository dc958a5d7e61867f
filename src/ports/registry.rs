//! What is asked of registries.

use crate::model::{Attached, Cause, Ignorance, ImageFacts, Observed, Packages, Question, Resolution, Tally};
use crate::openshift::Digest;

/// Answers what references are now. Never an error: what cannot be said is `Unknown`, with the reason.
pub trait Registry: Sync {
    /// What a reference resolves to, as the registry says. Of an image that nobody has fetched this is the registry's word;
    /// lists were read.
    fn resolve(&self, question: &Question) -> impl Future<Output = Observed<Resolution>> + Send;

    /// Sees the bytes of an image that is named by its digest: they are there, and are what the digest says.
    fn fetch(&self, image: &Question) -> impl Future<Output = Observed<()>> + Send;

    /// What a digest resolves to, if its bytes were seen before. Asks nobody.
    fn known(&self, digest: &Digest) -> Option<Resolution>;

    /// Why policy forbids to import from there, if it does. Asks nobody.
    fn forbids(&self, question: &Question) -> Option<String> {
        let _ = question;
        None
    }

    /// The tags of a repository, all pages of them. A list that may lack some is `Unknown`.
    fn tags(&self, repository: &Question) -> impl Future<Output = Observed<Vec<String>>> + Send;

    /// What the image of a digest is, of a list the one for that operating system and architecture. Of images that were fetched
    /// nobody is asked; of others twice at most, and once more for a list.
    fn image(&self, image: &Question, platform: (&str, &str)) -> impl Future<Output = Observed<ImageFacts>> + Send {
        let ignorance = Ignorance::new(image.reference.to_string(), Cause::Refused, "images are not looked at there");
        let _ = platform;
        async { Observed::Unknown(ignorance) }
    }

    /// The image that another one is made from, as it was pulled: of those that were seen, the one with the most layers that are
    /// the lowest of this one. Asks nobody.
    fn base(&self, image: &ImageFacts) -> Option<String> {
        let _ = image;
        None
    }

    /// What others have attached to the image of a digest, in ways that are found without knowing who. Up to seven requests.
    fn attached(&self, image: &Question) -> impl Future<Output = Attached> + Send {
        let asked = image.reference.to_string();
        let unknown = Observed::Unknown(Ignorance::new(asked, Cause::Refused, "nobody knows there what is attached"));
        async { Attached { signed: unknown.clone(), attested: unknown } }
    }

    /// What is installed in the image of a digest, that was looked at and is no list. Its layers are downloaded.
    fn packages(&self, image: &Question) -> impl Future<Output = Observed<Packages>> + Send {
        let ignorance = Ignorance::new(image.reference.to_string(), Cause::Refused, "layers are not looked into there");
        async { Observed::Unknown(ignorance) }
    }

    /// What it took so far.
    fn tally(&self) -> Tally;
}
