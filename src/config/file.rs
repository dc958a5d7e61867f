//! The config file's fields.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use crate::findings::Severity;
use crate::model::{Drift, Policy, RemovalLimit};
use crate::source::{Place, inert, yaml_mistake};

use super::Interval;
use super::expression;
use super::freeze::FreezeConfig;
use super::registries::{AllowedRegistryConfig, MirrorConfig, RegistryConfig};
use super::run::RunConfig;
use super::target::TargetConfig;
use super::workloads::WorkloadConfig;

/// Configuration of Streamkeeper.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// Names this source: what it manages belongs to this name. Default: the URL of the source, or of the remote `origin` of the
    /// work tree, with the path in it; otherwise the absolute path of the directory.
    #[schemars(extend("x-class" = "trustedOnly"))]
    pub identity: Option<String>,
    /// What is kept what Git says; the embedded store when it is not given.
    #[schemars(extend("x-class" = "trustedOnly"))]
    pub target: Option<TargetConfig>,
    /// On a cluster, the field manager that what is applied belongs to: a name of this source alone. Default: `streamkeeper-` and a
    /// hash of the identity of the source.
    #[schemars(extend("x-class" = "trustedOnly"))]
    pub field_manager: Option<String>,
    /// Identities that this source had before: what belongs to them belongs to this one.
    #[schemars(extend("x-class" = "trustedOnly"))]
    pub previous_identities: Vec<String>,
    /// Field managers that this source had before, on a cluster: what they manage is taken over, and they keep nothing.
    #[schemars(extend("x-class" = "trustedOnly"))]
    pub previous_field_managers: Vec<String>,
    /// Who imports `scheduled` tags of a cluster when they move; OpenShift, when it is not given.
    #[schemars(extend("x-class" = "trustedOnly"))]
    pub import: Option<ImportConfig>,
    /// On a cluster that is not OpenShift: the registry that tags with `referencePolicy: Local` are pulled from, as
    /// `HOST/NAMESPACE/STREAM@DIGEST`. Images get there without Streamkeeper. Their own registry, when it is not given.
    #[schemars(extend("x-class" = "trustedOnly"))]
    pub internal_registry: Option<String>,
    /// Read the pull secrets of a cluster's namespaces, to ask registries with.
    #[schemars(extend("x-class" = "trustedOnly"))]
    pub pull_secrets: bool,
    /// The namespaces of a cluster that this source has streams in; all that may be seen are looked at when it is not given.
    #[schemars(extend("x-class" = "trustedOnly"))]
    pub namespaces: Vec<String>,
    /// Namespace of definitions that name none; `default` when it is not given.
    #[schemars(extend("x-class" = "free"))]
    pub namespace: Option<String>,
    /// Glob patterns: only files that match one are read. Without any, every `.yaml`, `.yml`, `.json` and extensionless file.
    #[schemars(extend("x-class" = "trustedOnly"))]
    pub include: Vec<String>,
    /// Glob patterns: files that match one are not read.
    #[schemars(extend("x-class" = "trustedOnly"))]
    pub exclude: Vec<String>,
    /// Values of template parameters.
    #[schemars(extend("x-class" = "free"))]
    pub params: BTreeMap<String, String>,
    /// How much is read of a source.
    pub limits: LimitConfig,
    /// Severities and waivers of findings.
    pub findings: FindingRules,
    /// What a run may do, and how often tags are looked at.
    pub policy: PolicyConfig,
    /// What whoever judges a plan is told.
    pub review: ReviewConfig,
    /// How `run` keeps at it.
    #[schemars(extend("x-class" = "trustedOnly"))]
    pub run: RunConfig,
    /// How hosts are treated.
    #[schemars(extend("x-class" = "trustedOnly"))]
    pub registries: Vec<RegistryConfig>,
    /// Who answers in a registry's place.
    #[schemars(extend("x-class" = "trustedOnly"))]
    pub mirrors: Vec<MirrorConfig>,
    /// Files that say more of mirrors, relative to this file: `registries.conf` (version 2), ImageDigestMirrorSet,
    /// ImageTagMirrorSet, ImageContentSourcePolicy.
    #[schemars(extend("x-class" = "trustedOnly"))]
    pub mirror_files: Vec<PathBuf>,
    /// Files with logins, relative to this file, asked before the user's own: Docker or podman configs, pull secrets.
    #[schemars(extend("x-class" = "trustedOnly"))]
    pub credentials: Vec<PathBuf>,
    /// Folder of the embedded store, relative to this file; `.streamkeeper` beside the source when it is not given.
    #[schemars(extend("x-class" = "trustedOnly"))]
    pub store: Option<PathBuf>,
    /// Platform that `Legacy` imports take from manifest lists, as `os/architecture`; `linux/amd64` when it is not given.
    #[schemars(extend("x-class" = "trustedOnly"))]
    pub platform: Option<String>,
}

/// Who imports `scheduled` tags of a cluster when they move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ImportConfig {
    /// OpenShift's own controller, every 15 minutes; plans tell what is newer upstream.
    Openshift,
    /// Streamkeeper, as a step of its plans: `scheduled` is taken out of what is written to the cluster.
    Ours,
}

/// Bytes of one file that are read, when the config does not say.
pub const FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Bytes of all files with definitions that are read, when the config does not say.
pub const TOTAL_BYTES: u64 = 64 * 1024 * 1024;

/// Files of a source that are read, when the config does not say.
pub const FILES: usize = 50_000;

/// So many workloads roll out or build at once without a risk, when the config does not say.
pub const WORKLOADS: usize = 20;

/// How much is read of a source.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LimitConfig {
    /// Bytes of one file; 4 MiB when it is not given.
    #[schemars(extend("x-class" = "tightenOnly"))]
    pub file_bytes: Option<u64>,
    /// Bytes of all files with definitions; equal files count once. Default: 64 MiB.
    #[schemars(extend("x-class" = "tightenOnly"))]
    pub total_bytes: Option<u64>,
    /// Files; 50,000 when it is not given.
    #[schemars(extend("x-class" = "tightenOnly"))]
    pub files: Option<usize>,
}

/// Severities and waivers of findings.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FindingRules {
    /// Severity by code, such as `SK225: off`. Errors that make a stream unusable cannot be lowered.
    #[schemars(extend("x-class" = "tightenOnly"))]
    pub severities: BTreeMap<String, FindingSeverity>,
    /// Findings that somebody answers for.
    #[schemars(extend("x-class" = "trustedOnly"))]
    pub waive: Vec<WaiverConfig>,
}

/// A severity, or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FindingSeverity {
    /// Not shown.
    Off,
    /// Good to know.
    Info,
    /// Probably not what was meant.
    Warning,
    /// Stops the stream.
    Error,
}

/// A finding that somebody answers for.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WaiverConfig {
    /// The code, such as `SK225`.
    #[schemars(with = "String")]
    pub code: Spanned<String>,
    /// Glob pattern of the files it is waived in.
    pub path: String,
    /// Why it may stay.
    pub reason: String,
    /// Last day of the waiver, such as `2027-01-31`; none: for good.
    #[serde(default)]
    pub until: Option<Date>,
}

/// What whoever judges a plan is told.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ReviewConfig {
    /// So many workloads may roll out or build at once without a word; 20 when it is not given.
    #[schemars(extend("x-class" = "tightenOnly"))]
    pub max_workloads: Option<usize>,
    /// Rules of your own.
    #[schemars(extend("x-class" = "trustedOnly"))]
    pub rules: Vec<OwnRule>,
}

/// A rule of your own.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OwnRule {
    /// What it is called.
    pub name: String,
    /// An expression in CEL over `plan`, as `schema plan` has it, and `review`, which is a part of it: true breaks the rule.
    #[schemars(with = "String")]
    pub when: Spanned<String>,
    /// What is said then.
    pub message: String,
    /// How bad it is; a warning when it is not given.
    #[serde(default)]
    pub severity: Option<FindingSeverity>,
}

/// What a run may do, and how often tags are looked at.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PolicyConfig {
    /// How often scheduled tags are due; 15 minutes when it is not given, as on OpenShift.
    #[schemars(extend("x-class" = "trustedOnly"))]
    pub schedule_interval: Option<Interval>,
    /// With bounds, scheduled tags that have moved lately are due more often, and others less: after a tenth of the time that
    /// they have stood still.
    #[schemars(extend("x-class" = "trustedOnly"))]
    pub schedule_bounds: Option<BoundsConfig>,
    /// How old the knowledge of an upstream tag that nobody follows may be; 1 hour when it is not given.
    #[schemars(extend("x-class" = "trustedOnly"))]
    pub check_interval: Option<Interval>,
    /// Removals in one run, as a number or as a part of what is owned, such as `10%`; a fifth and at least 5 when it is not given.
    #[schemars(extend("x-class" = "tightenOnly"))]
    pub max_removals: Option<MaxRemovals>,
    /// An empty source may remove everything.
    #[schemars(extend("x-class" = "trustedOnly"))]
    pub allow_empty: bool,
    /// Registries that images may be imported from; all, when it is not given.
    #[schemars(extend("x-class" = "trustedOnly"))]
    pub allowed_registries_for_import: Vec<AllowedRegistryConfig>,
    /// Hosts that nothing is imported from.
    #[schemars(extend("x-class" = "tightenOnly"))]
    pub blocked_registries: Vec<String>,
    /// Namespaces in which nothing is changed until they are taken out here, `'*'` for all. A single stream has the annotation
    /// `streamkeeper.io/reconcile: disabled`.
    #[schemars(extend("x-class" = "tightenOnly"))]
    pub suspend: Vec<String>,
    /// On a cluster: what becomes of a tag of ours whose source somebody else has written; it is put back when it is not given.
    /// What somebody has taken away is made again.
    #[schemars(extend("x-class" = "trustedOnly"))]
    pub drift: Option<Drift>,
    /// Times in which nothing is changed.
    #[schemars(extend("x-class" = "tightenOnly"))]
    pub freeze: Vec<FreezeConfig>,
    /// How workloads follow tags.
    #[schemars(extend("x-class" = "trustedOnly"))]
    pub workloads: WorkloadConfig,
    /// Tags that `dockerImageRepository` imports; 50 when it is not given, as on OpenShift.
    #[schemars(extend("x-class" = "trustedOnly"))]
    pub max_images_bulk_imported_per_repository: Option<usize>,
}

/// The shortest and the longest interval of scheduled tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BoundsConfig {
    /// No tag is due more often, such as `5m`.
    pub least: Interval,
    /// Each is due at least so often, such as `4h`.
    pub most: Interval,
}

/// How many removals one run may make: a number, or a part of what is owned, such as `10%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "NumberOrText", into = "NumberOrText")]
#[schemars(with = "NumberOrText")]
pub enum MaxRemovals {
    /// So many.
    Count(usize),
    /// So many percent.
    Share(u8),
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum NumberOrText {
    Number(usize),
    Text(String),
}

impl FromStr for MaxRemovals {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{}` is neither a number nor a percentage such as `10%`", inert(text, 40));
        match text.strip_suffix('%') {
            Some(percent) => {
                let percent = percent.parse().ok().filter(|percent| *percent <= 100);
                percent.map(Self::Share).ok_or_else(wrong)
            }
            None => text.parse().map(Self::Count).map_err(|_| wrong()),
        }
    }
}

impl std::fmt::Display for MaxRemovals {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Count(count) => write!(out, "{count}"),
            Self::Share(percent) => write!(out, "{percent}%"),
        }
    }
}

impl TryFrom<NumberOrText> for MaxRemovals {
    type Error = String;

    fn try_from(value: NumberOrText) -> Result<Self, String> {
        match value {
            NumberOrText::Number(count) => Ok(Self::Count(count)),
            NumberOrText::Text(text) => text.parse(),
        }
    }
}

impl From<MaxRemovals> for NumberOrText {
    fn from(limit: MaxRemovals) -> Self {
        match limit {
            MaxRemovals::Count(count) => Self::Number(count),
            MaxRemovals::Share(_) => Self::Text(limit.to_string()),
        }
    }
}

impl From<MaxRemovals> for RemovalLimit {
    fn from(limit: MaxRemovals) -> Self {
        match limit {
            MaxRemovals::Count(count) => Self::Count(count),
            MaxRemovals::Share(percent) => Self::Share(percent),
        }
    }
}

/// A config has a mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the config `{place}` is wrong: {message}")]
pub struct ConfigError {
    /// The file, with line and column where they are known.
    pub place: String,
    /// What is wrong.
    pub message: String,
}

impl Config {
    /// Reads the text of a config file. Paths in it are relative to `folder`; `shown` is what errors call it.
    ///
    /// # Errors
    ///
    /// When it has a mistake.
    pub fn parse(text: &str, shown: &str, folder: &Path) -> Result<Self, ConfigError> {
        let mut config = Self::parse_unplaced(text, shown)?;
        config.place(folder);
        Ok(config)
    }

    /// Makes paths relative to `folder`, once.
    pub fn place(&mut self, folder: &Path) {
        self.store = self.store.take().map(|store| folder.join(store));
        for path in self.files_mut() {
            *path = folder.join(&*path);
        }
        self.registries.iter_mut().for_each(|registry| registry.place(folder));
        self.run.place(folder);
    }

    /// The files that it names, but those of `run`.
    pub fn files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let own = self.mirror_files.iter_mut().chain(&mut self.credentials);
        own.chain(self.registries.iter_mut().flat_map(RegistryConfig::files_mut))
    }

    /// Reads the text of a config file and leaves paths as they are written.
    ///
    /// # Errors
    ///
    /// When it has a mistake.
    pub fn parse_unplaced(text: &str, shown: &str) -> Result<Self, ConfigError> {
        let wrong = |place: &str, message: String| ConfigError { place: format!("{shown}{place}"), message };
        if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            return Ok(Self::default());
        }
        let config: Self = serde_saphyr::from_str(text).map_err(|error| {
            let place = error.location().map_or(String::new(), |at| format!(":{}:{}", at.line(), at.column()));
            wrong(&place, yaml_mistake(&error))
        })?;
        for registry in &config.registries {
            registry.check().map_err(|message| wrong("", message))?;
        }
        config.run.check().map_err(|message| wrong("", message))?;
        if config.policy.schedule_bounds.is_some_and(|bounds| bounds.least.duration() > bounds.most.duration()) {
            return Err(wrong("", "`policy.scheduleBounds`: `least` is more than `most`".to_owned()));
        }
        config.policy.freeze.iter().try_for_each(FreezeConfig::check).map_err(|message| wrong("", message))?;
        for rule in &config.review.rules {
            let place = format!(":{}:{}", rule.when.referenced.line(), rule.when.referenced.column());
            expression::check(&rule.when.value).map_err(|error| {
                let why = inert(&error, 300);
                wrong(&place, format!("the rule `{}` is no expression: {why}", inert(&rule.name, 80)))
            })?;
        }
        // It is a part of names of annotations as well.
        let plain = |name: &String| {
            let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            (1..=40).contains(&name.len())
                && name.bytes().all(inner)
                && name.ends_with(|char: char| char.is_ascii_alphanumeric())
        };
        let managers = config.field_manager.iter().chain(&config.previous_field_managers);
        if !managers.clone().all(plain) {
            let why =
                "`fieldManager` and `previousFieldManagers` are names of at most 40 letters, digits, `-`, `_` and `.`";
            return Err(wrong("", why.to_owned()));
        }
        if config.field_manager.as_ref().is_some_and(|name| config.previous_field_managers.contains(name)) {
            return Err(wrong("", "`previousFieldManagers` names the `fieldManager` itself".to_owned()));
        }
        let is_identity = |name: &String| (1..=400).contains(&name.len()) && !name.chars().any(char::is_control);
        if !config.identity.iter().chain(&config.previous_identities).all(is_identity) {
            return Err(wrong("", "`identity` is a text of at most 400 bytes, without control characters".to_owned()));
        }
        let platform = config.platform.as_deref();
        if platform.is_some_and(|platform| platform.split('/').filter(|part| !part.is_empty()).count() != 2) {
            return Err(wrong("", "`platform` is `os/architecture`, such as `linux/arm64`".to_owned()));
        }
        for (code, severity) in &config.findings.severities {
            check_severity(code, severity.as_severity()).map_err(|message| wrong("", message))?;
        }
        for waiver in &config.findings.waive {
            let place = format!(":{}:{}", waiver.code.referenced.line(), waiver.code.referenced.column());
            check_rule(&waiver.code.value, None).map_err(|message| wrong(&place, message))?;
            globset::Glob::new(&waiver.path).map_err(|error| wrong(&place, inert(&error.to_string(), 200)))?;
        }
        for pattern in config.include.iter().chain(&config.exclude) {
            globset::Glob::new(pattern).map_err(|error| wrong("", inert(&error.to_string(), 200)))?;
        }
        Ok(config)
    }

    /// The planner's policy.
    pub fn policy(&self) -> Policy {
        let PolicyConfig { schedule_interval, check_interval, max_removals, allow_empty, .. } = &self.policy;
        let mut policy = Policy { allow_empty: *allow_empty, ..Policy::default() };
        if let Some(interval) = schedule_interval {
            policy.schedule_interval = interval.duration();
        }
        let bounds = self.policy.schedule_bounds;
        policy.adapts = bounds.map(|bounds| (bounds.least.duration(), bounds.most.duration()));
        if let Some(interval) = check_interval {
            policy.check_interval = interval.duration();
        }
        if let Some(count) = self.policy.max_images_bulk_imported_per_repository {
            policy.repository_tags = count;
        }
        if let Some(limit) = max_removals {
            policy.removals = (*limit).into();
        }
        policy.suspended = self.policy.suspend.iter().cloned().collect();
        policy.drift = self.policy.drift.unwrap_or_default();
        policy.on_failure = self.policy.workloads.on_failure.unwrap_or_default();
        policy
    }

    /// The freeze that is in force, with its end.
    pub fn frozen(&self, now: Timestamp) -> Option<(&FreezeConfig, Timestamp)> {
        let in_force = self.policy.freeze.iter().filter_map(|freeze| Some((freeze, freeze.until(now)?)));
        in_force.max_by_key(|(_, until)| *until)
    }

    /// Operating system and architecture that `Legacy` imports prefer.
    pub fn platform(&self) -> Option<(String, String)> {
        let (os, architecture) = self.platform.as_deref()?.split_once('/')?;
        Some((os.to_owned(), architecture.to_owned()))
    }
}

/// A rule that cannot be broken and used all the same cannot be talked away.
fn check_rule(code: &str, severity: Option<Severity>) -> Result<(), String> {
    let code: crate::findings::Code = code.parse().map_err(|error: crate::findings::UnknownCode| error.to_string())?;
    if code.is_binding() && severity != Some(Severity::Error) {
        return Err(format!("{code} ({}) cannot be lowered or waived: {}", code.name(), code.summary()));
    }
    Ok(())
}

/// Likewise for a severity alone.
fn check_severity(code: &str, severity: Option<Severity>) -> Result<(), String> {
    check_rule(code, severity)?;
    let code: crate::findings::Code = code.parse().map_err(|error: crate::findings::UnknownCode| error.to_string())?;
    if code.is_fixed() && severity != Some(Severity::Error) {
        return Err(format!("{code} ({}) cannot be lowered: {}", code.name(), code.summary()));
    }
    Ok(())
}

impl FindingSeverity {
    /// The severity; none for `off`.
    pub fn as_severity(self) -> Option<Severity> {
        match self {
            Self::Off => None,
            Self::Info => Some(Severity::Info),
            Self::Warning => Some(Severity::Warning),
            Self::Error => Some(Severity::Error),
        }
    }
}

impl WaiverConfig {
    /// Where it stands in the config.
    pub fn place(&self, path: &str) -> Place {
        let at = &self.code.referenced;
        let number = |value: u64| u32::try_from(value).unwrap_or_default();
        Place { path: path.to_owned(), line: number(at.line()), column: number(at.column()), ..Place::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, "c.yaml", Path::new("/base")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_config_is_read_and_its_paths_are_its_own() {
        let config = parse(
            "namespace: shop\nregistries:\n  - {host: r.example.com, layout: images}\npolicy: {scheduleInterval: 5m, maxRemovals: 3}\n",
        )
        .expect("a good config");
        assert_eq!(config.registries[0].layout.as_deref(), Some(Path::new("/base/images")));
        let policy = config.policy();
        assert_eq!((policy.schedule_interval.as_mins(), policy.removals), (5, RemovalLimit::Count(3)));
        assert!(parse("").is_ok());
        assert!(parse("# nothing\n").is_ok());
    }

    #[test]
    fn mistakes_have_a_place() {
        for (text, expected) in [
            ("namespce: x\n", "c.yaml:1:1"),
            ("policy:\n  checkInterval: soon\n", "`soon` is not a length of time"),
            ("platform: arm64\n", "`os/architecture`"),
            ("findings:\n  severities: {SK999: off}\n", "no rule is called `SK999`"),
            ("findings:\n  severities: {SK207: off}\n", "cannot be lowered"),
            ("findings:\n  waive:\n    - {code: SK207, path: '*', reason: x}\n", "c.yaml:3:"),
            ("include: ['[']\n", "c.yaml"),
        ] {
            let error = parse(text).err().unwrap_or_default();
            assert!(error.contains(expected), "{text:?} gives {error:?}");
        }
    }
}
