//! Watching a cluster: somebody else has changed a stream, or a workload that follows one. An event is only a reason to look.

use std::time::{Duration, Instant};

use futures::StreamExt;
use http::Request;
use http_body_util::BodyExt;
use serde_json::Value;

use crate::model::{Backoff, LiveWorkload, Manner};
use crate::rules;

use crate::ports::LiveState;

use super::access::{Connection, Trouble};
use super::informer::Scope;
use super::live::Listed;
use super::request::{Api, KINDS, Kind};
use super::{Cluster, request};

/// After a watch has broken off; doubled each time that nothing came of it.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MOST: Duration = Duration::from_secs(60);
const BACKOFF: Backoff = Backoff::doubling(PAUSE, PAUSE_MOST);
/// The server ends a watch before that: a connection that is silent for longer is broken.
const SILENCE: Duration = Duration::from_secs(300);
/// A watch that has lasted for so long has ended as it should.
const LASTED: Duration = Duration::from_secs(10);
/// Bytes of one event: an object of etcd has at most 1.5 MiB, and JSON may need more.
const EVENT: usize = 8 * 1024 * 1024;

/// What is watched.
#[derive(Clone, Copy, Debug)]
enum Watched {
    Streams(Api),
    Workloads(Kind),
}

/// How a watch has ended.
enum Ended {
    /// The server ends every watch after a while: from this version it goes on.
    At(String),
    /// The version is too old: what has happened since is not known.
    TooOld,
    /// It may not be watched.
    Forbidden,
}

impl Cluster {
    /// Calls `changed` when somebody else has changed a stream, or an image or trigger of a workload whose images are ours to
    /// give. Ends when the login is not accepted any more.
    /// `lost`: what has happened until now was not heard of.
    pub async fn watch(&self, lost: bool, changed: impl Fn() + Sync) {
        let mut all = vec![Watched::Streams(self.api)];
        // On OpenShift its own controllers see to workloads.
        if self.api == Api::Kubernetes {
            let kinds = KINDS.iter().filter(|kind| self.kinds.contains(kind.name) && !kind.is_rare);
            all.extend(kinds.map(|kind| Watched::Workloads(*kind)));
        }
        let mut watches = futures::stream::FuturesUnordered::new();
        for watched in &all {
            if self.namespaces.is_empty() {
                watches.push(self.watch_one(*watched, None, lost, &changed));
            }
            for namespace in &self.namespaces {
                watches.push(self.watch_one(*watched, Some(namespace), lost, &changed));
            }
        }
        watches.next().await;
        drop(watches);
        self.informer.clear();
        tokio::time::sleep(PAUSE_MOST).await;
    }

    /// Ends when the login is not accepted: where it may not be watched now, it may be later.
    async fn watch_one(&self, watched: Watched, namespace: Option<&str>, lost: bool, changed: &(impl Fn() + Sync)) {
        let scope: Scope = namespace.map(str::to_owned);
        let kind = match watched {
            Watched::Streams(_) => None,
            Watched::Workloads(kind) => Some(kind.name),
        };
        let mut version: Option<String> = None;
        let mut failures = 0_u32;
        let mut was_lost = lost;
        loop {
            let begun = Instant::now();
            let result = match &version {
                // Where to begin; what was before, a pass has seen or will see.
                None => {
                    let list = self.begin(watched, &scope).await.map(Ended::At);
                    // Since it was last heard of, anything may have happened.
                    if list.is_ok() && std::mem::replace(&mut was_lost, false) {
                        changed();
                    }
                    list
                }
                Some(version) => {
                    let request = request::watch(&self.listed(watched, namespace), version);
                    let on_open = || self.informer.is_open(kind, &scope, true);
                    let on_event = |event: Value| self.is_change(watched, &scope, event).then(changed).is_some();
                    self.connection.follow(request, version, on_open, on_event).await
                }
            };
            self.informer.is_open(kind, &scope, false);
            was_lost |= !matches!(result, Ok(Ended::At(_)));
            match result {
                Ok(Ended::At(at)) => {
                    let is_first = version.is_none();
                    let has_moved = version.as_ref() != Some(&at);
                    version = Some(at);
                    // A server that ends watches at once is not asked again at once.
                    if is_first || begun.elapsed() > LASTED || has_moved {
                        if !is_first {
                            failures = 0;
                        }
                        tokio::time::sleep(PAUSE / 10).await;
                        continue;
                    }
                }
                Ok(Ended::TooOld) => version = None,
                // A role may be on its way, or the resource itself.
                Ok(Ended::Forbidden) => (version, failures) = (None, u32::MAX),
                // This login is not good any more: another one may be.
                Err(Trouble::Refused(refused)) if refused.code == 401 => return,
                Err(Trouble::Refused(refused)) if matches!(refused.code, 403 | 404) => failures = u32::MAX,
                Err(Trouble::Refused(_) | Trouble::Lost(_)) => {}
            }
            tokio::time::sleep(BACKOFF.after(failures)).await;
            failures = failures.saturating_add(1);
        }
    }

    fn listed(&self, watched: Watched, namespace: Option<&str>) -> Request<Vec<u8>> {
        match watched {
            Watched::Streams(api) => request::list(api, namespace, None),
            Watched::Workloads(kind) => request::workloads(kind, namespace, None),
        }
    }

    /// Lists everything once: what there is, and the version that the watch goes on from.
    async fn begin(&self, watched: Watched, scope: &Scope) -> Result<String, Trouble> {
        let version = match watched {
            Watched::Streams(api) => {
                let list = |after: Option<&str>| request::list(api, scope.as_deref(), after);
                let Listed { items, version } = self.pages(list, |raw| Some(self.live(raw))).await?;
                self.informer.streams(self.identity(), scope.clone(), items);
                version
            }
            Watched::Workloads(kind) => {
                let list = |after: Option<&str>| request::workloads(kind, scope.as_deref(), after);
                let read = |object: Value| {
                    rules::read_workload(kind.name, &object, Manner::Ours)
                        .map(|workload| (workload.uid.clone(), workload))
                };
                let Listed { items, version } = self.pages(list, read).await?;
                self.informer.workloads(self.identity(), kind.name, scope.clone(), items);
                version
            }
        };
        Some(version)
            .filter(|version| !version.is_empty())
            .ok_or_else(|| Trouble::Lost("the list has no version".to_owned()))
    }

    /// Whether an event is of something that somebody else has changed, and that matters here. It is kept in either case.
    fn is_change(&self, watched: Watched, scope: &Scope, event: Value) -> bool {
        let is_gone = event["type"] == "DELETED";
        let is_ours = !is_gone && is_last_written_by(&event["object"], &self.owner.manager);
        let mut event = event;
        let object = event["object"].take();
        match watched {
            Watched::Streams(_) => {
                let (id, version, live) = self.live(object);
                self.informer.stream(scope, id, version, (!is_gone).then_some(live));
                !is_ours
            }
            Watched::Workloads(kind) => {
                let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
                let now = (!is_gone).then(|| rules::read_workload(kind.name, &object, Manner::Ours)).flatten();
                let before = self.informer.workload(kind.name, scope, uid, now.clone());
                // Its status changes all the time, and how far a roll-out has come matters only where it ends.
                let telling =
                    |it: Option<LiveWorkload>| it.map(|it| LiveWorkload { rollout: settled(it.rollout), ..it });
                let is_news = !is_gone && telling(before) != telling(now.clone());
                // That it follows nothing any more is one, too.
                is_news && (now.is_none() || !is_ours)
            }
        }
    }
}

/// Words of a roll-out that change with every pod are one.
fn settled(rollout: crate::model::Rollout) -> crate::model::Rollout {
    use crate::model::Rollout;
    match rollout {
        Rollout::Progressing(_) | Rollout::Complete => Rollout::Complete,
        Rollout::Failed(_) => Rollout::Failed(String::new()),
        Rollout::Paused => Rollout::Paused,
        Rollout::None => Rollout::None,
    }
}

/// Whether the last manager that wrote an object is that one, and no other in the same second (the times of managed fields
/// have no more).
fn is_last_written_by(object: &Value, manager: &str) -> bool {
    let entries = object["metadata"]["managedFields"].as_array().map_or(&[][..], Vec::as_slice);
    let last = entries.iter().filter_map(|entry| entry["time"].as_str()).max();
    let mut writers = entries.iter().filter(|entry| entry["time"].as_str() == last).peekable();
    last.is_some() && writers.peek().is_some() && writers.all(|entry| entry["manager"] == manager)
}

impl Connection {
    /// Reads a watch until it ends. `on_event` hears of every event but bookmarks.
    async fn follow(
        &self,
        request: Request<Vec<u8>>,
        from: &str,
        on_open: impl FnOnce(),
        mut on_event: impl FnMut(Value) -> bool,
    ) -> Result<Ended, Trouble> {
        let mut body = match self.stream(request).await {
            Ok(body) => body,
            Err(Trouble::Refused(refused)) if refused.code == 410 => return Ok(Ended::TooOld),
            Err(Trouble::Refused(refused)) if matches!(refused.code, 401 | 403) => return Ok(Ended::Forbidden),
            Err(trouble) => return Err(trouble),
        };
        on_open();
        let mut version = from.to_owned();
        let mut buffer: Vec<u8> = Vec::new();
        loop {
            // However it breaks off, what was heard was heard.
            let frame = tokio::time::timeout(SILENCE, body.frame()).await.ok().flatten();
            let Some(Ok(frame)) = frame else { return Ok(Ended::At(version)) };
            let Ok(data) = frame.into_data() else { continue };
            buffer.extend_from_slice(&data);
            while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = buffer.drain(..=end).collect();
                let Ok(event) = serde_json::from_slice::<Value>(&line) else { return Ok(Ended::TooOld) };
                // Whatever else may be wrong: from where it would go on is not known.
                if event["type"] == "ERROR" {
                    return Ok(Ended::TooOld);
                }
                if let Some(at) = event["object"]["metadata"]["resourceVersion"].as_str() {
                    version = at.to_owned();
                }
                if event["type"] != "BOOKMARK" {
                    on_event(event);
                }
            }
            if buffer.len() > EVENT {
                return Ok(Ended::TooOld);
            }
        }
    }
}
