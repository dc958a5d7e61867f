//! The packages that an image has installed, read from its layers. Pure: bytes in, packages out.
//!
//! `layer` finds the files of package databases in a layer's archive (`zstd` puts frames together), [`Files`] lays layers on one
//! another as a container would see them, and reads what is left: `lists` for dpkg and apk, `rpm` for the three
//! forms that rpm has had (`berkeley`, `ndb`, SQLite). All of it was written by strangers: everything has a limit, and what
//! cannot be read is said, never left out.

mod berkeley;
mod header;
mod layer;
mod lists;
mod ndb;
mod rpm;
mod zstd;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::Packages;
use crate::source::inert;

pub(super) use layer::{Layer, read};

use layer::is_below;

/// Packages of one image; the largest images have some thousands.
const PACKAGES: usize = 50_000;
/// Bytes of all databases of one image.
const DATABASES: usize = 256 * 1024 * 1024;

/// The databases of an image as a container would see them, as far as its layers were laid on one another, the lowest first (OCI
/// image layer specification).
#[derive(Default)]
pub(super) struct Files(BTreeMap<String, Arc<Vec<u8>>>);

impl Files {
    /// Lays the next layer on them.
    ///
    /// # Errors
    ///
    /// In words, when there is more than anybody has.
    pub(super) fn lay(&mut self, layer: &Layer) -> Result<(), String> {
        self.0.retain(|path, _| !layer.hides(path));
        self.0.extend(layer.files.iter().map(|(path, bytes)| (path.clone(), Arc::clone(bytes))));
        let size: usize = self.0.iter().map(|(path, bytes)| layer::ENTRY + path.len() + bytes.len()).sum();
        if size > DATABASES { Err("its package databases are too large".to_owned()) } else { Ok(()) }
    }

    /// What is installed, by all databases that there are.
    ///
    /// # Errors
    ///
    /// In words, when one of them cannot be read, or two say of one thing what it is.
    pub(super) fn packages(&self) -> Result<Packages, String> {
        let mut packages = Packages::default();
        let mut number = 0;
        // A folder that is a link may have stood between the two: then one of them is old.
        if layer::APK.iter().all(|path| self.0.contains_key(*path)) {
            return Err("it has two lists of apk".to_owned());
        }
        for (path, bytes) in &self.0 {
            let mut add = |name: &str, version: &str| add(&mut packages, &mut number, name, version);
            let (database, read) = if is_below(path, layer::DPKG_FOLDER) {
                ("dpkg", lists::dpkg(bytes, false, &mut add))
            } else if path == layer::DPKG {
                ("dpkg", lists::dpkg(bytes, true, &mut add))
            } else if layer::APK.contains(&path.as_str()) {
                ("apk", lists::apk(bytes, &mut add))
            } else if let Some((folder, name)) = path.rsplit_once('/').filter(|(_, name)| layer::RPM.contains(name)) {
                // A form that was given up may still lie beside the newer one.
                let mut newer = layer::RPM.iter().take_while(|newer| *newer != &name);
                if newer.any(|newer| self.0.contains_key(&format!("{folder}/{newer}"))) {
                    continue;
                }
                let log = self.0.get(&format!("{path}-wal")).map(|log| log.as_slice());
                ("rpm", rpm::read(name, bytes, log, &mut add))
            } else {
                continue;
            };
            read.map_err(|why| format!("the {database} database `{}`: {why}", inert(path, 200)))?;
            packages.databases.insert(database.to_owned());
        }
        Ok(packages)
    }
}

/// Adds a package; one of several versions has them all.
fn add(packages: &mut Packages, number: &mut usize, name: &str, version: &str) -> Result<(), String> {
    *number += 1;
    if *number > PACKAGES {
        return Err(format!("it has more than {PACKAGES} packages"));
    }
    packages.installed.entry(inert(name, 200)).or_default().insert(inert(version, 200));
    Ok(())
}

/// Reads bytes as everything that a layer may be or hold; panics where what was read breaks a promise. For fuzzing.
pub(super) fn read_anything(bytes: &[u8]) {
    if let Ok(layer) = read(bytes) {
        let mut files = Files::default();
        if files.lay(&layer).is_ok() {
            let _ = files.packages();
        }
    }
    let (mut packages, mut number) = (Packages::default(), 0);
    let mut add = |name: &str, version: &str| add(&mut packages, &mut number, name, version);
    let _ = lists::dpkg(bytes, true, &mut add);
    let _ = lists::apk(bytes, &mut add);
    // The third form is read by SQLite.
    let _ = rpm::read("Packages", bytes, None, &mut add);
    let _ = rpm::read("Packages.db", bytes, None, &mut add);
    assert!(packages.installed.keys().all(|name| !name.contains(char::is_control)), "strangers' words are inert");
}
