//! The outside world behind the ports.
//!
//! Each adapter does one thing to one kind of system and decides nothing. May name `model`,
//! `openshift`, `ports`, `rules` and `source`.

pub mod cluster;
pub mod git;
mod private_dir;
pub mod registry;
pub mod store;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a mutex guards. Whoever panicked with it has left it whole: nothing here is written half.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Random bytes of the system; none where it has none.
pub(crate) fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes).ok()?;
    Some(bytes)
}

/// Makes ring the provider of TLS, before the first client is made. Once is enough; more often changes nothing.
pub(crate) fn use_ring() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
