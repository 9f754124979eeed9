//! What is made of what was read: the options that say so, and the run that does it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;
use chrono::{DateTime, Utc};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use tracing::{debug, warn};

use super::ending::Ending;
use super::print::plain;
use super::progress::Bar;
use super::remedy;
use super::rules::{Packs, Select};
use super::running::Running;
use super::usage::Usage;
use super::who::Who;
use super::zone::Shown;
use super::{interrupt, summary};
use crate::analysis::{Analysis, CancelToken, Options, Progress};
use crate::detect::RuleSet;
use crate::error::{Error, Fault, FaultKind};
use crate::limits::Limits;
use crate::model::parse_utc;
use crate::report::{self, Format, Output, RunInfo, Wanted};

/// Where results go when no folder is named.
pub(super) const DEFAULT_OUTPUT: &str = "psr-forensics-results";

#[derive(clap::Args)]
pub(super) struct Results {
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
    #[arg(long = "format", value_name = "NAME", value_parser = format_named(), default_values = Format::defaults().map(Format::as_str))]
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
    /// Make anything not read in full and any limit met an error of its own: exit code 5
    #[arg(long)]
    strict: bool,
}

/// A format by its name, which `--help` lists.
fn format_named() -> impl TypedValueParser<Value = Format> {
    let name = |format: &Format| PossibleValue::new(format.as_str()).help(format.about());
    PossibleValuesParser::new(Format::ALL.iter().map(name)).try_map(|name| name.parse::<Format>())
}

impl Results {
    /// Loads the rules, has `analyze` read and judge, and writes what came of it.
    pub fn run(
        &self,
        running: &Running,
        limits: Limits,
        arguments: &[OsString],
        analyze: impl FnOnce(Options, RuleSet, &dyn Progress) -> Result<Analysis, Error>,
    ) -> Result<Ending> {
        if let (Some(from), Some(to)) = (self.from, self.to)
            && from >= to
        {
            let what = "--from is not before --to: no event can be between them";
            return Err(Usage(what.to_owned()).into());
        }
        self.wanted().check()?;
        let arguments = arguments.iter().skip(1).map(|argument| argument.to_string_lossy().into());
        let info = RunInfo { arguments: arguments.collect(), started: Utc::now() };
        let rules = self.select.load(self.packs.read()?)?;
        debug!(rules = rules.rules.len(), "rules loaded");
        let output = Output::open(&self.output, self.force)?;
        let folder = output.folder().to_owned();
        let stop = interrupt::listen(Some(output.take_back()), running.quiet)?;
        let bar = Bar::new(running.quiet);
        let analysis = analyze(self.options(&folder, stop.clone(), limits), rules, &bar);
        bar.finish();
        let analysis = analysis?;
        tell_faults(&analysis);
        let sha256 = report::write(&analysis, &info, &self.wanted(), output)?;
        if !running.quiet {
            // A reader that closed the pipe has seen enough.
            let zone = self.zone.timezone;
            let out = &mut anstream::stdout().lock();
            let _ = summary::print(&analysis, &self.wanted(), &folder, zone, &sha256, out);
        }
        let ending = match analysis.is_partial() {
            _ if stop.is_cancelled() => Ending::Interrupted,
            partial if self.strict && (partial || analysis.met_limit()) => Ending::Strict,
            true => Ending::Partial,
            false => Ending::Whole,
        };
        // The process ends here: freeing millions of events one by one would only take time.
        std::mem::forget(analysis);
        Ok(ending)
    }

    /// Makes a run again, with these rules and into a new folder.
    pub fn again(
        &self,
        arguments: &[String],
        rules: RuleSet,
        limits: Limits,
        folder: &Path,
        quiet: bool,
        analyze: impl FnOnce(Options, RuleSet, &dyn Progress) -> Result<Analysis, Error>,
    ) -> Result<()> {
        let info = RunInfo { arguments: arguments.to_vec(), started: Utc::now() };
        let output = Output::open(folder, false)?;
        let bar = Bar::new(quiet);
        let analysis = analyze(self.options(folder, CancelToken::default(), limits), rules, &bar);
        bar.finish();
        let analysis = analysis?;
        report::write(&analysis, &info, &self.wanted(), output)?;
        std::mem::forget(analysis);
        Ok(())
    }

    /// Loads the rules of a run that was started in a folder.
    ///
    /// # Errors
    /// Why they are not at hand.
    pub fn rules(&mut self, folder: Option<&Path>) -> Result<RuleSet, String> {
        self.packs.look_in(folder);
        let packs = self.packs.read().map_err(|error| remedy::text(&error))?;
        self.select.load(packs).map_err(|error| remedy::text(&error))
    }

    /// Whether it tells of some hosts or accounts only.
    pub fn is_narrowed(&self) -> bool {
        !self.who.scope().is_whole()
    }

    fn options(&self, scratch: &Path, stop: CancelToken, limits: Limits) -> Options {
        Options {
            from: self.from,
            to: self.to,
            scratch: Some(scratch.to_owned()),
            scripts: !self.no_scripts,
            scope: self.who.scope(),
            keep_records: self.wanted().needs_records(),
            stop,
            limits,
            ..Options::default()
        }
    }

    /// What is to be written.
    fn wanted(&self) -> Wanted {
        Wanted {
            formats: self.formats.iter().copied().collect(),
            by_host: self.partition_by_host,
            transcripts: self.transcripts,
        }
    }
}

/// Logs what could not be read.
fn tell_faults(analysis: &Analysis) {
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
}
