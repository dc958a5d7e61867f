//! What is not text, shown as text.

use std::error::Error;

use ring::digest::{Context, SHA256};
use serde::Serialize;

use super::source_map::inert;

/// A SHA-256 over parts, each preceded by its length: no two lists of parts are the same bytes.
pub struct Hasher(Context);

impl Default for Hasher {
    fn default() -> Self {
        Self(Context::new(&SHA256))
    }
}

impl Hasher {
    /// Adds a part.
    pub fn part(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// The hash of all parts.
    pub fn finish(self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(self.0.finish().as_ref());
        hash
    }
}

/// A name for bytes, that other bytes do not have: the first hex digits of their SHA-256, 64 at most.
pub fn short_hash(bytes: impl AsRef<[u8]>, digits: usize) -> String {
    let mut name = hex::encode(ring::digest::digest(&SHA256, bytes.as_ref()));
    name.truncate(digits);
    name
}

/// A name for a value: the hash of its JSON, with a version that is raised when the meaning of the JSON changes. None where it
/// has no JSON.
pub fn hash_of(version: u32, value: &impl Serialize, digits: usize) -> Option<String> {
    Some(short_hash(format!("{version} {}", serde_json::to_string(value).ok()?), digits))
}

/// An error and its causes on one line. Not made inert: whoever shows it does that, within the length there is.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// What a reader of YAML says is wrong, without the place, and without advice to those who program with it.
pub fn yaml_mistake(error: &serde_saphyr::Error) -> String {
    // The first line says what; the others draw the file.
    let full = error.to_string();
    let first = full.lines().next().unwrap_or_default().trim_start_matches("error: ");
    let place = error.location().map_or(String::new(), |at| format!("line {} column {}: ", at.line(), at.column()));
    let what = first.strip_prefix(&place).unwrap_or(first);
    let what = what.split(", set DuplicateKeyPolicy").next().unwrap_or(what);
    inert(&near(what).unwrap_or_else(|| what.to_owned()), 300)
}

/// Of a word that is not known and a list of those that are: the nearest of them, if one is near.
fn near(mistake: &str) -> Option<String> {
    let (what, known) = mistake.split_once(", expected ")?;
    let given = what.split('`').nth(1)?;
    let words = known.trim_start_matches("one of ").split([',', ' ']).map(|word| word.trim_matches('`'));
    let near = words.filter(|word| !word.is_empty()).map(|word| (strsim::damerau_levenshtein(given, word), word));
    let (distance, word) = near.min()?;
    (distance <= 2.max(given.len() / 3)).then(|| format!("{what}; did you mean `{word}`?"))
}

/// Whether a source is given by a URL, or as `scp` has it (`user@host:path`), and not by a path. A directory of such a name is given as
/// `./NAME`.
pub fn is_url(given: &str) -> bool {
    given.contains("://") || is_scp(given)
}

/// Whether a source is given as `scp` has it: `user@host:path`.
pub fn is_scp(given: &str) -> bool {
    let host = given.split_once(':').map_or("", |(host, _)| host);
    host.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty()) && !host.contains('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_not_known_has_a_neighbour() {
        let text = "unknown field `polcy`, expected one of identity, policy, review";
        assert_eq!(near(text).as_deref(), Some("unknown field `polcy`; did you mean `policy`?"));
        assert_eq!(
            near("unknown variant `stroe`, expected `store`").as_deref(),
            Some("unknown variant `stroe`; did you mean `store`?")
        );
        assert_eq!(near("unknown field `zzzzzz`, expected one of identity, policy"), None);
        assert_eq!(near("invalid u64"), None);
    }

    #[test]
    fn urls_and_paths_are_told_apart() {
        for url in ["https://h/a", "git@h:a/b", "ssh://h/a", "u@h:/a"] {
            assert!(is_url(url), "{url}");
        }
        for path in [".", "a/b", "./git@h:a", "/a:b", "c:d", "@h:a", "a@b/c:d"] {
            assert!(!is_url(path), "{path}");
        }
    }
}
