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
    if !value.is_empty() && is_secret_name(name) { MASK.to_owned() } else { without(value) }
}

/// A text without the words in it that look like secrets.
pub(super) fn without(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // Whether the word before says that this one is a secret: `--password hunter2`, `token: hunter2`.
    let mut is_next = false;
    for (at, word) in text.split(' ').enumerate() {
        if at > 0 {
            out.push(' ');
        }
        let place = word.find(['=', ':']).filter(|_| !word.contains("://"));
        let (name, value) = place.map_or((word, ""), |place| (&word[..place], &word[place + 1..]));
        let is_named = place.is_some() && is_secret_name(name);
        match place {
            _ if is_next && !word.is_empty() => out.push_str(MASK),
            Some(place) if is_named && !value.is_empty() => {
                out.push_str(&word[..=place]);
                out.push_str(MASK);
            }
            _ if is_token(word) => out.push_str(MASK),
            _ => out.push_str(&without_login(word)),
        }
        let is_flag = place.is_none() && word.starts_with('-') && is_secret_name(word);
        is_next = is_flag || (is_named && value.is_empty());
    }
    out
}

fn is_secret_name(name: &str) -> bool {
    // Whoever wrote it, and what it is about, is no secret.
    let lower = name.to_ascii_lowercase().replace("author", "").replace("keyword", "");
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
            ("X", "login --password hunter2"),
            ("X", r#"{"password":"hunter2"}"#),
            ("X", "token: hunter2"),
        ] {
            let shown = masked(name, value);
            assert!(shown.contains(MASK) && !shown.contains("hunter2") && !shown.contains("ghp_0"), "{name} {shown}");
        }
        for (name, value) in [
            ("org.opencontainers.image.authors", "Bob <b@x>"),
            ("PATH", "/usr/bin:/bin"),
            ("VERSION", "3.3.1"),
            ("HOME", "https://example.com/a@b"),
        ] {
            assert_eq!(masked(name, value), value);
        }
    }
}
