//! Config and source, opened and listed; and the target beside them.

use std::sync::Arc;

use jiff::Timestamp;

use crate::ports::{Memory, Progress, Source};
use crate::source::{chain, inert};

use super::failure::Failure;
use super::opener::Opener;
use super::read::{self, List, ReadSource};
use super::selection::Reading;
use super::settings::Settings;

/// Config and source, opened.
pub struct Opened {
    /// What the session works by.
    pub settings: Settings,
    /// The source.
    pub source: Arc<dyn Source>,
    /// Why `settings` are not of the newest config: that one is broken.
    pub broken: Option<String>,
}

/// The files of the source.
pub struct Listed<'o> {
    /// What they are files of.
    pub opened: &'o Opened,
    /// How they are read.
    pub reading: Reading,
    /// The files.
    pub list: List,
}

impl Opened {
    /// Opens config and source; `commit` as in [`Opener::open`].
    ///
    /// # Errors
    ///
    /// When there is no such source, or its config is broken.
    pub fn open(opener: &impl Opener, commit: Option<&str>) -> Result<Self, Failure> {
        let (settings, source) = opener.open(commit)?;
        Ok(Self { settings, source: source.into(), broken: None })
    }

    /// Likewise; with a config that is broken, `last` counts, the last one that was not.
    ///
    /// # Errors
    ///
    /// When there is no such source, or the config is broken and there is no earlier one.
    pub fn open_or_last(opener: &impl Opener, commit: Option<&str>, last: Option<&Settings>) -> Result<Self, Failure> {
        let broken = match Self::open(opener, commit) {
            Err(failure) if failure.is_config() => failure,
            opened => return opened,
        };
        let Some(settings) = last.cloned() else { return Err(broken) };
        let source = opener.source(None)?.into();
        Ok(Self { settings, source, broken: Some(inert(&chain(&*broken.error), 600)) })
    }

    /// Lists the files. `named`: files that are read whatever they are called.
    ///
    /// # Errors
    ///
    /// When the source as a whole cannot be read.
    pub fn list(&self, named: impl IntoIterator<Item = String>, now: Timestamp) -> Result<Listed<'_>, Failure> {
        let reading = self.settings.reading(named, now)?;
        let list = read::list(&*self.source, &reading)?;
        Ok(Listed { opened: self, reading, list })
    }
}

impl Listed<'_> {
    /// Reads what the files define; what is wrong with single ones are findings.
    ///
    /// # Errors
    ///
    /// When the source as a whole can no longer be read.
    pub fn read(self, memory: &impl Memory, progress: &impl Progress) -> Result<ReadSource, Failure> {
        Ok(read::definitions(&self.opened.source, self.list, &self.reading, memory, progress)?)
    }
}
