//! Case folders as the inputs of a run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::extracted::Extracted;
use super::input_report::ensure_any_log;
use super::run_inputs::RunInputs;
use crate::detect::EventFilter;
use crate::error::{Error, Fault, FaultKind};
use crate::input::{self, Input};
use crate::model::IdxVec;
use crate::observe::{CaseFolder, ExtractedInput, FileEntry};

impl RunInputs {
    /// Creates the inputs of a run from records in case folders, for rules with this filter. A file
    /// that is in several folders counts once, and the last folder's is used.
    ///
    /// # Errors
    /// [`Error::Case`] for a folder that is not a case folder of this version.
    pub fn from_cases(folders: &[PathBuf], asks: &EventFilter) -> Result<RunInputs, Error> {
        let mut files = BTreeMap::new();
        let mut begun = BTreeMap::new();
        for folder in folders {
            let known = CaseFolder::read(folder)?;
            begun.extend(known.begun.into_iter().map(|path| (path, folder)));
            for (path, (known, entry)) in known.files {
                let remarks = faults_of_use(&known, asks, &entry);
                files.insert(path, CaseFile { root: folder, entry, remarks });
            }
        }
        begun.retain(|path, _| !files.contains_key(path));
        let mut evidence = RunInputs::from_entries(files.into_values());
        let reason = "to be extracted, but the run ended before: extract it to the case again";
        for path in begun.into_keys() {
            let fault = Fault::file(FaultKind::Lost, reason);
            evidence.inputs.push(Input::extracted(
                path,
                None,
                0,
                input::InputKind::Unknown,
                vec![fault],
            ));
            evidence.observed.push(None);
        }
        evidence.sort();
        Ok(evidence)
    }

    /// Creates the inputs of a run from extracted files.
    pub(super) fn from_entries<'r>(files: impl Iterator<Item = CaseFile<'r>>) -> RunInputs {
        let mut evidence = RunInputs { inputs: IdxVec::new(), observed: IdxVec::new(), before: 0 };
        for CaseFile { root, entry, remarks } in files {
            entry.inputs.into_iter().for_each(|observed| evidence.push(root, observed, &remarks));
        }
        evidence.sort();
        evidence
    }

    fn push(&mut self, root: &Path, of: ExtractedInput, remarks: &[Fault]) {
        let ExtractedInput { path, size, kind, state, mut faults, .. } = of;
        if kind.is_log() {
            faults.extend_from_slice(remarks);
        }
        self.inputs.push(Input::extracted(PathBuf::from(&path), state, size, kind, faults));
        self.observed.push(Some(Extracted {
            root: root.to_owned(),
            sha256: of.sha256,
            extent: of.extent,
            chunks: of.chunks,
            records: of.records,
            too_long: of.too_long,
            headers: of.headers,
            firsts: of.firsts,
            reach: of.reach,
            tables: of.tables,
        }));
    }

    /// Counts the inputs, records and bytes of inputs that were extracted.
    ///
    /// # Errors
    /// [`Error::NothingToRead`] when no input is a log.
    pub fn summary(&self) -> Result<InputsSummary, Error> {
        ensure_any_log(self.inputs.iter().map(|input| (input, &input.faults[..])))?;
        let mut summary = InputsSummary { inputs: self.inputs.len(), ..InputsSummary::default() };
        for input in &self.inputs {
            summary.damaged += usize::from(input.faults.iter().any(Fault::is_damage));
            if input.kind.is_log() {
                summary.logs += 1;
                summary.bytes += input.size;
            }
        }
        for extracted in self.observed.iter().flatten() {
            summary.records += extracted.records;
            summary.observations += extracted.tables.iter().map(|table| table.rows).sum::<u64>();
            summary.size += extracted.tables.iter().map(|table| table.size).sum::<u64>();
        }
        Ok(summary)
    }

    /// Sorts the inputs as logs that are read: by path, with recovered records last.
    fn sort(&mut self) {
        let inputs = std::mem::take(&mut self.inputs).into_iter();
        let mut pairs: Vec<(Input, Option<Extracted>)> =
            inputs.zip(std::mem::take(&mut self.observed)).collect();
        pairs.sort_by(|(a, _), (b, _)| {
            let recovered = |input: &Input| input.kind == input::InputKind::Recovered;
            (recovered(a), &a.path).cmp(&(recovered(b), &b.path))
        });
        for (input, observed) in pairs {
            self.inputs.push(input);
            self.observed.push(observed);
        }
        for (index, observed) in self.observed.iter_mut_enumerated() {
            let Some(observed) = observed else { continue };
            observed.reach.iter_mut().for_each(|reach| reach.set_input(index));
            observed.firsts.values_mut().for_each(|edge| edge.source.input = index);
        }
    }
}

/// The counts of the inputs of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InputsSummary {
    /// Inputs, logs or not.
    pub inputs: usize,
    /// Those of them that are logs.
    pub logs: usize,
    /// The bytes of these logs.
    pub bytes: u64,
    /// Records read from them.
    pub records: u64,
    /// Records that were kept.
    pub observations: u64,
    /// The bytes that the kept records take.
    pub size: u64,
    /// Inputs that were not read in full, or only with doubt.
    pub damaged: usize,
}

/// An extracted file, its case folder, and the faults of using it.
pub(super) struct CaseFile<'r> {
    pub root: &'r Path,
    pub entry: FileEntry,
    pub remarks: Vec<Fault>,
}

/// Returns the faults of using an extracted file with these rules.
fn faults_of_use(known: &EventFilter, asks: &EventFilter, entry: &FileEntry) -> Vec<Fault> {
    let mut remarks = Vec::new();
    let version = env!("CARGO_PKG_VERSION");
    if entry.settings.version != version {
        let by = &entry.settings.version;
        let reason = format!(
            "extracted by version {by}, and this is {version}: kinds of records that were added since \
             are missing; extract it again"
        );
        remarks.push(Fault::file(FaultKind::Lost, reason));
    }
    if !known.includes(asks) {
        let reason = "extracted for other rules: some that are loaded now ask for records that were \
                      left out; extract it again with these packs";
        remarks.push(Fault::file(FaultKind::Lost, reason));
    }
    remarks
}
