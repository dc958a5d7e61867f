//! `describe`: a stream in full, with the commit behind each tag.

use std::collections::BTreeMap;

use crate::cli::args::{Args, Describe};
use crate::cli::console::Console;
use crate::cli::context::{Context, now};
use crate::cli::failure::{Exit, Failure};
use crate::render;

use super::get::commit_of;

pub(in crate::cli) fn run(args: &Args, command: &Describe, console: &Console) -> Result<Exit, Failure> {
    let context = Context::load(args)?;
    let reader = context.reader()?;
    let mut streams = reader.streams()?;
    for (at, name) in command.names.iter().enumerate() {
        let (id, _) = context.name(name)?;
        let Some(live) = streams.remove(&id) else {
            return Err(
                Failure::new(Exit::Failed, format!("there is no stream `{id}`")).hint("`streamkeeper get` lists them")
            );
        };
        let mut behind: BTreeMap<String, String> = BTreeMap::new();
        // Newest first: the first that names a tag is the one it is at.
        for change in reader.changes(&id, None, usize::MAX)? {
            let file = if change.path.is_empty() { String::new() } else { format!(", {}", change.path) };
            let line = format!("by commit {} ({}, {}{file})", commit_of(&change), change.action, change.reason);
            behind.entry(change.tag).or_insert(line);
        }
        if at > 0 {
            console.out("\n\n");
        }
        console.out(&render::describe(&id, &live.stream, &behind, now()));
    }
    Ok(Exit::Done)
}
