//! Saved plans, and their authentication: HMAC-SHA256 over the plan as JSON, with a key that only those have who may make plans.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::Path;

use crate::adapters::git::without_credentials;
use crate::model::{FORMAT_VERSION, Plan, StepId};
use crate::source::inert;
use ring::hmac;

use super::args::{self, Args};
use super::failure::Failure;
use super::output::pretty;

/// Bytes of a key, at least.
const KEY: usize = 32;

/// Bytes of a plan, at most.
const LIMIT: u64 = 256 * 1024 * 1024;

/// The key in a file: everything in it but line breaks at its end.
fn key(path: &Path) -> Result<hmac::Key, Failure> {
    let failed = |why: String| Failure::failed(format!("failed to read the key in `{}`: {why}", path.display()));
    let bytes = secrecy::SecretSlice::from(std::fs::read(path).map_err(|error| failed(error.to_string()))?);
    let key = secrecy::ExposeSecret::expose_secret(&bytes).trim_ascii_end();
    if key.len() < KEY {
        let why = format!("it has less than {KEY} bytes");
        return Err(failed(why).hint("`openssl rand -hex 32 > FILE` makes a key"));
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, key))
}

/// What is authenticated: the plan without its authentication. Equal plans have equal bytes.
fn message(plan: &Plan) -> Result<Vec<u8>, Failure> {
    let plan = Plan { mac: None, ..plan.clone() };
    let mut message = b"streamkeeper plan\0".to_vec();
    serde_json::to_writer(&mut message, &plan).map_err(Failure::failed)?;
    Ok(message)
}

/// Authenticates a plan with the key in a file.
pub(super) fn authenticated(plan: Plan, key_file: &Path) -> Result<Plan, Failure> {
    let mac = hmac::sign(&key(key_file)?, &message(&plan)?);
    Ok(Plan { mac: Some(hex::encode(mac)), ..plan })
}

/// Refuses a plan that was not authenticated with the key in a file.
pub(super) fn check(plan: &Plan, shown: &Path, key_file: &Path) -> Result<(), Failure> {
    let key = key(key_file)?;
    let why = match plan.mac.as_ref().map(|mac| hex::decode(mac).unwrap_or_default()) {
        None => "it was saved without a key",
        Some(mac) if hmac::verify(&key, &message(plan)?, &mac).is_ok() => return Ok(()),
        Some(_) => "it was changed since, or saved with another key",
    };
    let message =
        format!("the plan `{}` is not authenticated by the key in `{}`: {why}", shown.display(), key_file.display());
    Err(Failure::refused(message).hint("`streamkeeper plan --out FILE --key-file KEY` saves one that is"))
}

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

/// Loads a plan. Nothing in it is to be believed.
pub(super) fn load(path: &Path) -> Result<Plan, Failure> {
    let shown = path.display();
    let failed = |error: std::io::Error| Failure::failed(format!("failed to read the plan `{shown}`: {error}"));
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(failed)?.take(LIMIT + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LIMIT {
        return Err(Failure::refused(format!("the plan `{shown}` has more than {LIMIT} bytes")));
    }
    let version = serde_json::from_slice::<Version>(&bytes).ok().and_then(|version| version.format_version);
    if let Some(version) = version.filter(|version| *version != u64::from(FORMAT_VERSION)) {
        let message = format!("the plan `{shown}` has format version {version}, this program knows {FORMAT_VERSION}");
        return Err(Failure::refused(message).hint("make the plan again with this version"));
    }
    let none = |why: &str| {
        let message = format!("`{shown}` is not a plan: {}", inert(why, 200));
        Failure::refused(message).hint("`streamkeeper plan --out FILE` saves one")
    };
    let plan: Plan = serde_json::from_slice(&bytes).map_err(|error| none(&error.to_string()))?;
    let edited = |why: &str| {
        Failure::refused(format!("the plan `{shown}` is not as it was saved: {why}"))
            .hint("plan again; a plan is changed by changing its definitions")
    };
    let mut ids = BTreeSet::new();
    let all = plan.steps.iter().map(|step| step.id).chain(plan.updates.iter().map(|update| update.id));
    if let Some(id) = all.into_iter().find(|id| !ids.insert(*id)) {
        return Err(edited(&format!("two steps have the number {id}")));
    }
    // They are carried out by their numbers, and read in the order of the file.
    if !plan.steps.is_sorted_by_key(|step| step.id) {
        return Err(edited("its steps are not in the order of their numbers"));
    }
    // Without it nothing would tell that the stream has changed since.
    if let Some(step) = unversioned(&plan) {
        return Err(edited(&format!("the step {step} does not say for which version of its stream it was planned")));
    }
    // No proof, which takes a key; but whoever has edited a plan by hand is told.
    if !plan.id.is_empty() && plan.id != plan.id() {
        return Err(edited("its id is that of another plan"));
    }
    Ok(plan)
}

/// A step that is the first on its stream, and needs no version of it.
fn unversioned(plan: &Plan) -> Option<StepId> {
    let mut begun = BTreeSet::new();
    let mut firsts = plan.steps.iter().filter(|step| begun.insert(step.action.stream()));
    firsts
        .find(|step| !step.requires.iter().any(|it| it.is_version() && it.stream() == Some(step.action.stream())))
        .map(|step| step.id)
}

/// The version of a plan's format, whatever else is in it.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    format_version: Option<u64>,
}

/// The command that applies a saved plan, with the flags that name the same source and target, without credentials: it is for
/// people and for logs.
pub(super) fn apply_command(path: &Path, args: &Args, plan: &args::Plan) -> String {
    let planning = &plan.planning;
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
    // A plan against a base was made by the config of the base.
    let config_revision = args.config_revision.clone().or_else(|| plan.base.clone().filter(|_| args.config.is_none()));
    flag("--config-revision", config_revision);
    flag("--key-file", path_of(&plan.key_file));
    flag("--revision", args.revision.clone());
    flag("--max-removals", planning.max_removals.map(|count| count.to_string()));
    flag("--namespace", args.namespace.clone());
    flag("--resolve", (planning.resolve == args::Resolve::Cluster).then(|| "cluster".to_owned()));
    for (name, is_given) in [
        ("--force-conflicts", planning.force_conflicts),
        ("--allow-empty", planning.allow_empty),
        ("--change-scope", planning.change_scope),
        ("--untrusted", args.untrusted),
    ] {
        if is_given {
            command.push_str(&format!(" {name}"));
        }
    }
    if let Some(kubeconfig) = path_of(&args.kubeconfig) {
        command.push_str(&format!(" --kubeconfig {kubeconfig}"));
    }
    command
}
