//! What commands need, opened from flags and config.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use crate::adapters::cluster::Api;
use crate::adapters::git::{self, Location};
use crate::adapters::registry::{Credentials, Registries};
use crate::adapters::store::{Cache, Reader};
use crate::config::{Config, FILE_NAME, ImportConfig};
use crate::definitions::{ReadOptions, Ruling, SeverityRule, Waiver};
use crate::model::{Policy, Refresh, RemovalLimit, Schedule, StreamId};
use crate::ports::{BlobReader, Entry, Source};
use crate::reconcile::{self, Limits, ReadSource, Reading, Selection};
use crate::rules::Server;

use super::args::{Args, Planning, Target};
use super::console::Console;
use super::failure::{Exit, Failure};
use super::registries;
use super::target::Live;

/// Config and flags, brought together.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) config: Config,
    /// The config file as it is shown in findings.
    config_path: String,
    pub(super) namespace: String,
    pub(super) store: PathBuf,
    include: Vec<String>,
    exclude: Vec<String>,
    parameters: BTreeMap<String, String>,
    /// The target is a cluster without a registry of its own, and the config names none.
    no_local_registry: bool,
}

/// What reading a source takes.
pub(super) struct Parts {
    pub(super) selection: Selection,
    pub(super) options: ReadOptions,
    pub(super) ruling: Ruling,
}

/// Name and version, as plans carry them.
pub(super) const TOOL: &str = concat!("streamkeeper ", env!("CARGO_PKG_VERSION"));

/// Now, to the second, as image streams keep time.
pub(super) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

impl Context {
    /// Reads the config of a source that lies in a folder; flags win.
    pub(super) fn load(args: &Args) -> Result<Self, Failure> {
        let folder = local_folder(&args.source);
        let (config, config_path) = match (&args.config, &folder) {
            (Some(path), _) => (read_config(path)?, path.display().to_string()),
            (None, Some(folder)) if args.revision.is_none() && folder.join(FILE_NAME).symlink_metadata().is_ok() => {
                (read_config(&folder.join(FILE_NAME))?, FILE_NAME.to_owned())
            }
            (None, _) => (Config::default(), FILE_NAME.to_owned()),
        };
        Self::with_config(args, config, config_path)
    }

    /// Opens the source, and takes the config from the revision where it is read from Git objects.
    pub(super) fn open(args: &Args) -> Result<(Self, Box<dyn Source>), Failure> {
        Self::open_at(args, None)
    }

    /// Likewise, with a commit that the revision is known to be.
    pub(super) fn open_at(args: &Args, commit: Option<String>) -> Result<(Self, Box<dyn Source>), Failure> {
        let location = Location { commit, ..location(args) };
        let source = git::open(&location)?;
        if !Self::is_in_revision(args) {
            return Ok((Self::load(args)?, source));
        }
        let Some(text) = config_of_revision(&*source)? else { return Ok((Self::load(args)?, source)) };
        let config = Config::parse(&text, FILE_NAME, Path::new(""))?;
        if let Some(field) = registries::reaching(&config) {
            let of = if field == "registries" { " with files, `private`, `insecure` or `tokenService`" } else { "" };
            let message = format!("`{FILE_NAME}` in the revision has `{field}`{of}, which only a config on disk may");
            return Err(Failure::new(Exit::Refused, message).hint("name a config with `--config FILE`"));
        }
        Ok((Self::with_config(args, config, FILE_NAME.to_owned())?, source))
    }

    /// Whether the config is read from the revision, if it has one.
    pub(super) fn is_in_revision(args: &Args) -> bool {
        args.config.is_none() && (args.revision.is_some() || local_folder(&args.source).is_none())
    }

    fn with_config(args: &Args, config: Config, config_path: String) -> Result<Self, Failure> {
        let mut parameters = config.params.clone();
        for given in &args.parameters {
            let (name, value) = given.split_once('=').ok_or_else(|| {
                Failure::usage(format!("`--param {given}` has no `=`")).hint("write `--param NAME=VALUE`")
            })?;
            parameters.insert(name.to_owned(), value.to_owned());
        }
        let beside = || local_folder(&args.source).unwrap_or_default().join(".streamkeeper");
        let store = args.store.clone().or_else(|| config.store.clone()).unwrap_or_else(beside);
        let namespace =
            args.namespace.clone().or_else(|| config.namespace.clone()).unwrap_or_else(|| "default".to_owned());
        if !crate::model::is_namespace(&namespace) {
            let message = format!("`{}` is not a namespace", crate::text::inert(&namespace, 80));
            return Err(
                Failure::usage(message).hint("a namespace is lower-case letters, digits and `-`, at most 63 of them")
            );
        }
        let include = if args.include.is_empty() { config.include.clone() } else { args.include.clone() };
        let exclude = config.exclude.iter().chain(&args.exclude).cloned().collect();
        let target = args.target.or(config.target.map(Target::from));
        let no_local_registry = target == Some(Target::Kubernetes) && config.internal_registry.is_none();
        Ok(Self { config, config_path, namespace, store, include, exclude, parameters, no_local_registry })
    }

    /// How the source is read.
    pub(super) fn reading(&self, named: BTreeSet<String>) -> Result<Parts, Failure> {
        let selection = Selection {
            named,
            include: globs(&self.include)?,
            exclude: globs(&self.exclude)?,
            included: self.include.clone(),
            excluded: self.exclude.clone(),
        };
        let options = ReadOptions { namespace: self.namespace.clone(), parameters: self.parameters.clone() };
        Ok(Parts { selection, options, ruling: self.ruling()? })
    }

    /// Reads what the source defines.
    pub(super) fn read(
        &self,
        source: &dyn Source,
        parts: &Parts,
        list: reconcile::List,
        cache: &Cache,
        console: &Console,
    ) -> Result<ReadSource, Failure> {
        let Parts { selection, options, ruling } = parts;
        let reading = Reading { selection, limits: self.limits(), options, ruling };
        Ok(reconcile::definitions(source, list, &reading, cache, console)?)
    }

    pub(super) fn limits(&self) -> Limits {
        let defaults = Limits::default();
        Limits {
            file_bytes: self.config.limits.file_bytes.unwrap_or(defaults.file_bytes),
            files: self.config.limits.files.unwrap_or(defaults.files),
        }
    }

    fn ruling(&self) -> Result<Ruling, Failure> {
        let refused = |error: String| Failure::new(Exit::Refused, error);
        let today = now().to_zoned(jiff::tz::TimeZone::UTC).date();
        let mut ruling = Ruling { today, no_local_registry: self.no_local_registry, ..Ruling::default() };
        for (code, severity) in &self.config.findings.severities {
            let code = code.parse().map_err(|error: crate::text::UnknownCode| refused(error.to_string()))?;
            ruling.severities.push(SeverityRule { code, severity: severity.as_severity() });
        }
        for waiver in &self.config.findings.waive {
            let code =
                waiver.code.value.parse().map_err(|error: crate::text::UnknownCode| refused(error.to_string()))?;
            let paths = globset::Glob::new(&waiver.path).map_err(|error| refused(error.to_string()))?.compile_matcher();
            ruling.waivers.push(Waiver { code, paths, until: waiver.until, place: waiver.place(&self.config_path) });
        }
        Ok(ruling)
    }

    /// What a plan may do, flags over config.
    pub(super) fn policy(&self, planning: &Planning, live: &Live) -> Result<Policy, Failure> {
        let mut policy = self.config.policy();
        policy.images_per_import = live.images_per_import();
        let frozen = self.config.frozen(now()).filter(|_| !planning.ignore_freeze);
        policy.frozen = frozen.map(|(freeze, until)| format!("the freeze until {until}: {freeze}"));
        policy.force_conflicts = planning.force_conflicts;
        policy.schedule = match (live, self.config.import) {
            (Live::Store(_), _) => Schedule::Ours,
            (Live::Cluster(cluster), _) if cluster.api() == Api::Kubernetes => Schedule::Ours,
            (Live::Cluster(_), Some(ImportConfig::Ours)) => Schedule::TakenOver,
            (Live::Cluster(_), Some(ImportConfig::Openshift) | None) => Schedule::Server,
        };
        if let Live::Cluster(cluster) = live
            && cluster.api() == Api::Kubernetes
        {
            policy.workloads = Some(self.config.policy.workloads.policy(cluster.manager()));
        }
        // Two sources that write as the same manager would each take away what the other one has put there.
        if matches!(live, Live::Cluster(_)) && self.config.field_manager.is_none() {
            let by = "`fieldManager` is not set in the config: on a cluster, only what was written under a name of this source's own is removed";
            policy.no_removals = Some(by.to_owned());
        }
        if let Some(count) = planning.max_removals {
            policy.removals = RemovalLimit::Count(count);
        }
        policy.allow_empty |= planning.allow_empty;
        policy.change_scope = planning.change_scope;
        policy.refresh = match &planning.refresh {
            None => Refresh::None,
            Some(names) if names.is_empty() => Refresh::All,
            Some(names) => {
                let parsed: Result<BTreeSet<_>, Failure> = names.iter().map(|name| self.name(name)).collect();
                Refresh::Some(parsed?)
            }
        };
        Ok(policy)
    }

    /// `STREAM`, `STREAM:TAG`, either with `NAMESPACE/` before it.
    pub(super) fn name(&self, text: &str) -> Result<(StreamId, Option<String>), Failure> {
        let (stream, tag) = match text.split_once(':') {
            Some((stream, tag)) => (stream, Some(tag.to_owned())),
            None => (text, None),
        };
        let id = match stream.split_once('/') {
            Some((namespace, name)) => StreamId::new(namespace, name),
            None => StreamId::new(&self.namespace, stream),
        };
        let bad = id.name.is_empty() || id.namespace.is_empty() || tag.as_deref() == Some("") || id.name.contains('/');
        if bad {
            let message = format!("`{}` is not a name", crate::text::inert(text, 120));
            return Err(
                Failure::usage(message).hint("write `STREAM`, `STREAM:TAG`, or either with `NAMESPACE/` before it")
            );
        }
        Ok((id, tag))
    }

    /// How a target is set up. OpenShift shows by itself which registry it has.
    pub(super) fn server(&self, live: &Live) -> Server {
        let defaults = Server::default();
        let is_plain = matches!(live, Live::Cluster(cluster) if cluster.api() == Api::Kubernetes);
        Server {
            platform: self.config.platform().unwrap_or(defaults.platform.clone()),
            internal_registry: self.config.internal_registry.clone().filter(|_| is_plain),
        }
    }

    /// The registries; `person_waits` for what they say. `more` logins are tried after those of the config and of the user.
    pub(super) fn registries(
        &self,
        cache: Arc<Cache>,
        person_waits: bool,
        more: Credentials,
    ) -> Result<Registries, Failure> {
        registries::open(&self.config, cache, person_waits, more)
    }

    /// The embedded store, to look at.
    pub(super) fn reader(&self) -> Result<Reader, Failure> {
        Ok(Reader::open(&self.store)?)
    }
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

fn read_config(path: &Path) -> Result<Config, Failure> {
    let shown = path.display().to_string();
    let unreadable = |error| Failure::new(Exit::Failed, format!("failed to read the config `{shown}`: {error}"));
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    Ok(Config::parse(&text, &shown, path.parent().unwrap_or(Path::new("")))?)
}

fn config_of_revision(source: &dyn Source) -> Result<Option<String>, Failure> {
    const LIMIT: u64 = 1024 * 1024;
    let listing = source.list(&|path: &str| path == FILE_NAME, 1)?;
    if listing.refused.iter().any(|refused| refused.path == FILE_NAME) {
        let message = format!("`{FILE_NAME}` in the revision is a link, and links are not followed");
        return Err(Failure::new(Exit::Refused, message).hint("name a config with `--config FILE`"));
    }
    let Some(entry): Option<&Entry> = listing.entries.first() else { return Ok(None) };
    let mut reader: Box<dyn BlobReader + '_> = source.reader()?;
    let bytes = reader.read(entry, LIMIT)?;
    String::from_utf8(bytes)
        .map(Some)
        .map_err(|_| Failure::new(Exit::Refused, format!("`{FILE_NAME}` in the revision is not UTF-8")))
}

fn globs(patterns: &[String]) -> Result<Option<globset::GlobSet>, Failure> {
    if patterns.is_empty() {
        return Ok(None);
    }
    let mut set = globset::GlobSetBuilder::new();
    for pattern in patterns {
        let glob = globset::GlobBuilder::new(pattern).literal_separator(true).build();
        set.add(glob.map_err(|error| Failure::usage(format!("`{pattern}` is not a pattern: {error}")))?);
    }
    set.build().map(Some).map_err(|error| Failure::usage(error.to_string()))
}

/// Where mirrors of URLs are kept (XDG base directory specification).
pub(super) fn cache_folder() -> PathBuf {
    let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    of("STREAMKEEPER_CACHE")
        .or_else(|| of("XDG_CACHE_HOME").map(|cache| cache.join("streamkeeper")))
        .or_else(|| of("HOME").map(|home| home.join(".cache/streamkeeper")))
        .unwrap_or_else(|| std::env::temp_dir().join("streamkeeper-cache"))
}
