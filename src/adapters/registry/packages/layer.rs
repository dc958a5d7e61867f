//! The files of package databases in a layer: an archive in tar's form, packed or not.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use tar::{Archive, EntryType};

use super::zstd::Frames;

/// dpkg's list.
pub(super) const DPKG: &str = "var/lib/dpkg/status";
/// dpkg's list of images that have no dpkg: a file a package.
pub(super) const DPKG_FOLDER: &str = "var/lib/dpkg/status.d";
/// apk's list: where it was, and where it is since apk 3.
pub(super) const APK: [&str; 2] = ["lib/apk/db/installed", "usr/lib/apk/db/installed"];
/// Folders of rpm's database: the old one, the new one, and the one of images that are updated as a whole.
const RPM_FOLDERS: [&str; 3] = ["var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm"];
/// rpm's database in its three forms, the newest first.
pub(super) const RPM: [&str; 3] = ["rpmdb.sqlite", "Packages.db", "Packages"];
/// What SQLite has written and not yet put in its place.
const RPM_LOG: &str = "rpmdb.sqlite-wal";

/// Bytes of a layer, unpacked: the largest images have some ten GiB in all.
const UNPACKED: u64 = 16 * 1024 * 1024 * 1024;
/// Bytes of what is kept of a layer: databases, and paths.
const DATABASES: u64 = 128 * 1024 * 1024;
/// Entries of an archive.
const ENTRIES: usize = 4_000_000;
/// Bytes of a header that describes the next entry, and of a path.
const EXTENSION: u64 = 1024 * 1024;
const PATH: usize = 4096;
/// Bytes that something kept takes beside its own: a thousand times nothing is not nothing.
pub(super) const ENTRY: usize = 1024;

/// What a layer has of package databases, and what it hides of the layers below.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Layer {
    /// Databases by path.
    pub(super) files: BTreeMap<String, Arc<Vec<u8>>>,
    /// Paths that hide what is at or below them.
    gone: BTreeSet<String>,
    /// Folders that hide what is below them.
    emptied: BTreeSet<String>,
    /// Bytes of the archive.
    pub(in super::super) unpacked: u64,
}

impl Layer {
    /// Whether a path of a lower layer is not seen any more.
    pub(super) fn hides(&self, path: &str) -> bool {
        let mut above = path;
        if self.gone.contains(path) || self.emptied.contains("") {
            return true;
        }
        while let Some((folder, _)) = above.rsplit_once('/') {
            if self.gone.contains(folder) || self.emptied.contains(folder) {
                return true;
            }
            above = folder;
        }
        false
    }

    /// Bytes that it holds.
    pub(in super::super) fn size(&self) -> usize {
        let files: usize = self.files.iter().map(|(path, file)| ENTRY + path.len() + file.len()).sum();
        files + self.gone.iter().chain(&self.emptied).map(|path| ENTRY + path.len()).sum::<usize>()
    }
}

/// Whether a path is a part of a package database.
fn is_database(path: &str) -> bool {
    let Some((folder, name)) = path.rsplit_once('/') else { return false };
    path == DPKG
        || APK.contains(&path)
        // Sums of a package's files stand beside it.
        || (folder == DPKG_FOLDER && !name.ends_with(".md5sums"))
        || (RPM_FOLDERS.contains(&folder) && (RPM.contains(&name) || name == RPM_LOG))
}

/// Whether a path leads to a package database: what stands there hides it.
fn leads_to_database(path: &str) -> bool {
    let all = [DPKG, DPKG_FOLDER].into_iter().chain(APK).chain(RPM_FOLDERS);
    path.is_empty() || all.into_iter().any(|known| known == path || is_below(known, path)) || is_database(path)
}

/// Reads a layer, packed with gzip or zstd or not at all: its first bytes say which.
///
/// # Errors
///
/// In words, when it is no archive, or larger than anybody's.
pub(in super::super) fn read(mut bytes: impl Read) -> Result<Layer, String> {
    let failed =
        |error: io::Error| format!("the layer cannot be read: {}", crate::source::inert(&error.to_string(), 160));
    let mut first = Vec::new();
    bytes.by_ref().take(4).read_to_end(&mut first).map_err(failed)?;
    let whole = io::Cursor::new(first.clone()).chain(bytes);
    let unpacked: Box<dyn Read + '_> = match first.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(io::BufReader::new(whole))),
        [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Box::new(Frames::new(io::BufReader::new(whole))),
        _ => Box::new(whole),
    };
    let mut limited = unpacked.take(UNPACKED);
    let layer = archive(&mut limited);
    if limited.limit() == 0 {
        return Err(format!("the layer has {} GiB or more", UNPACKED >> 30));
    }
    Ok(Layer { unpacked: UNPACKED - limited.limit(), ..layer.map_err(failed)? })
}

/// Collects what is kept of a layer, within a limit.
struct Kept {
    layer: Layer,
    left: u64,
}

impl Kept {
    /// Makes room.
    fn charge(&mut self, bytes: u64) -> io::Result<()> {
        let left = self.left.checked_sub(bytes.saturating_add(ENTRY as u64));
        self.left = left.ok_or_else(|| io::Error::other("its package databases are too large"))?;
        Ok(())
    }

    /// Something at that path hides what is below. Only what may hide a database is remembered.
    fn hide(&mut self, path: &str) -> io::Result<()> {
        if leads_to_database(path) {
            self.charge(path.len() as u64)?;
            self.layer.gone.insert(path.to_owned());
        }
        Ok(())
    }

    fn empty(&mut self, folder: &str) -> io::Result<()> {
        if leads_to_database(folder) {
            self.charge(folder.len() as u64)?;
            self.layer.emptied.insert(folder.to_owned());
        }
        Ok(())
    }
}

/// Entries are read raw: left to itself, the reader holds headers of any size that describe others.
fn archive(bytes: &mut impl Read) -> io::Result<Layer> {
    let mut kept = Kept { layer: Layer::default(), left: DATABASES };
    let mut next = None;
    let mut archive = Archive::new(bytes);
    for (number, entry) in archive.entries()?.raw(true).enumerate() {
        let mut entry = entry?;
        if number >= ENTRIES {
            return Err(io::Error::other("it has too many entries"));
        }
        let size = entry.size();
        let kind = entry.header().entry_type();
        if matches!(
            kind,
            EntryType::GNULongName | EntryType::GNULongLink | EntryType::XHeader | EntryType::XGlobalHeader
        ) {
            if size > EXTENSION {
                return Err(io::Error::other("it has a header that is too large"));
            }
            let mut text = Vec::new();
            entry.read_to_end(&mut text)?;
            match kind {
                EntryType::GNULongName => next = Some(String::from_utf8_lossy(&text).trim_end_matches('\0').to_owned()),
                EntryType::XHeader => next = named(&text)?.or(next),
                _ => {}
            }
            continue;
        }
        let name = next.take().unwrap_or_else(|| String::from_utf8_lossy(&entry.path_bytes()).into_owned());
        let Some(path) = plain(&name) else { continue };
        let (folder, file) = path.rsplit_once('/').unwrap_or(("", &path));
        if let Some(hidden) = file.strip_prefix(".wh.") {
            match hidden {
                ".wh..opq" => kept.empty(folder)?,
                _ if folder.is_empty() => kept.hide(hidden)?,
                _ => kept.hide(&format!("{folder}/{hidden}"))?,
            }
            continue;
        }
        // The oldest archives tell a folder by its name alone.
        if kind.is_dir() || name.ends_with('/') || !leads_to_database(&path) {
            continue;
        }
        // To leave a database out would be to say that its packages are gone.
        match kind {
            EntryType::Regular | EntryType::Continuous if is_database(&path) => {
                kept.charge(size.saturating_add(path.len() as u64))?;
                let mut file = Vec::new();
                entry.read_to_end(&mut file)?;
                kept.layer.files.insert(path, Arc::new(file));
            }
            EntryType::Link | EntryType::GNUSparse if is_database(&path) => {
                return Err(io::Error::other("a package database in it is a link, or has holes"));
            }
            EntryType::Symlink => {
                let target = entry.link_name_bytes().map(|name| String::from_utf8_lossy(&name).into_owned());
                // Where it leads to another place where databases are, they are found there.
                if !target.and_then(|target| resolved(folder, &target)).is_some_and(|target| leads_to_database(&target))
                {
                    return Err(io::Error::other("a package database in it is a link to elsewhere"));
                }
                kept.hide(&path)?;
            }
            _ => kept.hide(&path)?,
        }
    }
    Ok(kept.layer)
}

/// The path of the next entry, if the records of a header in the form of POSIX name one. Each begins with its own length: what
/// values hold, line breaks too, is theirs.
fn named(text: &[u8]) -> io::Result<Option<String>> {
    let (mut rest, mut path) = (text, None);
    let broken = || io::Error::other("it has a header that is none");
    while !rest.is_empty() {
        let digits = rest.iter().position(|byte| *byte == b' ').ok_or_else(broken)?;
        let length: Option<usize> = std::str::from_utf8(&rest[..digits]).ok().and_then(|digits| digits.parse().ok());
        let length = length.filter(|length| *length > digits + 1 && *length <= rest.len()).ok_or_else(broken)?;
        let (record, others) = rest.split_at(length);
        let record = &record[digits + 1..];
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(broken)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        match key {
            b"path" => path = Some(String::from_utf8_lossy(value.strip_suffix(b"\n").unwrap_or(value)).into_owned()),
            // Then the next entry is not where its own header says, or is not what it seems.
            b"size" => return Err(io::Error::other("it has a file of more than 8 GiB")),
            key if key.starts_with(b"GNU.sparse") => return Err(io::Error::other("it has a file with holes")),
            _ => {}
        }
        rest = others;
    }
    Ok(path)
}

/// A path without what says nothing; none for one that leads out, or that no system has.
fn plain(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    (path.len() <= PATH && !parts.is_empty() && !parts.contains(&"..")).then(|| parts.join("/"))
}

/// Where a symbolic link in a folder leads.
fn resolved(folder: &str, target: &str) -> Option<String> {
    let from = if target.starts_with('/') { "" } else { folder };
    let mut parts: Vec<&str> = Vec::new();
    for part in from.split('/').chain(target.split('/')).filter(|part| !matches!(*part, "" | ".")) {
        if part == ".." {
            parts.pop()?;
        } else {
            parts.push(part);
        }
    }
    Some(parts.join("/"))
}

/// Whether a path is inside of a folder.
pub(super) fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}
