//! What was extracted of logs before, as the evidence of a run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Evidence, InputReport, something};
use crate::decode::Form;
use crate::detect::Asks;
use crate::error::{Error, Fault, FaultKind};
use crate::input::{self, Extent, Input};
use crate::model::{Edge, IdxVec, InputIdx, Record, RecordRef};
use crate::observe::{self, CaseFolder, FileEntry, Observed, TableEntry};
use crate::reconstruct::Reach;

/// What was extracted of an input before.
pub(super) struct Extracted {
    /// The case folder.
    root: PathBuf,
    sha256: Option<String>,
    extent: Extent,
    chunks: u64,
    records: u64,
    too_long: u64,
    form: Form,
    firsts: BTreeMap<u64, Edge>,
    reach: Vec<Reach>,
    tables: Vec<TableEntry>,
}

impl Evidence {
    /// What was extracted to case folders before, for rules that ask for this. A file that is in
    /// several counts once, and the last folder's is taken.
    ///
    /// # Errors
    /// [`Error::Case`] for a folder that is no case of this version.
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
        something(self.inputs.iter().map(|input| (input, &input.faults[..])))?;
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
            observed.reach.iter_mut().for_each(|reach| reach.move_to(index));
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

impl Extracted {
    /// How many tables of its records there are.
    pub fn table_count(&self) -> usize {
        self.tables.len()
    }

    /// The bytes and the records of a table.
    pub fn size_of(&self, table: usize) -> (u64, u64) {
        let TableEntry { size, rows, .. } = self.tables[table];
        (size, rows)
    }

    /// Records that are longer than the limit.
    pub fn too_long(&self) -> u64 {
        self.too_long
    }

    /// What the input's headers say.
    pub fn form(&self) -> &Form {
        &self.form
    }

    /// How far its logs reach: of each piece that was read.
    pub fn reach(&self) -> &[Reach] {
        &self.reach
    }

    /// What became of the input.
    pub fn report(&self, input: &Input) -> InputReport {
        InputReport {
            input: input.clone(),
            sha256: self.sha256.clone(),
            extent: self.extent,
            sha256_after: None,
            chunks: self.chunks,
            records: self.records,
            overlaps: Vec::new(),
            faults: input.faults.clone(),
        }
    }

    /// Gives the records of one of its tables, as those of this input.
    ///
    /// # Errors
    /// A fault that says what could not be read.
    pub fn read(
        &self,
        table: usize,
        input: InputIdx,
        each: impl FnMut(&Record),
    ) -> Result<(), Fault> {
        let entry = &self.tables[table];
        observe::records(&self.root, entry, input, each).map_err(|error| {
            let path = self.root.join(&entry.name);
            let reason = format!(
                "{} of its observations not read, in {}: {error}",
                entry.rows,
                path.display()
            );
            Fault::file(FaultKind::Lost, reason)
        })
    }

    /// The tables that may hold some of these records, which are in order.
    pub fn tables_of(&self, records: &[RecordRef]) -> impl Iterator<Item = usize> {
        let holds = |table: &TableEntry| {
            let first = records.partition_point(|record| record.offset < table.first);
            records.get(first).is_some_and(|record| record.offset <= table.last)
        };
        let tables = self.tables.iter().enumerate();
        tables.filter(move |(_, table)| holds(table)).map(|(index, _)| index)
    }

    /// The first record that could be read of a chunk.
    pub fn first_of_chunk(&self, number: u64) -> Option<Edge> {
        self.firsts.get(&number).copied()
    }
}
