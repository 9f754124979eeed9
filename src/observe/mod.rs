//! The table between reading logs and rebuilding sessions: *observations*, the records that some
//! later stage has a use for, as Parquet in a case folder.
//!
//! What is extracted once can be correlated often, by other runs, on other machines, and together
//! with what was extracted elsewhere. An observation is a record as decoded, with its place in the
//! evidence; what is known of an input as a whole (hash, damage, how far its logs reach) stands in
//! the folder's journal. Sessions that are rebuilt from both are those that are rebuilt from the
//! logs themselves.
//!
//! `table` is one file of records, `writer` cuts the
//! observations of an input into files, `journal` says which files count, and `folder` is the case
//! folder:
//!
//! ```text
//! CASE/journal.jsonl
//! CASE/observations/host=srv02/day=2026-03-14/4f1b2c3d4e5f6071-0.parquet
//! ```

mod folder;
mod journal;
mod table;
mod writer;

pub use folder::{CaseFolder, Known, Merged, records};
pub use journal::{FileEntry, Observed, PathText, Settings, TableEntry};
#[cfg(feature = "cli")]
pub(crate) use table::COLUMNS;
pub use table::{columns, fields, read_columns};
pub(crate) use writer::Writer;

pub use crate::parquet::{
    ColumnType, ColumnValues, Field, ListValues, PrimitiveValues, TextValues,
};

/// The names of the files of observations below a case folder.
#[cfg(feature = "cli")]
pub(crate) const FILES: &str = "observations/host=HOST/day=DAY/*.parquet";

/// The version of the tables and of the journal. A folder of another one is not read.
pub const SCHEMA: u32 = 1;
