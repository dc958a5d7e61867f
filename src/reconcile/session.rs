//! The beginning of the line.

use std::sync::Arc;

use jiff::Timestamp;

use crate::model::Step;
use crate::ports::Progress;

use super::failure::Failure;
use super::open::Opened;
use super::opener::Opener;
use super::settings::Settings;

/// What every stage needs.
pub struct Session<'s, O, P> {
    /// Config, source, target, registries, memory and writer.
    pub opener: &'s O,
    /// Hears how far long work has come.
    pub progress: &'s P,
    /// Name and version of the program, as plans carry them.
    pub tool: &'s str,
    /// The clock, to the second, as image streams keep time.
    pub clock: fn() -> Timestamp,
    /// The reason of a step in words, for the journal and `history`.
    pub reason: fn(&Step) -> String,
}

/// A target, opened to look at, with what is remembered of it.
pub struct Connected<'c, 's, O: Opener, P> {
    /// The session.
    pub session: &'c Session<'s, O, P>,
    /// What it works by.
    pub settings: &'c Settings,
    /// The target.
    pub live: &'c O::Live,
    /// What is remembered.
    pub memory: &'c Arc<O::Memory>,
}

impl<'s, O: Opener, P: Progress> Session<'s, O, P> {
    /// Opens config and source. Blocks, for as long as a fetch takes.
    ///
    /// # Errors
    ///
    /// When there is no such source, or its config is broken.
    pub fn open(&self) -> Result<Opened, Failure> {
        Opened::open(self.opener, None)
    }

    /// The target that the settings name. What is opened is the caller's, who may keep it for the next session.
    ///
    /// # Errors
    ///
    /// When it cannot be reached.
    pub async fn target(&self, settings: &Settings) -> Result<O::Live, Failure> {
        self.opener.target(settings).await
    }

    /// What is remembered of a target.
    pub fn memory(&self, settings: &Settings, live: &O::Live) -> Arc<O::Memory> {
        self.opener.memory(settings, live)
    }

    /// A target that is open, with what is remembered of it.
    pub fn connected<'c>(
        &'c self,
        settings: &'c Settings,
        live: &'c O::Live,
        memory: &'c Arc<O::Memory>,
    ) -> Connected<'c, 's, O, P> {
        Connected { session: self, settings, live, memory }
    }
}
