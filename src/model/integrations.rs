//! Whom `run` hears, and whom it tells.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who sends a webhook: it says how it proves to be it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sender {
    /// GitHub: `X-Hub-Signature-256: sha256=HEX`.
    Github,
    /// GitLab: `X-Gitlab-Token: SECRET`.
    Gitlab,
    /// Gitea: `X-Gitea-Signature: HEX`.
    Gitea,
    /// Forgejo: `X-Forgejo-Signature: HEX`.
    Forgejo,
    /// Bitbucket: `X-Hub-Signature: sha256=HEX`.
    Bitbucket,
    /// Anybody else: `X-Streamkeeper-Signature: t=UNIX TIME,v1=HMAC-SHA256 of "TIME.BODY" in hex`.
    Generic,
    /// A registry (Docker Hub, Quay, Harbor, distribution): the secret as bearer token, or behind `/webhooks/registry/`.
    Registry,
}

/// Who keeps repositories, and can be told of their commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CodeHost {
    /// GitHub, also on premises.
    Github,
    /// GitLab.
    Gitlab,
    /// Gitea and Forgejo.
    Gitea,
}

/// How a notice is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NoticeFormat {
    /// `{"text": …}`, as Slack, Mattermost and Rocket.Chat take it.
    Slack,
    /// A CloudEvent 1.0 in structured JSON.
    CloudEvents,
    /// Its fields.
    Json,
}

/// What a mirror is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MirrorPulls {
    /// Everything.
    #[default]
    All,
    /// References with a digest.
    Digests,
    /// References with a tag.
    Tags,
}
