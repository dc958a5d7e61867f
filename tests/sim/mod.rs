//! A world that the tests own: registries that behave, and ones that do not. On loopback, bounded in count and time.

pub mod managed;
pub mod openshift;
pub mod registry;
pub mod server;
pub mod token_service;
