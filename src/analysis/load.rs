//! Reads single records again.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use itertools::Itertools;
use rayon::prelude::*;

use super::extracted::Extracted;
use super::input_report::InputReport;
use crate::decode::{self, Decoder, RecordFilter, RecordHeader, chunk_number_at};
use crate::error::{Fault, FaultKind};
use crate::input::{Input, Piece, PlaceReader};
use crate::limits::Limits;
use crate::model::{Channel, Edge, Event, IdxVec, InputIdx, Record, RecordRef};
use crate::normalise::{Normaliser, wire};
use crate::reconstruct::{RecordReader, TrafficRecord};

/// Places that one task reads again.
const PLACES_PER_TASK: usize = 32;

/// Reads records again by their places.
pub(crate) struct RecordLoader<'a> {
    inputs: &'a IdxVec<InputIdx, Input>,
    /// By input: the extracted records that are read instead of it, if there are any.
    observed: Option<&'a IdxVec<InputIdx, Option<Extracted>>>,
    limits: &'a Limits,
    faults: Mutex<Vec<(InputIdx, Fault)>>,
}

/// Inputs and places in them, with the wanted records at each.
type Places = BTreeMap<(InputIdx, u64), Vec<RecordRef>>;

impl<'a> RecordLoader<'a> {
    pub fn new(inputs: &'a IdxVec<InputIdx, Input>, limits: &'a Limits) -> RecordLoader<'a> {
        RecordLoader { inputs, observed: None, limits, faults: Mutex::default() }
    }

    /// Creates a loader of inputs some of which were extracted before.
    pub(super) fn with_extracted(
        inputs: &'a IdxVec<InputIdx, Input>,
        observed: &'a IdxVec<InputIdx, Option<Extracted>>,
        limits: &'a Limits,
    ) -> RecordLoader<'a> {
        RecordLoader { inputs, observed: Some(observed), limits, faults: Mutex::default() }
    }

    fn extracted(&self, input: InputIdx) -> Option<&'a Extracted> {
        self.observed?[input].as_ref()
    }

    /// Calls `take` for some records and returns the results by the records' places. A record that
    /// is no longer there is a fault.
    pub fn read_records<T: Send>(
        &self,
        records: Vec<RecordRef>,
        take: impl Fn(&mut Normaliser, &Record) -> T + Sync,
    ) -> Vec<T> {
        let is_extracted = |record: &RecordRef| self.extracted(record.input).is_some();
        let (extracted, logged): (Vec<_>, Vec<_>) = records.into_iter().partition(is_extracted);
        let mut read = self.read_logs(logged, &take);
        read.extend(self.read_tables(extracted, &take));
        read
    }

    /// Reads records that were extracted before, in the order of their places.
    fn read_tables<T: Send>(
        &self,
        records: Vec<RecordRef>,
        take: &(impl Fn(&mut Normaliser, &Record) -> T + Sync),
    ) -> Vec<T> {
        let mut wanted: BTreeMap<InputIdx, Vec<RecordRef>> = BTreeMap::new();
        for record in records.into_iter().sorted_unstable().dedup() {
            wanted.entry(record.input).or_default().push(record);
        }
        let tasks = wanted.iter().flat_map(|(&input, records)| {
            let extracted = self.extracted(input);
            let tables = extracted.into_iter().flat_map(move |extracted| {
                extracted.tables_with(records).map(move |table| (extracted, table))
            });
            tables.map(move |(extracted, table)| (input, records, extracted, table))
        });
        let tasks: Vec<_> = tasks.collect();
        let read = tasks.into_par_iter().map_init(
            Normaliser::default,
            |normaliser, (input, wanted, extracted, table)| {
                let mut found = Vec::new();
                let each = |record: &Record| {
                    if wanted.binary_search(&record.source).is_ok() {
                        found.push((record.source, take(normaliser, record)));
                    }
                };
                if let Err(fault) = extracted.read_table(table, input, each) {
                    self.add_fault(input, fault);
                }
                found
            },
        );
        let mut read: Vec<(RecordRef, T)> = read.flatten().collect();
        read.sort_by_key(|(source, _)| *source);
        read.into_iter().map(|(_, taken)| taken).collect()
    }

    /// Reads records from logs.
    fn read_logs<T: Send>(
        &self,
        records: Vec<RecordRef>,
        take: &(impl Fn(&mut Normaliser, &Record) -> T + Sync),
    ) -> Vec<T> {
        let mut places = Places::new();
        for record in records.into_iter().sorted_unstable().dedup() {
            let place = decode::reread_offset(&self.inputs[record.input], record.offset);
            places.entry((record.input, place)).or_default().push(record);
        }
        let places: Vec<((InputIdx, u64), Vec<RecordRef>)> = places.into_iter().collect();
        let room = || (Decoder::default(), Piece::default());
        let events =
            places.par_chunks(PLACES_PER_TASK).map_init(room, |(decoder, piece), places| {
                let mut events = Vec::new();
                let mut normaliser = Normaliser::default();
                let mut again = PlaceReader::with_limits(self.limits);
                for ((index, place), records) in places {
                    let input = &self.inputs[*index];
                    let before = events.len();
                    let read = again.read(*index, input, *place, piece).map(|()| {
                        let each = |record: &Record| events.push(take(&mut normaliser, record));
                        decoder.decode_piece(input, *index, piece, &SelectedRecords(records), each);
                    });
                    if let Err(error) = read {
                        self.add_lost(*index, *place, format!("not read a second time: {error}"));
                    } else if events.len() - before != records.len() {
                        self.add_lost(
                            *index,
                            *place,
                            "the file changed while it was read".to_owned(),
                        );
                    }
                }
                events
            });
        events.flatten().collect()
    }

    /// Returns the first record of a chunk that can be read.
    pub fn first_of_chunk(&self, index: InputIdx, number: u64) -> Option<Edge> {
        match self.extracted(index) {
            Some(observed) => observed.first_of_chunk(number),
            None => first_of_chunk(&self.inputs[index], index, number),
        }
    }

    fn add_lost(&self, input: InputIdx, place: u64, reason: String) {
        let fault = Fault {
            chunk: chunk_number_at(&self.inputs[input], place),
            offset: Some(place),
            ..Fault::file(FaultKind::Lost, reason)
        };
        self.add_fault(input, fault);
    }

    fn add_fault(&self, input: InputIdx, fault: Fault) {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).push((input, fault));
    }

    /// Adds the faults of reading again to the reports.
    pub fn add_faults_to(self, reports: &mut IdxVec<InputIdx, InputReport>) {
        let mut faults = self.faults.into_inner().unwrap_or_else(PoisonError::into_inner);
        faults.sort();
        faults.dedup();
        for (input, fault) in faults {
            let known = &mut reports[input].faults;
            // A table that could not be read the first time is already reported.
            if !known.contains(&fault) {
                known.push(fault);
            }
        }
    }
}

impl RecordReader for RecordLoader<'_> {
    fn events(&self, records: Vec<RecordRef>) -> Vec<Event> {
        self.read_records(records, |normaliser, record| normaliser.event(record))
    }

    fn traffic(&self, records: Vec<RecordRef>) -> Vec<TrafficRecord> {
        let overheard = self.read_records(records, |_, record| {
            let Record { time, source, event_id, .. } = *record;
            Some(TrafficRecord { time, source, event_id, wire: wire(record)? })
        });
        overheard.into_iter().flatten().collect()
    }
}

/// Returns the first record that can be read in a chunk of a log.
pub(super) fn first_of_chunk(input: &Input, index: InputIdx, number: u64) -> Option<Edge> {
    let mut piece = Piece::default();
    PlaceReader::default().read(index, input, decode::chunk_offset(number), &mut piece).ok()?;
    let first = FirstRecord::default();
    Decoder::default().decode_piece(input, index, &mut piece, &first, |_| {});
    first.0.get()
}

/// Selects no record, and notes the first.
#[derive(Default)]
struct FirstRecord(Cell<Option<Edge>>);

impl RecordFilter for FirstRecord {
    fn observe(&self, header: RecordHeader<'_>) {
        let RecordHeader { source, record_id, time, .. } = header;
        if self.0.get().is_none() {
            self.0.set(Some(Edge { record_id, time, source }));
        }
    }

    fn wants(&self, _: RecordRef, _: Channel, _: &str, _: u32) -> bool {
        false
    }
}

/// Selects these records, which are in order.
struct SelectedRecords<'r>(&'r [RecordRef]);

impl RecordFilter for SelectedRecords<'_> {
    fn wants(&self, source: RecordRef, _: Channel, _: &str, _: u32) -> bool {
        self.0.binary_search(&source).is_ok()
    }
}
