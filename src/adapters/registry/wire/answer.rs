//! Error bodies, pages of tags, and when to come back.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::openshift::is_tag_name;

/// However long a registry says: in a day it is asked again.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(86_400);

/// The first error of a registry's answer, in the form of the distribution specification: its code and message, as they are.
pub(in super::super) fn error_of(bytes: &[u8]) -> Option<(String, String)> {
    let answer: Value = serde_json::from_slice(bytes).ok()?;
    let error = answer.get("errors")?.as_array()?.first()?;
    let code = error.get("code").or_else(|| error.get("status"));
    Some((code.map(text).unwrap_or_default(), error.get("message").map(text).unwrap_or_default()))
}

/// What a proxy, or a registry that has a form of its own, says in an error; no code. A page for a browser says nothing.
pub(in super::super) fn plain_words(media_type: &str, bytes: &[u8]) -> Option<(String, String)> {
    let words = match serde_json::from_slice::<Value>(bytes) {
        Ok(answer) => {
            let error = answer.get("error");
            let nested = error.and_then(|error| error.get("message"));
            let places = [
                nested,
                answer.get("message"),
                answer.get("error_description"),
                answer.get("detail"),
                answer.get("details"),
                error,
            ];
            places.into_iter().flatten().find_map(Value::as_str).unwrap_or_default().to_owned()
        }
        Err(_) if media_type == "text/plain" => String::from_utf8_lossy(bytes).into_owned(),
        Err(_) => String::new(),
    };
    let first = words.lines().map(str::trim).find(|line| !line.is_empty())?;
    Some((String::new(), first.to_owned()))
}

/// A text, or a number as one.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.as_i64().map(|it| it.to_string()).unwrap_or_default(), str::to_owned)
}

/// A page of tags; some registries say in it where the next one is.
#[derive(Deserialize)]
struct Page {
    /// `null` where a repository has none.
    tags: Option<Tags>,
    next: Option<String>,
}

/// As many tags as any repository has: more are not even read.
pub(in super::super) const TAGS: usize = 100_000;

#[derive(Default)]
struct Tags(Vec<String>);

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bounded;
        impl<'de> serde::de::Visitor<'de> for Bounded {
            type Value = Tags;

            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(out, "a list of at most {TAGS} tags")
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Tags, A::Error> {
                let mut tags = Vec::new();
                while let Some(tag) = items.next_element::<String>()? {
                    if tags.len() == TAGS {
                        return Err(serde::de::Error::invalid_length(TAGS + 1, &self));
                    }
                    // What is no tag cannot be asked for.
                    if is_tag_name(&tag) {
                        tags.push(tag);
                    }
                }
                Ok(Tags(tags))
            }
        }
        deserializer.deserialize_seq(Bounded)
    }
}

/// Reads a page of tags: those that are tags, and where the body says that the next page is.
pub(in super::super) fn tags(bytes: &[u8]) -> Option<(Vec<String>, Option<String>)> {
    let page: Page = serde_json::from_slice(bytes).ok()?;
    Some((page.tags.unwrap_or_default().0, page.next.filter(|next| !next.is_empty())))
}

/// The target of `rel="next"` in a `Link` header (RFC 8288).
pub(in super::super) fn next_page(link: &str) -> Option<&str> {
    // A target may hold commas, so parts are told apart by what encloses them.
    link.split('<').skip(1).find_map(|part| {
        let (target, parameters) = part.split_once('>')?;
        let parameters = parameters.trim_end().trim_end_matches(',');
        let is_next = |parameter: &str| {
            let (name, value) = parameter.split_once('=').unwrap_or_default();
            let relations = value.trim().trim_matches('"');
            name.trim().eq_ignore_ascii_case("rel")
                && relations.split_ascii_whitespace().any(|relation| relation.eq_ignore_ascii_case("next"))
        };
        parameters.split(';').any(is_next).then_some(target)
    })
}

/// How long a `Retry-After` asks to wait: seconds or a date (RFC 9110, 10.2.3).
pub(in super::super) fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() => LONGEST_WAIT,
        Err(_) => {
            let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
            Duration::try_from(at.duration_since(now)).unwrap_or_default()
        }
    };
    Some(wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_read() {
        assert_eq!(next_page(r#"</v2/a/tags/list?last=x&n=2>; rel="next""#), Some("/v2/a/tags/list?last=x&n=2"));
        assert_eq!(next_page(r#"<a>; rel="prev", <b>; rel=next"#), Some("b"));
        assert_eq!(next_page(r#"<a>; title=x; Rel = "last next""#), Some("a"));
        assert_eq!(next_page(r#"</v2/a?last=x,y&n=2>; rel="next""#), Some("/v2/a?last=x,y&n=2"));
        assert_eq!(next_page("<a>; rel=nextish"), None);
        assert_eq!(next_page("nonsense"), None);
    }

    #[test]
    fn pages_are_read() {
        assert_eq!(tags(br#"{"name":"a","tags":null}"#), Some((Vec::new(), None)));
        assert_eq!(tags(br#"{"tags":["1"],"next":"/v2/x"}"#), Some((vec!["1".to_owned()], Some("/v2/x".to_owned()))));
        assert_eq!(tags(br#"{"tags":"1"}"#), None);
        assert_eq!(tags(b"<html>"), None);
    }

    #[test]
    fn waits_are_seconds_or_dates() {
        let now: Timestamp = "2026-11-21T08:00:00Z".parse().expect("a time");
        assert_eq!(retry_after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Sat, 21 Nov 2026 08:01:00 GMT", now), Some(Duration::from_secs(60)));
        assert_eq!(retry_after("Sat, 21 Nov 2026 07:00:00 GMT", now), Some(Duration::ZERO), "it is past");
        assert_eq!(retry_after("soon", now), None);
        for absurd in ["18446744073709551615", "99999999999999999999999", "31536000"] {
            assert_eq!(retry_after(absurd, now), Some(LONGEST_WAIT), "{absurd}");
        }
    }

    #[test]
    fn errors_are_read() {
        let body = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no \u001b[31msuch"}]}"#;
        assert_eq!(error_of(body), Some(("MANIFEST_UNKNOWN".to_owned(), "no \u{1b}[31msuch".to_owned())));
        assert_eq!(error_of(b"<html>"), None);
        let odd = br#"{"errors":[{"status":403,"message":"Forbidden"}]}"#;
        assert_eq!(error_of(odd), Some(("403".to_owned(), "Forbidden".to_owned())));
        assert_eq!(error_of(br#"{"errors":[]}"#), None);
        let words = |media_type: &str, bytes: &[u8]| plain_words(media_type, bytes).map(|(_, words)| words);
        for (media_type, body, expected) in [
            ("application/json", r#"{"message":"not today"}"#, Some("not today")),
            ("application/json", r#"{"error":{"message":"not here"}}"#, Some("not here")),
            (
                "application/json",
                r#"{"error":"invalid_grant","error_description":"the token is old"}"#,
                Some("the token is old"),
            ),
            ("text/plain", "\n denied by the proxy \nmore", Some("denied by the proxy")),
            ("text/html", "<html>Sign in</html>", None),
            ("application/json", "{}", None),
        ] {
            assert_eq!(words(media_type, body.as_bytes()).as_deref(), expected, "{body}");
        }
    }
}
