//! Somebody else changes back what we put right: after some rounds of that, it is told, and we are slower than they are. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::model;

/// Rounds after which it is a quarrel.
const ROUNDS: usize = 3;
/// Rounds that are longer ago do not count.
const MEMORY: Duration = Duration::from_secs(3600);
/// How long it is left alone then; doubled with each further round.
const PAUSE: Duration = Duration::from_secs(30);
const PAUSE_MOST: Duration = Duration::from_secs(1800);

/// What has been put right, by what it is called.
#[derive(Clone, Debug, Default)]
pub struct Quarrels {
    about: BTreeMap<String, Quarrel>,
}

#[derive(Clone, Debug, Default)]
struct Quarrel {
    /// What was wanted.
    wanted: String,
    /// When the same was put right again.
    rounds: Vec<Timestamp>,
    with: Option<String>,
    until: Option<Timestamp>,
}

impl Quarrels {
    /// Something was made what is wanted. If that is what it was made before, somebody has changed it back: gives who, and
    /// since how many rounds, when it has become a quarrel.
    pub fn written(&mut self, name: &str, wanted: &str, with: Option<&str>, now: Timestamp) -> Option<String> {
        let quarrel = self.about.entry(name.to_owned()).or_default();
        if quarrel.wanted != wanted {
            *quarrel = Quarrel { wanted: wanted.to_owned(), ..Quarrel::default() };
            return None;
        }
        quarrel.rounds.retain(|round| now.duration_since(*round).unsigned_abs() < MEMORY);
        quarrel.rounds.push(now);
        quarrel.with = with.map(str::to_owned);
        let rounds = quarrel.rounds.len();
        if rounds < ROUNDS {
            return None;
        }
        let doubled = PAUSE.saturating_mul(1 << (rounds - ROUNDS).min(16));
        let pause = SignedDuration::try_from(doubled.min(PAUSE_MOST)).unwrap_or(SignedDuration::MAX);
        quarrel.until = now.checked_add(pause).ok();
        Some(format!("{} changes it back, {rounds} times within the hour", quarrel.by()))
    }

    /// What is to be left alone now, and why.
    pub fn held(&self, now: Timestamp) -> BTreeMap<String, model::Quarrel> {
        let held = self.about.iter().filter(|(_, quarrel)| quarrel.until.is_some_and(|until| now < until));
        let why = |quarrel: &Quarrel| {
            let until = quarrel.until.map_or(String::new(), |until| format!(" until {until}"));
            format!("a quarrel{until}: {} changes it back again and again", quarrel.by())
        };
        let held = held.map(|(name, quarrel)| {
            let model = model::Quarrel { wanted: quarrel.wanted.clone(), why: why(quarrel) };
            (name.clone(), model)
        });
        held.collect()
    }

    /// When the first of them is looked at again.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        self.about.values().filter_map(|quarrel| quarrel.until).filter(|until| *until > now).min()
    }
}

impl Quarrel {
    fn by(&self) -> String {
        self.with.as_ref().map_or("somebody".to_owned(), |with| format!("`{with}`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_three_rounds_it_is_a_quarrel_and_we_are_slower_each_time() {
        let at = |seconds: i64| Timestamp::from_second(1_800_000_000 + seconds).expect("a time");
        let mut quarrels = Quarrels::default();
        assert_eq!(quarrels.written("n/s", "a", None, at(0)), None, "the first time it is new");
        assert_eq!(quarrels.written("n/s", "a", Some("oc"), at(10)), None);
        assert_eq!(quarrels.written("n/s", "a", Some("oc"), at(20)), None);
        assert!(quarrels.held(at(21)).is_empty());
        let told = quarrels.written("n/s", "a", Some("oc"), at(30)).expect("a quarrel");
        assert!(told.contains("`oc` changes it back, 3 times"), "{told}");
        assert!(quarrels.held(at(59)).contains_key("n/s") && quarrels.held(at(60)).is_empty());
        assert_eq!(quarrels.next(at(31)), Some(at(60)));
        quarrels.written("n/s", "a", Some("oc"), at(61));
        assert_eq!(quarrels.next(at(62)), Some(at(121)), "twice as long");
        // Git says something else: whatever was, is over.
        assert_eq!(quarrels.written("n/s", "b", Some("oc"), at(122)), None);
        assert!(quarrels.held(at(123)).is_empty());
        assert_eq!(quarrels.written("n/s", "b", Some("oc"), at(10_000)), None, "long ago");
    }
}
