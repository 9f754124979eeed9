//! `psr-forensics packs`: what is in packs, whether they are sound, and why a rule fired or not.

mod check;
mod explain;
mod export;
mod list;
mod test;

use std::io::{self, Write};

use anyhow::Result;
use clap::Subcommand;

use super::ending::Ending;

pub(super) const EXAMPLES: &str = "Examples:
  psr-forensics packs list
  psr-forensics packs check --no-default-pack --pack my-rules
  psr-forensics packs test --no-default-pack --pack my-rules
  psr-forensics packs explain 'Download cradle in a script' 'SRV02/PowerShell.evtx:9026@15728'
  psr-forensics packs export built-in";

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// List packs with their rules by level and log source, and what of them does not load
    List(list::Args),
    /// Look for mistakes in rules; exit code 3 when there are any
    Check(check::Args),
    /// Run the cases beside rules; exit code 3 when one does not hold
    Test(test::Args),
    /// Say why a rule did or did not fire on a record
    Explain(explain::Args),
    /// Write the built-in pack, rules and their cases, to a folder
    Export(export::Args),
}

pub(super) fn run(args: Args) -> Result<Ending> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let ending = match args.command {
        Verb::List(args) => list::run(&args, &mut out),
        Verb::Check(args) => check::run(&args, &mut out),
        Verb::Test(args) => test::run(&args, &mut out),
        Verb::Explain(args) => explain::run(&args, &mut out),
        Verb::Export(args) => export::run(&args, &mut out),
    }?;
    // A reader that closed the pipe has seen enough.
    let _ = out.flush();
    Ok(ending)
}
