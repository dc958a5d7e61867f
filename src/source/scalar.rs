//! Which type readers of YAML guess for a value without quotes.

/// What a plain scalar is to the YAML 1.1 reader that `oc` and `kubectl` use. Dates are told apart because other readers
/// turn them into times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalarKind {
    /// `null`, `~`, nothing.
    Null,
    /// `true`, `off`, `Yes`, `n`, …
    Bool,
    /// `7`, `0x1f`, `0o17`, `1_000`.
    Int,
    /// `3.10`, `1e3`, `.inf`.
    Float,
    /// `2024-05-01`.
    Date,
    /// Anything else, and everything in quotes.
    Text,
}

impl ScalarKind {
    /// The type of an unquoted value. Source: YAML 1.1 types bool, int, float, null, timestamp; `y` and `n` are left out
    /// as all readers in use leave them out.
    pub fn of_plain(text: &str) -> Self {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => Self::Null,
            "true" | "True" | "TRUE" | "false" | "False" | "FALSE" | "yes" | "Yes" | "YES" | "no" | "No" | "NO"
            | "on" | "On" | "ON" | "off" | "Off" | "OFF" => Self::Bool,
            text if text.starts_with(|char: char| char.is_ascii_digit() || matches!(char, '+' | '-' | '.')) => {
                numeric(text)
            }
            _ => Self::Text,
        }
    }

    /// The type in a sentence.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "a boolean",
            Self::Int | Self::Float => "a number",
            Self::Date => "a date",
            Self::Text => "text",
        }
    }
}

fn numeric(text: &str) -> ScalarKind {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return ScalarKind::Float;
    }
    if is_date(text) {
        return ScalarKind::Date;
    }
    let digits = unsigned.replace('_', "");
    let radix = |prefix: [&str; 2], radix: u32| {
        prefix.iter().find_map(|p| digits.strip_prefix(p)).is_some_and(|rest| is_radix(rest, radix))
    };
    if radix(["0x", "0X"], 16) || radix(["0o", "0O"], 8) || radix(["0b", "0B"], 2) {
        return ScalarKind::Int;
    }
    if !unsigned.starts_with('_') && is_radix(&digits, 10) {
        return ScalarKind::Int;
    }
    // Rust's grammar of floats is YAML's but for the words it also takes (`inf`, `nan`), which have no digit.
    let numeric = digits.bytes().any(|byte| byte.is_ascii_digit()) && digits.parse::<f64>().is_ok();
    if numeric { ScalarKind::Float } else { ScalarKind::Text }
}

fn is_radix(text: &str, radix: u32) -> bool {
    !text.is_empty() && text.chars().all(|char| char.is_digit(radix))
}

/// `2024-05-01`, `2024-5-1`, and the same followed by a time.
fn is_date(text: &str) -> bool {
    let (date, rest) = text.split_at(text.find(['T', 't', ' ']).unwrap_or(text.len()));
    let mut parts = date.split('-');
    let mut part = |lengths: std::ops::RangeInclusive<usize>| {
        parts.next().is_some_and(|part| lengths.contains(&part.len()) && is_radix(part, 10))
    };
    part(4..=4)
        && part(1..=2)
        && part(1..=2)
        && parts.next().is_none()
        && (rest.is_empty() || rest[1..].starts_with(|char: char| char.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_values_have_the_type_other_readers_guess() {
        use ScalarKind::{Bool, Date, Float, Int, Null, Text};
        let table = [
            ("3.10", Float),
            ("1e3", Float),
            ("0x1f", Int),
            ("on", Bool),
            ("2024-05-01", Date),
            ("007", Int),
            ("1_000", Int),
            ("~", Null),
            ("", Null),
            ("v1", Text),
            ("1.2.3", Text),
            ("1.2-rc1", Text),
            ("latest", Text),
            ("-", Text),
            (".", Text),
            ("+1", Int),
            ("1.", Float),
            (".5", Float),
            ("0b11", Int),
            ("0o17", Int),
            ("2024-05-01T10:00:00Z", Date),
            ("2024-05", Text),
            ("20240501", Int),
            ("infinity", Text),
            ("1-2-3", Text),
            (".inf", Float),
            ("nan", Text),
            ("y", Text),
            ("NO", Bool),
            ("8u312", Text),
            ("12e03", Float),
            ("0xzz", Text),
        ];
        for (text, kind) in table {
            assert_eq!(ScalarKind::of_plain(text), kind, "{text:?}");
        }
    }
}
