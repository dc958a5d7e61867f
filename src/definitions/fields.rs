//! Which fields an ImageStream has, and what to say of one it does not have there.

use std::collections::BTreeSet;

use crate::findings::Code;
use crate::source::{Node, inert};

use super::reader::Reader;

/// The fields of one map of an ImageStream.
pub(super) struct Fields {
    /// Where the map is, for sentences.
    pub(super) at: &'static str,
    known: &'static [&'static str],
    /// Fields that the server owns: allowed, ignored, reported.
    server: &'static [&'static str],
    /// Fields whose absence is a finding of its own.
    required: &'static [&'static str],
}

/// Whether a key is a field's name in another case.
pub(super) fn is_miswritten(key: Option<&str>, name: &str) -> bool {
    key.is_some_and(|key| key != name && key.eq_ignore_ascii_case(name))
}

pub(super) const STREAM: Fields = Fields {
    at: "an ImageStream",
    known: &["apiVersion", "kind", "metadata", "spec"],
    server: &["status"],
    required: &[],
};

pub(super) const METADATA: Fields = Fields {
    at: "metadata",
    known: &["name", "namespace", "labels", "annotations", "generateName", "finalizers", "ownerReferences"],
    server: &[
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "selfLink",
        "managedFields",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "clusterName",
    ],
    required: &[],
};

pub(super) const SPEC: Fields =
    Fields { at: "spec", known: &["lookupPolicy", "dockerImageRepository", "tags"], server: &[], required: &[] };

pub(super) const LOOKUP_POLICY: Fields =
    Fields { at: "spec.lookupPolicy", known: &["local"], server: &[], required: &[] };

pub(super) const TAG: Fields = Fields {
    at: "a tag",
    known: &["name", "annotations", "from", "reference", "importPolicy", "referencePolicy"],
    server: &["generation"],
    required: &[],
};

pub(super) const FROM: Fields = Fields {
    at: "from",
    known: &["kind", "name", "namespace", "apiVersion", "fieldPath"],
    server: &["uid", "resourceVersion"],
    required: &["kind", "name"],
};

pub(super) const IMPORT_POLICY: Fields =
    Fields { at: "importPolicy", known: &["insecure", "scheduled", "importMode"], server: &[], required: &[] };

pub(super) const REFERENCE_POLICY: Fields =
    Fields { at: "referencePolicy", known: &["type"], server: &[], required: &[] };

/// Where a field belongs whose name has only one home.
const HOMES: &[(&str, &str)] = &[
    ("spec", "spec, beside metadata"),
    ("status", "status, beside spec"),
    ("metadata", "metadata, beside spec"),
    ("tags", "spec.tags"),
    ("lookupPolicy", "spec.lookupPolicy"),
    ("dockerImageRepository", "spec.dockerImageRepository"),
    ("from", "spec.tags[].from"),
    ("importPolicy", "spec.tags[].importPolicy"),
    ("referencePolicy", "spec.tags[].referencePolicy"),
    ("scheduled", "spec.tags[].importPolicy.scheduled"),
    ("insecure", "spec.tags[].importPolicy.insecure"),
    ("importMode", "spec.tags[].importPolicy.importMode"),
    ("labels", "metadata.labels"),
    ("annotations", "metadata.annotations"),
    ("namespace", "metadata.namespace, or in `from` of an ImageStreamTag"),
    ("local", "spec.lookupPolicy.local"),
];

impl Reader<'_> {
    /// Reports the fields of a map that do not belong there. Gives the first that is not known at all.
    pub(super) fn check_fields(&mut self, node: &Node, fields: &Fields) -> Option<String> {
        let mut unknown = None;
        let Fields { at, known, server, required } = fields;
        let present: BTreeSet<&str> = node.entries().iter().filter_map(|entry| entry.key.text()).collect();
        for entry in node.entries() {
            let Some(key) = entry.key.text() else {
                self.report(self.finding(Code::WrongType, &entry.key, format!("a key of {at} is not text")));
                continue;
            };
            if known.contains(&key) {
                continue;
            }
            let shown = inert(key, 60);
            // A key that differs only in case is told where what it stands for is missed.
            if known
                .iter()
                .any(|name| is_miswritten(entry.key.text(), name) && required.contains(name) && !present.contains(name))
            {
                continue;
            }
            if server.contains(&key) {
                // Tools write these two as `null` and `{}` into every object they make.
                let empty = entry.value.is_null() || (key == "status" && is_empty_status(&entry.value));
                if !empty {
                    let message = format!("`{shown}` of {at} is written by the server; here it is ignored");
                    let mut finding = self.finding(Code::ServerField, &entry.key, message);
                    if key == "generation" && *at == TAG.at && entry.value.text() == Some("0") {
                        finding = finding.help("to import again, run with `--refresh`");
                    }
                    self.report(finding);
                }
                continue;
            }
            unknown.get_or_insert_with(|| shown.clone());
            let home = HOMES.iter().find(|(name, _)| *name == key).map(|(_, home)| *home);
            let finding = match home {
                Some(home) => self
                    .finding(
                        Code::WrongDepth,
                        &entry.key,
                        format!("`{shown}` does not belong in {at}, the server drops it"),
                    )
                    .help(format!("it belongs in {home}")),
                None => {
                    let finding = self.finding(Code::UnknownField, &entry.key, format!("{at} has no field `{shown}`"));
                    match nearest(key, known) {
                        Some(name) => {
                            let written = self.as_written(&entry.key, name);
                            // A part of the stream that is written in another case is not there: what it holds must not be
                            // taken for gone.
                            let hides = matches!(name, "metadata" | "spec" | "tags") && !present.contains(name);
                            let finding = if hides { finding.raised() } else { finding };
                            finding.help(format!("did you mean `{name}`?")).fix(entry.key.span, written)
                        }
                        None => finding.help(format!("known are {}", list(known))),
                    }
                }
            };
            self.report(finding);
        }
        unknown
    }
}

/// `status: {}` or the only thing a fresh object has in it.
fn is_empty_status(status: &Node) -> bool {
    status
        .entries()
        .iter()
        .all(|entry| entry.key.text() == Some("dockerImageRepository") && entry.value.text().is_some_and(str::is_empty))
        && status.items().is_empty()
        && status.text().is_none()
}

/// The known name that a wrong one most likely stands for.
pub(super) fn nearest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    // No known name is longer than this, with what a slip of the hand adds.
    if name.len() > 64 {
        return None;
    }
    let lower = name.to_lowercase();
    known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), *candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .min()
        .map(|(_, candidate)| candidate)
}

fn list(known: &[&str]) -> String {
    known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
