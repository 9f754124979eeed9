//! `psr-forensics rebuild`: cases to results.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Result;

use super::ending::Ending;
use super::results::Results;
use super::running::Running;
use crate::analysis::{self, Analysis, Options, Progress, RunInputs};
use crate::detect::RuleSet;
use crate::error::Error;

pub(super) const EXAMPLES: &str = "Examples:
  psr-forensics rebuild case-0117 -o results
  psr-forensics rebuild cases/SRV02 cases/WS01 cases/DC01 -o results
  psr-forensics rebuild case-0117 --host SRV02 --format parquet -o results";

#[derive(clap::Args)]
pub(super) struct Args {
    /// Folders that `extract` or `analyze --case` made. A file that is in several counts once, as the
    /// last one has it
    #[arg(value_name = "CASE", required = true)]
    cases: Vec<PathBuf>,
    #[command(flatten)]
    pub results: Results,
    #[command(flatten)]
    pub running: Running,
}

pub(super) fn run(args: &Args, arguments: &[OsString]) -> Result<Ending> {
    args.running.run(|limits| {
        args.results.run(&args.running, limits, arguments, |options, rules, progress| {
            args.correlate(options, rules, progress)
        })
    })
}

impl Args {
    pub fn correlate(
        &self,
        options: Options,
        rules: RuleSet,
        progress: &dyn Progress,
    ) -> Result<Analysis, Error> {
        let evidence = RunInputs::from_cases(&self.cases, &rules.event_filter())?;
        analysis::rebuild(evidence, &options, rules, progress)
    }
}
