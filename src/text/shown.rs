//! What is not text, shown as text.

use std::error::Error;

/// Bytes as lower-case hex digits, two a byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A name for bytes, that other bytes do not have: the first hex digits of their SHA-256, 64 at most.
pub fn short_hash(bytes: impl AsRef<[u8]>, digits: usize) -> String {
    let mut name = hex(ring::digest::digest(&ring::digest::SHA256, bytes.as_ref()).as_ref());
    name.truncate(digits);
    name
}

/// An error and its causes on one line. Not made inert: whoever shows it does that, within the length there is.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
