//! `apply --write-workloads`: writes the images that tags have now into the files of workloads.

use std::path::PathBuf;

use crate::cli::args::{Apply, Args};
use crate::cli::console::Console;
use crate::cli::failure::{Exit, Failure};
use crate::cli::places::local_folder;
use crate::cli::target::Live;
use crate::cli::workload_files;
use crate::planner;
use crate::reconcile::{ReadSource, Settings};

/// The folder whose files may be written.
pub(super) fn folder(args: &Args) -> Result<PathBuf, Failure> {
    local_folder(&args.source).filter(|_| args.revision.is_none()).ok_or_else(|| {
        Failure::usage("`--write-workloads` writes files, and the source is no folder on disk")
            .hint("give a work tree as `--source`, without `--revision`")
    })
}

/// Writes, if the user who is asked agrees.
pub(super) async fn run(
    args: &Args,
    command: &Apply,
    settings: &Settings,
    read: &ReadSource,
    console: &Console,
) -> Result<Exit, Failure> {
    let folder = folder(args)?;
    // Opened again: the store may have been made just now.
    let streams = Live::open(args, settings).await?.streams(&settings.namespace).await?;
    let policy = settings.config.policy.workloads.policy("");
    let edits = planner::workload_edits(&read.assembled.desired, &streams, &policy);
    workload_files::show_left_out(&edits, console);
    if !command.yes && !edits.files.is_empty() {
        workload_files::show(&edits, console);
        if !console.confirm("Write it?", command.yes, "write")? {
            console.say("No file was changed.");
            return Ok(Exit::Refused);
        }
    }
    Ok(if workload_files::write(&edits, &folder, console) { Exit::Done } else { Exit::Partial })
}
