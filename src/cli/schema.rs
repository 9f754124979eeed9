//! `psr-forensics schema`: what each file of each format holds.

use std::io::{self, Write};

use anyhow::Result;
use serde::Serialize;

use super::Ending;
use super::analyze::format_named;
use crate::report::Format;
use crate::report::schema::{File, files};

pub(super) const EXAMPLES: &str = "Examples:
  psr-forensics schema
  psr-forensics schema timesketch
  psr-forensics schema parquet --json";

#[derive(clap::Args)]
pub(super) struct Args {
    /// A format; all of them when none is named
    #[arg(value_name = "FORMAT", value_parser = format_named())]
    format: Option<Format>,
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

pub(super) fn run(args: &Args) -> Result<Ending> {
    let formats = args.format.as_slice();
    let formats = if formats.is_empty() { &Format::ALL } else { formats };
    let described = formats.iter().map(|&format| Described {
        format: format.as_str(),
        about: format.about(),
        files: files(format),
    });
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
