//! What was found, as files: a file per output, all or none of them.

mod again;
mod cell;
pub mod changes;
mod commands;
mod coverage;
mod csv;
mod detections;
mod findings;
mod format;
mod hosts;
#[cfg_attr(not(feature = "html"), path = "no_html.rs")]
mod html;
mod integrity;
mod layers;
mod machine;
mod missing;
mod narrate;
mod output;
#[cfg(feature = "parquet")]
pub(crate) mod parquet;
mod profile;
mod run;
pub mod schema;
mod scripts;
mod sessions;
pub mod story;
mod teller;
mod timeline;
#[cfg(any(feature = "cli", feature = "html"))]
pub(crate) mod told;
mod transcript;

pub(crate) use again::{Again, again};
#[cfg(feature = "sql")]
pub(crate) use cell::push as push_cell;
pub(crate) use cell::{cell, visible};
pub use format::{Format, Wanted};
pub(crate) use output::SEAL;
pub use output::{Output, Sum, TakeBack};
pub(crate) use run::FILE as RUN;
pub use run::RunInfo;
pub use scripts::{INDEX, INDEX_COLUMNS};

use std::io::{self, Write};

use rayon::prelude::*;

use self::csv::CsvLines;
use self::output::AT_ONCE;
use crate::analysis::Analysis;
use crate::error::Error;
use crate::rows::Row;
pub use crate::table::{Column, Kind};

/// A table's rows, each made when it is asked for.
trait TableRows: 'static {
    /// A row.
    type Row<'r>: Row;

    /// Calls `each` with every row that the run's [`Scope`](crate::rows::Scope) takes in, in order.
    fn each(
        analysis: &Analysis,
        each: &mut dyn FnMut(&Self::Row<'_>) -> io::Result<()>,
    ) -> io::Result<()>;
}

/// A table of results: the name of its CSV file, and its columns.
pub struct Table {
    /// The CSV file's name.
    pub file: &'static str,
    /// Its columns, in order.
    pub columns: &'static [Column],
    csv: fn(&Analysis, &mut (dyn Write + Send)) -> io::Result<()>,
    #[cfg(feature = "parquet")]
    parquet: parquet::WriteTable,
}

impl Table {
    /// A table of these rows.
    const fn new<T: TableRows>(file: &'static str) -> Table {
        Table {
            file,
            columns: <T::Row<'_> as Row>::COLUMNS,
            csv: write_csv::<T>,
            #[cfg(feature = "parquet")]
            parquet: parquet::rows::<T>,
        }
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

/// Writes the files of a run that are wanted, `sessions.jsonl`, script texts if they were kept, and
/// `run.json`, and gives them their names once each is whole. Yields the SHA-256 of `run.json`, which
/// has those of all others: who notes it can prove all of them.
///
/// # Errors
/// [`Error::NotBuilt`] for a format that this build lacks, [`Error::Write`] when a file cannot be
/// written: no file has its name before it is whole.
pub fn write(
    analysis: &Analysis,
    info: &RunInfo,
    wanted: &Wanted,
    mut output: Output,
) -> Result<String, Error> {
    wanted.check()?;
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
    #[cfg(feature = "parquet")]
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
        let mut head = CsvLines::default();
        head.head(self.columns);
        head.write_to(to)?;
        (self.csv)(analysis, to)?;
        to.flush()
    }
}

/// Writes the lines of a table's rows.
fn write_csv<T: TableRows>(analysis: &Analysis, to: &mut (dyn Write + Send)) -> io::Result<()> {
    let mut lines = CsvLines::default();
    T::each(analysis, &mut |row| {
        lines.row(row);
        if lines.len() < AT_ONCE { Ok(()) } else { lines.write_to(to) }
    })?;
    lines.write_to(to)
}
