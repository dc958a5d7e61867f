//! Where things are: the source, caches, the store.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::adapters::{git, store};
use crate::config::FILE_NAME;
use crate::source::{is_url, short_hash};

use super::args::Args;
use super::console::Console;
use super::failure::Failure;

/// Name of the store's folder in a source.
const STORE: &str = ".streamkeeper";

/// The arguments with the source found: where none is given, the nearest folder from the current one upwards that has a config or a
/// store, as Git and Cargo find theirs; otherwise the current one. Says so where it is another one.
pub(super) fn with_source(args: Args, console: &Console) -> Args {
    if !args.source.is_empty() {
        return args;
    }
    let (found, what) = upwards().unwrap_or_else(|| (PathBuf::from("."), String::new()));
    if found != Path::new(".") {
        console.say(&format!("using {what} in the parent directory `{}`", found.display()));
    }
    Args { source: found.display().to_string(), ..args }
}

/// The nearest folder with a config or a store, as a path from the current one, and what it has. A folder that belongs to another
/// user, or that all users may write to, is not looked into; nor is what is above the top of a Git work tree.
fn upwards() -> Option<(PathBuf, String)> {
    let mut absolute = std::env::current_dir().ok()?;
    let mut path = PathBuf::from(".");
    loop {
        let metadata = absolute.metadata().ok()?;
        if !is_own(metadata.uid()) || metadata.mode() & 0o002 != 0 {
            return None;
        }
        let mut what = Vec::new();
        // One that a sparse checkout leaves out is not dropped without a word: it is missed when it is to be read.
        let config = absolute.join(FILE_NAME);
        if config.symlink_metadata().is_ok() || git::is_tracked(&config) {
            what.push(format!("the config `{FILE_NAME}`"));
        }
        if absolute.join(STORE).join("store.db").symlink_metadata().is_ok() {
            what.push(format!("the store `{STORE}`"));
        }
        if !what.is_empty() {
            return Some((path, what.join(" and ")));
        }
        if absolute.join(".git").exists() || !absolute.pop() {
            return None;
        }
        path = if path == Path::new(".") { PathBuf::from("..") } else { path.join("..") };
    }
}

/// Whether a user is this one, or root.
pub(super) fn is_own(uid: u32) -> bool {
    uid == rustix::process::geteuid().as_raw() || uid == 0
}

/// The folder of a source that is a path to a folder and no bare repository.
pub(super) fn local_folder(source: &str) -> Option<PathBuf> {
    let path = Path::new(source);
    (!is_url(source) && path.is_dir() && !git::is_bare(path)).then(|| path.to_owned())
}

/// Where caches are: `--cache-dir`, otherwise in the XDG cache directory. None where neither is known: then nothing is cached.
pub(super) fn cache_dir(args: &Args) -> Option<PathBuf> {
    args.cache_dir.clone().or_else(|| xdg("XDG_CACHE_HOME", ".cache"))
}

/// The store, by the one rule: `--store`; otherwise `store` of the trusted config; otherwise `.streamkeeper` in a source that is a
/// folder on disk; otherwise a folder of this source alone in the XDG state directory. None where that is not known.
pub(super) fn store(args: &Args, configured: Option<&Path>, identity: &str) -> Option<PathBuf> {
    let given = args.store.clone().or_else(|| configured.map(Path::to_owned));
    given.or_else(|| local_folder(&args.source).map(|folder| folder.join(STORE))).or_else(|| {
        let state = xdg("XDG_STATE_HOME", ".local/state")?;
        Some(state.join("stores").join(short_hash(identity, 32)))
    })
}

/// A folder of ours in a directory that the XDG base directory specification names; relative paths in variables do not count.
fn xdg(variable: &str, in_home: &str) -> Option<PathBuf> {
    let of = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    of(variable).or_else(|| of("HOME").map(|home| home.join(in_home))).map(|base| base.join("streamkeeper"))
}

/// Refuses a store in a source if Git tracks any part of it: what a commit brings along is no record of what was applied.
pub(super) fn check_store(args: &Args, folder: &Path) -> Result<(), Failure> {
    let Some(source) = local_folder(&args.source) else { return Ok(()) };
    let (Ok(source), Some(parent)) = (source.canonicalize(), folder.parent()) else { return Ok(()) };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let Ok(parent) = parent.canonicalize() else { return Ok(()) };
    let Some(name) = folder.file_name().filter(|_| parent.starts_with(&source)) else { return Ok(()) };
    store::refuse_links(&parent.join(name))?;
    if git::tracks(&parent.join(name)) {
        let message = format!("the store `{}` is tracked by Git", folder.display());
        return Err(Failure::refused(message).hint(
            "`git rm -r --cached` takes it out of the repository, `--store DIR` names another one; what a commit brings along is \
             no record of what was applied",
        ));
    }
    Ok(())
}
