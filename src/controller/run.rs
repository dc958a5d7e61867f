//! The one loop: waits for whatever comes first, asks the machine, does what it says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use futures::future::{Fuse, FusedFuture, FutureExt};
use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::machine::{Command, Ended, Event, Look, Machine, Pass, Poke};

/// The longest sleep: a clock that was set is noticed after it.
const NAP: Duration = Duration::from_secs(30);

/// What a lane does when it is told to. Neither may panic or fail: what goes wrong is in what they give back.
pub trait Work: Send + Sync {
    /// Asks the source whether it is as the last pass found it.
    fn look(&self) -> impl Future<Output = Look> + Send;

    /// Runs a pass. When `stop` is cancelled, steps under way end and no other begins.
    fn pass(&self, pass: Pass, stop: CancellationToken) -> impl Future<Output = Ended> + Send;

    /// Told after every event: when something will happen next although nothing else does.
    fn waits(&self, until: Option<Timestamp>);

    /// Told since when the first event has waited that no pass has begun for.
    fn queued(&self, since: Option<Timestamp>);

    /// Told whether this process may write.
    fn stands(&self, leads: bool);

    /// Told that the pass has ended that the first event of this time has led to.
    fn answered(&self, since: Timestamp);
}

/// Lets others tell a lane that there is something to look at. A thousand pokes are one.
#[derive(Debug, Default)]
pub struct Bell {
    pokes: AtomicU8,
    stop: AtomicBool,
    rung: Notify,
}

const POKES: [Poke; 5] = [Poke::Source, Poke::Registry, Poke::Target, Poke::Asked, Poke::Config];

impl Bell {
    /// Tells the lane that there may be something.
    pub fn poke(&self, poke: Poke) {
        let bit = POKES.iter().position(|other| *other == poke).map_or(0, |at| 1_u8 << at);
        self.pokes.fetch_or(bit, Ordering::AcqRel);
        self.rung.notify_one();
    }

    /// Tells the lane to stop: steps under way end, no others begin.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.rung.notify_one();
    }

    fn take(&self) -> Vec<Event> {
        let pokes = self.pokes.swap(0, Ordering::AcqRel);
        let rung = POKES.iter().enumerate().filter(|(at, _)| pokes & (1 << at) != 0);
        let mut events: Vec<Event> = rung.map(|(_, poke)| Event::Poke(*poke)).collect();
        if self.stop.load(Ordering::Acquire) {
            events.push(Event::Stop);
        }
        events
    }
}

/// Runs a lane until it is told to stop. `leads` says whether this process may write.
pub async fn run(
    work: &impl Work,
    mut machine: Machine,
    bell: Arc<Bell>,
    mut leads: watch::Receiver<bool>,
    clock: impl Fn() -> Timestamp,
) {
    // Of the pass under way.
    let mut halt = CancellationToken::new();
    let mut pass = std::pin::pin!(Fuse::terminated());
    let mut look = std::pin::pin!(Fuse::terminated());
    let mut gone = false;
    // When the first event came that no pass has begun for, and that of the pass under way.
    let (mut poked, mut answers): (Option<Timestamp>, Option<Timestamp>) = (None, None);
    let mut events = vec![standing(*leads.borrow_and_update())];
    events.extend(bell.take());
    loop {
        let now = clock();
        for event in events.drain(..) {
            match &event {
                Event::Stop => halt.cancel(),
                Event::Follows => {
                    halt.cancel();
                    work.stands(false);
                }
                Event::Leads => work.stands(true),
                Event::Poke(_) => drop(poked.get_or_insert(now)),
                Event::Ended(_) => answers.take().into_iter().for_each(|since| work.answered(since)),
                Event::Looked(Look::Same) if pass.is_terminated() => poked = None,
                Event::Looked(_) | Event::Woke => {}
            }
            for command in machine.step(now, event) {
                match command {
                    Command::Look => look.set(work.look().fuse()),
                    Command::Pass(wanted) => {
                        halt = CancellationToken::new();
                        answers = poked.take();
                        pass.set(work.pass(wanted, halt.clone()).fuse());
                    }
                    Command::Leave => return,
                }
            }
        }
        let wake = machine.wake_at();
        work.waits(wake);
        work.queued(poked);
        let nap = wake.map_or(NAP, |wake| {
            let wait = wake.duration_since(clock());
            if wait.is_negative() { Duration::ZERO } else { wait.unsigned_abs().min(NAP) }
        });
        tokio::select! {
            ended = &mut pass => events.push(Event::Ended(ended)),
            looked = &mut look => events.push(Event::Looked(looked)),
            () = bell.rung.notified() => events = bell.take(),
            changed = leads.changed(), if !gone => {
                // Whoever knew may have gone: then nobody knows.
                gone = changed.is_err();
                events.push(standing(!gone && *leads.borrow_and_update()));
            }
            () = tokio::time::sleep(nap) => events.push(Event::Woke),
        }
    }
}

fn standing(leads: bool) -> Event {
    if leads { Event::Leads } else { Event::Follows }
}
