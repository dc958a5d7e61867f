//! `status`: what a `run` somewhere says of itself.

use std::time::Duration;

use crate::adapters;
use crate::cli::args::{ReportFormat, Status as Command};
use crate::cli::console::Console;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::pretty;
use crate::cli::process::{now, runtime};
use crate::cli::status_text;
use crate::controller::Status;
use crate::source::{chain, inert};

/// Bytes of an answer.
const MOST: usize = 16 * 1024 * 1024;

pub(in crate::cli) fn run(command: &Command, console: &Console) -> Result<Exit, Failure> {
    let status = runtime()?.block_on(ask(command))?;
    match command.format {
        ReportFormat::Json => console.out(&pretty(&status)?),
        ReportFormat::Text => console.out(&status_text::text(&status, now())),
    }
    let is_good = status.lanes.values().all(|lane| lane.failing_since.is_none() && lane.source_error.is_none());
    Ok(if is_good { Exit::Done } else { Exit::Partial })
}

async fn ask(command: &Command) -> Result<Status, Failure> {
    adapters::use_ring();
    let url = format!("{}/api/v1/status", command.url.trim_end_matches('/'));
    let failed = |why: String| {
        Failure::failed(format!("failed to ask `{}`: {}", inert(&command.url, 200), inert(&why, 300)))
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
