//! Case folders. They keep *observations*, the records that later stages use, as Parquet between
//! the reading of logs and the rebuilding of sessions.
//!
//! Records are extracted once. Sessions can then be rebuilt from them often, by other runs, on
//! other machines, and together with records that were extracted elsewhere. An observation is a
//! decoded record with its place in the evidence. The facts about an input as a whole (hash,
//! damage, how far its logs reach) are in the folder's journal. Sessions rebuilt from both are the
//! same as those rebuilt from the logs themselves.
//!
//! `table` is one file of records, `writer` divides the observations of an input into files,
//! `journal` lists the files that count, and `folder` is the case folder:
//!
//! ```text
//! CASE/journal.jsonl
//! CASE/observations/host=srv02/day=2026-03-14/4f1b2c3d4e5f6071-0.parquet
//! ```

mod folder;
mod journal;
mod table;
mod writer;

pub use folder::{CaseContents, CaseFolder, MergeCounts, read_records};
pub use journal::{ExtractSettings, ExtractedInput, FileEntry, PathText, TableEntry};
#[cfg(feature = "cli")]
pub(crate) use table::COLUMNS;
pub use table::{columns, fields, read_columns};
pub(crate) use writer::ObservationWriter;

pub use crate::parquet::{
    ColumnType, ColumnValues, ListValues, ParquetField, PrimitiveValues, TextValues,
};

/// The paths of the files of observations below a case folder.
#[cfg(feature = "cli")]
pub(crate) const FILES: &str = "observations/host=HOST/day=DAY/*.parquet";

/// The version of the tables and of the journal. A folder of another version is not read.
pub const SCHEMA: u32 = 1;
