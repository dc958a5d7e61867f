//! Config and flags, brought together.

use std::path::{Path, PathBuf};

use crate::adapters::git::Location;
use crate::config::{Config, FILE_NAME, RegistryConfig, TargetConfig};
use crate::ports::{BlobReader, Entry, Source};
use crate::reconcile::{PlanOptions, Settings};

use super::args::Args;
use super::failure::Failure;

/// The settings of a source whose config lies on disk, beside it or where `--config` says; the defaults where there is none.
pub(super) fn load(args: &Args, options: &PlanOptions) -> Result<Settings, Failure> {
    let folder = local_folder(&args.source);
    let (config, path) = match (&args.config, &folder) {
        (Some(path), _) => (read_config(path)?, path.display().to_string()),
        (None, Some(folder)) if args.revision.is_none() && folder.join(FILE_NAME).symlink_metadata().is_ok() => {
            (read_config(&folder.join(FILE_NAME))?, FILE_NAME.to_owned())
        }
        (None, _) => (Config::default(), FILE_NAME.to_owned()),
    };
    with_config(args, options, config, path)
}

/// The settings of a source that is open: its config is that of the revision, where it is read from Git objects.
pub(super) fn of_source(args: &Args, options: &PlanOptions, source: &dyn Source) -> Result<Settings, Failure> {
    if !is_in_revision(args) {
        return load(args, options);
    }
    let Some(text) = config_of_revision(source)? else { return load(args, options) };
    let config = Config::parse(&text, FILE_NAME, Path::new(""))?;
    if let Some(field) = reaching(&config) {
        let of = if field == "registries" { " with files, `private`, `insecure` or `tokenService`" } else { "" };
        let message = format!("`{FILE_NAME}` in the revision has `{field}`{of}, which only a config on disk may");
        return Err(Failure::refused(message).hint("name a config with `--config FILE`"));
    }
    with_config(args, options, config, FILE_NAME.to_owned())
}

/// Whether the config is read from the revision, if it has one.
pub(super) fn is_in_revision(args: &Args) -> bool {
    args.config.is_none() && (args.revision.is_some() || local_folder(&args.source).is_none())
}

/// Which target flags and config name.
pub(super) fn target(args: &Args, config: &Config) -> TargetConfig {
    // A flag that names a cluster means one, though the config names the store.
    let named = args.context.is_some() || args.kubeconfig.is_some() || args.impersonate.is_some();
    let configured = config.target.filter(|target| !named || *target != TargetConfig::Store);
    args.target.or(configured).or(named.then_some(TargetConfig::Auto)).unwrap_or(TargetConfig::Store)
}

fn with_config(args: &Args, options: &PlanOptions, config: Config, config_path: String) -> Result<Settings, Failure> {
    let mut parameters = config.params.clone();
    for given in &args.parameters {
        let (name, value) = given.split_once('=').ok_or_else(|| {
            Failure::usage(format!("`--param {given}` has no `=`")).hint("write `--param NAME=VALUE`")
        })?;
        parameters.insert(name.to_owned(), value.to_owned());
    }
    let beside = || local_folder(&args.source).unwrap_or_default().join(".streamkeeper");
    let target = args.target.or(config.target);
    Ok(Settings {
        namespace: Settings::namespace(args.namespace.as_deref(), &config)?,
        store: args.store.clone().or_else(|| config.store.clone()).unwrap_or_else(beside),
        include: if args.include.is_empty() { config.include.clone() } else { args.include.clone() },
        exclude: config.exclude.iter().chain(&args.exclude).cloned().collect(),
        parameters,
        no_local_registry: target == Some(TargetConfig::Kubernetes) && config.internal_registry.is_none(),
        options: options.clone(),
        config_path,
        config,
    })
}

/// Where the source of these flags is.
pub(super) fn location(args: &Args) -> Location {
    let (given, revision) = (args.source.clone(), args.revision.clone());
    Location { given, revision, cache: cache_folder(), commit: None }
}

/// The folder of a source that is a path to a folder and no bare repository.
pub(super) fn local_folder(source: &str) -> Option<PathBuf> {
    let path = Path::new(source);
    let is_bare = !path.join(".git").exists() && path.join("HEAD").is_file() && path.join("objects").is_dir();
    (!source.contains("://") && path.is_dir() && !is_bare).then(|| path.to_owned())
}

/// Where mirrors of URLs are kept (XDG base directory specification).
pub(super) fn cache_folder() -> PathBuf {
    let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    of("STREAMKEEPER_CACHE")
        .or_else(|| of("XDG_CACHE_HOME").map(|cache| cache.join("streamkeeper")))
        .or_else(|| of("HOME").map(|home| home.join(".cache/streamkeeper")))
        .unwrap_or_else(|| std::env::temp_dir().join("streamkeeper-cache"))
}

fn read_config(path: &Path) -> Result<Config, Failure> {
    let shown = path.display().to_string();
    let unreadable = |error| Failure::failed(format!("failed to read the config `{shown}`: {error}"));
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    Ok(Config::parse(&text, &shown, path.parent().unwrap_or(Path::new("")))?)
}

fn config_of_revision(source: &dyn Source) -> Result<Option<String>, Failure> {
    const LIMIT: u64 = 1024 * 1024;
    let listing = source.list(&|path: &str| path == FILE_NAME, 1)?;
    if listing.refused.iter().any(|refused| refused.path == FILE_NAME) {
        let message = format!("`{FILE_NAME}` in the revision is a link, and links are not followed");
        return Err(Failure::refused(message).hint("name a config with `--config FILE`"));
    }
    let Some(entry): Option<&Entry> = listing.entries.first() else { return Ok(None) };
    let mut reader: Box<dyn BlobReader + '_> = source.reader()?;
    let bytes = reader.read(entry, LIMIT)?;
    let not_text = |_| Failure::refused(format!("`{FILE_NAME}` in the revision is not UTF-8"));
    String::from_utf8(bytes).map(Some).map_err(not_text)
}

/// The first field of a config that a config in a revision may not set: a change to a source does not choose the files, the private
/// network or the trust of the machine that reads it.
fn reaching(config: &Config) -> Option<&'static str> {
    let fields = [
        ("credentials", !config.credentials.is_empty()),
        ("mirrorFiles", !config.mirror_files.is_empty()),
        ("mirrors", !config.mirrors.is_empty()),
        ("registries", config.registries.iter().any(RegistryConfig::reaches)),
        ("store", config.store.is_some()),
        ("target", config.target.is_some()),
        ("pullSecrets", config.pull_secrets),
        ("run", config.run.is_given()),
    ];
    fields.into_iter().find(|(_, reaches)| *reaches).map(|(field, _)| field)
}
