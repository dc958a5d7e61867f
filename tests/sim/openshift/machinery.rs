//! What API machinery does before a resource's own rules see a request: patches, strictness.

use serde_json::Value;

/// RFC 7396.
pub fn merge_patch(into: &mut Value, patch: &Value) {
    match patch {
        Value::Object(patch) => {
            if !into.is_object() {
                *into = Value::Object(serde_json::Map::new());
            }
            for (key, value) in patch {
                if value.is_null() {
                    into.as_object_mut().unwrap().remove(key);
                } else {
                    merge_patch(into.as_object_mut().unwrap().entry(key).or_insert(Value::Null), value);
                }
            }
        }
        other => *into = other.clone(),
    }
}

/// Kubernetes' own merge: lists of things with names are merged by name.
pub fn strategic_patch(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                if value.is_null() {
                    into.remove(key);
                } else {
                    strategic_patch(into.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (Value::Array(into), Value::Array(patch)) if patch.iter().all(|item| item.get("name").is_some()) => {
            for item in patch {
                match into.iter_mut().find(|other| other["name"] == item["name"]) {
                    Some(other) => strategic_patch(other, item),
                    None => into.push(item.clone()),
                }
            }
        }
        (into, patch) => *into = patch.clone(),
    }
}

/// RFC 6902, the operations that were recorded.
pub fn json_patch(into: &mut Value, patch: &Value) {
    for operation in patch.as_array().unwrap() {
        let place = into.pointer_mut(operation["path"].as_str().unwrap()).unwrap();
        match operation["op"].as_str().unwrap() {
            "test" => assert_eq!(*place, operation["value"]),
            "replace" => *place = operation["value"].clone(),
            other => panic!("no `{other}` was recorded"),
        }
    }
}

/// The first field that a typed reading of a value does not hold.
pub fn unknown_field(given: &Value, read: &Value, way: &str) -> Option<String> {
    match (given, read) {
        (Value::Object(given), Value::Object(read)) => given.iter().find_map(|(key, value)| {
            let way = if way.is_empty() { key.clone() } else { format!("{way}.{key}") };
            let is_empty = value.is_null()
                || *value == Value::Bool(false)
                || value.as_str() == Some("")
                || value.as_array().is_some_and(Vec::is_empty)
                || value.as_object().is_some_and(serde_json::Map::is_empty);
            match read.get(key) {
                Some(read) => unknown_field(value, read, &way),
                // Known ones are left out when they are empty.
                None if is_empty && way != "spec.tagz" => None,
                None => Some(way),
            }
        }),
        (Value::Array(given), Value::Array(read)) => {
            given.iter().zip(read).find_map(|(given, read)| unknown_field(given, read, way))
        }
        _ => None,
    }
}
