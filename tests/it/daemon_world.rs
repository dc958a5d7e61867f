//! Days of `run` in virtual time: a source, registries and a store that fail in every way there is, by seeds. The machine, the
//! pass and the store are the real ones; only time, and what is outside, is made up.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use streamkeeper::adapters::store::{Cache, Reader, Writer};
use streamkeeper::controller::{Command, Ended, Event, Look, Machine, Pace, Poke};
use streamkeeper::model::{
    Cause, Desired, DesiredStream, DesiredTag, Ignorance, Observed, Origin, PassState, Plan, Policy, Question,
    RemovalLimit, Resolution, Tally,
};
use streamkeeper::observe::Sources;
use streamkeeper::openshift::{DOCKER_IMAGE, Digest, ObjectReference, StreamId, TagReference};
use streamkeeper::ports::{
    Command as Step, LiveState, Looking, NoProgress, Observation, Performed, PortError, Registry, Target, TargetKind,
    Which, Workloads,
};
use streamkeeper::reconcile::{PlanRequest, observe_and_plan};
use tokio_util::sync::CancellationToken;

use crate::support::{self, identities};

const HOUR: i64 = 3_600_000;

/// What is wrong outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The Git host does not answer.
    SourceDown,
    /// It takes its time.
    SourceSlow,
    /// It answers that there is nothing in it.
    SourceEmpty,
    /// A part of it cannot be read.
    SourcePart,
    /// Registries do not answer.
    RegistryDown,
    /// Registries say that nothing is there.
    RegistryEmpty,
    /// Registries answer too many requests.
    RegistryBusy,
    /// The target cannot be looked at.
    TargetBlind,
    /// What is written is not taken.
    TargetDown,
    /// What is written is taken, and nobody hears that it was.
    TargetSilent,
    /// Others write at the same moment.
    TargetStale,
    /// The disk is full.
    DiskFull,
}

const FAULTS: [Fault; 12] = [
    Fault::SourceDown,
    Fault::SourceSlow,
    Fault::SourceEmpty,
    Fault::SourcePart,
    Fault::RegistryDown,
    Fault::RegistryEmpty,
    Fault::RegistryBusy,
    Fault::TargetBlind,
    Fault::TargetDown,
    Fault::TargetSilent,
    Fault::TargetStale,
    Fault::DiskFull,
];

/// Numbers that are the same for the same seed (Knuth's linear congruential generator, its upper half).
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }

    pub fn one_in(&mut self, number: u64) -> bool {
        self.below(number) == 0
    }
}

/// Tags of a stream: the image each is of, and whether it follows.
pub type Commit = BTreeMap<u64, BTreeMap<u64, (u64, bool)>>;

/// What a commit defines.
pub fn streams(commit: &Commit) -> BTreeMap<StreamId, DesiredStream> {
    let mut streams = BTreeMap::new();
    for (stream, tags) in commit {
        let id = StreamId::new("world", format!("s{stream}"));
        let tag = |(tag, (image, scheduled)): (&u64, &(u64, bool))| {
            let name = format!("registry.example.com/lab/app{image}:1");
            let from = ObjectReference { kind: DOCKER_IMAGE.to_owned(), namespace: String::new(), name };
            let mut reference = TagReference { name: format!("t{tag}"), from: Some(from), ..TagReference::default() };
            reference.import_policy.scheduled = *scheduled;
            (reference.name.clone(), Box::new(DesiredTag { reference, origin: Origin::default() }))
        };
        let tags: BTreeMap<_, _> = tags.iter().map(tag).collect();
        let content = format!("{tags:?}");
        streams.insert(id, DesiredStream { tags, content, ..DesiredStream::default() });
    }
    streams
}

/// Somebody changes some of it.
pub fn edit(commit: &mut Commit, random: &mut Random) {
    for _ in 0..=random.below(3) {
        let (stream, tag) = (random.below(6), random.below(5));
        let tags = commit.entry(stream).or_default();
        if random.one_in(4) {
            tags.remove(&tag);
        } else {
            tags.insert(tag, (random.below(12), random.one_in(2)));
        }
    }
    if random.one_in(20) {
        let stream = random.below(6);
        commit.remove(&stream);
    }
    if commit.is_empty() {
        commit.insert(0, [(0, (0, true))].into());
    }
}

struct World {
    random: Random,
    folder: tempfile::TempDir,
    now: i64,
    machine: Machine,
    writer: Option<Writer>,
    cache: Cache,
    commit: Commit,
    number: u64,
    /// Commits that there were.
    history: Vec<Commit>,
    /// The commit that was seen when the source was last asked.
    seen: Option<u64>,
    /// Version of each image.
    images: Vec<u64>,
    fault: Option<Fault>,
    leads: bool,
    passes: usize,
    looks: usize,
    asked: usize,
    /// The source is polled.
    polled: bool,
    /// All is well: nothing happens any more, and a person lets any number of tags be removed.
    calm: bool,
}

pub struct Registries<'a> {
    pub images: &'a [u64],
    pub fault: Option<Fault>,
    pub asked: AtomicUsize,
}

pub fn digest(image: u64, version: u64) -> Digest {
    Digest::parse(&format!("sha256:{image:0>32}{version:0>32}")).unwrap()
}

impl Registry for Registries<'_> {
    async fn resolve(&self, question: &Question) -> Observed<Resolution> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let unknown = |cause| Observed::Unknown(Ignorance::new(question.reference.to_string(), cause, "by the test"));
        match self.fault {
            Some(Fault::RegistryDown) => return unknown(Cause::Unreachable),
            Some(Fault::RegistryBusy) => return unknown(Cause::RateLimited),
            Some(Fault::RegistryEmpty) => return Observed::Absent,
            _ => {}
        }
        let image: u64 = question.reference.name.trim_start_matches("app").parse().unwrap();
        let digest = digest(image, self.images[usize::try_from(image).unwrap()]);
        let platforms = Vec::new();
        Observed::Known(Resolution { only_mirror: None, digest, media_type: String::new(), platforms })
    }

    async fn fetch(&self, _: &Question) -> Observed<()> {
        Observed::Known(())
    }

    fn known(&self, _: &Digest) -> Option<Resolution> {
        None
    }

    fn tally(&self) -> Tally {
        Tally::default()
    }

    async fn tags(&self, _: &Question) -> Observed<Vec<String>> {
        Observed::Absent
    }
}

/// The store, looked at through a fault.
struct Blind {
    reader: Reader,
    fault: Option<Fault>,
}

fn lost() -> PortError {
    PortError::failed("reach the target", std::io::Error::other("by the test"))
}

impl LiveState for Blind {
    fn kind(&self) -> TargetKind {
        self.reader.kind()
    }

    fn identity(&self) -> String {
        self.reader.identity()
    }

    fn version(&self) -> Option<String> {
        self.reader.version()
    }

    async fn observe(&self, looking: Looking<'_>) -> Result<Observation, PortError> {
        if self.fault == Some(Fault::TargetBlind) {
            return Err(lost());
        }
        self.reader.observe(looking).await
    }

    async fn workloads(&self, which: Which<'_>) -> Workloads {
        self.reader.workloads(which).await
    }
}

/// The store, written through a fault; and the leader may be lost in the middle of it.
struct Faulty<'a> {
    writer: &'a Writer,
    fault: Option<Fault>,
    /// After so many steps the run is to stop.
    left: AtomicUsize,
    stop: &'a CancellationToken,
}

impl Target for Faulty<'_> {
    async fn perform(&self, step: Step<'_>) -> Result<Performed, PortError> {
        if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)) == Ok(1) {
            self.stop.cancel();
        }
        match self.fault {
            Some(Fault::TargetDown | Fault::DiskFull) => Err(lost()),
            Some(Fault::TargetSilent) => {
                self.writer.perform(step).await?;
                Err(lost())
            }
            Some(Fault::TargetStale) => {
                let precondition =
                    streamkeeper::model::Precondition::StreamAbsent { stream: step.action.stream().clone() };
                Ok(Performed::Stale { precondition, actual: "by the test".to_owned() })
            }
            _ => self.writer.perform(step).await,
        }
    }

    async fn begin(&self, plan: &Plan, now: Timestamp) -> Result<i64, PortError> {
        if self.fault == Some(Fault::DiskFull) {
            return Err(lost());
        }
        self.writer.begin(plan, now).await
    }

    async fn finish(&self, run: i64, report: &streamkeeper::model::Report) -> Result<(), PortError> {
        self.writer.finish(run, report).await
    }
}

fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let polled = random.one_in(2);
        let folder = folder();
        let mut world = Self {
            cache: Cache::new(Some(folder.path())),
            writer: Some(Writer::open(folder.path(), &identities()).unwrap()),
            folder,
            now: 1_800_000_000_000,
            machine: Self::machine(polled, seed),
            commit: Commit::new(),
            number: 0,
            history: Vec::new(),
            seen: None,
            images: (0..12).map(|_| random.below(3)).collect(),
            fault: None,
            leads: false,
            passes: 0,
            looks: 0,
            asked: 0,
            polled,
            calm: false,
            random,
        };
        world.change();
        world.event(Event::Leads);
        world.leads = true;
        world
    }

    fn machine(polled: bool, seed: u64) -> Machine {
        let poll = polled.then_some(Duration::from_secs(60));
        Machine::new(Pace { poll, seed, ..Pace::default() })
    }

    fn at(&self) -> Timestamp {
        Timestamp::from_millisecond(self.now).unwrap()
    }

    fn desired(&self) -> Desired {
        let mut desired = Desired::default();
        desired.revision.commit = Some(format!("{:0>40}", self.number));
        desired.scope = "all of it".to_owned();
        if self.fault == Some(Fault::SourceEmpty) {
            return desired;
        }
        desired.streams = streams(&self.commit);
        if self.fault == Some(Fault::SourcePart) {
            // A file that cannot be read: nobody knows what is in it.
            let first = desired.streams.keys().next().cloned();
            first.map(|id| desired.streams.remove(&id));
            desired.incomplete.push(Ignorance::new("a.yaml", Cause::Unreadable, "by the test"));
        }
        desired
    }

    /// A commit.
    fn change(&mut self) {
        self.number += 1;
        if self.history.len() < 50 {
            self.history.push(self.commit.clone());
        }
        // Somebody pushes with force: what was is so again, and what came after it has never been.
        if self.random.one_in(10) {
            let at = self.random.below(self.history.len() as u64);
            self.commit.clone_from(&self.history[usize::try_from(at).unwrap()]);
        }
        edit(&mut self.commit, &mut self.random);
    }

    /// How long the source takes.
    fn slow(&mut self) -> i64 {
        if self.fault == Some(Fault::SourceSlow) { i64::try_from(self.random.below(300_000)).unwrap() } else { 0 }
    }

    /// Takes an event to the machine, and does what it says.
    fn event(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            for command in self.machine.step(self.at(), event) {
                match command {
                    Command::Look => {
                        self.looks += 1;
                        self.now += i64::try_from(self.random.below(2000)).unwrap() + self.slow();
                        let look = if self.fault == Some(Fault::SourceDown) {
                            Look::Failed
                        } else if self.seen.replace(self.number) == Some(self.number) {
                            Look::Same
                        } else {
                            Look::Moved
                        };
                        events.push(Event::Looked(look));
                    }
                    Command::Pass(pass) => {
                        self.passes += 1;
                        let ended = self.pass(pass.full);
                        self.now += i64::try_from(self.random.below(5000)).unwrap() + self.slow();
                        // Something happens while it is under way.
                        if !self.calm && self.random.one_in(4) {
                            self.change();
                            let commands = self.machine.step(self.at(), Event::Poke(Poke::Source));
                            assert!(commands.iter().all(|command| *command == Command::Look), "{commands:?}");
                            if !commands.is_empty() {
                                self.seen = Some(self.number);
                                self.machine.step(self.at(), Event::Looked(Look::Moved));
                            }
                        }
                        events.push(Event::Ended(ended));
                    }
                    Command::Leave => panic!("nobody has said so"),
                }
            }
        }
    }

    fn pass(&mut self, full: bool) -> Ended {
        let again = Ended { again: true, ..Ended::default() };
        if self.fault == Some(Fault::SourceDown) {
            return again;
        }
        let desired = self.desired();
        let live = Blind { reader: Reader::open(self.folder.path(), &identities()).unwrap(), fault: self.fault };
        let registry = Registries { images: &self.images, fault: self.fault, asked: AtomicUsize::new(0) };
        let removals = if self.calm { RemovalLimit::Count(usize::MAX) } else { RemovalLimit::Fifth };
        let sources = Sources { live: &live, registry: &registry, memory: &self.cache, progress: &NoProgress };
        let request = PlanRequest {
            policy: Policy { removals, ..Policy::default() },
            state: PassState { spread: true, patient: true, ..PassState::default() },
            tool: "test",
            look_at_all: full,
            ..PlanRequest::default()
        };
        let now = Timestamp::from_second(self.at().as_second()).unwrap();
        let Ok(planned) = block_on(observe_and_plan(sources, &desired, &request, now)) else { return again };
        self.asked += registry.asked.load(Ordering::Relaxed);
        let plan = &planned.plan;
        if matches!(self.fault, Some(Fault::SourceEmpty | Fault::SourcePart)) {
            let removed = plan.steps.iter().filter(|step| step.action.is_removal()).count();
            assert_eq!(removed, 0, "nothing is removed because of what could not be read: {plan:#?}");
        }
        let due = [planned.due, streamkeeper::planner::retry(&desired, &planned.live, now)].into_iter().flatten().min();
        let stop = CancellationToken::new();
        let report = if plan.is_empty() {
            None
        } else {
            // Sometimes the leader is lost in the middle of it.
            let left = if !self.calm && self.random.one_in(15) { 1 + self.random.below(4) } else { u64::MAX >> 1 };
            let target = Faulty {
                writer: self.writer.as_ref().unwrap(),
                fault: self.fault,
                left: AtomicUsize::new(usize::try_from(left).unwrap()),
                stop: &stop,
            };
            let clock = Cell::new(now);
            match block_on(support::execute(plan, &target, || clock.get(), &stop)) {
                Ok(report) => Some(report),
                Err(_) => return again,
            }
        };
        Ended::of(plan, report.as_ref(), !desired.incomplete.is_empty(), due, now)
    }

    /// Time passes until then, with whatever the machine wants to do meanwhile.
    fn pass_time(&mut self, until: i64) {
        while let Some(wake) = self.machine.wake_at().filter(|wake| wake.as_millisecond() <= until) {
            self.now = self.now.max(wake.as_millisecond());
            self.event(Event::Woke);
        }
        self.now = self.now.max(until);
    }

    /// Something happens.
    fn happen(&mut self) {
        match self.random.below(12) {
            0..4 => {
                self.change();
                // A host that tells, or one that has to be asked.
                if !self.polled || self.random.one_in(2) {
                    self.event(Event::Poke(Poke::Source));
                }
            }
            4..6 => {
                let image = usize::try_from(self.random.below(12)).unwrap();
                self.images[image] += 1;
            }
            6..8 => {
                self.fault = Some(FAULTS[usize::try_from(self.random.below(FAULTS.len() as u64)).unwrap()]);
            }
            8..10 => self.fault = None,
            10 => {
                // Killed, and begun again: caches may vanish, too.
                self.seen = None;
                self.machine = Self::machine(self.polled, self.number);
                self.writer = None;
                self.writer = Some(Writer::open(self.folder.path(), &identities()).unwrap());
                if self.random.one_in(2) {
                    self.cache = Cache::new(Some(self.folder.path()));
                }
                self.event(Event::Leads);
            }
            _ => match self.random.below(3) {
                0 => {
                    self.event(Event::Follows);
                    let until = self.now + i64::try_from(self.random.below(600_000)).unwrap();
                    let passes = self.passes;
                    self.pass_time(until);
                    assert_eq!(self.passes, passes, "whoever does not lead does nothing");
                    self.event(Event::Leads);
                }
                1 => self.now += i64::try_from(self.random.below(7_200_000)).unwrap(),
                _ => self.now -= i64::try_from(self.random.below(7_200_000)).unwrap(),
            },
        }
    }

    /// Whether everything is as the source and the registries have it.
    fn check(&self, seed: u64) {
        let reader = Reader::open(self.folder.path(), &identities()).unwrap();
        let streams = reader.streams().unwrap();
        let ids: Vec<String> = streams.keys().map(|id| id.name.clone()).collect();
        let wanted: Vec<String> = self.commit.keys().map(|stream| format!("s{stream}")).collect();
        assert_eq!(ids, wanted, "{seed}");
        for (id, live) in &streams {
            let number: u64 = id.name.trim_start_matches('s').parse().unwrap();
            let tags = &self.commit[&number];
            let names: Vec<String> = live.stream.spec.tags.iter().map(|tag| tag.name.clone()).collect();
            assert_eq!(names, tags.keys().map(|tag| format!("t{tag}")).collect::<Vec<_>>(), "{seed} {id}");
            for (tag, (image, scheduled)) in tags {
                let list = live.stream.status_tag(&format!("t{tag}")).unwrap();
                assert!(list.conditions.is_empty(), "{seed} {id}:{tag} {list:?}");
                let version = self.images[usize::try_from(*image).unwrap()];
                let is_current = list.items[0].image == digest(*image, version).as_str();
                assert!(is_current || !scheduled, "{seed} {id}:t{tag} has not followed");
                let prefix = digest(*image, 0).as_str()[..39].to_owned();
                assert!(list.items[0].image.starts_with(&prefix), "{seed} {id}:t{tag} is another image");
                let twice = list.items.windows(2).any(|pair| pair[0].image == pair[1].image);
                assert!(!twice, "{seed} {id}:t{tag}: an image twice in a row: {list:?}");
            }
            // The history is one chain, and ends at what is there.
            for tag in tags.keys() {
                let changes = reader.changes(id, Some(&format!("t{tag}")), 1000).unwrap();
                let moves: Vec<_> = changes.iter().filter(|change| change.before != change.after).collect();
                for pair in moves.windows(2) {
                    assert_eq!(pair[0].before, pair[1].after, "{seed} {id}:t{tag}");
                }
                let head = live.stream.head(&format!("t{tag}")).unwrap();
                assert_eq!(moves[0].after.as_deref(), Some(head.docker_image_reference.as_str()), "{seed}");
            }
        }
    }
}

/// Lives through so many hours, then all is well, and so must everything be after a while.
fn live(seed: u64, hours: i64) -> World {
    let mut world = World::new(seed);
    let end = world.now + hours * HOUR;
    while world.now < end {
        let pause = i64::try_from(world.random.below(900_000)).unwrap();
        world.pass_time(world.now + pause);
        world.happen();
    }
    let hours = usize::try_from(hours).unwrap();
    // What fails is tried again, later and later: nothing spins.
    assert!(world.passes < 400 * hours, "{seed}: {} passes in {hours} hours", world.passes);
    assert!(world.looks < 200 * hours, "{seed}: {} looks", world.looks);
    world.fault = None;
    // Removals over the limit wait for a person: here is one.
    world.calm = true;
    world.pass_time(world.now + 3 * HOUR);
    world.check(seed);
    world
}

#[test]
fn days_of_everything_that_goes_wrong_end_well() {
    // Seeds that found something, and some more.
    const FOUND: &[u64] = &[];
    let seeds: Vec<u64> = FOUND.iter().copied().chain(1..=24).collect();
    std::thread::scope(|scope| {
        for part in seeds.chunks(seeds.len().div_ceil(2)) {
            scope.spawn(move || part.iter().for_each(|seed| drop(live(*seed, 5))));
        }
    });
}

#[test]
fn a_quiet_night_asks_nobody_for_anything_twice() {
    let mut world = World::new(7);
    world.calm = true;
    world.pass_time(world.now + HOUR);
    let (passes, asked) = (world.passes, world.asked);
    world.pass_time(world.now + 8 * HOUR);
    let scheduled: usize = world.commit.values().flat_map(BTreeMap::values).filter(|(_, scheduled)| *scheduled).count();
    let tags: usize = world.commit.values().map(BTreeMap::len).sum();
    // Each tag once in its time: four times an hour, or once.
    let most = 8 * (scheduled * 4 + (tags - scheduled)) + tags;
    assert!(world.asked - asked <= most, "{} questions, {most} at most", world.asked - asked);
    assert!(world.passes - passes <= most + 16, "{} passes", world.passes - passes);
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_day_takes_no_more_memory_than_an_hour() {
    drop(live(100, 1));
    let before = resident();
    drop(live(101, 24));
    let after = resident();
    // Other tests run beside it, in the same process.
    assert!(after < before + 200 * 1024, "{before} KiB, then {after}");
}
