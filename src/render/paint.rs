//! Colour, or none.

/// Puts colour around text, if it is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Paint {
    /// Colour is wanted.
    pub color: bool,
    /// Columns that a line may have; none: as many as it needs.
    pub width: Option<usize>,
}

impl Paint {
    fn wrap(self, code: &str, text: &str) -> String {
        if self.color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// What is made.
    pub fn green(self, text: &str) -> String {
        self.wrap("32", text)
    }

    /// What is taken away, and failures.
    pub fn red(self, text: &str) -> String {
        self.wrap("31", text)
    }

    /// What changes, and what waits.
    pub fn yellow(self, text: &str) -> String {
        self.wrap("33", text)
    }

    /// Headings.
    pub fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    /// What is only there to be found again.
    pub fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }
}
