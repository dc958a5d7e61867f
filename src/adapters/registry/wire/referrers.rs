//! What refers to an image (OCI distribution specification 1.1, "Listing Referrers").

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::source::inert;

/// Signatures: cosign's, Notary's.
const SIGNATURES: [&str; 2] =
    ["application/vnd.dev.cosign.artifact.sig.v1+json", "application/vnd.cncf.notary.signature"];
/// Attestations: of in-toto, by themselves or in cosign's wrapping.
const ATTESTATIONS: [&str; 3] = [
    "application/vnd.in-toto+json",
    "application/vnd.dev.cosign.artifact.att.v1+json",
    "application/vnd.dsse.envelope.v1+json",
];
/// Entries of one list.
const ENTRIES: usize = 1000;
/// Sigstore's bundles hold either; what they are about says which.
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";
const PREDICATE: &str = "dev.sigstore.bundle.predicateType";
const SIGNING: &str = "https://sigstore.dev/cosign/sign/v1";

/// Something that refers to an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Referrer {
    /// Its artifact type, or the media type where it has none.
    pub(in super::super) kind: String,
    predicate: Option<String>,
}

impl Referrer {
    /// Whether it says who stands for the image. A bundle that does not say what it is about is a signature: older ones were.
    pub(in super::super) fn is_signature(&self) -> bool {
        let is_about_signing = self.predicate.as_ref().is_none_or(|predicate| predicate == SIGNING);
        SIGNATURES.contains(&self.kind.as_str()) || (self.kind.starts_with(BUNDLE) && is_about_signing)
    }

    /// Whether it says how the image was made.
    pub(in super::super) fn is_attestation(&self) -> bool {
        ATTESTATIONS.contains(&self.kind.as_str()) || (self.kind.starts_with(BUNDLE) && !self.is_signature())
    }
}

/// Reads a list of them.
///
/// # Errors
///
/// In words, when it is no index.
pub(in super::super) fn referrers(bytes: &[u8]) -> Result<Vec<Referrer>, String> {
    #[derive(Deserialize)]
    struct Index {
        // Some write an empty list as null.
        manifests: Option<Vec<Entry>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Entry {
        #[serde(default)]
        media_type: String,
        #[serde(default)]
        artifact_type: Option<String>,
        #[serde(default)]
        annotations: Option<BTreeMap<String, String>>,
    }
    let unreadable = "the list of referrers cannot be read";
    let root: serde_json::Value = serde_json::from_slice(bytes).map_err(|_| unreadable)?;
    if root.get("manifests").is_none() {
        return Err(unreadable.to_owned());
    }
    let index: Index = serde_json::from_value(root).map_err(|_| unreadable)?;
    let entries = index.manifests.unwrap_or_default();
    if entries.len() > ENTRIES {
        return Err(format!("the list of referrers has more than {ENTRIES} entries"));
    }
    let referrer = |entry: Entry| Referrer {
        kind: inert(&entry.artifact_type.filter(|kind| !kind.is_empty()).unwrap_or(entry.media_type), 120),
        predicate: entry.annotations.and_then(|mut annotations| annotations.remove(PREDICATE)),
    };
    Ok(entries.into_iter().map(referrer).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_and_attestations_are_told_apart() {
        let list = |entries: &str| format!(r#"{{"schemaVersion":2,"manifests":[{entries}]}}"#);
        let bundle = |about: &str| {
            format!(
                r#"{{"mediaType":"m","artifactType":"application/vnd.dev.sigstore.bundle.v0.3+json","annotations":{{{about}}}}}"#
            )
        };
        let slsa = bundle(r#""dev.sigstore.bundle.predicateType":"https://slsa.dev/provenance/v1""#);
        let sign = bundle(r#""dev.sigstore.bundle.predicateType":"https://sigstore.dev/cosign/sign/v1""#);
        let notary = r#"{"mediaType":"m","artifactType":"application/vnd.cncf.notary.signature"}"#.to_owned();
        let sbom = r#"{"mediaType":"m","artifactType":"application/spdx+json"}"#.to_owned();
        for (entry, expected) in [
            (bundle(""), (true, false)),
            (sign, (true, false)),
            (slsa, (false, true)),
            (notary, (true, false)),
            (sbom, (false, false)),
        ] {
            let read = referrers(list(&entry).as_bytes()).unwrap_or_default();
            assert_eq!((read[0].is_signature(), read[0].is_attestation()), expected, "{entry}");
        }
        assert_eq!(referrers(br#"{"manifests":[]}"#), Ok(Vec::new()));
        assert_eq!(referrers(br#"{"manifests":null}"#), Ok(Vec::new()));
        assert!(referrers(b"{}").is_err() && referrers(b"<html>").is_err());
    }
}
