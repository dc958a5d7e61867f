//! Server-side apply as the API server does it for image streams: who owns which field. Held to the recordings by
//! `recorded_server::ownership_is_as_recorded`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

/// A field, as `FieldsV1` names the way to it.
pub type Path = Vec<String>;

/// What each manager has applied.
pub type Managers = BTreeMap<String, BTreeSet<Path>>;

/// Maps that are one value: whoever names a part of it owns all.
const ATOMIC: [&str; 1] = ["f:from"];

/// The fields that an applied object names; of the object's identity nothing.
pub fn fields(object: &Value) -> BTreeSet<Path> {
    let mut out = BTreeSet::new();
    for part in ["labels", "annotations"] {
        if let Some(map) = object["metadata"][part].as_object() {
            if map.is_empty() {
                // As the real one has it: whoever applies an empty map owns the map.
                out.insert(vec!["f:metadata".to_owned(), format!("f:{part}")]);
            }
            out.extend(map.keys().map(|key| vec!["f:metadata".to_owned(), format!("f:{part}"), format!("f:{key}")]));
        }
    }
    if let Some(spec) = object["spec"].as_object().filter(|spec| !spec.is_empty()) {
        walk(&Value::Object(spec.clone()), &mut vec!["f:spec".to_owned()], &mut out);
    }
    out
}

fn walk(value: &Value, way: &mut Path, out: &mut BTreeSet<Path>) {
    let is_atomic = way.last().is_some_and(|last| ATOMIC.contains(&last.as_str()));
    match value {
        Value::Object(map) if !is_atomic && !map.is_empty() => {
            for (key, inner) in map {
                way.push(format!("f:{key}"));
                walk(inner, way, out);
                way.pop();
            }
        }
        Value::Array(items) if way.last().is_some_and(|last| last == "f:tags") => {
            for item in items {
                way.push(format!("k:{}", json!({"name": item["name"]})));
                way.push(".".to_owned());
                out.insert(way.clone());
                way.pop();
                walk(item, way, out);
                way.pop();
            }
        }
        _ => {
            out.insert(way.clone());
        }
    }
}

/// Names of managers that wrote otherwise than by apply begin with this.
const UPDATE: &str = "Update ";

/// What somebody has written otherwise than by apply, and changed, is theirs as well.
pub fn wrote(managers: &mut Managers, manager: &str, before: &Value, after: &Value) {
    let new: BTreeSet<Path> =
        fields(after).into_iter().filter(|path| value(before, path) != value(after, path)).collect();
    // What is no longer there is nobody's.
    let now = fields(after);
    for owned in managers.values_mut() {
        let is_map = |path: &Path| path.len() == 2 && path[0] == "f:metadata";
        owned.retain(|path| now.contains(path) || is_map(path) || path.last().is_some_and(|last| last == "."));
    }
    for (other, owned) in managers.iter_mut() {
        // A changed value has one owner.
        if *other != format!("{UPDATE}{manager}") {
            owned.retain(|path| !new.contains(path) || path.last().is_some_and(|last| last == "." || last == "f:name"));
        }
    }
    managers.entry(format!("{UPDATE}{manager}")).or_default().extend(new);
    managers.retain(|_, owned| !owned.is_empty());
}

/// A manager as a conflict names it.
pub fn who(manager: &str) -> String {
    match manager.strip_prefix(UPDATE) {
        Some(name) => format!("\"{name}\" using image.openshift.io/v1"),
        None => format!("\"{manager}\""),
    }
}

/// `managedFields` of what managers have applied or written.
pub fn managed(managers: &Managers) -> Value {
    let tree = |paths: &BTreeSet<Path>| {
        let mut root = Value::Object(Map::new());
        for path in paths {
            let mut place = &mut root;
            for step in path {
                place = place.as_object_mut().unwrap().entry(step.clone()).or_insert_with(|| json!({}));
            }
        }
        root
    };
    let entry = |(manager, paths): (&String, &BTreeSet<Path>)| {
        let (name, operation) = match manager.strip_prefix(UPDATE) {
            Some(name) => (name, "Update"),
            None => (manager.as_str(), "Apply"),
        };
        json!({
            "manager": name, "operation": operation, "apiVersion": "image.openshift.io/v1",
            "time": "2026-11-21T08:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": tree(paths),
        })
    };
    Value::Array(managers.iter().filter(|(_, paths)| !paths.is_empty()).map(entry).collect())
}

/// The value of a field, if it is there.
fn value<'a>(object: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(object, |place, step| {
        if step == "." {
            return Some(place);
        }
        match step.strip_prefix("f:") {
            Some(name) => place.get(name),
            None => item(place, step).and_then(|at| place.get(at)),
        }
    })
}

fn item(list: &Value, step: &str) -> Option<usize> {
    let key: Value = serde_json::from_str(step.strip_prefix("k:")?).ok()?;
    list.as_array()?.iter().position(|item| item["name"] == key["name"])
}

fn set(object: &mut Value, path: &[String], new: &Value) {
    let mut place = object;
    for step in path {
        if step == "." {
            return;
        }
        place = match step.strip_prefix("f:") {
            Some(name) => {
                if !place.is_object() {
                    *place = json!({});
                }
                place.as_object_mut().unwrap().entry(name).or_insert(Value::Null)
            }
            None => {
                if !place.is_array() {
                    *place = json!([]);
                }
                let at = item(place, step).unwrap_or_else(|| {
                    let key: Value = serde_json::from_str(&step[2..]).unwrap();
                    place.as_array_mut().unwrap().push(key);
                    place.as_array().unwrap().len() - 1
                });
                place.get_mut(at).unwrap()
            }
        };
    }
    *place = new.clone();
}

fn remove(object: &mut Value, path: &[String]) {
    let Some((last, way)) = path.split_last() else { return };
    let mut place = object;
    for step in way {
        let next = match step.strip_prefix("f:") {
            Some(name) => place.get_mut(name),
            None => item(place, step).and_then(|at| place.get_mut(at)),
        };
        let Some(next) = next else { return };
        place = next;
    }
    match (last.strip_prefix("f:"), place.as_object_mut()) {
        (Some(name), Some(map)) => {
            map.remove(name);
        }
        _ => {
            if let Some(at) = item(place, last) {
                place.as_array_mut().unwrap().remove(at);
            }
        }
    }
}

/// Applies: what the object is afterwards, or the conflicts, each a manager and a field.
pub fn apply(
    live: &Value,
    managers: &mut Managers,
    manager: &str,
    wanted: &Value,
    force: bool,
) -> Result<Value, Vec<(String, Path)>> {
    let new = fields(wanted);
    let mut conflicts = Vec::new();
    for (other, owned) in managers.iter().filter(|(other, _)| *other != manager) {
        for path in new.intersection(owned) {
            let is_key = path.last().is_some_and(|last| last == "." || last == "f:name");
            if !is_key && value(live, path) != value(wanted, path) {
                conflicts.push((other.clone(), path.clone()));
            }
        }
    }
    if !conflicts.is_empty() && !force {
        return Err(conflicts);
    }
    for (other, path) in conflicts {
        managers.get_mut(&other).unwrap().remove(&path);
    }
    let mut object = live.clone();
    for path in &new {
        if let Some(new) = value(wanted, path) {
            set(&mut object, path, new);
        }
    }
    let old = managers.insert(manager.to_owned(), new.clone()).unwrap_or_default();
    let is_owned = |managers: &Managers, path: &Path| managers.values().any(|owned| owned.contains(path));
    for path in old.difference(&new).filter(|path| !is_owned(managers, path)) {
        // An item of a list goes with its last owner.
        let gone = if path.last().is_some_and(|last| last == ".") { &path[..path.len() - 1] } else { &path[..] };
        if path.last().is_some_and(|last| last == "f:name") {
            continue;
        }
        remove(&mut object, gone);
    }
    managers.retain(|_, owned| !owned.is_empty());
    Ok(object)
}

/// A field of a conflict, as the server names it.
pub fn shown(path: &Path) -> String {
    path.iter()
        .map(|step| match (step.strip_prefix("f:"), step.strip_prefix("k:")) {
            (Some(name), _) => format!(".{name}"),
            (_, Some(key)) => {
                let key: Value = serde_json::from_str(key).unwrap();
                format!("[name={}]", key["name"])
            }
            _ => String::new(),
        })
        .collect()
}
