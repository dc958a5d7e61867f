//! `history`: who changed what, when, because of which commit.

use crate::cli::args::{Args, History, ReportFormat};
use crate::cli::console::Console;
use crate::cli::failure::{Exit, Failure};
use crate::cli::live_streams::{LiveStreams, commit_of};
use crate::cli::output::pretty;
use crate::cli::settings;
use crate::model::Change;
use crate::reconcile::PlanOptions;
use crate::render::{self, HistoryRow};

pub(in crate::cli) fn run(args: &Args, command: &History, console: &Console) -> Result<Exit, Failure> {
    let settings = settings::load(args, &PlanOptions::default())?;
    let (id, tag) = settings.name(&command.name)?;
    let shown = LiveStreams::open(&settings, args, [id.namespace.clone()].into())?;
    let (id, tag) = shown.named(&settings, args, &command.name).unwrap_or((id, tag));
    let changes = shown.changes(&id, tag.as_deref(), command.limit)?;
    if changes.is_empty() {
        let shown = tag.map_or(id.to_string(), |tag| format!("{id}:{tag}"));
        return Err(Failure::failed(format!("nothing is known of `{shown}`")).hint("`streamkeeper get` lists streams"));
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
