//! `psr-forensics analyze`.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use tracing::{debug, warn};

use super::live::Inputs;
use super::paint;
use super::progress::Bar;
use super::rules::{Packs, Select};
use super::summary;
use super::who::Who;
use super::zone::Shown;
use super::{Ending, plain};
use crate::analysis::{Options, analyze};
use crate::error::{Fault, FaultKind};
use crate::model::parse_utc;
use crate::report::{self, Output, RunInfo};

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

pub(super) fn run(args: Args, arguments: &[OsString]) -> Result<Ending> {
    log_to_stderr(&args);
    let threads = rayon::ThreadPoolBuilder::new().num_threads(args.threads);
    let pool = threads.build().context("cannot start the worker threads")?;
    pool.install(|| run_on_pool(&args, arguments))
}

fn run_on_pool(args: &Args, arguments: &[OsString]) -> Result<Ending> {
    let arguments = arguments.iter().skip(1).map(|argument| argument.to_string_lossy().into());
    let info = RunInfo { arguments: arguments.collect(), started: Utc::now() };
    let inputs = args.inputs.discover()?;
    let rules = args.select.load(args.packs.read()?)?;
    debug!(inputs = inputs.len(), rules = rules.rules.len(), "read the command line");
    let output = Output::open(&args.output, args.force)?;
    let folder = output.folder().to_owned();

    let bar = Bar::new(args.quiet);
    let options = Options {
        from: args.from,
        to: args.to,
        scratch: Some(folder.clone()),
        scripts: !args.no_scripts,
        scope: args.who.scope(),
    };
    let analysis = analyze(inputs, &options, rules, &bar);
    bar.finish();
    let analysis = analysis?;
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
    report::write(&analysis, &info, args.transcripts, output)?;
    if !args.quiet {
        // A reader that closed the pipe has seen enough.
        let zone = args.zone.timezone;
        let _ = summary::print(&analysis, &folder, zone, &mut anstream::stdout().lock());
    }
    let ending = if analysis.is_partial() { Ending::Partial } else { Ending::Whole };
    // The process ends here: freeing millions of events one by one would only take time.
    std::mem::forget(analysis);
    Ok(ending)
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
