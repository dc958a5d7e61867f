//! The spanned tree that YAML and JSON are read into.

use super::scalar::ScalarKind;
use super::source_map::Span;

/// A value with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What stands there.
    pub value: Value,
    /// Where.
    pub span: Span,
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A single value.
    Scalar(Scalar),
    /// A list.
    Sequence(Vec<Node>),
    /// Keys and values in the order of the file. Keys may repeat: the parser has reported it.
    Mapping(Vec<Entry>),
}

/// A single value as it is written: the tree never turns `3.10` into a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar {
    /// The text without quotes, escapes resolved.
    pub text: String,
    /// Written without quotes (and without `!!str`), so that readers guess a type for it.
    pub plain: bool,
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key; a scalar in every file that is right.
    pub key: Node,
    /// The value.
    pub value: Node,
}

impl Node {
    /// The text of a scalar, whatever type a reader would guess for it.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) => Some(&scalar.text),
            Value::Sequence(_) | Value::Mapping(_) => None,
        }
    }

    /// The type other readers of the file see in a scalar; `None` for lists and maps.
    pub fn scalar_kind(&self) -> Option<ScalarKind> {
        match &self.value {
            Value::Scalar(scalar) if scalar.plain => Some(ScalarKind::of_plain(&scalar.text)),
            Value::Scalar(_) => Some(ScalarKind::Text),
            Value::Sequence(_) | Value::Mapping(_) => None,
        }
    }

    /// The value as readers of the file see it, without its places. Numbers are text: what they are exactly is another
    /// reader's guess.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Scalar(scalar) => match self.scalar_kind() {
                Some(ScalarKind::Null) => serde_json::Value::Null,
                Some(ScalarKind::Bool) => {
                    matches!(scalar.text.to_ascii_lowercase().as_str(), "true" | "yes" | "on").into()
                }
                _ => scalar.text.as_str().into(),
            },
            Value::Sequence(items) => items.iter().map(Self::to_json).collect(),
            Value::Mapping(entries) => {
                let entry = |entry: &Entry| Some((entry.key.text()?.to_owned(), entry.value.to_json()));
                serde_json::Value::Object(entries.iter().filter_map(entry).collect())
            }
        }
    }

    /// Whether it is `null`, `~` or nothing at all.
    pub fn is_null(&self) -> bool {
        self.scalar_kind() == Some(ScalarKind::Null)
    }

    /// The entries of a map; none for anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Mapping(entries) => entries,
            Value::Scalar(_) | Value::Sequence(_) => &[],
        }
    }

    /// The items of a list; none for anything else.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::Sequence(items) => items,
            Value::Scalar(_) | Value::Mapping(_) => &[],
        }
    }

    /// The entry of that key; of equal keys the last, as the readers that keep one do.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().rev().find(|entry| entry.key.text() == Some(key))
    }

    /// The value of that key.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The value at the end of a path of keys.
    pub fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }
}
