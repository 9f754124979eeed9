//! What was found, as files: a file per output, all or none of them.

mod again;
mod cell;
pub mod changes;
pub(crate) mod commands;
mod coverage;
mod describe;
pub(crate) mod detections;
mod evidence;
pub(crate) mod findings;
mod format;
mod hosts;
mod html;
mod integrity;
pub(crate) mod layers;
mod machine;
mod missing;
mod narrate;
mod output;
pub(crate) mod parquet;
mod profile;
pub(crate) mod records;
mod run;
pub mod schema;
mod scope;
pub(crate) mod scripts;
mod sessions;
pub mod story;
mod teller;
pub mod timeline;
pub(crate) mod told;
mod transcript;

pub(crate) use again::{Again, again};
pub(crate) use cell::{cell, push as push_cell, visible};
pub use format::{Format, Wanted};
pub use html::FILE as HTML_FILE;
pub use layers::Notes;
pub(crate) use output::SEAL;
pub use output::{Output, Sum, TakeBack};
pub(crate) use run::FILE as RUN;
pub use run::RunInfo;
pub use scope::Scope;
pub use scripts::{INDEX, INDEX_COLUMNS};

use std::borrow::Cow;
use std::io::{self, Write};

use rayon::prelude::*;

use crate::analysis::Analysis;
use crate::error::Error;
use crate::table::columns;
pub use crate::table::{Column, Kind};

/// The rows of a table, at hand all at once.
trait Rows {
    /// How many there are.
    fn count(&self) -> usize;
    /// The cells of one, in the order of the columns.
    fn row(&self, index: usize) -> Vec<Cow<'_, str>>;
    /// Whether the run's [`Scope`] takes one in.
    fn is_told(&self, _index: usize) -> bool {
        true
    }
}

/// A CSV file: its name, its columns, its rows.
pub struct Table {
    /// The file's name.
    pub file: &'static str,
    /// Its columns, in order.
    pub columns: &'static [Column],
    write: fn(&Analysis, &mut (dyn Write + Send)) -> io::Result<()>,
}

/// All CSV files of a run.
pub const TABLES: [Table; 10] = [
    Table { file: "timeline.csv", columns: timeline::COLUMNS, write: timeline::write },
    Table {
        file: "sessions.csv",
        columns: sessions::COLUMNS,
        write: |analysis, to| write_rows(&sessions::rows(analysis), to),
    },
    Table {
        file: "commands.csv",
        columns: commands::COLUMNS,
        write: |analysis, to| write_rows(&commands::rows(analysis), to),
    },
    Table { file: "layers.csv", columns: layers::COLUMNS, write: layers::write },
    Table {
        file: "attempts.csv",
        columns: sessions::ATTEMPT_COLUMNS,
        write: |analysis, to| write_rows(&sessions::attempt_rows(analysis), to),
    },
    Table {
        file: "hosts.csv",
        columns: hosts::COLUMNS,
        write: |analysis, to| write_rows(&hosts::rows(analysis), to),
    },
    Table {
        file: "coverage.csv",
        columns: coverage::COLUMNS,
        write: |analysis, to| write_rows(&coverage::rows(analysis), to),
    },
    Table {
        file: "integrity.csv",
        columns: integrity::COLUMNS,
        write: |analysis, to| write_rows(&integrity::rows(analysis), to),
    },
    Table { file: "detections.csv", columns: detections::COLUMNS, write: detections::write },
    Table { file: "findings.csv", columns: findings::COLUMNS, write: findings::write },
];

/// Writes the files of a run that are wanted, `sessions.jsonl`, script texts if they were kept, and
/// `run.json`, and gives them their names once each is whole. Yields the SHA-256 of `run.json`, which
/// has those of all others: who notes it can prove all of them.
///
/// # Errors
/// [`Error::Write`] when a file cannot be written: no file has its name before it is whole.
pub fn write(
    analysis: &Analysis,
    info: &RunInfo,
    wanted: &Wanted,
    mut output: Output,
) -> Result<String, Error> {
    let mut files = Vec::new();
    let tables: &[Table] = if wanted.formats.contains(&Format::Csv) { &TABLES } else { &[] };
    for table in tables {
        files.push((table, output.path(table.file), output.create(table.file)?));
    }
    let written: Vec<Result<(), Error>> = files
        .into_par_iter()
        .map(|(table, path, mut file)| {
            table.write(analysis, &mut file).map_err(Error::write(&path))
        })
        .collect();
    written.into_iter().collect::<Result<(), Error>>()?;
    if wanted.formats.contains(&Format::Parquet) {
        parquet::write(analysis, wanted.by_host, &mut output)?;
    }
    profile::write(analysis, wanted, &mut output)?;
    narrate::write(analysis, wanted.formats.contains(&Format::Html), &mut output)?;
    let told = if wanted.transcripts { transcript::all(analysis) } else { Vec::new() };
    for (session, name, commands) in told {
        let path = output.path(&name);
        let mut file = output.create(&name)?;
        transcript::write(analysis, session, &commands, &mut file).map_err(Error::write(&path))?;
    }
    let scripts = match &analysis.scripts {
        Some(kept) => Some(scripts::write(analysis, kept, &mut output)?),
        None => None,
    };
    let path = output.path(run::FILE);
    let file = output.create(run::FILE)?;
    run::write(analysis, info, scripts, &output.sums(), file).map_err(Error::write(&path))?;
    output.commit()
}

impl Table {
    fn write(&self, analysis: &Analysis, to: &mut (impl Write + Send)) -> io::Result<()> {
        let names: Vec<&str> = self.columns.iter().map(|column| column.name).collect();
        writeln!(to, "{}", names.join(","))?;
        (self.write)(analysis, to)?;
        to.flush()
    }
}

fn write_rows(rows: &dyn Rows, to: &mut (dyn Write + Send)) -> io::Result<()> {
    let mut csv = csv::Writer::from_writer(to);
    for index in (0..rows.count()).filter(|&index| rows.is_told(index)) {
        csv.write_record(rows.row(index).iter().map(|cell| cell.as_bytes()))?;
    }
    csv.flush()
}
