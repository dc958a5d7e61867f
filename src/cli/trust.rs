//! Which config counts: the trusted one, and what an untrusted one may add to it.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::adapters::git;
use crate::config::{Admitted, Config, FILE_NAME, admit};
use crate::ports::{BlobReader, Found, Source};
use crate::source::inert;

use super::args::Args;
use super::failure::Failure;
use super::places::{is_own, local_folder};

/// Bytes of a config, and of each file that a config in a revision names.
const LIMIT: u64 = 1024 * 1024;

/// The config that counts.
pub(super) struct Counting {
    /// It.
    pub(super) config: Config,
    /// What findings call its file.
    pub(super) path: String,
    /// The trusted config, where it is that of another revision than the one that is read: it gave earlier definitions their meaning.
    pub(super) base: Option<Config>,
    /// Keys of an untrusted config that differ from the trusted one and do not count.
    pub(super) ignored: Vec<&'static str>,
    /// Holds the files that a config in a revision names.
    pub(super) files: Option<Arc<tempfile::TempDir>>,
}

/// Opens the source at another revision.
pub(super) type OpenRevision<'a> = &'a dyn Fn(&str) -> Result<Box<dyn Source>, Failure>;

/// A config as it is written, with paths as they are.
struct Written {
    config: Config,
    /// Why it is not trusted; none if it is.
    distrust: Option<String>,
}

/// The config of a source that is read as it is on disk: the file that `--config` names, otherwise the one beside the source.
pub(super) fn on_disk(args: &Args) -> Result<Counting, Failure> {
    if let Some(path) = &args.config {
        let (config, _) = read_file(path, true)?;
        return Ok(placed(config, path.display().to_string(), path.parent().unwrap_or(Path::new(""))));
    }
    let folder = local_folder(&args.source).filter(|_| args.revision.is_none()).unwrap_or_default();
    match beside(args, &folder)? {
        None => Ok(placed(Config::default(), FILE_NAME.to_owned(), &folder)),
        Some(Written { config, distrust: None }) => Ok(placed(config, FILE_NAME.to_owned(), &folder)),
        Some(Written { config, distrust: Some(why) }) => {
            let hint = format!("`--config {}` trusts it", folder.join(FILE_NAME).display());
            untrusted(&Config::default(), &config, &why, &hint)
        }
    }
}

/// The config of a source that is open. `base`: the revision that a change is reviewed against; its config is trusted.
pub(super) fn of_source(
    args: &Args,
    base: Option<&str>,
    source: &dyn Source,
    open: OpenRevision<'_>,
) -> Result<Counting, Failure> {
    if args.config.is_some() {
        return on_disk(args);
    }
    let own = match is_in_revision(args) {
        false if args.config_revision.is_none() && base.is_none() => return on_disk(args),
        false => beside(args, &local_folder(&args.source).unwrap_or_default())?,
        true => in_revision(source)?.map(|config| Written { config, distrust: (!args.trusted).then(String::new) }),
    };
    let own = own.map(|written| written.config);
    let revision = args.config_revision.as_deref().or(base);
    if let Some(revision) = revision {
        let trusted = open(revision)?;
        let base = in_revision(&*trusted)?.unwrap_or_default();
        let Admitted { config, ignored } = admit(&base, &own.unwrap_or_default());
        let counting = with_files(args, config, &*trusted)?;
        return Ok(Counting { ignored, base: Some(base), ..counting });
    }
    let own = own.unwrap_or_default();
    if args.trusted {
        return with_files(args, own, source);
    }
    let shown = args.revision.as_deref().unwrap_or("HEAD");
    let why = format!("the revision `{}` is not trusted", inert(shown, 120));
    let hint =
        format!("`--config-revision {}` trusts the config of that revision, `--config FILE` a file", inert(shown, 120));
    untrusted(&Config::default(), &own, &why, &hint)
}

/// The config for a source at an earlier commit: trusted is what is trusted `now`, and what that commit's own config may set is as it
/// was then.
pub(super) fn of_commit(
    args: &Args,
    (now, then): (&dyn Source, &dyn Source),
    open: OpenRevision<'_>,
) -> Result<Counting, Failure> {
    let counting = of_source(args, None, now, open)?;
    if args.config.is_some() {
        return Ok(counting);
    }
    let own = in_revision(then)?.unwrap_or_default();
    let Admitted { config, ignored: _ } = admit(&counting.config, &own);
    Ok(Counting { config, ..counting })
}

/// Whether the source's own config is that of a revision.
pub(super) fn is_in_revision(args: &Args) -> bool {
    args.revision.is_some() || local_folder(&args.source).is_none()
}

/// What an untrusted config comes to where no config is trusted. A key that does not count is refused: without it the plan would be
/// another one than the one that was meant.
fn untrusted(trusted: &Config, own: &Config, why: &str, hint: &str) -> Result<Counting, Failure> {
    let Admitted { config, ignored } = admit(trusted, own);
    if ignored.is_empty() {
        return Ok(placed(config, FILE_NAME.to_owned(), Path::new("")));
    }
    let keys: Vec<String> = ignored.iter().map(|key| format!("`{key}`")).collect();
    let message = format!("`{FILE_NAME}` sets {}, and {why}: only a trusted config may", keys.join(", "));
    Err(Failure::refused(message).hint(hint))
}

fn placed(mut config: Config, path: String, folder: &Path) -> Counting {
    config.place(folder);
    Counting { config, path, base: None, ignored: Vec::new(), files: None }
}

/// The config beside a source on disk, if there is one, and whether it is trusted.
fn beside(args: &Args, folder: &Path) -> Result<Option<Written>, Failure> {
    let path = folder.join(FILE_NAME);
    if local_folder(&args.source).is_none() || args.revision.is_some() {
        return Ok(None);
    }
    if path.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        return not_checked_out(args, &path).map(|()| None);
    }
    let (config, owner) = read_file(&path, false)?;
    let of_folder = folder.metadata().map_or(u32::MAX, |metadata| metadata.uid());
    let other = [owner, of_folder].into_iter().find(|uid| !is_own(*uid));
    let distrust = match (args.untrusted, other) {
        (true, _) => Some("`--untrusted` is given".to_owned()),
        (false, Some(uid)) => Some(format!("it belongs to another user (uid {uid})")),
        (false, None) => None,
    };
    Ok(Some(Written { config, distrust }))
}

/// Refuses a config that is missing from the work tree although Git tracks it, unless a trusted one is named: without it, a freeze or a
/// namespace that it sets would be dropped.
fn not_checked_out(args: &Args, path: &Path) -> Result<(), Failure> {
    if args.config_revision.is_some() || !git::is_tracked(path) {
        return Ok(());
    }
    let message = format!("Git tracks the config `{}`, which is not in the work tree", path.display());
    Err(Failure::refused(message).hint(
        "check it out (`git sparse-checkout` may leave it out), delete it with `git rm`, or name the config with \
         `--config FILE` or `--config-revision REV`",
    ))
}

/// Reads a config file, and gives its owner. A link is not followed: who may change it would choose the config. Only the one that
/// Kubernetes makes where it mounts a ConfigMap is, for a file that was `named`.
fn read_file(path: &Path, named: bool) -> Result<(Config, u32), Failure> {
    let shown = path.display().to_string();
    let unreadable = |error| Failure::failed(format!("failed to read the config `{shown}`: {error}"));
    let mut opened = path.to_owned();
    if path.symlink_metadata().map_err(unreadable)?.is_symlink() {
        let target = std::fs::read_link(path).map_err(unreadable)?;
        let mounted = path.file_name().map(|name| PathBuf::from("..data").join(name));
        if !named || Some(&target) != mounted.as_ref() {
            let message = format!("the config `{shown}` is a symbolic link, and links are not followed");
            return Err(Failure::refused(message).hint("name the file itself with `--config FILE`"));
        }
        opened = path.parent().unwrap_or(Path::new("")).join(target);
    }
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file: File = OpenOptions::new().read(true).custom_flags(flags).open(opened).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        let message = format!("the config `{shown}` is no regular file");
        return Err(Failure::refused(message).hint("name a regular file with `--config FILE`"));
    }
    let mut text = String::new();
    file.take(LIMIT + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > LIMIT {
        return Err(Failure::refused(format!("the config `{shown}` has more than {LIMIT} bytes")));
    }
    Ok((Config::parse_unplaced(&text, &shown)?, metadata.uid()))
}

/// The config of a revision, if it has one. One that cannot be looked for is not none.
fn in_revision(source: &dyn Source) -> Result<Option<Config>, Failure> {
    let entry = match source.find(FILE_NAME)? {
        Found::Nothing => return Ok(None),
        Found::File(entry) => entry,
        Found::Refused(kind) => {
            let message = format!("`{FILE_NAME}` in the revision is a {}, and no file", kind.word());
            return Err(Failure::refused(message).hint("name a config with `--config FILE`"));
        }
    };
    let mut reader: Box<dyn BlobReader + '_> = source.reader()?;
    let bytes = reader.read(&entry, LIMIT)?;
    let not_text = |_| Failure::refused(format!("`{FILE_NAME}` in the revision is not UTF-8"));
    let text = String::from_utf8(bytes).map_err(not_text)?;
    Ok(Some(Config::parse_unplaced(&text, FILE_NAME)?))
}

/// A trusted config of a revision: files that it names and that the revision has are those of the revision, since what is on disk may be
/// of another one.
fn with_files(args: &Args, mut config: Config, source: &dyn Source) -> Result<Counting, Failure> {
    let wanted: Vec<String> = config.files_mut().filter_map(|path| path.to_str().map(str::to_owned)).collect();
    let mut files = None;
    if !wanted.is_empty() {
        let failed = |error: std::io::Error| Failure::failed(format!("failed to keep a file of the config: {error}"));
        let folder = tempfile::Builder::new().prefix("streamkeeper-").tempdir().map_err(failed)?;
        let mut reader = source.reader()?;
        for (at, wanted) in wanted.iter().enumerate() {
            let Found::File(entry) = source.find(wanted)? else { continue };
            let file = folder.path().join(at.to_string());
            std::fs::write(&file, reader.read(&entry, LIMIT)?).map_err(failed)?;
            for path in config.files_mut().filter(|path| path.to_str() == Some(&**wanted)) {
                path.clone_from(&file);
            }
        }
        files = Some(Arc::new(folder));
    }
    let folder = local_folder(&args.source).unwrap_or_default();
    Ok(Counting { files, ..placed(config, FILE_NAME.to_owned(), &folder) })
}
