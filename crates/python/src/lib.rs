//! The native half of the Python package `psr_forensics`: thin functions over the library, which
//! `python/psr_forensics/__init__.py` dresses up.
//!
//! Tables cross as Arrow streams in PyCapsules, lists of other things as JSON. Work is done without
//! the interpreter's lock; Ctrl-C ends it.

mod chunks;
mod errors;
mod stream;
mod work;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use serde_json::{Value, json};

use psr_forensics::detect::{Pack, RuleSet, lint};
use psr_forensics::error::FaultKind;
use psr_forensics::layers::{UnwrapLimits, find_layers};
use psr_forensics::observe::{CaseFolder, ExtractedInput};
use psr_forensics::report::TABLES;
use psr_forensics::{
    Analysis, CancelToken, Fault, Format, NoProgress, Options, Output, RunInfo, RunInputs, Wanted,
};

use errors::{Error, error};

/// The same allocator as the program's. It serves this library's allocations, not the
/// interpreter's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The rules of the latest extraction.
static LATEST: Mutex<Option<Arc<RuleSet>>> = Mutex::new(None);

/// The settings of a run. Python passes a dictionary.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct RunSettings {
    packs: Vec<PathBuf>,
    default_pack: bool,
    threads: usize,
    recover: bool,
}

impl RunSettings {
    fn rules(&self) -> Result<RuleSet, psr_forensics::Error> {
        RuleSet::load(read_packs(&self.packs, self.default_pack)?)
    }

    /// The same, and not loaded again where the latest ones are of these packs: the tasks of a fleet
    /// all ask for one set.
    fn shared_rules(&self) -> Result<Arc<RuleSet>, psr_forensics::Error> {
        let packs = read_packs(&self.packs, self.default_pack)?;
        let is_latest = |known: &RuleSet| {
            let known = known.packs.iter().map(|known| (&known.pack.name, &known.pack.sha256));
            known.eq(packs.iter().map(|pack| (&pack.name, &pack.sha256)))
        };
        let mut latest = LATEST.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = latest.as_ref().filter(|known| is_latest(known)) {
            return Ok(known.clone());
        }
        let rules = Arc::new(RuleSet::load(packs)?);
        *latest = Some(rules.clone());
        Ok(rules)
    }
}

/// The outputs of a run and their folder. Python passes a dictionary.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct OutputSettings {
    output: PathBuf,
    force: bool,
    formats: Vec<String>,
    /// The run as the program's own arguments, for `run.json`. `verify` repeats the run with them.
    arguments: Vec<String>,
}

fn read_packs(packs: &[PathBuf], default: bool) -> Result<Vec<Pack>, psr_forensics::Error> {
    let built_in = default.then(|| Ok(Pack::default_pack()));
    built_in.into_iter().chain(packs.iter().map(|path| Pack::read(path))).collect()
}

/// Extracts logs to a case folder; yields how many files were finished before. Files none of which is
/// a log are an error, unless they are `some` of many.
#[pyfunction]
fn extract(
    py: Python<'_>,
    paths: Vec<PathBuf>,
    case: PathBuf,
    how: RunSettings,
    some: bool,
) -> PyResult<usize> {
    work::run(py, how.threads, move |stop| {
        let inputs = psr_forensics::discover(&paths)?;
        let rules = how.shared_rules()?;
        let mut folder = CaseFolder::open(&case)?;
        let options = Options { stop: stop.clone(), recover: how.recover, ..Options::default() };
        let evidence = psr_forensics::extract(inputs, &mut folder, &options, &rules, &NoProgress)?;
        if !some {
            evidence.summary()?;
        }
        Ok(evidence.before)
    })
}

/// Rebuilds sessions from case folders and writes the results.
#[pyfunction]
fn correlate(
    py: Python<'_>,
    cases: Vec<PathBuf>,
    how: RunSettings,
    to: OutputSettings,
) -> PyResult<()> {
    work::run(py, how.threads, move |stop| {
        let make = |options: &Options, rules: RuleSet| {
            let evidence = RunInputs::from_cases(&cases, &rules.event_filter())?;
            psr_forensics::rebuild(evidence, options, rules, &NoProgress)
        };
        results(make, &how, &to, stop)
    })
}

/// Analyzes logs and writes the results.
#[pyfunction]
fn analyze(
    py: Python<'_>,
    paths: Vec<PathBuf>,
    how: RunSettings,
    to: OutputSettings,
) -> PyResult<()> {
    work::run(py, how.threads, move |stop| {
        let inputs = psr_forensics::discover(&paths)?;
        let make = |options: &Options, rules: RuleSet| {
            psr_forensics::analyze(inputs, options, rules, &NoProgress)
        };
        results(make, &how, &to, stop)
    })
}

/// Makes a run and writes its results. A cancelled run writes nothing.
fn results(
    make: impl FnOnce(&Options, RuleSet) -> Result<Analysis, psr_forensics::Error>,
    how: &RunSettings,
    to: &OutputSettings,
    stop: &CancelToken,
) -> Result<(), psr_forensics::Error> {
    let info = RunInfo { arguments: to.arguments.clone(), started: chrono::Utc::now() };
    let formats = to.formats.iter().map(|format| format.parse::<Format>());
    let formats = formats.collect::<Result<_, psr_forensics::Error>>()?;
    let wanted = Wanted { formats, ..Wanted::default() };
    let rules = how.rules()?;
    let output = Output::open(&to.output, to.force)?;
    let options = Options {
        scratch: Some(output.folder().to_owned()),
        scripts: true,
        stop: stop.clone(),
        recover: how.recover,
        keep_records: wanted.needs_records(),
        ..Options::default()
    };
    let analysis = make(&options, rules)?;
    if !stop.is_cancelled() {
        psr_forensics::write(&analysis, &info, &wanted, output)?;
    }
    Ok(())
}

/// The names of a run's tables.
#[pyfunction]
fn tables() -> Vec<&'static str> {
    TABLES.iter().map(|table| table.file.trim_end_matches(".csv")).collect()
}

/// Returns, as JSON, the journal entry of each input of a case folder.
#[pyfunction]
fn ledger(case: PathBuf) -> PyResult<String> {
    let known = CaseFolder::read(&case).map_err(error)?;
    let inputs = known.files.values().flat_map(|(_, entry)| &entry.inputs).map(row);
    let reason = "to be extracted, but the run ended before: extract it to the case again";
    let begun = known.begun.iter().map(|path| {
        let faults = [Fault::file(FaultKind::Lost, reason)];
        json!({ "path": path.to_string_lossy(), "kind": "unknown", "size": 0, "sha256": null,
                "extent": "nothing", "records": 0, "observations": 0, "faults": faults })
    });
    Ok(Value::from(inputs.chain(begun).collect::<Vec<Value>>()).to_string())
}

fn row(of: &ExtractedInput) -> Value {
    let observations: u64 = of.tables.iter().map(|table| table.rows).sum();
    json!({ "path": PathBuf::from(&of.path).to_string_lossy(), "kind": of.kind, "size": of.size,
            "sha256": of.sha256, "extent": of.extent, "records": of.records,
            "observations": observations, "faults": of.faults })
}

/// Returns the files below the given paths as JSON, each with its number of chunks if it is an EVTX
/// log.
#[pyfunction]
fn files(paths: Vec<PathBuf>) -> PyResult<String> {
    let inputs = psr_forensics::discover(&paths).map_err(error)?;
    let rows = inputs.iter().map(|input| {
        let path = input.path.to_str();
        json!({ "path": path, "kind": input.kind, "size": input.size, "faults": input.faults,
                "shown": input.path.to_string_lossy(),
                "chunks": psr_forensics::decode::chunk_count(input) })
    });
    Ok(Value::from(rows.collect::<Vec<Value>>()).to_string())
}

/// The layers of a text, as JSON.
#[pyfunction]
fn decode(py: Python<'_>, text: &str) -> String {
    let found = py.detach(|| find_layers(text, &UnwrapLimits::default()));
    let layers = found.layers.iter().map(|layer| {
        json!({ "text": layer.text, "how": layer.how, "parent": layer.parent,
                "offset": layer.offset })
    });
    let binaries = found.binaries.iter().map(|binary| {
        json!({ "what": binary.kind, "size": binary.size, "parent": binary.parent,
                "offset": binary.offset })
    });
    let stopped = found.stopped.as_ref().map(|stopped| stopped.limit.as_str());
    json!({ "layers": layers.collect::<Vec<Value>>(), "binaries": binaries.collect::<Vec<Value>>(),
            "stopped": stopped })
    .to_string()
}

/// Returns the rules of packs as JSON.
#[pyfunction]
fn packs(paths: Vec<PathBuf>, default_pack: bool) -> PyResult<String> {
    let rules = load(&paths, default_pack)?;
    let packs = rules.packs.iter_enumerated().map(|(index, loaded)| {
        let pack = &loaded.pack;
        let path = pack.path.as_deref().map(Path::to_string_lossy);
        let titles = rules.rules_of_pack(index).map(|rule| &rules.rules[rule].meta);
        let titles = titles.map(|meta| {
            json!({ "id": meta.id, "title": meta.title,
                                               "level": meta.level.to_string() })
        });
        json!({ "name": pack.name, "path": path, "sha256": pack.sha256,
                "rules": titles.collect::<Vec<Value>>(), "refused": loaded.rejected })
    });
    Ok(Value::from(packs.collect::<Vec<Value>>()).to_string())
}

/// Returns the problems in the rules of packs as JSON.
#[pyfunction]
fn check_packs(paths: Vec<PathBuf>, default_pack: bool) -> PyResult<String> {
    let rules = load(&paths, default_pack)?;
    let remarks = lint(&rules)
        .into_iter()
        .map(|remark| json!({ "file": remark.file, "line": remark.line, "what": remark.message }));
    Ok(Value::from(remarks.collect::<Vec<Value>>()).to_string())
}

fn load(paths: &[PathBuf], default_pack: bool) -> PyResult<RuleSet> {
    read_packs(paths, default_pack).and_then(RuleSet::load).map_err(error)
}

/// The module.
#[pymodule]
mod _native {
    #[pymodule_export]
    use super::chunks::{chunk_faults, chunks};
    #[pymodule_export]
    use super::stream::{ArrowTable, observations, parquet};
    #[pymodule_export]
    use super::{
        Error, analyze, check_packs, correlate, decode, extract, files, ledger, packs, tables,
    };

    /// The version of the program that this is.
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
}
