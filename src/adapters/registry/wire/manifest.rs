//! Manifests: what they are served as, what they are, and what they name.

use oci_client::manifest::{
    IMAGE_CONFIG_MEDIA_TYPE, IMAGE_DOCKER_CONFIG_MEDIA_TYPE, IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE,
    OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE,
};
use serde::Deserialize;

use crate::model::{PlatformImage, Resolution};
use crate::openshift::Digest;
use crate::source::inert;

/// Registries limit manifests to 4 MiB (distribution spec).
pub(in super::super) const MANIFEST_LIMIT: usize = 4 * 1024 * 1024;
/// Entries of an index. The largest known have a few dozen.
const INDEX_LIMIT: usize = 1000;
/// Layers that are looked into. Container engines take no more than 128.
const LAYERS: usize = 200;
/// Characters of an operating system, architecture or variant.
const PLATFORM_LIMIT: usize = 64;
/// What configs of images are served as. The third is what Docker wrote before 1.13; such images are still about.
const CONFIGS: [&str; 3] = [IMAGE_CONFIG_MEDIA_TYPE, IMAGE_DOCKER_CONFIG_MEDIA_TYPE, "application/octet-stream"];

/// Every media type of an image or a list of images: a registry that is not told converts or refuses.
pub(in super::super) const ACCEPT: [&str; 4] =
    [OCI_IMAGE_INDEX_MEDIA_TYPE, IMAGE_MANIFEST_LIST_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE];

/// A manifest as it was received, its digest computed from its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Manifest {
    pub(in super::super) digest: Digest,
    pub(in super::super) media_type: String,
    pub(in super::super) bytes: Vec<u8>,
}

/// What a media type stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Kind {
    /// One image.
    Image,
    /// A list of images (Docker) or an index (OCI).
    List,
    /// Neither.
    Other,
}

/// What is served as that media type.
pub(in super::super) fn kind(media_type: &str) -> Kind {
    match media_type {
        IMAGE_MANIFEST_MEDIA_TYPE | OCI_IMAGE_MEDIA_TYPE => Kind::Image,
        IMAGE_MANIFEST_LIST_MEDIA_TYPE | OCI_IMAGE_INDEX_MEDIA_TYPE => Kind::List,
        _ => Kind::Other,
    }
}

/// Whether bytes have a digest, by its own algorithm; of algorithms that nobody uses, never.
pub(in super::super) fn has_digest(bytes: &[u8], digest: &Digest) -> bool {
    let Some(mut hash) = Hash::new(digest) else { return false };
    hash.update(bytes);
    hash.is(digest)
}

/// Hashes bytes that come piece by piece.
pub(in super::super) struct Hash(ring::digest::Context);

impl Hash {
    /// By the algorithm of a digest; none for those that nobody uses.
    pub(in super::super) fn new(digest: &Digest) -> Option<Self> {
        let algorithm = match digest.as_str().split(':').next() {
            Some("sha256") => &ring::digest::SHA256,
            Some("sha512") => &ring::digest::SHA512,
            _ => return None,
        };
        Some(Self(ring::digest::Context::new(algorithm)))
    }

    /// Takes the next piece.
    pub(in super::super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Whether all pieces together have the digest.
    pub(in super::super) fn is(self, digest: &Digest) -> bool {
        hex::encode(self.0.finish()) == digest.hex()
    }
}

/// SHA-256 over the bytes.
pub(in super::super) fn digest_of(bytes: &[u8]) -> Digest {
    Digest::sha256(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

/// Reads a manifest whose bytes have been checked.
pub(in super::super) fn resolution(digest: Digest, media_type: &str, bytes: &[u8]) -> Result<Resolution, String> {
    let bad = |error: serde_json::Error| {
        // A place, and nothing of the content: it may repeat a login.
        format!("the manifest {} cannot be read (line {}, column {})", digest.short(), error.line(), error.column())
    };
    let declared: Declared = serde_json::from_slice(bytes).map_err(bad)?;
    // What a document says of itself must be what it is served as, or two readers see two things (distribution
    // GHSA-qq97-vm5h-rrhg); for the same reason nothing may be both an image and a list.
    if declared.media_type.as_deref().is_some_and(|inner| inner != media_type) {
        return Err(format!(
            "the manifest {} is served as `{}` and says it is something else",
            digest.short(),
            inert(media_type, 100)
        ));
    }
    if declared.manifests.is_some() && (declared.layers.is_some() || declared.config.is_some()) {
        return Err(format!("the manifest {} is an image and a list at once", digest.short()));
    }
    if let Some(artifact) = declared.artifact_type.filter(|artifact| !artifact.is_empty()) {
        return Err(not_an_image(&digest, &artifact));
    }
    let platforms = match kind(media_type) {
        Kind::List => platforms(&digest, serde_json::from_slice(bytes).map_err(bad)?)?,
        Kind::Image => {
            let manifest: ImageManifest = serde_json::from_slice(bytes).map_err(bad)?;
            let config = manifest.config.media_type;
            if !CONFIGS.contains(&config.as_str()) {
                return Err(not_an_image(&digest, &config));
            }
            Vec::new()
        }
        Kind::Other => return Err(unsupported(media_type)),
    };
    Ok(Resolution { platforms, ..Resolution::image(digest, media_type) })
}

fn not_an_image(digest: &Digest, artifact: &str) -> String {
    format!("{} is no image but an artifact of type `{}`", digest.short(), inert(artifact, 100))
}

/// Why something of that media type is not imported.
pub(in super::super) fn unsupported(media_type: &str) -> String {
    match media_type {
        "" => "the answer has no media type".to_owned(),
        "application/vnd.docker.distribution.manifest.v1+json"
        | "application/vnd.docker.distribution.manifest.v1+prettyjws" => {
            "it is a Docker schema 1 image, which registries no longer serve with a digest; push it again".to_owned()
        }
        other => format!("`{}` is not an image", inert(other, 100)),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Declared {
    media_type: Option<String>,
    artifact_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
    config: Option<serde::de::IgnoredAny>,
}

/// What is read of an image's manifest: a field that is not needed may be missing, or anything.
#[derive(Deserialize)]
struct ImageManifest {
    config: Descriptor,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
}

/// What a manifest names (OCI image specification, "Content Descriptors").
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in super::super) struct Descriptor {
    #[serde(default)]
    pub(in super::super) media_type: String,
    digest: String,
    /// Bytes; none where that is not said.
    #[serde(default)]
    pub(in super::super) size: Option<i64>,
}

#[derive(Deserialize)]
pub(in super::super) struct Index {
    #[serde(default)]
    manifests: Option<Vec<IndexEntry>>,
}

#[derive(Deserialize)]
struct IndexEntry {
    digest: String,
    #[serde(default)]
    platform: Option<Platform>,
}

/// An entry may say a part of its platform, or nothing.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Platform {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
}

fn platforms(digest: &Digest, index: Index) -> Result<Vec<PlatformImage>, String> {
    let manifests = index.manifests.unwrap_or_default();
    if manifests.is_empty() {
        return Err(format!("the list {} has no images", digest.short()));
    }
    if manifests.len() > INDEX_LIMIT {
        return Err(format!("the list {} has more than {INDEX_LIMIT} images", digest.short()));
    }
    let platform = |entry: IndexEntry| {
        let list = digest;
        let digest = Digest::parse(&entry.digest)
            .ok_or_else(|| format!("the list {} names a digest that is none", list.short()))?;
        let Platform { os, architecture, variant } = entry.platform.unwrap_or_default();
        let [os, architecture, variant] = [os, architecture, variant].map(Option::unwrap_or_default);
        // Real ones have a dozen characters; they are kept, shown, and compared.
        if [&os, &architecture, &variant].iter().any(|word| word.len() > PLATFORM_LIMIT) {
            return Err(format!("the list {} names a platform that is none", list.short()));
        }
        Ok(PlatformImage { digest, os, architecture, variant })
    };
    manifests.into_iter().map(platform).collect()
}

/// The config that an image names; none for lists.
pub(in super::super) fn config_of(bytes: &[u8]) -> Option<(Digest, Descriptor)> {
    let manifest: ImageManifest = serde_json::from_slice(bytes).ok()?;
    Some((Digest::parse(&manifest.config.digest)?, manifest.config))
}

/// The layers of an image whose bytes were checked, the lowest first, with the bytes that each has.
///
/// # Errors
///
/// In words, when they cannot be had.
pub(in super::super) fn layers(bytes: &[u8]) -> Result<Vec<(Digest, u64)>, String> {
    let manifest: ImageManifest = serde_json::from_slice(bytes).map_err(|_| "it is no image")?;
    let layers = manifest.layers.unwrap_or_default();
    let layer = |layer: Descriptor| {
        let digest = Digest::parse(&layer.digest).ok_or("it names a layer by a digest that is none")?;
        let elsewhere = layer.media_type.contains("foreign") || layer.media_type.contains("nondistributable");
        if elsewhere || layer.media_type.ends_with("+encrypted") {
            return Err(format!(
                "its layer {} is not for everybody (`{}`)",
                digest.short(),
                inert(&layer.media_type, 100)
            ));
        }
        let size = layer.size.ok_or("it has a layer without a size")?;
        let size = u64::try_from(size).map_err(|_| "it has a layer of a negative size")?;
        Ok((digest, size))
    };
    if layers.len() > LAYERS {
        return Err(format!("it has more than {LAYERS} layers"));
    }
    layers.into_iter().map(layer).collect()
}

/// The media type of a document that does not come with one, as in a layout folder.
pub(in super::super) fn guess_media_type(bytes: &[u8]) -> Option<String> {
    let declared: Declared = serde_json::from_slice(bytes).ok()?;
    declared.media_type.or_else(|| {
        let guess = if declared.manifests.is_some() { OCI_IMAGE_INDEX_MEDIA_TYPE } else { OCI_IMAGE_MEDIA_TYPE };
        Some(guess.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest_text(char: char) -> String {
        format!("sha256:{}", char.to_string().repeat(64))
    }

    #[test]
    fn a_manifest_is_what_it_is_served_as_and_one_thing_only() {
        let image = format!(
            r#"{{"schemaVersion":2,"mediaType":"{IMAGE_MANIFEST_MEDIA_TYPE}","config":{{"mediaType":"{IMAGE_DOCKER_CONFIG_MEDIA_TYPE}","digest":"{d}","size":1}},"layers":[]}}"#,
            d = digest_text('a')
        );
        let read =
            |media_type: &str, bytes: &str| resolution(digest_of(bytes.as_bytes()), media_type, bytes.as_bytes());
        assert_eq!(read(IMAGE_MANIFEST_MEDIA_TYPE, &image).map(|it| it.platforms), Ok(Vec::new()));
        assert!(read(OCI_IMAGE_MEDIA_TYPE, &image).is_err(), "served as something else");
        let chart = image.replace(IMAGE_DOCKER_CONFIG_MEDIA_TYPE, "application/vnd.cncf.helm.config.v1+json");
        let refused = read(IMAGE_MANIFEST_MEDIA_TYPE, &chart).err().unwrap_or_default();
        assert!(refused.contains("artifact of type `application/vnd.cncf.helm"), "{refused}");
        let artifact = image.replace("{\"schema", "{\"artifactType\":\"application/x\",\"schema");
        assert!(read(IMAGE_MANIFEST_MEDIA_TYPE, &artifact).is_err());
        assert!(read("text/html", "{}").is_err());
        let both = r#"{"schemaVersion":2,"manifests":[],"layers":[],"config":{}}"#;
        assert!(read(OCI_IMAGE_INDEX_MEDIA_TYPE, both).is_err(), "two things at once");
        let list = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"m","digest":"{}","size":1,"platform":{{"os":"linux","architecture":"amd64"}}}}]}}"#,
            digest_text('b')
        );
        let platforms = read(OCI_IMAGE_INDEX_MEDIA_TYPE, &list).map(|it| it.platforms).unwrap_or_default();
        assert_eq!((platforms[0].os.as_str(), platforms[0].architecture.as_str()), ("linux", "amd64"));
    }

    /// What nobody needs of a manifest may be missing.
    #[test]
    fn a_manifest_is_read_for_what_is_needed_of_it() {
        let read =
            |media_type: &str, bytes: &str| resolution(digest_of(bytes.as_bytes()), media_type, bytes.as_bytes());
        let config = format!(r#""config":{{"mediaType":"{IMAGE_CONFIG_MEDIA_TYPE}","digest":"{}"}}"#, digest_text('a'));
        for image in [
            format!("{{{config}}}"),
            format!(r#"{{{config},"layers":null,"schemaVersion":"2","annotations":null,"subject":7}}"#),
        ] {
            assert!(read(OCI_IMAGE_MEDIA_TYPE, &image).is_ok(), "{image}");
            assert_eq!(layers(image.as_bytes()), Ok(Vec::new()), "{image}");
            assert!(config_of(image.as_bytes()).is_some_and(|(_, config)| config.size.is_none()), "{image}");
        }
        let d = digest_text('b');
        let list = format!(
            r#"{{"manifests":[{{"digest":"{d}","platform":{{}}}},{{"digest":"{d}","platform":null,"size":"x"}},
                {{"digest":"{d}","platform":{{"os":"linux","architecture":"amd64","os.features":null}}}}]}}"#
        );
        let platforms = read(OCI_IMAGE_INDEX_MEDIA_TYPE, &list).map(|it| it.platforms).unwrap_or_default();
        assert_eq!((platforms.len(), platforms[0].os.as_str(), platforms[2].os.as_str()), (3, "", "linux"));
        assert!(read(OCI_IMAGE_INDEX_MEDIA_TYPE, r#"{"manifests":null}"#).is_err(), "an empty list");
    }
}
