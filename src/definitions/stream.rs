//! One ImageStream: its fields and the rules that show within it.

use std::collections::BTreeMap;

use crate::findings::Code;
use crate::model::{DesiredStream, DesiredTag, INTERVAL_ANNOTATION, interval};
use crate::openshift::{
    DOCKER_IMAGE, Digest, IMAGE_STREAM_IMAGE, IMAGE_STREAM_TAG, INSECURE_REPOSITORY_ANNOTATION, ImageReference,
    ImportMode, InvalidReference, ObjectReference, REPOSITORY_CHECK_ANNOTATION, ReferencePolicyType, StreamId,
    TagImportPolicy, TagReference, TagReferencePolicy, is_namespace, is_stream_name, is_stream_source, is_tag_name,
};
use crate::source::{Node, ScalarKind, Span, Value, inert, short_hash};

use super::fields::{self, nearest};
use super::lowering::{FoundStream, Lowering};
use super::reader::{Reader, quoted};
use super::template::{has_placeholder, names};
use super::{aliases, upstream};

/// Annotations that machines write into live objects and people copy into Git.
const SERVER_ANNOTATIONS: &[&str] = &[REPOSITORY_CHECK_ANNOTATION, "kubectl.kubernetes.io/last-applied-configuration"];

/// Tags of one stream. More than that do not fit into the object that an API server stores.
const TAGS: usize = 10_000;

/// Reads a stream as far as it can be read.
pub(super) fn read(lowering: &mut Lowering<'_>, node: &Node) -> FoundStream {
    let default_namespace = lowering.options.namespace.clone();
    let reader = &mut lowering.reader;
    let mut unknown = reader.check_fields(node, &fields::STREAM);
    let mut header = DesiredStream::default();
    let empty = Node { value: Value::Mapping(Vec::new()), span: node.span };
    let metadata = node.get("metadata").filter(|metadata| reader.is_map(metadata, "metadata")).unwrap_or(&empty);
    let id = identity(reader, node, metadata, default_namespace);
    header.origin = reader.origin(metadata.get("name").map_or(node.span, |name| name.span));
    if let Some(labels) = metadata.get("labels") {
        header.labels = reader.text_map(labels, "metadata.labels");
        check_names(reader, labels, "a label", true);
    }
    if let Some(annotations) = metadata.get("annotations") {
        check_names(reader, annotations, "an annotation", false);
        header.annotations = reader.text_map(annotations, "metadata.annotations");
        check_annotations(reader, annotations, &mut header.annotations);
    }
    let mut tags = Vec::new();
    if let Some(spec) = node.get("spec").filter(|spec| reader.is_map(spec, "spec")) {
        unknown = unknown.or(reader.check_fields(spec, &fields::SPEC));
        header.lookup_policy.local = lookup_policy(reader, spec);
        header.docker_image_repository = repository(reader, spec);
        let mut seen: BTreeMap<String, Span> = BTreeMap::new();
        let items = spec.get("tags").map_or(&[][..], |tags| reader.list(tags, "spec.tags"));
        if let Some(first) = items.get(TAGS) {
            let message = format!("`spec.tags` has more than {TAGS} tags; none of them is read");
            let help = "split the stream: no API server takes an object of that size";
            reader.report(reader.finding(Code::TooComplex, first, message).help(help));
        }
        for item in items.iter().filter(|_| items.len() <= TAGS) {
            if let Some(tag) = tag(reader, item, &mut seen) {
                tags.push(tag);
            }
        }
        if let Some(id) = &id {
            aliases::check(reader, id, &tags, spec);
        }
    }
    // An unknown field may be what the tags are meant to stand in.
    header.keeps_tags = unknown
        .filter(|_| tags.is_empty())
        .map(|field| format!("no tag is defined and the field `{field}` is not known: it may be meant to hold them"));
    tags.shrink_to_fit();
    header.content = content(&header, &tags);
    FoundStream { id, header, tags, findings: 0..0 }
}

/// Reports labels and annotations whose names, or values, the server refuses.
fn check_names(reader: &mut Reader<'_>, map: &Node, what: &str, values_too: bool) {
    for entry in map.entries() {
        let key = entry.key.text().unwrap_or_default();
        let (prefix, name) = key.rsplit_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
        let is_host = |prefix: &str| {
            let part = |part: &str| {
                is_name(part) && !part.contains('_') && part.bytes().all(|byte| !byte.is_ascii_uppercase())
            };
            prefix.len() <= 253 && prefix.split('.').all(part)
        };
        let is_right = is_name(name) && prefix.is_none_or(is_host);
        if !is_right && !has_placeholder(key) {
            let message = format!("`{}` is not the name of {what}", inert(key, 120));
            let help = "write letters, digits, `-`, `_` and `.`, at most 63, after a DNS name and `/` if there is one";
            reader.report(reader.finding(Code::InvalidLabel, &entry.key, message).help(help));
        }
        let value = entry.value.text().filter(|value| values_too && !has_placeholder(value)).unwrap_or_default();
        if !value.is_empty() && !is_name(value) {
            let message = format!("`{}` is not the value of a label", inert(value, 120));
            let help = "write letters, digits, `-`, `_` and `.`, at most 63, or keep the text in an annotation";
            reader.report(reader.finding(Code::InvalidLabel, &entry.value, message).help(help));
        }
    }
}

/// Letters and digits, with `-`, `_` and `.` between them, at most 63.
fn is_name(text: &str) -> bool {
    let end = |char: char| char.is_ascii_alphanumeric();
    (1..=63).contains(&text.len())
        && text.starts_with(end)
        && text.ends_with(end)
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// Identifies what a stream says, wherever it stands.
pub(super) fn content(header: &DesiredStream, tags: &[DesiredTag]) -> String {
    let DesiredStream {
        labels,
        annotations,
        lookup_policy,
        docker_image_repository,
        keeps_tags: _,
        tags: _,
        origin: _,
        content: _,
    } = header;
    let references: Vec<&TagReference> = tags.iter().map(|tag| &tag.reference).collect();
    // Serialised rather than field by field: a new field is part of it by itself.
    let parts = (labels, annotations, lookup_policy, docker_image_repository, references);
    let bytes = serde_json::to_vec(&parts).unwrap_or_default();
    short_hash(bytes, 32)
}

fn identity(reader: &mut Reader<'_>, node: &Node, metadata: &Node, default_namespace: String) -> Option<StreamId> {
    reader.check_fields(metadata, &fields::METADATA);
    let namespace = metadata.get("namespace").and_then(|namespace| reader.text(namespace, "metadata.namespace"));
    let namespace = namespace.filter(|namespace| !namespace.is_empty()).unwrap_or(default_namespace);
    if let Some(at) = metadata.get("namespace") {
        if has_placeholder(&namespace) {
            placeholder(reader, at, &namespace, "the namespace");
        } else if !is_namespace(&namespace) {
            let message = format!("`{}` is not a namespace", inert(&namespace, 80));
            let help = "a namespace is lower-case letters, digits and `-`, at most 63 of them";
            reader.report(reader.finding(Code::StreamName, at, message).help(help));
        }
    }
    let name = metadata.get("name").and_then(|name| reader.text(name, "metadata.name")).filter(|name| !name.is_empty());
    let Some(name) = name else {
        let at = metadata.get("name").or_else(|| node.get("metadata")).or_else(|| node.get("kind")).unwrap_or(node);
        reader.report(reader.finding(Code::MissingName, at, "an ImageStream without `metadata.name`"));
        return None;
    };
    let at = metadata.get("name").unwrap_or(metadata);
    let id = StreamId::new(namespace, name);
    if has_placeholder(&id.name) {
        placeholder(reader, at, &id.name, "the name");
    } else if !is_stream_name(&id.name) {
        let lower = id.name.to_ascii_lowercase();
        let message = format!("`{}` is not a name that the server takes for a stream", inert(&id.name, 80));
        let finding = reader.finding(Code::StreamName, at, message);
        reader.report(if is_stream_name(&lower) { reader.with_fix(finding, at, quoted(&lower)) } else { finding });
    } else if !id.fits() {
        let message = format!("`{}` is longer than 255 characters", inert(&id.to_string(), 40));
        reader.report(reader.finding(Code::StreamName, at, message));
    }
    Some(id)
}

fn placeholder(reader: &mut Reader<'_>, node: &Node, text: &str, what: &str) {
    // Said already: as a parameter without a value, or as a map that is none.
    let told = reader.is_markup(node) || names(text).any(|name| reader.missing.contains_key(name));
    if told {
        return;
    }
    let message = format!("{what} is an unexpanded placeholder: `{}`", inert(text, 80));
    let help = "in a Template declare the parameter, or give its value with `--param`; otherwise render it first";
    reader.report(reader.finding(Code::Placeholder, node, message).help(help));
}

fn check_annotations(reader: &mut Reader<'_>, node: &Node, annotations: &mut BTreeMap<String, String>) {
    for key in SERVER_ANNOTATIONS {
        if annotations.remove(*key).is_some() {
            let at = node.entry(key).map_or(node, |entry| &entry.key);
            let message = format!("the annotation `{key}` is written by machines; here it is ignored");
            reader.report(reader.finding(Code::ServerField, at, message));
        }
    }
    if annotations.get(INSECURE_REPOSITORY_ANNOTATION).is_some_and(|value| value == "true") {
        let at = node.entry(INSECURE_REPOSITORY_ANNOTATION).map_or(node, |entry| &entry.key);
        let message = "every tag of the stream may be pulled without verifying TLS";
        let help = "give the registry's CA to the cluster; for a single import use `importPolicy.insecure`";
        reader.report(reader.finding(Code::InsecureStream, at, message).help(help));
    }
}

fn lookup_policy(reader: &mut Reader<'_>, spec: &Node) -> bool {
    let Some(policy) = spec.get("lookupPolicy").filter(|policy| reader.is_map(policy, "spec.lookupPolicy")) else {
        return false;
    };
    reader.check_fields(policy, &fields::LOOKUP_POLICY);
    policy.get("local").and_then(|local| reader.boolean(local, "spec.lookupPolicy.local")).unwrap_or_default()
}

fn repository(reader: &mut Reader<'_>, spec: &Node) -> String {
    let Some(node) = spec.get("dockerImageRepository") else { return String::new() };
    let Some(repository) = reader.text(node, "spec.dockerImageRepository").filter(|text| !text.is_empty()) else {
        return String::new();
    };
    if has_placeholder(&repository) {
        placeholder(reader, node, &repository, "`dockerImageRepository`");
        return repository;
    }
    match repository.parse::<ImageReference>() {
        Err(error) => malformed(reader, node, &repository, error),
        Ok(parsed) if parsed.digest.is_some() || !parsed.tag.is_empty() => {
            let message = format!("`dockerImageRepository` has a tag or a digest: `{}`", inert(&repository, 120));
            let help = "name the repository alone, or write the tag under `spec.tags`";
            reader.report(reader.finding(Code::RepositoryReference, node, message).help(help));
        }
        Ok(_) => {}
    }
    repository
}

fn malformed(reader: &mut Reader<'_>, node: &Node, text: &str, error: InvalidReference) {
    let message = format!("`{}` is not an image reference: {error}", inert(text, 120));
    let finding = reader.finding(Code::MalformedReference, node, message);
    let lower = text.to_ascii_lowercase();
    reader.report(if error == InvalidReference::UpperCase {
        reader.with_fix(finding, node, quoted(&lower))
    } else {
        finding
    });
}

fn tag(reader: &mut Reader<'_>, node: &Node, seen: &mut BTreeMap<String, Span>) -> Option<DesiredTag> {
    if !reader.is_map(node, "spec.tags[]") {
        return None;
    }
    reader.check_fields(node, &fields::TAG);
    let name_node = node.get("name");
    let name = name_node.map(|name| tag_name(reader, name)).unwrap_or_default();
    if name.is_empty() {
        let finding = reader.finding(Code::MissingName, name_node.unwrap_or(node), "a tag without a name");
        reader.report(match (name_node, nearest_key(node)) {
            (None, Some(key)) => finding.help(format!("is `{key}` meant to be `name`?")),
            _ => finding,
        });
    } else {
        let at = name_node.map_or(node.span, |name| name.span);
        if let Some(first) = seen.get(&name).copied() {
            let place = reader.place(first);
            let message = format!("the tag `{}` appears twice in the stream", inert(&name, 80));
            let at = name_node.unwrap_or(node);
            reader.report(reader.finding(Code::DuplicateTag, at, message).related(place, "first here"));
        } else {
            seen.insert(name.clone(), at);
        }
    }
    let origin = reader.origin(name_node.map_or(node.span, |name| name.span));
    let mut tag = TagReference { name, ..TagReference::default() };
    if let Some(annotations) = node.get("annotations").filter(|annotations| !annotations.is_null()) {
        tag.annotations = reader.text_map(annotations, "spec.tags[].annotations");
        let text = tag.annotations.get(INTERVAL_ANNOTATION).filter(|text| !has_placeholder(text));
        if let Some(Err(message)) = text.map(|text| interval(text)) {
            let at = annotations.get(INTERVAL_ANNOTATION).unwrap_or(annotations);
            let help = "write a length of time such as `5m`; until then `policy.scheduleInterval` counts";
            reader.report(reader.finding(Code::ImportInterval, at, message).help(help));
        }
    }
    if let Some(reference) = node.get("reference") {
        tag.reference = reader.boolean(reference, "reference").unwrap_or_default();
    }
    tag.import_policy = import_policy(reader, node);
    tag.reference_policy = reference_policy(reader, node);
    tag.from = from(reader, node);
    check_policies(reader, node, &tag);
    Some(DesiredTag { reference: tag, origin })
}

fn nearest_key(node: &Node) -> Option<String> {
    node.entries()
        .iter()
        .filter_map(|entry| entry.key.text())
        .find(|key| nearest(key, &["name"]).is_some())
        .map(str::to_owned)
}

/// The name as it is written, whatever YAML would make of it.
fn tag_name(reader: &mut Reader<'_>, node: &Node) -> String {
    let Some(text) = node.text() else { return reader.text(node, "spec.tags[].name").unwrap_or_default() };
    match node.scalar_kind() {
        Some(ScalarKind::Null) => return String::new(),
        Some(kind @ (ScalarKind::Bool | ScalarKind::Int | ScalarKind::Float | ScalarKind::Date)) => {
            let message = format!("YAML reads the tag name `{}` as {}, not as text", inert(text, 60), kind.noun());
            let fixed = quoted(text);
            let finding =
                reader.finding(Code::GuessedTagName, node, message).help(format!("put it in quotes: `{fixed}`"));
            reader.report(reader.with_fix(finding, node, fixed));
        }
        Some(ScalarKind::Text) | None => {
            if has_placeholder(text) {
                placeholder(reader, node, text, "the name of a tag");
            } else if !text.is_empty() && !is_tag_name(text) {
                let message = format!("`{}` cannot be used as a tag name", inert(text, 80));
                let help = "a tag name is letters, digits, `_`, `.` and `-`, at most 128 of them, not beginning with `.` or `-`";
                reader.report(reader.finding(Code::TagName, node, message).help(help));
            }
        }
    }
    text.to_owned()
}

fn import_policy(reader: &mut Reader<'_>, tag: &Node) -> TagImportPolicy {
    let mut policy = TagImportPolicy::default();
    let Some(node) = tag.get("importPolicy").filter(|node| reader.is_map(node, "importPolicy")) else { return policy };
    reader.check_fields(node, &fields::IMPORT_POLICY);
    let mut flag = |name: &str| node.get(name).and_then(|value| reader.boolean(value, name)).unwrap_or_default();
    policy.insecure = flag("insecure");
    policy.scheduled = flag("scheduled");
    if let Some(mode) = node.get("importMode") {
        match reader.text(mode, "importMode").as_deref() {
            None | Some("" | "Legacy") => {}
            Some("PreserveOriginal") => policy.import_mode = ImportMode::PreserveOriginal,
            Some(other) => bad_value(reader, mode, other, "importMode", &["Legacy", "PreserveOriginal"]),
        }
    }
    policy
}

fn reference_policy(reader: &mut Reader<'_>, tag: &Node) -> TagReferencePolicy {
    let mut policy = TagReferencePolicy::default();
    let Some(node) = tag.get("referencePolicy").filter(|node| reader.is_map(node, "referencePolicy")) else {
        return policy;
    };
    reader.check_fields(node, &fields::REFERENCE_POLICY);
    if let Some(kind) = node.get("type") {
        match reader.text(kind, "referencePolicy.type").as_deref() {
            None | Some("" | "Source") => {}
            Some("Local") => policy.kind = ReferencePolicyType::Local,
            Some(other) => bad_value(reader, kind, other, "referencePolicy.type", &["Source", "Local"]),
        }
    }
    policy
}

fn bad_value(reader: &mut Reader<'_>, node: &Node, value: &str, field: &str, known: &[&'static str]) {
    if has_placeholder(value) {
        return placeholder(reader, node, value, &format!("`{field}`"));
    }
    let message = format!("`{field}` has no value `{}`", inert(value, 60));
    let finding =
        reader.finding(Code::PolicyValue, node, message).help(format!("it is `{}` or `{}`", known[0], known[1]));
    reader.report(match nearest(value, known) {
        Some(right) => reader.with_fix(finding, node, quoted(right)),
        None => finding,
    });
}

fn from(reader: &mut Reader<'_>, tag: &Node) -> Option<ObjectReference> {
    let node = tag.get("from").filter(|node| !node.is_null())?;
    if !reader.is_map(node, "from") {
        return None;
    }
    reader.check_fields(node, &fields::FROM);
    let mut text = |key: &str| node.get(key).and_then(|value| reader.text(value, key)).unwrap_or_default();
    let from = ObjectReference { kind: text("kind"), name: text("name"), namespace: text("namespace") };
    for (key, value) in [("kind", &from.kind), ("name", &from.name)] {
        if value.is_empty() {
            let miswritten = node.entries().iter().find(|entry| fields::is_miswritten(entry.key.text(), key));
            let message = format!("`from` without `{key}`");
            if let Some(entry) = miswritten {
                let written = reader.as_written(&entry.key, key);
                let finding = reader.finding(Code::IncompleteFrom, &entry.key, message);
                let help = format!("keys are case-sensitive: write `{key}`");
                reader.report(finding.help(help).fix(entry.key.span, written));
                continue;
            }
            let at = node.get(key).unwrap_or(node);
            let help =
                if key == "kind" { "a registry's image is `kind: DockerImage`" } else { "say which image or tag" };
            reader.report(reader.finding(Code::IncompleteFrom, at, message).help(help));
        }
    }
    if let Some(at) = node.get("namespace").filter(|_| has_placeholder(&from.namespace)) {
        placeholder(reader, at, &from.namespace, "`from.namespace`");
    }
    let mut from = from;
    if from.kind == DOCKER_IMAGE && !from.namespace.is_empty() {
        let at = node.entry("namespace").map_or(node, |entry| &entry.key);
        let message = "`namespace` means nothing in `from` of a DockerImage; it is ignored";
        reader.report(reader.finding(Code::UnknownField, at, message));
        from.namespace.clear();
    }
    if !from.kind.is_empty() {
        check_kind(reader, node, &from);
    }
    if !from.name.is_empty() {
        check_name(reader, node, &from);
    }
    Some(from)
}

fn check_kind(reader: &mut Reader<'_>, node: &Node, from: &ObjectReference) {
    const KINDS: &[&str] = &[DOCKER_IMAGE, IMAGE_STREAM_TAG, IMAGE_STREAM_IMAGE];
    let at = node.get("kind").unwrap_or(node);
    if KINDS.contains(&from.kind.as_str()) {
        return;
    }
    if has_placeholder(&from.kind) {
        return placeholder(reader, at, &from.kind, "`from.kind`");
    }
    let message = format!("a tag cannot come from a `{}`", inert(&from.kind, 60));
    let help = "it is `DockerImage`, `ImageStreamTag` or `ImageStreamImage`";
    let finding = reader.finding(Code::FromKind, at, message).help(help);
    reader.report(match nearest(&from.kind, &[DOCKER_IMAGE, IMAGE_STREAM_TAG, IMAGE_STREAM_IMAGE]) {
        Some(right) => reader.with_fix(finding, at, quoted(right)),
        None => finding,
    });
}

fn check_name(reader: &mut Reader<'_>, node: &Node, from: &ObjectReference) {
    let at = node.get("name").unwrap_or(node);
    if has_placeholder(&from.name) {
        return placeholder(reader, at, &from.name, "`from.name`");
    }
    let shown = inert(&from.name, 120);
    match from.kind.as_str() {
        IMAGE_STREAM_TAG => {
            if !is_stream_source(from) || from.name.contains(['@', '/']) {
                let message = format!("`{shown}` is not `tag` or `stream:tag`");
                reader.report(reader.finding(Code::MalformedReference, at, message));
            }
        }
        IMAGE_STREAM_IMAGE => {
            let id = from.name.rsplit('@').next().unwrap_or_default();
            let hex = id.strip_prefix("sha256:").unwrap_or(id);
            let good_id = !hex.is_empty() && hex.len() <= 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
            if !good_id || !is_stream_source(from) {
                let message = format!("`{shown}` is not `stream@sha256:…`");
                reader.report(reader.finding(Code::MalformedReference, at, message));
            }
        }
        _ => match from.name.parse::<ImageReference>() {
            Err(error) => malformed(reader, at, &from.name, error),
            Ok(parsed) if parsed.name.is_empty() => {
                let message = format!("`{shown}` names a registry and no image");
                reader.report(reader.finding(Code::MalformedReference, at, message));
            }
            Ok(_) => {}
        },
    }
}

/// Policies that do not go with where the tag comes from.
fn check_policies(reader: &mut Reader<'_>, node: &Node, tag: &TagReference) {
    let policy = node.get("importPolicy");
    let scheduled = policy.and_then(|policy| policy.entry("scheduled")).map_or(node, |entry| &entry.key);
    let Some(from) = &tag.from else {
        if tag.import_policy.scheduled {
            reader.report(reader.finding(Code::ScheduledKind, scheduled, "`scheduled` on a tag without `from`"));
        }
        return;
    };
    let reference = from.name.parse::<ImageReference>().ok().filter(|_| from.kind == DOCKER_IMAGE);
    let digest = reference.as_ref().and_then(|reference| reference.digest.as_ref());
    if tag.import_policy.scheduled {
        if matches!(from.kind.as_str(), IMAGE_STREAM_TAG | IMAGE_STREAM_IMAGE) {
            let message = format!("`scheduled` on a tag that comes from an {}", from.kind);
            let help = "only DockerImage tags are imported; an alias follows by itself";
            reader.report(reader.finding(Code::ScheduledKind, scheduled, message).help(help));
        } else if let Some(digest) = digest.map(Digest::short) {
            let message = format!("`scheduled` on a digest, which never moves ({digest})");
            reader.report(reader.finding(Code::ScheduledDigest, scheduled, message));
        }
        if tag.reference {
            let message = "`scheduled` does nothing together with `reference: true`";
            reader.report(reader.finding(Code::ScheduledReference, scheduled, message));
        }
    }
    if tag.import_policy.insecure {
        let at = policy.and_then(|policy| policy.entry("insecure")).map_or(node, |entry| &entry.key);
        reader.report(reader.finding(Code::InsecureTag, at, "the tag is imported without verifying TLS"));
    }
    let Some(reference) = reference.filter(|reference| reference.digest.is_none() && !reference.name.is_empty()) else {
        return;
    };
    let at = node.get("from").and_then(|from| from.get("name")).unwrap_or(node);
    if upstream::moves(&reference.tag) && !tag.import_policy.scheduled && !tag.reference {
        let shown = if reference.tag.is_empty() { "no tag at all".to_owned() } else { format!("`{}`", reference.tag) };
        let message = format!("the upstream tag moves ({shown}) and is neither followed nor pinned");
        let help = "follow it with `importPolicy: {scheduled: true}`, or pin it with a digest";
        reader.report(reader.finding(Code::MovingTag, at, message).help(help));
    } else if upstream::is_frozen(&reference.tag) {
        let what = if tag.import_policy.scheduled { "there is nothing to follow" } else { "it never moves" };
        let message =
            format!("the upstream tag `{}` carries a date or a build number: {what}", inert(&reference.tag, 80));
        reader.report(reader.finding(Code::FrozenTag, at, message));
    }
}
