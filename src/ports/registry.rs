//! What is asked of registries.

use crate::model::{Observed, Question, Resolution};

/// Answers what references are now. Never an error: what cannot be said is `Unknown`, with the reason.
pub trait Registry: Sync {
    /// What a reference resolves to.
    fn resolve(&self, question: &Question) -> impl Future<Output = Observed<Resolution>> + Send;

    /// The tags of a repository, all pages of them.
    fn tags(&self, repository: &Question) -> impl Future<Output = Observed<Vec<String>>> + Send;
}
