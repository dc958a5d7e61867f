//! Saved plans.

use std::io::Write;
use std::path::Path;

use crate::adapters::git::without_credentials;
use crate::model::{FORMAT_VERSION, Plan};
use crate::source::inert;

use super::args::{Args, Planning};
use super::failure::Failure;
use super::output::pretty;

/// Saves a plan, whole or not at all: written beside, synced, renamed.
pub(super) fn save(path: &Path, plan: &Plan) -> Result<(), Failure> {
    let failed =
        |error: std::io::Error| Failure::failed(format!("failed to write the plan `{}`: {error}", path.display()));
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(pretty(plan)?.as_bytes()).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Loads a plan.
pub(super) fn load(path: &Path) -> Result<Plan, Failure> {
    let shown = path.display();
    let bytes =
        std::fs::read(path).map_err(|error| Failure::failed(format!("failed to read the plan `{shown}`: {error}")))?;
    let version = serde_json::from_slice::<serde_json::Value>(&bytes).ok();
    let version = version.as_ref().and_then(|value| value.get("formatVersion")).and_then(serde_json::Value::as_u64);
    if let Some(version) = version.filter(|version| *version != u64::from(FORMAT_VERSION)) {
        let message = format!("the plan `{shown}` has format version {version}, this program knows {FORMAT_VERSION}");
        return Err(Failure::refused(message).hint("make the plan again with this version"));
    }
    serde_json::from_slice(&bytes).map_err(|error| {
        let message = format!("`{shown}` is not a plan: {}", inert(&error.to_string(), 200));
        Failure::refused(message).hint("`streamkeeper plan --out FILE` saves one")
    })
}

/// The command that applies a saved plan, with the flags that name the same source and target, without credentials: it is for
/// people and for logs.
pub(super) fn apply_command(path: &Path, args: &Args, planning: &Planning) -> String {
    let mut command = format!("streamkeeper apply {}", path.display());
    let mut flag = |name: &str, value: Option<String>| {
        command.push_str(&value.map_or(String::new(), |value| format!(" {name} {value}")));
    };
    let path_of = |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.display().to_string());
    flag("--source", (args.source != ".").then(|| without_credentials(&args.source)));
    flag("--store", path_of(&args.store));
    flag("--target", args.target.map(|target| target.word().to_owned()));
    flag("--context", args.context.clone());
    flag("--as", args.impersonate.clone());
    flag("--config", path_of(&args.config));
    flag("--config-revision", args.config_revision.clone());
    if planning.force_conflicts {
        command.push_str(" --force-conflicts");
    }
    if let Some(kubeconfig) = path_of(&args.kubeconfig) {
        command.push_str(&format!(" --kubeconfig {kubeconfig}"));
    }
    command
}
