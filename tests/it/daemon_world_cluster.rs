//! Hours of `run` on a simulated OpenShift cluster in virtual time: an API server that is down, refuses, conflicts again and
//! again, forgets, and others who write to it. The machine, the pass, the requests and the server are the real ones; time, and
//! who hears of what, are made up.

use std::cell::Cell;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use jiff::Timestamp;
use streamkeeper::adapters::cluster::{Access, Api, Cluster, Connection, Owner};
use streamkeeper::adapters::store::Cache;
use streamkeeper::controller::{Command, Ended, Event, Look, Machine, Pace, Poke};
use streamkeeper::model::{Desired, PassState, Policy, RemovalLimit, Schedule};
use streamkeeper::observe::Sources;
use streamkeeper::openshift::StreamId;
use streamkeeper::ports::NoProgress;
use streamkeeper::reconcile::{PlanRequest, observe_and_plan};
use tokio_util::sync::CancellationToken;

use crate::daemon_world::{Commit, Random, Registries, digest, edit, streams};
use crate::sim::openshift::{Fault, OpenShift};

use crate::support::{self, identities};

const HOUR: i64 = 3_600_000;

struct World {
    random: Random,
    folder: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    sim: OpenShift,
    cluster: Cluster,
    cache: Cache,
    machine: Machine,
    now: i64,
    commit: Commit,
    images: Vec<u64>,
    /// Whether what others change is heard of; otherwise the next full pass sees it.
    watches: bool,
    calm: bool,
    passes: usize,
}

fn open(runtime: &tokio::runtime::Runtime, folder: &std::path::Path) -> Cluster {
    let access = Access {
        kubeconfig: Some(folder.join("kubeconfig")),
        timeout: Some(Duration::from_millis(500)),
        ..Access::default()
    };
    let connection = runtime.block_on(Connection::open(&access)).unwrap();
    Cluster::new(
        connection,
        Api::OpenShift,
        Owner::new("streamkeeper-tests", identities()),
        false,
        ["world".to_owned()].into(),
    )
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let sim = OpenShift::start();
        std::fs::write(folder.path().join("kubeconfig"), sim.kubeconfig()).unwrap();
        let cluster = open(&runtime, folder.path());
        let mut world = Self {
            cache: Cache::new(Some(folder.path())),
            machine: Machine::new(Pace { poll: None, seed, ..Pace::default() }),
            now: 1_800_000_000_000,
            commit: Commit::new(),
            images: (0..12).map(|_| random.below(3)).collect(),
            watches: true,
            calm: false,
            passes: 0,
            random,
            folder,
            runtime,
            sim,
            cluster,
        };
        edit(&mut world.commit, &mut world.random);
        world.push();
        world.event(Event::Leads);
        world
    }

    /// The cluster pulls what we resolve.
    fn push(&self) {
        let mut sim = self.sim.world.lock().unwrap();
        for (image, version) in self.images.iter().enumerate() {
            let digest = digest(image as u64, *version).to_string();
            sim.images.insert(format!("registry.example.com/lab/app{image}:1"), (digest.clone(), digest));
        }
    }

    fn at(&self) -> Timestamp {
        Timestamp::from_millisecond(self.now).unwrap()
    }

    fn event(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            for command in self.machine.step(self.at(), event) {
                match command {
                    Command::Look => events.push(Event::Looked(Look::Same)),
                    Command::Pass(pass) => {
                        self.passes += 1;
                        let ended = self.pass(pass.full);
                        self.now += i64::try_from(self.random.below(3000)).unwrap();
                        events.push(Event::Ended(ended));
                    }
                    Command::Leave => panic!("nobody has said so"),
                }
            }
        }
    }

    fn pass(&mut self, full: bool) -> Ended {
        let again = Ended { again: true, ..Ended::default() };
        let mut desired = Desired::default();
        desired.revision.commit = Some(format!("{:0>40}", self.now));
        desired.scope = "all of it".to_owned();
        desired.streams = streams(&self.commit);
        let registry = Registries { images: &self.images, fault: None, asked: AtomicUsize::new(0) };
        let removals = if self.calm { RemovalLimit::Count(usize::MAX) } else { RemovalLimit::Fifth };
        let policy = Policy { removals, schedule: Schedule::TakenOver, images_per_import: 3, ..Policy::default() };
        let sources = Sources { live: &self.cluster, registry: &registry, memory: &self.cache, progress: &NoProgress };
        let state = PassState { spread: true, patient: true, ..PassState::default() };
        let request = PlanRequest { policy, state, tool: "test", look_at_all: full, ..PlanRequest::default() };
        let now = Timestamp::from_second(self.at().as_second()).unwrap();
        let Ok(planned) = self.runtime.block_on(observe_and_plan(sources, &desired, &request, now)) else {
            return again;
        };
        let plan = &planned.plan;
        let due = [planned.due, streamkeeper::planner::retry(&desired, &planned.live, now)].into_iter().flatten().min();
        let stop = CancellationToken::new();
        let report = if plan.is_empty() {
            None
        } else {
            let clock = Cell::new(now);
            let run = support::execute(plan, &self.cluster, || clock.get(), &stop);
            match self.runtime.block_on(run) {
                Ok(report) => Some(report),
                Err(_) => return again,
            }
        };
        Ended::of(plan, report.as_ref(), false, due, now)
    }

    fn pass_time(&mut self, until: i64) {
        while let Some(wake) = self.machine.wake_at().filter(|wake| wake.as_millisecond() <= until) {
            self.now = self.now.max(wake.as_millisecond());
            self.event(Event::Woke);
        }
        self.now = self.now.max(until);
    }

    /// Somebody else has written: it is heard of, or not.
    fn heard(&mut self) {
        if self.watches {
            self.event(Event::Poke(Poke::Target));
        }
    }

    fn any_stream(&mut self) -> Option<StreamId> {
        let ids: Vec<StreamId> = self.sim.world.lock().unwrap().streams.keys().cloned().collect();
        let at = usize::try_from(self.random.below(ids.len().max(1) as u64)).unwrap();
        ids.get(at).cloned()
    }

    fn happen(&mut self) {
        match self.random.below(15) {
            0..4 => {
                edit(&mut self.commit, &mut self.random);
                self.event(Event::Poke(Poke::Source));
            }
            4..6 => {
                let image = usize::try_from(self.random.below(12)).unwrap();
                self.images[image] += 1;
                self.push();
                if self.random.one_in(2) {
                    self.event(Event::Poke(Poke::Registry));
                }
            }
            // A storm of conflicts, or of whatever else a server says no with; cut connections, before and after it was done.
            6..9 | 10 => {
                let number = 1 + self.random.below(12);
                let faults: Vec<Fault> = (0..number)
                    .map(|_| match self.random.below(6) {
                        0..3 => Fault::Answer(409, None),
                        3 => Fault::Answer(500, None),
                        4 => Fault::Cut,
                        _ => Fault::CutAfter,
                    })
                    .collect();
                self.sim.world.lock().unwrap().faults = faults;
            }
            // It is down for a while, or goes down in the middle of a run. (Requests that nobody answers are tried again in real
            // time: so not for long.)
            9 => {
                let after = (usize::try_from(self.random.below(5)).unwrap(), self.random.one_in(2));
                self.sim.world.lock().unwrap().vanishes = Some(after);
                edit(&mut self.commit, &mut self.random);
                self.event(Event::Poke(Poke::Source));
                self.pass_time(self.now + 15_000);
                self.sim.world.lock().unwrap().vanishes = None;
            }
            // The watch has expired, or is back: what was missed is looked for.
            11 => {
                self.watches = !self.watches;
                self.heard();
            }
            12 => {
                if let Some(id) = self.any_stream() {
                    self.sim.world.lock().unwrap().drop_stream(&id);
                    self.heard();
                }
            }
            13 => {
                if let Some(id) = self.any_stream() {
                    let image = self.random.below(12);
                    self.sim.world.lock().unwrap().edit(&id, |stream| {
                        if let Some(from) = stream.spec.tags.first_mut().and_then(|tag| tag.from.as_mut()) {
                            from.name = format!("registry.example.com/lab/app{image}:1");
                        }
                    });
                    self.heard();
                }
            }
            // Killed, and begun again.
            _ => {
                self.machine = Machine::new(Pace { poll: None, seed: self.random.below(1000), ..Pace::default() });
                self.cluster = open(&self.runtime, self.folder.path());
                if self.random.one_in(2) {
                    self.cache = Cache::new(Some(self.folder.path()));
                }
                self.event(Event::Leads);
            }
        }
    }

    fn check(&self, seed: u64) {
        let world = self.sim.world.lock().unwrap();
        let ids: Vec<String> = world.streams.keys().map(|id| id.name.clone()).collect();
        let wanted: Vec<String> = self.commit.keys().map(|stream| format!("s{stream}")).collect();
        assert_eq!(ids, wanted, "{seed}");
        for (id, stored) in &world.streams {
            let number: u64 = id.name.trim_start_matches('s').parse().unwrap();
            let tags = &self.commit[&number];
            let names: Vec<String> = stored.stream.spec.tags.iter().map(|tag| tag.name.clone()).collect();
            assert_eq!(names, tags.keys().map(|tag| format!("t{tag}")).collect::<Vec<_>>(), "{seed} {id}");
            for (tag, (image, scheduled)) in tags {
                let list = stored.stream.status_tag(&format!("t{tag}")).unwrap();
                assert!(list.conditions.is_empty(), "{seed} {id}:t{tag} {list:?}");
                let head = &list.items[0].image;
                let is_current = *head == digest(*image, self.images[usize::try_from(*image).unwrap()]).as_str();
                assert!(is_current || !scheduled, "{seed} {id}:t{tag} has not followed");
                assert_eq!(head[..39], digest(*image, 0).as_str()[..39], "{seed} {id}:t{tag} is another image");
                let twice = list.items.windows(2).any(|pair| pair[0].image == pair[1].image);
                assert!(!twice, "{seed} {id}:t{tag}: an image twice in a row: {list:?}");
            }
        }
    }
}

fn live(seed: u64, hours: i64) {
    let mut world = World::new(seed);
    let end = world.now + hours * HOUR;
    while world.now < end {
        let pause = i64::try_from(world.random.below(900_000)).unwrap();
        world.pass_time(world.now + pause);
        world.happen();
    }
    assert!(world.passes < 400 * usize::try_from(hours).unwrap(), "{seed}: {} passes", world.passes);
    {
        let mut sim = world.sim.world.lock().unwrap();
        (sim.vanishes, sim.faults) = (None, Vec::new());
    }
    world.calm = true;
    world.pass_time(world.now + 3 * HOUR);
    world.check(seed);
    // Then there is peace: nobody writes.
    let writes = |world: &World| world.sim.server.seen().iter().filter(|request| request.method != "GET").count();
    let before = writes(&world);
    world.pass_time(world.now + 2 * HOUR);
    assert_eq!(before, writes(&world), "{seed}");
}

#[test]
fn hours_of_a_cluster_where_everything_goes_wrong_end_well() {
    std::thread::scope(|scope| {
        for part in [1..=3, 4..=6_u64] {
            scope.spawn(move || part.for_each(|seed| live(seed, 3)));
        }
    });
}
