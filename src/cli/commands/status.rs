//! `status`: what a `run` somewhere says of itself.

use std::time::Duration;

use jiff::Timestamp;

use crate::adapters;
use crate::cli::args::{ReportFormat, Status as Command};
use crate::cli::console::Console;
use crate::cli::context::now;
use crate::cli::failure::{Exit, Failure};
use crate::daemon::{LaneStatus, Status};
use crate::render::{Table, ago};
use crate::text::{chain, inert};

use super::{pretty, runtime};

/// Bytes of an answer.
const MOST: usize = 16 * 1024 * 1024;

pub(in crate::cli) fn run(command: &Command, console: &Console) -> Result<Exit, Failure> {
    let status = runtime()?.block_on(ask(command))?;
    match command.format {
        ReportFormat::Json => console.out(&pretty(&status)?),
        ReportFormat::Text => console.out(&text(&status, now())),
    }
    let is_good = status.lanes.values().all(|lane| lane.failing_since.is_none() && lane.source_error.is_none());
    Ok(if is_good { Exit::Done } else { Exit::Partial })
}

async fn ask(command: &Command) -> Result<Status, Failure> {
    adapters::use_ring();
    let url = format!("{}/api/v1/status", command.url.trim_end_matches('/'));
    let failed = |why: String| {
        Failure::new(Exit::Failed, format!("failed to ask `{}`: {}", inert(&command.url, 200), inert(&why, 300)))
            .hint("`streamkeeper run --listen ADDRESS` answers; `--url` says where it is")
    };
    // It tells what is going on inside: to whoever is asked, and to nobody whom that one names.
    let client =
        reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(Duration::from_secs(30));
    let mut request = client.build().map_err(|error| failed(chain(&error)))?.get(&url);
    if let Some(path) = &command.token_file {
        let token = std::fs::read_to_string(path)
            .map_err(|error| failed(format!("the token in `{}` cannot be read: {error}", path.display())))?;
        request = request.bearer_auth(token.trim());
    }
    let mut answer = request.send().await.map_err(|error| failed(chain(&error)))?;
    if answer.status() == reqwest::StatusCode::UNAUTHORIZED {
        let why = "it wants a bearer token, or another one".to_owned();
        return Err(failed(why).hint("name a file with it: `--token-file FILE`"));
    }
    if !answer.status().is_success() {
        return Err(failed(format!("it answers {}", answer.status())));
    }
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(|error| failed(chain(&error)))? {
        body.extend_from_slice(&piece);
        if body.len() > MOST {
            return Err(failed("the answer does not end".to_owned()));
        }
    }
    serde_json::from_slice(&body).map_err(|error| failed(format!("that is no status: {error}")))
}

fn text(status: &Status, now: Timestamp) -> String {
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
