//! A stream in full, as `oc describe is` shows it (semantics 7.4), with the commit behind each tag.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use jiff::Timestamp;

use crate::openshift::{
    DOCKER_IMAGE, IMAGE_STREAM_IMAGE, ImageStream, ReferencePolicyType, StreamId, TagReference, alias_target,
    import_order,
};
use crate::source::inert;

use super::time::ago;

/// Everything there is to say of a stream. `behind` says what put each tag where it is.
pub fn describe(id: &StreamId, stream: &ImageStream, behind: &BTreeMap<String, String>, now: Timestamp) -> String {
    let mut out = String::new();
    header(&mut out, id, stream, now);
    let names: BTreeSet<&str> = stream
        .spec
        .tags
        .iter()
        .map(|tag| tag.name.as_str())
        .chain(stream.status.tags.iter().map(|list| list.tag.as_str()))
        .collect();
    // An alias stands in brackets behind what it follows in the end.
    let mut aliases: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for name in &names {
        if let Some(target) = final_target(id, stream, name) {
            aliases.entry(target).or_default().push(name);
        }
    }
    let followers: BTreeSet<&str> = aliases.values().flatten().copied().collect();
    let mut order: Vec<String> =
        names.iter().filter(|name| !followers.contains(**name)).map(|&name| name.to_owned()).collect();
    import_order(&mut order);
    for name in &order {
        let followers = aliases.get(name.as_str()).map_or(String::new(), |names| format!(" ({})", names.join(", ")));
        let _ = writeln!(out, "\n{}", inert(&format!("{name}{followers}"), 800));
        tag(&mut out, id, stream, name, behind.get(name), now);
    }
    out
}

/// Columns between tab stops, and the one that values stand at.
const TAB: usize = 8;
const VALUES: usize = 24;

fn header(out: &mut String, id: &StreamId, stream: &ImageStream, now: Timestamp) {
    let mut line = |name: &str, value: &str| {
        // Tabs up to the third stop, as `oc` has them.
        let title = if name.is_empty() { String::new() } else { format!("{name}:") };
        let tabs = "\t".repeat(VALUES.saturating_sub(title.len()).div_ceil(TAB).max(1));
        let _ = writeln!(out, "{title}{tabs}{}", inert(value, 1000));
    };
    line("Name", &id.name);
    line("Namespace", &id.namespace);
    if let Some(created) = stream.metadata.creation_timestamp {
        line("Created", &ago(created, now));
    }
    map(&mut line, "Labels", &stream.metadata.labels);
    if let Some(description) = stream.metadata.annotations.get("description") {
        line("Description", description);
    }
    map(&mut line, "Annotations", &stream.metadata.annotations);
    let repository = &stream.status.docker_image_repository;
    let public = &stream.status.public_docker_image_repository;
    line("Image Repository", if public.is_empty() { repository } else { public });
    line("Image Lookup", &format!("local={}", stream.spec.lookup_policy.local));
    let images: BTreeSet<&str> =
        stream.status.tags.iter().flat_map(|list| &list.items).map(|event| event.image.as_str()).collect();
    line("Unique Images", &images.len().to_string());
    let only_spec = stream.spec.tags.iter().filter(|tag| stream.status_tag(&tag.name).is_none()).count();
    let tags = stream.status.tags.len() + only_spec;
    line("Tags", &if tags == 0 { "<none>".to_owned() } else { tags.to_string() });
}

fn map(line: &mut impl FnMut(&str, &str), name: &str, map: &BTreeMap<String, String>) {
    let mut name = name;
    if map.is_empty() {
        line(name, "<none>");
    }
    for (key, value) in map {
        line(name, &format!("{key}={value}"));
        name = "";
    }
}

/// The tag at the end of a chain of aliases in the same stream, if the name is an alias and the chain ends.
fn final_target<'a>(id: &StreamId, stream: &'a ImageStream, name: &str) -> Option<&'a str> {
    let mut tag = stream.spec_tag(name)?;
    let mut followed = None;
    for _ in 0..=stream.spec.tags.len() {
        let Some(target) = alias_target(id, tag).filter(|target| target.stream == *id) else { return followed };
        tag = stream.spec_tag(&target.tag)?;
        followed = Some(tag.name.as_str());
    }
    None
}

fn tag(out: &mut String, id: &StreamId, stream: &ImageStream, name: &str, behind: Option<&String>, now: Timestamp) {
    let spec = stream.spec_tag(name);
    let mut line = |text: &str| {
        let _ = writeln!(out, "  {}", inert(text, 1000));
    };
    line(&source(id, spec));
    if let Some(tag) = spec {
        if tag.import_policy.insecure {
            line("  will use insecure HTTPS or HTTP connections");
        }
        if tag.reference_policy.kind == ReferencePolicyType::Local {
            line("  prefer registry pullthrough when referencing this tag");
        }
    }
    if let Some(behind) = behind {
        line(&format!("  {behind}"));
    }
    let mut said = false;
    let mut line = |text: &str| {
        // What follows stands apart from the source.
        let _ = writeln!(out, "{}  {}", if said { "" } else { "\n" }, inert(text, 1000));
        said = true;
    };
    if let Some(tag) = spec {
        for (key, title) in
            [("description", ""), ("tags", "Tags: "), ("supports", "Supports: "), ("sampleRepo", "Example Repo: ")]
        {
            if let Some(value) = tag.annotations.get(key) {
                line(&format!("{title}{value}"));
            }
        }
    }
    let list = stream.status_tag(name);
    let observed = stream.observed_generation(name);
    let pending = spec.is_some_and(|tag| tag.from.is_some() && !tag.reference && tag.generation > observed);
    if pending {
        line("~ importing latest image ...");
    }
    for condition in list.iter().flat_map(|list| &list.conditions) {
        line(&format!("! error: Import failed ({}): {}", condition.reason, condition.message));
        if let Some(since) = condition.last_transition_time {
            line(&format!("    {}", ago(since, now)));
        }
    }
    for (at, event) in list.iter().flat_map(|list| &list.items).enumerate() {
        let mark = if at == 0 { "*" } else { " " };
        line(&format!("{mark} {}", event.docker_image_reference));
        let image = if event.docker_image_reference.ends_with(&event.image) { "" } else { &event.image };
        if let Some(created) = event.created {
            line(format!("    {}   {image}", ago(created, now)).trim_end());
        }
    }
}

/// Where a tag's image comes from.
fn source(id: &StreamId, tag: Option<&TagReference>) -> String {
    let Some(tag) = tag else { return "no spec tag".to_owned() };
    let Some(from) = &tag.from else { return "tag without source image".to_owned() };
    let foreign = !from.namespace.is_empty() && from.namespace != id.namespace;
    let name = if foreign { format!("{}/{}", from.namespace, from.name) } else { from.name.clone() };
    match (from.kind.as_str(), tag.reference, tag.import_policy.scheduled) {
        (DOCKER_IMAGE, true, _) => format!("reference to registry {name}"),
        (IMAGE_STREAM_IMAGE, true, _) => format!("reference to image {name}"),
        (_, true, _) => format!("reference to {name}"),
        (DOCKER_IMAGE, false, true) => format!("updates automatically from registry {name}"),
        (_, false, true) => format!("updates automatically from {name}"),
        (_, false, false) => format!("tagged from {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tabs, blank lines and indentation are those of `oc describe is`.
    #[test]
    fn described_as_oc_describes_it() {
        let stream: ImageStream = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "app", "namespace": "n", "creationTimestamp": "2026-01-01T00:00:00Z",
                "annotations": {"a": "1", "b": "2"}},
            "spec": {"tags": [
                {"name": "1", "generation": 1, "from": {"kind": "DockerImage", "name": "r.example.com/app:1"},
                    "importPolicy": {"insecure": true}, "referencePolicy": {"type": "Local"}},
                {"name": "gone", "generation": 1, "from": {"kind": "DockerImage", "name": "r.example.com/app:9"}},
                {"name": "ref", "reference": true, "from": {"kind": "DockerImage", "name": "r.example.com/app:2"}},
            ]},
            "status": {"dockerImageRepository": "internal/n/app", "tags": [
                {"tag": "1", "items": [
                    {"created": "2026-01-01T00:00:10Z", "dockerImageReference": "r.example.com/app@sha256:b", "image": "sha256:b", "generation": 1},
                    {"created": "2026-01-01T00:00:05Z", "dockerImageReference": "r.example.com/app@sha256:a", "image": "sha256:a", "generation": 1},
                ]},
                {"tag": "gone", "items": null, "conditions": [{"type": "ImportSuccess", "status": "False", "reason": "NotFound",
                    "message": "no such image", "lastTransitionTime": "2026-01-01T00:00:10Z", "generation": 1}]},
            ]},
        }))
        .expect("a stream");
        let now = "2026-01-01T00:00:15Z".parse().expect("a time");
        let behind = BTreeMap::from([("1".to_owned(), "by commit 1a2b3c4d5e6f (import, new)".to_owned())]);
        let expected = "Name:\t\t\tapp\nNamespace:\t\tn\nCreated:\t\t15 seconds ago\nLabels:\t\t\t<none>\nAnnotations:\t\ta=1\n\t\t\tb=2\nImage Repository:\tinternal/n/app\nImage Lookup:\t\tlocal=false\nUnique Images:\t\t2\nTags:\t\t\t3\n\n1\n  tagged from r.example.com/app:1\n    will use insecure HTTPS or HTTP connections\n    prefer registry pullthrough when referencing this tag\n    by commit 1a2b3c4d5e6f (import, new)\n\n  * r.example.com/app@sha256:b\n      5 seconds ago\n    r.example.com/app@sha256:a\n      10 seconds ago\n\ngone\n  tagged from r.example.com/app:9\n\n  ! error: Import failed (NotFound): no such image\n      5 seconds ago\n\nref\n  reference to registry r.example.com/app:2\n";
        assert_eq!(describe(&StreamId::new("n", "app"), &stream, &behind, now), expected);
    }
}
