//! Whether a folder of results is what its run wrote, and whether the evidence still says so.
//!
//! Three checks, each of which stands alone: `files` compares sizes and hashes of outputs and
//! inputs with what `run.json` has of them; `records` reads each row's records again by their
//! pointers and compares what the row says of them; `compare` compares a folder with another one
//! that the same run gave again. Who changes a file and its hash in `run.json` is found by the
//! second or the third, which trust no hash. What each finds is a [`Deviation`].

mod checked;
mod compare;
mod evidence;
mod files;
mod ledger;
mod records;
mod stories;

pub use checked::Checked;
pub use compare::folders;
pub use files::{Found, inputs, outputs};
pub use ledger::{InputEntry, Ledger, PackEntry};
pub use records::rows;

use std::fmt;

/// Something is not as it should be, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deviation {
    /// The file: an output by its name in the folder, an input by its path in `run.json`.
    pub file: String,
    /// The line in it, from 1, where it has lines; a table's header is the first.
    pub line: Option<u64>,
    /// The column, or the place in a JSON value.
    pub column: Option<String>,
    /// What is wrong.
    pub what: String,
}

impl Deviation {
    /// One of a whole file.
    fn file(file: impl Into<String>, what: impl Into<String>) -> Deviation {
        Deviation { file: file.into(), line: None, column: None, what: what.into() }
    }

    /// One of a line.
    fn line(file: &str, line: u64, what: impl Into<String>) -> Deviation {
        Deviation { line: Some(line), ..Deviation::file(file, what) }
    }

    /// One of a cell.
    fn cell(file: &str, line: u64, column: &str, what: impl Into<String>) -> Deviation {
        Deviation { column: Some(column.to_owned()), ..Deviation::line(file, line, what) }
    }
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if let Some(column) = &self.column {
            write!(f, ", {column}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// Longest text that a deviation quotes, in characters.
const MOST_QUOTED: usize = 120;

/// A text in quotes, cut.
fn quoted(text: &str) -> String {
    match text.char_indices().nth(MOST_QUOTED) {
        Some((end, _)) => format!("'{}…'", &text[..end]),
        None => format!("'{text}'"),
    }
}

/// That a value is here and another one should be.
fn found(found: &str, expected: &str, by: &str) -> String {
    format!("found {}, expected {} by {by}", quoted(found), quoted(expected))
}
