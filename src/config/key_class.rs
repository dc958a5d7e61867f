//! Which keys of a config an untrusted revision may set. The class of a key stands beside it, in the attribute `x-class`, and so in
//! the JSON Schema; a key without one has that of the key above it.

use std::fmt;

use schemars::schema_for;
use serde_json::Value;

use super::file::Config;

/// What an untrusted revision may do with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyClass {
    /// Set it: the key gives definitions their meaning.
    Free,
    /// Make it stricter.
    TightenOnly,
    /// Nothing: the key counts in a trusted config only.
    TrustedOnly,
}

/// A key of the config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The way to it, such as `policy.maxRemovals` or `registries[].host`.
    pub path: String,
    /// The class stands beside this key itself.
    pub is_declared: bool,
    /// Its class; none where neither it nor a key above it has one, which is a mistake.
    pub class: Option<KeyClass>,
    /// What it means.
    pub about: String,
}

impl KeyClass {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "free" => Some(Self::Free),
            "tightenOnly" => Some(Self::TightenOnly),
            "trustedOnly" => Some(Self::TrustedOnly),
            _ => None,
        }
    }
}

impl fmt::Display for KeyClass {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Free => "free",
            Self::TightenOnly => "tighten only",
            Self::TrustedOnly => "trusted only",
        })
    }
}

/// All keys, in the order of the config.
pub fn keys() -> Vec<Key> {
    let schema = schema_for!(Config).to_value();
    let mut keys = Vec::new();
    walk(&schema, &schema, "", None, &mut keys);
    keys
}

fn walk(root: &Value, schema: &Value, path: &str, class: Option<KeyClass>, keys: &mut Vec<Key>) {
    // No type contains itself; a path this long is a mistake in the schema.
    if path.len() > 200 {
        return;
    }
    for schema in inside(root, schema) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let own = property["x-class"].as_str().and_then(KeyClass::parse);
            let (class, is_declared) = (own.or(class), own.is_some());
            let about = property["description"].as_str().unwrap_or_default().replace('\n', " ");
            let before = keys.len();
            walk(root, property, &path, class, keys);
            // A key that is only a heading has no class of its own.
            if class.is_some() || keys.len() == before {
                keys.insert(before, Key { path, is_declared, class, about });
            }
        }
        if let Some(items) = schema.get("items") {
            walk(root, items, &format!("{path}[]"), class, keys);
        }
    }
}

/// The schema itself, what it refers to and its alternatives.
fn inside<'v>(root: &'v Value, schema: &'v Value) -> Vec<&'v Value> {
    let mut all = vec![schema];
    let referred = schema["$ref"].as_str().and_then(|name| root.pointer(name.trim_start_matches('#')));
    let alternatives = schema["anyOf"].as_array().into_iter().flatten();
    for inner in alternatives.chain(referred) {
        all.extend(inside(root, inner));
    }
    all
}

/// The page that lists all keys, in Markdown.
pub fn keys_markdown() -> String {
    let mut page = String::from(
        "# Keys of `streamkeeper.yaml`\n\n\
         The class of a key says what a config that is not trusted may do with it: set it (*free*), make it stricter\n\
         (*tighten only*), or nothing (*trusted only*). Trusted are a file named by `--config`, the config at\n\
         `--config-revision`, the config at BASE with `plan --base BASE`, and the config in a directory that is read as it is on\n\
         disk and belongs to the user or to root, unless `--untrusted` is given.\n\n\
         | key | class | meaning |\n| --- | --- | --- |\n",
    );
    for Key { path, is_declared: _, class, about } in keys() {
        let class = class.map_or_else(|| "?".to_owned(), |class| class.to_string());
        page.push_str(&format!("| `{path}` | {class} | {} |\n", about.replace('|', "\\|")));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_class() {
        let keys = keys();
        let without: Vec<&str> = keys.iter().filter(|key| key.class.is_none()).map(|key| key.path.as_str()).collect();
        assert!(without.is_empty(), "{without:?}");
        assert!(keys.len() > 80 && keys.iter().any(|key| key.path == "registries[].private"), "{}", keys.len());
    }
}
