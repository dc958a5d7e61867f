//! Editing files of a source that lies in a folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use crate::source::{Limits, Node, ScalarKind, SourceText, Span, Value, inert, parse};

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
    /// The file is another one by now, or the value is written in a way that is not edited: over several lines, as a parameter.
    #[error("`{0}` does not stand there as it was read, or in a way that is not edited")]
    NotThere(String),
    /// Something else in the file has its value from there.
    #[error("something else has its value from there: an alias of an anchor, or a merged map")]
    Elsewhere,
}

/// Puts values into one file of a folder, all or none. Everything else stays as it is, byte by byte; the file is replaced in
/// one step.
///
/// # Errors
///
/// When a value does not stand where it was read, changing it would change anything else that the file says, or the file
/// cannot be written.
pub fn edit(folder: &Path, path: &str, edits: &[Edit]) -> Result<(), EditError> {
    let file = inside(folder, path)?;
    let text = fs::read_to_string(&file)?;
    let mut by_place: BTreeMap<usize, &Edit> = BTreeMap::new();
    for edit in edits {
        let not_there = || EditError::NotThere(inert(&edit.before, 120));
        if by_place.insert(edit.range.start, edit).is_some_and(|other| other != edit) {
            return Err(not_there());
        }
    }
    let mut out = String::with_capacity(text.len());
    let mut end = 0;
    for edit in by_place.values() {
        let not_there = || EditError::NotThere(inert(&edit.before, 120));
        let before = text.get(end..edit.range.start).ok_or_else(not_there)?;
        let written = text.get(edit.range.clone()).ok_or_else(not_there)?;
        out.push_str(before);
        out.push_str(&replacement(written, edit).ok_or_else(not_there)?);
        end = edit.range.end;
    }
    out.push_str(text.get(end..).unwrap_or_default());
    let wanted: BTreeMap<Span, &str> =
        by_place.values().map(|edit| (Span::new(edit.range.start, edit.range.end), &*edit.after)).collect();
    if !says_the_same(&text, &out, &wanted) {
        return Err(EditError::Elsewhere);
    }
    replace(&file, &out)?;
    Ok(())
}

/// The new value, in the quotes of the old one.
fn replacement(written: &str, edit: &Edit) -> Option<String> {
    let quote = ['"', '\''].into_iter().find(|quote| written.starts_with(*quote));
    let inner = match quote {
        Some(quote) => written.strip_prefix(quote)?.strip_suffix(quote)?,
        None => written,
    };
    // A pull spec has nothing in it that quotes would change; without quotes, it may look like a number.
    let plain = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '_' | '-' | '/' | ':' | '@');
    let is_plain = edit.after.chars().all(plain) && edit.after.starts_with(|char: char| char.is_ascii_alphanumeric());
    let is_text = ScalarKind::of_plain(&edit.after) == ScalarKind::Text;
    let quote = quote.or((!is_text).then_some('"'));
    (inner == edit.before && is_plain && !written.is_empty() && !written.contains(['\n', '\r']))
        .then(|| quote.map_or(edit.after.clone(), |quote| format!("{quote}{}{quote}", edit.after)))
}

/// Whether both texts are read as the same, but for the values at these places of the first, each of which stands for one
/// value alone: not for those of aliases, too.
fn says_the_same(before: &str, after: &str, wanted: &BTreeMap<Span, &str>) -> bool {
    let read = |text: &str| parse(&SourceText::new(text.to_owned()), Limits::default());
    let (before, after) = (read(before), read(after));
    let mut met = BTreeSet::new();
    let count = before.documents.len();
    count == after.documents.len()
        && before.problems.len() == after.problems.len()
        && before.documents.iter().zip(&after.documents).all(|(one, other)| is_same(one, other, wanted, &mut met))
        && met.len() == wanted.len()
}

fn is_same(one: &Node, other: &Node, wanted: &BTreeMap<Span, &str>, met: &mut BTreeSet<Span>) -> bool {
    match (&one.value, &other.value) {
        (Value::Scalar(before), Value::Scalar(after)) => match wanted.get(&one.span) {
            Some(text) => met.insert(one.span) && after.text == *text && other.scalar_kind() == Some(ScalarKind::Text),
            None => before == after,
        },
        (Value::Sequence(one), Value::Sequence(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other, wanted, met))
        }
        (Value::Mapping(one), Value::Mapping(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|(one, other)| {
                    is_same(&one.key, &other.key, wanted, met) && is_same(&one.value, &other.value, wanted, met)
                })
        }
        _ => false,
    }
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
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut new = tempfile::Builder::new().prefix(".streamkeeper-").tempfile_in(folder)?;
    new.as_file().set_permissions(fs::metadata(file)?.permissions())?;
    new.write_all(text.as_bytes())?;
    new.as_file().sync_all()?;
    new.persist(file).map_err(|error| error.error)?;
    Ok(())
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
        for (text, before, after) in [
            ("- &i VALUE\n- b\n", "a:1", "- &i r/x@sha256:1\n- b\n"),
            ("image: VALUE\n", "a:1", "image: r/x@sha256:1\n"),
        ] {
            assert_eq!(edited(text, before).expect("it stands for itself alone"), after);
        }
    }

    #[test]
    fn what_would_change_anything_else_is_refused() {
        for (text, before) in [
            // Others have the value of an anchor.
            ("image: &i VALUE\ncommand: [*i]\n", "a:1"),
            ("image: &i\n  VALUE\ncommand: [*i]\n", "a:1"),
            ("a: &t {image: VALUE}\nb: *t\n", "a:1"),
            ("a: &t {image: VALUE}\nb: {<<: *t, c: d}\n", "a:1"),
            // Over several lines.
            ("image: VALUE---\nkind: ConfigMap\n", "|\n  a:1\n"),
            ("image: VALUE\n", "a:\n  1"),
            // Nothing stands there.
            ("image: !!strVALUE\n", ""),
        ] {
            assert!(edited(text, before).is_err(), "{text}");
        }
    }

    #[test]
    fn what_looks_like_something_else_is_put_in_quotes() {
        for after in ["true", "5000", "1.5", "null"] {
            let edit = Edit { range: 0..3, before: "a:1".to_owned(), after: after.to_owned() };
            assert_eq!(replacement("a:1", &edit), Some(format!("\"{after}\"")));
        }
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
