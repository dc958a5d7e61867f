//! This process: its name, its clock, its runtime.

use jiff::Timestamp;

use super::failure::Failure;

/// Name and version, as plans carry them.
pub(super) const TOOL: &str = concat!("streamkeeper ", env!("CARGO_PKG_VERSION"));

/// Now, to the second, as image streams keep time.
pub(super) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// What waits for the network.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::failed)
}
