//! Who answers in a registry's place (semantics 3.7; containers-registries.conf(5)).
//!
//! The longest source that is a prefix of `host/repository` counts. Its mirrors are asked in order, then the source itself,
//! unless that is forbidden. (OpenShift's importer contacts the source even then; here people's word counts.) What is written
//! down is always the source's spelling.

mod file;

use std::collections::BTreeMap;

use crate::model::MirrorPulls;
use crate::openshift::ImageReference;

use super::auth::canonical;

pub use file::read;

/// Mirrors by source: `host`, `host/path` or `*.host`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirrors {
    rules: BTreeMap<String, Rule>,
}

/// What holds for a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// In the order they are asked.
    pub mirrors: Vec<Mirror>,
    /// Where the source really is, if it is not where its name says (`location` of registries.conf).
    pub location: Option<String>,
    /// The source is not asked.
    pub never_source: bool,
    /// Nothing is imported from it.
    pub blocked: bool,
    /// TLS of the source need not be verified.
    pub insecure: bool,
}

/// One mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// `host` or `host/path`: stands for the source's prefix.
    pub location: String,
    /// What it is asked for.
    pub pulls: MirrorPulls,
    /// TLS need not be verified.
    pub insecure: bool,
}

/// A place to ask for a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Whose pull secrets may be shown; empty: none may.
    pub(super) namespace: String,
    pub(super) reference: ImageReference,
    pub(super) insecure: bool,
    pub(super) is_source: bool,
}

impl Mirrors {
    /// Adds a rule; of a source that has one already, mirrors come after those that are there, as OpenShift merges them.
    ///
    /// # Errors
    ///
    /// When the source or a mirror is no place for images.
    pub fn add(&mut self, source: &str, rule: Rule) -> Result<(), String> {
        let source = source.trim_end_matches('/');
        let places = rule.mirrors.iter().map(|mirror| &mirror.location).chain(&rule.location);
        for place in places {
            if image_at(place, "/x").is_none() {
                return Err(format!("`{}` is no place for images", crate::source::inert(place, 200)));
            }
        }
        let example = source.replacen("*.", "x.", usize::from(source.starts_with("*.")));
        if image_at(&example, "/x").is_none() {
            return Err(format!("`{}` is no source of images", crate::source::inert(source, 200)));
        }
        let Rule { mirrors, location, never_source, blocked, insecure } = rule;
        let (host, rest) =
            source.split_once('/').map_or((source, String::new()), |(host, rest)| (host, format!("/{rest}")));
        let known = self.rules.entry(format!("{}{rest}", canonical(host))).or_default();
        for mirror in mirrors {
            if !known.mirrors.contains(&mirror) {
                known.mirrors.push(mirror);
            }
        }
        known.location = known.location.take().or(location);
        known.never_source |= never_source;
        known.blocked |= blocked;
        known.insecure |= insecure;
        Ok(())
    }

    /// These and the others.
    ///
    /// # Errors
    ///
    /// As [`Self::add`].
    pub fn and(mut self, others: Self) -> Result<Self, String> {
        for (source, rule) in others.rules {
            self.add(&source, rule)?;
        }
        Ok(self)
    }

    /// The rule for a reference, and the prefix that it stands for.
    fn rule(&self, full: &str) -> Option<(&Rule, usize)> {
        let prefix = |source: &str| match source.strip_prefix("*.") {
            // Any name below, at any depth (containers-registries.conf(5), `prefix`).
            Some(domain) => {
                let host = full.split('/').next().unwrap_or_default();
                (host.len() > domain.len()
                    && host.ends_with(domain)
                    && host[..host.len() - domain.len()].ends_with('.'))
                .then_some(host.len())
            }
            None => {
                let rest = full.strip_prefix(source)?;
                (rest.is_empty() || rest.starts_with(['/', ':', '@'])).then_some(source.len())
            }
        };
        let fitting = self.rules.iter().filter_map(|(source, rule)| Some((rule, prefix(source)?, source.len())));
        fitting.max_by_key(|(_, _, length)| *length).map(|(rule, prefix, _)| (rule, prefix))
    }

    /// Whether nothing may be imported from there.
    pub(super) fn blocks(&self, reference: &ImageReference) -> bool {
        self.rule(&full(reference)).is_some_and(|(rule, _)| rule.blocked)
    }

    /// Where to ask for a reference, in order; nowhere, where neither a mirror nor the source may be asked.
    pub(super) fn places(&self, reference: &ImageReference, insecure: bool) -> Vec<Place> {
        let full = full(reference);
        let Some((rule, prefix)) = self.rule(&full) else {
            return vec![Place { namespace: String::new(), reference: reference.clone(), insecure, is_source: true }];
        };
        let rest = &full[prefix..];
        let pulled = |mirror: &&Mirror| match mirror.pulls {
            MirrorPulls::All => true,
            MirrorPulls::Digests => reference.digest.is_some(),
            // A tag that was resolved has both: the mirror that knew the tag has its image.
            MirrorPulls::Tags => reference.digest.is_none() || !reference.tag.is_empty(),
        };
        let mut places: Vec<Place> = Vec::new();
        for mirror in rule.mirrors.iter().filter(pulled) {
            if let Some(reference) = image_at(&mirror.location, rest) {
                // The source's setting is used for its mirrors too (semantics 3.7).
                places.push(Place {
                    namespace: String::new(),
                    reference,
                    insecure: insecure || mirror.insecure,
                    is_source: false,
                });
            }
        }
        if !rule.never_source {
            let moved = rule.location.as_ref().and_then(|location| image_at(location, rest));
            let insecure = insecure || rule.insecure;
            places.push(Place {
                namespace: String::new(),
                reference: moved.unwrap_or_else(|| reference.clone()),
                insecure,
                is_source: true,
            });
        }
        places
    }
}

/// `host/repository[:tag][@digest]`, under the host's one name.
fn full(reference: &ImageReference) -> String {
    ImageReference { registry: canonical(&reference.registry), ..reference.clone() }.to_string()
}

fn image_at(location: &str, rest: &str) -> Option<ImageReference> {
    let reference: ImageReference = format!("{}{rest}", location.trim_end_matches('/')).parse().ok()?;
    (!reference.registry.is_empty() && !reference.name.is_empty()).then(|| reference.with_defaults())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(mirrors: &[(&str, MirrorPulls)], never_source: bool) -> Rule {
        let mirror = |(location, pulls): &(&str, MirrorPulls)| Mirror {
            location: (*location).to_owned(),
            pulls: *pulls,
            insecure: false,
        };
        Rule { mirrors: mirrors.iter().map(mirror).collect(), never_source, ..Rule::default() }
    }

    fn places(mirrors: &Mirrors, reference: &str) -> String {
        let reference: ImageReference = reference.parse().expect("the table is right");
        let places = mirrors.places(&reference.with_defaults(), false);
        places.iter().map(|place| place.reference.to_string()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_longest_source_counts_and_the_source_comes_last() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let mut mirrors = Mirrors::default();
        let mut add = |source: &str, rule| mirrors.add(source, rule).expect("the table is right");
        add("quay.io", rule(&[("m.example.com/quay", MirrorPulls::All)], false));
        add(
            "quay.io/team",
            rule(&[("t.example.com:5000/team", MirrorPulls::Digests), ("u.example.com/u", MirrorPulls::Tags)], false),
        );
        add("index.docker.io", rule(&[("hub.example.com", MirrorPulls::All)], true));
        add("*.corp", rule(&[("all.example.com/corp", MirrorPulls::All)], true));
        let table = [
            ("quay.io/other/app:1".to_owned(), "m.example.com/quay/other/app:1 quay.io/other/app:1".to_owned()),
            ("quay.io/team/app:1".to_owned(), "u.example.com/u/app:1 quay.io/team/app:1".to_owned()),
            (
                format!("quay.io/team/app@{digest}"),
                format!("t.example.com:5000/team/app@{digest} quay.io/team/app@{digest}"),
            ),
            ("quay.io/teams/app:1".to_owned(), "m.example.com/quay/teams/app:1 quay.io/teams/app:1".to_owned()),
            ("nginx".to_owned(), "hub.example.com/library/nginx:latest".to_owned()),
            ("a.b.corp/x:1".to_owned(), "all.example.com/corp/x:1".to_owned()),
            ("corp.example.com/x:1".to_owned(), "corp.example.com/x:1".to_owned()),
            ("quay.iox/a/b:1".to_owned(), "quay.iox/a/b:1".to_owned()),
        ];
        for (reference, expected) in table {
            assert_eq!(places(&mirrors, &reference), expected, "{reference}");
        }
    }

    #[test]
    fn rules_of_one_source_are_merged() {
        let mut mirrors = Mirrors::default();
        mirrors.add("quay.io", rule(&[("a.example.com", MirrorPulls::All)], false)).expect("good");
        mirrors
            .add("quay.io/", rule(&[("a.example.com", MirrorPulls::All), ("b.example.com", MirrorPulls::All)], true))
            .expect("good");
        assert_eq!(places(&mirrors, "quay.io/a/b:1"), "a.example.com/a/b:1 b.example.com/a/b:1");
        assert!(mirrors.add("quay.io", rule(&[("not a place", MirrorPulls::All)], false)).is_err());
        assert!(mirrors.add("", rule(&[], false)).is_err());
    }
}
