//! The records of the evidence, read again.

use std::collections::{BTreeMap, HashMap};

use crate::analysis::RecordLoader;
use crate::detect::RuleSet;
use crate::input::Input;
use crate::limits::Limits;
use crate::model::{IdxVec, InputIdx, Record, RecordRef, RuleIdx};
use crate::report::{Again, again, visible};

/// The evidence at hand.
pub(super) struct Evidence<'e> {
    inputs: &'e IdxVec<InputIdx, Input>,
    limits: &'e Limits,
    /// Indices of inputs by their paths as cells show them.
    by_path: HashMap<String, InputIdx>,
    /// The rules of the run, where they are at hand.
    pub rules: Option<&'e RuleSet>,
}

/// What a record gives, read again.
pub(super) struct Reread {
    source: RecordRef,
    pub told: Again,
    /// Indices of the rules that fire on it.
    pub fired: Vec<RuleIdx>,
}

impl<'e> Evidence<'e> {
    /// The inputs of a run, unpacked within its limits, and its rules.
    pub fn new(
        inputs: &'e IdxVec<InputIdx, Input>,
        limits: &'e Limits,
        rules: Option<&'e RuleSet>,
    ) -> Self {
        let by_path = inputs
            .iter_enumerated()
            .map(|(index, input)| (visible(&input.path.display().to_string()).into_owned(), index));
        Evidence { inputs, limits, by_path: by_path.collect(), rules }
    }

    /// The input of a path in a cell, before which a spreadsheet's guard may stand.
    pub fn input(&self, path: &str) -> Option<InputIdx> {
        let plain = || self.by_path.get(path.strip_prefix('\'')?);
        self.by_path.get(path).or_else(plain).copied()
    }

    /// What each of some records gives.
    pub fn read(&self, records: Vec<RecordRef>) -> BTreeMap<RecordRef, Reread> {
        let loader = RecordLoader::new(self.inputs, self.limits);
        let read = loader.read_records(records, |normaliser, record: &Record| Reread {
            source: record.source,
            told: again(normaliser, record),
            fired: self.fired(record),
        });
        read.into_iter().map(|reread| (reread.source, reread)).collect()
    }

    fn fired(&self, record: &Record) -> Vec<RuleIdx> {
        let Some(rules) = self.rules else { return Vec::new() };
        rules.on_record(record).iter().map(|hit| hit.rule).collect()
    }
}
