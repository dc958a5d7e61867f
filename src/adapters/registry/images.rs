//! Images: their bytes seen, and what they are made of.

use std::sync::Arc;

use crate::adapters::lock;
use crate::model::{Cause, ImageConfig, ImageFacts, Observed, PlatformImage, Question};
use crate::openshift::{Digest, ImageReference};

use super::failure::Failure;
use super::mirrors::Place;
use super::wire::{self, Manifest};
use super::{Content, Registries, Target, gone, join, layout};

impl Registries {
    /// Sees the bytes of an image, and remembers what it is made of under the name that it was asked by.
    pub(super) async fn see(&self, image: &Question, named: &ImageReference) -> Observed<()> {
        let image = self.normal(image);
        let asked = image.reference.to_string();
        let Some(digest) = image.reference.digest.clone() else {
            return self.told(Err(Failure::malformed("only a digest can be fetched")), &asked);
        };
        let place = Arc::clone(lock(&self.fetched).entry(image.clone()).or_default());
        let answer = place.get_or_init(|| async {
            if lock(&self.complete).contains(&digest) || self.is_kept(&digest) {
                return Observed::Known(());
            }
            let places = match self.places(&image) {
                Ok(places) => places,
                Err(failure) => return self.told(Err(failure), &asked),
            };
            let mut failures = Vec::new();
            for place in &places {
                match self.fetch_at(place, &digest).await {
                    Ok(()) => {
                        lock(&self.complete).insert(digest.clone());
                        return Observed::Known(());
                    }
                    Err(failure) => failures.push(failure),
                }
            }
            self.told(Err(join(failures)), &asked)
        });
        let answer = answer.await.clone();
        // Others may have another name for it: which one is told must not hang on who came first.
        if answer.known().is_some() {
            self.keep_layers(&digest, named);
        }
        answer
    }

    /// Sees the bytes of an image at one place: its manifest, and its config.
    async fn fetch_at(&self, place: &Place, digest: &Digest) -> Result<(), Failure> {
        let target = self.target(place);
        let kept = self.kept(Content::Manifest, digest).map(|(media_type, bytes)| {
            let manifest = Manifest { digest: digest.clone(), media_type, bytes };
            self.learn(&manifest).map(|_| wire::config_of(&manifest.bytes))
        });
        let config = match kept {
            Some(Ok(config)) => config,
            // What is kept is no manifest any more, or never was: the registry has the word.
            Some(Err(_)) | None => {
                let pinned = ImageReference { digest: Some(digest.clone()), ..place.reference.clone() };
                let manifest = self.get(&target, &pinned).await?.ok_or_else(|| gone(digest))?;
                self.learn(&manifest)?;
                // The bytes are let go of before the next question: there may be many of them.
                wire::config_of(&manifest.bytes)
            }
        };
        let Some((config, descriptor)) = config else { return Ok(()) };
        if self.kept(Content::Config, &config).is_some() {
            return Ok(());
        }
        let bytes = match &target {
            Target::Host(host) => self.http.blob(&place.reference, host, &config).await?,
            Target::Folder(folder) => layout::blob(folder, &place.reference, &config).ok_or_else(|| {
                Failure::new(Cause::Unreadable, format!("it does not hold the config {}", config.short()))
            })?,
        };
        let sized = |size: i64| i64::try_from(bytes.len()).is_ok_and(|bytes| bytes == size);
        if !descriptor.size.is_none_or(sized) || !wire::has_digest(&bytes, &config) {
            let detail = format!("the config of {} is not {}", digest.short(), config.short());
            return Err(Failure::malformed(detail));
        }
        self.keep(Content::Config, &config, &descriptor.media_type, &bytes);
        Ok(())
    }

    /// Whether all of an image is kept: then nobody is asked.
    fn is_kept(&self, digest: &Digest) -> bool {
        let Some((media_type, bytes)) = self.kept(Content::Manifest, digest) else { return false };
        let config = || wire::config_of(&bytes).is_none_or(|(config, _)| self.kept(Content::Config, &config).is_some());
        wire::resolution(digest.clone(), &media_type, &bytes).is_ok() && config()
    }

    /// What an image is, of which manifest and config are kept.
    fn config(&self, digest: &Digest) -> Option<ImageConfig> {
        let (_, manifest) = self.kept(Content::Manifest, digest)?;
        let (config, _) = wire::config_of(&manifest)?;
        let (_, config) = self.kept(Content::Config, &config)?;
        Some(wire::image(digest.as_str(), &manifest, &config))
    }

    /// What the image of a digest is, of a list the one for a platform.
    pub(super) async fn look(&self, image: &Question, platform: (&str, &str)) -> Observed<ImageFacts> {
        let asked = image.reference.to_string();
        let Some(digest) = image.reference.digest.clone() else {
            return self.told(Err(Failure::malformed("only a digest can be looked at")), &asked);
        };
        match self.see(image, &image.reference).await {
            Observed::Known(()) => {}
            Observed::Absent => return Observed::Absent,
            Observed::Unknown(ignorance) => return Observed::Unknown(ignorance),
        }
        let Some((media_type, bytes)) = self.kept(Content::Manifest, &digest) else {
            return self.told(Err(forgotten(&digest)), &asked);
        };
        let images = self.recall(&digest).map(|it| it.platforms).unwrap_or_default();
        let is_it = |it: &&PlatformImage| it.os == platform.0 && it.architecture == platform.1;
        // Where the target's platform is not there, the first that is stands for all: something of it is to be seen.
        let is_image = |it: &&PlatformImage| it.os != "unknown" || it.architecture != "unknown";
        let of_list = || images.iter().find(is_it).or_else(|| images.iter().find(is_image)).map(|it| &it.digest);
        let chosen = if images.is_empty() { Some(&digest) } else { of_list() };
        let mut config = None;
        if let Some(chosen) = chosen {
            match self.see(&image.at(chosen), &image.reference).await {
                Observed::Known(()) => config = self.config(chosen),
                Observed::Absent => return self.told(Err(gone(chosen)), &asked),
                Observed::Unknown(ignorance) => return Observed::Unknown(ignorance),
            }
        }
        let annotations = wire::annotations(&bytes);
        Observed::Known(ImageFacts { digest, media_type, images, annotations, image: config, base: None })
    }

    /// Remembers an image by its layers.
    fn keep_layers(&self, digest: &Digest, named: &ImageReference) {
        let Some(layers) = self.chains(digest).last().cloned() else { return };
        let named = ImageReference { digest: named.digest.clone().or(Some(digest.clone())), ..named.clone() };
        let named = named.to_string();
        self.memory.keep_layers(&layers, &named);
        if self.memory.with_layers(&layers).is_some() {
            return;
        }
        let mut held = lock(&self.layers);
        if held.len() < LAYERS_HELD {
            let name = held.entry(layers).or_insert_with(|| named.clone());
            *name = std::mem::take(name).min(named);
        }
    }

    /// The image with the most layers that are the lowest of this one.
    pub(super) fn made_from(&self, image: &ImageFacts) -> Option<String> {
        let chains = self.chains(&Digest::parse(&image.image.as_ref()?.digest)?);
        let (_, below) = chains.split_last()?;
        let held = |layers| lock(&self.layers).get(layers).cloned();
        below.iter().rev().find_map(|layers| self.memory.with_layers(layers).or_else(|| held(layers)))
    }

    /// What stands for the layers of an image that is kept: the lowest, the two lowest, and so on.
    fn chains(&self, digest: &Digest) -> Vec<Digest> {
        let config = self.kept(Content::Manifest, digest).and_then(|(_, manifest)| wire::config_of(&manifest));
        let config = config.and_then(|(config, _)| self.kept(Content::Config, &config));
        config.map(|(_, bytes)| wire::chains(&bytes)).unwrap_or_default()
    }
}

/// Images that are held by their layers, where there is no other place for them.
const LAYERS_HELD: usize = 10_000;

/// What was fetched in this pass is not to be had any more.
pub(super) fn forgotten(digest: &Digest) -> Failure {
    Failure::new(Cause::Unreadable, format!("{} was seen, and there is nowhere to keep it", digest.short()))
}
