//! rpm's database as SUSE has it: slots that say where headers are (rpm's `lib/backend/ndb/rpmpkg.c`). Numbers are little-endian.

use super::header::{Take, number};

const MAGIC: u32 = u32::from_le_bytes(*b"RpmP");
const SLOT: u32 = u32::from_le_bytes(*b"Slot");
const BLOB: u32 = u32::from_le_bytes(*b"BlbS");
/// Bytes of a page of slots, of one slot, and of a block.
const PAGE: usize = 4096;
const UNIT: usize = 16;

/// Hands on what all slots point to.
pub(super) fn read(bytes: &[u8], take: &mut Take<'_>) -> Result<(), String> {
    let at = |at: usize| number(bytes, at, false);
    if at(0) != Some(MAGIC) || at(4) != Some(0) {
        return Err("it is no database of packages in a form that is known".to_owned());
    }
    let pages = at(12).and_then(|pages| usize::try_from(pages).ok()).unwrap_or_default();
    let end = pages.checked_mul(PAGE).filter(|end| *end <= bytes.len()).ok_or("it is cut short")?;
    // The head of the file takes the place of the first two slots.
    for slot in (2 * UNIT..end).step_by(UNIT) {
        if at(slot) != Some(SLOT) {
            return Err("it has a slot that is none".to_owned());
        }
        if at(slot + 4) != Some(0) {
            take(blob(bytes, slot).ok_or("it has a slot that leads nowhere")?)?;
        }
    }
    Ok(())
}

fn blob(bytes: &[u8], slot: usize) -> Option<&[u8]> {
    let start = usize::try_from(number(bytes, slot + 8, false)?).ok()?.checked_mul(UNIT)?;
    if number(bytes, start, false)? != BLOB
        || number(bytes, start.checked_add(4)?, false) != number(bytes, slot + 4, false)
    {
        return None;
    }
    let length = usize::try_from(number(bytes, start.checked_add(12)?, false)?).ok()?;
    let start = start.checked_add(UNIT)?;
    bytes.get(start..start.checked_add(length)?)
}
