//! `psr-forensics merge`: cases into one.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::ending::Ending;
use super::print::plain;
use crate::observe::{CaseFolder, MergeCounts};

pub(super) const EXAMPLES: &str = "Examples:
  psr-forensics merge case-0117 cases/SRV02 cases/WS01
  psr-forensics rebuild case-0117 -o after && psr-forensics diff before after";

#[derive(clap::Args)]
pub(super) struct Args {
    /// The case folder that takes the others in: made where there is none
    #[arg(value_name = "CASE")]
    case: PathBuf,
    /// The case folders to take in, which are left as they are. A file that is in several counts
    /// once, as the last one has it
    #[arg(value_name = "OTHER", required = true)]
    others: Vec<PathBuf>,
    /// Say nothing but errors
    #[arg(short, long)]
    quiet: bool,
}

pub(super) fn run(args: &Args) -> Result<Ending> {
    // What cannot be read is known before anything is written.
    let others = args.others.iter().map(|other| Ok((other, CaseFolder::read(other)?)));
    let others: Vec<_> = others.collect::<Result<_>>()?;
    let mut case = CaseFolder::open(&args.case)?;
    for (other, known) in others {
        let merged = case.merge(other, known)?;
        if !args.quiet {
            // A reader that closed the pipe has seen enough.
            let _ = print(&merged, other, io::stdout().lock());
        }
    }
    Ok(Ending::Whole)
}

fn print(merged: &MergeCounts, other: &Path, mut out: impl Write) -> io::Result<()> {
    let MergeCounts { new, replaced, same, unfinished } = merged;
    let other = plain(&other.display().to_string());
    writeln!(out, "{other}: {new} files new, {replaced} extracted anew, {same} here already")?;
    if *unfinished > 0 {
        writeln!(out, "{other}: {unfinished} files that it was to extract and has not")?;
    }
    out.flush()
}
