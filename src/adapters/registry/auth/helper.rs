//! Credential helpers (docker-credential-helpers protocol): the one kind of process that this program starts.
//!
//! Only the user's own files name helpers: never a definition, a source, or a pull secret.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::source::inert;

use super::Login;

/// A helper that asks a cloud answers within two seconds; one that waits for a person is not for us.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// An answer has a few KiB.
const LONGEST: u64 = 256 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: SecretString,
}

/// Asks `docker-credential-NAME` for the login of a host.
///
/// # Errors
///
/// When there is no such helper, or it fails. The error repeats nothing of what it wrote but a message of known meaning.
pub(super) async fn ask(name: &str, host: &str) -> Result<Option<Login>, String> {
    let shown = inert(name, 60);
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
        return Err(format!("`{shown}` is no name of a credential helper"));
    }
    let program = find(&format!("docker-credential-{name}"))
        .ok_or_else(|| format!("there is no credential helper `docker-credential-{shown}` in the path"))?;
    let failed = |why: &str| format!("the credential helper `{}` {why}", program.display());
    let run = run(&program, host);
    let (good, output) = match tokio::time::timeout(TIME_LIMIT, run).await {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => return Err(failed(&format!("cannot be run: {error}"))),
        Err(_) => return Err(failed(&format!("gave no answer in {} seconds", TIME_LIMIT.as_secs()))),
    };
    if !good {
        // The protocol's way to say "none"; anything else may hold a secret.
        let none = String::from_utf8_lossy(output.expose_secret().as_bytes()).contains("credentials not found");
        return if none { Ok(None) } else { Err(failed("failed")) };
    }
    let answer: Answer =
        serde_json::from_str(output.expose_secret()).map_err(|_| failed("gave an answer that is none"))?;
    let Answer { username: user, secret: password } = answer;
    Ok(match user.as_str() {
        "<token>" => Some(Login::Identity(password)),
        "" => None,
        _ => Some(Login::Password { user, password }),
    })
}

/// The program of that name in an absolute folder of the path: a relative one could be the source's.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|it| it.is_file())
}

async fn run(program: &Path, host: &str) -> std::io::Result<(bool, SecretString)> {
    // Docker's key for its own registry.
    let server = if host == "docker.io" { "https://index.docker.io/v1/" } else { host };
    let mut child = Command::new(program)
        .arg("get")
        // Not in the source: a helper may look for files where it starts.
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read is its own affair.
        let _ = stdin.write_all(server.as_bytes()).await;
    }
    let mut output = String::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(LONGEST).read_to_string(&mut output).await?;
    }
    let status = child.wait().await?;
    Ok((status.success(), output.into()))
}
