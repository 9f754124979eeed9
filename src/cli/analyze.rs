//! `psr-forensics analyze`: logs to results.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::ending::Ending;
use super::live::Inputs;
use super::results::Results;
use super::running::Running;
use crate::analysis::{self, Analysis, Options, Progress};
use crate::detect::RuleSet;
use crate::error::Error;
use crate::input::Input;
use crate::limits::Limits;
use crate::observe::CaseFolder;

pub(super) const EXAMPLES: &str = "Examples:
  psr-forensics analyze CASE/logs -o CASE/results
  psr-forensics analyze SRV02/Security.evtx 'SRV02/*WinRM*.evtx' WS01 triage.zip -o results
  psr-forensics analyze CASE/logs --from 2026-03-14 --to '2026-03-15 06:00' -o results
  psr-forensics analyze CASE/logs --host SRV02 --user adm.lee -o results
  psr-forensics analyze CASE/logs --pack my-rules --min-level medium -o results
  psr-forensics analyze /mnt/evidence --case case-0117 -o results
  psr-forensics analyze CASE/logs --config case.yml --force";

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    inputs: Inputs,
    /// Extract what is read to this case folder, file by file: after a run that was ended or killed,
    /// the same command reads only what was not finished
    #[arg(long, value_name = "DIR")]
    case: Option<PathBuf>,
    #[command(flatten)]
    reading: Reading,
    /// Read and hash each input a second time at the end: sha256_after in run.json. Without it
    /// sizes, times and identities are compared
    #[arg(long, conflicts_with = "case")]
    rehash: bool,
    #[command(flatten)]
    results: Results,
    #[command(flatten)]
    running: Running,
}

/// How logs are read.
#[derive(clap::Args)]
pub(super) struct Reading {
    /// Also look for records that no log holds any more: in slack space, in damaged logs, and in
    /// files that are no logs, as raw images and memory dumps
    #[arg(long)]
    pub recover: bool,
}

pub(super) fn run(args: &Args, arguments: &[OsString]) -> Result<Ending> {
    args.running.run(|limits| {
        let inputs = args.inputs.discover()?;
        let case = args.case.as_deref().map(CaseFolder::open).transpose()?;
        args.results.run(&args.running, limits, arguments, |options, rules, progress| {
            args.analyze(inputs, case, options, rules, progress)
        })
    })
}

impl Args {
    fn analyze(
        &self,
        inputs: Vec<Input>,
        case: Option<CaseFolder>,
        options: Options,
        rules: RuleSet,
        progress: &dyn Progress,
    ) -> Result<Analysis, Error> {
        let options = Options { recover: self.reading.recover, rehash: self.rehash, ..options };
        let Some(mut case) = case else {
            return analysis::analyze(inputs, &options, rules, progress);
        };
        let evidence = analysis::extract(inputs, &mut case, &options, &rules, progress)?;
        analysis::rebuild(evidence, &options, rules, progress)
    }
}

/// A run by its own arguments.
pub(super) enum Made {
    /// Of logs.
    Analyze(Box<Args>),
    /// Of cases.
    Correlate(Box<super::correlate::Args>),
}

impl Made {
    fn results(&mut self) -> &mut Results {
        match self {
            Made::Analyze(args) => &mut args.results,
            Made::Correlate(args) => &mut args.results,
        }
    }

    /// Loads its rules; it was started in a folder.
    ///
    /// # Errors
    /// Why they are not at hand.
    pub fn rules(&mut self, folder: Option<&Path>) -> Result<RuleSet, String> {
        self.results().rules(folder)
    }

    /// The limits it read within.
    pub fn limits(&self) -> Limits {
        let running = match self {
            Made::Analyze(args) => &args.running,
            Made::Correlate(args) => &args.running,
        };
        running.limits().unwrap_or_default()
    }

    /// Whether it told of some hosts or accounts only.
    pub fn is_narrowed(&mut self) -> bool {
        self.results().is_narrowed()
    }

    /// Makes it again, of the same evidence, which is where `inputs` says, and into a new folder.
    pub fn again(
        &mut self,
        arguments: &[String],
        inputs: Vec<Input>,
        rules: RuleSet,
        folder: &Path,
        quiet: bool,
    ) -> Result<()> {
        let limits = self.limits();
        match self {
            Made::Analyze(args) => {
                let analyze = |options, rules, progress: &dyn Progress| {
                    args.analyze(inputs, None, options, rules, progress)
                };
                args.results.again(arguments, rules, limits, folder, quiet, analyze)
            }
            Made::Correlate(args) => {
                let analyze = |options, rules, progress: &dyn Progress| {
                    args.correlate(options, rules, progress)
                };
                args.results.again(arguments, rules, limits, folder, quiet, analyze)
            }
        }
    }
}
