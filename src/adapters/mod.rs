//! The outside world behind the ports.
//!
//! Each adapter does one thing to one kind of system and decides nothing. May name `api`, `model`, `ports`, `rules` and
//! `text`.

pub mod cluster;
pub mod git;
pub mod registry;
pub mod store;

/// Makes ring the provider of TLS, before the first client is made. Once is enough; more often changes nothing.
fn use_ring() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
