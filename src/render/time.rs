//! How long ago, in the words of `oc` (semantics 7.4).

use jiff::Timestamp;

/// The time between two moments in words; nothing lies in the future.
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(then.as_second()).max(0);
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match seconds {
        0 => "Less than a second ago".to_owned(),
        1 => "1 second ago".to_owned(),
        2..60 => format!("{seconds} seconds ago"),
        60..120 => "About a minute ago".to_owned(),
        120..3600 if minutes < 60 => format!("{minutes} minutes ago"),
        _ if hours == 1 => "About an hour ago".to_owned(),
        _ if hours < 48 => format!("{hours} hours ago"),
        _ if hours < 24 * 14 => format!("{} days ago", hours / 24),
        _ if hours < 24 * 60 => format!("{} weeks ago", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months ago", hours / 24 / 30),
        _ => format!("{} years ago", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_have_ocs_words() {
        let at = |seconds: i64| Timestamp::from_second(seconds).expect("in range");
        let day = 86_400;
        for (seconds, words) in [
            (0, "Less than a second ago"),
            (1, "1 second ago"),
            (59, "59 seconds ago"),
            (60, "About a minute ago"),
            (300, "5 minutes ago"),
            (3600, "About an hour ago"),
            (2 * 3600, "2 hours ago"),
            (3 * day, "3 days ago"),
            (20 * day, "2 weeks ago"),
            (90 * day, "3 months ago"),
            (800 * day, "2 years ago"),
            (-5, "Less than a second ago"),
        ] {
            assert_eq!(ago(at(0), at(seconds)), words, "{seconds}");
        }
    }
}
