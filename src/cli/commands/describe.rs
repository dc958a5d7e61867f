//! `describe`: a stream in full, with the commit behind each tag.

use std::collections::BTreeMap;

use crate::adapters::registry::{Content, RegistryMemory};
use crate::cli::args::{Args, Describe};
use crate::cli::console::Console;
use crate::cli::failure::{Exit, Failure};
use crate::cli::live_streams::{LiveStreams, by_commit};
use crate::cli::process::now;
use crate::cli::settings;
use crate::openshift::Digest;
use crate::reconcile::PlanOptions;
use crate::render;

pub(in crate::cli) fn run(args: &Args, command: &Describe, console: &Console) -> Result<Exit, Failure> {
    let settings = settings::load(args, &PlanOptions::default())?;
    let names: Vec<_> = command.names.iter().map(|name| settings.name(name)).collect::<Result<_, _>>()?;
    let namespaces = names.iter().map(|(id, _)| id.namespace.clone()).collect();
    let shown = LiveStreams::open(&settings, args, namespaces)?;
    let cache = shown.live.memory(args, &settings);
    for (at, name) in command.names.iter().enumerate() {
        let (id, tag) = shown.named(&settings, args, name)?;
        let Some(live) = shown.streams.get(&id) else {
            return Err(Failure::failed(format!("there is no stream `{id}`")).hint("`streamkeeper get` lists them"));
        };
        if at > 0 {
            console.out("\n\n");
        }
        if let Some(tag) = tag {
            let Some(head) = live.stream.head(&tag) else {
                let message = format!("the tag `{id}:{tag}` has no image");
                return Err(Failure::failed(message).hint("`streamkeeper explain` says why"));
            };
            let content = |digest: &str| {
                let digest = Digest::parse(digest)?;
                let kept =
                    [Content::Manifest, Content::Config].into_iter().find_map(|kind| cache.content(kind, &digest));
                kept.map(|(_, bytes)| bytes)
            };
            let seen = shown.first_seen(&head.image)?;
            console.out(&render::describe_image(&id, &tag, head, seen, content));
            continue;
        }
        let mut behind: BTreeMap<String, String> = BTreeMap::new();
        // Newest first: the first that names a tag is the one it is at.
        let changes = shown.changes(&id, None, usize::MAX)?;
        for change in changes.into_iter().filter(|change| change.run != 0) {
            let file = if change.path.is_empty() { String::new() } else { format!(", {}", change.path) };
            let line = format!("by {} ({}, {}{file})", by_commit(&change), change.action, change.reason);
            behind.entry(change.tag).or_insert(line);
        }
        console.out(&render::describe(&id, &live.stream, &behind, now()));
    }
    Ok(Exit::Done)
}
