//! Why a tag is where it is (`explain STREAM:TAG`).

use std::fmt::Write;

use crate::openshift::{alias_target, is_imported};
use crate::reconcile::Settings;
use crate::render;
use crate::rules;
use crate::source::inert;

use super::args::Args;
use super::failure::Failure;
use super::live_streams::{LiveStreams, by_commit};
use super::process::now;
use super::target::Live;

/// Why a tag is where it is: its image, since when, because of what, and what will move it.
pub(super) fn text(settings: &Settings, args: &Args, what: &str) -> Result<String, Failure> {
    let (id, tag) = settings.name(what)?;
    let Some(tag) = tag else {
        return Err(
            Failure::usage(format!("`{}` names a stream and no tag", inert(what, 120))).hint("write `STREAM:TAG`")
        );
    };
    let shown = LiveStreams::open(settings, args, [id.namespace.clone()].into())?;
    let (id, _) = shown.named(settings, args, what)?;
    let streams = &shown.streams;
    let live =
        streams.get(&id).filter(|live| live.stream.spec_tag(&tag).is_some() || live.stream.status_tag(&tag).is_some());
    let Some(live) = live else {
        return Err(
            Failure::failed(format!("there is no tag `{id}:{tag}`")).hint("`streamkeeper get istag` lists them")
        );
    };
    let stream = &live.stream;
    let mut out = String::new();
    match (rules::resolve(stream, &tag), stream.head(&tag).and_then(|head| head.created)) {
        (Some(image), Some(created)) => {
            let _ = writeln!(out, "{id}:{tag} is at {}", inert(&image, 400));
            let _ = writeln!(out, "since {created} ({})", render::ago(created, now()));
        }
        (Some(image), None) => {
            let _ = writeln!(out, "{id}:{tag} is at {}", inert(&image, 400));
        }
        (None, _) => {
            let _ = writeln!(out, "{id}:{tag} has no image");
        }
    }
    if let (Live::Cluster(_), Some(path)) = (&shown.live, live.owned.tags.get(&tag)) {
        let _ = writeln!(out, "defined in {}", inert(path, 300));
    }
    let changes = shown.changes(&id, Some(&tag), 1)?;
    for change in changes.into_iter().filter(|change| change.run != 0) {
        let file =
            if change.path.is_empty() { "a definition that is gone".to_owned() } else { inert(&change.path, 300) };
        let _ = writeln!(
            out,
            "because of {} ({}), {}, {file}",
            change.action,
            inert(&change.reason, 200),
            by_commit(&change)
        );
    }
    if let Some(condition) = stream.status_tag(&tag).and_then(|list| list.conditions.first()) {
        let _ = writeln!(
            out,
            "the last import failed ({}): {}",
            inert(&condition.reason, 60),
            inert(&condition.message, 400)
        );
    }
    let next = match stream.spec_tag(&tag) {
        None => "no definition fills it any more: it stays as it is".to_owned(),
        Some(spec) => match (alias_target(&id, spec), &spec.from) {
            (Some(target), _) if target.stream == id => format!("it moves when `{target}` moves"),
            (Some(target), _) => format!("it is copied from `{target}` by each apply"),
            (None, None) => "it is filled by pushes".to_owned(),
            (None, Some(_)) if spec.import_policy.scheduled => "it follows its upstream".to_owned(),
            (None, Some(_)) if is_imported(spec) => {
                format!("it stays there until its definition changes, or `--refresh {id}:{tag}` asks for a new import")
            }
            (None, Some(_)) => "it stays there until its definition changes".to_owned(),
        },
    };
    let _ = writeln!(out, "{}", inert(&next, 600));
    Ok(out)
}
