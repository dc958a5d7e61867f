//! Files that mirrors are kept in: `registries.conf` (version 2) and OpenShift's ImageDigestMirrorSet, ImageTagMirrorSet and
//! ImageContentSourcePolicy.

use std::path::Path;

use serde::Deserialize;

use crate::model::MirrorPulls;
use crate::ports::PortError;
use crate::source::{inert, yaml_mistake};

use super::{Mirror, Mirrors, Rule};

/// Reads a file of either kind; what it says besides of mirrors is passed over.
///
/// # Errors
///
/// When it cannot be read, or has a mistake.
pub fn read(path: &Path) -> Result<Mirrors, PortError> {
    let what = || format!("the mirrors in `{}`", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| PortError::failed(format!("read {}", what()), error))?;
    let is_toml = path.extension().is_some_and(|extension| extension == "conf" || extension == "toml");
    let mirrors = if is_toml { registries_conf(&text) } else { mirror_sets(&text) };
    mirrors.map_err(|why| PortError::Unusable { what: what(), why })
}

#[derive(Deserialize)]
struct RegistriesConf {
    #[serde(default)]
    registry: Vec<Registry>,
    /// Of version 1, which nobody reads any more.
    registries: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Registry {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<RegistryMirror>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RegistryMirror {
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    pull_from_mirror: String,
}

fn registries_conf(text: &str) -> Result<Mirrors, String> {
    let file: RegistriesConf = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(0, |span| text[..span.start].lines().count().max(1));
        format!("line {line}: {}", inert(error.message(), 200))
    })?;
    if file.registries.is_some() {
        return Err("it is a `registries.conf` of version 1; write `[[registry]]` tables".to_owned());
    }
    let mut mirrors = Mirrors::default();
    for registry in file.registry {
        let Registry { prefix, location, insecure, blocked, mirror_by_digest_only, mirror } = registry;
        let source = if prefix.is_empty() { location.clone() } else { prefix };
        let mut rule = Rule { insecure, blocked, ..Rule::default() };
        rule.location = Some(location).filter(|location| !location.is_empty() && *location != source);
        for RegistryMirror { location, insecure, pull_from_mirror } in mirror {
            let pulls = match pull_from_mirror.as_str() {
                "digest-only" => MirrorPulls::Digests,
                "tag-only" => MirrorPulls::Tags,
                "" if mirror_by_digest_only => MirrorPulls::Digests,
                "" | "all" => MirrorPulls::All,
                other => return Err(format!("`pull-from-mirror` is `{}`", inert(other, 60))),
            };
            rule.mirrors.push(Mirror { location, pulls, insecure });
        }
        mirrors.add(&source, rule)?;
    }
    Ok(mirrors)
}

/// An object of OpenShift's, or a list of them. Kinds that say nothing of mirrors have no lists.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Object {
    kind: String,
    items: Vec<Object>,
    spec: Spec,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    image_digest_mirrors: Vec<MirrorSet>,
    image_tag_mirrors: Vec<MirrorSet>,
    repository_digest_mirrors: Vec<MirrorSet>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MirrorSet {
    source: String,
    #[serde(default)]
    mirrors: Vec<String>,
    #[serde(default)]
    mirror_source_policy: String,
}

fn mirror_sets(text: &str) -> Result<Mirrors, String> {
    let objects: Vec<Object> = serde_saphyr::from_multiple(text).map_err(|error| {
        let line = error.location().map_or(String::new(), |at| format!("line {}: ", at.line()));
        format!("{line}{}", yaml_mistake(&error))
    })?;
    let mut mirrors = Mirrors::default();
    for object in objects {
        add(&mut mirrors, object)?;
    }
    Ok(mirrors)
}

fn add(mirrors: &mut Mirrors, object: Object) -> Result<(), String> {
    let Object { kind, items, spec } = object;
    for item in items {
        add(mirrors, item)?;
    }
    let sets = match kind.as_str() {
        "ImageDigestMirrorSet" => spec.image_digest_mirrors,
        "ImageTagMirrorSet" => spec.image_tag_mirrors,
        "ImageContentSourcePolicy" => spec.repository_digest_mirrors,
        _ => return Ok(()),
    };
    let pulls = if kind == "ImageTagMirrorSet" { MirrorPulls::Tags } else { MirrorPulls::Digests };
    for MirrorSet { source, mirrors: locations, mirror_source_policy } in sets {
        let mirror = |location| Mirror { location, pulls, insecure: false };
        let never_source = mirror_source_policy == "NeverContactSource";
        mirrors.add(
            &source,
            Rule { mirrors: locations.into_iter().map(mirror).collect(), never_source, ..Rule::default() },
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openshift::ImageReference;

    fn places(mirrors: &Mirrors, reference: &str) -> Vec<String> {
        let reference: ImageReference = reference.parse().expect("the table is right");
        let places = mirrors.places(&reference.with_defaults(), false);
        places
            .iter()
            .map(|place| format!("{}{}", place.reference, if place.insecure { " insecure" } else { "" }))
            .collect()
    }

    #[test]
    fn registries_conf_is_read() {
        let text = r#"
unqualified-search-registries = ["docker.io"]
[[registry]]
prefix = "quay.io/team"
location = "quay.io/other"
mirror-by-digest-only = false
[[registry.mirror]]
location = "m.example.com:5000/team"
insecure = true
pull-from-mirror = "tag-only"
[[registry]]
location = "bad.example.com"
blocked = true
"#;
        let mirrors = registries_conf(text).expect("a good file");
        assert_eq!(
            places(&mirrors, "quay.io/team/app:1"),
            ["m.example.com:5000/team/app:1 insecure", "quay.io/other/app:1"]
        );
        let bad: ImageReference = "bad.example.com/x:1".parse().expect("a reference");
        assert!(mirrors.blocks(&bad));
        assert!(registries_conf("[registries.search]\nregistries = []\n").is_err());
        assert!(registries_conf("[[registry]\n").is_err_and(|error| error.contains("line 1")));
    }

    #[test]
    fn mirror_sets_of_all_kinds_are_read() {
        let text = "
apiVersion: config.openshift.io/v1
kind: ImageDigestMirrorSet
metadata: {name: a}
spec:
  imageDigestMirrors:
    - {source: quay.io/team, mirrors: [d.example.com/team], mirrorSourcePolicy: NeverContactSource}
---
apiVersion: v1
kind: List
items:
  - kind: ImageTagMirrorSet
    spec: {imageTagMirrors: [{source: registry.example.com, mirrors: [t.example.com/r]}]}
  - kind: ImageContentSourcePolicy
    spec: {repositoryDigestMirrors: [{source: registry.example.com, mirrors: [i.example.com/r]}]}
  - kind: ConfigMap
";
        let mirrors = mirror_sets(text).expect("a good file");
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(places(&mirrors, &format!("quay.io/team/x@{digest}")), [format!("d.example.com/team/x@{digest}")]);
        assert_eq!(places(&mirrors, "registry.example.com/x:1"), ["t.example.com/r/x:1", "registry.example.com/x:1"]);
        assert_eq!(places(&mirrors, &format!("registry.example.com/x@{digest}")).len(), 2);
        assert!(mirror_sets("kind: [").is_err());
    }
}
