//! Field paths of triggers: which container an image is written to (semantics 5.2).

use serde::{Deserialize, Serialize};

/// An image field of a pod template.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FieldPath {
    /// Init container or container.
    pub init: bool,
    /// Which of them.
    pub container: Container,
}

/// A container by name or by position.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Container {
    /// By name.
    Named(String),
    /// By position, from 0.
    At(usize),
}

/// How a field path names a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quotes {
    /// In double quotes, or by position: as OpenShift's controller reads it (semantics 5.2).
    Strict,
    /// In a spelling in circulation that it refuses: single quotes, one `=`, `[@name='x']` of the documentation.
    Odd,
}

impl FieldPath {
    /// Reads `<base>.containers[0].image`, `<base>.initContainers[?(@.name=="x")].image`, and odd spellings of it.
    pub fn parse(field: &str, base: &str) -> Option<(Self, Quotes)> {
        let rest = field.strip_prefix(base)?.strip_prefix('.')?;
        let (init, rest) = match rest.strip_prefix("initContainers[") {
            Some(rest) => (true, rest),
            None => (false, rest.strip_prefix("containers[")?),
        };
        let inner = rest.strip_suffix("].image")?;
        if !inner.is_empty() && inner.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some((Self { init, container: Container::At(inner.parse().ok()?) }, Quotes::Strict));
        }
        let filter = inner.strip_prefix("?(").and_then(|inner| inner.strip_suffix(')'));
        let condition = filter.unwrap_or(inner);
        let after = condition.strip_prefix("@.name").or_else(|| condition.strip_prefix("@name"))?;
        let value = after.trim_start().trim_start_matches('=').trim_start();
        let name = [('"', '"'), ('\'', '\'')]
            .iter()
            .find_map(|(open, close)| value.strip_prefix(*open)?.strip_suffix(*close))
            .filter(|name| !name.is_empty())?;
        let quotes = if inner == format!("?(@.name==\"{name}\")") { Quotes::Strict } else { Quotes::Odd };
        Some((Self { init, container: Container::Named(name.to_owned()) }, quotes))
    }
}

/// The container that a path names, given the names of both lists: of which list, and its place there. As OpenShift's controller
/// finds it: a name is searched in init containers first, whichever list the path names; a position counts in the list that it
/// names.
pub fn container_at(path: &FieldPath, init: &[&str], containers: &[&str]) -> Option<(bool, usize)> {
    let position = |list: &[&str], name: &str| list.iter().position(|other| *other == name);
    match &path.container {
        Container::Named(name) => {
            let in_init = position(init, name).map(|at| (true, at));
            in_init.or_else(|| Some((false, position(containers, name)?)))
        }
        Container::At(at) => {
            let list = if path.init { init } else { containers };
            (*at < list.len()).then_some((path.init, *at))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_paths_are_read_in_all_spellings_and_the_refused_ones_told() {
        let base = "spec.template.spec";
        let table = [
            (
                r#"spec.template.spec.containers[?(@.name=="web")].image"#,
                Some((false, Container::Named("web".into()), false)),
            ),
            (
                "spec.template.spec.containers[?(@.name=='web')].image",
                Some((false, Container::Named("web".into()), true)),
            ),
            ("spec.template.spec.containers[@name='web'].image", Some((false, Container::Named("web".into()), true))),
            (
                "spec.template.spec.containers[?(@.name='web')].image",
                Some((false, Container::Named("web".into()), true)),
            ),
            ("spec.template.spec.initContainers[0].image", Some((true, Container::At(0), false))),
            ("spec.template.spec.containers[0].command", None),
            ("spec.containers[0].image", None),
            ("spec.template.spec.containers[].image", None),
            ("", None),
        ];
        for (path, expected) in table {
            let got =
                FieldPath::parse(path, base).map(|(path, quotes)| (path.init, path.container, quotes == Quotes::Odd));
            assert_eq!(got, expected, "{path}");
        }
    }
}
