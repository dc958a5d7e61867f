//! What a `run` somewhere reports of itself, as text.

use jiff::Timestamp;

use crate::controller::{LaneStatus, Status};
use crate::render::{Table, ago};
use crate::source::inert;

/// A table of reconcilers, and what is wrong with each.
pub(super) fn text(status: &Status, now: Timestamp) -> String {
    let mut table = Table::new(&["LANE", "STATE", "STREAMS", "COMMIT", "LAST GOOD", "LAST PASS", "SOURCE", "TARGET"]);
    for (name, lane) in &status.lanes {
        let commit = lane.revision.as_deref().map_or(String::new(), |commit| inert(commit, 12));
        let pass = lane.last_pass.as_ref().map_or(String::new(), |pass| {
            format!("{}, {}, {} ms", ago(pass.began, now), inert(&pass.cause, 20), pass.milliseconds)
        });
        table.row(vec![
            inert(name, 130),
            state(lane).to_owned(),
            lane.streams.to_string(),
            commit,
            lane.last_success.map_or("never".to_owned(), |at| ago(at, now)),
            pass,
            inert(&lane.source, 200),
            inert(&lane.target, 200),
        ]);
    }
    let mut out = table.render();
    for (name, lane) in &status.lanes {
        let mut lines: Vec<String> = lane.source_error.iter().map(|error| format!("the source: {error}")).collect();
        if let Some(pass) = lane.last_pass.as_ref().filter(|_| lane.failing_since.is_some()) {
            lines.extend(pass.error.clone());
            lines.extend(
                pass.config_error.iter().map(|error| format!("the config is broken, and the last one counts: {error}")),
            );
            lines.extend(pass.failures.iter().cloned());
            lines.extend(pass.waits.iter().cloned());
            let failed =
                pass.failed_imports.iter().map(|(reason, number)| format!("imports refused: {number} {reason}"));
            lines.extend(failed);
            if pass.errors > 0 {
                lines.push(format!("the definitions have errors: {}; `streamkeeper validate` shows them", pass.errors));
            }
        }
        if !lines.is_empty() {
            let since = lane.failing_since.map_or(String::new(), |since| format!(", since {}", ago(since, now)));
            out.push_str(&format!("\n{}{since}\n", inert(name, 130)));
            lines.iter().for_each(|line| out.push_str(&format!("  {}\n", inert(line, 600))));
        }
    }
    out
}

fn state(lane: &LaneStatus) -> &'static str {
    match (lane.leads, lane.busy, lane.failing_since) {
        (false, ..) => "stands by",
        (true, true, _) => "working",
        (true, false, Some(_)) => "not as it should be",
        (true, false, None) if lane.passes == 0 => "beginning",
        (true, false, None) => "as it should be",
    }
}
