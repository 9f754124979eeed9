//! All tables of a run.

use std::io::{self, Write};

use super::csv::CsvLines;
use super::output::AT_ONCE;
#[cfg(feature = "parquet")]
use super::parquet::rows::{WriteTable, write_rows};
use super::table_rows::TableRows;
use super::{
    commands, coverage, detections, findings, hosts, integrity, layers, sessions, timeline,
};
use crate::analysis::Analysis;
use crate::rows::Row;
use crate::table::Column;

/// A table of results: the name of its CSV file, and its columns.
pub struct Table {
    /// The CSV file's name.
    pub file: &'static str,
    /// Its columns, in order.
    pub columns: &'static [Column],
    csv: fn(&Analysis, &mut (dyn Write + Send)) -> io::Result<()>,
    #[cfg(feature = "parquet")]
    pub(super) parquet: WriteTable,
}

impl Table {
    /// A table of these rows.
    const fn new<T: TableRows>(file: &'static str) -> Table {
        Table {
            file,
            columns: <T::Row<'_> as Row>::COLUMNS,
            csv: write_csv::<T>,
            #[cfg(feature = "parquet")]
            parquet: write_rows::<T>,
        }
    }

    /// Writes it as CSV.
    pub(super) fn write(
        &self,
        analysis: &Analysis,
        to: &mut (impl Write + Send),
    ) -> io::Result<()> {
        let mut head = CsvLines::default();
        head.head(self.columns);
        head.write_to(to)?;
        (self.csv)(analysis, to)?;
        to.flush()
    }
}

/// All tables of a run.
pub const TABLES: [Table; 10] = [
    Table { csv: timeline::write_csv, ..Table::new::<timeline::Timeline>("timeline.csv") },
    Table::new::<sessions::Sessions>("sessions.csv"),
    Table::new::<commands::Commands>("commands.csv"),
    Table::new::<layers::Layers>("layers.csv"),
    Table::new::<sessions::Attempts>("attempts.csv"),
    Table::new::<hosts::Hosts>("hosts.csv"),
    Table::new::<coverage::Coverage>("coverage.csv"),
    Table::new::<integrity::Signs>("integrity.csv"),
    Table::new::<detections::Detections>("detections.csv"),
    Table::new::<findings::Findings>("findings.csv"),
];

/// Writes the lines of a table's rows.
fn write_csv<T: TableRows>(analysis: &Analysis, to: &mut (dyn Write + Send)) -> io::Result<()> {
    let mut lines = CsvLines::default();
    T::each(analysis, &mut |row| {
        lines.row(row);
        if lines.len() < AT_ONCE { Ok(()) } else { lines.write_to(to) }
    })?;
    lines.write_to(to)
}
