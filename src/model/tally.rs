//! What asking registries took.

use std::collections::BTreeMap;

/// What asking took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// What each host made of it.
    pub hosts: BTreeMap<String, HostTally>,
}

/// What a host made of being asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostTally {
    /// Requests that it answered, whatever it said.
    pub answered: usize,
    /// Requests that it could not answer.
    pub broken: usize,
    /// Requests that were too many for it.
    pub limited: usize,
    /// What is left of its quota, if it has said so.
    pub left: Option<u64>,
}
