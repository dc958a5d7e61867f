//! Files of a local source, and a config outside of it, watched. What an event says is not believed: everything is read again.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{mpsc, oneshot};

use super::machine::Poke;
use super::run::Bell;

/// Between two looks at what no event is told of: a folder that was replaced, a link that leads elsewhere, a config.
const TICK: Duration = Duration::from_secs(2);
/// Between two looks at a source whose file system tells of nothing.
const POLL: Duration = Duration::from_secs(60);

/// What is watched for a lane.
pub struct Watched {
    /// The folders whose changes are changes of the source.
    pub folders: Vec<PathBuf>,
    /// The config, where it is named.
    pub config: Option<PathBuf>,
    /// Where we write ourselves.
    pub store: Option<PathBuf>,
}

impl Watched {
    /// Rings when something changes. Never ends: what cannot be watched is looked at again and again, and said once.
    /// `begun` hears when the first change would be noticed.
    pub(super) async fn ring(&self, lane: &str, bell: &Arc<Bell>, begun: oneshot::Sender<()>) {
        let mut told = String::new();
        let (mut begun, mut missed) = (Some(begun), None);
        loop {
            let (trouble, mut heard) = mpsc::unbounded_channel();
            let (folders, config) = (self.places(), self.config.as_deref().map(stamp));
            let watcher = self.begin(bell, trouble);
            let is_blind = self.folders.iter().any(|folder| is_remote(folder));
            let why = match &watcher {
                Ok(_) if is_blind => "its file system tells of no changes that are made elsewhere".to_owned(),
                Ok(_) => String::new(),
                Err(error) => error.to_string(),
            };
            if why != told && !why.is_empty() {
                tracing::warn!(lane, why, "the source is looked at once a minute: it cannot be watched");
            }
            told = why;
            // What has changed before this one began, nobody was told of.
            missed.take().into_iter().for_each(|poke| bell.poke(poke));
            begun.take().into_iter().for_each(|begun| _ = begun.send(()));
            let polls = watcher.is_err() || is_blind;
            let mut next = tokio::time::Instant::now() + POLL;
            missed = loop {
                tokio::select! {
                    () = tokio::time::sleep(TICK) => {}
                    // Some events are lost, as when there are too many.
                    Some(()) = heard.recv() => break Some(Poke::Source),
                }
                if self.config.as_deref().map(stamp) != config {
                    break Some(Poke::Config);
                }
                if self.places() != folders {
                    break Some(Poke::Source);
                }
                if polls && tokio::time::Instant::now() >= next {
                    if watcher.is_err() {
                        break Some(Poke::Source);
                    }
                    bell.poke(Poke::Source);
                    next += POLL;
                }
            };
        }
    }

    fn begin(&self, bell: &Arc<Bell>, trouble: mpsc::UnboundedSender<()>) -> Result<RecommendedWatcher, notify::Error> {
        let own: Vec<PathBuf> = self.store.iter().flat_map(|store| [real(store), absolute(store)]).collect();
        let is_own = move |path: &PathBuf| {
            let path = absolute(path);
            own.iter().any(|own| path.starts_with(own) || path.canonicalize().is_ok_and(|path| path.starts_with(own)))
        };
        let bell = Arc::clone(bell);
        let on_event = move |event: Result<notify::Event, notify::Error>| match event {
            // Reading is no change, and what we write ourselves is no definition. An overflow is an event without paths.
            Ok(event) if event.kind.is_access() => {}
            Ok(event) if !event.paths.is_empty() && event.paths.iter().all(&is_own) => {}
            Ok(_) => bell.poke(Poke::Source),
            Err(_) => drop(trouble.send(())),
        };
        let mut watcher = notify::recommended_watcher(on_event)?;
        for folder in &self.folders {
            watcher.watch(folder, RecursiveMode::Recursive)?;
        }
        Ok(watcher)
    }

    /// Which folders they are now: a link may lead elsewhere, another folder may have the name.
    fn places(&self) -> Vec<(PathBuf, Option<(u64, u64)>)> {
        let place = |folder: &PathBuf| {
            let real = real(folder);
            let is = std::fs::metadata(&real).ok().map(|metadata| (metadata.dev(), metadata.ino()));
            (real, is)
        };
        self.folders.iter().map(place).collect()
    }
}

/// What a file is now, as far as it can be seen without reading it.
fn stamp(path: &Path) -> Option<(PathBuf, u64, u64, i64, i64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((real(path), metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| absolute(path))
}

/// Whether others may change it without this machine's hearing of it (statfs(2)).
fn is_remote(path: &Path) -> bool {
    const NFS: u64 = 0x6969;
    const CIFS: u64 = 0xff53_4d42;
    const SMB2: u64 = 0xfe53_4d42;
    const FUSE: u64 = 0x6573_5546;
    const NINE: u64 = 0x0102_1997;
    const CEPH: u64 = 0x00c3_6400;
    let kind = rustix::fs::statfs(path).ok().and_then(|it| u64::try_from(it.f_type).ok());
    kind.is_some_and(|kind| [NFS, CIFS, SMB2, FUSE, NINE, CEPH].contains(&kind))
}
