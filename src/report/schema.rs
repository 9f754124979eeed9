//! What outputs hold: each format's files and what their columns or fields mean.

use std::borrow::Cow;

use serde::Serialize;

use super::format::Format;
use super::names::{HTML_FILE, PARQUET_EXTENSION, PARQUET_FOLDER};
use super::profile;
use super::tables::{TABLES, Table};
use crate::table::Column;

/// A file of a format.
#[derive(Serialize)]
pub struct File {
    /// Its name in the output folder.
    pub name: Cow<'static, str>,
    /// Its columns in order, or the fields of its lines.
    pub columns: &'static [Column],
}

/// The name of a table as SQL has it, and as its files are called.
pub(crate) fn stem(table: &Table) -> &'static str {
    table.file.trim_end_matches(".csv")
}

/// The Parquet file of a table.
pub(super) fn parquet_name(table: &Table) -> String {
    format!("{PARQUET_FOLDER}/{}{PARQUET_EXTENSION}", stem(table))
}

/// The files of a format.
pub fn files(format: Format) -> Vec<File> {
    let tables = TABLES.iter().map(|table| File {
        name: match format {
            Format::Parquet => parquet_name(table).into(),
            _ => table.file.into(),
        },
        columns: table.columns,
    });
    match format {
        Format::Csv | Format::Parquet => tables.collect(),
        Format::Html => vec![File { name: HTML_FILE.into(), columns: &[] }],
        _ => {
            let shapes = profile::shapes(format).iter();
            shapes.map(|shape| File { name: shape.file.into(), columns: shape.columns }).collect()
        }
    }
}

/// The names of all files of all formats.
pub(super) fn names() -> Vec<Cow<'static, str>> {
    Format::ALL.into_iter().flat_map(files).map(|file| file.name).collect()
}
