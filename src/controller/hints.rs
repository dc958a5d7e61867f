//! Repositories that a registry says something was pushed to: where to look at once, although nothing is due.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use crate::openshift::normal_host;

/// Names that are kept until they were looked at; of more, none in particular is.
const MOST: usize = 256;

/// Names by the lane that has still to look at them.
#[derive(Debug, Default)]
pub struct Hints {
    lanes: Mutex<BTreeMap<String, BTreeSet<String>>>,
}

impl Hints {
    /// For these lanes.
    pub fn new<'a>(lanes: impl IntoIterator<Item = &'a str>) -> Self {
        let lanes = lanes.into_iter().map(|lane| (lane.to_owned(), BTreeSet::new())).collect();
        Self { lanes: Mutex::new(lanes) }
    }

    /// Something was pushed there.
    pub fn add(&self, repositories: Vec<String>) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        for names in lanes.values_mut() {
            names.extend(repositories.iter().take(MOST.saturating_sub(names.len())).cloned());
        }
    }

    /// What a lane has to look at; it is then no longer kept.
    pub fn take(&self, lane: &str) -> BTreeSet<String> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.get_mut(lane).map(std::mem::take).unwrap_or_default()
    }

    /// A lane has taken them, and come to nothing.
    pub fn put_back(&self, lane: &str, names: BTreeSet<String>) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = lanes.get_mut(lane) {
            kept.extend(names.into_iter().take(MOST.saturating_sub(kept.len())));
        }
    }
}

/// Whether a name, with or without its host, is that repository (`host/path`).
pub fn names(hint: &str, repository: &str) -> bool {
    let same = |(host, path): (&str, &str)| {
        let is_host =
            hint.split_once('/').is_some_and(|(named, rest)| rest == path && normal_host(named) == normal_host(host));
        path == hint || is_host
    };
    repository.split_once('/').is_some_and(same)
}
