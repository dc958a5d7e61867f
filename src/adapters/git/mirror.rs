//! Repositories behind a URL: a bare mirror in the cache, fetched incrementally.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use gix::ObjectId;
use gix::bstr::ByteSlice;
use gix::remote::fetch::refmap::Source;
use gix::remote::{Direction, fetch};

use crate::adapters::private_dir;
use crate::openshift::normal_host;
use crate::ports::SourceError;
use crate::source::{chain, inert, short_hash};

use super::objects::{self, Objects};

/// Each fetch adds a pack and nothing else tidies them: past this many the mirror is made anew.
const PACKS: usize = 50;

/// Another process, or a thread that was left to itself, may fetch for so long.
const LOCKED: Duration = Duration::from_secs(180);

/// Whoever is silent is not waited for for ever, and nobody is asked for a password. Counts unless the user has said how to
/// call `ssh` (`core.sshCommand`, `GIT_SSH_COMMAND`).
const SSH: &str = "ssh -o ConnectTimeout=20 -o ServerAliveInterval=15 -o ServerAliveCountMax=4";

/// No object is taken that needs more than this: a small pack can stand for gigabytes.
const FETCH_LIMIT: &str = "gitoxide.objects.allocLimit=64m";

/// Commits that are fetched to go back from one.
const DEEPEST: u32 = 1000;

const NO_WAY: &str = "of a URL, a revision is a branch, a tag or a commit, and a way back from it of at most 999 commits, such as `main~2`";

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The URL without user and password, safe to show.
pub fn without_credentials(url: &str) -> String {
    let shown = match url.split_once("://") {
        Some((scheme, rest)) => {
            // Tokens also travel in queries; and a password may hold any character, a slash among them.
            let rest = rest.split(['?', '#']).next().unwrap_or_default();
            format!("{scheme}://{}", rest.rsplit('@').next().unwrap_or_default())
        }
        None => url.to_owned(),
    };
    inert(&shown, 200)
}

/// Fetches what the URL has now and opens the revision; the remote's `HEAD` by default. A commit that the mirror has already
/// is opened without asking.
pub(super) fn open(
    url: &str,
    revision: Option<&str>,
    commit: Option<&str>,
    cache: Option<&Path>,
) -> Result<Objects, SourceError> {
    let shown = without_credentials(url);
    let (mirror, _lock) = mirror(url, cache)?;
    if let Some(commit) = commit.and_then(|commit| ObjectId::from_hex(commit.as_bytes()).ok()) {
        let repository = objects::open_repository(&mirror)?;
        if repository.find_commit(commit).is_ok() {
            return objects::at_commit(repository, commit, &[], shown);
        }
    }
    let commit = fetch(&mirror, url, revision, true).map_err(|error| explain(error, url, revision))?;
    // Opened after the fetch: a handle does not see packs that came later.
    objects::at_commit(objects::open_repository(&mirror)?, commit, &[], shown)
}

/// What the revision is now: the references are listed, and nothing is fetched. An annotated tag's own id.
pub(super) fn ask(url: &str, revision: Option<&str>, cache: Option<&Path>) -> Result<String, SourceError> {
    let (mirror, _lock) = mirror(url, cache)?;
    // What is before a branch is known only once it is fetched.
    let receive = revision.is_some_and(|revision| revision.contains(['~', '^']));
    let id = fetch(&mirror, url, revision, receive).map_err(|error| explain(error, url, revision))?;
    Ok(id.to_string())
}

fn explain(error: Fetch, url: &str, revision: Option<&str>) -> SourceError {
    let shown = without_credentials(url);
    match error {
        Fetch::NoRevision(source) => {
            let revision = inert(revision.unwrap_or("HEAD"), 120);
            SourceError::NoRevision { repository: shown, revision, source }
        }
        Fetch::Ambiguous => {
            SourceError::Ambiguous { repository: shown, revision: inert(revision.unwrap_or("HEAD"), 120) }
        }
        Fetch::Failed(error) => SourceError::failed(format!("fetch `{shown}`"), redact(url, &shown, error)),
    }
}

/// The mirror of a URL, made where there is none, and the lock on it.
fn mirror(url: &str, cache: Option<&Path>) -> Result<(PathBuf, File), SourceError> {
    let shown = without_credentials(url);
    let failed = |action: &str, error: BoxError| SourceError::failed(format!("{action} `{shown}`"), error);
    let name = short_hash(&shown, 32);
    let none = "neither `HOME` nor `XDG_CACHE_HOME` is set: name a directory for it with `--cache-dir DIR`";
    let folder = cache.ok_or_else(|| failed("make the mirror of", none.into()))?.join("git");
    private_dir::make(&folder).map_err(|error| failed("make the mirror of", error.into()))?;
    // Two processes must not fetch into one mirror. The lock goes with the file handle.
    let lock = File::create(folder.join(format!("{name}.lock")))
        .map_err(|error| failed("lock the mirror of", error.into()))?;
    let begun = Instant::now();
    while let Err(error) = lock.try_lock() {
        match error {
            TryLockError::WouldBlock if begun.elapsed() < LOCKED => std::thread::sleep(Duration::from_millis(20)),
            TryLockError::WouldBlock => {
                return Err(failed("lock the mirror of", "somebody else has been fetching for minutes".into()));
            }
            TryLockError::Error(error) => return Err(failed("lock the mirror of", error.into())),
        }
    }

    let mirror = folder.join(format!("{name}.git"));
    if packs(&mirror) > PACKS || (mirror.exists() && gix::open(&mirror).is_err()) {
        replace(&mirror).map_err(|error| failed("renew the mirror of", error.into()))?;
    }
    if !mirror.exists() {
        gix::init_bare(&mirror).map_err(|error| failed("make the mirror of", error.into()))?;
    }
    Ok((mirror, lock))
}

/// Errors of the transport may repeat the URL as it was given.
fn redact(url: &str, shown: &str, error: BoxError) -> BoxError {
    let text = chain(&*error);
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let secret = rest.rsplit_once('@').map_or("", |(user, _)| user);
    let query = rest.split_once(['?', '#']).map_or("", |(_, query)| query);
    let mut text = text.replace(url, shown);
    for part in secret.split(':').chain([secret, query]).filter(|part| part.len() > 2) {
        text = text.replace(part, "…");
    }
    inert(&text, 600).into()
}

enum Fetch {
    NoRevision(BoxError),
    Ambiguous,
    Failed(BoxError),
}

impl<E: Into<BoxError>> From<E> for Fetch {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// What the revision is at the remote: with `receive` its commit, which is fetched if it is not there; otherwise whatever the
/// reference names.
fn fetch(mirror: &Path, url: &str, revision: Option<&str>, receive: bool) -> Result<ObjectId, Fetch> {
    crate::adapters::use_ring();
    let mut repository: gix::Repository =
        gix::open_opts(mirror, gix::open::Options::default().config_overrides([FETCH_LIMIT]))?;
    if std::env::var_os("GIT_SSH_COMMAND").is_none() && repository.config_snapshot().string("core.sshCommand").is_none()
    {
        let mut config = repository.config_snapshot_mut();
        config.set_raw_value("core.sshCommand", SSH)?;
        config.commit()?;
    }
    let (revision, way) = revision.map_or((None, ""), |name| {
        let (name, way) = name.split_at(name.find(['~', '^']).unwrap_or(name.len()));
        (Some(name), way)
    });
    let depth = depth(way).ok_or_else(|| Fetch::NoRevision(NO_WAY.into()))?;
    let specs = match revision {
        None | Some("HEAD" | "") => vec!["+HEAD:refs/streamkeeper/head".to_owned()],
        Some(name) if is_commit(name) => vec![format!("+{name}:refs/streamkeeper/commit-{name}")],
        Some(name) if name.starts_with("refs/") => vec![format!("+{name}:{name}")],
        Some(name) => {
            vec![format!("+refs/heads/{name}:refs/heads/{name}"), format!("+refs/tags/{name}:refs/tags/{name}")]
        }
    };
    let remote = repository
        .remote_at(url)?
        .with_fetch_tags(fetch::Tags::None)
        .with_refspecs(specs.iter().map(String::as_str), Direction::Fetch)?;
    let interrupt = AtomicBool::new(false);
    let mut connection = remote.connect(Direction::Fetch)?;
    let elsewhere = Rc::new(RefCell::new(None));
    let (own, mut ask) = (host(url), connection.configured_credentials_for_current_url());
    let led = Rc::clone(&elsewhere);
    connection.set_credentials(move |action| {
        // Whoever answers may send one anywhere. A login is asked for, and shown, under the name of the source alone.
        let wanted = action.context().and_then(|context| context.url.as_ref()).map(|url| host(&url.to_str_lossy()));
        match wanted.filter(|wanted| *wanted != own) {
            Some(other) => {
                *led.borrow_mut() = Some(other);
                Ok(None)
            }
            None => ask(action),
        }
    });
    let prepared = connection.prepare_fetch(gix::progress::Discard, gix::remote::ref_map::Options::default());
    let prepared = prepared.map_err(|error| match elsewhere.take() {
        Some(other) => {
            let why = format!(
                "the server redirects to `{}`, which wants a login; no login is asked for under another host's name: name that URL as the source",
                inert(&other, 120)
            );
            Fetch::Failed(why.into())
        }
        None => Fetch::from(error),
    })?;
    // What the remote says now, not what the mirror kept: a ref that is gone upstream stays in a mirror.
    let peeled = prepared.ref_map().mappings.iter().filter_map(|mapping| match &mapping.remote {
        Source::Ref(reference) => {
            let (_, id, peeled) = reference.unpack();
            peeled.or(id)
        }
        Source::ObjectId(id) => Some(id),
    });
    let peeled: BTreeSet<&gix::oid> = peeled.collect();
    if peeled.len() > 1 {
        return Err(Fetch::Ambiguous);
    }
    if let Some(commit) = peeled.first().filter(|_| !receive) {
        return Ok((*commit).to_owned());
    }
    let target = prepared.ref_map().mappings.first().and_then(|mapping| mapping.remote.as_id().map(ToOwned::to_owned));
    let target = target.ok_or_else(|| Fetch::NoRevision("the remote has no such branch, tag or commit".into()))?;
    if !receive {
        return Ok(target);
    }
    // What is before a commit may be missing although the commit is there.
    if depth > NonZeroU32::MIN || repository.find_header(target).is_err() {
        prepared.with_shallow(fetch::Shallow::DepthAtRemote(depth)).receive(gix::progress::Discard, &interrupt)?;
    }
    let repository = gix::open(mirror)?;
    let commit = repository.find_object(target)?.peel_to_commit()?.id;
    if way.is_empty() {
        return Ok(commit);
    }
    let before = repository.rev_parse_single(format!("{commit}{way}").as_str());
    let none = |_| Fetch::NoRevision("the history does not go back so far".into());
    Ok(before.map_err(none)?.object()?.peel_to_commit()?.id)
}

/// Commits to fetch for a way back from a branch, tag or commit, such as `~2` or `^2~1`; none for what is no such way.
fn depth(way: &str) -> Option<NonZeroU32> {
    let mut depth = 1_u32;
    let mut rest = way;
    while let Some(step) = rest.chars().next() {
        if !matches!(step, '~' | '^') {
            return None;
        }
        rest = &rest[1..];
        let digits = rest.len() - rest.trim_start_matches(|char: char| char.is_ascii_digit()).len();
        let number = if digits == 0 { 1 } else { rest[..digits].parse().ok()? };
        rest = &rest[digits..];
        depth = depth.checked_add(if step == '~' { number } else { 1 })?;
    }
    NonZeroU32::new(depth).filter(|depth| depth.get() <= DEEPEST)
}

/// Scheme, host and port of a URL: what a login is for.
fn host(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    format!("{}://{}", scheme.to_ascii_lowercase(), normal_host(authority.rsplit('@').next().unwrap_or_default()))
}

fn is_commit(name: &str) -> bool {
    matches!(name.len(), 40 | 64) && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn packs(mirror: &Path) -> usize {
    let Ok(entries) = fs::read_dir(mirror.join("objects/pack")) else { return 0 };
    entries.filter_map(Result::ok).filter(|entry| entry.path().extension().is_some_and(|kind| kind == "pack")).count()
}

/// Moves the mirror aside and removes it; the next fetch makes a new one.
fn replace(mirror: &Path) -> std::io::Result<()> {
    let aside: PathBuf = mirror.with_extension("old");
    if aside.exists() {
        fs::remove_dir_all(&aside)?;
    }
    fs::rename(mirror, &aside)?;
    fs::remove_dir_all(&aside)
}
