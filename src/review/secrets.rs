//! What looks like a secret is not shown: that it has changed, is.

/// Parts of names of what is secret most of the time.
const NAMES: [&str; 9] = ["pass", "secret", "token", "key", "credential", "auth", "private", "cookie", "salt"];
/// How tokens of well-known makers begin.
const PREFIXES: [&str; 12] =
    ["ghp_", "gho_", "ghs_", "github_pat_", "glpat-", "xoxb-", "xoxp-", "AKIA", "eyJ", "-----BEGIN", "sk-", "npm_"];
/// What stands in place of it.
const MASK: &str = "(masked)";

/// A value as it may be shown, by the name that it goes by.
pub fn masked(name: &str, value: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let is_name = NAMES.iter().any(|part| lower.contains(part));
    if !value.is_empty() && is_name { MASK.to_owned() } else { without(value) }
}

/// A text without the words in it that look like secrets.
pub(super) fn without(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, word) in text.split(' ').enumerate() {
        if at > 0 {
            out.push(' ');
        }
        match word.split_once('=') {
            Some((name, value)) if !value.is_empty() && is_secret_name(name) => {
                out.push_str(&format!("{name}={MASK}"));
            }
            _ if is_token(word) => out.push_str(MASK),
            _ => out.push_str(&without_login(word)),
        }
    }
    out
}

fn is_secret_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    NAMES.iter().any(|part| lower.contains(part))
}

fn is_token(word: &str) -> bool {
    let word = word.rsplit(['=', '"', '\'', ':']).next().unwrap_or(word);
    PREFIXES.iter().any(|prefix| word.starts_with(prefix) && word.len() >= prefix.len() + 8)
}

/// A URL without user and password.
fn without_login(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else { return word.to_owned() };
    let end = rest.find('/').unwrap_or(rest.len());
    match rest[..end].rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{MASK}@{host}{}", &rest[end..]),
        None => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_secret_is_masked_and_the_rest_is_not() {
        for (name, value) in [
            ("DB_PASSWORD", "hunter2"),
            ("X", "ghp_0123456789abcdef"),
            ("X", "run --token=hunter2 now"),
            ("AWS_SECRET_ACCESS_KEY", "x"),
            ("URL", "https://user:hunter2@host/path"),
            ("X", "-----BEGIN_PRIVATE_KEY-----"),
        ] {
            let shown = masked(name, value);
            assert!(shown.contains(MASK) && !shown.contains("hunter2") && !shown.contains("ghp_0"), "{name} {shown}");
        }
        for (name, value) in [("PATH", "/usr/bin:/bin"), ("VERSION", "3.3.1"), ("HOME", "https://example.com/a@b")] {
            assert_eq!(masked(name, value), value);
        }
    }
}
