//! `history`: who changed what, when, because of which commit.

use crate::cli::args::{Args, History, ReportFormat};
use crate::cli::console::Console;
use crate::cli::context::Context;
use crate::cli::failure::{Exit, Failure};
use crate::cli::target::Shown;
use crate::model::Change;
use crate::render::{self, HistoryRow};

use super::get::commit_of;
use super::pretty;

pub(in crate::cli) fn run(args: &Args, command: &History, console: &Console) -> Result<Exit, Failure> {
    let context = Context::load(args)?;
    let (id, tag) = context.name(&command.name)?;
    let shown = Shown::open(&context, args, [id.namespace.clone()].into())?;
    let changes = shown.changes(&id, tag.as_deref(), command.limit)?;
    if changes.is_empty() {
        let shown = tag.map_or(id.to_string(), |tag| format!("{id}:{tag}"));
        return Err(Failure::new(Exit::Failed, format!("nothing is known of `{shown}`"))
            .hint("`streamkeeper get` lists streams"));
    }
    match command.format {
        ReportFormat::Json => console.out(&pretty(&changes)?),
        ReportFormat::Text => {
            let rows: Vec<HistoryRow> = changes.into_iter().map(row).collect();
            console.out(&render::history(&rows));
        }
    }
    Ok(Exit::Done)
}

fn row(change: Change) -> HistoryRow {
    // What a cluster keeps is not of a run of ours.
    let commit = if change.run == 0 { String::new() } else { commit_of(&change) };
    let Change { at, tag, action, before, after, reason, path, .. } = change;
    HistoryRow { at, tag, action, before, after, reason, commit, path }
}
