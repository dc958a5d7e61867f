//! Looking at the streams of a cluster.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Cause, Ignorance, LiveStream, Observed};
use crate::openshift::StreamId;
use crate::ports::{LiveState, Looking, Observation, PortError, TargetKind, Which, Workloads};
use crate::source::inert;

use super::access::Trouble;
use super::owned::Object;
use super::request::Api;
use super::{Cluster, reply, request};

/// With more namespaces than this, one list of all of them is fewer requests, even where only these are wanted.
const FEW: usize = 3;
/// How often a list is begun anew whose pages have grown too old.
const ANEW: usize = 3;

impl LiveState for Cluster {
    fn kind(&self) -> TargetKind {
        match self.api {
            Api::OpenShift => TargetKind::OpenShift,
            Api::Kubernetes => TargetKind::Kubernetes,
        }
    }

    fn manager(&self) -> Option<&str> {
        Some(&self.owner.manager)
    }

    fn identity(&self) -> String {
        {
            let kind = match self.api {
                Api::OpenShift => "openshift",
                Api::Kubernetes => "kubernetes",
            };
            format!("{kind} {} as {}", self.connection.server, self.owner.manager)
        }
    }

    fn version(&self) -> Option<String> {
        // A cluster counts no changes of its streams that could be asked for in one request.
        None
    }

    async fn observe(&self, looking: Looking<'_>) -> Result<Observation, PortError> {
        let Looking { namespaces, settled, anew } = looking;
        let mut seen = Observation::default();
        // Streams of ours may be left in a namespace that no definition names any more: unless the config says where they can
        // be, all of them are looked at.
        let namespaces: BTreeSet<String> = namespaces.union(&self.namespaces).cloned().collect();
        // Who writes images looks at every stream that workloads may follow.
        let nothing = BTreeMap::new();
        let settled = if self.api == Api::OpenShift { settled } else { &nothing };
        let heard = || self.informer.observe(&self.identity(), &namespaces, self.namespaces.is_empty(), settled);
        if let Some(heard) = (!anew).then(heard).flatten() {
            return Ok(heard);
        }
        if self.namespaces.is_empty() || namespaces.len() > FEW {
            match self.list(None, &mut seen).await {
                Ok(()) => {
                    // One list was fewer requests; what is elsewhere is not our business all the same.
                    if !self.namespaces.is_empty() {
                        seen.streams.retain(|id, _| namespaces.contains(&id.namespace));
                    }
                    seen.listed.extend(namespaces.iter().map(|namespace| (namespace.clone(), Observed::Known(()))));
                    return Ok(seen);
                }
                // Each by itself may be permitted, or at least be said to be unknown.
                Err(Trouble::Refused(refused)) if refused.code != 401 => seen = Observation::default(),
                Err(trouble) => return Err(trouble.failed("list the image streams of the cluster")),
            }
        }
        for namespace in &namespaces {
            let listed = match self.list(Some(namespace), &mut seen).await {
                Ok(()) => Observed::Known(()),
                Err(Trouble::Refused(refused)) if refused.code == 401 => {
                    return Err(Trouble::Refused(refused).failed("log in to the cluster"));
                }
                Err(Trouble::Refused(refused)) if refused.code == 403 => {
                    let detail =
                        format!("{}; grant `list` on `imagestreams` in `{}` there", refused.message, self.api.group());
                    Observed::Unknown(Ignorance::new(format!("namespace {namespace}"), Cause::Forbidden, detail))
                }
                Err(Trouble::Refused(refused)) => {
                    let cause = if refused.code == 429 { Cause::RateLimited } else { Cause::ServerError };
                    Observed::Unknown(Ignorance::new(format!("namespace {namespace}"), cause, refused.message))
                }
                Err(Trouble::Lost(detail)) => {
                    Observed::Unknown(Ignorance::new(format!("namespace {namespace}"), Cause::Unreachable, detail))
                }
            };
            seen.listed.insert(namespace.clone(), listed);
        }
        // If nothing at all can be seen, it is not this or that namespace that is the trouble.
        let unreachable = |listed: &Observed<()>| matches!(listed, Observed::Unknown(ignorance) if ignorance.cause == Cause::Unreachable);
        if let Some(Observed::Unknown(ignorance)) = seen.listed.values().next()
            && seen.listed.values().all(unreachable)
        {
            return Err(Trouble::Lost(ignorance.detail.clone()).failed("reach the cluster"));
        }
        Ok(seen)
    }

    async fn workloads(&self, which: Which<'_>) -> Workloads {
        self.look_at_workloads(which).await
    }
}

/// What is wanted of a list.
pub(super) struct Listed<T> {
    pub(super) items: Vec<T>,
    /// The version of the list as a whole: a watch goes on from there.
    pub(super) version: String,
}

impl Cluster {
    async fn list(&self, namespace: Option<&str>, seen: &mut Observation) -> Result<(), Trouble> {
        let read = |raw| Some(self.live(raw));
        let listed = self.pages(|after| request::list(self.api, namespace, after), read).await?;
        for (id, _, live) in listed.items {
            match live {
                Ok(live) => drop(seen.streams.insert(id, live)),
                // It is there, and nobody can say what it is.
                Err(error) => {
                    let ignorance = Ignorance::new(inert(&id.to_string(), 300), Cause::Malformed, inert(&error, 300));
                    seen.unreadable.insert(id, ignorance);
                }
            }
        }
        Ok(())
    }

    /// A stream as a list or a watch has it: its name, its version, and what it is, or why nobody can say that.
    pub(super) fn live(&self, raw: serde_json::Value) -> (StreamId, String, Result<LiveStream, String>) {
        let object = Object { raw };
        let text = |pointer: &str| object.raw.pointer(pointer).and_then(serde_json::Value::as_str).unwrap_or_default();
        let id = StreamId::new(text("/metadata/namespace"), text("/metadata/name"));
        let version = text("/metadata/resourceVersion").to_owned();
        let live = object.stream().map(|stream| LiveStream { owned: object.owned(&self.owner), stream });
        (id, version, live)
    }

    /// What is wanted of all objects of a list, page by page. A list that ends early is no list. One whose pages grew too old while it was read
    /// (410) is read anew.
    pub(super) async fn pages<T>(
        &self,
        page: impl Fn(Option<&str>) -> http::Request<Vec<u8>>,
        read: impl Fn(serde_json::Value) -> Option<T>,
    ) -> Result<Listed<T>, Trouble> {
        let mut items = Vec::new();
        let mut next: Option<String> = None;
        let mut anew = 0;
        loop {
            let body = match self.connection.send(page(next.as_deref())).await {
                Err(Trouble::Refused(refused)) if refused.code == 410 && next.is_some() && anew < ANEW => {
                    anew += 1;
                    next = None;
                    items.clear();
                    continue;
                }
                answer => answer?,
            };
            let page = reply::page(&body).map_err(Trouble::Lost)?;
            items.extend(page.items.into_iter().filter_map(&read));
            let version = page.version;
            match page.next {
                Some(token) if next.as_ref() != Some(&token) => next = Some(token),
                Some(token) => {
                    return Err(Trouble::Lost(format!("the list repeats its page `{}`", inert(&token, 60))));
                }
                None => return Ok(Listed { items, version }),
            }
        }
    }
}
