//! What readers of package databases hand on.

/// Bytes of one header of rpm; rpm itself takes no larger ones.
pub(super) const HEADER: usize = 256 * 1024 * 1024;

/// Takes one header's bytes.
pub(super) type Take<'a> = dyn FnMut(&[u8]) -> Result<(), String> + 'a;

/// Takes the name and version of an installed package.
pub(super) type Add<'a> = dyn FnMut(&str, &str) -> Result<(), String> + 'a;

/// A number of four bytes at a place.
pub(super) fn number(bytes: &[u8], at: usize, big: bool) -> Option<u32> {
    let four: [u8; 4] = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
    Some(if big { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) })
}
