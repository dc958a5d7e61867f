//! What must hold in every world: thousands of random ones, on the real store.
//!
//! A world is a set of wanted streams, what the registries hold, and what is in the store already. Stores lie in memory
//! (`/dev/shm`) where there is such a place, so that thousands of commits cost nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::select;

use streamkeeper::adapters::store::{Reader, Writer};
use streamkeeper::model::{
    Action, Cause, Desired, DesiredStream, DesiredTag, Ignorance, Observed, Origin, Outcome, Plan, Policy, Question,
    RemovalLimit, Report, Resolution, StepId, Tally, Wait,
};
use streamkeeper::observe::Sources;
use streamkeeper::openshift::{
    DOCKER_IMAGE, Digest, IMAGE_STREAM_IMAGE, IMAGE_STREAM_TAG, ImageStream, ObjectReference, StreamId, TagReference,
};
use streamkeeper::ports::{Command, NoMemory, NoProgress, Performed, PortError, Registry, Target};
use streamkeeper::reconcile::{PlanRequest, observe_and_plan};
use streamkeeper::rules::{self, Server};
use tokio_util::sync::CancellationToken;

use crate::support::{self, identities};

/// What one tag of a world wants.
#[derive(Clone, Debug)]
enum Want {
    /// An image of a registry, by number.
    Image { image: usize, scheduled: bool, reference: bool, preserve: bool },
    /// Another tag of the same stream, by number; may be missing, itself, a circle.
    Alias(usize),
    /// A tag of another stream; may be missing.
    Other { stream: usize, tag: usize },
    /// An image of a stream by its digest; may be missing, or come with the same plan.
    Pinned { stream: usize, image: usize },
    /// Only pushes fill it.
    Pushed,
}

#[derive(Clone, Debug)]
struct World {
    /// Tags by stream and number.
    streams: BTreeMap<usize, BTreeMap<usize, Want>>,
    labels: BTreeMap<usize, u8>,
    /// What each image resolves to: a version, none, or nobody knows.
    images: Vec<Option<u8>>,
}

fn want() -> impl Strategy<Value = Want> {
    prop_oneof![
        4 => (0..6_usize, any::<bool>(), prop::bool::weighted(0.1), prop::bool::weighted(0.2))
            .prop_map(|(image, scheduled, reference, preserve)| Want::Image { image, scheduled, reference, preserve }),
        2 => (0..4_usize).prop_map(Want::Alias),
        2 => (0..5_usize, 0..4_usize).prop_map(|(stream, tag)| Want::Other { stream, tag }),
        1 => (0..5_usize, 0..6_usize).prop_map(|(stream, image)| Want::Pinned { stream, image }),
        1 => Just(Want::Pushed),
    ]
}

fn world() -> impl Strategy<Value = World> {
    let streams = prop::collection::btree_map(0..5_usize, prop::collection::btree_map(0..4_usize, want(), 0..4), 0..5);
    let labels = prop::collection::btree_map(0..5_usize, 0..3_u8, 0..3);
    let images = prop::collection::vec(prop_oneof![8 => (0..3_u8).prop_map(Some), 1 => Just(None)], 6);
    (streams, labels, images).prop_map(|(streams, labels, images)| World { streams, labels, images })
}

fn stream_id(number: usize) -> StreamId {
    StreamId::new(if number.is_multiple_of(2) { "even" } else { "odd" }, format!("s{number}"))
}

fn image_name(number: usize) -> String {
    format!("registry.example.com/lab/app{number}:1")
}

fn digest(image: usize, version: u8, part: u8) -> Digest {
    Digest::parse(&format!("sha256:{image:0>60}{version}{part:0>3}")).unwrap()
}

impl World {
    fn desired(&self) -> Desired {
        let mut desired = Desired::default();
        for (number, tags) in &self.streams {
            let id = stream_id(*number);
            let tags = tags.iter().map(|(tag, want)| {
                let name = format!("t{tag}");
                let reference = tag_reference(&name, want);
                (name, Box::new(DesiredTag { reference, origin: Origin::default() }))
            });
            let labels = self.labels.get(number).map(|value| ("team".to_owned(), value.to_string()));
            let stream = DesiredStream {
                tags: tags.collect(),
                labels: labels.into_iter().collect(),
                ..DesiredStream::default()
            };
            desired.streams.insert(id, stream);
        }
        desired
    }
}

fn tag_reference(name: &str, want: &Want) -> TagReference {
    let from =
        |kind: &str, namespace: String, name: String| Some(ObjectReference { kind: kind.to_owned(), namespace, name });
    let mut tag = TagReference { name: name.to_owned(), ..TagReference::default() };
    match want {
        Want::Image { image, scheduled, reference, preserve } => {
            tag.from = from(DOCKER_IMAGE, String::new(), image_name(*image));
            tag.import_policy.scheduled = *scheduled;
            tag.reference = *reference;
            if *preserve {
                tag.import_policy.import_mode = streamkeeper::openshift::ImportMode::PreserveOriginal;
            }
        }
        Want::Alias(target) => tag.from = from(IMAGE_STREAM_TAG, String::new(), format!("t{target}")),
        Want::Other { stream, tag: target } => {
            let id = stream_id(*stream);
            tag.from = from(IMAGE_STREAM_TAG, id.namespace, format!("{}:t{target}", id.name));
        }
        Want::Pinned { stream, image } => {
            let id = stream_id(*stream);
            let name = format!("{}@{}", id.name, digest(*image, 1, 1));
            tag.from = from(IMAGE_STREAM_IMAGE, id.namespace, name);
        }
        Want::Pushed => {}
    }
    tag
}

/// Registries as the world has them.
struct Registries<'a> {
    images: &'a [Option<u8>],
    /// Images that nobody can say anything of.
    silent: BTreeSet<usize>,
    asked: AtomicUsize,
}

impl Registry for Registries<'_> {
    async fn resolve(&self, question: &Question) -> Observed<Resolution> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let image: usize = question.reference.name.trim_start_matches("app").parse().unwrap();
        if self.silent.contains(&image) {
            return Observed::Unknown(Ignorance::new(question.reference.to_string(), Cause::Unreachable, "down"));
        }
        match self.images[image] {
            None => Observed::Absent,
            Some(version) => Observed::Known(Resolution {
                only_mirror: None,
                digest: digest(image, version, 0),
                media_type: String::new(),
                // Every other image is a list.
                platforms: (0..image % 2)
                    .map(|_| streamkeeper::model::PlatformImage {
                        digest: digest(image, version, 1),
                        os: "linux".to_owned(),
                        architecture: "amd64".to_owned(),
                        variant: String::new(),
                    })
                    .collect(),
            }),
        }
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

fn registries<'a>(world: &'a World, silent: &BTreeSet<usize>) -> Registries<'a> {
    Registries { images: &world.images, silent: silent.clone(), asked: AtomicUsize::new(0) }
}

/// A store in a folder of its own.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn generous() -> Policy {
    Policy { removals: RemovalLimit::Count(usize::MAX), allow_empty: true, ..Policy::default() }
}

async fn plan(folder: &Path, desired: &Desired, registry: &Registries<'_>, policy: &Policy, seconds: i64) -> Plan {
    let live = Reader::open(folder, &identities()).unwrap();
    let sources = Sources { live: &live, registry, memory: &NoMemory, progress: &NoProgress };
    let request = PlanRequest { policy: policy.clone(), tool: "test", ..PlanRequest::default() };
    observe_and_plan(sources, desired, &request, at(seconds)).await.unwrap().plan
}

/// Carries a plan out, all of it or until so many steps were begun.
async fn execute(folder: &Path, plan: &Plan, steps: usize, seconds: i64) -> Report {
    let writer = Writer::open(folder, &identities()).unwrap();
    let stop = CancellationToken::new();
    if steps == 0 {
        stop.cancel();
    }
    let target = Stopping { writer: &writer, left: AtomicUsize::new(steps), stop: &stop };
    support::execute(plan, &target, || at(seconds), &stop).await.unwrap()
}

/// Stops the run after so many steps.
struct Stopping<'a> {
    writer: &'a Writer,
    left: AtomicUsize,
    stop: &'a CancellationToken,
}

impl Target for Stopping<'_> {
    async fn perform(&self, command: Command<'_>) -> Result<Performed, PortError> {
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if left.unwrap_or(0) <= 1 {
            self.stop.cancel();
        }
        if left.is_err() {
            return Err(PortError::failed("go on", std::io::Error::other("stopped by the test")));
        }
        self.writer.perform(command).await
    }

    async fn begin(&self, plan: &Plan, now: Timestamp) -> Result<i64, PortError> {
        self.writer.begin(plan, now).await
    }

    async fn finish(&self, run: i64, report: &Report) -> Result<(), PortError> {
        self.writer.finish(run, report).await
    }
}

/// The streams in a store without what differs from run to run.
fn state(folder: &Path) -> BTreeMap<StreamId, ImageStream> {
    let streams = Reader::open(folder, &identities()).unwrap().streams().unwrap();
    let plain = |stream: &ImageStream| {
        let mut stream = stream.clone();
        stream.metadata.uid = None;
        stream.metadata.resource_version = None;
        stream.metadata.creation_timestamp = None;
        stream.metadata.generation = 0;
        for value in stream.metadata.annotations.values_mut() {
            value.clear();
        }
        stream.spec.tags.iter_mut().for_each(|tag| tag.generation = None);
        for list in &mut stream.status.tags {
            list.items.iter_mut().for_each(|event| (event.created, event.generation) = (None, 0));
            for condition in &mut list.conditions {
                (condition.last_transition_time, condition.generation) = (None, 0);
            }
        }
        stream
    };
    streams.iter().map(|(id, live)| (id.clone(), plain(&live.stream))).collect()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Plans and applies until nothing is left; worlds in which tags of several streams copy each other in a circle may take
/// more than one round.
async fn settle(folder: &Path, world: &World, policy: &Policy, seconds: i64) -> Plan {
    let desired = world.desired();
    let registry = registries(world, &BTreeSet::new());
    for round in 0..2 {
        let plan = plan(folder, &desired, &registry, policy, seconds + round).await;
        if plan.is_empty() {
            return plan;
        }
        let report = execute(folder, &plan, usize::MAX, seconds + round).await;
        for (id, outcome) in &report.outcomes {
            assert!(outcome.is_success(), "step {id} of {plan:#?}: {outcome:?}");
        }
    }
    plan(folder, &desired, &registry, policy, seconds + 9).await
}

fn cases(number: u32) -> ProptestConfig {
    ProptestConfig { cases: number, max_shrink_iters: 2000, failure_persistence: None, ..ProptestConfig::default() }
}

/// What a plan means, where nobody could look at any image.
fn reviewed_by_nobody(plan: &Plan, desired: &Desired) -> streamkeeper::model::Review {
    let input = streamkeeper::review::Input {
        plan,
        desired,
        base: None,
        facts: &BTreeMap::new(),
        attached: &BTreeMap::new(),
        packages: &BTreeMap::new(),
        most_workloads: 1,
        platform: ("linux", "amd64"),
    };
    streamkeeper::review::review(&input)
}

proptest! {
    #![proptest_config(cases(1200))]

    /// Apply, then plan: nothing is left, from an empty store and from another world. Nothing is asked of anybody twice in a
    /// pass, whatever is in the world.
    #[test]
    fn plans_converge(first in world(), second in world()) {
        block_on(async {
            let folder = folder();
            for (round, world) in [&first, &second].into_iter().enumerate() {
                let left = settle(folder.path(), world, &generous(), 100 * round as i64).await;
                assert!(left.is_empty(), "left over: {left:#?}");
                let wanted: BTreeSet<StreamId> = world.desired().streams.into_keys().collect();
                let there: BTreeSet<StreamId> = state(folder.path()).into_keys().collect();
                assert_eq!(there, wanted);
            }
        });
    }

    /// What the plan says each tag moves to is what it moves to.
    #[test]
    fn predictions_are_results(first in world(), second in world()) {
        block_on(async {
            let folder = folder();
            let _ = settle(folder.path(), &first, &generous(), 0).await;
            let registry = registries(&second, &BTreeSet::new());
            let plan = plan(folder.path(), &second.desired(), &registry, &generous(), 100).await;
            let _ = execute(folder.path(), &plan, usize::MAX, 100).await;
            let streams = Reader::open(folder.path(), &identities()).unwrap().streams().unwrap();
            let mut last = BTreeMap::new();
            for step in &plan.steps {
                for one in &step.moves {
                    last.insert((step.action.stream().clone(), one.tag.clone()), one.after.clone());
                }
            }
            for ((id, tag), after) in last {
                let head = streams.get(&id).and_then(|live| live.stream.head(&tag)).map(|head| head.docker_image_reference.clone());
                assert_eq!(head, after, "{id}:{tag} of {plan:#?}");
            }
        });
    }

    /// A plan that was reviewed, saved, and carried out after somebody else did something: each step gives what was reviewed, or
    /// refuses and changes nothing. Nothing is looked up anew.
    #[test]
    fn what_was_reviewed_is_done_or_refused(first in world(), second in world(), third in world(), steps in 0..12_usize) {
        block_on(async {
            let folder = folder();
            let _ = settle(folder.path(), &first, &generous(), 0).await;
            let (desired, registry) = (second.desired(), registries(&second, &BTreeSet::new()));
            let mut reviewed = plan(folder.path(), &desired, &registry, &generous(), 100).await;
            reviewed.review = Some(Box::new(reviewed_by_nobody(&reviewed, &desired)));
            let saved = serde_json::to_string(&reviewed).unwrap();
            // Somebody else meanwhile, up to some step.
            let (other, elsewhere) = (third.desired(), registries(&third, &BTreeSet::new()));
            let others = plan(folder.path(), &other, &elsewhere, &generous(), 101).await;
            let _ = execute(folder.path(), &others, steps, 101).await;
            let before = state(folder.path());
            let reviewed: Plan = serde_json::from_str(&saved).unwrap();
            let report = execute(folder.path(), &reviewed, usize::MAX, 102).await;
            let after = state(folder.path());
            let mut said: BTreeMap<(StreamId, String), Option<String>> = BTreeMap::new();
            for step in reviewed.steps.iter().filter(|step| report.outcomes.get(&step.id).is_some_and(Outcome::is_success)) {
                for one in &step.moves {
                    said.insert((step.action.stream().clone(), one.tag.clone()), one.after.clone());
                }
            }
            let head = |state: &BTreeMap<StreamId, ImageStream>, id: &StreamId, tag: &str| {
                state.get(id).and_then(|stream| stream.head(tag)).map(|head| head.docker_image_reference.clone())
            };
            let removed: BTreeSet<&StreamId> = reviewed.steps.iter().filter(|step| matches!(step.action, Action::DeleteStream { .. })).map(|step| step.action.stream()).collect();
            for (id, stream) in before.iter().chain(&after) {
                for list in &stream.status.tags {
                    let now = head(&after, id, &list.tag);
                    match said.get(&(id.clone(), list.tag.clone())) {
                        Some(expected) => assert_eq!(now, *expected, "{id}:{} of {reviewed:#?}", list.tag),
                        None if removed.contains(id) => {}
                        None => assert_eq!(now, head(&before, id, &list.tag), "{id}:{} of {reviewed:#?}", list.tag),
                    }
                }
            }
        });
    }

    /// The same input gives the same bytes, and a plan survives being saved.
    #[test]
    fn plans_are_stable_and_round_trip(first in world(), second in world()) {
        block_on(async {
            let folder = folder();
            let _ = settle(folder.path(), &first, &generous(), 0).await;
            let registry = registries(&second, &BTreeSet::new());
            let one = plan(folder.path(), &second.desired(), &registry, &generous(), 100).await;
            let two = plan(folder.path(), &second.desired(), &registry, &generous(), 100).await;
            let text = serde_json::to_string(&one).unwrap();
            assert_eq!(text, serde_json::to_string(&two).unwrap());
            let back: Plan = serde_json::from_str(&text).unwrap();
            assert_eq!(back, one);
        });
    }

    /// Stopped after any step and run again, the end is that of an undisturbed run, in state and in history.
    #[test]
    fn runs_can_be_interrupted(first in world(), second in world(), steps in 0..12_usize) {
        block_on(async {
            let (calm, disturbed) = (folder(), folder());
            for folder in [&calm, &disturbed] {
                let _ = settle(folder.path(), &first, &generous(), 0).await;
            }
            let _ = settle(calm.path(), &second, &generous(), 100).await;
            let registry = registries(&second, &BTreeSet::new());
            let plan = plan(disturbed.path(), &second.desired(), &registry, &generous(), 100).await;
            let _ = execute(disturbed.path(), &plan, steps, 100).await;
            let _ = settle(disturbed.path(), &second, &generous(), 100).await;
            assert_eq!(state(calm.path()), state(disturbed.path()), "after {steps} steps of {plan:#?}");
        });
    }

    /// A saved plan that was carried out in part can be carried out again: what is done is told from what is stale.
    #[test]
    fn saved_plans_can_be_applied_again(first in world(), second in world(), steps in 0..12_usize) {
        block_on(async {
            let folder = folder();
            let _ = settle(folder.path(), &first, &generous(), 0).await;
            let registry = registries(&second, &BTreeSet::new());
            let plan = plan(folder.path(), &second.desired(), &registry, &generous(), 100).await;
            let _ = execute(folder.path(), &plan, steps, 100).await;
            let report = execute(folder.path(), &plan, usize::MAX, 101).await;
            for (id, outcome) in &report.outcomes {
                assert!(outcome.is_success(), "step {id} after {steps} steps of {plan:#?}: {outcome:?}");
            }
        });
    }

    /// What nobody could say leads to no removal and no step backwards.
    #[test]
    fn ignorance_destroys_nothing(first in world(), second in world(), silent in prop::collection::btree_set(0..6_usize, 1..4), unread in any::<bool>()) {
        block_on(async {
            let folder = folder();
            let _ = settle(folder.path(), &first, &generous(), 0).await;
            let before = state(folder.path());
            let registry = registries(&second, &silent);
            let mut desired = second.desired();
            if unread {
                desired.incomplete.push(Ignorance::new("a.yaml", Cause::Unreadable, ""));
            }
            let plan = plan(folder.path(), &desired, &registry, &generous(), 100).await;
            let _ = execute(folder.path(), &plan, usize::MAX, 100).await;
            let after = state(folder.path());
            if unread {
                assert!(plan.steps.iter().all(|step| !step.action.is_removal()), "{plan:#?}");
                for (id, stream) in &before {
                    let now = after.get(id).expect("nothing is removed on an incomplete read");
                    for list in stream.status.tags.iter().filter(|list| !list.items.is_empty()) {
                        assert!(now.head(&list.tag).is_some(), "{id}:{} lost its image", list.tag);
                    }
                }
            }
            // A tag whose own registry is silent keeps the image it has.
            for (id, stream) in &second.desired().streams {
                for (name, tag) in &stream.tags {
                    let Some(question) = tag.question(&id.namespace) else { continue };
                    let image: usize = question.reference.name.trim_start_matches("app").parse().unwrap();
                    let head = |state: &BTreeMap<StreamId, ImageStream>| {
                        state.get(id).and_then(|stream| stream.head(name)).map(|head| head.image.clone())
                    };
                    if silent.contains(&image) && head(&before).is_some() && before.get(id).is_some_and(|stream| stream.spec_tag(name).is_some()) {
                        assert_eq!(head(&after), head(&before), "{id}:{name}");
                    }
                }
            }
        });
    }

    /// What is not ours stays as it is.
    #[test]
    fn only_ours_is_touched(first in world(), second in world(), foreign in prop::collection::btree_set((0..5_usize, 0..4_usize), 1..6)) {
        block_on(async {
            let folder = folder();
            let _ = settle(folder.path(), &first, &generous(), 0).await;
            disown(folder.path(), &foreign);
            let before = state(folder.path());
            let registry = registries(&second, &BTreeSet::new());
            let desired = second.desired();
            let plan = plan(folder.path(), &desired, &registry, &generous(), 100).await;
            let _ = execute(folder.path(), &plan, usize::MAX, 100).await;
            let after = state(folder.path());
            for (stream, tag) in foreign {
                let (id, name) = (stream_id(stream), format!("t{tag}"));
                let named = desired.streams.get(&id).is_some_and(|stream| stream.tags.contains_key(&name));
                let Some(was) = before.get(&id).filter(|_| !named) else { continue };
                let Some(spec) = was.spec_tag(&name) else { continue };
                let now = after.get(&id).expect("a stream with something foreign in it stays");
                assert_eq!(now.spec_tag(&name), Some(spec), "{id}:{name}");
            }
        });
    }
}

/// Makes tags somebody else's.
fn disown(folder: &Path, foreign: &BTreeSet<(usize, usize)>) {
    if !folder.join("store.db").exists() {
        return;
    }
    let connection = rusqlite::Connection::open(folder.join("store.db")).unwrap();
    for (stream, tag) in foreign {
        let id = stream_id(*stream);
        let sql = "UPDATE streams SET owned = json_remove(owned, '$.tags.t' || ?3) WHERE namespace = ?1 AND name = ?2";
        connection.execute(sql, (&id.namespace, &id.name, tag.to_string())).unwrap();
    }
}

/// The same plan with other numbers, in an order that `after` allows: what was last comes first, as far as may be.
fn reordered(plan: &Plan, seed: u64) -> Plan {
    let mut left: Vec<_> = plan.steps.clone();
    let mut numbers: BTreeMap<StepId, StepId> = BTreeMap::new();
    let mut steps = Vec::new();
    let mut state = seed | 1;
    while !left.is_empty() {
        let ready: Vec<usize> =
            (0..left.len()).filter(|at| left[*at].after.iter().all(|before| numbers.contains_key(before))).collect();
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Half of the orders are the least favourable one.
        let at = if seed.is_multiple_of(2) { ready.len() - 1 } else { (state >> 33) as usize % ready.len() };
        let mut step = left.remove(ready[at]);
        let id = StepId(u32::try_from(steps.len() + 1).unwrap());
        numbers.insert(step.id, id);
        step.id = id;
        step.after = step.after.iter().map(|before| numbers[before]).collect();
        steps.push(step);
    }
    Plan { steps, ..plan.clone() }
}

proptest! {
    #![proptest_config(cases(800))]

    /// A step lists all that it relies on: in every order that `after` allows a plan ends in the same state.
    #[test]
    fn every_order_that_a_plan_allows_ends_the_same(first in world(), second in world(), seed in any::<u64>()) {
        block_on(async {
            let (one, other) = (folder(), folder());
            let mut ends = Vec::new();
            for (at, folder) in [one.path(), other.path()].into_iter().enumerate() {
                let _ = settle(folder, &first, &generous(), 0).await;
                let registry = registries(&second, &BTreeSet::new());
                let plan = plan(folder, &second.desired(), &registry, &generous(), 100).await;
                let plan = if at == 0 { plan } else { reordered(&plan, seed) };
                let report = execute(folder, &plan, usize::MAX, 100).await;
                let bad = report.outcomes.iter().find(|(_, outcome)| !outcome.is_success());
                assert!(bad.is_none(), "{bad:?} of {:#?}", plan.steps);
                ends.push(state(folder));
            }
            assert_eq!(ends[0], ends[1]);
        });
    }
}

proptest! {
    #![proptest_config(cases(400))]

    /// The number of removals is bounded, and all of them wait together.
    #[test]
    fn removals_are_capped(world in world(), limit in 0..6_usize) {
        block_on(async {
            let folder = folder();
            let _ = settle(folder.path(), &world, &generous(), 0).await;
            let policy = Policy { removals: RemovalLimit::Count(limit), allow_empty: true, ..Policy::default() };
            let registry = registries(&world, &BTreeSet::new());
            let plan = plan(folder.path(), &Desired::default(), &registry, &policy, 100).await;
            let removed = plan.steps.iter().filter(|step| step.action.is_removal()).count();
            let over = plan.deferred.iter().any(|deferred| matches!(deferred.wait, Wait::OverLimit { .. }));
            assert!(removed == 0 || !over, "{plan:#?}");
            assert!(removed <= limit.max(world.streams.len().min(limit)), "{plan:#?}");
            let policy = Policy { allow_empty: false, ..generous() };
            let plan = self::plan(folder.path(), &Desired::default(), &registry, &policy, 100).await;
            assert!(plan.is_empty(), "an empty source removes nothing without being told to");
        });
    }

    /// Digests in a plan are those that the rules choose, and the executor writes no others.
    #[test]
    fn imports_write_exactly_the_planned_digests(world in world()) {
        block_on(async {
            let folder = folder();
            let registry = registries(&world, &BTreeSet::new());
            let plan = plan(folder.path(), &world.desired(), &registry, &generous(), 0).await;
            let report = execute(folder.path(), &plan, usize::MAX, 0).await;
            let streams = Reader::open(folder.path(), &identities()).unwrap().streams().unwrap();
            for step in &plan.steps {
                let Action::Import { stream, images, .. } = &step.action else { continue };
                assert_eq!(report.outcomes[&step.id], Outcome::Applied);
                for item in images {
                    let list = streams[stream].stream.status_tag(&item.tag).unwrap();
                    match &item.result {
                        streamkeeper::model::ImportResult::Image { digest } => assert_eq!(list.items[0].image, digest.as_str()),
                        streamkeeper::model::ImportResult::Failure(failure) => assert_eq!(list.conditions[0].reason, failure.reason),
                    }
                }
            }
        });
    }

    /// Whatever is asked of the rules, they do not panic, and a stream they make is one they would make again.
    #[test]
    fn rules_are_total(kinds in prop::collection::vec((select(vec![DOCKER_IMAGE, IMAGE_STREAM_TAG, IMAGE_STREAM_IMAGE, "Other", ""]), ".{0,12}", "[a-c:@]{0,6}"), 0..5)) {
        let mut stream = ImageStream::default();
        for (at, (kind, name, spec)) in kinds.into_iter().enumerate() {
            let name = if at % 2 == 0 { name } else { spec };
            let from = ObjectReference { kind: kind.to_owned(), name, namespace: String::new() };
            stream.spec.tags.push(TagReference { name: format!("{at}"), from: Some(from), ..TagReference::default() });
        }
        let id = StreamId::new("n", "s");
        let (others, server) = (BTreeMap::<StreamId, ImageStream>::new(), Server::default());
        let state = rules::State { id: &id, stream: None, others: &others, server: &server };
        if let Ok(effect) = rules::answer(state, &rules::Request::Create(&stream), at(0)) {
            let made = effect.stream.unwrap();
            let state = rules::State { id: &id, stream: Some(&made), others: &others, server: &server };
            let again = rules::answer(state, &rules::Request::Update(&made), at(1)).unwrap();
            assert!(!again.changed, "writing a stream as it is changes nothing");
        }
    }
}
