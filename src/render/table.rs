//! Columns under headings, as `oc get` prints them.

use unicode_width::UnicodeWidthStr;

/// Rows of text in columns.
#[derive(Clone, Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(|&text| text.to_owned()).collect()] }
    }

    /// Adds a row; it has as many cells as there are headings.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The table without trailing spaces, a line a row. Cells are never cut: what is copied from a table must be whole.
    pub fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width_of =
            |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.width()).max();
        let widths: Vec<usize> = (0..columns).map(|column| width_of(column).unwrap_or_default()).collect();
        let mut out = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(cell);
                line.push_str(&" ".repeat(width + 3 - cell.width()));
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

/// Cuts text to so many terminal cells, with `…` for what is missing.
pub(super) fn cut(text: &str, width: Option<usize>) -> String {
    let Some(width) = width.filter(|width| text.width() > *width) else { return text.to_owned() };
    let mut out = String::new();
    let mut used = 0;
    for char in text.chars() {
        let next = unicode_width::UnicodeWidthChar::width(char).unwrap_or_default();
        if used + next + 1 > width {
            break;
        }
        out.push(char);
        used += next;
    }
    out + "…"
}

/// Breaks text into lines of at most so many cells, the second and later ones indented.
pub(super) fn fold(text: &str, width: Option<usize>, indent: usize) -> String {
    let Some(width) = width else { return text.to_owned() };
    let mut out = String::new();
    let mut used = 0;
    for word in text.split(' ') {
        let length = word.width();
        if used > 0 && used + 1 + length > width {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            used = indent;
        } else if !out.is_empty() {
            out.push(' ');
            used += 1;
        }
        out.push_str(word);
        used += length;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["NAME", "TAGS"]);
        table.row(vec!["größe".to_owned(), "1".to_owned()]);
        assert_eq!(table.render(), "NAME    TAGS\ngröße   1\n");
    }

    #[test]
    fn text_is_cut_and_folded_by_cells() {
        assert_eq!(cut("abcdef", Some(4)), "abc…");
        assert_eq!(cut("日本語", Some(5)), "日本…");
        assert_eq!(cut("abc", Some(3)), "abc");
        assert_eq!(fold("aa bb cc dd", Some(6), 2), "aa bb\n  cc\n  dd");
    }
}
