//! What was found, as files: a file per output, all or none of them.

mod cell;
mod commands;
mod detections;
mod evidence;
mod output;
mod run;
mod sessions;
mod timeline;

pub use output::Output;
pub use run::RunInfo;

use crate::analysis::Analysis;
use crate::error::Error;

/// A column: its name in the header and what it holds.
pub struct Column {
    /// The name.
    pub name: &'static str,
    /// What it holds, with its unit.
    pub description: &'static str,
}

/// A CSV file: its name, its columns, its rows.
pub struct Table {
    /// The file's name.
    pub file: &'static str,
    /// Its columns, in order.
    pub columns: &'static [Column],
    rows: fn(&Analysis, &mut dyn FnMut(&[String]) -> Result<(), Error>) -> Result<(), Error>,
}

/// All CSV files of a run.
pub const TABLES: [Table; 5] = [
    Table { file: "timeline.csv", columns: timeline::COLUMNS, rows: timeline::rows },
    Table { file: "sessions.csv", columns: sessions::COLUMNS, rows: sessions::rows },
    Table { file: "commands.csv", columns: commands::COLUMNS, rows: commands::rows },
    Table { file: "attempts.csv", columns: sessions::ATTEMPT_COLUMNS, rows: sessions::attempts },
    Table { file: "detections.csv", columns: detections::COLUMNS, rows: detections::rows },
];

/// Declares a table's columns: `NAME: "name" => "description"`.
macro_rules! columns {
    ($visibility:vis $constant:ident: $($name:literal => $description:literal),+ $(,)?) => {
        $visibility const $constant: &[$crate::report::Column] = &[
            $($crate::report::Column { name: $name, description: $description }),+
        ];
    };
}
use columns;

/// Writes all files of a run and gives them their names once each is whole.
///
/// # Errors
/// [`Error::Write`] when a file cannot be written: then none of the new ones is left.
pub fn write(analysis: &Analysis, info: &RunInfo, mut output: Output) -> Result<(), Error> {
    for table in &TABLES {
        let path = output.path(table.file);
        let file = output.create(table.file)?;
        let mut csv = csv::WriterBuilder::new().from_writer(file);
        let header = table.columns.iter().map(|column| column.name);
        csv.write_record(header).map_err(Error::write(&path))?;
        (table.rows)(analysis, &mut |row| {
            debug_assert_eq!(row.len(), table.columns.len(), "{}", table.file);
            csv.write_record(row).map_err(Error::write(&path))
        })?;
        csv.flush().map_err(Error::write(&path))?;
    }
    let path = output.path("run.json");
    let file = output.create("run.json")?;
    run::write(analysis, info, file).map_err(Error::write(&path))?;
    output.commit()
}
