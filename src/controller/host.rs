//! What a reconciler needs beside a session, and only adapters can do.

use std::path::PathBuf;

use tokio::sync::watch;

use crate::model::Identities;
use crate::reconcile::{Opener, Settings};

use super::file_watch::Watched;

/// What there is to be elected for: another one takes another election.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Election {
    /// The lock of the store in this folder, which is written for this source.
    Store(PathBuf, Identities),
    /// The Lease of this field manager, held for this source.
    Lease(String, Identities),
    /// There is no place for the store.
    Nowhere,
}

/// One source and one target, as flags and config name them. `cli` implements it with the adapters.
pub trait Host: Opener + Clone + Send + 'static {
    /// The source, without credentials.
    fn source_name(&self) -> String;

    /// The source as it is given, to find the host of its repository.
    fn source_url(&self) -> String;

    /// The files whose changes are changes of the source or its config.
    fn watched(&self) -> Watched;

    /// Whether the source is a folder that others write to while it is read.
    fn is_folder(&self) -> bool;

    /// The commit that a URL's revision is at now; none for another source. Blocks.
    ///
    /// # Errors
    ///
    /// Why it cannot be asked.
    fn ask(&self) -> Result<Option<String>, String>;

    /// The settings, where they are known without opening the source.
    fn known_settings(&self) -> Option<Settings>;

    /// What these settings name to be elected for.
    fn election(&self, settings: &Settings) -> Election;

    /// Stands for election until every receiver of `leads` is gone, and then gives back what it holds. `leads` says whether this
    /// process leads; `trouble` hears why not. `name`: that of the reconciler, which has a Lease of its own.
    fn stand(
        &self,
        election: &Election,
        name: &str,
        leads: &watch::Sender<bool>,
        trouble: &(dyn Fn(&str) + Sync),
    ) -> impl Future<Output = ()> + Send;

    /// Gives back what was held for another election.
    fn step_down(&self) -> impl Future<Output = ()> + Send;

    /// Watches the target that these settings name, and calls `changed` for each change by others; never ends for a target that
    /// cannot be watched.
    fn watch(&self, settings: &Settings, changed: &(dyn Fn() + Sync)) -> impl Future<Output = ()> + Send;

    /// What was heard of the target is forgotten: another config may name another one.
    fn forget(&self);
}
