//! The packages that an image has installed, read from its layers. Pure: bytes in, packages out.
//!
//! `layer` finds the files of package databases in a layer's archive (`zstd` puts frames together), [`stack`] lays layers on one
//! another as a container would see them, and [`packages`] reads what is left: `lists` for dpkg and apk, `rpm` for the three
//! forms that rpm has had (`berkeley`, `ndb`, SQLite). All of it was written by strangers: everything has a limit, and what
//! cannot be read is said, never left out.

mod berkeley;
mod layer;
mod lists;
mod ndb;
mod rpm;
mod zstd;

use std::collections::BTreeMap;

use crate::model::Packages;
use crate::text::inert;

pub(super) use layer::{Layer, read};

/// Packages of one image; the largest images have some thousands.
const PACKAGES: usize = 50_000;

/// Files by path.
pub(super) type Files<'a> = BTreeMap<&'a str, &'a [u8]>;

/// What is left of the layers of an image, the lowest first (OCI image layer specification).
pub(super) fn stack<'a>(layers: impl IntoIterator<Item = &'a Layer>) -> Files<'a> {
    let mut files = Files::new();
    for layer in layers {
        files.retain(|path, _| !layer.hides(path));
        files.extend(layer.files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())));
    }
    files
}

/// What is installed, by all databases that there are.
///
/// # Errors
///
/// In words, when one of them cannot be read.
pub(super) fn packages(files: &Files<'_>) -> Result<Packages, String> {
    let mut packages = Packages::default();
    for (path, bytes) in files {
        let mut add = |name: &str, version: &str| add(&mut packages, name, version);
        let (database, read) = if is_below(path, layer::DPKG_FOLDER) {
            ("dpkg", lists::dpkg(bytes, false, &mut add))
        } else if *path == layer::DPKG {
            ("dpkg", lists::dpkg(bytes, true, &mut add))
        } else if layer::APK.contains(path) {
            ("apk", lists::apk(bytes, &mut add))
        } else if let Some((folder, name)) = path.rsplit_once('/').filter(|(_, name)| layer::RPM.contains(name)) {
            // A form that was given up may still lie beside the newer one.
            let newer = layer::RPM.iter().take_while(|newer| *newer != &name);
            if newer.into_iter().any(|newer| files.contains_key(format!("{folder}/{newer}").as_str())) {
                continue;
            }
            let log = files.get(format!("{path}-wal").as_str()).copied();
            ("rpm", rpm::read(name, bytes, log, &mut add))
        } else {
            continue;
        };
        read.map_err(|why| format!("the {database} database `{}`: {why}", inert(path, 200)))?;
        packages.databases.insert(database.to_owned());
    }
    Ok(packages)
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// Adds a package; one of several versions has them all.
fn add(packages: &mut Packages, name: &str, version: &str) -> Result<(), String> {
    if packages.installed.len() >= PACKAGES {
        return Err(format!("it has more than {PACKAGES} packages"));
    }
    packages.installed.entry(inert(name, 200)).or_default().insert(inert(version, 200));
    Ok(())
}

/// Takes the name and version of an installed package.
type Add<'a> = dyn FnMut(&str, &str) -> Result<(), String> + 'a;

/// A number of four bytes at a place.
fn number(bytes: &[u8], at: usize, big: bool) -> Option<u32> {
    let four: [u8; 4] = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
    Some(if big { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) })
}

/// Reads bytes as everything that a layer may be or hold; panics where what was read breaks a promise. For fuzzing.
pub(super) fn read_anything(bytes: &[u8]) {
    if let Ok(layer) = read(bytes) {
        assert!(layer.files.keys().all(|path| !path.contains("..")), "no way out");
        let _ = packages(&stack([&layer]));
    }
    let mut packages = Packages::default();
    let mut add = |name: &str, version: &str| add(&mut packages, name, version);
    let _ = lists::dpkg(bytes, true, &mut add);
    let _ = lists::apk(bytes, &mut add);
    // The third form is read by SQLite.
    let _ = rpm::read("Packages", bytes, None, &mut add);
    let _ = rpm::read("Packages.db", bytes, None, &mut add);
    assert!(packages.installed.keys().all(|name| !name.contains(char::is_control)), "strangers' words are inert");
}
