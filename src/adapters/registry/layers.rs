//! The packages of an image: the one case in which layers are downloaded.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::{StreamExt as _, TryStreamExt as _};

use crate::adapters::lock;
use crate::model::{Cause, Packages, Question};
use crate::openshift::Digest;

use super::failure::Failure;
use super::images::forgotten;
use super::{Content, Registries, Target, join, layout, packages, wire};

/// Bytes of all layers of an image: as they are served, and unpacked.
const SERVED: u64 = 16 * 1024 * 1024 * 1024;
const UNPACKED: u64 = 64 * 1024 * 1024 * 1024;
/// Layers of one image that are under way at a time: each lies in a file meanwhile.
const AT_ONCE: usize = 2;
/// Bytes of databases that are kept for the next image.
const KEPT: usize = 192 * 1024 * 1024;

/// What became of a layer whose bytes were good.
pub(super) type Unpacked = Result<Arc<packages::Layer>, Failure>;

impl Registries {
    /// What an image has installed. One image at a time: databases are large.
    ///
    /// # Errors
    ///
    /// When not all of its layers could be read.
    pub(super) async fn packages_of(&self, image: &Question) -> Result<Packages, Failure> {
        let Some(digest) = &image.reference.digest else {
            return Err(Failure::malformed("only a digest can be looked at"));
        };
        let (_, manifest) = self.kept(Content::Manifest, digest).ok_or_else(|| forgotten(digest))?;
        let layers = wire::layers(&manifest).map_err(Failure::malformed)?;
        let served = layers.iter().fold(0_u64, |sum, (_, size)| sum.saturating_add(*size));
        if served > SERVED {
            return Err(Failure::new(Cause::Refused, format!("its layers have {served} bytes, the limit is {SERVED}")));
        }
        let turn = self.unpacking.acquire().await.map_err(|_| Failure::malformed("closed"))?;
        // Whatever is still being read when this ends, by an error or because nobody waits any more, ends with it.
        let stop = Stop::default();
        let read = futures::stream::iter(layers).map(|(digest, size)| self.layer(image, digest, size, &stop.0));
        let unreadable = |why| Failure::new(Cause::Unreadable, why);
        // Laid on one another as they come: what an upper layer hides is let go of.
        let nothing = (packages::Files::default(), 0_u64);
        let files = read.buffered(AT_ONCE).try_fold(nothing, |(mut files, unpacked), layer| async move {
            let unpacked = unpacked.saturating_add(layer.unpacked);
            if unpacked > UNPACKED {
                return Err(unreadable(format!("its layers have more than {} GiB", UNPACKED >> 30)));
            }
            blocking(move || files.lay(&layer).map(|()| (files, unpacked)).map_err(unreadable)).await
        });
        let (files, _) = files.await?;
        let packages = blocking(move || files.packages().map_err(unreadable)).await;
        drop(turn);
        packages
    }

    /// The databases of a layer, from this pass or from where it can be had.
    async fn layer(&self, image: &Question, digest: Digest, size: u64, stop: &Arc<AtomicBool>) -> Unpacked {
        if let Some(layer) = lock(&self.unpacked).get(&digest) {
            return layer.clone();
        }
        let mut failures = Vec::new();
        for place in self.places(image)? {
            let file = match self.target(&place) {
                Target::Host(host) => {
                    let unwritable = |error| Failure::new(Cause::Unreadable, format!("no file can be made: {error}"));
                    let file = tempfile::tempfile().map_err(unwritable)?;
                    self.http.download(&place.reference, &host, &digest, &file, size).await.map(|()| file)
                }
                Target::Folder(folder) => layout::open(&folder, &place.reference, &digest)
                    .map_err(|detail| Failure::new(Cause::Unreadable, detail)),
            };
            let named = digest.clone();
            let file = match file {
                Ok(file) => blocking(move || checked(file, &named, size)).await,
                Err(failure) => Err(failure),
            };
            match file {
                // These are the bytes, wherever they are asked for: what they hold is what there is.
                Ok(file) => {
                    let (named, stop) = (digest.clone(), Arc::clone(stop));
                    let unreadable = move |why| Failure::new(Cause::Unreadable, format!("{}: {why}", named.short()));
                    let read = move || {
                        let layer =
                            packages::read(std::io::BufReader::new(Stoppable { file, stop: Arc::clone(&stop) }));
                        // What was stopped says nothing of the layer.
                        if stop.load(Ordering::Relaxed) { Err(stopped()) } else { Ok(layer) }
                    };
                    let layer = blocking(read).await?.map(Arc::new).map_err(unreadable);
                    self.keep_layer(digest, &layer);
                    return layer;
                }
                Err(failure) => failures.push(failure),
            }
        }
        Err(join(failures))
    }

    /// Images that follow one another share layers. What does not fit any more makes room for what comes.
    fn keep_layer(&self, digest: Digest, layer: &Unpacked) {
        let size = |layer: &Unpacked| layer.as_ref().map_or(0, |layer| layer.size());
        let mut unpacked = lock(&self.unpacked);
        let held: usize = unpacked.values().map(size).sum();
        if held + size(layer) > KEPT {
            unpacked.clear();
        }
        unpacked.insert(digest, layer.clone());
    }
}

/// A layer of that digest and size. Not a byte of it is looked at before all of them were hashed.
fn checked(mut file: File, digest: &Digest, size: u64) -> Result<File, Failure> {
    let failed = |error: std::io::Error| Failure::new(Cause::Unreadable, format!("the layer cannot be read: {error}"));
    let wrong = || Failure::malformed(format!("the layer {} is not what its digest says", digest.short()));
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
        if length > size {
            return Err(wrong());
        }
        hash.update(&buffer[..read]);
    }
    if length != size || !hash.is(digest) {
        return Err(wrong());
    }
    file.rewind().map_err(failed)?;
    Ok(file)
}

/// Says that work is to end, when it is let go of.
#[derive(Default)]
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A file that ends when nobody wants it any more.
struct Stoppable {
    file: File,
    stop: Arc<AtomicBool>,
}

impl std::io::Read for Stoppable {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            Err(std::io::Error::other("nobody wants it"))
        } else {
            self.file.read(buffer)
        }
    }
}

fn stopped() -> Failure {
    Failure::new(Cause::Unreadable, "nobody waited for it")
}

/// Work that takes a processor, beside what waits for answers.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    // Nothing of what a task says of its end is the same twice.
    let broken = |_| Failure::new(Cause::Unreadable, "reading it has broken down");
    tokio::task::spawn_blocking(work).await.map_err(broken)?
}
