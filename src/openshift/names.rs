//! Which names are valid, and how several of them are written as one (semantics 1.10).

use super::id::StreamId;

/// Characters of a tag's name at most.
pub const MAX_TAG_NAME: usize = 128;

/// Whether a server takes it for the name of a stream: `[a-z0-9]+(?:[._-][a-z0-9]+)*`.
pub fn is_stream_name(name: &str) -> bool {
    let alphanumeric =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    name.split(['.', '_', '-']).all(alphanumeric)
}

/// Whether a registry would take it as a tag: `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`.
pub fn is_tag_name(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=MAX_TAG_NAME).contains(&tag.len())
        && tag.bytes().enumerate().all(|(at, byte)| word(byte) || (at > 0 && matches!(byte, b'.' | b'-')))
}

/// Whether Kubernetes takes it for the name of a namespace (RFC 1123 label).
pub fn is_namespace(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(good) && !name.starts_with('-') && !name.ends_with('-')
}

/// Splits `stream:tag`: exactly one colon, with something on both sides.
pub fn split_tag(name: &str) -> Option<(&str, &str)> {
    split_both(name, ':')
}

/// Splits `stream@id`: exactly one at sign, with something on both sides.
pub fn split_image(name: &str) -> Option<(&str, &str)> {
    split_both(name, '@')
}

fn split_both(name: &str, separator: char) -> Option<(&str, &str)> {
    match split_optional(name, separator)? {
        (Some(name), version) => Some((name, version)),
        (None, _) => None,
    }
}

/// Splits `name:version` or `version`; none when a part is empty, or there are more.
pub(super) fn split_optional(text: &str, separator: char) -> Option<(Option<&str>, &str)> {
    let mut parts = text.split(separator);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(version), None, None) if !version.is_empty() => Some((None, version)),
        (Some(name), Some(version), None) if !name.is_empty() && !version.is_empty() => Some((Some(name), version)),
        _ => None,
    }
}

/// Reads `STREAM`, `STREAM:TAG`, or either with `NAMESPACE/` before it, as people write them.
pub fn parse_name(text: &str, default_namespace: &str) -> Option<(StreamId, Option<String>)> {
    let (stream, tag) = match text.split_once(':') {
        Some((stream, tag)) => (stream, Some(tag.to_owned())),
        None => (text, None),
    };
    let id = match stream.split_once('/') {
        Some((namespace, name)) => StreamId::new(namespace, name),
        None => StreamId::new(default_namespace, stream),
    };
    let is_whole = !id.name.is_empty() && !id.namespace.is_empty() && !id.name.contains('/');
    (is_whole && tag.as_deref() != Some("")).then_some((id, tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_strictly() {
        assert_eq!(split_tag("web:1.4"), Some(("web", "1.4")));
        assert_eq!(split_image("web@sha256:ab"), Some(("web", "sha256:ab")));
        for malformed in ["web", ":1", "web:", "a:b:c", ""] {
            assert_eq!(split_tag(malformed), None, "{malformed}");
        }
        let name = |text: &str| parse_name(text, "shop").map(|(id, tag)| (id.to_string(), tag));
        assert_eq!(name("web"), Some(("shop/web".to_owned(), None)));
        assert_eq!(name("a/web:1"), Some(("a/web".to_owned(), Some("1".to_owned()))));
        for malformed in ["", "web:", "/web", "a/", "a/b/c"] {
            assert_eq!(name(malformed), None, "{malformed}");
        }
    }
}
