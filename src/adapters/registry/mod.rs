//! What references are now, asked of registries and of OCI layout folders.
//!
//! In the order of a question: `settings` (may it be asked?), `mirrors` (whom?), `host` and `pace` (when?), `http` and
//! `client` (the only way out; `address` says where to, `echo` what may come back), `auth` and `token` (what may be shown), `manifests` and `listing`
//! (what is believed), `images`, `attached` and `layers` (what an image is; with `packages`, pure, what is installed in it), `wire`
//! (pure: how answers are read). `layout` reads folders that stand in for a host.
//!
//! Rules of the house: HEAD first. What HEAD says of a tag is a hint: before a digest is planned, [`Registries::fetch`] has
//! seen its bytes, hashed them before it parsed them, and kept them; what is known by digest is never fetched again. A
//! credential reaches only the host it is for. No answer, and no half of an answer, is ever taken for "no".
//!
//! `oci-client` gives the types of manifests. Its client is not used: it hides response headers (quotas, pages), sends a GET
//! after a refused HEAD, keeps the first credential of a host for its whole life, pages by the last tag only, and reads
//! bodies without a limit.
//! Tests: beside the code, `tests/it/registry.rs`, `tests/it/hostile_registry.rs`, `tests/it/logins.rs`,
//! `tests/it/manners.rs`, `tests/it/mirrors.rs`.

mod settings;

mod mirrors;

mod host;
mod pace;

mod address;
mod client;
mod echo;
mod failure;
mod http;

mod auth;
mod token;

mod attached;
mod images;
mod layers;
mod listing;
mod manifests;
mod packages;
mod wire;

mod layout;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use jiff::Timestamp;

use crate::adapters::lock;
use crate::model::{Attached, Cause, ImageFacts, Observed, Packages, Question, Resolution, Tally};
use crate::openshift::{Digest, ImageReference};
use crate::ports::Registry;

pub use auth::Credentials;
pub use mirrors::{Mirror, Mirrors, Rule, read as read_mirrors};
pub use settings::{AllowedRegistry, HostConfig, Settings};

use failure::Failure;
use host::Host;
use mirrors::Place;
use wire::{Kind, Manifest};

/// Keeps what registries said beyond the end of a process. All of it may vanish at any time; what comes out is checked
/// again.
pub trait RegistryMemory: Send + Sync {
    /// Media type and bytes of what was fetched.
    fn content(&self, kind: Content, digest: &Digest) -> Option<(String, Vec<u8>)>;

    /// Keeps them.
    fn keep_content(&self, kind: Content, digest: &Digest, media_type: &str, bytes: &[u8]);

    /// The tags that a repository had.
    fn listing(&self, repository: &str) -> Option<BTreeSet<String>>;

    /// Keeps them.
    fn keep_listing(&self, repository: &str, tags: &BTreeSet<String>);

    /// An image, as it was pulled, whose layers are those that this stands for (OCI image specification, "ChainID").
    fn with_layers(&self, layers: &Digest) -> Option<String>;

    /// Keeps that; of several the one whose name comes first, whenever it came.
    fn keep_layers(&self, layers: &Digest, image: &str);

    /// Until when a host asked to be left alone.
    fn pause(&self, host: &str) -> Option<Timestamp>;

    /// Keeps that.
    fn keep_pause(&self, host: &str, until: Timestamp);
}

/// What bytes were fetched as: the same bytes may be named as either, and are no proof of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Content {
    /// A manifest or a list of them.
    Manifest,
    /// The config of an image.
    Config,
}

/// Reads bytes as everything that a registry may answer with; panics where what was read breaks a promise. For fuzzing.
#[doc(hidden)]
pub fn read_anything(bytes: &[u8]) {
    wire::read_anything(bytes);
    packages::read_anything(bytes);
}

/// Answers of a pass. Whoever asks first holds the place; those behind find the answer there.
type Asked<T> = Mutex<BTreeMap<Question, Arc<tokio::sync::OnceCell<Observed<T>>>>>;

/// All registries and layout folders there are, for one pass: each question is asked once.
pub struct Registries {
    settings: Arc<Settings>,
    http: http::Http,
    layouts: layout::Layouts,
    memory: Arc<dyn RegistryMemory>,
    /// Bytes that there is no other place for.
    held: Mutex<Held>,
    /// Manifests whose bytes were seen in this pass.
    seen: Mutex<BTreeMap<Digest, Resolution>>,
    /// What references are.
    answers: Asked<Resolution>,
    /// What tags repositories have.
    listed: Asked<Vec<String>>,
    /// Images of which everything was seen in this pass: content is the same wherever it is.
    complete: Mutex<BTreeSet<Digest>>,
    /// Images that were looked at in this pass.
    fetched: Asked<()>,
    /// Images by their layers, that there is no other place for.
    layers: Mutex<BTreeMap<Digest, String>>,
    /// Databases of layers that were read in this pass: images share them.
    unpacked: Mutex<BTreeMap<Digest, layers::Unpacked>>,
    /// Images whose layers are looked into at a time.
    unpacking: tokio::sync::Semaphore,
    opened: Instant,
    asked: AtomicUsize,
    cached: AtomicUsize,
    charged: AtomicUsize,
    refused: AtomicUsize,
}

/// Bytes of manifests and configs that are held at most, where they cannot be kept.
const HELD: usize = 16 * 1024 * 1024;

/// Media type and bytes of what was fetched.
type Held = BTreeMap<(Content, Digest), (String, Vec<u8>)>;

/// Who is asked: a host, or the folder in its place.
enum Target {
    Host(Arc<Host>),
    Folder(std::path::PathBuf),
}

impl Registries {
    /// Registries as the config has them, with logins, and what is remembered.
    pub fn new(settings: Settings, credentials: Credentials, memory: Arc<dyn RegistryMemory>) -> Self {
        let settings = Arc::new(settings);
        Self {
            http: http::Http::new(Arc::clone(&settings), credentials, Arc::clone(&memory)),
            settings,
            layouts: layout::Layouts::default(),
            memory,
            held: Mutex::default(),
            seen: Mutex::default(),
            answers: Mutex::default(),
            listed: Mutex::default(),
            complete: Mutex::default(),
            fetched: Mutex::default(),
            layers: Mutex::default(),
            unpacked: Mutex::default(),
            unpacking: tokio::sync::Semaphore::new(1),
            opened: Instant::now(),
            asked: AtomicUsize::new(0),
            cached: AtomicUsize::new(0),
            charged: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
        }
    }

    fn target(&self, place: &Place) -> Target {
        let config = self.settings.host(&place.reference.registry);
        if let Some(folder) = config.layout {
            return Target::Folder(folder);
        }
        // Docker Hub's registry is on another host than its name (semantics 2.11).
        let name = match place.reference.registry.as_str() {
            "docker.io" | "index.docker.io" => "registry-1.docker.io",
            name => name,
        };
        Target::Host(self.http.hosts.get((name, &place.namespace), &config, place.insecure))
    }

    /// Where a question may be asked.
    fn places(&self, question: &Question) -> Result<Vec<Place>, Failure> {
        let Question { namespace, reference, insecure } = question;
        if let Some(rule) = self.settings.forbids(&reference.registry, *insecure) {
            return Err(Failure::new(Cause::Refused, rule));
        }
        let mut places = self.settings.mirrors.places(reference, *insecure);
        places.iter_mut().for_each(|place| place.namespace.clone_from(namespace));
        if self.settings.blocks(&reference.registry) || self.settings.mirrors.blocks(reference) {
            places.retain(|place| !place.is_source);
            if places.is_empty() {
                return Err(Failure::new(Cause::Refused, format!("registry {} blocked", reference.registry)));
            }
        }
        if places.is_empty() {
            let rule = "the source must not be contacted, and no mirror is asked for such references";
            return Err(Failure::new(Cause::Refused, rule));
        }
        Ok(places)
    }

    /// A question spelled in one way, and asked in one way where the config has already said how.
    fn normal(&self, question: &Question) -> Question {
        let registry = auth::canonical(&question.reference.registry);
        let insecure = question.insecure || self.settings.host(&registry).insecure;
        let reference = ImageReference { registry, ..question.reference.clone() };
        if !self.http.credentials.has_namespaces() {
            return Question { namespace: String::new(), reference, insecure };
        }
        let places = self.settings.mirrors.places(&reference, insecure);
        let has_secret = |place: &Place| {
            let Place { reference, .. } = place;
            self.http.credentials.has_of(&question.namespace, &reference.registry, &reference.path())
        };
        // What needs no secret of a namespace is asked once for all of them.
        let namespace = match places.iter().any(has_secret) {
            true => question.namespace.clone(),
            false => String::new(),
        };
        Question { namespace, reference, insecure }
    }

    /// What a manifest resolves to, from this pass or the memory.
    fn recall(&self, digest: &Digest) -> Option<Resolution> {
        if let Some(known) = lock(&self.seen).get(digest) {
            return Some(known.clone());
        }
        let (media_type, bytes) = self.kept(Content::Manifest, digest)?;
        let resolution = wire::resolution(digest.clone(), &media_type, &bytes).ok()?;
        lock(&self.seen).insert(digest.clone(), resolution.clone());
        Some(resolution)
    }

    /// What is kept and still has its digest.
    fn kept(&self, kind: Content, digest: &Digest) -> Option<(String, Vec<u8>)> {
        let remembered = self.memory.content(kind, digest).filter(|(_, bytes)| wire::has_digest(bytes, digest));
        remembered.or_else(|| lock(&self.held).get(&(kind, digest.clone())).cloned())
    }

    /// Keeps bytes beyond the process where there is a place for that, and in the process where there is none.
    fn keep(&self, kind: Content, digest: &Digest, media_type: &str, bytes: &[u8]) {
        self.memory.keep_content(kind, digest, media_type, bytes);
        if self.memory.content(kind, digest).is_some() {
            return;
        }
        let mut held = lock(&self.held);
        let size: usize = held.values().map(|(_, bytes)| bytes.len()).sum();
        if size + bytes.len() <= HELD {
            held.insert((kind, digest.clone()), (media_type.to_owned(), bytes.to_vec()));
        }
    }

    /// Reads a manifest whose bytes were hashed, and keeps it.
    fn learn(&self, manifest: &Manifest) -> Result<Resolution, Failure> {
        let resolution = wire::resolution(manifest.digest.clone(), &manifest.media_type, &manifest.bytes)
            .map_err(Failure::malformed)?;
        let Manifest { digest, media_type, bytes } = manifest;
        self.keep(Content::Manifest, digest, media_type, bytes);
        lock(&self.seen).insert(digest.clone(), resolution.clone());
        Ok(resolution)
    }

    /// The manifest at one place.
    async fn get(&self, target: &Target, reference: &ImageReference) -> Result<Option<Manifest>, Failure> {
        match target {
            Target::Host(host) => {
                self.charged.fetch_add(1, Ordering::Relaxed);
                self.http.get(reference, host).await
            }
            Target::Folder(folder) => {
                self.layouts.manifest(folder, reference).map_err(|detail| Failure::new(Cause::Unreadable, detail))
            }
        }
    }

    /// What a reference is at one place; none for a definite no.
    async fn ask(&self, place: &Place) -> Result<Option<Resolution>, Failure> {
        let reference = &place.reference;
        let target = self.target(place);
        let Target::Host(host) = &target else {
            return self.get(&target, reference).await?.map(|manifest| self.learn(&manifest)).transpose();
        };
        let Some(hint) = self.http.head(reference, host).await? else { return Ok(None) };
        if let (Some(asked), Some(named)) = (&reference.digest, &hint.digest)
            && asked != named
        {
            return Err(Failure::malformed(format!("asked for {} and was told {}", asked.short(), named.short())));
        }
        let Some(digest) = reference.digest.clone().or(hint.digest) else {
            return self.get(&target, reference).await?.map(|manifest| self.learn(&manifest)).transpose();
        };
        if let Some(known) = self.recall(&digest) {
            self.cached.fetch_add(1, Ordering::Relaxed);
            return Ok(Some(known));
        }
        match wire::kind(&hint.media_type) {
            // Nothing more has to be known to compare it. Its bytes are looked at when somebody wants it (`fetch`).
            Kind::Image => Ok(Some(Resolution::image(digest, hint.media_type))),
            Kind::Other if !hint.media_type.is_empty() => Err(Failure::malformed(wire::unsupported(&hint.media_type))),
            // Which of its images a tag means can only be read in it. Some registries name no media type to HEAD.
            Kind::List | Kind::Other => {
                let pinned = ImageReference { tag: String::new(), digest: Some(digest.clone()), ..reference.clone() };
                let manifest = self.get(&target, &pinned).await?.ok_or_else(|| gone(&digest))?;
                self.learn(&manifest).map(Some)
            }
        }
    }

    /// Asks the places one after the other. A mirror that has no answer hands on to the next; only a source can say that
    /// something does not exist.
    async fn resolve_at(&self, places: &[Place]) -> Result<Option<Resolution>, Failure> {
        let mut failures = Vec::new();
        for (at, place) in places.iter().enumerate() {
            match self.ask(place).await {
                Ok(Some(found)) if place.is_source => return Ok(Some(found)),
                Ok(Some(found)) => return self.compare(&places[at..], found).await.map(Some),
                Ok(None) if place.is_source => return Ok(None),
                Ok(None) => failures.push(lacks(place)),
                Err(failure) if place.is_source && failures.is_empty() => return Err(failure),
                Err(failure) => failures.push(Failure {
                    detail: format!("`{}`: {}", place.reference.repository(), failure.detail),
                    ..failure
                }),
            }
        }
        Err(join(failures))
    }

    /// A mirror has answered for a tag: if the source answers too and says otherwise, one of them is behind, and nobody knows
    /// which is meant. If the source may be asked and has no answer, the mirror's is marked as nobody else's.
    async fn compare(&self, places: &[Place], found: Resolution) -> Result<Resolution, Failure> {
        let (Some(mirror), Some(source)) = (places.first(), places.iter().find(|place| place.is_source)) else {
            return Ok(found);
        };
        let Target::Host(host) = self.target(source) else { return Ok(found) };
        if source.reference.digest.is_some() {
            return Ok(found);
        }
        let mirror = mirror.reference.repository();
        match self.http.head(&source.reference, &host).await.map(|hint| hint.and_then(|hint| hint.digest)) {
            Ok(Some(digest)) if digest == found.digest => Ok(found),
            Ok(Some(digest)) => Err(Failure::new(
                Cause::Incomplete,
                format!(
                    "the mirror `{mirror}` has {}, its source {}; the tag waits until they agree",
                    found.digest.short(),
                    digest.short()
                ),
            )),
            Ok(None) | Err(_) => Ok(Resolution { only_mirror: Some(mirror), ..found }),
        }
    }

    fn told<T>(&self, answer: Result<Option<T>, Failure>, asked: &str) -> Observed<T> {
        match answer {
            Ok(Some(value)) => Observed::Known(value),
            Ok(None) => Observed::Absent,
            Err(failure) => {
                if matches!(failure.cause, Cause::Refused | Cause::RateLimited) {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                }
                failure.of(asked)
            }
        }
    }

    /// The tags at one place, compared with what they were.
    async fn list(&self, reference: &ImageReference, place: &Place) -> Observed<Vec<String>> {
        let asked = reference.repository();
        let host = match self.target(place) {
            Target::Folder(folder) => {
                return match self.layouts.tags(&folder, reference) {
                    Ok(tags) => Observed::Known(tags),
                    Err(detail) => Failure::new(Cause::Unreadable, detail).of(&asked),
                };
            }
            Target::Host(host) => host,
        };
        let tags = match self.http.tags(&place.reference, &host).await {
            Observed::Known(tags) => tags,
            other => return other,
        };
        let before = self.memory.listing(&asked).unwrap_or_default();
        let (known, unsure) = self.http.confirm(&place.reference, &host, &tags, &before).await;
        self.memory.keep_listing(&asked, &known);
        // What the list lacks and the registry does not deny stays: asked for by name, each tag is answered for itself.
        Observed::Known(tags.into_iter().chain(unsure).collect())
    }
}

impl Registry for Registries {
    fn forbids(&self, question: &Question) -> Option<String> {
        self.places(&self.normal(question)).err().map(|failure| failure.detail)
    }

    async fn resolve(&self, question: &Question) -> Observed<Resolution> {
        let question = self.normal(question);
        let place = Arc::clone(lock(&self.answers).entry(question.clone()).or_default());
        let answer = place.get_or_init(|| async {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let answer = match self.places(&question) {
                Ok(places) => self.resolve_at(&places).await,
                Err(failure) => Err(failure),
            };
            self.told(answer, &question.reference.to_string())
        });
        answer.await.clone()
    }

    async fn fetch(&self, image: &Question) -> Observed<()> {
        self.see(image, &image.reference).await
    }

    fn known(&self, digest: &Digest) -> Option<Resolution> {
        self.recall(digest)
    }

    async fn image(&self, image: &Question, platform: (&str, &str)) -> Observed<ImageFacts> {
        self.look(image, platform).await
    }

    fn base(&self, image: &ImageFacts) -> Option<String> {
        self.made_from(image)
    }

    async fn attached(&self, image: &Question) -> Attached {
        self.all_attached(&self.normal(image)).await
    }

    async fn packages(&self, image: &Question) -> Observed<Packages> {
        let image = self.normal(image);
        let answer = self.packages_of(&image).await;
        self.told(answer.map(Some), &image.reference.to_string())
    }

    async fn tags(&self, repository: &Question) -> Observed<Vec<String>> {
        let repository = self.normal(repository);
        let place = Arc::clone(lock(&self.listed).entry(repository.clone()).or_default());
        place.get_or_init(|| self.all_tags(&repository)).await.clone()
    }

    fn tally(&self) -> Tally {
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        Tally {
            asked: count(&self.asked),
            cached: count(&self.cached),
            charged: count(&self.charged),
            refused: count(&self.refused),
            requests: count(&self.http.requests),
            milliseconds: self.opened.elapsed().as_millis(),
            hosts: self.http.hosts.tally(),
        }
    }
}

impl Registries {
    async fn all_tags(&self, repository: &Question) -> Observed<Vec<String>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        // A list is the source's own: mirrors hold a part of it (semantics 3.4). Where the source must not be contacted, the
        // first mirror that has the repository stands for it.
        let reference = &repository.reference;
        let asked = reference.repository();
        let places = match self.places(repository) {
            Ok(places) => places,
            Err(failure) => return self.told(Err(failure), &asked),
        };
        if let Some(source) = places.iter().find(|place| place.is_source) {
            return self.list(reference, source).await;
        }
        let mut answer = join(Vec::new()).of(&asked);
        for place in &places {
            answer = match self.list(reference, place).await {
                Observed::Absent => self.told(Err(lacks(place)), &asked),
                Observed::Known(tags) => return Observed::Known(tags),
                unknown @ Observed::Unknown(_) => unknown,
            };
        }
        answer
    }
}

/// The registry names a digest and does not have it.
fn gone(digest: &Digest) -> Failure {
    Failure::malformed(format!("the registry names {} and does not have it", digest.short()))
}

/// A mirror's "no" is not the source's.
fn lacks(mirror: &Place) -> Failure {
    Failure::malformed(format!("the mirror `{}` does not have it", mirror.reference.repository()))
}

/// One failure of several: the one of the source, which comes last, with what the others said.
fn join(mut failures: Vec<Failure>) -> Failure {
    let Some(last) = failures.pop() else {
        return Failure::new(Cause::Refused, "nobody may be asked");
    };
    let others: String = failures.iter().map(|failure| format!("; {}", failure.detail)).collect();
    Failure { detail: format!("{}{others}", last.detail), ..last }
}
