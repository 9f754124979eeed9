//! Reads and writes Parquet files through the low-level column API of the `parquet` crate, without
//! Arrow.
//!
//! [`ParquetField`] declares a column, and [`ColumnValues`] collects its values for a row group.
//! `write` writes row groups. `read` reads a file of one row group that may come from an untrusted sender.
//!
//! Each type of column has one form in a file: times are `TIMESTAMP(isAdjustedToUTC=true, NANOS)`,
//! whole numbers are unsigned `INT`, texts are `STRING`, and a list of texts is a three-level
//! `LIST`. All columns are optional. Texts and repeating numbers are written as a dictionary, times
//! and other whole numbers as differences.

mod read;
#[cfg(test)]
mod tests;
mod values;
mod write;

pub(crate) use read::{ReadBounds, read};
pub use values::{ColumnValues, ListValues, PrimitiveValues, TextValues};
pub(crate) use write::{ParquetFile, write_single_group};

/// The most rows of a row group.
pub(crate) const MOST_ROWS: usize = 1 << 16;
/// The bytes of texts at which a row group is full.
pub(crate) const MOST_BYTES: usize = 32 << 20;

/// A column of a Parquet file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParquetField {
    /// The name of the column.
    pub name: &'static str,
    /// The type of its values.
    pub column_type: ColumnType,
    /// Whether whole numbers repeat so often that a dictionary of them is shorter than their
    /// differences.
    pub repeats: bool,
}

/// The type of a column's values. A value of any type may be null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// A time in UTC, in nanoseconds since 1970.
    Time,
    /// A whole number of 64 bits.
    U64,
    /// A whole number of 32 bits.
    U32,
    /// A floating-point number of 64 bits.
    F64,
    /// True or false.
    Bool,
    /// A text.
    Text,
    /// A list of texts, none of which is null.
    Texts,
}
