//! Editing files of a source that lies in a folder.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

/// A value in a file that is to be another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Where it stands, in bytes.
    pub range: Range<usize>,
    /// What it is, without quotes.
    pub before: String,
    /// What it shall be.
    pub after: String,
}

/// Why a value cannot be edited.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The file cannot be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The file is another one by now, or the value comes from elsewhere: an anchor, a parameter.
    #[error("`{0}` does not stand there as it was read; it may be an anchor's or a parameter's value")]
    NotThere(String),
}

/// Puts values into one file of a folder, all or none. Everything else stays as it is, byte by byte; the file is replaced in
/// one step.
///
/// # Errors
///
/// When a value does not stand where it was read, or the file cannot be written.
pub fn edit(folder: &Path, path: &str, edits: &[Edit]) -> Result<(), EditError> {
    let file = inside(folder, path)?;
    let text = fs::read_to_string(&file)?;
    let mut by_place: BTreeMap<usize, &Edit> = BTreeMap::new();
    for edit in edits {
        by_place.insert(edit.range.start, edit);
    }
    let mut out = String::with_capacity(text.len());
    let mut end = 0;
    for edit in by_place.into_values() {
        let not_there = || EditError::NotThere(crate::text::inert(&edit.before, 120));
        let written = text.get(edit.range.clone()).filter(|_| edit.range.start >= end).ok_or_else(not_there)?;
        let before = text.get(end..edit.range.start).ok_or_else(not_there)?;
        let replacement = replacement(before, written, edit).ok_or_else(not_there)?;
        out.push_str(before);
        out.push_str(&replacement);
        end = edit.range.end;
    }
    out.push_str(text.get(end..).unwrap_or_default());
    replace(&file, &out)?;
    Ok(())
}

/// The new value, in the quotes of the old one.
fn replacement(before: &str, written: &str, edit: &Edit) -> Option<String> {
    // An anchor's value is that of others, too.
    let line = before.rsplit('\n').next().unwrap_or_default().trim_end();
    if line.rsplit([' ', ':']).next().is_some_and(|word| word.starts_with('&')) {
        return None;
    }
    let quote = ['"', '\''].into_iter().find(|quote| written.starts_with(*quote));
    let inner = match quote {
        Some(quote) => written.strip_prefix(quote)?.strip_suffix(quote)?,
        None => written,
    };
    // A pull spec has nothing in it that quotes, or their absence, would change.
    let plain = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '_' | '-' | '/' | ':' | '@');
    let is_plain = edit.after.chars().all(plain) && edit.after.starts_with(|char: char| char.is_ascii_alphanumeric());
    (inner == edit.before && is_plain)
        .then(|| quote.map_or(edit.after.clone(), |quote| format!("{quote}{}{quote}", edit.after)))
}

/// The file, if no link leads out of the folder on the way to it.
fn inside(folder: &Path, path: &str) -> io::Result<PathBuf> {
    let refused = || io::Error::new(io::ErrorKind::PermissionDenied, "it lies behind a link, or outside of the source");
    let mut file = folder.to_owned();
    for part in Path::new(path).components() {
        let Component::Normal(part) = part else { return Err(refused()) };
        file.push(part);
        if fs::symlink_metadata(&file)?.is_symlink() {
            return Err(refused());
        }
    }
    Ok(file)
}

/// Whoever reads the file meanwhile sees the old one or the new one, whole.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let beside = file.with_file_name(format!(".streamkeeper-{}.tmp", std::process::id()));
    let write = || -> io::Result<()> {
        let mut new = File::options().write(true).create_new(true).open(&beside)?;
        new.set_permissions(fs::metadata(file)?.permissions())?;
        new.write_all(text.as_bytes())?;
        new.sync_all()?;
        fs::rename(&beside, file)
    };
    write().inspect_err(|_| drop(fs::remove_file(&beside)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(text: &str, before: &str) -> Result<String, EditError> {
        let folder = tempfile::tempdir().expect("a folder of the test's own");
        let path = folder.path().join("a.yaml");
        fs::write(&path, text).expect("a folder of the test's own");
        let start = text.find("VALUE").map_or(0, |at| at);
        let text = text.replacen("VALUE", before, 1);
        fs::write(&path, &text).expect("a folder of the test's own");
        let range = start..start + before.len();
        let inner = before.trim_matches(['"', '\'']).to_owned();
        let edits = [Edit { range, before: inner, after: "r/x@sha256:1".to_owned() }];
        edit(folder.path(), "a.yaml", &edits)?;
        assert_eq!(
            fs::read_dir(folder.path()).expect("a folder of the test's own").count(),
            1,
            "nothing is left behind"
        );
        Ok(fs::read_to_string(path).expect("a folder of the test's own"))
    }

    #[test]
    fn the_value_alone_is_replaced_in_its_own_quotes() {
        for (text, before, after) in [
            ("image: VALUE # why\n", "a:1", "image: r/x@sha256:1 # why\n"),
            ("image: VALUE\r\n", "\"a:1\"", "image: \"r/x@sha256:1\"\r\n"),
            ("{image: VALUE}", "'a:1'", "{image: 'r/x@sha256:1'}"),
            ("image: VALUE\n", "\" \"", "image: \"r/x@sha256:1\"\n"),
        ] {
            assert_eq!(edited(text, before).expect("a folder of the test's own"), after);
        }
        assert!(edited("image: &i VALUE\n", "a:1").is_err(), "others have the value of an anchor");
        assert!(edited("image: &iVALUE\n", "a:1").is_err());
    }

    #[test]
    fn a_file_that_has_changed_and_one_behind_a_link_are_left() {
        let folder = tempfile::tempdir().expect("a folder of the test's own");
        fs::write(folder.path().join("a.yaml"), "image: other:1\n").expect("a folder of the test's own");
        let edits = [Edit { range: 7..10, before: "a:1".to_owned(), after: "b:1".to_owned() }];
        assert!(matches!(edit(folder.path(), "a.yaml", &edits), Err(EditError::NotThere(_))));
        std::os::unix::fs::symlink("a.yaml", folder.path().join("l.yaml")).expect("a folder of the test's own");
        assert!(matches!(edit(folder.path(), "l.yaml", &edits), Err(EditError::Io(_))));
        assert!(edit(folder.path(), "../a.yaml", &edits).is_err());
        assert_eq!(
            fs::read_to_string(folder.path().join("a.yaml")).expect("a folder of the test's own"),
            "image: other:1\n"
        );
    }
}
