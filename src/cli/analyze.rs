//! `psr-forensics analyze`.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use tracing::{debug, warn};

use super::Ending;
use super::progress::Bar;
use super::rules::{Packs, Select};
use super::summary;
use crate::analysis::{Options, analyze};
use crate::error::{Fault, FaultKind};
use crate::input::discover;
use crate::model::parse_utc;
use crate::report::{self, Format, Output, RunInfo, Wanted};

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
    /// What to write the results as; may be given several times
    #[arg(long = "format", value_name = "NAME", value_parser = format_named(), default_value = "csv")]
    formats: Vec<Format>,
    /// Write Parquet tables as a file per host
    #[arg(long)]
    partition_by_host: bool,
    /// Write a transcript of each session whose traffic was logged: sessions/S0001.txt
    #[arg(long)]
    transcripts: bool,
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

    let bar = Bar::new(args.quiet);
    let wanted = Wanted {
        formats: args.formats.iter().copied().collect(),
        by_host: args.partition_by_host,
        transcripts: args.transcripts,
    };
    let options = Options {
        from: args.from,
        to: args.to,
        scratch: Some(folder.clone()),
        keep_records: wanted.needs_records(),
    };
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
    report::write(&analysis, &info, &wanted, output)?;
    if !args.quiet {
        // A reader that closed the pipe has seen enough.
        let _ = summary::print(&analysis, &wanted, &folder, &mut io::stdout().lock());
    }
    let ending = if analysis.is_partial() { Ending::Partial } else { Ending::Whole };
    // The process ends here: freeing millions of events one by one would only take time.
    std::mem::forget(analysis);
    Ok(ending)
}

/// A format by its name, which `--help` lists.
pub(super) fn format_named() -> impl TypedValueParser<Value = Format> {
    let name = |format: &Format| PossibleValue::new(format.as_str()).help(format.about());
    PossibleValuesParser::new(Format::ALL.iter().map(name)).try_map(|name| name.parse::<Format>())
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
