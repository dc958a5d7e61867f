//! The terminal: two streams, colour or not, progress.

#![expect(clippy::print_stderr, reason = "the one place that prints")]

use std::error::Error;
use std::io::{BufRead, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::model::{Outcome, Step};
use crate::ports::Progress;
use crate::render::{self, Paint};

use super::args::Color;
use super::failure::{Exit, Failure};

/// Where output goes, and how. Copies are the same terminal.
#[derive(Clone)]
pub(super) struct Console {
    color: Color,
    quiet: bool,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    bar: Mutex<Option<Bar>>,
    done: AtomicUsize,
    /// Why the exit code is what it is.
    reason: Mutex<Option<String>>,
    lost: AtomicBool,
}

enum Bar {
    /// A line that changes.
    Terminal(ProgressBar),
    /// A line now and then, for work that is long.
    Plain { what: String, total: usize, said: Instant },
}

/// Between two lines of progress where there is no terminal.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);

impl Console {
    pub(super) fn new(color: Color, quiet: bool) -> Self {
        Self { color, quiet, state: Arc::default() }
    }

    fn paint_for(&self, is_terminal: bool) -> Paint {
        let color = match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        };
        let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let width = columns.or_else(|| is_terminal.then(terminal_width).flatten());
        Paint { color, width: width.map(|width: usize| width.max(40)) }
    }

    /// For what goes to stdout.
    pub(super) fn out_paint(&self) -> Paint {
        self.paint_for(std::io::stdout().is_terminal())
    }

    /// For what goes to stderr.
    pub(super) fn err_paint(&self) -> Paint {
        self.paint_for(std::io::stderr().is_terminal())
    }

    /// What was asked for. A reader that has gone away, as `head` does, is no error.
    pub(super) fn out(&self, text: &str) {
        let mut stdout = std::io::stdout().lock();
        let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
        if let Err(error) =
            written.or_else(|error| if error.kind() == std::io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })
        {
            eprintln!("error: failed to write the output: {error}");
            self.state.lost.store(true, Ordering::Relaxed);
        }
    }

    /// Something that was asked for could not be written.
    pub(super) fn has_lost(&self) -> bool {
        self.state.lost.load(Ordering::Relaxed)
    }

    /// What is said about it.
    pub(super) fn say(&self, text: &str) {
        if !self.quiet {
            self.line(text);
        }
    }

    /// Why the exit code is another one than 0: said at the end, also to who asked for nothing but errors.
    pub(super) fn because(&self, why: &str) {
        if let Ok(mut reason) = self.state.reason.lock() {
            *reason = Some(why.to_owned());
        }
    }

    /// Says how it ended, unless that is well, or nothing but changes that are pending and nobody wants to read that.
    pub(super) fn ended(&self, exit: Exit) {
        let what = match exit {
            Exit::Done => return,
            Exit::Pending if self.quiet => return,
            Exit::Pending => "changes are pending",
            Exit::Failed => "failed",
            Exit::Refused => "refused",
            Exit::Stale => "the plan is stale",
            Exit::Partial => "done in part",
            Exit::Usage => "wrong usage",
        };
        let why = self.state.reason.lock().ok().and_then(|mut reason| reason.take());
        let why = why.map_or(String::new(), |why| format!(": {why}"));
        self.line(&format!("{what} (exit code {}){why}", exit as u8));
    }

    /// A line on stderr, above a bar of progress.
    fn line(&self, text: &str) {
        let bar = self.state.bar.lock();
        match bar.as_deref() {
            Ok(Some(Bar::Terminal(bar))) => bar.suspend(|| eprintln!("{text}")),
            _ => eprintln!("{text}"),
        }
    }

    /// An error with its causes, and what to do next on a line of its own.
    pub(super) fn error(&self, error: &(dyn Error + Send + Sync + 'static), hint: Option<&str>) {
        let paint = self.err_paint();
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            // Layers of libraries repeat each other.
            let words = inner.to_string();
            if !text.contains(&words) {
                text.push_str(": ");
                text.push_str(&words);
            }
            cause = inner.source();
        }
        eprintln!("{}: {}", paint.red("error"), crate::source::inert(&text, 2000));
        if let Some(hint) = hint {
            eprintln!("hint: {hint}");
        }
    }

    /// Whether somebody is there to be asked.
    pub(super) fn can_ask(&self) -> bool {
        std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// Asks, unless `--yes` was given. `what` is what `--yes` does without asking.
    pub(super) fn confirm(&self, question: &str, yes: bool, what: &str) -> Result<bool, Failure> {
        if !yes && !self.can_ask() {
            let hint = format!("give `--yes` to {what} without asking");
            return Err(Failure::usage("there is no terminal to ask on").hint(hint));
        }
        Ok(yes || self.ask(question))
    }

    /// Asks a question that only `yes` answers with yes.
    fn ask(&self, question: &str) -> bool {
        eprint!("{question} Only `yes` is taken for yes: ");
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer);
        read.is_ok() && answer.trim() == "yes"
    }
}

impl Progress for Console {
    fn begin(&self, what: &str, total: usize) {
        if self.quiet || total == 0 {
            return;
        }
        self.state.done.store(0, Ordering::Relaxed);
        let bar = if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new(total as u64);
            if let Ok(style) = ProgressStyle::with_template("{msg} {pos}/{len} {wide_bar}") {
                bar.set_style(style);
            }
            bar.set_message(what.to_owned());
            Bar::Terminal(bar)
        } else {
            Bar::Plain { what: what.to_owned(), total, said: Instant::now() }
        };
        if let Ok(mut slot) = self.state.bar.lock() {
            *slot = Some(bar);
        }
    }

    fn advance(&self, by: usize) {
        let done = self.state.done.fetch_add(by, Ordering::Relaxed) + by;
        let Ok(mut slot) = self.state.bar.lock() else { return };
        match slot.as_mut() {
            Some(Bar::Terminal(bar)) => bar.set_position(done as u64),
            Some(Bar::Plain { what, total, said }) if said.elapsed() >= PLAIN_INTERVAL => {
                eprintln!("{what}: {done} of {total}");
                *said = Instant::now();
            }
            Some(Bar::Plain { .. }) | None => {}
        }
    }

    fn stream_ended(&self, steps: &[(&Step, Outcome)]) {
        self.say(&render::stream_line(steps));
    }

    fn end(&self) {
        let Ok(mut slot) = self.state.bar.lock() else { return };
        if let Some(Bar::Terminal(bar)) = slot.take() {
            bar.finish_and_clear();
        }
    }
}

fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stderr()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}
