//! Reasons and waits in words.

use crate::model::{Reason, Wait};
use crate::text::inert;

/// Why a step is in a plan, in a few words.
pub fn reason(reason: &Reason) -> String {
    match reason {
        Reason::Missing => "new".to_owned(),
        Reason::Changed { fields } => format!("changed: {}", fields.join(", ")),
        Reason::UpstreamMoved => "upstream moved".to_owned(),
        Reason::Asked => "asked for".to_owned(),
        Reason::ImportFailed { since: Some(since) } => format!("failed since {since}"),
        Reason::ImportFailed { since: None } => "failed before".to_owned(),
        Reason::Follows { tag } => format!("follows {tag}"),
        Reason::Drifted { fields, by: Some(by) } => format!("{} changed by {}", fields.join(", "), inert(by, 60)),
        Reason::Drifted { fields, by: None } => format!("{} changed by somebody else", fields.join(", ")),
        Reason::NotInRevision => "no longer defined".to_owned(),
    }
}

/// For what a step waits, in a sentence.
pub fn wait(wait: &Wait) -> String {
    match wait {
        Wait::Unknown(ignorance) => inert(&ignorance.to_string(), 400),
        Wait::Held { by } => format!("held by {}", inert(by, 300)),
        Wait::OverLimit { removals, limit } => format!(
            "{removals} {} in one run, the limit is {limit}; raise it with --max-removals {removals}",
            if *removals == 1 { "removal" } else { "removals" }
        ),
        Wait::NotOwned { by } => inert(by, 300),
        Wait::Behind { upstream, current } => {
            format!("behind its upstream: has {}, upstream {}", image(current), upstream.short())
        }
        Wait::Refused { rule } => inert(rule, 400),
    }
}

/// The part of a pull spec that tells images apart: its digest, cut, or all of it.
pub(super) fn image(pull_spec: &str) -> String {
    match pull_spec.rsplit_once('@') {
        Some((_, digest)) => digest.get(..19).unwrap_or(digest).to_owned(),
        None => inert(pull_spec, 120),
    }
}

/// `1 tag`, `2 tags`.
pub(super) fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
