//! Writing images into the files that define workloads.

use std::path::Path;

use crate::adapters::git::{Edit, edit};
use crate::planner::{WorkloadEdit, WorkloadEdits};
use crate::render;
use crate::source::inert;

use super::console::Console;

/// Shows what should be written and cannot be.
pub(super) fn show_left_out(edits: &WorkloadEdits<'_>, console: &Console) {
    for (path, workload, why) in &edits.left_out {
        console.say(&format!("{}: {}: {}", inert(path, 300), inert(&workload.to_string(), 300), inert(why, 400)));
    }
}

/// Shows what would be written.
pub(super) fn show(edits: &WorkloadEdits<'_>, console: &Console) {
    for (path, edits) in &edits.files {
        for edit in edits {
            console.say(&format!("{}: {}", inert(path, 300), render::image_line(&edit.image)));
        }
    }
}

/// Writes. Gives whether all that should be written was.
pub(super) fn write(edits: &WorkloadEdits<'_>, folder: &Path, console: &Console) -> bool {
    let mut is_whole = edits.left_out.is_empty();
    for (path, edits) in &edits.files {
        let changes: Vec<Edit> = edits.iter().map(change).collect();
        let shown = inert(path, 300);
        match edit(folder, path, &changes) {
            Ok(()) => {
                edits
                    .iter()
                    .for_each(|edit| console.say(&format!("wrote {shown}: {}", render::image_line(&edit.image))));
            }
            Err(error) => {
                console.say(&format!("{shown}: not written: {error}"));
                is_whole = false;
            }
        }
    }
    is_whole
}

fn change(WorkloadEdit { span, image }: &WorkloadEdit) -> Edit {
    Edit { range: span.range(), before: image.before.clone().unwrap_or_default(), after: image.after.clone() }
}
