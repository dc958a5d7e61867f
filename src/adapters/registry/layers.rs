//! The packages of an image: the one case in which layers are downloaded.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};

use crate::adapters::lock;
use crate::model::{Cause, Digest, Packages, Question};

use super::failure::Failure;
use super::{Content, Registries, Target, join, layout, packages, wire};

/// Bytes of a layer, as it is served.
const LAYER: u64 = 8 * 1024 * 1024 * 1024;
/// Layers of one image that are under way at a time.
const AT_ONCE: usize = 3;
/// Bytes of databases that are kept for the next image.
const KEPT: usize = 192 * 1024 * 1024;

impl Registries {
    /// What an image has installed. One image at a time: databases are large, and all of one image's are held.
    ///
    /// # Errors
    ///
    /// When not all of its layers could be read.
    pub(super) async fn packages_of(&self, image: &Question) -> Result<Packages, Failure> {
        let manifest = image.reference.digest.as_ref().and_then(|digest| self.kept(Content::Manifest, digest));
        let Some((_, manifest)) = manifest else { return Err(Failure::malformed("nobody has looked at the image")) };
        let layers = wire::layers(&manifest).map_err(Failure::malformed)?;
        let turn = self.unpacking.acquire().await.map_err(|_| Failure::malformed("closed"))?;
        let read = futures::stream::iter(layers).map(|(digest, size)| self.layer(image, digest, size));
        let layers: Vec<Arc<packages::Layer>> = read.buffered(AT_ONCE).try_collect().await?;
        let packages = blocking(move || {
            let files = packages::stack(layers.iter().map(Arc::as_ref));
            packages::packages(&files).map_err(|why| Failure::new(Cause::Unreadable, why))
        });
        let packages = packages.await;
        drop(turn);
        packages
    }

    /// The databases of a layer, from this pass or from where it can be had.
    async fn layer(&self, image: &Question, digest: Digest, size: u64) -> Result<Arc<packages::Layer>, Failure> {
        if let Some(layer) = lock(&self.unpacked).get(&digest) {
            return Ok(Arc::clone(layer));
        }
        if size > LAYER {
            return Err(Failure::new(Cause::Refused, format!("the layer {} has {size} bytes", digest.short())));
        }
        let mut failures = Vec::new();
        for place in self.places(image)? {
            let file = match self.target(&place) {
                Target::Host(host) => {
                    let unwritable = |error| Failure::new(Cause::Unreadable, format!("no file can be made: {error}"));
                    let file = tempfile::tempfile().map_err(unwritable)?;
                    self.http.download(&place.reference, &host, &digest, &file, size).await.map(|()| file)
                }
                Target::Folder(folder) => {
                    let missing = || Failure::new(Cause::Unreadable, format!("it does not hold {}", digest.short()));
                    layout::open(&folder, &place.reference, &digest).ok_or_else(missing)
                }
            };
            let named = digest.clone();
            let read = match file {
                Ok(file) => blocking(move || read(file, &named, size)).await,
                Err(failure) => Err(failure),
            };
            match read {
                Ok(layer) => return Ok(self.keep_layer(digest, layer)),
                Err(failure) => failures.push(failure),
            }
        }
        Err(join(failures))
    }

    fn keep_layer(&self, digest: Digest, layer: packages::Layer) -> Arc<packages::Layer> {
        let layer = Arc::new(layer);
        let mut unpacked = lock(&self.unpacked);
        let held: usize = unpacked.values().map(|layer| layer.size()).sum();
        if held + layer.size() <= KEPT {
            unpacked.insert(digest, Arc::clone(&layer));
        }
        layer
    }
}

/// Reads a layer. Not a byte of it is looked at before all of them were hashed.
fn read(mut file: File, digest: &Digest, size: u64) -> Result<packages::Layer, Failure> {
    let failed = |error: std::io::Error| Failure::new(Cause::Unreadable, format!("the layer cannot be read: {error}"));
    file.rewind().map_err(failed)?;
    let mut hash =
        wire::Hash::new(digest).ok_or_else(|| Failure::malformed("a layer has a digest that nobody can check"))?;
    let (mut buffer, mut length) = (vec![0; 256 * 1024], 0);
    loop {
        let read = file.read(&mut buffer).map_err(failed)?;
        if read == 0 {
            break;
        }
        length += read as u64;
        hash.update(&buffer[..read]);
    }
    if length != size || !hash.is(digest) {
        return Err(Failure::malformed(format!("the layer {} is not what its digest says", digest.short())));
    }
    file.rewind().map_err(failed)?;
    packages::read(std::io::BufReader::new(file))
        .map_err(|why| Failure::new(Cause::Unreadable, format!("{}: {why}", digest.short())))
}

/// Work that takes a processor, beside what waits for answers.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    let broken = |error| Failure::new(Cause::Unreadable, format!("reading it has failed: {error}"));
    tokio::task::spawn_blocking(work).await.map_err(broken)?
}
