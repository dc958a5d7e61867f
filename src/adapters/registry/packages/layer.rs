//! The files of package databases in a layer: an archive in tar's form, packed or not.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use flate2::read::MultiGzDecoder;
use tar::{Archive, EntryType, PaxExtensions};

use super::zstd::Frames;

/// dpkg's list.
pub(super) const DPKG: &str = "var/lib/dpkg/status";
/// dpkg's list of images that have no dpkg: a file a package.
pub(super) const DPKG_FOLDER: &str = "var/lib/dpkg/status.d";
/// apk's list: where it was, and where it is since apk 3.
pub(super) const APK: [&str; 2] = ["lib/apk/db/installed", "usr/lib/apk/db/installed"];
/// Folders of rpm's database: the old one, the new one, and the one of images that are updated as a whole.
const RPM_FOLDERS: [&str; 3] = ["var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm"];
/// rpm's database in its three forms.
pub(super) const RPM: [&str; 3] = ["rpmdb.sqlite", "Packages.db", "Packages"];
/// What SQLite has written and not yet put in its place.
const RPM_LOG: &str = "rpmdb.sqlite-wal";

/// Bytes of a layer, unpacked. A limit of time more than of space: only databases are kept.
const UNPACKED: u64 = 16 * 1024 * 1024 * 1024;
/// Bytes of the databases of a layer.
const DATABASES: u64 = 256 * 1024 * 1024;
/// Entries of an archive.
const ENTRIES: usize = 4_000_000;
/// Bytes of a header that describes the next entry.
const EXTENSION: u64 = 1024 * 1024;

/// What a layer has of package databases, and what it hides of the layers below.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Layer {
    /// Databases by path.
    pub(super) files: BTreeMap<String, Vec<u8>>,
    /// Paths that hide what is at or below them.
    gone: BTreeSet<String>,
    /// Folders that hide what is below them.
    emptied: BTreeSet<String>,
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
        self.files.values().map(Vec::len).sum()
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
    all.into_iter().any(|known| known == path || super::is_below(known, path)) || is_database(path)
}

/// Reads a layer, packed with gzip or zstd or not at all: its first bytes say which.
///
/// # Errors
///
/// In words, when it is no archive, or larger than anybody's.
pub(in super::super) fn read(mut bytes: impl Read) -> Result<Layer, String> {
    let failed =
        |error: std::io::Error| format!("the layer cannot be read: {}", crate::text::inert(&error.to_string(), 160));
    let mut first = Vec::new();
    bytes.by_ref().take(4).read_to_end(&mut first).map_err(failed)?;
    let whole = std::io::Cursor::new(first.clone()).chain(bytes);
    let unpacked: Box<dyn Read + '_> = match first.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(std::io::BufReader::new(whole))),
        [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => {
            Box::new(Frames::new(std::io::BufReader::new(whole)))
        }
        _ => Box::new(whole),
    };
    // One more than is allowed: to come to the end is to have too much.
    let mut limited = unpacked.take(UNPACKED + 1);
    let layer = archive(&mut limited).map_err(failed)?;
    if limited.limit() == 0 {
        return Err(format!("the layer has more than {} GiB", UNPACKED >> 30));
    }
    Ok(layer)
}

/// What describes the next entry, as far as it matters.
#[derive(Default)]
struct Next {
    path: Option<String>,
}

/// Entries are read raw: left to itself, the reader holds headers of any size that describe others.
fn archive(bytes: &mut impl Read) -> std::io::Result<Layer> {
    let mut layer = Layer::default();
    let mut next = Next::default();
    let mut left = DATABASES;
    let mut archive = Archive::new(bytes);
    for (number, entry) in archive.entries()?.raw(true).enumerate() {
        let mut entry = entry?;
        if number >= ENTRIES {
            return Err(std::io::Error::other("it has too many entries"));
        }
        let size = entry.size();
        let kind = entry.header().entry_type();
        if matches!(
            kind,
            EntryType::GNULongName | EntryType::GNULongLink | EntryType::XHeader | EntryType::XGlobalHeader
        ) {
            if size > EXTENSION {
                return Err(std::io::Error::other("it has a header that is too large"));
            }
            let mut text = Vec::new();
            entry.read_to_end(&mut text)?;
            match kind {
                EntryType::GNULongName => {
                    next.path = Some(String::from_utf8_lossy(&text).trim_end_matches('\0').to_owned())
                }
                EntryType::XHeader => extend(&mut next, &text)?,
                _ => {}
            }
            continue;
        }
        let path = std::mem::take(&mut next).path;
        let path = path.unwrap_or_else(|| String::from_utf8_lossy(&entry.path_bytes()).into_owned());
        let Some(path) = plain(&path) else { continue };
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
        if let Some(hidden) = name.strip_prefix(".wh.") {
            match hidden {
                ".wh..opq" => layer.emptied.insert(folder.to_owned()),
                _ if folder.is_empty() => layer.gone.insert(hidden.to_owned()),
                _ => layer.gone.insert(format!("{folder}/{hidden}")),
            };
            continue;
        }
        if kind.is_dir() || !leads_to_database(&path) {
            continue;
        }
        let is_file = matches!(kind, EntryType::Regular | EntryType::Continuous);
        if is_file && is_database(&path) {
            if size > left {
                return Err(std::io::Error::other("its package databases are too large"));
            }
            left -= size;
            let mut file = Vec::new();
            entry.read_to_end(&mut file)?;
            layer.files.insert(path, file);
        } else if matches!(kind, EntryType::Link | EntryType::GNUSparse) && is_database(&path) {
            // To leave it out would be to say that its packages are gone.
            return Err(std::io::Error::other("a package database in it is a link, or has holes"));
        } else {
            layer.gone.insert(path);
        }
    }
    Ok(layer)
}

/// The records of a header in the form of POSIX.
fn extend(next: &mut Next, text: &[u8]) -> std::io::Result<()> {
    for record in PaxExtensions::new(text) {
        let record = record?;
        match record.key_bytes() {
            b"path" => next.path = Some(String::from_utf8_lossy(record.value_bytes()).into_owned()),
            // Then the next entry is not where its own header says: such files have more than 8 GiB.
            b"size" => return Err(std::io::Error::other("it has a file of more than 8 GiB")),
            _ => {}
        }
    }
    Ok(())
}

/// A path without what says nothing; none for one that leads out.
fn plain(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    (!parts.is_empty() && !parts.contains(&"..")).then(|| parts.join("/"))
}
