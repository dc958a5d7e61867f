//! Conflict backoff: another field manager changes back what was applied. After some rounds it is reported, and the object is
//! left alone for longer each time. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::model::{Backoff, Conflict};

/// Rounds after which it is a conflict.
const ROUNDS: usize = 3;
/// Rounds that are longer ago do not count.
const MEMORY: Duration = Duration::from_secs(3600);
/// How long the object is left alone then.
const PAUSE: Backoff = Backoff::doubling(Duration::from_secs(30), Duration::from_secs(1800));

/// What was applied, by the name of the object.
#[derive(Clone, Debug, Default)]
pub struct ConflictBackoff {
    about: BTreeMap<String, History>,
}

#[derive(Clone, Debug, Default)]
struct History {
    /// What was wanted.
    wanted: String,
    /// When the same was put right again.
    rounds: Vec<Timestamp>,
    with: Option<String>,
    until: Option<Timestamp>,
}

impl ConflictBackoff {
    /// Something was made what is wanted. If that is what it was made before, somebody has changed it back: gives who, and
    /// since how many rounds, when it has become a conflict.
    pub fn written(&mut self, name: &str, wanted: &str, with: Option<&str>, now: Timestamp) -> Option<String> {
        let history = self.about.entry(name.to_owned()).or_default();
        if history.wanted != wanted {
            *history = History { wanted: wanted.to_owned(), ..History::default() };
            return None;
        }
        history.rounds.retain(|round| now.duration_since(*round).unsigned_abs() < MEMORY);
        history.rounds.push(now);
        history.with = with.map(str::to_owned);
        let rounds = history.rounds.len();
        if rounds < ROUNDS {
            return None;
        }
        let more = u32::try_from(rounds - ROUNDS).unwrap_or(u32::MAX);
        let pause = SignedDuration::try_from(PAUSE.after(more)).unwrap_or(SignedDuration::MAX);
        history.until = now.checked_add(pause).ok();
        Some(format!("{} changes it back, {rounds} times within the hour", history.by()))
    }

    /// What is to be left alone now, and why.
    pub fn held(&self, now: Timestamp) -> BTreeMap<String, Conflict> {
        let held = self.about.iter().filter(|(_, history)| history.until.is_some_and(|until| now < until));
        let why = |history: &History| {
            let until = history.until.map_or(String::new(), |until| format!(" until {until}"));
            format!("a conflict{until}: {} changes it back again and again", history.by())
        };
        let held = held.map(|(name, history)| {
            let model = Conflict { wanted: history.wanted.clone(), why: why(history) };
            (name.clone(), model)
        });
        held.collect()
    }

    /// When the first of them is looked at again.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        self.about.values().filter_map(|history| history.until).filter(|until| *until > now).min()
    }
}

impl History {
    fn by(&self) -> String {
        self.with.as_ref().map_or("somebody".to_owned(), |with| format!("`{with}`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conflict_backoff_grows_from_the_third_round_on() {
        let at = |seconds: i64| Timestamp::from_second(1_800_000_000 + seconds).expect("a time");
        let mut conflicts = ConflictBackoff::default();
        assert_eq!(conflicts.written("n/s", "a", None, at(0)), None, "the first time it is new");
        assert_eq!(conflicts.written("n/s", "a", Some("oc"), at(10)), None);
        assert_eq!(conflicts.written("n/s", "a", Some("oc"), at(20)), None);
        assert!(conflicts.held(at(21)).is_empty());
        let told = conflicts.written("n/s", "a", Some("oc"), at(30)).expect("a conflict");
        assert!(told.contains("`oc` changes it back, 3 times"), "{told}");
        assert!(conflicts.held(at(59)).contains_key("n/s") && conflicts.held(at(60)).is_empty());
        assert_eq!(conflicts.next(at(31)), Some(at(60)));
        conflicts.written("n/s", "a", Some("oc"), at(61));
        assert_eq!(conflicts.next(at(62)), Some(at(121)), "twice as long");
        // Git says something else: whatever was, is over.
        assert_eq!(conflicts.written("n/s", "b", Some("oc"), at(122)), None);
        assert!(conflicts.held(at(123)).is_empty());
        assert_eq!(conflicts.written("n/s", "b", Some("oc"), at(10_000)), None, "long ago");
    }
}
