//! Why what differs is no difference.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::model::{EqualBy, Equality};
use crate::source::inert;

use super::paint::Paint;
use super::table::{cut, fold};

/// The differences that are none, by the rule that says so.
pub fn equalities_text(equalities: &[Equality], paint: Paint) -> String {
    let mut out = String::new();
    if equalities.is_empty() {
        let _ = writeln!(out, "Git and the target do not differ anywhere.");
        return out;
    }
    let _ = writeln!(out, "{}", paint.bold("Different, and equal all the same"));
    let mut rules: BTreeMap<&str, Vec<&Equality>> = BTreeMap::new();
    for equality in equalities {
        rules.entry(rule(equality.rule)).or_default().push(equality);
    }
    let narrow = |by: usize| paint.width.map(|width| width.saturating_sub(by));
    for (rule, equalities) in rules {
        let _ = writeln!(out, "    {}", fold(rule, narrow(4), 4));
        for Equality { stream, tag, field, git, live, rule: _ } in equalities {
            let tag = tag.as_deref().map_or(String::new(), |tag| format!(":{tag}"));
            let value = |text: &str| if text.is_empty() { "nothing".to_owned() } else { format!("`{text}`") };
            let line = format!("{stream}{tag} {field}: Git {}, target {}", value(git), value(live));
            let _ = writeln!(out, "      {}", cut(&inert(&line, 600), narrow(6)));
        }
    }
    out
}

fn rule(rule: EqualBy) -> &'static str {
    match rule {
        EqualBy::OwnNamespace => "The namespace of the stream itself may be named or left out.",
        EqualBy::ImageNamespace => "An image of a registry has no namespace: imports drop what stands there.",
        EqualBy::AliasSpelling => "A tag of the same stream is `TAG` or `STREAM:TAG`.",
        EqualBy::Generation => "The server counts generations by itself.",
        EqualBy::ServerAnnotation => "OpenShift's importer writes it.",
        EqualBy::NotOurs => "Somebody else put it there: what is not ours is left alone.",
        EqualBy::Theirs => "Another manager applies it: it is left alone.",
        EqualBy::TakenOver => "`import: ours` keeps `scheduled` from the server.",
    }
}
