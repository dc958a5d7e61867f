//! In which order the tags of a repository are imported (semantics 3.4).

use std::cmp::{Ordering, Reverse};

/// Sorts tags: `latest`, minor versions newest first, full versions newest first, the rest by bytes.
pub fn import_order(tags: &mut [String]) {
    tags.sort_by(|a, b| compare(a, b));
}

fn compare(a: &str, b: &str) -> Ordering {
    let (rank_a, rank_b) = (rank(a), rank(b));
    rank_a.cmp(&rank_b).then_with(|| a.starts_with('v').cmp(&b.starts_with('v'))).then_with(|| a.cmp(b))
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Latest,
    Minor(Reverse<(u64, u64)>, Suffix),
    Full(Reverse<(u64, u64, u64)>, Suffix),
    Other,
}

/// A version without a suffix is newer than one with it, as in semantic versions.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Suffix {
    None,
    Some(Reverse<String>),
}

fn rank(tag: &str) -> Rank {
    if tag == "latest" {
        return Rank::Latest;
    }
    let version = tag.strip_prefix('v').unwrap_or(tag);
    let (numbers, suffix) =
        version.split_once('-').map_or((version, None), |(numbers, suffix)| (numbers, Some(suffix)));
    if suffix.is_some_and(str::is_empty) {
        return Rank::Other;
    }
    let suffix = suffix.map_or(Suffix::None, |suffix| Suffix::Some(Reverse(suffix.to_owned())));
    let parts: Option<Vec<u64>> = numbers.split('.').map(number).collect();
    match parts.as_deref() {
        Some([major, minor]) => Rank::Minor(Reverse((*major, *minor)), suffix),
        Some([major, minor, patch]) => Rank::Full(Reverse((*major, *minor, *patch)), suffix),
        _ => Rank::Other,
    }
}

fn number(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten().filter(|_| canonical)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tags: &[&str], expected: &[&str]) {
        let mut tags: Vec<String> = tags.iter().map(|&tag| tag.to_owned()).collect();
        import_order(&mut tags);
        assert_eq!(tags, expected);
    }

    #[test]
    fn tags_are_imported_in_the_servers_order() {
        // Statements 92 and 93.
        check(&["v1", "other", "v2", "3", "3.1", "abc"], &["3.1", "3", "abc", "other", "v1", "v2"]);
        check(&["1.2.3", "1.3", "latest", "1.2"], &["latest", "1.3", "1.2", "1.2.3"]);
        check(&["v1.2", "1.2", "1.10"], &["1.10", "1.2", "v1.2"]);
    }
}
