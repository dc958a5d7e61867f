//! Config and flags, brought together.

use std::collections::BTreeMap;
use std::path::Path;

use crate::adapters::git::{self, Location};
use crate::config::{Config, TargetConfig};
use crate::definitions::ReadOptions;
use crate::ports::Source;
use crate::reconcile::{PlanOptions, Settings};

use super::args::Args;
use super::failure::Failure;
use super::places::{self, local_folder};
use super::trust::{self, Counting, OpenRevision};

pub(super) use super::trust::is_in_revision;

/// The settings of a source whose config lies on disk, beside it or where `--config` says; the defaults where there is none.
pub(super) fn load(args: &Args, options: &PlanOptions) -> Result<Settings, Failure> {
    with_config(args, options, trust::on_disk(args)?)
}

/// The settings of a source that is open. `base`: the revision that a change is reviewed against.
pub(super) fn of_source(
    args: &Args,
    options: &PlanOptions,
    base: Option<&str>,
    source: &dyn Source,
    open: OpenRevision<'_>,
) -> Result<Settings, Failure> {
    with_config(args, options, trust::of_source(args, base, source, open)?)
}

/// The settings of a source at the commit of a saved plan. Given are the source as it is now, which says what is trusted, and at that commit.
pub(super) fn of_commit(
    args: &Args,
    options: &PlanOptions,
    (now, then): (&dyn Source, &dyn Source),
    open: OpenRevision<'_>,
) -> Result<Settings, Failure> {
    with_config(args, options, trust::of_commit(args, (now, then), open)?)
}

/// Which target flags and config name.
pub(super) fn target(args: &Args, config: &Config) -> TargetConfig {
    // A flag that names a cluster means one, though the config names the store.
    let named = args.context.is_some() || args.kubeconfig.is_some() || args.impersonate.is_some();
    let configured = config.target.filter(|target| !named || *target != TargetConfig::Store);
    args.target.or(configured).or(named.then_some(TargetConfig::Auto)).unwrap_or(TargetConfig::Store)
}

fn with_config(args: &Args, options: &PlanOptions, counting: Counting) -> Result<Settings, Failure> {
    let Counting { config, path, base, ignored, files } = counting;
    let parameters = parameters(args, &config)?;
    let base_options = base.map(|base| {
        let namespace = Settings::namespace(args.namespace.as_deref(), &base)?;
        Ok::<_, Failure>(ReadOptions { namespace, parameters: self::parameters(args, &base)? })
    });
    let target = args.target.or(config.target);
    let identity = config.identity.clone().unwrap_or_else(|| git::identity(&args.source));
    let folder = local_folder(&args.source).map(|folder| git::absolute(&folder));
    Ok(Settings {
        namespace: Settings::namespace(args.namespace.as_deref(), &config)?,
        store: places::store(args, config.store.as_deref(), &identity),
        identity,
        folder,
        include: if args.include.is_empty() { config.include.clone() } else { args.include.clone() },
        exclude: config.exclude.iter().chain(&args.exclude).cloned().collect(),
        parameters,
        no_local_registry: target == Some(TargetConfig::Kubernetes) && config.internal_registry.is_none(),
        options: options.clone(),
        config_path: path,
        ignored_keys: ignored,
        base_options: base_options.transpose()?,
        files,
        config,
    })
}

/// The values of template parameters: flags override the config.
fn parameters(args: &Args, config: &Config) -> Result<BTreeMap<String, String>, Failure> {
    let mut parameters = config.params.clone();
    for given in &args.parameters {
        let (name, value) = given.split_once('=').ok_or_else(|| {
            Failure::usage(format!("`--param {given}` has no `=`")).hint("write `--param NAME=VALUE`")
        })?;
        parameters.insert(name.to_owned(), value.to_owned());
    }
    Ok(parameters)
}

/// Where the source of these flags is.
pub(super) fn location(args: &Args) -> Location {
    let (given, revision) = (args.source.clone(), args.revision.clone());
    Location { given, revision, cache: places::cache_dir(args), commit: None }
}

/// The store that the settings name.
pub(super) fn store<'s>(args: &Args, settings: &'s Settings) -> Result<&'s Path, Failure> {
    let Some(store) = &settings.store else {
        let message = "there is no place for the store: neither `HOME` nor `XDG_STATE_HOME` is set";
        return Err(Failure::usage(message).hint("name a folder with `--store DIR`"));
    };
    places::check_store(args, store)?;
    Ok(store)
}
