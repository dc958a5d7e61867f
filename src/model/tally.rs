//! What asking registries took.

/// What asking took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Questions: references and lists of tags, each once.
    pub asked: usize,
    /// Of them, those that only had to be confirmed: their bytes are known.
    pub cached: usize,
    /// Manifests fetched: what registries count as a pull.
    pub charged: usize,
    /// Questions refused by policy, or by a registry that asked to be left alone.
    pub refused: usize,
    /// Requests that were answered, those for tokens and configs among them.
    pub requests: usize,
    /// Since the registries were opened.
    pub milliseconds: u128,
}
