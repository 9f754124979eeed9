//! Reading single records again.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use itertools::Itertools;
use rayon::prelude::*;

use super::InputReport;
use crate::decode::{self, Decoder, Seen, Wanted, chunk_of};
use crate::error::{Fault, FaultKind};
use crate::input::{Again, Input, Piece};
use crate::limits::Limits;
use crate::model::{Channel, Edge, Event, Record, RecordRef};
use crate::normalise::{Normaliser, wire};
use crate::reconstruct::{Logs, Overheard};

/// Places that one task reads again.
const PLACES_PER_TASK: usize = 32;

/// Reads records again by their places.
pub(crate) struct Loader<'a> {
    inputs: &'a [Input],
    limits: &'a Limits,
    faults: Mutex<Vec<(u32, Fault)>>,
}

/// Inputs and places in them, and the wanted records at each.
type Places = BTreeMap<(u32, u64), Vec<RecordRef>>;

impl<'a> Loader<'a> {
    pub fn new(inputs: &'a [Input], limits: &'a Limits) -> Loader<'a> {
        Loader { inputs, limits, faults: Mutex::default() }
    }

    /// What some records give, by their places. One that is no longer there is a fault.
    pub fn read<T: Send>(
        &self,
        records: Vec<RecordRef>,
        take: impl Fn(&mut Normaliser, &Record) -> T + Sync,
    ) -> Vec<T> {
        let mut places = Places::new();
        for record in records.into_iter().sorted_unstable().dedup() {
            let place = decode::place(&self.inputs[record.input as usize], record.offset);
            places.entry((record.input, place)).or_default().push(record);
        }
        let places: Vec<((u32, u64), Vec<RecordRef>)> = places.into_iter().collect();
        let room = || (Decoder::default(), Piece::default());
        let events =
            places.par_chunks(PLACES_PER_TASK).map_init(room, |(decoder, piece), places| {
                let mut events = Vec::new();
                let mut normaliser = Normaliser::default();
                let mut again = Again::within(self.limits);
                for ((index, place), records) in places {
                    let input = &self.inputs[*index as usize];
                    let before = events.len();
                    let read = again.read(*index, input, *place, piece).map(|()| {
                        let each = |record: &Record| events.push(take(&mut normaliser, record));
                        decoder.piece(input, *index, piece, &These(records), each);
                    });
                    if let Err(error) = read {
                        self.lost(*index, *place, format!("not read a second time: {error}"));
                    } else if events.len() - before != records.len() {
                        self.lost(*index, *place, "the file changed while it was read".to_owned());
                    }
                }
                events
            });
        events.flatten().collect()
    }

    /// The first record that can be read of a chunk.
    pub fn first_of_chunk(&self, index: u32, number: u64) -> Option<Edge> {
        let input = &self.inputs[index as usize];
        let mut piece = Piece::default();
        Again::default().read(index, input, decode::start_of_chunk(number), &mut piece).ok()?;
        let first = First::default();
        Decoder::default().piece(input, index, &mut piece, &first, |_| {});
        first.0.get()
    }

    fn lost(&self, input: u32, place: u64, reason: String) {
        let fault = Fault {
            chunk: chunk_of(&self.inputs[input as usize], place),
            offset: Some(place),
            ..Fault::file(FaultKind::Lost, reason)
        };
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).push((input, fault));
    }

    /// Adds what could not be read again to the reports.
    pub fn ledger(self, reports: &mut [InputReport]) {
        let mut faults = self.faults.into_inner().unwrap_or_else(PoisonError::into_inner);
        faults.sort();
        faults.dedup();
        for (input, fault) in faults {
            reports[input as usize].faults.push(fault);
        }
    }
}

impl Logs for Loader<'_> {
    fn events(&self, records: Vec<RecordRef>) -> Vec<Event> {
        self.read(records, |normaliser, record| normaliser.event(record))
    }

    fn traffic(&self, records: Vec<RecordRef>) -> Vec<Overheard> {
        let overheard = self.read(records, |_, record| {
            let Record { time, source, event_id, .. } = *record;
            Some(Overheard { time, source, event_id, wire: wire(record)? })
        });
        overheard.into_iter().flatten().collect()
    }
}

/// Wants no record, and notes the first.
#[derive(Default)]
struct First(Cell<Option<Edge>>);

impl Wanted for First {
    fn passes(&self, seen: Seen<'_>) {
        let Seen { source, record_id, time, .. } = seen;
        if self.0.get().is_none() {
            self.0.set(Some(Edge { record_id, time, source }));
        }
    }

    fn wants(&self, _: RecordRef, _: Channel, _: &str, _: u32) -> bool {
        false
    }
}

/// Wants these records, which are in order.
struct These<'r>(&'r [RecordRef]);

impl Wanted for These<'_> {
    fn wants(&self, source: RecordRef, _: Channel, _: &str, _: u32) -> bool {
        self.0.binary_search(&source).is_ok()
    }
}
