//! Telling somebody, over http.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::mpsc;

use crate::config::NotifyConfig;
use crate::daemon::Notice;
use crate::model::NoticeFormat;
use crate::text::inert;

use super::context::TOOL;
use super::failure::{Exit, Failure};

/// Notices that wait to be told; of more, the newest are dropped.
const WAITING: usize = 64;
/// How often one is tried.
const TRIES: u32 = 4;

/// Takes notices, and tells them in a task of its own: no lane waits for it.
#[derive(Clone)]
pub(super) struct Notifier {
    notices: mpsc::Sender<Arc<Notice>>,
}

impl Notifier {
    /// Begins to tell whom the config names. To be called in a runtime.
    pub(super) fn start(config: &[NotifyConfig]) -> Result<Self, Failure> {
        let mut receivers = Vec::new();
        for NotifyConfig { url_file, format } in config {
            let failed = |why: String| {
                Failure::new(Exit::Failed, format!("failed to read the URL in `{}`: {why}", url_file.display()))
            };
            let url = std::fs::read_to_string(url_file).map_err(|error| failed(error.to_string()))?;
            let url = url.trim();
            if !(url.starts_with("https://") || url.starts_with("http://127.0.0.1:")) {
                return Err(failed("it is no `https` URL".to_owned()));
            }
            receivers.push((SecretString::from(url), *format));
        }
        crate::adapters::use_ring();
        // Where it goes was said by whoever runs this, and by nobody who answers.
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        let client =
            client.timeout(Duration::from_secs(20)).build().map_err(|error| Failure::new(Exit::Failed, error))?;
        let (notices, mut inbox) = mpsc::channel::<Arc<Notice>>(WAITING);
        tokio::spawn(async move {
            while let Some(notice) = inbox.recv().await {
                for (url, format) in &receivers {
                    tell(&client, url, &notice, *format).await;
                }
            }
        });
        Ok(Self { notices })
    }

    /// Tells something, as soon as may be.
    pub(super) fn tell(&self, notice: Notice) {
        let (lane, title) = (notice.lane.clone(), notice.title.clone());
        tracing::info!(lane, title, "notice");
        if self.notices.try_send(Arc::new(notice)).is_err() {
            tracing::warn!(lane, "too many notices: this one is not sent");
        }
    }
}

async fn tell(client: &reqwest::Client, url: &SecretString, notice: &Notice, format: NoticeFormat) {
    let (body, kind) = notice.body(format, TOOL);
    let mut pause = Duration::from_secs(1);
    for tries in 1..=TRIES {
        let request = client.post(url.expose_secret()).header("Content-Type", kind).body(body.to_string());
        let why = match request.send().await {
            Ok(answer) if answer.status().is_success() => return,
            Ok(answer) => format!("it answers {}", answer.status()),
            // The URL is a secret.
            Err(error) => crate::text::chain(&error.without_url()),
        };
        if tries == TRIES {
            tracing::warn!(lane = notice.lane, error = inert(&why, 300), "a notice could not be sent");
        } else {
            tokio::time::sleep(pause).await;
            pause *= 4;
        }
    }
}
