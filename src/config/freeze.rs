//! Times in which nothing is changed.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A time in which nothing is changed: what would be is told. `--ignore-freeze` overrides it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FreezeConfig {
    /// When it begins: `18:00` on every day, `Fri 16:00` in every week, `2026-12-20` or `2026-12-20T16:00` once.
    pub from: Moment,
    /// When it ends, in the same way.
    pub to: Moment,
    /// Time zone of both, such as `Europe/Berlin`; UTC when it is not given.
    #[serde(default)]
    pub time_zone: Option<String>,
    /// Why, for whoever has to wait.
    pub reason: String,
}

/// A moment of every day, of every week, or one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Moment {
    /// Of every day.
    Daily(Time),
    /// Of every week.
    Weekly(Weekday, Time),
    /// One.
    Once(DateTime),
}

impl TryFrom<String> for Moment {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Moment> for String {
    fn from(moment: Moment) -> Self {
        const NAMES: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
        match moment {
            Moment::Daily(time) => time.strftime("%H:%M").to_string(),
            Moment::Weekly(day, time) => {
                format!("{} {}", NAMES[usize::from(day.to_monday_zero_offset().unsigned_abs())], time.strftime("%H:%M"))
            }
            Moment::Once(at) => at.to_string(),
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            let text = crate::source::inert(text, 60);
            format!("`{text}` is no moment: write `18:00`, `Fri 16:00`, `2026-12-20` or `2026-12-20T16:00`")
        };
        let time = |text: &str| {
            let (hour, minute) = text.split_once(':').filter(|(hour, minute)| hour.len() == 2 && minute.len() == 2)?;
            Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
        };
        let day = |text: &str| match text.to_ascii_lowercase().as_str() {
            "mon" | "monday" => Some(Weekday::Monday),
            "tue" | "tuesday" => Some(Weekday::Tuesday),
            "wed" | "wednesday" => Some(Weekday::Wednesday),
            "thu" | "thursday" => Some(Weekday::Thursday),
            "fri" | "friday" => Some(Weekday::Friday),
            "sat" | "saturday" => Some(Weekday::Saturday),
            "sun" | "sunday" => Some(Weekday::Sunday),
            _ => None,
        };
        if let Some((weekday, rest)) = text.split_once(' ') {
            return day(weekday).zip(time(rest)).map(|(day, time)| Self::Weekly(day, time)).ok_or_else(wrong);
        }
        if let Some(time) = time(text) {
            return Ok(Self::Daily(time));
        }
        let once = text.parse::<DateTime>().ok().or_else(|| Some(text.parse::<Date>().ok()?.at(0, 0, 0, 0)));
        once.map(Self::Once).ok_or_else(wrong)
    }
}

impl JsonSchema for Moment {
    fn schema_name() -> Cow<'static, str> {
        "Moment".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A moment of every day, of every week, or one.",
            "examples": ["18:00", "Fri 16:00", "2026-12-20", "2026-12-20T16:00"],
        })
    }
}

impl fmt::Display for FreezeConfig {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&crate::source::inert(&self.reason, 120))
    }
}

impl FreezeConfig {
    fn zone(&self) -> Result<TimeZone, String> {
        match self.time_zone.as_deref() {
            None => Ok(TimeZone::UTC),
            Some(name) => TimeZone::get(name)
                .map_err(|_| format!("`policy.freeze`: there is no time zone `{}`", crate::source::inert(name, 60))),
        }
    }

    /// What is wrong with it.
    pub(super) fn check(&self) -> Result<(), String> {
        self.zone()?;
        let same = matches!(
            (self.from, self.to),
            (Moment::Daily(_), Moment::Daily(_))
                | (Moment::Weekly(..), Moment::Weekly(..))
                | (Moment::Once(_), Moment::Once(_))
        );
        if !same || self.from == self.to {
            return Err("`policy.freeze`: `from` and `to` are two moments of the same kind".to_owned());
        }
        Ok(())
    }

    /// Until when nothing is changed; none if something may be, now. In local time, as people mean it.
    pub fn until(&self, now: Timestamp) -> Option<Timestamp> {
        let zone = self.zone().ok()?;
        let local = now.to_zoned(zone.clone()).datetime();
        let end = match (self.from, self.to) {
            (Moment::Once(from), Moment::Once(to)) => (from <= local && local < to).then_some(to)?,
            (Moment::Daily(from), Moment::Daily(to)) => {
                within(local, minutes(from), minutes(to), minutes(local.time()), 24 * 60)?
            }
            (Moment::Weekly(from_day, from), Moment::Weekly(to_day, to)) => {
                let of_week = |day: Weekday, time| i64::from(day.to_monday_zero_offset()) * 24 * 60 + minutes(time);
                let at = of_week(local.weekday(), local.time());
                within(local, of_week(from_day, from), of_week(to_day, to), at, 7 * 24 * 60)?
            }
            _ => return None,
        };
        end.to_zoned(zone).ok().map(|end| end.timestamp())
    }
}

fn minutes(time: Time) -> i64 {
    i64::from(time.hour()) * 60 + i64::from(time.minute())
}

/// The end of a time that comes round, if `at` is in it.
fn within(local: DateTime, from: i64, to: i64, at: i64, round: i64) -> Option<DateTime> {
    let (length, since) = ((to - from).rem_euclid(round), (at - from).rem_euclid(round));
    let whole = local.checked_sub(SignedDuration::from_secs(i64::from(local.second()))).ok()?;
    (since < length).then(|| whole.checked_add((length - since).minutes()).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(from: &str, to: &str, zone: Option<&str>, now: &str) -> Option<String> {
        let moment = |text: &str| text.parse().expect("a moment");
        let time_zone = zone.map(str::to_owned);
        let freeze = FreezeConfig { from: moment(from), to: moment(to), time_zone, reason: "x".to_owned() };
        freeze.check().expect("two of a kind");
        freeze.until(now.parse().expect("a time")).map(|until| until.to_string())
    }

    #[test]
    fn freezes_come_round_and_are_local() {
        let end = |text: &str| Some(text.to_owned());
        // The weekend: Friday 2026-11-20 16:00 to Monday 08:00, in Berlin (an hour ahead).
        let weekend = |now: &str| until("Fri 16:00", "Mon 08:00", Some("Europe/Berlin"), now);
        assert_eq!(weekend("2026-11-20T14:59:59Z"), None);
        assert_eq!(weekend("2026-11-20T15:00:30Z"), end("2026-11-23T07:00:00Z"));
        assert_eq!(weekend("2026-11-22T23:30:00Z"), end("2026-11-23T07:00:00Z"));
        assert_eq!(weekend("2026-11-23T07:00:00Z"), None);
        // The night, over midnight.
        assert_eq!(until("18:00", "08:00", None, "2026-11-20T23:00:00Z"), end("2026-11-21T08:00:00Z"));
        assert_eq!(until("18:00", "08:00", None, "2026-11-20T07:59:00Z"), end("2026-11-20T08:00:00Z"));
        assert_eq!(until("18:00", "08:00", None, "2026-11-20T12:00:00Z"), None);
        assert_eq!(until("2026-12-20", "2027-01-03T08:00", None, "2026-12-31T23:59:00Z"), end("2027-01-03T08:00:00Z"));
        assert_eq!(until("2026-12-20", "2027-01-03T08:00", None, "2026-12-19T23:59:00Z"), None);
        // Summer time begins on 2027-03-28 in Berlin: the end is still 08:00 there.
        assert_eq!(weekend("2027-03-27T12:00:00Z"), end("2027-03-29T06:00:00Z"));
        for wrong in ["25:00", "Fri", "Xyz 10:00", "8:00", "", "2026-13-01"] {
            assert!(wrong.parse::<Moment>().is_err(), "{wrong}");
        }
    }
}
