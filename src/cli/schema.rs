//! `psr-forensics schema`: what each file of each format holds.

use std::io::{self, Write};

use anyhow::Result;
use clap::builder::PossibleValuesParser;
use serde::Serialize;

use super::ending::Ending;
use crate::observe;
use crate::report::Format;
use crate::report::schema::{File, files};

pub(super) const EXAMPLES: &str = "Examples:
  psr-forensics schema
  psr-forensics schema timesketch
  psr-forensics schema parquet --json
  psr-forensics schema case";

/// What `extract` writes is no format of results.
const CASE: &str = "case";

#[derive(clap::Args)]
pub(super) struct Args {
    /// A format, or `case` for what `extract` keeps; all of them when none is named
    #[arg(value_name = "FORMAT", value_parser = PossibleValuesParser::new(names()))]
    format: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A format with its files.
#[derive(Serialize)]
struct Described {
    format: &'static str,
    about: &'static str,
    files: Vec<File>,
}

impl Described {
    fn of(format: Format) -> Described {
        Described { format: format.as_str(), about: format.about(), files: files(format) }
    }

    fn case() -> Described {
        let file = File { name: observe::FILES.into(), columns: observe::COLUMNS };
        let about = "the records that sessions and rules need, which extract keeps: a file per log, host and day";
        Described { format: CASE, about, files: vec![file] }
    }
}

fn names() -> impl Iterator<Item = &'static str> {
    Format::ALL.iter().map(|format| format.as_str()).chain([CASE])
}

pub(super) fn run(args: &Args) -> Result<Ending> {
    let named =
        |format: &Described| args.format.as_deref().is_none_or(|name| name == format.format);
    let described = Format::ALL.map(Described::of).into_iter().chain([Described::case()]);
    let described = described.filter(named);
    let mut out = io::stdout().lock();
    let written = if args.json {
        let all: Vec<Described> = described.collect();
        writeln!(out, "{}", serde_json::to_string_pretty(&all)?)
    } else {
        described.into_iter().try_for_each(|format| print(&format, &mut out))
    };
    match written {
        // A reader that closed the pipe has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(Ending::Whole),
    }
}

fn print(format: &Described, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}: {}", format.format, format.about)?;
    for file in &format.files {
        writeln!(out, "\n{}", file.name)?;
        let longest = file.columns.iter().map(|column| column.name.len()).max().unwrap_or(0);
        for column in file.columns {
            let kind = column.kind.as_str();
            writeln!(out, "  {:longest$}  {kind:7}  {}", column.name, column.description)?;
        }
    }
    writeln!(out)
}
