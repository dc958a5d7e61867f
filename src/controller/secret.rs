//! Secrets in files that the config names.

use std::path::Path;

use secrecy::SecretString;

use crate::reconcile::Failure;

/// A secret of a line is not shorter.
const LEAST: usize = 16;

/// The one line of a file, without white space around it.
pub(super) fn secret_line(path: &Path, what: &str) -> Result<String, Failure> {
    let failed =
        |error: std::io::Error| Failure::failed(format!("failed to read the {what} in `{}`: {error}", path.display()));
    Ok(std::fs::read_to_string(path).map_err(failed)?.trim().to_owned())
}

/// The secret of a file: its one line, long enough not to be guessed.
pub(super) fn secret(path: &Path) -> Result<SecretString, Failure> {
    let failed = |why: String| Failure::failed(format!("failed to read the secret in `{}`: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let secret = text.trim_end_matches(['\n', '\r']);
    if secret.len() < LEAST {
        return Err(failed(format!("it has less than {LEAST} characters")));
    }
    Ok(SecretString::from(secret))
}
