//! A file's text, and where in it something is.

use serde::{Deserialize, Serialize};

/// A range of bytes of one file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The span of those bytes.
    pub fn new(start: usize, end: usize) -> Self {
        let clamp = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self { start: clamp(start), end: clamp(end.max(start)) }
    }

    /// The same as a range to index text with.
    pub fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// A file's text with its line starts, so that a byte has a line and a column.
#[derive(Clone, Debug)]
pub struct SourceText {
    text: String,
    lines: Vec<u32>,
    /// Characters before each block of bytes: a place on a line of megabytes costs no more than on a short one.
    characters: Vec<u32>,
}

/// Bytes whose characters are counted together.
const BLOCK: usize = 1024;

/// How many characters begin in these bytes of UTF-8.
fn characters(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

impl SourceText {
    /// Takes the text as it is. `text` is at most 4 GiB (the readers' size limit is far below).
    pub fn new(text: String) -> Self {
        let breaks = text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n');
        let lines = std::iter::once(0).chain(breaks.map(|(at, _)| Span::new(at + 1, at + 1).start)).collect();
        let counts = text.as_bytes().chunks(BLOCK).scan(0, |count, block| {
            let before = *count;
            *count += characters(block);
            Some(u32::try_from(before).unwrap_or(u32::MAX))
        });
        let characters = counts.collect();
        Self { text, lines, characters }
    }

    /// How many characters begin before a byte.
    fn characters_before(&self, byte: usize) -> usize {
        let byte = byte.min(self.text.len());
        let Some(before) = self.characters.get(byte / BLOCK) else { return self.characters_of_blocks() };
        *before as usize + characters(&self.text.as_bytes()[byte / BLOCK * BLOCK..byte])
    }

    fn characters_of_blocks(&self) -> usize {
        let Some(last) = self.characters.last() else { return 0 };
        *last as usize + characters(&self.text.as_bytes()[(self.characters.len() - 1) * BLOCK..])
    }

    /// The first byte of the character of that number, from 0.
    pub(super) fn byte_of_character(&self, number: usize) -> usize {
        let block = self.characters.partition_point(|before| *before as usize <= number).saturating_sub(1);
        let begun = self.characters.get(block).map_or(0, |before| *before as usize);
        let starts = self.text.bytes().enumerate().skip(block * BLOCK).filter(|(_, byte)| byte & 0xc0 != 0x80);
        starts.map(|(at, _)| at).nth(number - begun.min(number)).unwrap_or(self.text.len())
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Line and column of a byte, both counted from 1, columns in characters.
    pub fn line_column(&self, byte: u32) -> (u32, u32) {
        let line = self.lines.partition_point(|&start| start <= byte).saturating_sub(1);
        let start = self.lines[line] as usize;
        let mut end = (byte as usize).min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let column = self.characters_before(end) - self.characters_before(start);
        (u32::try_from(line + 1).unwrap_or(u32::MAX), u32::try_from(column + 1).unwrap_or(u32::MAX))
    }
}

/// Makes a string from outside harmless on a terminal, in a log and in a comment: control characters, escapes and
/// direction marks become `\u{…}`, and what is longer than `limit` characters is cut with `…`.
pub fn inert(text: &str, limit: usize) -> String {
    let mut out = String::with_capacity(text.len().min(limit * 4));
    for (count, char) in text.chars().enumerate() {
        if count == limit {
            out.push('…');
            break;
        }
        match char {
            '\n' | '\t' => out.push(' '),
            // GitHub's runner looks for commands at the beginning of a line, where a word may stand that was folded, and for
            // others anywhere in it.
            ':' if out == ":" || out.ends_with(" :") => out.push_str("\\:"),
            '[' if out.ends_with("##") => out.push_str("\\["),
            char if char.is_control() || is_format(char) => out.extend(char.escape_unicode()),
            char => out.push(char),
        }
    }
    out
}

/// Characters that change how their neighbours are shown: zero-width, direction, tags, line separators.
fn is_format(char: char) -> bool {
    matches!(char,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_lines_and_columns() {
        let source = SourceText::new("a: 1\nü: 2\r\n\n".to_owned());
        assert_eq!(source.line_column(0), (1, 1));
        assert_eq!(source.line_column(5), (2, 1));
        assert_eq!(source.line_column(7), (2, 2), "a column is a character");
        assert_eq!(source.line_column(12), (3, 1));
        assert_eq!(source.line_column(99), (4, 1), "past the end is the end");
    }

    #[test]
    fn places_on_long_lines_are_right() {
        let text = "äb".repeat(5000) + "\n" + &"x".repeat(3000);
        let source = SourceText::new(text.clone());
        let (mut line, mut column) = (1, 1);
        for (number, (at, char)) in text.char_indices().enumerate() {
            assert_eq!(source.line_column(u32::try_from(at).unwrap_or_default()), (line, column), "byte {at}");
            assert_eq!(source.byte_of_character(number), at);
            (line, column) = if char == '\n' { (line + 1, 1) } else { (line, column + 1) };
        }
        assert_eq!(source.byte_of_character(99_999), text.len());
    }

    #[test]
    fn outside_strings_are_made_inert() {
        assert_eq!(inert("a\u{1b}[31mred", 99), "a\\u{1b}[31mred");
        assert_eq!(inert("x\u{202e}y\nz", 99), "x\\u{202e}y z");
        assert_eq!(inert("aaaa", 2), "aa…");
    }
}
