//! What was found, as files: a file per output, all or none of them.

mod cell;
pub(crate) mod commands;
mod coverage;
mod describe;
pub(crate) mod detections;
mod evidence;
pub(crate) mod findings;
mod hosts;
mod html;
pub(crate) mod layers;
mod missing;
mod output;
mod run;
mod sessions;
pub mod sorted;
pub mod story;
pub mod timeline;
pub(crate) mod told;
mod transcript;

pub(crate) use cell::visible;
pub use html::FILE as HTML_FILE;
pub use layers::Notes;
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

/// The rows of a table, at hand all at once.
trait Rows {
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
    write: fn(&Analysis, &mut dyn Write) -> io::Result<()>,
}

/// All CSV files of a run.
pub const TABLES: [Table; 9] = [
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
    Table { file: "detections.csv", columns: detections::COLUMNS, write: detections::write },
    Table { file: "findings.csv", columns: findings::COLUMNS, write: findings::write },
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

/// Writes all files of a run, sessions' transcripts if they are wanted, and gives them their names
/// once each is whole.
///
/// # Errors
/// [`Error::Write`] when a file cannot be written: no file has its name before it is whole.
pub fn write(
    analysis: &Analysis,
    info: &RunInfo,
    transcripts: bool,
    mut output: Output,
) -> Result<(), Error> {
    let mut files = Vec::new();
    for table in &TABLES {
        files.push((table, output.path(table.file), output.create(table.file)?));
    }
    let written: Vec<Result<(), Error>> = files
        .into_par_iter()
        .map(|(table, path, mut file)| {
            table.write(analysis, &mut file).map_err(Error::write(&path))
        })
        .collect();
    written.into_iter().collect::<Result<(), Error>>()?;
    let path = output.path(story::FILE);
    let mut file = output.create(story::FILE)?;
    story::write(analysis, &mut file).map_err(Error::write(&path))?;
    let path = output.path(html::FILE);
    let mut file = output.create(html::FILE)?;
    html::write(analysis, &mut file).map_err(Error::write(&path))?;
    let wanted = if transcripts { transcript::all(analysis) } else { Vec::new() };
    for (session, name, commands) in wanted {
        let path = output.path(&name);
        let mut file = output.create(&name)?;
        transcript::write(analysis, session, &commands, &mut file).map_err(Error::write(&path))?;
    }
    let path = output.path("run.json");
    let file = output.create("run.json")?;
    run::write(analysis, info, file).map_err(Error::write(&path))?;
    output.commit()
}

impl Table {
    fn write(&self, analysis: &Analysis, to: &mut impl Write) -> io::Result<()> {
        let names: Vec<&str> = self.columns.iter().map(|column| column.name).collect();
        writeln!(to, "{}", names.join(","))?;
        (self.write)(analysis, to)?;
        to.flush()
    }
}

fn write_rows(rows: &dyn Rows, to: &mut dyn Write) -> io::Result<()> {
    let mut csv = csv::Writer::from_writer(to);
    for index in 0..rows.count() {
        csv.write_record(rows.row(index).iter().map(|cell| cell.as_bytes()))?;
    }
    csv.flush()
}
