//! CSV files: the values of rows as safe cells (RFC 4180).

use std::borrow::Cow;
use std::io::{self, Write};

use super::cell::{cell, push, quoted};
use crate::model::CsvTimes;
use crate::rows::{Row, Texts, Value, Values};
use crate::table::Column;

/// What stands between the texts of a list.
const BETWEEN: &str = "; ";

/// Lines of CSV in the making.
#[derive(Default)]
pub(super) struct CsvLines<'c> {
    lines: String,
    /// Whether the next cell begins a line.
    begins: bool,
    times: CsvTimes,
    /// Cells of texts that rows share, by the texts' numbers.
    shared: &'c [Cow<'c, str>],
    /// Room for texts that are joined.
    joined: String,
}

impl<'c> CsvLines<'c> {
    /// Makes lines of rows that share texts, the cells of which are known.
    pub fn with_shared(shared: &'c [Cow<'c, str>]) -> Self {
        CsvLines { shared, ..CsvLines::default() }
    }

    /// Appends the line of the columns' names.
    pub fn head(&mut self, columns: &[Column]) {
        let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
        self.lines.push_str(&names.join(","));
        self.lines.push('\n');
    }

    /// Appends the line of a row.
    pub fn row(&mut self, row: &impl Row) {
        self.begins = true;
        row.values(self);
        self.lines.push('\n');
    }

    /// Bytes of lines.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Writes the lines, and begins anew.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write_to(&mut self, to: &mut (impl Write + ?Sized)) -> io::Result<()> {
        to.write_all(self.lines.as_bytes())?;
        self.lines.clear();
        Ok(())
    }

    /// Takes the lines.
    pub fn into_bytes(self) -> Vec<u8> {
        self.lines.into_bytes()
    }

    fn list(&mut self, texts: impl Iterator<Item = impl AsRef<str>>) {
        self.joined.clear();
        for text in texts {
            if !self.joined.is_empty() {
                self.joined.push_str(BETWEEN);
            }
            self.joined.push_str(text.as_ref());
        }
        push(&mut self.lines, &self.joined);
    }
}

impl Values for CsvLines<'_> {
    #[inline]
    fn put(&mut self, value: Value<'_>) {
        if !std::mem::take(&mut self.begins) {
            self.lines.push(',');
        }
        match value {
            Value::Null | Value::Flag(false) => {}
            Value::Text(text) | Value::Excerpt { shown: text, .. } => push(&mut self.lines, &text),
            Value::Shared(index, text) => match self.shared.get(index.get()) {
                Some(cell) => self.lines.push_str(cell),
                None => push(&mut self.lines, text),
            },
            Value::Time(time) => self.lines.push_str(self.times.show(time)),
            Value::Integer(number) => self.lines.push_str(itoa::Buffer::new().format(number)),
            // Its sign is a number's, which no spreadsheet takes for a formula.
            Value::Number(number) => self.lines.push_str(&format!("{number:.3}")),
            Value::Boolean(true) | Value::Flag(true) => self.lines.push_str("yes"),
            Value::Boolean(false) => self.lines.push_str("no"),
            Value::Texts(texts) => self.list(texts.iter()),
            Value::Records(pointers) => self.list(pointers.in_cell()),
        }
    }
}

/// The cells of texts that rows share.
pub(super) fn cells(texts: &Texts) -> Vec<Cow<'_, str>> {
    use rayon::prelude::*;
    texts.all().par_iter().map(|text| quoted(cell(text))).collect()
}
