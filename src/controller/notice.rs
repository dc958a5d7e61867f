//! What is worth telling somebody: that a lane has stopped being as it should be, and that it is so again. Pure.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::model::NoticeFormat;

use super::status::PassStatus;

/// A pass that could not look at something is often followed by one that can: told is what lasts for so long, unless it is said
/// otherwise.
pub const LASTS: SignedDuration = SignedDuration::from_mins(2);
/// The same trouble is told again after so long.
const AGAIN: SignedDuration = SignedDuration::from_hours(6);

/// What somebody is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The lane.
    pub lane: String,
    /// When.
    pub at: Timestamp,
    /// It is as it should be again.
    pub is_good: bool,
    /// In a line.
    pub title: String,
    /// What is wrong, a line each.
    pub lines: Vec<String>,
}

/// What has been told of a lane.
#[derive(Clone, Debug)]
pub struct Told {
    /// Told is what lasts for so long.
    lasts: SignedDuration,
    failing_since: Option<Timestamp>,
    /// When trouble was told last, and which.
    told: Option<(Timestamp, Vec<String>)>,
}

impl Told {
    /// Nothing was told.
    pub fn new(lasts: SignedDuration) -> Self {
        Self { lasts, failing_since: None, told: None }
    }

    /// A pass has ended: whether that is worth telling.
    pub fn ended(&mut self, lane: &str, status: &PassStatus, now: Timestamp) -> Option<Notice> {
        let notice = |is_good, title, lines| Some(Notice { lane: lane.to_owned(), at: now, is_good, title, lines });
        if status.is_good() {
            let since = self.failing_since.take();
            return self.told.take().and_then(|_| {
                let since = since.map_or(String::new(), |since| format!(" (it was not since {since})"));
                notice(true, format!("{lane} is as it should be again{since}"), Vec::new())
            });
        }
        let since = *self.failing_since.get_or_insert(now);
        let lines = trouble(status);
        let is_new = match &self.told {
            None => true,
            // Another number of the same is no news.
            Some((at, told)) => now.duration_since(*at) >= AGAIN || (*told != lines && told.len() < lines.len()),
        };
        if now.duration_since(since) < self.lasts || !is_new {
            return None;
        }
        self.told = Some((now, lines.clone()));
        notice(false, format!("{lane} is not as it should be, since {since}"), lines)
    }

    /// Whether there is trouble now that has lasted long enough to be told.
    pub fn is_lasting(&self, now: Timestamp) -> bool {
        self.failing_since.is_some_and(|since| now.duration_since(since) >= self.lasts)
    }

    /// When a trouble that was not told yet will have lasted long enough.
    pub fn next(&self) -> Option<Timestamp> {
        self.failing_since.filter(|_| self.told.is_none()).and_then(|since| since.checked_add(self.lasts).ok())
    }
}

/// What is wrong, many of a kind in one line.
fn trouble(status: &PassStatus) -> Vec<String> {
    const MOST: usize = 10;
    let mut lines: Vec<String> = status.error.iter().cloned().collect();
    lines.extend(status.config_error.iter().map(|error| format!("the config is broken: {error}")));
    if status.errors > 0 {
        lines.push(format!("the definitions have {} errors", status.errors));
    }
    lines.extend(status.failed_imports.iter().map(|(reason, number)| format!("{number} imports refused: {reason}")));
    lines.extend(status.not_done().map(|(word, number)| format!("{number} steps {word}")));
    lines.extend(status.failures.iter().take(MOST).cloned());
    lines.extend(status.waits.iter().take(MOST).cloned());
    if status.deferred > MOST {
        lines.push(format!("and {} more that wait", status.deferred - MOST));
    }
    lines
}

impl Notice {
    /// A JSON in whose strings the notice is filled in. What is filled in cannot end a string: it is filled in after the JSON
    /// was parsed.
    pub fn fill(&self, template: &str) -> Value {
        let mut value = serde_json::from_str(template).unwrap_or_default();
        self.fill_in(&mut value);
        value
    }

    fn fill_in(&self, value: &mut Value) {
        let Self { lane, at, is_good, title, lines } = self;
        match value {
            Value::String(text) => {
                let state = if *is_good { "good" } else { "failing" };
                let (time, lines) = (at.to_string(), lines.join("\n"));
                let places = [
                    ("lane", lane),
                    ("state", &state.to_owned()),
                    ("time", &time),
                    ("title", title),
                    ("lines", &lines),
                ];
                // In one go: what is filled in is no template.
                let mut out = String::new();
                let mut rest = text.as_str();
                while let Some((before, after)) = rest.split_once("{{") {
                    out.push_str(before);
                    let known = places
                        .iter()
                        .find_map(|(name, value)| Some((*value, after.strip_prefix(name)?.strip_prefix("}}")?)));
                    match known {
                        Some((value, left)) => {
                            out.push_str(value);
                            rest = left;
                        }
                        None => {
                            out.push_str("{{");
                            rest = after;
                        }
                    }
                }
                out.push_str(rest);
                *text = out;
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.fill_in(item)),
            Value::Object(map) => map.values_mut().for_each(|value| self.fill_in(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// The body, and its content type. What comes from outside is inert.
    pub fn body(&self, format: NoticeFormat, tool: &str) -> (Value, &'static str) {
        let Self { lane, at, is_good, title, lines } = self;
        let data = json!({"lane": lane, "at": at, "isGood": is_good, "title": title, "lines": lines});
        match format {
            NoticeFormat::Json => (data, "application/json"),
            NoticeFormat::Slack => {
                // Its markup begins with these (api.slack.com, "Escaping text"); `@` and `#` name people and channels.
                let inert = |text: &str| {
                    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
                    text.replace(['@', '#'], "\u{ff20}").replace(['*', '_', '~', '`'], "'")
                };
                let mark = if *is_good { ":white_check_mark:" } else { ":warning:" };
                let lines: String = lines.iter().map(|line| format!("\n\u{2022} {}", inert(line))).collect();
                (json!({"text": format!("{mark} {}{lines}", inert(title))}), "application/json")
            }
            NoticeFormat::CloudEvents => {
                let kind = if *is_good { "recovered" } else { "failing" };
                let body = json!({
                    "specversion": "1.0", "id": format!("{lane}-{}", at.as_millisecond()), "source": tool,
                    "type": format!("io.streamkeeper.lane.{kind}"), "subject": lane, "time": at,
                    "datacontenttype": "application/json", "data": data,
                });
                (body, "application/cloudevents+json")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_told_once_and_so_is_that_it_is_over() {
        let at = |minutes: i64| Timestamp::from_second(1_800_000_000 + minutes * 60).expect("a time");
        let bad = |error: &str| PassStatus { error: Some(error.to_owned()), ..PassStatus::default() };
        let good = PassStatus::default();
        let mut told = Told::new(LASTS);
        assert_eq!(told.ended("a", &good, at(0)), None);
        assert_eq!(told.ended("a", &bad("x"), at(1)), None, "it may be over in a moment");
        assert_eq!(told.next(), Some(at(3)));
        assert_eq!(told.ended("a", &good, at(2)), None, "it was");
        told.ended("a", &bad("x"), at(10));
        let notice = told.ended("a", &bad("x"), at(12)).expect("it lasts");
        assert!(!notice.is_good && notice.lines == ["x"], "{notice:?}");
        for minutes in 13..300 {
            assert_eq!(told.ended("a", &bad("x"), at(minutes)), None);
        }
        assert!(told.ended("a", &bad("x"), at(400)).is_some(), "still");
        assert!(told.ended("a", &good, at(401)).expect("over").is_good);
        assert_eq!(told.ended("a", &good, at(402)), None);
    }

    #[test]
    fn what_strangers_write_is_inert() {
        let lines = vec!["<!channel> @here *x* `rm` <http://evil|click> #general & co".to_owned()];
        let notice = Notice { lane: "a".into(), at: Timestamp::UNIX_EPOCH, is_good: false, title: "t".into(), lines };
        let (body, _) = notice.body(NoticeFormat::Slack, "x");
        let text = body["text"].as_str().expect("a text");
        assert!(!text.contains(['<', '>', '@', '#', '*', '`']), "{text}");
        let filled = notice.fill(r#"{"a": ["{{title}}: {{lines}} {{x}} {{lane}}"], "{{lane}}": 1}"#);
        let text = filled["a"][0].as_str().expect("a text");
        assert!(text.starts_with("t: <!channel>") && text.ends_with("{{x}} a"), "{text}");
        assert_eq!(filled["{{lane}}"], 1);
        let (body, kind) = notice.body(NoticeFormat::CloudEvents, "x");
        for required in ["specversion", "id", "source", "type"] {
            assert!(body[required].is_string(), "{required}");
        }
        assert_eq!(kind, "application/cloudevents+json");
    }
}
