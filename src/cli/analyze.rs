//! `psr-forensics analyze`.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use clap::Parser;
use tracing::{debug, warn};

use super::Ending;
use super::progress::Bar;
use super::rules::{Packs, Select};
use super::summary;
use crate::analysis::{Analysis, Options, analyze};
use crate::detect::RuleSet;
use crate::error::{Error, Fault, FaultKind};
use crate::input::{Input, discover};
use crate::model::parse_utc;
use crate::report::{self, Output, RunInfo};

/// Where results go when no folder is named.
pub(super) const DEFAULT_OUTPUT: &str = "psr-forensics-results";

#[derive(clap::Args)]
pub(super) struct Args {
    /// Logs: files, folders (searched to the bottom) or globs. What a file is, its content says
    #[arg(required = true, value_name = "PATH")]
    inputs: Vec<PathBuf>,
    /// Folder for the results
    #[arg(short, long, value_name = "DIR", default_value = DEFAULT_OUTPUT)]
    output: PathBuf,
    /// Replace the results in a folder that holds something
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    packs: Packs,
    #[command(flatten)]
    select: Select,
    /// Leave out events before this UTC time: 2026-03-14 or 2026-03-14T21:00:05
    #[arg(long, value_name = "TIME", value_parser = parse_utc)]
    from: Option<DateTime<Utc>>,
    /// Leave out events at or after this UTC time
    #[arg(long, value_name = "TIME", value_parser = parse_utc)]
    to: Option<DateTime<Utc>>,
    /// Write a transcript of each session whose traffic was logged: sessions/S0001.txt
    #[arg(long)]
    transcripts: bool,
    /// Read and hash each input a second time at the end: sha256_after in run.json. Without it
    /// sizes, times and identities are compared
    #[arg(long)]
    rehash: bool,
    /// Threads to use; 0 for one a core
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// Say nothing but errors
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
    /// Say more: rules not loaded, damage found; twice for what each stage does
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
}

pub(super) fn run(args: Args) -> Result<Ending> {
    log_to_stderr(&args);
    let threads = rayon::ThreadPoolBuilder::new().num_threads(args.threads);
    let pool = threads.build().context("cannot start the worker threads")?;
    pool.install(|| run_on_pool(&args))
}

fn run_on_pool(args: &Args) -> Result<Ending> {
    let info = RunInfo { arguments: std::env::args().skip(1).collect(), started: Utc::now() };
    let inputs = discover(&args.inputs)?;
    let rules = args.select.load(args.packs.read()?)?;
    debug!(inputs = inputs.len(), rules = rules.rules.len(), "read the command line");
    let output = Output::open(&args.output, args.force)?;
    let folder = output.folder().to_owned();
    let analysis = analyze_with(args, inputs, rules, &folder, args.quiet)?;
    for report in &analysis.inputs {
        let path = report.input.path.display();
        for fault in &report.faults {
            let Fault { kind, chunk, offset, record, reason } = fault;
            match kind {
                FaultKind::NotALog => debug!(%path, "{reason}"),
                _ => warn!(%path, chunk, offset, record, "{reason}"),
            }
        }
    }
    let sha256 = report::write(&analysis, &info, args.transcripts, output)?;
    if !args.quiet {
        // A reader that closed the pipe has seen enough.
        let _ = summary::print(&analysis, &folder, &sha256, &mut io::stdout().lock());
    }
    let ending = if analysis.is_partial() { Ending::Partial } else { Ending::Whole };
    // The process ends here: freeing millions of events one by one would only take time.
    std::mem::forget(analysis);
    Ok(ending)
}

/// Analyzes, with a progress bar unless it is to be quiet.
fn analyze_with(
    args: &Args,
    inputs: Vec<Input>,
    rules: RuleSet,
    scratch: &Path,
    quiet: bool,
) -> Result<Analysis, Error> {
    let bar = Bar::new(quiet);
    let options = Options {
        from: args.from,
        to: args.to,
        scratch: Some(scratch.to_owned()),
        rehash: args.rehash,
    };
    let analysis = analyze(inputs, &options, rules, &bar);
    bar.finish();
    analysis
}

/// A run's own arguments.
///
/// # Errors
/// Why they are none of this version.
fn parse(arguments: &[String]) -> Result<Args, String> {
    let program = "psr-forensics".to_owned();
    let parsed = super::Args::try_parse_from([program].iter().chain(arguments));
    match parsed.map(|args| args.command) {
        Ok(super::Verb::Analyze(args)) => Ok(args),
        _ => Err("its arguments are none of analyze in this version".to_owned()),
    }
}

/// Loads the rules of a run that was started in a folder with these arguments.
///
/// # Errors
/// Why they are not at hand.
pub(super) fn rules_of(arguments: &[String], folder: Option<&Path>) -> Result<RuleSet, String> {
    let mut args = parse(arguments)?;
    args.packs.look_in(folder);
    let packs = args.packs.read().map_err(|error| error.to_string())?;
    args.select.load(packs).map_err(|error| error.to_string())
}

/// Makes a run again, of the same arguments, evidence and rules, into a new folder.
pub(super) fn again(
    arguments: &[String],
    inputs: Vec<Input>,
    rules: RuleSet,
    folder: &Path,
    quiet: bool,
) -> Result<()> {
    let args = parse(arguments).map_err(anyhow::Error::msg)?;
    let info = RunInfo { arguments: arguments.to_vec(), started: Utc::now() };
    let output = Output::open(folder, false)?;
    let analysis = analyze_with(&args, inputs, rules, folder, quiet)?;
    report::write(&analysis, &info, args.transcripts, output)?;
    std::mem::forget(analysis);
    Ok(())
}

fn log_to_stderr(args: &Args) {
    use tracing::level_filters::LevelFilter;
    let level = match (args.quiet, args.verbose) {
        (true, _) | (false, 0) => LevelFilter::ERROR,
        (false, 1) => LevelFilter::WARN,
        (false, _) => LevelFilter::DEBUG,
    };
    let format = tracing_subscriber::fmt().with_max_level(level).with_target(false);
    let format = format.with_ansi(io::stderr().is_terminal());
    // A second call in one process, as tests make, keeps the first one's subscriber.
    let _ = format.with_writer(io::stderr).without_time().try_init();
}
