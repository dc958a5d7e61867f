//! The outside world behind the ports.
//!
//! Each adapter does one thing to one kind of system and decides nothing. May name `api`, `model`, `ports`, `rules` and
//! `text`.

pub mod cluster;
pub mod git;
pub mod registry;
pub mod store;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a mutex guards. Whoever panicked with it has left it whole: nothing here is written half.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes ring the provider of TLS, before the first client is made. Once is enough; more often changes nothing.
pub(crate) fn use_ring() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
