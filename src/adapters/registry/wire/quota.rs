//! What registries say of how much they will take: `RateLimit-*` in the forms that are in use.

use std::time::Duration;

use super::answer::LONGEST_WAIT;

/// How much a registry says is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Quota {
    /// Requests of one window.
    pub(in super::super) limit: Option<u64>,
    /// Requests left in it.
    pub(in super::super) remaining: Option<u64>,
    /// When the window ends.
    pub(in super::super) reset: Option<Duration>,
}

/// Seconds of a reset that is a point in time and no length of time: nobody has windows of ten years.
const POINT_IN_TIME: u64 = 315_360_000;

/// Reads the headers, given by lower-case name. `now` is in seconds since 1970, for registries that name a point in time.
///
/// Read are the three fields of draft-ietf-httpapi-ratelimit-headers-03 (with Docker Hub's `;w=` and the `X-` spelling), the
/// one field of its drafts 07 (`limit=1, remaining=0, reset=5`) and 08 on (`"default";r=0;t=5`).
pub(in super::super) fn quota<'a>(header: impl Fn(&str) -> Option<&'a str>, now: u64) -> Quota {
    let number = |text: &str| text.split([';', ',']).next()?.trim().parse::<u64>().ok();
    let any = |name: &str| header(&format!("ratelimit-{name}")).or_else(|| header(&format!("x-ratelimit-{name}")));
    let mut quota = Quota {
        limit: any("limit").and_then(number),
        remaining: any("remaining").and_then(number),
        reset: any("reset").and_then(number).map(|reset| seconds(reset, now)),
    };
    if let Some(text) = header("ratelimit") {
        for part in text.split([',', ';']) {
            let Some((name, value)) = part.split_once('=') else { continue };
            let Ok(value) = value.trim().parse::<u64>() else { continue };
            match name.trim() {
                "limit" | "q" => quota.limit = Some(value),
                "remaining" | "r" => quota.remaining = Some(value),
                "reset" | "t" => quota.reset = Some(seconds(value, now)),
                _ => {}
            }
        }
    }
    quota
}

fn seconds(value: u64, now: u64) -> Duration {
    let seconds = if value > POINT_IN_TIME { value.saturating_sub(now) } else { value };
    Duration::from_secs(seconds).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&str, &'static str)]) -> (Option<u64>, Option<u64>, Option<u64>) {
        let quota = quota(|name| headers.iter().find(|(key, _)| *key == name).map(|(_, value)| *value), 1_790_000_000);
        (quota.limit, quota.remaining, quota.reset.map(|reset| reset.as_secs()))
    }

    #[test]
    fn all_forms_in_use_are_read() {
        let docker_hub = [("ratelimit-limit", "100;w=21600"), ("ratelimit-remaining", "76;w=21600")];
        assert_eq!(read(&docker_hub), (Some(100), Some(76), None));
        let three = [("ratelimit-limit", "10"), ("ratelimit-remaining", "0"), ("ratelimit-reset", "30")];
        assert_eq!(read(&three), (Some(10), Some(0), Some(30)));
        let point = [("x-ratelimit-remaining", "1"), ("x-ratelimit-reset", "1790000060")];
        assert_eq!(read(&point), (None, Some(1), Some(60)));
        assert_eq!(read(&[("ratelimit", "limit=5, remaining=2, reset=9")]), (Some(5), Some(2), Some(9)));
        assert_eq!(read(&[("ratelimit", "\"default\";r=2;t=9")]), (None, Some(2), Some(9)));
        assert_eq!(read(&[("ratelimit-remaining", "many"), ("ratelimit", "x;;=;r=")]), (None, None, None));
        assert_eq!(read(&[("ratelimit-reset", "99999999999999999")]).2, Some(86_400));
    }
}
