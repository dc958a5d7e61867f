//! What is learned of a host while the process lives: where it answers, what it wants to see, how much it takes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Notify;

use crate::adapters::lock;
use crate::adapters::random;
use crate::model::{Cause, HostTally};
use crate::openshift::Digest;
use crate::source::inert;

use super::failure::Failure;
use super::pace::{Admission, Ending, FIRST_BREAK, Pace, growing};
use super::wire::{self, Challenge, Quota};
use super::{HostConfig, RegistryMemory};

/// Requests under way at one host: enough to hide its latency, few enough not to be taken for an attack.
const AT_ONCE: usize = 16;
/// So often a login may be refused: one repository may be closed to it, and accounts are locked after a few more.
const REFUSALS: u32 = 2;
/// A longer wait is left to the next run.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// A host, asked in one way: verified, or with the fallbacks of `insecure`. What is learned in one way is not used in the
/// other.
pub(super) struct Host {
    /// `host[:port]` that is connected to.
    pub(super) name: String,
    /// Whose pull secrets may be shown to it; empty: none may. Tokens that they were changed for are of no use to others either.
    pub(super) namespace: String,
    pub(super) config: HostConfig,
    /// TLS need not be verified, by the config's or a definition's word.
    pub(super) insecure: bool,
    /// Where it answers: set by the first request that got through.
    pub(super) base: tokio::sync::OnceCell<Base>,
    /// What it wanted to see last.
    challenge: Mutex<Option<Challenge>>,
    /// It could not be reached in this way: until when it is left alone, how often that was so in a row, and why.
    down: Mutex<Option<(Instant, u32, Failure)>>,
    /// What became of logins, by their hash.
    logins: Mutex<BTreeMap<Digest, Standing>>,
    /// It has no HEAD.
    no_head: AtomicBool,
    /// Repositories without lists of what refers to an image.
    no_referrers: Mutex<BTreeSet<String>>,
    /// Large answers of one host, one after the other.
    pub(super) large: tokio::sync::Semaphore,
    /// Tokens by scope; whoever asks for one holds its place, and those behind find it there.
    tokens: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<Option<Token>>>>>,
    gate: Arc<Gate>,
}

/// How a host is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Base {
    pub(super) scheme: &'static str,
    pub(super) verified: bool,
}

/// What became of a login.
enum Standing {
    /// It was good for something.
    Accepted,
    /// It was good for nothing so far.
    Refused { times: u32, failure: Failure },
}

/// A token and until when it is good.
pub(super) struct Token {
    pub(super) header: SecretString,
    pub(super) until: Instant,
    /// What it was given for.
    pub(super) by: By,
}

/// What a host is shown, or why nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// Nobody has a login for it.
    Nobody,
    /// A login, from that file or helper.
    Login(String),
    /// There is a login, and it does not go to that token service.
    Withheld(String),
    /// Nobody has verified the connection: no login goes there.
    Unverified,
    /// There is a login, and it cannot be read: why.
    Broken(String),
}

impl By {
    /// Adds to what a host says when it lets nobody in: what it was shown, and what to do next.
    pub(super) fn explain(&self, host: &str) -> String {
        let host = inert(host, 120);
        match self {
            Self::Nobody => {
                format!("; there are no credentials for `{host}`: `docker login {host}` saves some")
            }
            Self::Login(from) => {
                let from = if from.is_empty() { String::new() } else { format!(" of {from}") };
                format!("; it was shown the credentials{from}: `docker login {host}` renews them")
            }
            Self::Withheld(service) => {
                let service = inert(service, 120);
                format!("; to let `{service}` have the login of `{host}`, set `tokenService` in the config")
            }
            Self::Unverified => {
                "; no login is sent over a connection that nobody verified, unless the config has `insecure: true` for the host".to_owned()
            }
            Self::Broken(why) => format!("; {why}"),
        }
    }
}

/// Lets requests to a host through, whichever way they go.
struct Gate {
    name: String,
    pace: Mutex<Pace>,
    ended: Notify,
    /// Why it is left alone, for those who are not let through.
    why: Mutex<Option<Failure>>,
    memory: Arc<dyn RegistryMemory>,
}

/// All hosts that were asked.
pub(super) struct Hosts {
    gates: Mutex<BTreeMap<String, Arc<Gate>>>,
    ways: Mutex<BTreeMap<(String, String, bool), Arc<Host>>>,
    memory: Arc<dyn RegistryMemory>,
}

impl Hosts {
    pub(super) fn new(memory: Arc<dyn RegistryMemory>) -> Self {
        Self { gates: Mutex::default(), ways: Mutex::default(), memory }
    }

    /// The host of that name, as it is asked for a namespace; `insecure` if anybody says so.
    pub(super) fn get(&self, (name, namespace): (&str, &str), config: &HostConfig, insecure: bool) -> Arc<Host> {
        let insecure = insecure || config.insecure;
        let mut ways = lock(&self.ways);
        let host = ways.entry((name.to_owned(), namespace.to_owned(), insecure)).or_insert_with(|| {
            Arc::new(Host {
                name: name.to_owned(),
                namespace: namespace.to_owned(),
                config: config.clone(),
                insecure,
                base: tokio::sync::OnceCell::new(),
                challenge: Mutex::default(),
                down: Mutex::default(),
                logins: Mutex::default(),
                no_head: AtomicBool::default(),
                no_referrers: Mutex::default(),
                large: tokio::sync::Semaphore::new(1),
                tokens: Mutex::default(),
                gate: self.gate(name, config),
            })
        });
        Arc::clone(host)
    }

    /// What each host that was asked made of it.
    pub(super) fn tally(&self) -> BTreeMap<String, HostTally> {
        lock(&self.gates).iter().map(|(name, gate)| (name.clone(), lock(&gate.pace).tally())).collect()
    }

    fn gate(&self, name: &str, config: &HostConfig) -> Arc<Gate> {
        let mut gates = lock(&self.gates);
        let gate = gates.entry(name.to_owned()).or_insert_with(|| {
            let mut pace = Pace::new(config.concurrency.unwrap_or(AT_ONCE), config.rate);
            // What a registry asked for holds beyond the end of a process.
            if let Some(until) = self.memory.pause(name) {
                let wait = Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or_default();
                pace.pause(Instant::now() + wait);
            }
            Arc::new(Gate {
                name: name.to_owned(),
                pace: Mutex::new(pace),
                ended: Notify::new(),
                why: Mutex::default(),
                memory: Arc::clone(&self.memory),
            })
        });
        Arc::clone(gate)
    }
}

impl Host {
    /// Whether it has said that it knows no HEAD.
    pub(super) fn has_no_head(&self) -> bool {
        self.no_head.load(Ordering::Relaxed)
    }

    /// It has said so.
    pub(super) fn tell_no_head(&self) {
        self.no_head.store(true, Ordering::Relaxed);
    }

    /// Whether it has said that a repository has no lists of what refers to an image: behind one name there may be several
    /// registries.
    pub(super) fn has_no_referrers(&self, repository: &str) -> bool {
        lock(&self.no_referrers).contains(repository)
    }

    /// It has said so.
    pub(super) fn tell_no_referrers(&self, repository: &str) {
        lock(&self.no_referrers).insert(repository.to_owned());
    }

    /// In which order the host is tried as long as it is not known how it answers. OpenShift's order for `insecure` is https
    /// that nobody verifies, then http (semantics 3.5). Verified is tried first here, so that a good certificate is never
    /// waived.
    pub(super) fn bases(&self) -> Vec<Base> {
        const VERIFIED: Base = Base { scheme: "https", verified: true };
        const UNVERIFIED: Base = Base { scheme: "https", verified: false };
        const PLAIN: Base = Base { scheme: "http", verified: false };
        match self.base.get() {
            Some(base) => vec![*base],
            None if self.insecure => vec![VERIFIED, UNVERIFIED, PLAIN],
            None => vec![VERIFIED],
        }
    }

    /// Whether a login may travel: never over a connection that nobody verified, unless the config of this machine says that
    /// the host is like that. A definition's `insecure` is a stranger's word.
    pub(super) fn is_trusted(&self) -> bool {
        self.config.insecure || self.base.get().is_some_and(|base| base.verified)
    }

    pub(super) fn challenge(&self) -> Option<Challenge> {
        lock(&self.challenge).clone()
    }

    pub(super) fn learn(&self, challenge: &Challenge) {
        *lock(&self.challenge) = Some(challenge.clone());
    }

    /// Why a login is not shown any more: it was refused, and never accepted.
    pub(super) fn refusal(&self, login: &SecretString) -> Option<Failure> {
        match lock(&self.logins).get(&hash(login)) {
            Some(Standing::Refused { times, failure }) if *times >= REFUSALS => Some(failure.clone()),
            Some(Standing::Refused { .. } | Standing::Accepted) | None => None,
        }
    }

    /// A login was refused.
    pub(super) fn refuse(&self, login: &SecretString, failure: &Failure) {
        let mut logins = lock(&self.logins);
        let standing = logins.entry(hash(login)).or_insert(Standing::Refused { times: 0, failure: failure.clone() });
        if let Standing::Refused { times, .. } = standing {
            *times += 1;
        }
    }

    /// A login was accepted: whatever is refused from now on is not for its sake.
    pub(super) fn accept(&self, login: &SecretString) {
        lock(&self.logins).insert(hash(login), Standing::Accepted);
    }

    /// The host was reached in this way.
    pub(super) fn is_up(&self) {
        *lock(&self.down) = None;
    }

    /// It could not be. Several requests that were under way together fail as one.
    pub(super) fn is_down(&self, failure: &Failure) {
        let mut down = lock(&self.down);
        let now = Instant::now();
        let times = match &*down {
            Some((until, _, _)) if now < *until => return,
            Some((_, times, _)) => times + 1,
            None => 0,
        };
        *down = Some((now + growing(FIRST_BREAK).spread(times, jitter()), times, failure.clone()));
    }

    /// The place of a scope's token.
    pub(super) fn token(&self, scope: &str) -> Arc<tokio::sync::Mutex<Option<Token>>> {
        Arc::clone(lock(&self.tokens).entry(scope.to_owned()).or_default())
    }

    /// Waits until a request may be sent.
    ///
    /// # Errors
    ///
    /// When it would have to wait for longer than anybody likes: why, and until when.
    pub(super) async fn turn(&self, urgent: bool) -> Result<Turn, Failure> {
        let gate = &self.gate;
        loop {
            if let Some((until, _, failure)) = &*lock(&self.down)
                && Instant::now() < *until
            {
                return Err(failure.clone());
            }
            let ended = gate.ended.notified();
            tokio::pin!(ended);
            // From here on no ending is missed.
            ended.as_mut().enable();
            let now = Instant::now();
            let admission = lock(&gate.pace).admit(now, urgent);
            match admission {
                Admission::Go => return Ok(Turn { gate: Some(Arc::clone(gate)), started: now }),
                Admission::Behind => ended.await,
                Admission::At(until) if until.saturating_duration_since(now) <= LONGEST_WAIT => {
                    tokio::time::sleep_until(until.into()).await;
                }
                Admission::At(until) => return Err(gate.refuse(until.saturating_duration_since(now))),
            }
        }
    }
}

impl Gate {
    fn refuse(&self, wait: Duration) -> Failure {
        let broken = lock(&self.why).clone().filter(|failure| failure.cause != Cause::RateLimited);
        broken.unwrap_or_else(|| {
            let again = self.keep_pause(wait);
            let said = lock(&self.why).as_ref().map(|failure| failure.detail.clone());
            let detail = said.unwrap_or_else(|| "what the registry allows for now is used up".to_owned());
            Failure { cause: Cause::RateLimited, detail, again }
        })
    }

    /// Writes down how long the host wants to be left alone, and says until when that is, to the second.
    fn keep_pause(&self, wait: Duration) -> Option<Timestamp> {
        let seconds = i64::try_from(wait.as_secs()).unwrap_or(i64::MAX).saturating_add(1);
        let until = Timestamp::from_second(Timestamp::now().as_second().saturating_add(seconds)).ok()?;
        self.memory.keep_pause(&self.name, until);
        Some(until)
    }
}

/// Leave to send one request. Dropped without an ending, it counts as never sent.
pub(super) struct Turn {
    gate: Option<Arc<Gate>>,
    started: Instant,
}

impl Turn {
    /// The request has ended. What is wrong is given to those who are not let through because of it, and gets the time from
    /// which on the host may be asked again where it asked for that itself.
    pub(super) fn end(mut self, ending: Ending, quota: Quota, failure: Option<&mut Failure>) {
        let Some(gate) = self.gate.take() else { return };
        lock(&gate.pace).ended(Instant::now(), self.started, ending, quota, jitter());
        if ending == Ending::Answered {
            *lock(&gate.why) = None;
        } else if let Some(failure) = failure {
            if let Ending::Limited(Some(wait)) = ending
                && wait > LONGEST_WAIT
            {
                failure.again = gate.keep_pause(wait);
            }
            *lock(&gate.why) = Some(failure.clone());
        }
        gate.ended.notify_waiters();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(gate) = self.gate.take() {
            lock(&gate.pace).abandon();
            gate.ended.notify_waiters();
        }
    }
}

/// Between 0 and 1.
fn jitter() -> f64 {
    // Without randomness there is no jitter, which is no harm.
    let [byte] = random().unwrap_or([128]);
    f64::from(byte) / 255.0
}

fn hash(login: &SecretString) -> Digest {
    wire::digest_of(login.expose_secret().as_bytes())
}
