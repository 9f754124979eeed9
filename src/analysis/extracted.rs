//! Records that were extracted from an input before and are read instead of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::input_report::InputReport;
use crate::decode::EvtxHeaders;
use crate::error::{Fault, FaultKind};
use crate::input::{Input, ReadExtent};
use crate::model::{Edge, InputIdx, Record, RecordRef};
use crate::observe::{self, TableEntry};
use crate::reconstruct::LogExtent;

/// The records that were extracted from an input before, and the facts about it.
pub(super) struct Extracted {
    /// The case folder.
    pub root: PathBuf,
    pub sha256: Option<String>,
    pub extent: ReadExtent,
    pub chunks: u64,
    pub records: u64,
    pub too_long: u64,
    pub headers: EvtxHeaders,
    pub firsts: BTreeMap<u64, Edge>,
    pub reach: Vec<LogExtent>,
    pub tables: Vec<TableEntry>,
}

impl Extracted {
    /// Returns how many tables its records are in.
    pub fn table_count(&self) -> usize {
        self.tables.len()
    }

    /// Returns the bytes and the records of a table.
    pub fn table_size(&self, table: usize) -> (u64, u64) {
        let TableEntry { size, rows, .. } = self.tables[table];
        (size, rows)
    }

    /// Returns the number of records longer than the limit.
    pub fn too_long(&self) -> u64 {
        self.too_long
    }

    /// Returns the input's headers.
    pub fn headers(&self) -> &EvtxHeaders {
        &self.headers
    }

    /// Returns how far its logs reach, for each piece that was read.
    pub fn reach(&self) -> &[LogExtent] {
        &self.reach
    }

    /// Returns the report of the input.
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

    /// Passes the records of one of its tables to `each`, as records of this input.
    ///
    /// # Errors
    /// A fault that describes the records that could not be read.
    pub fn read_table(
        &self,
        table: usize,
        input: InputIdx,
        each: impl FnMut(&Record),
    ) -> Result<(), Fault> {
        let entry = &self.tables[table];
        observe::read_records(&self.root, entry, input, each).map_err(|error| {
            let path = self.root.join(&entry.name);
            let reason = format!(
                "{} of its observations not read, in {}: {error}",
                entry.rows,
                path.display()
            );
            Fault::file(FaultKind::Lost, reason)
        })
    }

    /// Returns the tables that may hold some of these records. The records must be in order.
    pub fn tables_with(&self, records: &[RecordRef]) -> impl Iterator<Item = usize> {
        let holds = |table: &TableEntry| {
            let first = records.partition_point(|record| record.offset < table.first);
            records.get(first).is_some_and(|record| record.offset <= table.last)
        };
        let tables = self.tables.iter().enumerate();
        tables.filter(move |(_, table)| holds(table)).map(|(index, _)| index)
    }

    /// Returns the first record of a chunk that could be read.
    pub fn first_of_chunk(&self, number: u64) -> Option<Edge> {
        self.firsts.get(&number).copied()
    }
}
