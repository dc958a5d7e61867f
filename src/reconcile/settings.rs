//! Config and flags, brought together: flags win.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::config::{Config, ImportConfig, MaxRemovals};
use crate::definitions::ReadOptions;
use crate::findings::{FindingPolicy, SeverityRule, UnknownCode, Waiver};
use crate::model::{Identities, PassState, Policy, Refresh, Schedule};
use crate::openshift::{StreamId, is_namespace, parse_name};
use crate::ports::{LiveState, TargetKind};
use crate::rules::Server;
use crate::source::{hash_of, inert, short_hash};

use super::failure::Failure;
use super::selection::{ReadLimits, Reading, Selection};

/// What flags say of one plan, beside the config.
#[derive(Clone, Debug, Default)]
pub struct PlanOptions {
    /// Import these again although they are not due: `STREAM` or `STREAM:TAG`; all of them where the list is empty.
    pub refresh: Option<Vec<String>>,
    /// How many tags may be removed.
    pub max_removals: Option<MaxRemovals>,
    /// A source without any stream may remove everything.
    pub allow_empty: bool,
    /// Removals may follow from reading another part of the source than last time.
    pub change_scope: bool,
    /// A freeze of the config does not count.
    pub ignore_freeze: bool,
    /// Any finding that is a warning or an error stops the session.
    pub strict: bool,
    /// Tags that another field manager applies are taken over.
    pub force_conflicts: bool,
}

/// What a session works by.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The config.
    pub config: Config,
    /// The config file as findings show it.
    pub config_path: String,
    /// Namespace of definitions that name none, and of names that people give.
    pub namespace: String,
    /// Folder of the embedded store; none where there is no place for it.
    pub store: Option<PathBuf>,
    /// Names the source: what is managed belongs to this name.
    pub identity: String,
    /// The source, where it is a folder on disk, as an absolute path.
    pub folder: Option<PathBuf>,
    /// Only files that match one of these patterns; all where there is none.
    pub include: Vec<String>,
    /// No files that match one of these.
    pub exclude: Vec<String>,
    /// Values of template parameters.
    pub parameters: BTreeMap<String, String>,
    /// The target is a cluster without a registry of its own, and the config names none.
    pub no_local_registry: bool,
    /// What flags say.
    pub options: PlanOptions,
    /// What gave the definitions of the trusted revision their meaning, where that is another one.
    pub base_options: Option<ReadOptions>,
    /// Keys of the source's own config that differ from the trusted one and do not count.
    pub ignored_keys: Vec<&'static str>,
    /// Holds the files that a config in a revision names.
    pub files: Option<Arc<tempfile::TempDir>>,
}

impl Settings {
    /// The namespace that flags or config name, if it is one.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub fn namespace(given: Option<&str>, config: &Config) -> Result<String, Failure> {
        let namespace = given.or(config.namespace.as_deref()).unwrap_or("default");
        if !is_namespace(namespace) {
            let message = format!("`{}` is not a namespace", inert(namespace, 80));
            return Err(
                Failure::usage(message).hint("a namespace is lower-case letters, digits and `-`, at most 63 of them")
            );
        }
        Ok(namespace.to_owned())
    }

    /// How the source is read. `named`: files that are read whatever they are called.
    ///
    /// # Errors
    ///
    /// When a pattern, or a code of the config, is none.
    pub fn reading(&self, named: impl IntoIterator<Item = String>, now: Timestamp) -> Result<Reading, Failure> {
        Ok(Reading {
            selection: Selection::new(named, &self.include, &self.exclude).map_err(Failure::usage)?,
            identity: self.identity.clone(),
            limits: self.limits(),
            options: ReadOptions { namespace: self.namespace.clone(), parameters: self.parameters.clone() },
            findings: self.finding_policy(now)?,
            no_local_registry: self.no_local_registry,
        })
    }

    /// How much is read.
    pub fn limits(&self) -> ReadLimits {
        let defaults = ReadLimits::default();
        ReadLimits {
            file_bytes: self.config.limits.file_bytes.unwrap_or(defaults.file_bytes),
            total_bytes: self.config.limits.total_bytes.unwrap_or(defaults.total_bytes),
            files: self.config.limits.files.unwrap_or(defaults.files),
        }
    }

    /// What the config says of findings.
    ///
    /// # Errors
    ///
    /// When a code or a path of the config is none.
    pub(super) fn finding_policy(&self, now: Timestamp) -> Result<FindingPolicy, Failure> {
        let mut policy = FindingPolicy { today: now.to_zoned(TimeZone::UTC).date(), ..FindingPolicy::default() };
        let code = |text: &str| text.parse().map_err(|error: UnknownCode| Failure::refused(error.to_string()));
        for (name, severity) in &self.config.findings.severities {
            policy.severities.push(SeverityRule { code: code(name)?, severity: severity.as_severity() });
        }
        for waiver in &self.config.findings.waive {
            let glob = globset::Glob::new(&waiver.path).map_err(|error| Failure::refused(error.to_string()))?;
            let paths = glob.compile_matcher();
            let (code, place) = (code(&waiver.code.value)?, waiver.place(&self.config_path));
            policy.waivers.push(Waiver { code, paths, until: waiver.until, place });
        }
        Ok(policy)
    }

    /// What a plan for this target may do.
    pub fn policy(&self, live: &impl LiveState) -> Policy {
        let mut policy = self.config.policy();
        let kind = live.kind();
        policy.images_per_import = kind.images_per_import();
        policy.force_conflicts = self.options.force_conflicts;
        policy.identities = self.identities();
        policy.previous_managers = self.previous_managers();
        policy.schedule = match (kind, self.config.import) {
            (TargetKind::Store | TargetKind::Kubernetes, _) => Schedule::Ours,
            (TargetKind::OpenShift, Some(ImportConfig::Ours)) => Schedule::TakenOver,
            (TargetKind::OpenShift, Some(ImportConfig::Openshift) | None) => Schedule::Server,
        };
        if kind.updates_workloads() {
            policy.workloads = Some(self.config.policy.workloads.policy(live.manager().unwrap_or_default()));
        }
        if let Some(limit) = self.options.max_removals {
            policy.removals = limit.into();
        }
        policy.allow_empty |= self.options.allow_empty;
        policy.change_scope = self.options.change_scope;
        policy
    }

    /// What holds now for a plan for this target.
    ///
    /// # Errors
    ///
    /// When `--refresh` names what is no name.
    pub fn pass_state(&self, live: &impl LiveState, now: Timestamp) -> Result<PassState, Failure> {
        let frozen = self.config.frozen(now).filter(|_| !self.options.ignore_freeze);
        // Two machines may have different sources in directories of one name.
        let is_path = self.folder.as_ref().is_some_and(|folder| folder.to_str() == Some(&self.identity));
        let is_anonymous = live.kind() != TargetKind::Store && is_path && self.config.field_manager.is_none();
        let no_removals = "the source is a directory without a remote, which another machine may have as well: on a cluster nothing is \
                           removed until the config sets `identity` or `fieldManager`";
        let refresh = match &self.options.refresh {
            None => Refresh::None,
            Some(names) if names.is_empty() => Refresh::All,
            Some(names) => Refresh::Some(names.iter().map(|name| self.name(name)).collect::<Result<_, _>>()?),
        };
        Ok(PassState {
            refresh,
            no_removals: is_anonymous.then(|| no_removals.to_owned()),
            frozen: frozen.map(|(freeze, until)| format!("the freeze until {until}: {freeze}")),
            ..PassState::default()
        })
    }

    /// How the target is set up. OpenShift shows by itself which registry it has.
    pub fn server(&self, live: &impl LiveState) -> Server {
        let is_plain = live.kind() == TargetKind::Kubernetes;
        Server {
            platform: self.platform(),
            internal_registry: self.config.internal_registry.clone().filter(|_| is_plain),
        }
    }

    /// The field manager that is written as.
    pub fn manager(&self) -> String {
        self.config.field_manager.clone().unwrap_or_else(|| usual_manager(&self.identity))
    }

    /// The field managers that the source had before: those that the config names, and those that follow from its earlier identities.
    pub fn previous_managers(&self) -> Vec<String> {
        let own = self.manager();
        let usual = self.config.previous_identities.iter().map(|identity| usual_manager(identity));
        let named = self.config.previous_field_managers.iter().cloned();
        named.chain(usual.filter(|_| self.config.field_manager.is_none())).filter(|name| *name != own).collect()
    }

    /// To which identities what this source manages belongs: its own, and those it had before.
    pub fn identities(&self) -> Identities {
        Identities { own: self.identity.clone(), previous: self.config.previous_identities.clone() }
    }

    /// Likewise, of a store. One that lies in the source belongs to it from before it had a remote, or another one.
    pub fn identities_of_store(&self) -> Identities {
        let mut identities = self.identities();
        identities.previous.extend(self.folder.as_ref().map(|folder| folder.display().to_string()));
        identities
    }

    /// Reads `STREAM`, `STREAM:TAG`, or either with `NAMESPACE/` before it.
    ///
    /// # Errors
    ///
    /// When it is none of them.
    pub fn name(&self, text: &str) -> Result<(StreamId, Option<String>), Failure> {
        parse_name(text, &self.namespace).ok_or_else(|| {
            Failure::usage(format!("`{}` is not a name", inert(text, 120)))
                .hint("write `STREAM`, `STREAM:TAG`, or either with `NAMESPACE/` before it")
        })
    }

    /// Identifies the config: what was opened or planned by another one is not what this one says. None where it cannot be
    /// identified, as with a path that is not UTF-8: then it is to be taken for another one.
    pub fn fingerprint(&self) -> Option<String> {
        hash_of(1, &self.config, 16)
    }

    /// Operating system and architecture that `Legacy` imports prefer.
    pub(super) fn platform(&self) -> (String, String) {
        self.config.platform().unwrap_or(Server::default().platform)
    }
}

/// The field manager of a source whose config names none.
fn usual_manager(identity: &str) -> String {
    format!("streamkeeper-{}", short_hash(identity, 12))
}
