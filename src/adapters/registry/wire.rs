//! What is asked of a registry and how its answers are read. Pure.

use oci_client::manifest::{
    IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE,
    OciImageIndex, OciImageManifest,
};
use serde::Deserialize;

use crate::model::{Digest, PlatformImage, Resolution};
use crate::text::inert;

/// Registries limit manifests to 4 MiB (distribution spec).
pub(super) const MANIFEST_LIMIT: usize = 4 * 1024 * 1024;
/// A page of tags; the largest known repositories send about 1 MiB.
pub(super) const TAGS_LIMIT: usize = 8 * 1024 * 1024;
/// Entries of an index. The largest known have a few dozen.
const INDEX_LIMIT: usize = 1000;

/// Every media type of an image or a list of images: a registry that is not told converts or refuses.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// A manifest as it was received, its digest computed from its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) digest: Digest,
    pub(super) media_type: String,
    pub(super) bytes: Vec<u8>,
}

/// SHA-256 over the bytes.
pub(super) fn digest_of(bytes: &[u8]) -> Digest {
    Digest::sha256(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

/// Reads a manifest whose bytes have been checked.
pub(super) fn resolution(digest: Digest, media_type: &str, bytes: &[u8]) -> Result<Resolution, String> {
    let bad = |error: serde_json::Error| {
        format!("the manifest {} cannot be read: {}", digest.short(), inert(&error.to_string(), 160))
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
    let platforms = match media_type {
        IMAGE_MANIFEST_LIST_MEDIA_TYPE | OCI_IMAGE_INDEX_MEDIA_TYPE => {
            let index: OciImageIndex = serde_json::from_slice(bytes).map_err(bad)?;
            platforms(&digest, index)?
        }
        IMAGE_MANIFEST_MEDIA_TYPE | OCI_IMAGE_MEDIA_TYPE => {
            let _: OciImageManifest = serde_json::from_slice(bytes).map_err(bad)?;
            Vec::new()
        }
        other => return Err(format!("`{}` is not an image", inert(other, 100))),
    };
    Ok(Resolution { digest, media_type: media_type.to_owned(), platforms })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Declared {
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
    config: Option<serde::de::IgnoredAny>,
}

fn platforms(digest: &Digest, index: OciImageIndex) -> Result<Vec<PlatformImage>, String> {
    if index.manifests.is_empty() {
        return Err(format!("the list {} has no images", digest.short()));
    }
    if index.manifests.len() > INDEX_LIMIT {
        return Err(format!("the list {} has more than {INDEX_LIMIT} images", digest.short()));
    }
    let platform = |entry: oci_client::manifest::ImageIndexEntry| {
        let digest = Digest::parse(&entry.digest)
            .ok_or_else(|| format!("the list {} names a digest that is none", digest.short()))?;
        let (os, architecture, variant) = entry.platform.map_or_else(Default::default, |platform| {
            (platform.os.to_string(), platform.architecture.to_string(), platform.variant.unwrap_or_default())
        });
        Ok(PlatformImage { digest, os, architecture, variant })
    };
    index.manifests.into_iter().map(platform).collect()
}

/// Digest and media type of an image's config; none for lists.
pub(super) fn config_of(bytes: &[u8]) -> Option<(Digest, String)> {
    let manifest: OciImageManifest = serde_json::from_slice(bytes).ok()?;
    Some((Digest::parse(&manifest.config.digest)?, manifest.config.media_type))
}

/// The media type of a document that does not come with one, as in a layout folder.
pub(super) fn guess_media_type(bytes: &[u8]) -> Option<String> {
    let declared: Declared = serde_json::from_slice(bytes).ok()?;
    declared.media_type.or_else(|| {
        let guess = if declared.manifests.is_some() { OCI_IMAGE_INDEX_MEDIA_TYPE } else { OCI_IMAGE_MEDIA_TYPE };
        Some(guess.to_owned())
    })
}

/// What a token service and a scope are, from a `WWW-Authenticate` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Fetch a token there (distribution token specification).
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
    /// Send user and password (RFC 7617).
    Basic,
}

/// Reads the challenge to answer: a token if one is offered.
pub(super) fn challenge(header: &str) -> Option<Challenge> {
    let challenges = http_auth::parse_challenges(header).ok()?;
    let bearer = challenges.iter().find(|challenge| challenge.scheme.eq_ignore_ascii_case("bearer"));
    if let Some(bearer) = bearer {
        let value = |name: &str| {
            bearer.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_unescaped())
        };
        return Some(Challenge::Bearer { realm: value("realm")?, service: value("service"), scope: value("scope") });
    }
    challenges.iter().any(|challenge| challenge.scheme.eq_ignore_ascii_case("basic")).then_some(Challenge::Basic)
}

/// A token as services send it, under either name.
#[derive(Deserialize)]
pub(super) struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    /// Seconds; 60 when it is not said (distribution token specification).
    pub(super) expires_in: Option<u64>,
}

impl TokenAnswer {
    pub(super) fn into_token(self) -> Option<(String, u64)> {
        let seconds = self.expires_in.unwrap_or(60);
        self.token.or(self.access_token).filter(|token| !token.is_empty()).map(|token| (token, seconds))
    }
}

/// The first error of a registry's answer: its code and message, made inert.
pub(super) fn error_of(bytes: &[u8]) -> Option<(String, String)> {
    #[derive(Deserialize)]
    struct Answer {
        errors: Vec<Error>,
    }
    #[derive(Deserialize)]
    struct Error {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let answer: Answer = serde_json::from_slice(bytes).ok()?;
    let error = answer.errors.into_iter().next()?;
    Some((inert(&error.code, 60), inert(&error.message, 200)))
}

/// A page of tags; `null` where a repository has none.
pub(super) fn tags(bytes: &[u8]) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct Page {
        tags: Option<Vec<String>>,
    }
    serde_json::from_slice::<Page>(bytes).ok().map(|page| page.tags.unwrap_or_default())
}

/// The target of `rel="next"` in a `Link` header (RFC 8288).
pub(super) fn next_page(link: &str) -> Option<&str> {
    link.split(',').find_map(|part| {
        let (target, parameters) = part.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = parameters.split(';').any(|parameter| {
            let parameter = parameter.trim();
            parameter == "rel=next" || parameter == "rel=\"next\""
        });
        is_next.then_some(target)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(char: char) -> String {
        format!("sha256:{}", char.to_string().repeat(64))
    }

    #[test]
    fn challenges_are_read() {
        let header =
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull""#;
        let expected = Challenge::Bearer {
            realm: "https://auth.docker.io/token".to_owned(),
            service: Some("registry.docker.io".to_owned()),
            scope: Some("repository:a/b:pull".to_owned()),
        };
        assert_eq!(challenge(header), Some(expected));
        assert_eq!(challenge("Basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(challenge("Negotiate"), None);
        assert_eq!(challenge("Bearer"), None);
    }

    #[test]
    fn links_are_read() {
        assert_eq!(next_page(r#"</v2/a/tags/list?last=x&n=2>; rel="next""#), Some("/v2/a/tags/list?last=x&n=2"));
        assert_eq!(next_page(r#"<a>; rel="prev", <b>; rel=next"#), Some("b"));
        assert_eq!(next_page("nonsense"), None);
    }

    #[test]
    fn a_manifest_is_what_it_is_served_as_and_one_thing_only() {
        let image = format!(
            r#"{{"schemaVersion":2,"mediaType":"{IMAGE_MANIFEST_MEDIA_TYPE}","config":{{"mediaType":"x","digest":"{d}","size":1}},"layers":[]}}"#,
            d = hex('a')
        );
        let read =
            |media_type: &str, bytes: &str| resolution(digest_of(bytes.as_bytes()), media_type, bytes.as_bytes());
        assert_eq!(read(IMAGE_MANIFEST_MEDIA_TYPE, &image).map(|it| it.platforms), Ok(Vec::new()));
        assert!(read(OCI_IMAGE_MEDIA_TYPE, &image).is_err(), "served as something else");
        assert!(read("text/html", "{}").is_err());
        let both = r#"{"schemaVersion":2,"manifests":[],"layers":[],"config":{}}"#;
        assert!(read(OCI_IMAGE_INDEX_MEDIA_TYPE, both).is_err(), "two things at once");
        let list = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"m","digest":"{}","size":1,"platform":{{"os":"linux","architecture":"amd64"}}}}]}}"#,
            hex('b')
        );
        let platforms = read(OCI_IMAGE_INDEX_MEDIA_TYPE, &list).map(|it| it.platforms).unwrap_or_default();
        assert_eq!((platforms[0].os.as_str(), platforms[0].architecture.as_str()), ("linux", "amd64"));
    }

    #[test]
    fn errors_are_read_and_made_inert() {
        let body = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no \u001b[31msuch"}]}"#;
        assert_eq!(error_of(body), Some(("MANIFEST_UNKNOWN".to_owned(), "no \\u{1b}[31msuch".to_owned())));
    }
}
