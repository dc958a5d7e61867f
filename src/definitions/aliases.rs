//! Tags that follow tags: does the target exist, and does following ever end?

use std::collections::{BTreeMap, BTreeSet};

use crate::api::{IMAGE_STREAM_TAG, TagReference};
use crate::model::{DesiredTag, StreamId};
use crate::text::{Code, Node, Value, inert};

use super::reader::Reader;
use super::template::has_placeholder;

/// Checks the aliases of one stream. `spec` is its node, for places.
pub(super) fn check(reader: &mut Reader<'_>, stream: &StreamId, tags: &[DesiredTag], spec: &Node) {
    let by_name: BTreeMap<&str, &TagReference> =
        tags.iter().map(|tag| (tag.reference.name.as_str(), &tag.reference)).collect();
    let nodes = spec.get("tags").map_or(&[][..], Node::items);
    // Every map in the list has become a tag, in the same order.
    let nodes = nodes.iter().filter(|node| matches!(node.value, Value::Mapping(_)));
    for (tag, node) in tags.iter().map(|tag| &tag.reference).zip(nodes) {
        let Some(target) = target(stream, tag) else { continue };
        let at = node.get("from").and_then(|from| from.get("name")).unwrap_or(node);
        match target {
            Target::Own(name) if name == tag.name => {
                let message = format!("the tag `{}` follows itself", inert(&tag.name, 80));
                reader.report(reader.finding(Code::AliasCircle, at, message));
            }
            Target::Own(name) if !by_name.contains_key(name) => {
                let message = format!("`{}` is not a tag of this stream", inert(name, 80));
                let near = by_name.keys().map(|known| (strsim::damerau_levenshtein(known, name), *known)).min();
                let finding = reader.finding(Code::AliasMissing, at, message);
                reader.report(match near.filter(|(distance, _)| *distance <= 2) {
                    Some((_, known)) => finding.help(format!("did you mean `{}`?", inert(known, 80))),
                    None => finding.help("if builds push it, add it to `spec.tags` with a name and no `from`"),
                });
            }
            Target::Own(_) if is_circle(stream, tag, &by_name) => {
                let message = format!("the tag `{}` follows others in a circle", inert(&tag.name, 80));
                reader.report(reader.finding(Code::AliasCircle, at, message));
            }
            Target::Own(_) => {}
            Target::Other(name) => {
                let message = format!(
                    "`{}` is a tag of another stream: the server copies it once and never follows it",
                    inert(name, 120)
                );
                let help =
                    "Streamkeeper keeps it current; to pin it instead, use `kind: ImageStreamImage` with a digest";
                reader.report(reader.finding(Code::AliasAcross, at, message).help(help));
            }
        }
    }
}

enum Target<'a> {
    Own(&'a str),
    Other(&'a str),
}

fn target<'a>(stream: &StreamId, tag: &'a TagReference) -> Option<Target<'a>> {
    let from = tag.from.as_ref().filter(|from| from.kind == IMAGE_STREAM_TAG && !from.name.is_empty())?;
    if has_placeholder(&from.name) || has_placeholder(&from.namespace) {
        return None;
    }
    let own_namespace = from.namespace.is_empty() || from.namespace == stream.namespace;
    match from.name.split_once(':') {
        None if own_namespace => Some(Target::Own(&from.name)),
        // Malformed, which has been said.
        Some((_, rest)) if rest.contains(':') => None,
        Some((name, target)) if own_namespace && name == stream.name => Some(Target::Own(target)),
        None | Some(_) => Some(Target::Other(&from.name)),
    }
}

fn is_circle(stream: &StreamId, tag: &TagReference, by_name: &BTreeMap<&str, &TagReference>) -> bool {
    let mut seen = BTreeSet::from([tag.name.as_str()]);
    let mut tag = tag;
    while let Some(Target::Own(name)) = target(stream, tag) {
        let Some(next) = by_name.get(name) else { return false };
        if !seen.insert(next.name.as_str()) {
            return true;
        }
        tag = next;
    }
    false
}
