//! `psr-forensics analyze`.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use clap::Parser;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use tracing::{debug, warn};

use super::live::Inputs;
use super::paint;
use super::progress::Bar;
use super::rules::{Packs, Select};
use super::summary;
use super::who::Who;
use super::zone::Shown;
use super::{Ending, interrupt, limits, plain};
use crate::analysis::{Analysis, Options, Stop, analyze};
use crate::detect::RuleSet;
use crate::error::{Error, Fault, FaultKind};
use crate::input::Input;
use crate::limits::Limits;
use crate::model::parse_utc;
use crate::report::{self, Format, Output, RunInfo, Wanted};

/// Where results go when no folder is named.
pub(super) const DEFAULT_OUTPUT: &str = "psr-forensics-results";

pub(super) const EXAMPLES: &str = "Examples:
  psr-forensics analyze CASE/logs -o CASE/results
  psr-forensics analyze SRV02/Security.evtx 'SRV02/*WinRM*.evtx' WS01 triage.zip -o results
  psr-forensics analyze CASE/logs --from 2026-03-14 --to '2026-03-15 06:00' -o results
  psr-forensics analyze CASE/logs --host SRV02 --user adm.lee -o results
  psr-forensics analyze CASE/logs --pack my-rules --min-level medium -o results
  psr-forensics analyze CASE/logs --config case.yml --force";

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    inputs: Inputs,
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
    /// What to write the results as; may be given several times
    #[arg(long = "format", value_name = "NAME", value_parser = format_named(), default_values = ["csv", "html"])]
    formats: Vec<Format>,
    /// Write Parquet tables as a file per host
    #[arg(long)]
    partition_by_host: bool,
    /// Write a transcript of each session whose traffic was logged: sessions/S0001.txt
    #[arg(long)]
    transcripts: bool,
    /// Write no texts of script blocks to scripts/
    #[arg(long)]
    no_scripts: bool,
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    zone: Shown,
    /// Also look for records that no log holds any more: in slack space, in damaged logs, and in
    /// files that are no logs, as raw images and memory dumps
    #[arg(long)]
    recover: bool,
    /// Set what hostile input may cost, e.g. record-bytes=16MiB; 'help' lists the limits
    #[arg(long = "limit", value_name = "NAME=VALUE", value_parser = limits::word)]
    limits: Vec<limits::Word>,
    /// Make anything not read in full and any limit met an error of its own: exit code 5
    #[arg(long)]
    strict: bool,
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

pub(super) fn run(args: &Args, arguments: &[OsString]) -> Result<Ending> {
    let Some(limits) = limits::of(&args.limits) else { return Ok(limits::list()) };
    if let (Some(from), Some(to)) = (args.from, args.to)
        && from >= to
    {
        let what = "--from is not before --to: no event can be between them";
        return Err(Error::Usage(what.to_owned()).into());
    }
    log_to_stderr(args);
    let threads = rayon::ThreadPoolBuilder::new().num_threads(args.threads);
    let pool = threads.build().context("cannot start the worker threads")?;
    pool.install(|| run_on_pool(args, arguments, limits))
}

fn run_on_pool(args: &Args, arguments: &[OsString], limits: Limits) -> Result<Ending> {
    let arguments = arguments.iter().skip(1).map(|argument| argument.to_string_lossy().into());
    let info = RunInfo { arguments: arguments.collect(), started: Utc::now() };
    let inputs = args.inputs.discover()?;
    let rules = args.select.load(args.packs.read()?)?;
    debug!(inputs = inputs.len(), rules = rules.rules.len(), "read the command line");
    let output = Output::open(&args.output, args.force)?;
    let folder = output.folder().to_owned();
    let stop = interrupt::listen(output.take_back(), args.quiet)?;
    let run = Run { stop: stop.clone(), limits, quiet: args.quiet };
    let analysis = analyze_with(args, inputs, rules, &folder, run)?;
    for report in &analysis.inputs {
        let path = plain(&report.input.path.display().to_string());
        for fault in &report.faults {
            let Fault { kind, chunk, offset, record, reason } = fault;
            let reason = plain(reason);
            match kind {
                FaultKind::NotALog => debug!(%path, "{reason}"),
                _ => warn!(%path, chunk, offset, record, "{reason}"),
            }
        }
    }
    let sha256 = report::write(&analysis, &info, &args.wanted(), output)?;
    if !args.quiet {
        // A reader that closed the pipe has seen enough.
        let zone = args.zone.timezone;
        let out = &mut anstream::stdout().lock();
        let _ = summary::print(&analysis, &args.wanted(), &folder, zone, &sha256, out);
    }
    let ending = match analysis.is_partial() {
        _ if stop.is_asked() => Ending::Interrupted,
        partial if args.strict && (partial || analysis.met_limit()) => Ending::Strict,
        true => Ending::Partial,
        false => Ending::Whole,
    };
    // The process ends here: freeing millions of events one by one would only take time.
    std::mem::forget(analysis);
    Ok(ending)
}

/// A format by its name, which `--help` lists.
pub(super) fn format_named() -> impl TypedValueParser<Value = Format> {
    let name = |format: &Format| PossibleValue::new(format.as_str()).help(format.about());
    PossibleValuesParser::new(Format::ALL.iter().map(name)).try_map(|name| name.parse::<Format>())
}

impl Args {
    /// What is to be written.
    fn wanted(&self) -> Wanted {
        Wanted {
            formats: self.formats.iter().copied().collect(),
            by_host: self.partition_by_host,
            transcripts: self.transcripts,
        }
    }
}

/// What a run has besides its arguments.
struct Run {
    stop: Stop,
    limits: Limits,
    quiet: bool,
}

/// Analyzes, with a progress bar unless it is to be quiet.
fn analyze_with(
    args: &Args,
    inputs: Vec<Input>,
    rules: RuleSet,
    scratch: &Path,
    run: Run,
) -> Result<Analysis, Error> {
    let bar = Bar::new(run.quiet);
    let options = Options {
        from: args.from,
        to: args.to,
        scratch: Some(scratch.to_owned()),
        scripts: !args.no_scripts,
        scope: args.who.scope(),
        rehash: args.rehash,
        recover: args.recover,
        keep_records: args.wanted().needs_records(),
        stop: run.stop,
        limits: run.limits,
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
    let parsed = super::Program::try_parse_from([program].iter().chain(arguments));
    match parsed.map(|program| program.command) {
        Ok(super::Verb::Analyze(args)) => Ok(*args),
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

/// How a run read its inputs, and whether it told of all that it found.
#[derive(Default)]
pub(super) struct Reading {
    pub limits: Limits,
    /// It looked for records outside of logs, too.
    pub recover: bool,
    /// It told of some hosts or accounts only.
    pub narrowed: bool,
}

/// How a run read that was started with these arguments; by default where they are none of this
/// version.
pub(super) fn reading_of(arguments: &[String]) -> Reading {
    let Ok(args) = parse(arguments) else { return Reading::default() };
    let limits = limits::of(&args.limits).unwrap_or_default();
    Reading { limits, recover: args.recover, narrowed: !args.who.scope().is_whole() }
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
    let limits = limits::of(&args.limits).unwrap_or_default();
    let run = Run { stop: Stop::default(), limits, quiet };
    let analysis = analyze_with(&args, inputs, rules, folder, run)?;
    report::write(&analysis, &info, &args.wanted(), output)?;
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
    let format = format.with_ansi(paint::on_stderr());
    // A second call in one process, as tests make, keeps the first one's subscriber.
    let _ = format.with_writer(io::stderr).without_time().try_init();
}
