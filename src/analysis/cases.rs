//! Case folders as the evidence of a run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::evidence::Evidence;
use super::extracted::Extracted;
use super::input_report::ensure_any_log;
use crate::detect::EventFilter;
use crate::error::{Error, Fault, FaultKind};
use crate::input::{self, Input};
use crate::model::IdxVec;
use crate::observe::{CaseFolder, FileEntry, Observed};

impl Evidence {
    /// What was extracted to case folders before, for rules that ask for this. A file that is in
    /// several counts once, and the last folder's is taken.
    ///
    /// # Errors
    /// [`Error::Case`] for a folder that is no case of this version.
    pub fn of_cases(folders: &[PathBuf], asks: &EventFilter) -> Result<Evidence, Error> {
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

    /// Puts files that were extracted in order.
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

    /// What it comes to, of inputs that were extracted.
    ///
    /// # Errors
    /// [`Error::NothingToRead`] when there is no log in it.
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

    /// In the order of logs that are read: by path, and what was recovered last.
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

/// What evidence comes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told {
    /// Inputs, logs or not.
    pub inputs: usize,
    /// Those of them that are logs.
    pub logs: usize,
    /// Bytes of these.
    pub bytes: u64,
    /// Records read of them.
    pub records: u64,
    /// Records that were kept.
    pub observations: u64,
    /// Bytes that they take.
    pub size: u64,
    /// Inputs that were not read in full, or with doubt.
    pub damaged: usize,
}

/// A file that was extracted, where to, and what is to be said of it.
pub(super) struct Of<'r> {
    pub root: &'r Path,
    pub entry: FileEntry,
    pub remarks: Vec<Fault>,
}

/// What is wrong with using a file that was extracted for what these rules ask.
fn remarks(known: &EventFilter, asks: &EventFilter, entry: &FileEntry) -> Vec<Fault> {
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
