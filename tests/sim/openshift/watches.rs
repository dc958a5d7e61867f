//! Watches: what has changed since a version, as soon as there is something; ended by the server after a moment.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Reply, Request, World, managed};

/// Looks for a change this often, and so many times, before the server ends the watch.
const EVERY: Duration = Duration::from_millis(20);
const TIMES: usize = 100;

/// The answer to a watch; none for another request.
pub(super) fn watch(world: &Arc<Mutex<World>>, request: &Request) -> Option<Reply> {
    let (path, query) = request.path.split_once('?')?;
    if !query.contains("watch=1") {
        return None;
    }
    assert!(query.contains("allowWatchBookmarks=true") && query.contains("timeoutSeconds="), "{query}");
    let mut from = query.split('&').find_map(|part| part.strip_prefix("resourceVersion="))?.parse::<u64>().unwrap();
    let resource = path.rsplit('/').next()?.to_owned();
    let world = Arc::clone(world);
    let mut left = Some(TIMES);
    Some(Reply::Stream(Box::new(move || {
        while let Some(times) = left {
            let mut held = world.lock().unwrap();
            held.watches += 1;
            if held.vanishes.is_some_and(|(left, _)| left == 0) || held.cut_watches {
                left = None;
                return None;
            }
            if from < held.oldest {
                left = None;
                let status = json!({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}});
                return Some(lines(&[status]));
            }
            let events = held.since(&resource, from);
            let now = held.version;
            drop(held);
            left = times.checked_sub(1);
            if !events.is_empty() {
                from = now;
                return Some(lines(&events));
            }
            if left.is_none() {
                return Some(lines(&[
                    json!({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": now.to_string()}}}),
                ]));
            }
            std::thread::sleep(EVERY);
        }
        None
    })))
}

fn lines(events: &[Value]) -> Vec<u8> {
    events.iter().map(|event| format!("{event}\n")).collect::<String>().into_bytes()
}

impl World {
    fn since(&self, resource: &str, from: u64) -> Vec<Value> {
        let version =
            |object: &Value| object["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse::<u64>().ok());
        let all: Vec<Value> = if resource == "imagestreams" && self.plain.is_none() {
            self.streams.values().map(Self::object).collect()
        } else if resource == "imagestreams" {
            let shown = |custom: &super::custom::Custom| {
                let mut object = custom.object.clone();
                object["metadata"]["managedFields"] = managed::managed(&custom.managers);
                object
            };
            self.custom.values().map(shown).collect()
        } else {
            let mine = self.workloads.iter().filter(|((of, ..), _)| of == resource);
            mine.map(|(_, object)| object.clone()).collect()
        };
        let changed: Vec<(u64, Value)> = all
            .into_iter()
            .filter_map(|object| Some((version(&object)?, object)))
            .filter(|(at, _)| *at > from)
            .collect();
        let mut changed: Vec<(u64, Value)> =
            changed.into_iter().map(|(at, object)| (at, json!({"type": "MODIFIED", "object": object}))).collect();
        let gone = self.gone.iter().filter(|(at, of, _)| *at > from && of == resource);
        changed.extend(gone.map(|(at, _, object)| (*at, json!({"type": "DELETED", "object": object}))));
        changed.sort_by_key(|(at, _)| *at);
        changed.into_iter().map(|(_, event)| event).collect()
    }
}
