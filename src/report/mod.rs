//! What was found, as files: a file per output, all or none of them.

mod cell;
mod commands;
mod describe;
mod detections;
mod evidence;
mod output;
mod run;
mod sessions;
mod timeline;

pub use output::Output;
pub use run::RunInfo;

use std::borrow::Cow;
use std::io::{self, Write};

use rayon::prelude::*;

use crate::analysis::Analysis;
use crate::error::Error;

/// A column: its name in the header and what it holds.
pub struct Column {
    /// The name.
    pub name: &'static str,
    /// What it holds, with its unit.
    pub description: &'static str,
}

/// The rows of a table: each stands for itself, so that any thread can write any of them.
trait Rows: Sync {
    /// How many there are.
    fn count(&self) -> usize;
    /// The cells of one, in the order of the columns.
    fn row(&self, index: usize) -> Vec<Cow<'_, str>>;
}

/// A CSV file: its name, its columns, its rows.
pub struct Table {
    /// The file's name.
    pub file: &'static str,
    /// Its columns, in order.
    pub columns: &'static [Column],
    rows: fn(&Analysis) -> Box<dyn Rows + '_>,
}

/// All CSV files of a run.
pub const TABLES: [Table; 5] = [
    Table { file: "timeline.csv", columns: timeline::COLUMNS, rows: timeline::rows },
    Table { file: "sessions.csv", columns: sessions::COLUMNS, rows: sessions::rows },
    Table { file: "commands.csv", columns: commands::COLUMNS, rows: commands::rows },
    Table {
        file: "attempts.csv",
        columns: sessions::ATTEMPT_COLUMNS,
        rows: sessions::attempt_rows,
    },
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

/// Rows that one thread formats at a time.
const ROWS_PER_TASK: usize = 2048;
/// Tasks whose text is held at a time.
const TASKS_AT_ONCE: usize = 16;

/// Writes all files of a run and gives them their names once each is whole.
///
/// # Errors
/// [`Error::Write`] when a file cannot be written: no file has its name before it is whole.
pub fn write(analysis: &Analysis, info: &RunInfo, mut output: Output) -> Result<(), Error> {
    for table in &TABLES {
        let path = output.path(table.file);
        let mut file = output.create(table.file)?;
        table.write(analysis, &mut file).map_err(Error::write(&path))?;
    }
    let path = output.path("run.json");
    let file = output.create("run.json")?;
    run::write(analysis, info, file).map_err(Error::write(&path))?;
    output.commit()
}

impl Table {
    fn write(&self, analysis: &Analysis, to: &mut (impl Write + Send)) -> io::Result<()> {
        let rows = (self.rows)(analysis);
        let names = self.columns.iter().map(|column| column.name.into()).collect();
        to.write_all(&csv_text([names])?)?;
        let starts: Vec<usize> = (0..rows.count()).step_by(ROWS_PER_TASK).collect();
        let format = |starts: &[usize]| -> io::Result<Vec<Vec<u8>>> {
            let texts = starts.par_iter().map(|&start| {
                let end = rows.count().min(start + ROWS_PER_TASK);
                csv_text((start..end).map(|index| rows.row(index)))
            });
            texts.collect()
        };
        // One group is written while the next is formatted.
        let mut ready = Vec::new();
        for starts in starts.chunks(TASKS_AT_ONCE) {
            let write = || ready.iter().try_for_each(|text: &Vec<u8>| to.write_all(text));
            let (written, formatted) = rayon::join(write, || format(starts));
            written?;
            ready = formatted?;
        }
        ready.iter().try_for_each(|text| to.write_all(text))?;
        to.flush()
    }
}

fn csv_text<'r>(rows: impl IntoIterator<Item = Vec<Cow<'r, str>>>) -> io::Result<Vec<u8>> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    for row in rows {
        csv.write_record(row.iter().map(|cell| cell.as_bytes()))?;
    }
    csv.into_inner().map_err(|error| error.into_error())
}
