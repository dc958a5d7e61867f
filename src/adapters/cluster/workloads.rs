//! Looking at the workloads that follow tags.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;

use crate::model::{Cause, Ignorance, LiveWorkload, Manner, OTHER_NAMESPACES, WorkloadId};
use crate::ports::{LiveState, Which, Workloads};
use crate::rules;

use super::access::Trouble;
use super::request::{Api, KINDS, Kind};
use super::{Cluster, request};

/// So many of one kind and namespace are looked at one by one; of more, all are listed.
const FEW: usize = 5;
/// Lists and looks under way at once.
const AT_ONCE: usize = 16;

/// One request's share of what is looked at.
enum Look {
    /// All of a kind; where that is not permitted, those of these namespaces.
    Kind(Kind, Vec<String>),
    /// Those of a kind in a namespace.
    Namespace(Kind, String),
    /// One.
    One(Kind, WorkloadId),
}

/// What one look gave.
#[derive(Default)]
struct Looked {
    all: Workloads,
    /// Kinds that may not be looked at, and where.
    forbidden: Vec<(String, Kind)>,
}

impl Cluster {
    pub(super) async fn look_at_workloads(&self, which: Which<'_>) -> Workloads {
        if let (Which::All { anew: false, .. }, Api::Kubernetes) = (which, self.api) {
            let kinds: Vec<&'static str> = self.kinds.iter().copied().collect();
            if let Some(heard) = self.informer.all_workloads(&self.identity(), &kinds) {
                return heard;
            }
        }
        let looks: Vec<Look> = match which {
            Which::All { namespaces, .. } => {
                let kinds = KINDS.iter().filter(|kind| match self.api {
                    // Of Pods there are too many to say that they follow nothing.
                    Api::OpenShift => kind.name != "Pod",
                    Api::Kubernetes => self.kinds.contains(kind.name),
                });
                kinds.map(|kind| Look::Kind(*kind, namespaces.iter().cloned().collect())).collect()
            }
            Which::These(ids) => these(ids),
        };
        let results: Vec<Looked> =
            futures::stream::iter(looks).map(|look| self.look_at(look)).buffered(AT_ONCE).collect().await;
        let mut all = Workloads::default();
        let mut forbidden: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for looked in results {
            all.seen.extend(looked.all.seen);
            all.unseen.extend(looked.all.unseen);
            for (place, kind) in looked.forbidden {
                forbidden.entry(place).or_default().push(format!("`{}`", resource(kind)));
            }
        }
        // One account, one role: what is missing from it is said once.
        all.unseen.extend(forbidden.into_iter().map(|(place, kinds)| {
            let why = format!("grant `get` and `list` on {}", kinds.join(", "));
            Ignorance::new(place, Cause::Forbidden, why)
        }));
        if let Which::These(ids) = which {
            all.seen.retain(|workload| ids.contains(&workload.id));
        }
        all
    }

    /// Who acts on triggers says how they are read.
    fn manner(&self) -> Manner {
        match self.api {
            Api::OpenShift => Manner::OpenShift,
            Api::Kubernetes => Manner::Ours,
        }
    }

    async fn look_at(&self, look: Look) -> Looked {
        let mut looked = Looked::default();
        match look {
            Look::Kind(kind, namespaces) => {
                let listed = self.list_workloads(kind, None).await;
                let narrow = matches!(&listed, Err(Trouble::Refused(refused)) if refused.code == 403);
                looked.add(listed, OTHER_NAMESPACES, kind);
                for namespace in namespaces.iter().filter(|_| narrow) {
                    let listed = self.list_workloads(kind, Some(namespace)).await;
                    looked.add(listed, &format!("workloads in the namespace {namespace}"), kind);
                }
            }
            Look::Namespace(kind, namespace) => {
                let listed = self.list_workloads(kind, Some(&namespace)).await;
                looked.add(listed, &format!("workloads in the namespace {namespace}"), kind);
            }
            Look::One(kind, id) => {
                let seen = self.workload(kind, &id).await;
                looked.add(seen, &format!("workloads in the namespace {}", id.namespace), kind);
            }
        }
        looked
    }

    async fn workload(&self, kind: Kind, id: &WorkloadId) -> Result<Vec<LiveWorkload>, Trouble> {
        let body = self.connection.send(request::workload(kind, id)).await?;
        let object = serde_json::from_slice(&body).map_err(|error| Trouble::Lost(error.to_string()))?;
        Ok(rules::read_workload(kind.name, &object, self.manner()).into_iter().collect())
    }

    async fn list_workloads(&self, kind: Kind, namespace: Option<&str>) -> Result<Vec<LiveWorkload>, Trouble> {
        if kind.is_rare && self.manner() == Manner::Ours {
            return self.list_rare(kind, namespace).await;
        }
        // Of most objects nothing is kept.
        let read = |object| rules::read_workload(kind.name, &object, self.manner());
        Ok(self.pages(|after| request::workloads(kind, namespace, after), read).await?.items)
    }

    /// Those that somebody has annotated, one by one. Where a list of metadata was cut short or is older than what is there,
    /// the workload itself says what it follows.
    async fn list_rare(&self, kind: Kind, namespace: Option<&str>) -> Result<Vec<LiveWorkload>, Trouble> {
        let read = |object: serde_json::Value| {
            let text = |name: &str| object["metadata"][name].as_str().unwrap_or_default().to_owned();
            let id = WorkloadId { kind: kind.name.to_owned(), namespace: text("namespace"), name: text("name") };
            rules::may_follow(&object).then_some(id)
        };
        let ids = self.pages(|after| request::workloads(kind, namespace, after), read).await?.items;
        let looks =
            futures::stream::iter(ids).map(|id| async move { self.workload(kind, &id).await }).buffered(AT_ONCE);
        let mut all = Vec::new();
        for seen in looks.collect::<Vec<_>>().await {
            match seen {
                // It has gone meanwhile.
                Err(Trouble::Refused(refused)) if refused.code == 404 => {}
                seen => all.extend(seen?),
            }
        }
        Ok(all)
    }
}

impl Looked {
    fn add(&mut self, seen: Result<Vec<LiveWorkload>, Trouble>, place: &str, kind: Kind) {
        let asked = || format!("{} among the {place}", kind.resource);
        let ignorance = match seen {
            Ok(seen) => return self.all.seen.extend(seen),
            // A cluster without that API has none of them; a workload or namespace that is gone follows nothing.
            Err(Trouble::Refused(refused)) if refused.code == 404 => return,
            Err(Trouble::Refused(refused)) if matches!(refused.code, 401 | 403) => {
                return self.forbidden.push((place.to_owned(), kind));
            }
            Err(Trouble::Refused(refused)) => Ignorance::new(asked(), Cause::ServerError, refused.message),
            Err(Trouble::Lost(detail)) => Ignorance::new(asked(), Cause::Unreachable, detail),
        };
        self.all.unseen.push(ignorance);
    }
}

/// Few of a namespace one by one, many by list.
fn these(ids: &BTreeSet<WorkloadId>) -> Vec<Look> {
    let mut groups: BTreeMap<(&str, &str), Vec<&WorkloadId>> = BTreeMap::new();
    for id in ids {
        groups.entry((&id.kind, &id.namespace)).or_default().push(id);
    }
    let mut looks = Vec::new();
    for ((name, namespace), ids) in groups {
        let Some(kind) = KINDS.iter().copied().find(|kind| kind.name == name) else { continue };
        if ids.len() > FEW {
            looks.push(Look::Namespace(kind, namespace.to_owned()));
        } else {
            looks.extend(ids.into_iter().map(|id| Look::One(kind, id.clone())));
        }
    }
    looks
}

fn resource(kind: Kind) -> String {
    if kind.group.is_empty() { kind.resource.to_owned() } else { format!("{}.{}", kind.resource, kind.group) }
}
