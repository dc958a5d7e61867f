//! Workloads as a cluster had them, in the form in which `oc get … -o json` or `-o yaml` saves them.

use serde_json::Value;

use crate::model::{LiveWorkload, Manner};
use crate::text::{self, Limits, SourceText};

use super::workload::is_workload;

/// The workloads that follow tags, of a `List`, of lists in it, or of objects one after the other. Objects of other kinds, and
/// workloads that follow nothing, are passed over.
///
/// # Errors
///
/// In words, when it is neither JSON nor YAML, or holds no object.
pub fn snapshot(bytes: Vec<u8>, manner: Manner) -> Result<Vec<LiveWorkload>, String> {
    let mut objects = match serde_json::from_slice::<Value>(&bytes) {
        Ok(object) => vec![object],
        Err(_) => {
            let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
            let source = SourceText::new(text);
            let parsed = text::parse(&source, Limits { nodes: 20_000_000, ..Limits::default() });
            if let Some(finding) = parsed.findings.iter().find(|_| !parsed.complete) {
                return Err(format!("line {}: {}", finding.place.line, finding.message));
            }
            parsed.documents.iter().map(text::Node::to_json).collect()
        }
    };
    if !objects.iter().any(|object| object["kind"].is_string()) {
        return Err("it holds no object, and no list of them".to_owned());
    }
    let mut workloads = Vec::new();
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
            workloads.extend(LiveWorkload::read(&kind, &object, manner));
        }
    }
    workloads.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(workloads)
}
