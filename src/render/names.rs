//! Reasons and waits in words.

use crate::model::{Cause, Ignorance, Reason, Tally, Wait};
use crate::openshift::short_image;
use crate::source::inert;

/// Why a step is in a plan, in a few words.
pub fn reason(reason: &Reason) -> String {
    match reason {
        Reason::Missing => "new".to_owned(),
        Reason::Changed { fields } => format!("changed: {}", fields.join(", ")),
        Reason::UpstreamMoved => "upstream moved".to_owned(),
        Reason::ListMoved { platform } => {
            format!("the upstream list moved, its image for {} did not", inert(platform, 60))
        }
        Reason::Adopted => "adopted as it is".to_owned(),
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
    format!("{}{}", wait.by(), next(wait))
}

/// What happens next with what is blocked, where that is all that is needed.
pub(super) fn next(wait: &Wait) -> &'static str {
    match wait {
        Wait::Unknown(ignorance) if next_pass_helps(ignorance) => "; the next run asks again",
        _ => "",
    }
}

/// Whether all that is needed is to ask once more, and no time was given for it.
fn next_pass_helps(ignorance: &Ignorance) -> bool {
    let may = match ignorance.cause {
        Cause::Unreachable
        | Cause::TimedOut
        | Cause::RateLimited
        | Cause::ServerError
        | Cause::Malformed
        | Cause::Incomplete => true,
        Cause::Unauthorized | Cause::Forbidden | Cause::Unreadable | Cause::Refused => false,
    };
    may && ignorance.again.is_none()
}

/// What asking registries took, on one line.
pub fn tally(tally: &Tally) -> String {
    let Tally { asked, cached, charged, refused, requests, milliseconds, hosts: _ } = tally;
    format!(
        "registries: {asked} asked, {cached} answered from cache, {charged} charged, {refused} refused, {requests} requests, {}.{} s",
        milliseconds / 1000,
        milliseconds % 1000 / 100
    )
}

/// The part of a pull spec that tells images apart: its digest, cut, or all of it.
pub(super) fn image(pull_spec: &str) -> String {
    inert(short_image(pull_spec), 120)
}

/// `1 tag`, `2 tags`.
pub(super) fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
