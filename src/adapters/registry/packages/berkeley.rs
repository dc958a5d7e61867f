//! rpm's database as Berkeley DB writes it, up to rpm 4.15: a hash whose values are headers (`db_page.h`).

use super::header::{HEADER, Take, number};

/// At 12 of the first page, in the order of bytes of the machine that made it.
const MAGIC: u32 = 0x0006_1561;
/// Of each page: numbers of the pages beside it, entries, and its type.
const PAGE_HEADER: usize = 26;
/// Pages of a hash: as RHEL 5 wrote them, and since.
const HASH: [u8; 2] = [2, 13];
/// A page of a value that is too large for one.
const OVERFLOW: u8 = 7;
/// An entry with its value in it, and one that says where it is.
const INLINE: u8 = 1;
const ELSEWHERE: u8 = 3;
/// What is shorter is no header: the largest key that was given stands among the values.
const SHORTEST: usize = 24;

/// Hands on the values of all pages.
pub(super) fn read(bytes: &[u8], take: &mut Take<'_>) -> Result<(), String> {
    let big = match [false, true].into_iter().find(|big| number(bytes, 12, *big) == Some(MAGIC)) {
        Some(big) => big,
        None => return Err("it is no hash of Berkeley DB".to_owned()),
    };
    let size = number(bytes, 20, big).and_then(|size| usize::try_from(size).ok()).unwrap_or_default();
    if !(size.is_power_of_two() && (512..=65_536).contains(&size)) {
        return Err("its pages have no size that there is".to_owned());
    }
    let database = Database { bytes, size, big };
    for page in bytes.chunks_exact(size).filter(|page| HASH.contains(&page[25])) {
        database.values(page, take).ok_or("a page of it cannot be read")??;
    }
    Ok(())
}

struct Database<'a> {
    bytes: &'a [u8],
    size: usize,
    big: bool,
}

impl Database<'_> {
    fn short(&self, page: &[u8], at: usize) -> Option<usize> {
        let two: [u8; 2] = page.get(at..at + 2)?.try_into().ok()?;
        Some(usize::from(if self.big { u16::from_be_bytes(two) } else { u16::from_le_bytes(two) }))
    }

    fn place(&self, page: &[u8], at: usize) -> Option<usize> {
        usize::try_from(number(page, at, self.big)?).ok()
    }

    /// Entries are keys and values by turns; each begins where the index says and ends where the one before begins.
    fn values(&self, page: &[u8], take: &mut Take<'_>) -> Option<Result<(), String>> {
        let entries = self.short(page, 20)?;
        for entry in (1..entries).step_by(2) {
            let start = self.short(page, PAGE_HEADER + entry * 2)?;
            let end = self.short(page, PAGE_HEADER + (entry - 1) * 2)?;
            let taken = match *page.get(start)? {
                ELSEWHERE => {
                    let (first, length) = (self.place(page, start + 4)?, self.place(page, start + 8)?);
                    take(&self.elsewhere(first, length)?)
                }
                INLINE => {
                    let value = page.get(start + 1..end)?;
                    if value.len() < SHORTEST { Ok(()) } else { take(value) }
                }
                // Doubles of a key: rpm has none.
                _ => return None,
            };
            if taken.is_err() {
                return Some(taken);
            }
        }
        Some(Ok(()))
    }

    /// A value over several pages: each has a part of it and the number of the next.
    fn elsewhere(&self, first: usize, length: usize) -> Option<Vec<u8>> {
        if length > HEADER.min(self.bytes.len()) {
            return None;
        }
        let mut value = Vec::with_capacity(length);
        let mut at = first;
        while value.len() < length {
            let start = at.checked_mul(self.size)?;
            let page = self.bytes.get(start..start.checked_add(self.size)?)?;
            let part = (length - value.len()).min(self.size - PAGE_HEADER);
            // Each page adds something: a circle ends where the length does.
            if page[25] != OVERFLOW || at == 0 {
                return None;
            }
            value.extend_from_slice(&page[PAGE_HEADER..PAGE_HEADER + part]);
            at = self.place(page, 16)?;
        }
        Some(value)
    }
}
