//! Workloads as a cluster had them, in the form in which `oc get … -o json` or `-o yaml` saves them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::model::{LiveWorkload, Manner, WorkloadId};
use crate::rules;
use crate::source::{Limits, Node, SourceText, parse};

use super::workload::is_workload;

/// Workloads that somebody saved.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Those that follow tags, by name.
    pub workloads: Vec<LiveWorkload>,
    /// How many objects of each kind there are that could follow tags.
    pub kinds: BTreeMap<String, usize>,
}

/// Reads a `List`, lists in it, or objects one after the other. Objects of other kinds are passed over; of one object that is there
/// twice the last one counts.
///
/// # Errors
///
/// In words, when it is neither JSON nor YAML, or objects are in it and no workload.
pub fn snapshot(bytes: Vec<u8>, manner: Manner) -> Result<Snapshot, String> {
    let mut objects = objects(bytes)?;
    if !objects.iter().any(|object| object["kind"].is_string()) {
        return Err("it holds no object, and no list of them".to_owned());
    }
    let mut found: BTreeMap<WorkloadId, LiveWorkload> = BTreeMap::new();
    let mut snapshot = Snapshot::default();
    let mut others = 0;
    // From the last one on: the first that is seen is the one that counts.
    while let Some(mut object) = objects.pop() {
        let kind = object["kind"].as_str().unwrap_or_default().to_owned();
        if kind == "List" || kind.ends_with("List") && object["items"].is_array() {
            // The items of a typed list, which the API itself gives, do not name their kind.
            let of = kind.strip_suffix("List").unwrap_or_default().to_owned();
            if let Some(Value::Array(items)) = object.get_mut("items").map(Value::take) {
                objects.extend(items.into_iter().map(|mut item| {
                    if !of.is_empty() && item["kind"].is_null() && item.is_object() {
                        item["kind"] = of.as_str().into();
                    }
                    item
                }));
            }
        } else if is_workload(&kind) {
            if let Some(workload) = rules::read_workload(&kind, &object, manner) {
                found.entry(workload.id.clone()).or_insert(workload);
            }
            *snapshot.kinds.entry(kind).or_default() += 1;
        } else {
            others += 1;
        }
    }
    if snapshot.kinds.is_empty() && others > 0 {
        return Err("there is no workload and no build among its objects".to_owned());
    }
    snapshot.workloads = found.into_values().collect();
    Ok(snapshot)
}

fn objects(bytes: Vec<u8>) -> Result<Vec<Value>, String> {
    // YAML has JSON in it; what begins as JSON is meant as such, and read by what is made for it.
    if bytes.trim_ascii_start().starts_with(b"{") {
        let mut documents = serde_json::Deserializer::from_slice(&bytes).into_iter::<Value>();
        let first = documents.next().unwrap_or(Ok(Value::Null));
        match (first, documents.next()) {
            (Ok(object), None) => return Ok(vec![object]),
            (Err(error), _) => return Err(format!("line {}, column {}: it is no JSON", error.line(), error.column())),
            (Ok(_), Some(_)) => {}
        }
    }
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    let source = SourceText::new(text);
    let parsed = parse(&source, Limits { nodes: 20_000_000, ..Limits::default() });
    if let Some(problem) = parsed.problems.iter().find(|_| !parsed.complete) {
        return Err(format!("line {}: {}", problem.place.line, problem.message));
    }
    Ok(parsed.documents.iter().map(Node::to_json).collect())
}
