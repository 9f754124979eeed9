//! Case folders as the inputs of a run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::evidence::Evidence;
use super::extracted::Extracted;
use super::input_report::ensure_any_log;
use crate::detect::Asks;
use crate::error::{Error, Fault, FaultKind};
use crate::input::{self, Input};
use crate::model::IdxVec;
use crate::observe::{CaseFolder, FileEntry, Observed};

impl Evidence {
    /// Creates the inputs of a run from records in case folders, for rules with this filter. A file
    /// that is in several folders counts once, and the last folder's is used.
    ///
    /// # Errors
    /// [`Error::Case`] for a folder that is not a case folder of this version.
    pub fn of_cases(folders: &[PathBuf], asks: &Asks) -> Result<Evidence, Error> {
        let mut files = BTreeMap::new();
        let mut begun = BTreeMap::new();
        for folder in folders {
            let known = CaseFolder::read(folder)?;
            begun.extend(known.begun.into_iter().map(|path| (path, folder)));
            for (path, (known, entry)) in known.files {
                let remarks = remarks(&known, asks, &entry);
                files.insert(path, Of { root: folder, entry, remarks });
            }
        }
        begun.retain(|path, _| !files.contains_key(path));
        let mut evidence = Evidence::of_entries(files.into_values());
        let reason = "to be extracted, but the run ended before: extract it to the case again";
        for path in begun.into_keys() {
            let fault = Fault::file(FaultKind::Lost, reason);
            evidence.inputs.push(Input::elsewhere(
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
    pub(super) fn of_entries<'r>(files: impl Iterator<Item = Of<'r>>) -> Evidence {
        let mut evidence = Evidence { inputs: IdxVec::new(), observed: IdxVec::new(), before: 0 };
        for Of { root, entry, remarks } in files {
            entry.inputs.into_iter().for_each(|observed| evidence.push(root, observed, &remarks));
        }
        evidence.sort();
        evidence
    }

    fn push(&mut self, root: &Path, of: Observed, remarks: &[Fault]) {
        let Observed { path, size, kind, state, mut faults, .. } = of;
        if kind.is_log() {
            faults.extend_from_slice(remarks);
        }
        self.inputs.push(Input::elsewhere(PathBuf::from(&path), state, size, kind, faults));
        self.observed.push(Some(Extracted {
            root: root.to_owned(),
            sha256: of.sha256,
            extent: of.extent,
            chunks: of.chunks,
            records: of.records,
            too_long: of.too_long,
            form: of.form,
            firsts: of.firsts,
            reach: of.reach,
            tables: of.tables,
        }));
    }

    /// Counts the inputs, records and bytes of inputs that were extracted.
    ///
    /// # Errors
    /// [`Error::NothingToRead`] when no input is a log.
    pub fn told(&self) -> Result<Told, Error> {
        ensure_any_log(self.inputs.iter().map(|input| (input, &input.faults[..])))?;
        let mut told = Told { inputs: self.inputs.len(), ..Told::default() };
        for input in &self.inputs {
            told.damaged += usize::from(input.faults.iter().any(Fault::is_damage));
            if input.kind.is_log() {
                told.logs += 1;
                told.bytes += input.size;
            }
        }
        for extracted in self.observed.iter().flatten() {
            told.records += extracted.records;
            told.observations += extracted.tables.iter().map(|table| table.rows).sum::<u64>();
            told.size += extracted.tables.iter().map(|table| table.size).sum::<u64>();
        }
        Ok(told)
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
            observed.reach.iter_mut().for_each(|reach| reach.move_to(index));
            observed.firsts.values_mut().for_each(|edge| edge.source.input = index);
        }
    }
}

/// The counts of the inputs of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told {
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
pub(super) struct Of<'r> {
    pub root: &'r Path,
    pub entry: FileEntry,
    pub remarks: Vec<Fault>,
}

/// Returns the faults of using an extracted file with these rules.
fn remarks(known: &Asks, asks: &Asks, entry: &FileEntry) -> Vec<Fault> {
    let mut remarks = Vec::new();
    let version = env!("CARGO_PKG_VERSION");
    if entry.settings.version != version {
        let by = &entry.settings.version;
        let reason = format!(
            "extracted by version {by}, and this is {version}: records that it has learnt of since \
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
