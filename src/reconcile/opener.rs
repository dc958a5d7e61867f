//! What a session is opened with: the only thing in it that differs by who asks.

use std::sync::Arc;

use crate::model::Desired;
use crate::ports::{LiveState, Memory, Registry, Source, Target};

use super::failure::Failure;
use super::settings::Settings;

/// Config, source, target, registries, memory and writer. `cli` implements it with flags and adapters.
pub trait Opener: Sync {
    /// The target, to look at.
    type Live: LiveState + Send;
    /// What is remembered between sessions.
    type Memory: Memory + Send;
    /// What upstream tags are asked of.
    type Registry<'a>: Registry + Send
    where
        Self: 'a;
    /// The target, to change.
    type Writer<'a>: Target + Send
    where
        Self: 'a;

    /// The config, and the source that it comes with. May take long, for a URL. `commit`: the commit that the revision is known
    /// to be, so that a URL need not be asked.
    ///
    /// # Errors
    ///
    /// When there is no such source, or its config is broken ([`Failure::is_config`]).
    fn open(&self, commit: Option<&str>) -> Result<(Settings, Box<dyn Source>), Failure>;

    /// The source alone, at a revision or where it is.
    ///
    /// # Errors
    ///
    /// When there is no such source or revision.
    fn source(&self, revision: Option<&str>) -> Result<Box<dyn Source>, Failure>;

    /// The last commit that a revision and the source have in common; none where that is not known.
    fn merge_base(&self, revision: &str) -> Option<String>;

    /// The target.
    fn target(&self, settings: &Settings) -> impl Future<Output = Result<Self::Live, Failure>> + Send;

    /// What is remembered of that target.
    fn memory(&self, settings: &Settings, live: &Self::Live) -> Arc<Self::Memory>;

    /// What answers questions about upstream tags, with the logins of the config, of the user and of the target.
    fn registries<'a>(
        &'a self,
        settings: &'a Settings,
        live: &'a Self::Live,
        memory: &'a Arc<Self::Memory>,
        desired: &Desired,
    ) -> impl Future<Output = Result<Self::Registry<'a>, Failure>> + Send;

    /// The target, to change: opened only when something is to be done.
    fn writer<'a>(
        &'a self,
        settings: &'a Settings,
        live: &'a Self::Live,
    ) -> impl Future<Output = Result<Self::Writer<'a>, Failure>> + Send;
}
