//! `psr-forensics verify`.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::analyze::Made;
use super::ending::Ending;
use super::results::DEFAULT_OUTPUT;
use crate::detect::RuleSet;
use crate::error::Error;
use crate::input::{self, Input, InputKind};
use crate::model::InputIdx;
use crate::report::visible;
use crate::verify::{self, Checked, Deviation, Found, Ledger};

pub(super) const EXAMPLES: &str = "Examples:
  psr-forensics verify results
  psr-forensics verify results --inputs /mnt/evidence/SRV02
  psr-forensics verify results --no-rerun --quiet";

#[derive(clap::Args)]
pub(super) struct Args {
    /// Folder with the results of `analyze`
    #[arg(value_name = "OUT", default_value = DEFAULT_OUTPUT)]
    output: PathBuf,
    /// Where the evidence is now, if it was moved: files are told by the end of their path, then by
    /// their hash
    #[arg(long, value_name = "DIR")]
    inputs: Option<PathBuf>,
    /// Leave out the run made again: compare hashes, and rows with their records, only
    #[arg(long)]
    no_rerun: bool,
    /// Threads to use; 0 for one a core
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// Print deviations and what was left out only
    #[arg(short, long)]
    quiet: bool,
}

/// Reads the run that was started with some arguments, or says why they are none.
type ReadRun = fn(&[String]) -> Result<Made, String>;

pub(super) fn run(args: &Args, read: ReadRun) -> Result<Ending> {
    let threads = rayon::ThreadPoolBuilder::new().num_threads(args.threads);
    let pool = threads.build().context("cannot start the worker threads")?;
    pool.install(|| run_on_pool(args, read))
}

/// What was checked, and what not.
#[derive(Default)]
struct Outcome {
    deviations: BTreeSet<Deviation>,
    left_out: Vec<String>,
}

fn run_on_pool(args: &Args, read: ReadRun) -> Result<Ending> {
    if let Some(folder) = args.inputs.as_ref().filter(|folder| !folder.is_dir()) {
        return Err(Error::MissingInput(folder.clone()).into());
    }
    let mut out = io::BufWriter::new(io::stdout().lock());
    // A reader that closed the pipe has seen enough: the exit code says the rest.
    let mut say = |name: &str, text: String| {
        if !args.quiet {
            let _ = writeln!(out, "{name:<11} {text}").and_then(|()| out.flush());
        }
    };
    let ledger = Ledger::read(&args.output)?;
    let mut outcome = Outcome::default();
    let outputs = verify::outputs(&args.output, &ledger);
    say("Outputs", format!("{} files by their hashes: {}", ledger.outputs.len(), told(&outputs)));
    outcome.deviations.extend(outputs);
    let found = verify::inputs(&ledger, args.inputs.as_deref());
    let deviations = input_deviations(&found, args);
    let of = told(&deviations);
    say("Inputs", format!("{} files by their hashes: {of}", found.looked_for));
    outcome.deviations.extend(deviations);

    let scratch = tempfile::tempdir().context("no scratch folder")?;
    let inputs = moved(&ledger, &found);
    let mut made = read(&ledger.arguments);
    let rules = match &mut made {
        Ok(made) => made.rules(ledger.working_directory.as_deref()),
        Err(reason) => Err(reason.clone()),
    };
    let rules = rules.and_then(|rules| same_packs(&ledger, rules));
    if !inputs.is_empty() {
        let made = made.as_mut();
        let (limits, narrowed) =
            made.map_or_else(|_| Default::default(), |made| (made.limits(), made.is_narrowed()));
        let unpacked = input::unpack(inputs.clone(), scratch.path(), &limits)?;
        // A case has what was recovered when it was extracted, so that arguments do not tell.
        let recovers = ledger.inputs.iter().any(|input| input.kind == InputKind::Recovered);
        let unpacked = if recovers { input::with_recovered(unpacked) } else { unpacked };
        let rules = rules.as_ref().ok();
        let checked =
            verify::rows(&args.output, &ledger, &unpacked.into(), &limits, rules, narrowed);
        let Checked { rows, records, deviations } = checked;
        let text = format!("{rows} rows by {records} records read again: {}", told(&deviations));
        say("Records", text);
        outcome.deviations.extend(deviations);
    }
    match rules {
        Err(reason) => outcome.left_out.push(format!("rules on records, and the run: {reason}")),
        Ok(_) if args.no_rerun => {}
        Ok(_) if ledger.interrupted => {
            outcome.left_out.push("the run made again: it was interrupted".to_owned());
        }
        Ok(_) if is_missing(&ledger, &found) => {
            outcome.left_out.push("the run made again: inputs are missing".to_owned());
        }
        Ok(rules) => {
            let again = scratch.path().join("again");
            if let Ok(made) = &mut made {
                made.again(&ledger.arguments, inputs, rules, &again, args.quiet)?;
            }
            let deviations = verify::folders(&args.output, &again);
            let deviations = deviations.context("cannot read the run made again")?;
            say("Again", format!("the run made again: {}", told(&deviations)));
            outcome.deviations.extend(deviations);
        }
    }
    outcome.tell(&args.output, &mut out)
}

/// What is missing or changed of the inputs. Those that are missing may have been moved.
fn input_deviations(found: &Found, args: &Args) -> Vec<Deviation> {
    let missing = found.missing.iter().cloned().map(|mut deviation| {
        if args.inputs.is_none() {
            deviation.what += ": say with --inputs where the evidence is now";
        }
        deviation
    });
    missing.chain(found.changed.iter().cloned()).collect()
}

fn told(deviations: &[Deviation]) -> String {
    match deviations.len() {
        0 => "as they should be".to_owned(),
        1 => "1 deviation".to_owned(),
        n => format!("{n} deviations"),
    }
}

/// The inputs where they are now, as the run shows them. Of what was not read, as a link that leads
/// nowhere, the ledger's word is taken where nothing is at hand.
fn moved(ledger: &Ledger, found: &Found) -> Vec<Input> {
    let input = |index: InputIdx| {
        let entry = &ledger.inputs[index];
        let shown = PathBuf::from(&entry.path);
        match found.paths.get(&index) {
            Some(path) => Some(Input::shown_as(shown, path.clone())),
            None if entry.sha256.is_none() => {
                Some(Input::unread(shown, entry.size, entry.faults.clone()))
            }
            None => None,
        }
    };
    ledger.files().filter_map(input).collect()
}

/// Whether something that was read is not at hand.
fn is_missing(ledger: &Ledger, found: &Found) -> bool {
    let mut read = ledger.files().filter(|&index| ledger.inputs[index].sha256.is_some());
    read.any(|index| !found.paths.contains_key(&index))
}

/// The rules, if their packs are those of the run.
fn same_packs(ledger: &Ledger, rules: RuleSet) -> Result<RuleSet, String> {
    let same = rules.packs.len() == ledger.packs.len()
        && rules.packs.iter().zip(&ledger.packs).all(|(own, then)| own.pack.sha256 == then.sha256);
    if same {
        return Ok(rules);
    }
    let differing = ledger
        .packs
        .iter()
        .find(|then| rules.packs.iter().all(|own| own.pack.sha256 != then.sha256));
    let name = differing.map_or("", |pack| &pack.name);
    Err(format!(
        "the pack '{name}' is not the one of the run, whose version was {}",
        ledger.version
    ))
}

impl Outcome {
    fn tell(&self, folder: &Path, out: &mut impl Write) -> Result<Ending> {
        let print = |out: &mut dyn Write| {
            for deviation in &self.deviations {
                writeln!(out, "DEVIATION   {}", visible(&deviation.to_string()))?;
            }
            for left_out in &self.left_out {
                writeln!(out, "NOT CHECKED {}", visible(left_out))?;
            }
            if self.deviations.is_empty() && self.left_out.is_empty() {
                let seal = input::sha256(&folder.join(crate::report::RUN))?;
                writeln!(out, "Verified. SHA-256 of run.json, to compare with your notes: {seal}")?;
            }
            out.flush()
        };
        let _ = print(out);
        Ok(match (self.deviations.is_empty(), self.left_out.is_empty()) {
            (false, _) => Ending::Deviates,
            (true, false) => Ending::Partial,
            (true, true) => Ending::Whole,
        })
    }
}
