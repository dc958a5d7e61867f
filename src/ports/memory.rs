//! What is remembered between runs to ask and read less. All of it may vanish at any time.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::model::{Question, Upstream};
use crate::openshift::StreamId;

/// Remembers. Failing to is never an error: the next run asks again.
pub trait Memory: Sync {
    /// Whether anything is kept at all: otherwise nothing needs to be prepared for it.
    fn keeps(&self) -> bool;

    /// Definitions of files by a key of content and options, as `reconcile` has encoded them.
    fn definitions(&self, keys: &[[u8; 32]]) -> BTreeMap<[u8; 32], Vec<u8>>;

    /// Remembers definitions.
    fn keep_definitions(&self, entries: &[([u8; 32], Vec<u8>)]);

    /// What registries said when they were last asked.
    fn upstream(&self, questions: &[Question]) -> BTreeMap<Question, Upstream>;

    /// Remembers answers.
    fn keep_upstream(&self, answers: &BTreeMap<Question, Upstream>);

    /// Streams for which the last plan found nothing to do, under the same rules: target, policy, program.
    fn settled(&self, rules: &str) -> BTreeMap<StreamId, Settled>;

    /// Remembers for which streams there was nothing to do.
    fn keep_settled(&self, rules: &str, settled: &BTreeMap<StreamId, Settled>);
}

/// A stream for which there was nothing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Its version on the target.
    pub version: String,
    /// Hash of its definition.
    pub definition: String,
    /// From when on there may be something to do again.
    pub due: Option<Timestamp>,
}

/// Remembers nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoMemory;

impl Memory for NoMemory {
    fn keeps(&self) -> bool {
        false
    }

    fn definitions(&self, _: &[[u8; 32]]) -> BTreeMap<[u8; 32], Vec<u8>> {
        BTreeMap::new()
    }

    fn keep_definitions(&self, _: &[([u8; 32], Vec<u8>)]) {}

    fn upstream(&self, _: &[Question]) -> BTreeMap<Question, Upstream> {
        BTreeMap::new()
    }

    fn keep_upstream(&self, _: &BTreeMap<Question, Upstream>) {}

    fn settled(&self, _: &str) -> BTreeMap<StreamId, Settled> {
        BTreeMap::new()
    }

    fn keep_settled(&self, _: &str, _: &BTreeMap<StreamId, Settled>) {}
}
