//! Telling somebody, over http: notices, and how far commits have come.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::mpsc;

use crate::config::{CommitStatusConfig, NotifyConfig, RunConfig};
use crate::model::{Backoff, CodeHost, NoticeFormat};
use crate::openshift::normal_host;
use crate::reconcile::Failure;
use crate::source::inert;

use super::commit_status::{CommitStatus, repository};
use super::notice::Notice;
use super::secret::secret_line;

/// What waits to be told; of more, the newest is dropped.
const WAITING: usize = 64;
/// How often one is tried.
const TRIES: u32 = 4;
/// Between two tries.
const PAUSE: Backoff = Backoff::doubling(Duration::from_secs(3), Duration::from_secs(12));

/// Takes what there is to tell, and tells it in a task of its own: no lane waits for it.
#[derive(Clone)]
pub struct Notifier {
    outbox: mpsc::Sender<Outgoing>,
}

enum Outgoing {
    Notice(Notice),
    Status { source: String, status: CommitStatus },
}

/// Whom the config names.
struct Receivers {
    notices: Vec<Receiver>,
    statuses: Vec<CodeHostAt>,
    client: reqwest::Client,
    tool: String,
}

struct Receiver {
    url: SecretString,
    format: NoticeFormat,
    template: Option<String>,
}

struct CodeHostAt {
    kind: CodeHost,
    host: String,
    api: Option<String>,
    token: SecretString,
}

impl Notifier {
    /// Begins to tell whom the config names. To be called in a runtime.
    ///
    /// # Errors
    ///
    /// When a file that the config names cannot be read, or a URL in it is not private.
    pub fn start(config: &RunConfig, client: reqwest::ClientBuilder, tool: &str) -> Result<Self, Failure> {
        let notices: Result<Vec<_>, _> = config.notify.iter().map(receiver).collect();
        let statuses: Result<Vec<_>, _> = config.commit_statuses.iter().map(code_host).collect();
        // Where it goes is the config's decision, and not that of a server that answers.
        let client = client.redirect(reqwest::redirect::Policy::none());
        let client = client.user_agent(tool.replace(' ', "/")).timeout(Duration::from_secs(20));
        let client = client.build().map_err(Failure::failed)?;
        let receivers = Receivers { notices: notices?, statuses: statuses?, client, tool: tool.to_owned() };
        let (outbox, inbox) = mpsc::channel(WAITING);
        tokio::spawn(receivers.tell_all(inbox));
        Ok(Self { outbox })
    }

    /// Tells something, as soon as may be.
    pub(super) fn tell(&self, notice: Notice) {
        let (lane, title) = (notice.lane.clone(), notice.title.clone());
        tracing::info!(lane, title, "notice");
        self.put(&lane, Outgoing::Notice(notice));
    }

    /// Tells the host of a source how far a commit of it has come.
    pub(super) fn tell_of_commit(&self, source: &str, status: CommitStatus) -> bool {
        let lane = status.lane.clone();
        self.put(&lane, Outgoing::Status { source: source.to_owned(), status })
    }

    fn put(&self, lane: &str, outgoing: Outgoing) -> bool {
        let put = self.outbox.try_send(outgoing).is_ok();
        if !put {
            tracing::warn!(lane, "too much to tell: this is not sent");
        }
        put
    }
}

impl Receivers {
    async fn tell_all(self, mut inbox: mpsc::Receiver<Outgoing>) {
        while let Some(outgoing) = inbox.recv().await {
            match outgoing {
                Outgoing::Notice(notice) => {
                    for receiver in &self.notices {
                        let (body, kind) = match &receiver.template {
                            Some(template) => (notice.fill(template), "application/json"),
                            None => notice.body(receiver.format, &self.tool),
                        };
                        let request = self.client.post(receiver.url.expose_secret());
                        let request = request.header("Content-Type", kind).body(body.to_string());
                        send(&notice.lane, request).await;
                    }
                }
                Outgoing::Status { source, status } => self.tell_of(&source, &status).await,
            }
        }
    }

    async fn tell_of(&self, source: &str, status: &CommitStatus) {
        let Some((host, repository)) = repository(source) else { return };
        // A token goes to the host that it was given for.
        for at in self.statuses.iter().filter(|at| normal_host(&at.host) == host) {
            let (path, body) = status.request(at.kind, &repository);
            let url = format!("{}{path}", at.api.clone().unwrap_or_else(|| at.kind.api(&host)));
            let token = at.token.expose_secret();
            let (name, value) = match at.kind {
                CodeHost::Github => ("Authorization", format!("Bearer {token}")),
                CodeHost::Gitlab => ("PRIVATE-TOKEN", token.to_owned()),
                CodeHost::Gitea => ("Authorization", format!("token {token}")),
            };
            let request = self.client.post(url).header(name, value).header("Content-Type", "application/json");
            send(&status.lane, request.body(body.to_string())).await;
        }
    }
}

/// Sends one, a few times if need be.
async fn send(lane: &str, request: reqwest::RequestBuilder) {
    for tries in 1..=TRIES {
        let Some(request) = request.try_clone() else { return };
        let why = match request.send().await {
            Ok(answer) if answer.status().is_success() => return,
            Ok(answer) => format!("it answers {}", answer.status()),
            // The URL is a secret.
            Err(error) => crate::source::chain(&error.without_url()),
        };
        if tries == TRIES {
            tracing::warn!(lane, error = inert(&why, 300), "what was to be told could not be sent");
        } else {
            tokio::time::sleep(PAUSE.after(tries - 1)).await;
        }
    }
}

fn receiver(config: &NotifyConfig) -> Result<Receiver, Failure> {
    let NotifyConfig { url_file, format, template } = config;
    let url = secret_line(url_file, "URL")?;
    if !is_private(&url) {
        let message = format!("failed to read the URL in `{}`: it is no `https` URL", url_file.display());
        return Err(Failure::failed(message));
    }
    Ok(Receiver { url: SecretString::from(url), format: *format, template: template.clone() })
}

fn code_host(config: &CommitStatusConfig) -> Result<CodeHostAt, Failure> {
    let CommitStatusConfig { kind, host, api, token_file } = config;
    if api.as_ref().is_some_and(|api| !is_private(api)) {
        return Err(Failure::refused("`run.commitStatuses`: `api` is no `https` URL"));
    }
    let token = SecretString::from(secret_line(token_file, "token")?);
    let api = api.as_ref().map(|api| api.trim_end_matches('/').to_owned());
    Ok(CodeHostAt { kind: *kind, host: host.clone(), api, token })
}

/// Whether nobody on the way can read what is sent there.
fn is_private(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://127.0.0.1:")
}
