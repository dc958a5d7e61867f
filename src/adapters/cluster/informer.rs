//! What a watch has heard of a cluster: then a pass need not list it.
//!
//! Filled by a list and kept by the watch that goes on from it. Counts only as long as that watch is open; what it says may be
//! some moments old, and each write is checked against the version that it was planned from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use crate::adapters::lock;
use crate::model::{Cause, Ignorance, LiveStream, LiveWorkload, Observed};
use crate::openshift::StreamId;
use crate::ports::{Observation, Workloads};
use crate::source::inert;

/// What was heard so far. Shared by the one that watches and the ones that look.
#[derive(Debug, Default)]
pub struct Informer {
    streams: Mutex<Streams>,
    workloads: Mutex<Followers>,
}

/// Streams by name; the error says why one cannot be read.
type Streams = BTreeMap<Scope, Heard<StreamId, Result<LiveStream, String>>>;
/// Workloads by kind and uid.
type Followers = BTreeMap<(&'static str, Scope), Heard<String, LiveWorkload>>;

/// A namespace; none: all of them.
pub(super) type Scope = Option<String>;

/// What one watch keeps.
#[derive(Debug)]
struct Heard<K, V> {
    /// Who has heard it: another account, or another manager, reads other things into it.
    by: String,
    open: bool,
    /// By key: version and value.
    items: BTreeMap<K, (String, V)>,
    /// Versions at which things went.
    gone: BTreeMap<K, String>,
}

impl<K: Ord, V> Heard<K, V> {
    fn put(&mut self, key: K, version: String, value: V) {
        // A watch that has fallen behind brings what was before our own write; our own write may come after its deletion.
        let number = |version: &str| version.parse::<u128>().ok();
        let known = self.items.get(&key).map(|(known, _)| known).or_else(|| self.gone.get(&key));
        let is_old = known
            .is_some_and(|known| matches!((number(known), number(&version)), (Some(known), Some(now)) if now < known));
        if !is_old {
            self.gone.remove(&key);
            self.items.insert(key, (version, value));
        }
    }
}

impl Informer {
    /// Nothing was heard: another cluster, or another part of it, is watched from now on.
    pub fn clear(&self) {
        lock(&self.streams).clear();
        lock(&self.workloads).clear();
    }

    pub(super) fn streams(&self, by: String, scope: Scope, items: Vec<(StreamId, String, Result<LiveStream, String>)>) {
        let items = items.into_iter().map(|(id, version, live)| (id, (version, live))).collect();
        lock(&self.streams).insert(scope, Heard { by, open: false, items, gone: BTreeMap::new() });
    }

    pub(super) fn workloads(&self, by: String, kind: &'static str, scope: Scope, items: Vec<(String, LiveWorkload)>) {
        let items = items.into_iter().map(|(uid, workload)| (uid, (String::new(), workload))).collect();
        lock(&self.workloads).insert((kind, scope), Heard { by, open: false, items, gone: BTreeMap::new() });
    }

    /// The watch of a scope has begun, or broken off. `kind`: of workloads of that kind; none: of streams.
    pub(super) fn is_open(&self, kind: Option<&'static str>, scope: &Scope, open: bool) {
        match kind {
            None => lock(&self.streams).get_mut(scope).into_iter().for_each(|heard| heard.open = open),
            Some(kind) => {
                lock(&self.workloads).get_mut(&(kind, scope.clone())).into_iter().for_each(|heard| heard.open = open);
            }
        }
    }

    /// A stream is this now; none: it is gone.
    pub(super) fn stream(
        &self,
        scope: &Scope,
        id: StreamId,
        version: String,
        live: Option<Result<LiveStream, String>>,
    ) {
        if let Some(heard) = lock(&self.streams).get_mut(scope) {
            match live {
                Some(live) => heard.put(id, version, live),
                None => {
                    heard.items.remove(&id);
                    heard.gone.insert(id, version);
                }
            }
        }
    }

    /// What we have written ourselves, before it is heard of.
    pub(super) fn wrote(&self, by: &str, id: &StreamId, version: &str, live: &Result<LiveStream, String>) {
        for (scope, heard) in lock(&self.streams).iter_mut().filter(|(_, heard)| heard.by == by) {
            if scope.as_ref().is_none_or(|namespace| *namespace == id.namespace) {
                heard.put(id.clone(), version.to_owned(), live.clone());
            }
        }
    }

    /// A workload is this now; none: it is gone, or follows nothing. Gives what it was.
    pub(super) fn workload(
        &self,
        kind: &'static str,
        scope: &Scope,
        uid: String,
        now: Option<LiveWorkload>,
    ) -> Option<LiveWorkload> {
        let mut workloads = lock(&self.workloads);
        let heard = workloads.get_mut(&(kind, scope.clone()))?;
        match now {
            Some(now) => heard.items.insert(uid, (String::new(), now)),
            None => heard.items.remove(&uid),
        }
        .map(|(_, workload)| workload)
    }

    /// The streams of these namespaces, or of all there are, if watches hear of all of them. Of those in `settled` at their
    /// version, only that they are there.
    pub(super) fn observe(
        &self,
        by: &str,
        namespaces: &BTreeSet<String>,
        everywhere: bool,
        settled: &BTreeMap<StreamId, String>,
    ) -> Option<Observation> {
        let streams = lock(&self.streams);
        let scopes: Vec<Scope> = if everywhere { vec![None] } else { namespaces.iter().cloned().map(Some).collect() };
        let mut seen = Observation::default();
        for scope in &scopes {
            let heard = streams.get(scope).filter(|heard| heard.open && heard.by == by)?;
            for (id, (version, live)) in &heard.items {
                match live {
                    Ok(live) if settled.get(id) == Some(version) => {
                        seen.settled_tags += live.owned.tags.len();
                        seen.settled.insert(id.clone());
                    }
                    Ok(live) => drop(seen.streams.insert(id.clone(), live.clone())),
                    Err(error) => {
                        let asked = inert(&id.to_string(), 300);
                        let ignorance = Ignorance::new(asked, Cause::Malformed, inert(error, 300));
                        seen.unreadable.insert(id.clone(), ignorance);
                    }
                }
            }
        }
        seen.listed = namespaces.iter().map(|namespace| (namespace.clone(), Observed::Known(()))).collect();
        Some(seen)
    }

    /// All workloads of these kinds, if watches hear of all of them.
    pub(super) fn all_workloads(&self, by: &str, kinds: &[&'static str]) -> Option<Workloads> {
        let workloads = lock(&self.workloads);
        let mut all = Workloads::default();
        for kind in kinds {
            let heard = workloads.get(&(*kind, None)).filter(|heard| heard.open && heard.by == by)?;
            all.seen.extend(heard.items.values().map(|(_, workload)| workload.clone()));
        }
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_is_heard_of_late_does_not_bring_back_what_has_gone() {
        let (informer, id) = (Informer::default(), StreamId::new("shop", "web"));
        let is_there = || {
            let seen = informer.observe("us", &BTreeSet::new(), true, &BTreeMap::new()).expect("an open watch");
            seen.unreadable.contains_key(&id)
        };
        let live = Err::<LiveStream, _>("unreadable will do".to_owned());
        informer.streams("us".to_owned(), None, Vec::new());
        informer.is_open(None, &None, true);

        informer.stream(&None, id.clone(), "8".to_owned(), None);
        informer.wrote("us", &id, "7", &live);
        assert!(!is_there(), "written at 7, deleted at 8");

        informer.wrote("us", &id, "9", &live);
        assert!(is_there(), "made anew after that");
        informer.stream(&None, id.clone(), "8".to_owned(), Some(live.clone()));
        assert_eq!(lock(&informer.streams)[&None].items[&id].0, "9", "what was before our write is old");
    }
}
