//! How `run` keeps at it.

// An address is a value: `core` has no network.
use core::net::SocketAddr;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{CodeHost, NoticeFormat, Sender};
use crate::source::is_url;

use super::{Interval, TargetConfig};

/// How `run` keeps at it. Counts in a config on disk only, read when it starts.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RunConfig {
    /// Between two looks at a source behind a URL; 1 minute when it is not given.
    pub poll: Option<Interval>,
    /// At least so often everything is looked at; 1 hour when it is not given.
    pub full: Option<Interval>,
    /// Where definitions come from; the source of the command line when it is not given.
    pub sources: Vec<RunSource>,
    /// What is kept what they say, each source on each target; the target of the command line when it is not given.
    pub targets: Vec<RunTarget>,
    /// Who of several processes writes to a cluster.
    pub lease: LeaseConfig,
    /// Where it answers about health, metrics and status.
    pub listen: Option<ListenConfig>,
    /// Who may say that there is something to look at.
    pub webhooks: Vec<WebhookConfig>,
    /// Who is told when something is not as it should be for some time, and when it is so again.
    pub notify: Vec<NotifyConfig>,
    /// How long it has to last before somebody is told; 2 minutes when it is not given.
    pub notify_after: Option<Interval>,
    /// Hosts of sources that are told how far commits have come.
    pub commit_statuses: Vec<CommitStatusConfig>,
}

/// Somebody who is told.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NotifyConfig {
    /// File with the URL that it is posted to, relative to this file: such URLs are secrets.
    pub url_file: PathBuf,
    /// How it is written.
    pub format: NoticeFormat,
    /// With `format: json`: the JSON that is posted, in whose strings `{{lane}}`, `{{state}}`, `{{title}}`, `{{lines}}` and
    /// `{{time}}` are filled in.
    #[serde(default)]
    pub template: Option<String>,
}

/// A host of sources that is told how far commits have come.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CommitStatusConfig {
    /// What it is.
    pub kind: CodeHost,
    /// Its name in URLs of sources, such as `github.com`, with the port where there is one.
    pub host: String,
    /// Base of its API; what is usual for the host when it is not given.
    #[serde(default)]
    pub api: Option<String>,
    /// File with the token, relative to this file. It needs to be good for commit statuses and nothing else.
    pub token_file: PathBuf,
}

/// A source.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RunSource {
    /// What it is called in logs and metrics.
    pub name: String,
    /// A folder, relative to this file, or a URL.
    pub source: String,
    /// Branch, tag or commit.
    #[serde(default)]
    pub revision: Option<String>,
    /// Its config, relative to this file; `streamkeeper.yaml` in the source when it is not given.
    #[serde(default)]
    pub config: Option<PathBuf>,
    /// Namespace of definitions that name none.
    #[serde(default)]
    pub namespace: Option<String>,
    /// The config in the source counts as if it were given with `config`. Default: only its keys that any revision may set count.
    #[serde(default)]
    pub trusted: bool,
}

/// A target.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RunTarget {
    /// What it is called in logs and metrics.
    pub name: String,
    /// What it is.
    pub target: TargetConfig,
    /// Context of the kubeconfig.
    #[serde(default)]
    pub context: Option<String>,
    /// Kubeconfig, relative to this file.
    #[serde(default)]
    pub kubeconfig: Option<PathBuf>,
    /// Folder of the embedded store, relative to this file; one for each source.
    #[serde(default)]
    pub store: Option<PathBuf>,
}

/// Who of several processes writes to a cluster: whoever holds this Lease on it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LeaseConfig {
    /// Its namespace; that of the pod, or `default`.
    pub namespace: Option<String>,
    /// Its name. Default: `streamkeeper-` and the field manager. A name that is given ends with that of the reconciler where there are
    /// several.
    pub name: Option<String>,
    /// After so long without renewal another process takes it; 15 seconds when it is not given.
    pub duration: Option<Interval>,
}

/// Where it answers about health, metrics and status.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListenConfig {
    /// Such as `127.0.0.1:8080`. Another address than loopback needs `tokenFile`, and a certificate or `plainText`.
    #[schemars(with = "String")]
    pub address: SocketAddr,
    /// Address for `/livez` and `/readyz` alone, such as `0.0.0.0:8081`, in plain text and without a token: whoever is busy with the
    /// other address keeps no probe waiting. Without it, they are answered at `address`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub health: Option<SocketAddr>,
    /// File with the bearer token that everything but health asks for, relative to this file.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// Certificate chain in PEM, relative to this file.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    /// Its key.
    #[serde(default)]
    pub key: Option<PathBuf>,
    /// Without TLS although it is no loopback address: somebody else encrypts.
    #[serde(default)]
    pub plain_text: bool,
}

/// Somebody who may say that there is something to look at.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebhookConfig {
    /// Who: it says how the sender proves to be it. Taken at `/webhooks/KIND`.
    pub kind: Sender,
    /// File with the secret, relative to this file.
    pub secret_file: PathBuf,
}

impl RunConfig {
    /// Paths are relative to the config's folder.
    pub(super) fn place(&mut self, folder: &Path) {
        let at = |path: &mut Option<PathBuf>| {
            if let Some(path) = path {
                *path = folder.join(&*path);
            }
        };
        for source in &mut self.sources {
            at(&mut source.config);
            if !is_url(&source.source) {
                source.source = folder.join(&source.source).display().to_string();
            }
        }
        for target in &mut self.targets {
            at(&mut target.kubeconfig);
            at(&mut target.store);
        }
        if let Some(listen) = &mut self.listen {
            [&mut listen.token_file, &mut listen.certificate, &mut listen.key].into_iter().for_each(at);
        }
        for notify in &mut self.notify {
            notify.url_file = folder.join(&notify.url_file);
        }
        for host in &mut self.commit_statuses {
            host.token_file = folder.join(&host.token_file);
        }
        for webhook in &mut self.webhooks {
            webhook.secret_file = folder.join(&webhook.secret_file);
        }
    }

    /// What is wrong with it.
    pub(super) fn check(&self) -> Result<(), String> {
        let names = |all: Vec<&String>| {
            let mut seen = std::collections::BTreeSet::new();
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            all.into_iter().find_map(|name| {
                let is_plain = (1..=63).contains(&name.len()) && name.bytes().all(plain);
                let name = crate::source::inert(name, 80);
                match (is_plain, seen.insert(name.clone())) {
                    (false, _) => Some(format!("`{name}` is not a name of letters, digits, `-`, `_` and `.`")),
                    (_, false) => Some(format!("two are called `{name}`")),
                    _ => None,
                }
            })
        };
        let sources = names(self.sources.iter().map(|source| &source.name).collect());
        let targets = names(self.targets.iter().map(|target| &target.name).collect());
        if let Some(why) = sources.or(targets) {
            return Err(format!("`run`: {why}"));
        }
        for template in self.notify.iter().filter_map(|notify| notify.template.as_ref()) {
            serde_json::from_str::<serde_json::Value>(template)
                .map_err(|error| format!("`run.notify.template` is no JSON: {error}"))?;
        }
        if self.notify.iter().any(|notify| notify.template.is_some() && notify.format != NoticeFormat::Json) {
            return Err("`run.notify`: `template` is for `format: json`".to_owned());
        }
        let whole = |duration: core::time::Duration| duration.as_secs() >= 2 && duration.subsec_nanos() == 0;
        if self.lease.duration.is_some_and(|duration| !whole(duration.duration().unsigned_abs())) {
            return Err("`run.lease.duration` has to be whole seconds, at least 2".to_owned());
        }
        let stores = self.targets.iter().filter(|it| it.target == TargetConfig::Store && it.store.is_none()).count();
        if stores > 0 && self.targets.len() > 1 {
            return Err("`run.targets`: each of several stores needs a `store` of its own".to_owned());
        }
        let Some(listen) = &self.listen else {
            return match self.webhooks.is_empty() {
                true => Ok(()),
                false => Err("`run.webhooks` needs `run.listen`, where they are taken".to_owned()),
            };
        };
        let tls = listen.certificate.is_some();
        if tls != listen.key.is_some() {
            return Err("`run.listen` needs `certificate` and `key`, or neither".to_owned());
        }
        if !listen.address.ip().is_loopback() && listen.token_file.is_none() {
            return Err("`run.listen.address` is no loopback address: give `tokenFile` as well".to_owned());
        }
        if !listen.address.ip().is_loopback() && !tls && !listen.plain_text {
            let why = "`run.listen.address` is no loopback address: give `certificate` and `key`, or `plainText: true` if somebody else encrypts";
            return Err(why.to_owned());
        }
        Ok(())
    }
}
