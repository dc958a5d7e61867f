//! Tags that follow tags: does the target exist, and does following ever end?

use std::collections::{BTreeMap, BTreeSet};

use crate::findings::Code;
use crate::model::DesiredTag;
use crate::openshift::{StreamId, TagId, TagReference, alias_target};
use crate::source::{Node, Value, inert};

use super::reader::Reader;
use super::template::has_placeholder;

/// Checks the aliases of one stream. `spec` is its node, for places.
pub(super) fn check(reader: &mut Reader<'_>, stream: &StreamId, tags: &[DesiredTag], spec: &Node) {
    let by_name: BTreeMap<&str, &TagReference> =
        tags.iter().map(|tag| (tag.reference.name.as_str(), &tag.reference)).collect();
    let nodes = spec.get("tags").map_or(&[][..], Node::items);
    let circles = circles(stream, &by_name);
    // Every map in the list has become a tag, in the same order.
    let nodes = nodes.iter().filter(|node| matches!(node.value, Value::Mapping(_)));
    for (tag, node) in tags.iter().map(|tag| &tag.reference).zip(nodes) {
        let Some(target) = target(stream, tag) else { continue };
        let at = node.get("from").and_then(|from| from.get("name")).unwrap_or(node);
        if target.stream != *stream {
            let name = tag.from.as_ref().map_or("", |from| from.name.as_str());
            let message = format!(
                "`{}` is a tag of another stream: the server copies it once and never follows it",
                inert(name, 120)
            );
            let help = "Streamkeeper keeps it current; to pin it instead, use `kind: ImageStreamImage` with a digest";
            reader.report(reader.finding(Code::AliasAcross, at, message).help(help));
            continue;
        }
        match target.tag.as_str() {
            name if name == tag.name => {
                let message = format!("the tag `{}` follows itself", inert(&tag.name, 80));
                reader.report(reader.finding(Code::AliasCircle, at, message));
            }
            name if !by_name.contains_key(name) => {
                let message = format!("`{}` is not a tag of this stream", inert(name, 80));
                let near = reader.near(name, by_name.keys().copied(), 2);
                let finding = reader.finding(Code::AliasMissing, at, message);
                reader.report(match near {
                    Some(known) => finding.help(format!("did you mean `{}`?", inert(known, 80))),
                    None => finding.help("if builds push it, add it to `spec.tags` with a name and no `from`"),
                });
            }
            _ if circles.contains(tag.name.as_str()) => {
                let message = format!("the tag `{}` follows others in a circle", inert(&tag.name, 80));
                reader.report(reader.finding(Code::AliasCircle, at, message));
            }
            _ => {}
        }
    }
}

/// The tag that a tag names; none where a placeholder stands for a part of it. What is malformed has been said.
fn target(stream: &StreamId, tag: &TagReference) -> Option<TagId> {
    let from = tag.from.as_ref()?;
    let is_known = !has_placeholder(&from.name) && !has_placeholder(&from.namespace);
    alias_target(stream, tag).filter(|_| is_known)
}

/// The tags that follow others into a circle. Each tag is looked at once.
fn circles<'t>(stream: &StreamId, by_name: &BTreeMap<&'t str, &'t TagReference>) -> BTreeSet<&'t str> {
    let next = |name: &str| {
        let target = target(stream, by_name.get(name)?).filter(|next| next.stream == *stream)?;
        by_name.get_key_value(target.tag.as_str()).map(|(name, _)| *name)
    };
    // Whether following a tag ends in a circle, where that is known.
    let mut known: BTreeMap<&str, bool> = BTreeMap::new();
    for start in by_name.keys() {
        let mut way = Vec::new();
        let mut on_way = BTreeSet::new();
        let mut at = Some(*start);
        let ends = loop {
            match at {
                None => break false,
                Some(name) if on_way.contains(name) => break true,
                Some(name) => match known.get(name) {
                    Some(ends) => break *ends,
                    None => {
                        way.push(name);
                        on_way.insert(name);
                        at = next(name);
                    }
                },
            }
        };
        known.extend(way.into_iter().map(|name| (name, ends)));
    }
    known.into_iter().filter(|(_, ends)| *ends).map(|(name, _)| name).collect()
}
