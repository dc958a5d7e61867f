//! Signals: the first one to stop lets the steps under way end, the second ends the program, which is safe as well.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Exit code of a program that SIGINT has ended.
const INTERRUPTED: i32 = 130;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// To stop (SIGINT, SIGTERM).
    Stop,
    /// To look at once (SIGHUP).
    Look,
}

/// Calls `heard` for each signal. Without `hangup`, SIGHUP keeps its default: it ends the program.
pub(super) async fn listen(hangup: bool, mut heard: impl FnMut(Heard)) {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    let mut hangup = hangup.then(|| signal(SignalKind::hangup()).ok()).flatten();
    let mut is_stopping = false;
    loop {
        let what = tokio::select! {
            _ = interrupt.recv() => Heard::Stop,
            _ = terminate.recv() => Heard::Stop,
            () = next(&mut hangup) => Heard::Look,
        };
        if what == Heard::Stop && is_stopping {
            std::process::exit(INTERRUPTED);
        }
        is_stopping |= what == Heard::Stop;
        heard(what);
    }
}

async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => _ = signal.recv().await,
        None => std::future::pending().await,
    }
}
