//! `psr-forensics extract`: logs to a case.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::analyze::Reading;
use super::ending::Ending;
use super::interrupt;
use super::live::Inputs;
use super::print::plain;
use super::progress::Bar;
use super::rules::{Packs, Select};
use super::running::Running;
use crate::analysis::{self, InputsSummary, Options};
use crate::observe::CaseFolder;

pub(super) const EXAMPLES: &str = "Examples:
  psr-forensics extract /mnt/evidence --case case-0117
  psr-forensics extract SRV02 triage.zip --case case-0117 --pack my-rules";

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    inputs: Inputs,
    /// The case folder: made where there is none, added to where there is one. What is finished in it
    /// is not read again
    #[arg(long, value_name = "DIR", required = true)]
    case: PathBuf,
    /// Rules say which records are of use to them: extract for all that will be loaded
    #[command(flatten)]
    packs: Packs,
    #[command(flatten)]
    select: Select,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    running: Running,
}

pub(super) fn run(args: &Args) -> Result<Ending> {
    args.running.run(|limits| {
        let inputs = args.inputs.discover()?;
        let rules = args.select.load(args.packs.read()?)?;
        let mut case = CaseFolder::open(&args.case)?;
        let stop = interrupt::listen(None, args.running.quiet)?;
        let bar = Bar::new(args.running.quiet);
        let recover = args.reading.recover;
        let options = Options { stop: stop.clone(), limits, recover, ..Options::default() };
        let evidence = analysis::extract(inputs, &mut case, &options, &rules, &bar);
        bar.finish();
        let evidence = evidence?;
        let told = evidence.summary()?;
        if !args.running.quiet {
            // A reader that closed the pipe has seen enough.
            let _ = print(&told, evidence.before, case.root(), anstream::stdout().lock());
        }
        Ok(match told.damaged {
            _ if stop.is_cancelled() => Ending::Interrupted,
            0 => Ending::Whole,
            _ => Ending::Partial,
        })
    })
}

fn print(told: &InputsSummary, before: usize, case: &Path, mut out: impl Write) -> io::Result<()> {
    let InputsSummary { inputs, logs, bytes, records, observations, size, damaged } = told;
    let case = plain(&case.display().to_string());
    writeln!(out, "{logs} logs of {inputs} files, {bytes} bytes, {records} records")?;
    writeln!(out, "{observations} observations, {size} bytes, in {case}")?;
    if before > 0 {
        writeln!(out, "{before} files were finished before, and not read again")?;
    }
    if *damaged > 0 {
        writeln!(out, "{damaged} could not be read in full: 'rebuild' says what is wrong")?;
    }
    out.flush()
}
