//! Whether a file of a work tree whose bytes are not those of the commit is changed: the question that `git status` answers.

use std::collections::BTreeSet;
use std::path::Path;

use gix::bstr::BStr;
use gix::index::entry::{Mode, Stat};
use gix::worktree::stack::state::ignore::Source;

use super::objects;

/// Which of these files Git takes for unchanged, because they are as they were when it last looked at them, whatever filter made them
/// so; or ignores.
pub(super) fn unchanged(repository: &gix::Repository, root: &Path, paths: &[&str]) -> BTreeSet<String> {
    let Ok(index) = repository.open_index() else { return BTreeSet::new() };
    let folder = objects::prefix(repository, root).join("/");
    let in_repository = |path: &str| if folder.is_empty() { path.to_owned() } else { format!("{folder}/{path}") };
    let mut excludes = repository.excludes(&index, None, Source::WorktreeThenIdMappingIfNotSkipped).ok();
    let mut is_unchanged = |path: &str| {
        let whole = in_repository(path);
        match index.entry_by_path(BStr::new(whole.as_bytes())) {
            // What is staged is what is committed.
            Some(entry) => {
                is_as_seen(&index, &entry.stat, &root.join(path))
                    && objects::in_head(repository, whole.split('/')) == Some(entry.id)
            }
            None => excludes.as_mut().is_some_and(|excludes| {
                excludes.at_entry(whole.as_str(), Some(Mode::FILE)).is_ok_and(|platform| platform.is_excluded())
            }),
        }
    };
    paths.iter().filter(|path| is_unchanged(path)).map(|path| (*path).to_owned()).collect()
}

/// Whether a file is as it was when Git last looked at it. A file that was written at that very moment may have changed since without a
/// trace.
fn is_as_seen(index: &gix::index::File, seen: &Stat, path: &Path) -> bool {
    let Ok(metadata) = gix::index::fs::Metadata::from_path_no_follow(path) else { return false };
    let Ok(now) = Stat::from_fs(&metadata) else { return false };
    let options = gix::index::entry::stat::Options { trust_ctime: false, ..Default::default() };
    now.matches(seen, options) && !seen.is_racy(index.timestamp(), options)
}
