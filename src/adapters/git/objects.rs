//! One revision of a repository, read from its objects.

use std::path::Path;
use std::sync::Arc;

use gix::ObjectId;
use gix::bstr::ByteSlice;
use gix::objs::tree::EntryKind;
use jiff::Timestamp;

use crate::model::Revision;
use crate::ports::{BlobReader, Entry, Found, Listing, Refused, RefusedEntry, Source, SourceError};
use crate::source::{chain, inert};

use super::paths;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A revision of a repository, or of a folder in it.
pub(super) struct Objects {
    repository: gix::ThreadSafeRepository,
    commit: ObjectId,
    tree: ObjectId,
    shown: String,
    folder: String,
}

/// Whether a path is itself a bare repository.
pub(super) fn is_bare(path: &Path) -> bool {
    !path.join(".git").exists() && path.join("HEAD").is_file() && path.join("objects").is_dir()
}

/// Opens the repository at or above a path, whatever its owner or the user's configuration: only objects are read.
pub(super) fn discover(path: &Path) -> Option<gix::Repository> {
    let (found, _) = gix::discover::upwards(path).ok()?;
    let (git, _) = found.into_repository_and_work_tree_directories();
    open_repository(&git).ok()
}

/// No object is read that needs more than this, the bases of its deltas included: a small pack can stand for gigabytes. Trees of a
/// directory with some hundred thousand files are smaller.
const OBJECT_LIMIT: &str = "gitoxide.objects.allocLimit=16m";

pub(super) fn open_repository(git: &Path) -> Result<gix::Repository, SourceError> {
    // Each blob is read once, so what is kept of packs to read others is kept small.
    let small = ["core.deltaBaseCacheLimit=2m", OBJECT_LIMIT];
    let options = gix::open::Options::isolated().open_path_as_is(true).bail_if_untrusted(false).config_overrides(small);
    options
        .open(git)
        .map(Into::into)
        .map_err(|error| SourceError::failed(format!("open the repository `{}`", git.display()), error))
}

/// A revision of the repository at or above a path; `HEAD` by default.
pub(super) fn open(path: &Path, revision: Option<&str>) -> Result<Objects, SourceError> {
    if !path.exists() {
        return Err(SourceError::Missing { path: path.display().to_string() });
    }
    let name = revision.unwrap_or("HEAD");
    let none = || SourceError::NoRepository { path: path.display().to_string(), revision: name.to_owned() };
    let repository = at(path)?.ok_or_else(none)?;
    let prefix = prefix(&repository, path);
    let shown = path.display().to_string();
    let unknown = |why: &str| SourceError::NoRevision {
        repository: shown.clone(),
        revision: inert(name, 120),
        source: why.into(),
    };
    if is_ambiguous(&repository, name) {
        return Err(SourceError::Ambiguous { repository: shown, revision: inert(base_of(name), 120) });
    }
    let commit = {
        let spec = gix::bstr::BStr::new(name.as_bytes());
        let id = repository.rev_parse_single(spec).map_err(|error| unknown(not_found(&chain(&error))))?;
        let action = || format!("read the revision `{}` of `{shown}`", inert(name, 120));
        let object = id.object().map_err(|error| SourceError::failed(action(), error))?;
        object.peel_to_commit().map_err(|_| unknown("it names no commit"))?.id
    };
    at_commit(repository, commit, &prefix, shown)
}

/// Why a revision names nothing, in our words: those of the library are about its own parts.
fn not_found(error: &str) -> &'static str {
    if error.contains("mbiguous") {
        "more than one object has an id that begins so"
    } else if error.contains("out of range") {
        "the history does not go back so far"
    } else {
        "no branch, tag or commit has that name"
    }
}

/// The name of a branch or tag that a revision such as `v1~2` or `main:folder` begins with.
fn base_of(name: &str) -> &str {
    name.split(['~', '^', ':', '@']).next().unwrap_or(name)
}

/// Whether a revision names a branch and a tag that are at different commits.
fn is_ambiguous(repository: &gix::Repository, name: &str) -> bool {
    let commit = |kind: &str| {
        let mut reference = repository.find_reference(&format!("refs/{kind}/{}", base_of(name))).ok()?;
        reference.peel_to_id().ok().map(gix::Id::detach)
    };
    commit("heads").zip(commit("tags")).is_some_and(|(branch, tag)| branch != tag)
}

/// A commit of an open repository.
pub(super) fn at_commit(
    repository: gix::Repository,
    commit: ObjectId,
    prefix: &[String],
    shown: String,
) -> Result<Objects, SourceError> {
    let failed = |action: &str, error: Box<dyn std::error::Error + Send + Sync>| {
        SourceError::failed(format!("{action} of `{shown}`"), error)
    };
    let mut tree = {
        let found = repository.find_commit(commit).map_err(|error| failed("read the commit", Box::new(error)))?;
        found.tree_id().map_err(|error| failed("read the commit", Box::new(error)))?.detach()
    };
    for component in prefix {
        let folder = repository.find_tree(tree).map_err(|error| failed("read a folder", Box::new(error)))?;
        let entry = folder.iter().filter_map(Result::ok).find(|entry| entry.filename() == component.as_str());
        let entry = entry.filter(|entry| entry.mode().is_tree());
        tree = match entry {
            Some(entry) => entry.oid().to_owned(),
            None => {
                let path = format!("{} at {commit}", prefix.join("/"));
                return Err(SourceError::Missing { path });
            }
        };
    }
    Ok(Objects { repository: repository.into_sync(), commit, tree, shown, folder: prefix.join("/") })
}

/// The last commit that two revisions have in common.
pub(super) fn merge_base(path: &Path, one: &str, other: &str) -> Option<String> {
    let repository = at(path).ok()??;
    let base = repository.merge_base(commit(&repository, one)?, commit(&repository, other)?).ok()?;
    Some(base?.to_string())
}

/// How many commits `tip` has that an earlier revision has not; none where it is not an earlier one.
pub(super) fn ahead(path: &Path, earlier: &str, tip: &str) -> Option<usize> {
    let repository = at(path).ok()??;
    let (earlier, tip) = (commit(&repository, earlier)?, commit(&repository, tip)?);
    if repository.merge_base(earlier, tip).ok()?? != earlier {
        return None;
    }
    let ahead = repository.rev_walk([tip]).with_hidden([earlier]).all().ok()?;
    Some(ahead.filter_map(Result::ok).count())
}

/// The repository at a path, or above it.
pub(super) fn at(path: &Path) -> Result<Option<gix::Repository>, SourceError> {
    if is_bare(path) { open_repository(path).map(Some) } else { Ok(discover(path)) }
}

/// The commit that a revision is at, if it names one alone.
fn commit(repository: &gix::Repository, revision: &str) -> Option<ObjectId> {
    if is_ambiguous(repository, revision) {
        return None;
    }
    let id = repository.rev_parse_single(gix::bstr::BStr::new(revision.as_bytes())).ok()?;
    Some(id.object().ok()?.peel_to_commit().ok()?.id)
}

/// The folders from the root of the work tree down to a path.
pub(super) fn prefix(repository: &gix::Repository, path: &Path) -> Vec<String> {
    let (Some(root), Ok(path)) = (repository.workdir().and_then(|root| root.canonicalize().ok()), path.canonicalize())
    else {
        return Vec::new();
    };
    let below = path.strip_prefix(&root).unwrap_or(Path::new(""));
    below.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect()
}

impl Source for Objects {
    fn list(&self, wanted: &(dyn Fn(&str) -> bool + Sync), limit: usize) -> Result<Listing, SourceError> {
        let repository = self.repository.to_thread_local();
        let seconds = repository.find_commit(self.commit).ok().and_then(|commit| Some(commit.time().ok()?.seconds));
        let revision = Revision {
            source: self.shown.clone(),
            commit: Some(self.commit.to_string()),
            committed: seconds.and_then(|seconds| Timestamp::from_second(seconds).ok()),
            ..Revision::default()
        };
        let mut listing = Listing { revision, folder: self.folder.clone(), ..Listing::default() };
        let mut walk = Walk { repository: &repository, wanted, limit, listing: &mut listing, visited: 0 };
        walk.tree(self.tree, "", 0);
        listing.entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(listing)
    }

    fn find(&self, path: &str) -> Result<Found, SourceError> {
        let repository = self.repository.to_thread_local();
        let failed = |error: BoxError| SourceError::failed(format!("look for `{}`", inert(path, 200)), error);
        let tree = repository.find_tree(self.tree).map_err(|error| failed(Box::new(error)))?;
        let entry = tree.lookup_entry(path.split('/')).map_err(|error| failed(Box::new(error)))?;
        Ok(match entry.map(|entry| (entry.mode().kind(), entry.object_id())) {
            Some((EntryKind::Blob | EntryKind::BlobExecutable, id)) => {
                Found::File(Entry { path: Arc::from(path), id: Some(id.to_string()), committed: None })
            }
            Some((EntryKind::Link, _)) => Found::Refused(Refused::Link),
            Some((EntryKind::Commit, _)) => Found::Refused(Refused::Submodule),
            Some((EntryKind::Tree, _)) | None => Found::Nothing,
        })
    }

    fn reader(&self) -> Result<Box<dyn BlobReader + '_>, SourceError> {
        let repository = self.repository.to_thread_local();
        Ok(Box::new(ObjectReader { repository }))
    }
}

struct Walk<'a> {
    repository: &'a gix::Repository,
    wanted: &'a (dyn Fn(&str) -> bool + Sync),
    limit: usize,
    listing: &'a mut Listing,
    visited: usize,
}

/// Entries of all kinds. A few trees that name each other many times stand for more files than anyone has.
const ENTRIES: usize = 1_000_000;

/// Things that are refused one by one; of a source with more, the rest is not looked at.
const REFUSALS: usize = 10_000;

/// Bytes of a path: no file system takes more (`PATH_MAX`).
const PATH: usize = 4096;

/// Folders inside folders; Git itself stops at the path limits of file systems.
const DEPTH: usize = 256;

impl Walk<'_> {
    fn tree(&mut self, id: ObjectId, prefix: &str, depth: usize) {
        let folder = || prefix.trim_end_matches('/').to_owned();
        if depth > DEPTH {
            self.refuse(folder(), Refused::UnsafePath);
            return;
        }
        let unreadable = |error: &(dyn std::error::Error + 'static)| Refused::Unreadable(inert(&chain(error), 300));
        // One directory that cannot be read does not stop the others.
        let tree = match self.repository.find_tree(id) {
            Ok(tree) => tree,
            Err(error) => return self.refuse(folder(), unreadable(&error)),
        };
        for entry in tree.iter() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return self.refuse(folder(), unreadable(&error)),
            };
            self.visited += 1;
            if self.visited > ENTRIES || self.listing.refused.len() > REFUSALS {
                self.listing.truncated = true;
                return;
            }
            if prefix.len() + entry.filename().len() > PATH {
                let path = format!("{prefix}{}", entry.filename().to_str_lossy());
                self.refuse(path.chars().take(200).collect(), Refused::LongPath);
                continue;
            }
            let name = entry.filename().to_str_lossy();
            let path = format!("{prefix}{name}");
            if !paths::is_safe(&name) {
                self.refuse(path, Refused::UnsafePath);
                continue;
            }
            match entry.mode().kind() {
                EntryKind::Tree => self.tree(entry.oid().to_owned(), &format!("{path}/"), depth + 1),
                EntryKind::Commit => self.refuse(path, Refused::Submodule),
                EntryKind::Link => self.refuse(path, Refused::Link),
                EntryKind::Blob | EntryKind::BlobExecutable if (self.wanted)(&path) => {
                    if self.listing.entries.len() == self.limit {
                        self.listing.truncated = true;
                        return;
                    }
                    let id = Some(entry.oid().to_string());
                    self.listing.entries.push(Entry { path: Arc::from(path), id, committed: None });
                }
                EntryKind::Blob | EntryKind::BlobExecutable => {}
            }
            if self.listing.truncated {
                return;
            }
        }
    }

    fn refuse(&mut self, path: String, kind: Refused) {
        self.listing.refused.push(RefusedEntry { path, kind });
    }
}

struct ObjectReader {
    repository: gix::Repository,
}

impl BlobReader for ObjectReader {
    fn read(&mut self, entry: &Entry, limit: u64) -> Result<Vec<u8>, SourceError> {
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| SourceError::failed("read the object", error);
        let id = entry.id.as_deref().unwrap_or_default();
        let id = ObjectId::from_hex(id.as_bytes()).map_err(|error| failed(Box::new(error)))?;
        // The header first: a blob over the limit is never inflated.
        let header = self.repository.try_find_header(id).map_err(|error| failed(Box::new(error)))?;
        let missing = "the repository does not have its content; a partial clone lacks what was not fetched";
        let size = header.ok_or_else(|| SourceError::failed("read the object", missing))?.size();
        if size > limit {
            return Err(SourceError::TooLarge { size, limit });
        }
        let mut blob = self.repository.find_blob(id).map_err(|error| failed(Box::new(error)))?;
        let data = blob.take_data();
        // What lies in a mirror is believed only if it is what its name says.
        if gix::objs::compute_hash(id.kind(), gix::objs::Kind::Blob, &data).is_ok_and(|computed| computed == id) {
            Ok(data)
        } else {
            Err(failed(format!("the object `{id}` is damaged: its content has another id").into()))
        }
    }
}

/// Blob ids by path of a commit's tree, for telling whether a work tree is dirty.
pub(super) fn committed(
    repository: &gix::Repository,
    prefix: &[String],
    wanted: &(dyn Fn(&str) -> bool + Sync),
) -> Option<(ObjectId, Vec<Entry>)> {
    let commit = repository.head_id().ok()?.detach();
    let objects = at_commit(repository.clone(), commit, prefix, String::new()).ok()?;
    let listing = objects.list(wanted, usize::MAX).ok()?;
    Some((commit, listing.entries))
}

/// Wanted files that Git tracks in a folder of a work tree and that are not there: outside of a sparse checkout, or deleted without
/// telling Git. Paths are those in the folder; of a sparse index, a directory stands for all that is below it. Without an index that
/// can be read, as after `git clone --no-checkout`, the files of `HEAD` are what Git tracks.
pub(super) fn not_checked_out(
    repository: &gix::Repository,
    prefix: &[String],
    wanted: &(dyn Fn(&str) -> bool + Sync),
    is_seen: impl Fn(&str) -> bool,
) -> Vec<String> {
    use gix::index::entry::Mode;
    let Ok(index) = repository.open_index() else {
        let entries = committed(repository, prefix, wanted).map_or_else(Vec::new, |(_, entries)| entries);
        let paths = entries.iter().map(|entry| &*entry.path);
        return paths.filter(|path| !is_seen(path)).map(str::to_owned).collect();
    };
    let folder = prefix.join("/");
    let inside = |path: &str| match &*folder {
        "" => Some(path.to_owned()),
        folder => Some(path.strip_prefix(folder)?.strip_prefix('/')?.to_owned()),
    };
    let missing = index.entries().iter().filter_map(|entry| {
        let path = inside(&entry.path(&index).to_str_lossy())?;
        let is_file = matches!(entry.mode, Mode::FILE | Mode::FILE_EXECUTABLE) && wanted(&path);
        let is_folder = entry.mode == Mode::DIR;
        let path = path.trim_end_matches('/');
        ((is_file || is_folder) && !is_seen(path)).then(|| path.to_owned())
    });
    missing.collect()
}

/// Whether the index of a work tree lists a file. A folder of a sparse index stands for what `HEAD` has below it.
pub(super) fn is_tracked(file: &Path) -> bool {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Some((repository, name)) = discover(folder).zip(file.file_name().and_then(|name| name.to_str())) else {
        return false;
    };
    let mut way = prefix(&repository, folder);
    way.push(name.to_owned());
    let Ok(index) = repository.open_index() else { return is_in_head(&repository, &way) };
    let path = way.join("/");
    let is_above = |entry: &[u8]| entry.ends_with(b"/") && path.as_bytes().starts_with(entry);
    let mut paths = index.entries().iter().map(|entry| entry.path(&index));
    paths.any(|entry| *entry == *path.as_bytes() || is_above(entry) && is_in_head(&repository, &way))
}

/// Whether Git tracks anything in a folder of a work tree, in the index or in `HEAD`.
pub(super) fn tracks(folder: &Path) -> bool {
    let Some((parent, name)) = folder.parent().zip(folder.file_name().and_then(|name| name.to_str())) else {
        return false;
    };
    let Some(repository) = discover(parent) else { return false };
    let mut way = prefix(&repository, parent);
    way.push(name.to_owned());
    let path = way.join("/");
    let inside =
        |entry: &[u8]| entry.strip_prefix(path.as_bytes()).is_some_and(|rest| rest.is_empty() || rest[0] == b'/');
    let in_index =
        repository.open_index().is_ok_and(|index| index.entries().iter().any(|entry| inside(entry.path(&index))));
    in_index || is_in_head(&repository, &way)
}

fn is_in_head(repository: &gix::Repository, way: &[String]) -> bool {
    in_head(repository, way.iter().map(String::as_str)).is_some()
}

/// The object that `HEAD` has at a path.
pub(super) fn in_head<'a>(repository: &gix::Repository, path: impl Iterator<Item = &'a str>) -> Option<ObjectId> {
    Some(repository.head_tree().ok()?.lookup_entry(path).ok()??.object_id())
}
