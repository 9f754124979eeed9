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
mod names;
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
mod table_rows;
mod tables;
mod teller;
mod timeline;
#[cfg(any(feature = "cli", feature = "html"))]
pub(crate) mod told;
mod transcript;

pub(crate) use again::{Again, again};
#[cfg(all(feature = "cli", feature = "sql"))]
pub(crate) use cell::push as push_cell;
pub(crate) use cell::{cell, visible};
pub use format::{Format, Wanted};
#[cfg(feature = "sql")]
pub(crate) use names::{PARQUET_EXTENSION, PARQUET_FOLDER};
pub(crate) use names::{RUN, SEAL};
pub use output::{Output, Sum, TakeBack};
pub use run::RunInfo;
pub use scripts::{INDEX, INDEX_COLUMNS};
pub use tables::{TABLES, Table};

use rayon::prelude::*;

use crate::analysis::Analysis;
use crate::error::Error;
pub use crate::table::{Column, Kind};

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
    let path = output.path(RUN);
    let file = output.create(RUN)?;
    run::write(analysis, info, scripts, &output.sums(), file).map_err(Error::write(&path))?;
    output.commit(&schema::names())
}
