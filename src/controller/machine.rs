//! When to look at the source, and when to run a pass: events in, commands out. Pure: time comes in with each event.
//!
//! Events only say "look". Nothing that an event carries is believed: what is so, the pass finds out.

use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::model::Backoff;

use crate::model::{Outcome, Plan, Report, Wait};

/// Times that a lane keeps to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Between two looks at a source that does not tell of its changes; none for one that does.
    pub poll: Option<Duration>,
    /// At least so often a pass looks at everything.
    pub full: Duration,
    /// After the first event that something has changed, others are waited for so long.
    pub gather: Duration,
    /// After the first tag is due, others are waited for so long; and for a hundred times as long as the last pass took, so that
    /// tags that are due cost a hundredth of the time at most.
    pub batch: Duration,
    /// Between the begin of two passes at least, however many events there are.
    pub rest: Duration,
    /// Until a pass that failed, or could not look at something, is made again; doubled each time.
    pub retry: Duration,
    /// The longest such wait.
    pub retry_most: Duration,
    /// Shifts this lane's times, so that not all of them, and not all replicas, ask at the same moment.
    pub seed: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            poll: Some(Duration::from_secs(60)),
            full: Duration::from_secs(3600),
            gather: Duration::from_millis(200),
            batch: Duration::from_secs(5),
            rest: Duration::from_millis(500),
            retry: Duration::from_secs(10),
            retry_most: Duration::from_secs(600),
            seed: 0,
        }
    }
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// This process may write from now on.
    Leads,
    /// Another process writes, or nobody knows.
    Follows,
    /// Something has changed, or somebody says so.
    Poke(Poke),
    /// The source was looked at.
    Looked(Look),
    /// The pass has ended.
    Ended(Ended),
    /// The time that was asked for has come.
    Woke,
    /// Stop, in good order.
    Stop,
}

/// Who says that there is something to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Poke {
    /// The source, whatever of it: its host's webhook, or files that have changed.
    Source,
    /// A registry: something was pushed.
    Registry,
    /// The target: somebody else has changed something.
    Target,
    /// A person: a signal, or the API.
    Asked,
    /// The config.
    Config,
}

/// What came of a look at the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// It is as it was when the last pass began.
    Same,
    /// It is not.
    Moved,
    /// Nobody knows.
    Failed,
}

/// How a pass has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// It could not be made, or left something undone that may go well next time.
    pub again: bool,
    /// From then on there may be something to do although nothing changes.
    pub due: Option<Timestamp>,
    /// It has changed something: whether all is as it should be, another pass has to say.
    pub changed: bool,
}

impl Ended {
    /// What a pass leaves to be done again, or soon. `unread`: a part of the source could not be read, and not because of what
    /// is written in it.
    pub fn of(plan: &Plan, report: Option<&Report>, unread: bool, due: Option<Timestamp>, now: Timestamp) -> Self {
        let unknown = plan.deferred.iter().any(|deferred| matches!(deferred.wait, Wait::Unknown(_)));
        let may_go =
            |outcome: &Outcome| !outcome.is_success() && !matches!(outcome, Outcome::Failed { again: false, .. });
        let outcomes = report.into_iter().flat_map(|report| report.outcomes.values());
        // What was refused changes nothing: it is tried again later and later.
        let did = |outcome: &Outcome| matches!(outcome, Outcome::Applied | Outcome::Diverged { .. });
        let changed = report.is_some_and(|report| report.outcomes.values().any(did));
        let due = if changed { Some(now) } else { due };
        Self { again: unknown || unread || outcomes.into_iter().any(may_go), due, changed }
    }
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Ask the source whether it is as it was: an [`Event::Looked`] answers.
    Look,
    /// Run a pass: an [`Event::Ended`] answers.
    Pass(Pass),
    /// Everything has ended: leave.
    Leave,
}

/// A pass that is to be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    /// Look at everything, whatever is remembered.
    pub full: bool,
    /// Why, for people and metrics.
    pub cause: Cause,
}

/// Why a pass is run; of several causes the first of this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// The first of this process, or since it leads.
    Start,
    /// Somebody asked.
    Asked,
    /// The config is another one.
    Config,
    /// The source has changed.
    Source,
    /// The target has changed.
    Target,
    /// A registry has said so.
    Registry,
    /// The last one left something undone.
    Retry,
    /// Tags are due.
    Due,
    /// It was long ago that everything was looked at.
    Full,
}

impl fmt::Display for Cause {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Start => "start",
            Self::Asked => "asked",
            Self::Config => "config",
            Self::Source => "source",
            Self::Target => "target",
            Self::Registry => "registry",
            Self::Retry => "retry",
            Self::Due => "due",
            Self::Full => "full",
        })
    }
}

/// Files that change all the time are not waited for any longer.
const SETTLES: Duration = Duration::from_secs(2);

/// One source and one target.
#[derive(Clone, Debug)]
pub struct Machine {
    pace: Pace,
    leads: bool,
    stopping: bool,
    /// A pass is under way.
    busy: bool,
    /// The source is being looked at.
    looking: bool,
    /// Look again at once when that is done.
    look_again: bool,
    /// Why a pass is wanted, and since when.
    wanted: Option<(Cause, Timestamp)>,
    /// When the first of the events came that a pass is wanted for.
    first: Option<Timestamp>,
    began: Option<Timestamp>,
    /// How long the last pass took.
    took: Duration,
    looked: Option<Timestamp>,
    full: Option<Timestamp>,
    due: Option<Timestamp>,
    retry: Option<Timestamp>,
    verifies: bool,
    failures: u32,
    look_failures: u32,
}

impl Machine {
    /// A lane that nobody has looked at yet.
    pub fn new(pace: Pace) -> Self {
        Self {
            pace,
            leads: false,
            stopping: false,
            busy: false,
            looking: false,
            look_again: false,
            wanted: None,
            first: None,
            began: None,
            took: Duration::ZERO,
            looked: None,
            full: None,
            due: None,
            retry: None,
            verifies: false,
            failures: 0,
            look_failures: 0,
        }
    }

    /// Takes an event in, and says what to do.
    pub fn step(&mut self, now: Timestamp, event: Event) -> Vec<Command> {
        self.set_back(now);
        match event {
            Event::Leads => {
                if !self.leads {
                    self.leads = true;
                    self.want(Cause::Start, now);
                }
            }
            Event::Follows => {
                self.leads = false;
                self.wanted = None;
            }
            Event::Poke(poke) => self.poke(now, poke),
            Event::Looked(look) => self.looked(now, &look),
            Event::Ended(ended) => self.ended(now, ended),
            Event::Woke => {}
            Event::Stop => self.stopping = true,
        }
        self.next(now)
    }

    /// The clock may be set back: what was in the past is not in the future.
    fn set_back(&mut self, now: Timestamp) {
        for past in [&mut self.began, &mut self.looked, &mut self.full, &mut self.first].into_iter().flatten() {
            *past = now.min(*past);
        }
        if let Some((_, since)) = &mut self.wanted {
            *since = now.min(*since);
        }
        let latest = add(now, self.shifted(self.pace.retry_most));
        self.retry = self.retry.map(|retry| retry.min(latest));
        // Everything is looked at before that.
        let latest = add(now, self.shifted(self.pace.full));
        self.due = self.due.map(|due| due.min(latest));
    }

    fn poke(&mut self, now: Timestamp, poke: Poke) {
        match poke {
            // What a webhook says is not believed: the source is asked, and only if it has moved is there a pass. One that
            // tells of its own changes has none to ask.
            Poke::Source if self.pace.poll.is_some() => {
                self.look_again |= self.looking;
                self.looked = None;
            }
            Poke::Source => {
                self.want(Cause::Source, now);
                // Somebody is still writing: wait until nothing comes any more, but not for ever.
                if let Some((_, since)) = &mut self.wanted {
                    let first = *self.first.get_or_insert(now);
                    *since = now.min(add(first, SETTLES)).max(*since);
                }
            }
            Poke::Registry => self.want(Cause::Registry, now),
            Poke::Target => self.want(Cause::Target, now),
            Poke::Asked => self.want(Cause::Asked, now),
            Poke::Config => self.want(Cause::Config, now),
        }
    }

    fn looked(&mut self, now: Timestamp, look: &Look) {
        self.looking = false;
        self.looked = if std::mem::take(&mut self.look_again) { None } else { Some(now) };
        match look {
            Look::Same => self.look_failures = 0,
            Look::Moved => {
                self.look_failures = 0;
                self.want(Cause::Source, now);
            }
            Look::Failed => self.look_failures = self.look_failures.saturating_add(1),
        }
    }

    fn ended(&mut self, now: Timestamp, ended: Ended) {
        self.busy = false;
        self.took = self.began.map_or(Duration::ZERO, |began| now.duration_since(began).unsigned_abs());
        (self.due, self.verifies) = (ended.due, ended.changed);
        self.retry = None;
        if ended.again {
            self.failures = self.failures.saturating_add(1);
            self.retry = Some(add(now, self.shifted(rising(self.pace.retry, self.pace.retry_most, self.failures))));
        } else {
            self.failures = 0;
        }
    }

    fn want(&mut self, cause: Cause, now: Timestamp) {
        self.wanted = Some(match self.wanted {
            Some((other, since)) => (other.min(cause), since),
            None => (cause, now),
        });
    }

    fn next(&mut self, now: Timestamp) -> Vec<Command> {
        let mut commands = Vec::new();
        if self.stopping {
            if !self.busy {
                commands.push(Command::Leave);
            }
            return commands;
        }
        if !self.leads {
            return commands;
        }
        if !self.looking && self.look_at().is_some_and(|at| now >= at) {
            self.looking = true;
            commands.push(Command::Look);
        }
        for (at, cause) in [(self.retry, Cause::Retry), (self.due, Cause::Due), (self.full_at(), Cause::Full)] {
            if at.is_some_and(|at| now >= at) && !self.busy {
                self.want(cause, now);
            }
        }
        if let Some((cause, _)) = self.wanted
            && !self.busy
            && self.pass_at().is_some_and(|at| now >= at)
        {
            let full = self.full.is_none() || self.full_at().is_some_and(|at| now >= at) || cause == Cause::Asked;
            (self.busy, self.wanted, self.first, self.began) = (true, None, None, Some(now));
            (self.due, self.retry) = (None, None);
            if full {
                self.full = Some(now);
            }
            commands.push(Command::Pass(Pass { full, cause }));
        }
        commands
    }

    /// When something is to be done although nothing happens; none: never, or something is under way that will say so.
    pub fn wake_at(&self) -> Option<Timestamp> {
        if self.stopping || !self.leads {
            return None;
        }
        let look = self.look_at().filter(|_| !self.looking);
        let pass = match self.wanted {
            _ if self.busy => None,
            Some(_) => self.pass_at(),
            None => [self.retry, self.due, self.full_at()].into_iter().flatten().min(),
        };
        [look, pass].into_iter().flatten().min()
    }

    /// When the pass that is wanted may begin: others may come that want the same, and the last one is not long ago.
    fn pass_at(&self) -> Option<Timestamp> {
        let (cause, since) = self.wanted?;
        let gather = match cause {
            Cause::Source | Cause::Target | Cause::Registry | Cause::Config => self.pace.gather,
            // What steps have come to is seen soon, whatever they took.
            Cause::Due if self.verifies => self.pace.batch,
            Cause::Due => self.pace.batch.max(self.took.saturating_mul(100)).min(self.pace.retry_most),
            Cause::Start | Cause::Asked | Cause::Retry | Cause::Full => Duration::ZERO,
        };
        let rested = self.began.map(|began| add(began, self.pace.rest));
        Some(add(since, gather)).max(rested)
    }

    fn look_at(&self) -> Option<Timestamp> {
        let poll = self.pace.poll?;
        // The first pass looks for itself.
        let Some(looked) = self.looked else { return self.began };
        let wait = match self.look_failures {
            0 => poll,
            failures => rising(poll, self.pace.retry_most.max(poll), failures),
        };
        Some(add(looked, self.shifted(wait)))
    }

    fn full_at(&self) -> Option<Timestamp> {
        self.full.map(|full| add(full, self.shifted(self.pace.full)))
    }

    /// A tenth longer at most, the same for the same seed.
    fn shifted(&self, wait: Duration) -> Duration {
        let part = u32::try_from(self.pace.seed % 1000).unwrap_or_default();
        wait.saturating_add(wait / 10_000 * part)
    }
}

/// How long to wait after so many failures, at least one.
fn rising(least: Duration, most: Duration, failures: u32) -> Duration {
    Backoff::doubling(least, most).after(failures.saturating_sub(1))
}

fn add(at: Timestamp, wait: Duration) -> Timestamp {
    at.saturating_add(SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_000 + millis).expect("a time")
    }

    fn pass(cause: Cause, full: bool) -> Vec<Command> {
        vec![Command::Pass(Pass { full, cause })]
    }

    /// A machine whose first pass has ended at 0.
    fn started(pace: Pace) -> Machine {
        let mut machine = Machine::new(pace);
        assert_eq!(machine.step(at(0), Event::Leads), pass(Cause::Start, true));
        machine.step(at(0), Event::Looked(Look::Same));
        machine.step(at(0), Event::Ended(Ended::default()));
        machine
    }

    #[test]
    fn pokes_are_gathered_and_a_pass_under_way_is_followed_by_one_more() {
        let mut machine = started(Pace { poll: None, ..Pace::default() });
        assert_eq!(machine.step(at(10_000), Event::Poke(Poke::Source)), []);
        assert_eq!(machine.step(at(10_050), Event::Poke(Poke::Source)), []);
        assert_eq!(machine.wake_at(), Some(at(10_250)), "until nothing comes any more");
        assert_eq!(machine.step(at(10_250), Event::Woke), pass(Cause::Source, false));
        for _ in 0..1000 {
            assert_eq!(machine.step(at(10_300), Event::Poke(Poke::Registry)), []);
        }
        assert_eq!(machine.wake_at(), None, "the pass will say when it ends");
        assert_eq!(machine.step(at(10_900), Event::Ended(Ended::default())), pass(Cause::Registry, false));
        assert_eq!(machine.step(at(11_000), Event::Ended(Ended::default())), [], "a flag, not a queue");
    }

    #[test]
    fn a_source_that_is_polled_is_asked_and_only_a_move_makes_a_pass() {
        let mut machine = started(Pace::default());
        assert_eq!(machine.wake_at(), Some(at(60_000)));
        assert_eq!(machine.step(at(60_000), Event::Woke), [Command::Look]);
        assert_eq!(machine.step(at(60_100), Event::Looked(Look::Same)), []);
        assert_eq!(machine.wake_at(), Some(at(120_100)));
        // A webhook is a reason to ask.
        assert_eq!(machine.step(at(70_000), Event::Poke(Poke::Source)), [Command::Look]);
        assert_eq!(machine.step(at(70_001), Event::Poke(Poke::Source)), [], "it is being asked");
        assert_eq!(machine.step(at(70_100), Event::Looked(Look::Moved)), [Command::Look], "it may have moved since");
        assert_eq!(machine.step(at(70_300), Event::Looked(Look::Same)), pass(Cause::Source, false));
    }

    #[test]
    fn what_fails_is_tried_again_later_and_later() {
        let mut machine = started(Pace { poll: None, ..Pace::default() });
        assert_eq!(machine.step(at(1000), Event::Poke(Poke::Asked)), pass(Cause::Asked, true));
        let mut now = at(1000);
        for wait in [10, 20, 40, 80, 160, 320, 600, 600] {
            assert_eq!(machine.step(now, Event::Ended(Ended { again: true, ..Ended::default() })), []);
            assert_eq!(machine.wake_at(), Some(add(now, Duration::from_secs(wait))));
            now = add(now, Duration::from_secs(wait));
            let commands = machine.step(now, Event::Woke);
            assert!(matches!(commands[..], [Command::Pass(Pass { cause: Cause::Retry, .. })]), "{commands:?}");
        }
        machine.step(now, Event::Ended(Ended::default()));
        assert_eq!(machine.failures, 0);
    }

    #[test]
    fn whoever_does_not_lead_does_nothing_and_whoever_stops_ends_what_is_under_way() {
        let mut machine = Machine::new(Pace::default());
        assert_eq!(machine.step(at(0), Event::Poke(Poke::Asked)), []);
        assert_eq!(machine.wake_at(), None);
        let mut machine = started(Pace { poll: None, ..Pace::default() });
        machine.step(at(1000), Event::Poke(Poke::Source));
        assert_eq!(machine.step(at(1100), Event::Follows), []);
        assert_eq!(machine.step(at(5000), Event::Woke), []);
        assert_eq!(machine.step(at(6000), Event::Leads), pass(Cause::Start, false));
        assert_eq!(machine.step(at(6100), Event::Stop), []);
        assert_eq!(machine.step(at(6200), Event::Ended(Ended::default())), [Command::Leave]);
        assert_eq!(started(Pace::default()).step(at(9000), Event::Stop), [Command::Leave]);
    }

    #[test]
    fn tags_that_are_due_and_the_slow_full_pass_come_by_themselves() {
        let mut machine = started(Pace { poll: None, ..Pace::default() });
        machine.step(at(1000), Event::Poke(Poke::Source));
        machine.step(at(1200), Event::Woke);
        machine.step(at(1300), Event::Ended(Ended { due: Some(at(900_000)), ..Ended::default() }));
        assert_eq!(machine.wake_at(), Some(at(900_000)));
        machine.step(at(900_000), Event::Woke);
        // The last pass took a tenth of a second.
        assert_eq!(machine.wake_at(), Some(at(910_000)), "others will be due as well");
        assert_eq!(machine.step(at(910_000), Event::Woke), pass(Cause::Due, false));
        machine.step(at(905_300), Event::Ended(Ended::default()));
        assert_eq!(machine.wake_at(), Some(at(3_600_000)));
        assert_eq!(machine.step(at(3_600_000), Event::Woke), pass(Cause::Full, true));
    }

    #[test]
    fn a_clock_that_is_set_back_or_jumps_ahead_delays_nothing() {
        let mut machine = started(Pace::default());
        let day = 86_400_000;
        // A day back: the next look comes as if it were now.
        machine.step(at(-day), Event::Woke);
        assert_eq!(machine.wake_at(), Some(at(60_000 - day)));
        let pace = Pace { poll: None, ..Pace::default() };
        let mut machine = started(pace);
        machine.step(at(10_000), Event::Poke(Poke::Asked));
        machine.step(at(10_000), Event::Ended(Ended { again: true, ..Ended::default() }));
        machine.step(at(-day), Event::Woke);
        assert!(machine.wake_at() <= Some(at(600_000 - day)));
        // A day ahead: everything is due once, not once an hour.
        assert_eq!(machine.step(at(day), Event::Woke), pass(Cause::Retry, true));
        machine.step(at(day + 100), Event::Ended(Ended::default()));
        assert_eq!(machine.wake_at(), Some(at(day + 3_600_000)));
    }
}
