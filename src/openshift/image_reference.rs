//! Pull specs as OpenShift parses and prints them (semantics 2.11), and digests.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::names::is_tag_name;

/// `algorithm:hex`, checked. The name of an image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Digest(String);

/// A pull spec in its parts. Parts are kept as written; defaults are only applied where a registry is contacted.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageReference {
    /// `host[:port]`, or empty.
    pub registry: String,
    /// First component of the path if there are several, or empty.
    pub namespace: String,
    /// The rest of the path; may contain slashes; empty for a bare registry.
    pub name: String,
    /// Tag, or empty.
    pub tag: String,
    /// Digest; wins over the tag.
    pub digest: Option<Digest>,
}

/// Why a pull spec was refused, in the API server's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReference {
    /// It does not match the grammar.
    #[error("invalid reference format")]
    Format,
    /// It would match in lower case.
    #[error("repository name must be lowercase")]
    UpperCase,
    /// The name has more than 255 characters.
    #[error("repository name must not be more than 255 characters")]
    TooLong,
}

impl Digest {
    /// Checks the form: an algorithm and at least 32 hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        let (algorithm, hex) = text.split_once(':')?;
        let good_algorithm = algorithm.split(['+', '.', '-', '_']).all(|part| {
            part.starts_with(|char: char| char.is_ascii_alphabetic())
                && part.chars().all(|char| char.is_ascii_alphanumeric())
        });
        let good_hex = hex.len() >= 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        // SHA-256 has exactly one length; the others are the registry's business.
        let good_length =
            algorithm != "sha256" || (hex.len() == 64 && !hex.bytes().any(|byte| byte.is_ascii_uppercase()));
        (good_algorithm && good_hex && good_length).then(|| Self(text.to_owned()))
    }

    /// SHA-256 digest from its 32 bytes.
    pub fn sha256(bytes: &[u8]) -> Self {
        Self(format!("sha256:{}", hex::encode(bytes)))
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The hex digits.
    pub fn hex(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, hex)| hex)
    }

    /// `sha256:` and the first twelve hex digits: enough for people.
    pub fn short(&self) -> &str {
        short_digest(&self.0)
    }
}

/// The part of a pull spec that tells images apart: its digest with twelve hex digits of it, or the whole where it has none.
pub fn short_image(pull_spec: &str) -> &str {
    pull_spec.rsplit_once('@').map_or(pull_spec, |(_, digest)| short_digest(digest))
}

/// An algorithm and the first twelve hex digits: enough for people.
pub fn short_digest(digest: &str) -> &str {
    let end = digest.find(':').map_or(12, |colon| colon + 13);
    digest.get(..end).unwrap_or(digest)
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&self.0)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl TryFrom<String> for Digest {
    type Error = InvalidReference;

    fn try_from(text: String) -> Result<Self, InvalidReference> {
        Self::parse(&text).ok_or(InvalidReference::Format)
    }
}

impl FromStr for ImageReference {
    type Err = InvalidReference;

    fn from_str(spec: &str) -> Result<Self, InvalidReference> {
        match split(spec) {
            Some(parts) if parts.name.len() > 255 => Err(InvalidReference::TooLong),
            Some(parts) => Ok(Self::of(&parts)),
            None if split(&spec.to_ascii_lowercase()).is_some() => Err(InvalidReference::UpperCase),
            None => Err(InvalidReference::Format),
        }
    }
}

impl ImageReference {
    fn of(parts: &Parts<'_>) -> Self {
        let mut reference = Self { tag: parts.tag.to_owned(), digest: parts.digest.clone(), ..Self::default() };
        let Some((first, rest)) = parts.name.split_once('/') else {
            // A bare host, whose port looks like a tag (semantics 2.11).
            if parts.name.contains('.') || parts.name.starts_with("localhost") {
                parts.name.clone_into(&mut reference.registry);
                if !parts.tag.is_empty() {
                    reference.registry = format!("{}:{}", parts.name, parts.tag);
                    reference.tag.clear();
                }
            } else {
                parts.name.clone_into(&mut reference.name);
            }
            return reference;
        };
        let path = if first.contains(['.', ':']) || first == "localhost" {
            first.clone_into(&mut reference.registry);
            rest
        } else {
            parts.name
        };
        match path.split_once('/') {
            Some((namespace, name)) => {
                namespace.clone_into(&mut reference.namespace);
                name.clone_into(&mut reference.name);
            }
            None => path.clone_into(&mut reference.name),
        }
        reference
    }

    /// Repository as written: registry, namespace, name.
    pub fn repository(&self) -> String {
        let parts = [&self.registry, &self.namespace, &self.name];
        parts.into_iter().filter(|part| !part.is_empty()).map(String::as_str).collect::<Vec<_>>().join("/")
    }

    /// The same repository at that digest: what imports write into status (semantics 2.2).
    pub fn at(&self, digest: &Digest) -> String {
        format!("{}@{digest}", self.repository())
    }

    /// With the defaults of the Docker client: where a registry would be asked (semantics 2.11).
    #[must_use]
    pub fn with_defaults(&self) -> Self {
        let mut full = self.clone();
        if full.registry.is_empty() {
            "docker.io".clone_into(&mut full.registry);
        }
        if full.namespace.is_empty() && is_docker_hub(&full.registry) {
            "library".clone_into(&mut full.namespace);
        }
        if full.digest.is_some() {
            full.tag.clear();
        } else if full.tag.is_empty() {
            "latest".clone_into(&mut full.tag);
        }
        full
    }

    /// Path of the repository at its registry, after [`Self::with_defaults`].
    pub fn path(&self) -> String {
        if self.namespace.is_empty() { self.name.clone() } else { format!("{}/{}", self.namespace, self.name) }
    }

    /// Tag or digest, after [`Self::with_defaults`].
    pub fn version(&self) -> &str {
        self.digest.as_ref().map_or(&self.tag, Digest::as_str)
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.repository())?;
        if !self.tag.is_empty() {
            write!(out, ":{}", self.tag)?;
        }
        if let Some(digest) = &self.digest {
            write!(out, "@{digest}")?;
        }
        Ok(())
    }
}

fn is_docker_hub(registry: &str) -> bool {
    matches!(registry, "docker.io" | "index.docker.io" | "registry-1.docker.io")
}

struct Parts<'a> {
    name: &'a str,
    tag: &'a str,
    digest: Option<Digest>,
}

fn split(spec: &str) -> Option<Parts<'_>> {
    let (rest, digest) = match spec.split_once('@') {
        Some((rest, digest)) => (rest, Some(Digest::parse(digest)?)),
        None => (spec, None),
    };
    let last = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match rest[last..].find(':') {
        Some(colon) => (&rest[..last + colon], &rest[last + colon + 1..]),
        None => (rest, ""),
    };
    let has_empty_tag = rest.len() > name.len() && tag.is_empty();
    (is_name(name) && !has_empty_tag && (tag.is_empty() || is_tag_name(tag))).then_some(Parts { name, tag, digest })
}

fn is_name(name: &str) -> bool {
    let mut components = name.split('/');
    let first = components.next().unwrap_or_default();
    let mut rest = components.peekable();
    let good_first = if rest.peek().is_some() { is_domain(first) || is_component(first) } else { is_component(first) };
    good_first && rest.all(is_component)
}

/// `host[:port]`, in any case: labels of letters, digits and inner dashes.
fn is_domain(text: &str) -> bool {
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let good_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    host.split('.').all(good_label)
        && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

/// Lower-case letters and digits with single `.` or `_`, a double `__`, or any run of `-` between them.
fn is_component(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends =
        bytes.first().is_some_and(|&byte| alphanumeric(byte)) && bytes.last().is_some_and(|&byte| alphanumeric(byte));
    let good_separator = |run: &str| matches!(run, "" | "." | "_" | "__") || run.bytes().all(|byte| byte == b'-');
    ends && text.split(|char: char| u8::try_from(char).is_ok_and(alphanumeric)).all(good_separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pull_specs_are_parsed_as_openshift_does() {
        // spec, registry, namespace, name, tag (semantics 2.11, statement 70)
        let table = [
            ("ruby", "", "", "ruby", ""),
            ("ruby:2.5", "", "", "ruby", "2.5"),
            ("centos/ruby:2.5", "", "centos", "ruby", "2.5"),
            ("quay.io/a/b/c:1", "quay.io", "a", "b/c", "1"),
            ("quay.io/foo", "quay.io", "", "foo", ""),
            ("localhost/x", "localhost", "", "x", ""),
            ("localhost:5000/x:y", "localhost:5000", "", "x", "y"),
            ("127.0.0.1:5443/lab/app0:1.1", "127.0.0.1:5443", "lab", "app0", "1.1"),
            ("my.image:1", "my.image:1", "", "", ""),
            ("a/b", "", "a", "b", ""),
            (
                "image-registry.openshift-image-registry.svc:5000/ns/s",
                "image-registry.openshift-image-registry.svc:5000",
                "ns",
                "s",
                "",
            ),
            ("a__b/c---d.e_f", "", "a__b", "c---d.e_f", ""),
            ("localhost:5000", "localhost:5000", "", "", ""),
            ("localhost:5000/org", "localhost:5000", "", "org", ""),
            ("quay.io", "quay.io", "", "", ""),
            ("host:5000/ns/name:tag", "host:5000", "ns", "name", "tag"),
            ("host:5000/name", "host:5000", "", "name", ""),
            ("ns/library/name", "", "ns", "library/name", ""),
            ("ns/a/b/c", "", "ns", "a/b/c", ""),
            ("docker.io/name", "docker.io", "", "name", ""),
            ("index.docker.io/user/a/b:1", "index.docker.io", "user", "a/b", "1"),
        ];
        for (spec, registry, namespace, name, tag) in table {
            let parsed: ImageReference = spec.parse().unwrap_or_else(|error| panic!("{spec}: {error}"));
            let got = (&*parsed.registry, &*parsed.namespace, &*parsed.name, &*parsed.tag);
            assert_eq!(got, (registry, namespace, name, tag), "{spec}");
            assert_eq!(parsed.to_string(), spec, "printed as written");
        }
    }

    #[test]
    fn digests_and_lengths_are_where_openshift_sees_them() {
        let hex = "a".repeat(64);
        // Without a name before it, a digest is a tag.
        let lone: ImageReference = format!("sha256:{hex}").parse().expect("a name and a tag");
        assert_eq!((lone.name.as_str(), lone.tag.as_str(), lone.digest), ("sha256", hex.as_str(), None));
        let digest = format!("sha256:{hex}");
        for (spec, namespace, name, tag) in [
            (format!("name@{digest}"), "", "name", ""),
            (format!("ns/name@{digest}"), "ns", "name", ""),
            (format!("host:5000/ns/a/b@{digest}"), "ns", "a/b", ""),
            (format!("host:5000/ns/name:tag@{digest}"), "ns", "name", "tag"),
        ] {
            let parsed: ImageReference = spec.parse().unwrap_or_else(|error| panic!("{spec}: {error}"));
            assert_eq!((&*parsed.namespace, &*parsed.name, &*parsed.tag), (namespace, name, tag), "{spec}");
            assert_eq!(parsed.digest.as_ref().map(Digest::as_str), Some(digest.as_str()), "{spec}");
            assert_eq!(parsed.to_string(), spec, "printed as written");
        }
        // 255 characters of registry, namespace and name together, and no more.
        let of = |length: usize| format!("host:5000/{}/{}:tag", "n".repeat(63), "x".repeat(length));
        assert!(of(181).parse::<ImageReference>().is_ok());
        assert_eq!(of(182).parse::<ImageReference>(), Err(InvalidReference::TooLong));
    }

    #[test]
    fn wrong_pull_specs_are_refused_in_the_servers_words() {
        use InvalidReference::{Format, TooLong, UpperCase};
        let long = "a".repeat(256);
        let table = [
            ("::bad", Format),
            ("", Format),
            ("a:", Format),
            ("a/", Format),
            ("/a", Format),
            ("a//b", Format),
            ("a b", Format),
            ("a@sha256:12", Format),
            ("a@sha256:00000000000000000000000000000001", Format),
            ("a@badid", Format),
            ("@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", Format),
            (":tag", Format),
            ("r.io/foo/bar/:Tag", Format),
            ("//foo/baz", Format),
            ("a////b", Format),
            ("ftp://a/b", Format),
            ("r:3000/ns/imageStream:x", UpperCase),
            ("-a", Format),
            ("a___b", Format),
            ("quay.io/Foo/Bar:1", UpperCase),
            ("Ruby", UpperCase),
            (long.as_str(), TooLong),
            ("https://quay.io/a/b", Format),
            ("a:b:c", Format),
            ("${X}/b", Format),
        ];
        for (spec, error) in table {
            assert_eq!(spec.parse::<ImageReference>(), Err(error), "{spec}");
        }
    }

    #[test]
    fn client_defaults_apply_only_on_request() {
        // Statement 71.
        let table = [
            ("foo", "docker.io/library/foo:latest"),
            ("quay.io/foo", "quay.io/foo:latest"),
            ("a/b:1", "docker.io/a/b:1"),
            ("docker.io/foo:1", "docker.io/library/foo:1"),
        ];
        for (spec, full) in table {
            let parsed: ImageReference = spec.parse().expect("the table is right");
            assert_eq!(parsed.with_defaults().to_string(), full);
        }
        let digest = format!("sha256:{}", "a".repeat(64));
        let both: ImageReference = format!("foo:1@{digest}").parse().expect("tag and digest together");
        assert_eq!(both.with_defaults().version(), digest, "the digest wins");
    }

    #[test]
    fn digests_are_checked() {
        let good = format!("sha256:{}", "0".repeat(64));
        assert_eq!(
            Digest::parse(&good).map(|digest| digest.short().to_owned()).as_deref(),
            Some("sha256:000000000000")
        );
        for bad in [
            "sha256:",
            "sha256:abc",
            "nothing",
            &format!("sha256:{}", "g".repeat(64)),
            &format!("sha256:{}", "0".repeat(63)),
        ] {
            assert_eq!(Digest::parse(bad), None, "{bad}");
        }
    }
}
