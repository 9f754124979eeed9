//! `psr-forensics analyze`.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use tracing::{debug, warn};

use super::progress::Bar;
use super::rules::{Packs, Select};
use super::summary;
use super::{Ending, interrupt, limits};
use crate::analysis::{Options, analyze};
use crate::error::{Fault, FaultKind};
use crate::input::discover;
use crate::limits::Limits;
use crate::model::parse_utc;
use crate::report::{self, Output, RunInfo};

/// Where results go when no folder is named.
pub(super) const DEFAULT_OUTPUT: &str = "psr-forensics-results";

#[derive(clap::Args)]
pub(super) struct Args {
    /// Logs: files, folders (searched to the bottom) or globs. What a file is, its content says
    #[arg(required_unless_present = "limits", value_name = "PATH")]
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
    let Some(limits) = limits::of(&args.limits) else { return Ok(limits::list()) };
    log_to_stderr(&args);
    let threads = rayon::ThreadPoolBuilder::new().num_threads(args.threads);
    let pool = threads.build().context("cannot start the worker threads")?;
    pool.install(|| run_on_pool(&args, limits))
}

fn run_on_pool(args: &Args, limits: Limits) -> Result<Ending> {
    let info = RunInfo { arguments: std::env::args().skip(1).collect(), started: Utc::now() };
    let inputs = discover(&args.inputs)?;
    let rules = args.select.load(args.packs.read()?)?;
    debug!(inputs = inputs.len(), rules = rules.rules.len(), "read the command line");
    let output = Output::open(&args.output, args.force)?;
    let folder = output.folder().to_owned();

    let bar = Bar::new(args.quiet);
    let stop = interrupt::listen(output.take_back(), args.quiet)?;
    let scratch = Some(folder.clone());
    let (from, to) = (args.from, args.to);
    let recover = args.recover;
    let options = Options { from, to, scratch, stop: stop.clone(), recover, limits };
    let analysis = analyze(inputs, &options, rules, &bar);
    bar.finish();
    let analysis = analysis?;
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
    report::write(&analysis, &info, args.transcripts, output)?;
    if !args.quiet {
        // A reader that closed the pipe has seen enough.
        let _ = summary::print(&analysis, &folder, &mut io::stdout().lock());
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
