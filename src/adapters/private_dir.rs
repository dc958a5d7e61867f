//! Directories of this user alone: caches and stores hold what is believed later.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Makes a directory, with mode 0700, and what is missing above it. One that is there is made private.
///
/// # Errors
///
/// When it cannot be made, is a link or no directory, or belongs to another user.
pub(crate) fn make(path: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    check(path)?;
    if fs::symlink_metadata(path)?.mode() & 0o077 != 0 {
        fs::set_permissions(path, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Whether a directory is one of this user, and no link.
///
/// # Errors
///
/// When it is not.
pub(crate) fn check(path: &Path) -> Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    let refused = |why: String| Error::new(ErrorKind::PermissionDenied, format!("`{}` {why}", path.display()));
    if metadata.is_symlink() {
        return Err(refused("is a symbolic link, and links are not followed".to_owned()));
    }
    if !metadata.is_dir() {
        return Err(refused("is no directory".to_owned()));
    }
    let own = rustix::process::geteuid().as_raw();
    if metadata.uid() != own {
        return Err(refused(format!("belongs to another user (uid {}, this is {own})", metadata.uid())));
    }
    Ok(())
}

/// Refuses a path that is there and is no regular file: a link would lead elsewhere.
///
/// # Errors
///
/// When it is one.
pub(crate) fn check_file(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(_) => {
            let why = format!("`{}` is no regular file, and links are not followed", path.display());
            Err(Error::new(ErrorKind::PermissionDenied, why))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes a file that only this user may read, where there is none; SQLite gives what it makes beside it the same mode.
///
/// # Errors
///
/// When it cannot be made, or is no regular file.
pub(crate) fn make_file(path: &Path) -> Result<()> {
    let flags = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
    let file = options.open(path)?;
    if file.metadata()?.mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_private_and_no_links() {
        let folder = tempfile::tempdir().expect("a directory");
        let made = folder.path().join("a/b");
        make(&made).expect("it is made");
        assert_eq!(fs::metadata(&made).expect("it is there").mode() & 0o777, 0o700);
        fs::set_permissions(&made, Permissions::from_mode(0o755)).expect("it is ours");
        make(&made).expect("it is there");
        assert_eq!(fs::metadata(&made).expect("it is there").mode() & 0o777, 0o700);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&made, &link).expect("a link");
        assert!(make(&link).is_err());
        let file = folder.path().join("file");
        fs::write(&file, "").expect("a file");
        assert!(make(&file).is_err() && check_file(&file).is_ok() && check_file(&link).is_err());
        assert!(check_file(&folder.path().join("none")).is_ok());
    }
}
