//! When a host may be asked. Pure: time comes in.
//!
//! A host is asked by one request until it has answered once, by one again after a failure, and otherwise by as many at a
//! time as its config says. What it says of its quota is believed before it has to say 429: a tenth is kept back, for what
//! a person waits for. (A host that cannot be reached is remembered by `host`: it may be reached in another way.)

use std::time::{Duration, Instant};

use crate::model::{Backoff, HostTally};

use super::wire::Quota;

/// A host that is broken is left alone for so long at first, and twice as long each time, up to `LONGEST_BREAK`.
pub(super) const FIRST_BREAK: Duration = Duration::from_secs(30);
/// A host that says 429 and not for how long; likewise.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_BREAK: Duration = Duration::from_secs(600);
/// A window whose end is not said, as Docker Hub's, which moves.
const UNKNOWN_WINDOW: Duration = Duration::from_secs(300);
/// The most that is kept back of a quota.
const LARGEST_RESERVE: u64 = 20;
/// Broken answers in a row after which a host is taken to be down.
const BROKEN: u32 = 8;

/// What is known of a host's patience.
#[derive(Debug)]
pub(super) struct Pace {
    most: usize,
    interval: Duration,
    under_way: usize,
    proven: bool,
    /// Answers of 429 in a row. Those that were under way together count as one.
    failures: u32,
    failed: Option<Instant>,
    broken: u32,
    paused: Option<Instant>,
    next: Option<Instant>,
    limit: Option<u64>,
    /// The least that was told to be left of this window: answers overtake one another.
    left: Option<u64>,
    reset: Option<Instant>,
    /// How requests have ended.
    tally: HostTally,
}

/// Whether a request may be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It may, and counts as under way.
    Go,
    /// Not before then.
    At(Instant),
    /// Not before one that is under way has ended.
    Behind,
}

/// How a request ended, as far as the host's patience is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It answered.
    Answered,
    /// It answered that it is broken.
    Broken,
    /// It asked to be left alone, for so long if it said so.
    Limited(Option<Duration>),
}

impl Pace {
    pub(super) fn new(most: usize, rate: Option<u32>) -> Self {
        let interval = rate.filter(|rate| *rate > 0).map_or(Duration::ZERO, |rate| Duration::from_secs(1) / rate);
        Self {
            most: most.max(1),
            interval,
            under_way: 0,
            proven: false,
            failures: 0,
            failed: None,
            broken: 0,
            paused: None,
            next: None,
            limit: None,
            left: None,
            reset: None,
            tally: HostTally::default(),
        }
    }

    /// How requests have ended, and what is left of the quota.
    pub(super) fn tally(&self) -> HostTally {
        HostTally { left: self.left, ..self.tally }
    }

    /// Leaves it alone until then.
    pub(super) fn pause(&mut self, until: Instant) {
        self.paused = self.paused.max(Some(until));
    }

    /// Whether a request may be sent; `urgent` ones may use what is kept back of the quota.
    pub(super) fn admit(&mut self, now: Instant, urgent: bool) -> Admission {
        if let Some(until) = self.paused.filter(|until| now < *until) {
            return Admission::At(until);
        }
        if self.reset.is_some_and(|reset| reset <= now) {
            (self.left, self.reset) = (None, None);
        }
        let most = if self.proven && self.failures == 0 { self.most } else { 1 };
        if self.under_way >= most {
            return Admission::Behind;
        }
        let reserve = if urgent { 0 } else { self.limit.map_or(1, |limit| (limit / 10).clamp(1, LARGEST_RESERVE)) };
        // Those under way may not be counted in it yet, or may: what the last of them brings decides.
        if self.left.is_some_and(|left| left.saturating_sub(self.under_way as u64) <= reserve) {
            if self.under_way > 0 {
                return Admission::Behind;
            }
            return Admission::At(*self.reset.get_or_insert(now + UNKNOWN_WINDOW));
        }
        if let Some(next) = self.next.filter(|next| now < *next) {
            return Admission::At(next);
        }
        self.next = Some(now + self.interval);
        self.under_way += 1;
        Admission::Go
    }

    /// A request that was let through was not sent.
    pub(super) fn abandon(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// A request has ended that was let through at `started`. `jitter` is between 0 and 1: so that many clients do not come back at once.
    pub(super) fn ended(&mut self, now: Instant, started: Instant, ending: Ending, quota: Quota, jitter: f64) {
        self.under_way = self.under_way.saturating_sub(1);
        if let Some(remaining) = quota.remaining {
            self.limit = quota.limit.or(self.limit);
            self.left = Some(self.left.map_or(remaining, |left| left.min(remaining)));
            self.reset = quota.reset.map(|reset| now + reset).or(self.reset);
        }
        let growing = |first: Duration, times: u32| growing(first).spread(times, jitter);
        // Nothing is learned from what was sent before the last failure was known.
        let is_news = self.failed.is_none_or(|failed| failed < started);
        match ending {
            Ending::Answered => self.tally.answered += 1,
            Ending::Broken => self.tally.broken += 1,
            Ending::Limited(_) => self.tally.limited += 1,
        }
        match ending {
            Ending::Answered => {
                self.proven = true;
                self.broken = 0;
                if is_news {
                    self.failures = 0;
                }
            }
            Ending::Broken => {
                self.proven = true;
                self.broken += 1;
                if self.broken >= BROKEN {
                    self.pause(now + growing(FIRST_BREAK, self.broken - BROKEN));
                }
            }
            Ending::Limited(wait) => {
                // One that says "a second" again and again is not asked every second.
                self.proven = true;
                let times = if is_news { self.failures } else { self.failures.saturating_sub(1) };
                self.pause(now + wait.or(quota.reset).unwrap_or_default().max(growing(FIRST_PAUSE, times)));
                self.fail(now, is_news);
            }
        }
    }

    fn fail(&mut self, now: Instant, is_news: bool) {
        if is_news {
            self.failures += 1;
            self.failed = Some(now);
        }
    }
}

/// From `first` up to the longest break.
pub(super) const fn growing(first: Duration) -> Backoff {
    Backoff::doubling(first, LONGEST_BREAK)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(limit: u64, remaining: u64, reset: u64) -> Quota {
        Quota { limit: Some(limit), remaining: Some(remaining), reset: Some(Duration::from_secs(reset)) }
    }

    fn proven() -> (Pace, Instant) {
        let (mut pace, now) = (Pace::new(4, None), Instant::now());
        assert_eq!(pace.admit(now, false), Admission::Go);
        assert_eq!(pace.admit(now, false), Admission::Behind, "one alone until it has answered");
        pace.ended(now, now, Ending::Answered, Quota::default(), 0.5);
        (pace, now)
    }

    #[test]
    fn so_many_at_once_and_no_more() {
        let (mut pace, now) = proven();
        let admitted = (0..9).filter(|_| pace.admit(now, false) == Admission::Go).count();
        assert_eq!(admitted, 4);
    }

    #[test]
    fn a_quota_is_kept_before_it_is_spent() {
        let (mut pace, now) = proven();
        let mut sent = 0;
        let mut left = 30;
        // A registry that counts each request and would answer 429 to the thirty-first.
        let wait = loop {
            match pace.admit(now, false) {
                Admission::Go => {
                    sent += 1;
                    left -= 1;
                    pace.ended(now, now, Ending::Answered, quota(30, left, 60), 0.5);
                }
                other => break other,
            }
        };
        assert_eq!(wait, Admission::At(now + Duration::from_secs(60)));
        assert_eq!(sent, 27, "a tenth is kept back");
        assert_eq!(pace.admit(now, true), Admission::Go, "for what a person waits for");
        pace.ended(now, now, Ending::Answered, quota(30, 2, 60), 0.5);
        assert_eq!(pace.admit(now + Duration::from_secs(61), false), Admission::Go, "the next window");
    }

    #[test]
    fn requests_under_way_count_against_the_quota() {
        let (mut pace, now) = proven();
        for _ in 0..3 {
            assert_eq!(pace.admit(now, false), Admission::Go);
        }
        pace.ended(now, now, Ending::Answered, quota(10, 3, 60), 0.5);
        assert_eq!(pace.admit(now, false), Admission::Behind, "two of the three left may be under way");
        pace.ended(now, now, Ending::Answered, quota(10, 3, 60), 0.5);
        pace.ended(now, now, Ending::Answered, quota(10, 3, 60), 0.5);
        assert_eq!(pace.admit(now, false), Admission::Go, "they were counted already");
        pace.ended(now, now, Ending::Answered, quota(10, 5, 60), 0.5);
        let admitted = (0..4).filter(|_| pace.admit(now, false) == Admission::Go).count();
        assert_eq!(admitted, 2, "an answer that was overtaken adds nothing");
    }

    #[test]
    fn after_429_one_asks_alone_and_later_and_later() {
        let (mut pace, now) = proven();
        assert_eq!(pace.admit(now, false), Admission::Go);
        pace.ended(now, now, Ending::Limited(Some(Duration::from_secs(7))), Quota::default(), 0.5);
        assert_eq!(pace.admit(now, false), Admission::At(now + Duration::from_secs(7)));
        let later = now + Duration::from_secs(8);
        assert_eq!(pace.admit(later, false), Admission::Go);
        assert_eq!(pace.admit(later, false), Admission::Behind);
        pace.ended(later, later, Ending::Limited(None), Quota::default(), 0.5);
        assert_eq!(pace.admit(later, false), Admission::At(later + 2 * FIRST_PAUSE));
    }

    #[test]
    fn a_host_that_is_broken_is_left_alone() {
        let (mut pace, now) = proven();
        for round in 0..BROKEN {
            assert_eq!(pace.admit(now, false), Admission::Go, "{round}");
            pace.ended(now, now, Ending::Broken, Quota::default(), 0.5);
        }
        assert_eq!(pace.admit(now, false), Admission::At(now + FIRST_BREAK), "broken answers in a row");
    }

    #[test]
    fn a_rate_spaces_requests() {
        let (mut pace, now) = (Pace::new(4, Some(10)), Instant::now());
        assert_eq!(pace.admit(now, false), Admission::Go);
        pace.ended(now, now, Ending::Answered, Quota::default(), 0.5);
        assert_eq!(pace.admit(now, false), Admission::At(now + Duration::from_millis(100)));
    }
}
