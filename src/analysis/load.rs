//! Reading single records again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Mutex, PoisonError};

use itertools::Itertools;
use rayon::prelude::*;

use super::InputReport;
use crate::decode::{CHUNK_SIZE, Decoder, Wanted};
use crate::error::{Fault, FaultKind};
use crate::input::{FILE_HEADER, Input};
use crate::model::{Channel, Event, Record, RecordRef};
use crate::normalise::Normaliser;

/// Chunks that one task reads again.
const CHUNKS_PER_TASK: usize = 32;

/// Reads records again by their places.
pub(super) struct Loader<'a> {
    inputs: &'a [Input],
    faults: Mutex<Vec<(u32, Fault)>>,
}

/// The chunks of inputs, and the wanted records in each.
type Chunks = BTreeMap<(u32, u64), Vec<RecordRef>>;

impl<'a> Loader<'a> {
    pub fn new(inputs: &'a [Input]) -> Loader<'a> {
        Loader { inputs, faults: Mutex::default() }
    }

    /// The events of some records, by their places. One that is no longer there is a fault.
    pub fn load(&self, records: Vec<RecordRef>) -> Vec<Event> {
        let mut chunks = Chunks::new();
        for record in records.into_iter().sorted_unstable().dedup() {
            let chunk = record.offset.saturating_sub(FILE_HEADER) / CHUNK_SIZE;
            chunks.entry((record.input, chunk)).or_default().push(record);
        }
        let chunks: Vec<((u32, u64), Vec<RecordRef>)> = chunks.into_iter().collect();
        let events =
            chunks.par_chunks(CHUNKS_PER_TASK).map_init(Decoder::default, |decoder, chunks| {
                let mut events = Vec::new();
                let mut normaliser = Normaliser::default();
                let mut file: Option<(u32, File)> = None;
                for ((input, chunk), records) in chunks {
                    let before = events.len();
                    let read = self.read(*input, *chunk, &mut file).map(|mut bytes| {
                        let take = |record: &Record| events.push(normaliser.event(record));
                        decoder.chunk(&mut bytes, *input, *chunk, &These(records), take);
                    });
                    if let Err(error) = read {
                        self.lost(*input, *chunk, format!("not read a second time: {error}"));
                    } else if events.len() - before != records.len() {
                        self.lost(*input, *chunk, "the file changed while it was read".to_owned());
                    }
                }
                events
            });
        events.flatten().collect()
    }

    fn read(&self, input: u32, chunk: u64, file: &mut Option<(u32, File)>) -> io::Result<Vec<u8>> {
        let file = match file {
            Some((known, file)) if *known == input => file,
            other => &mut other.insert((input, File::open(&self.inputs[input as usize].path)?)).1,
        };
        let mut bytes = Vec::with_capacity(CHUNK_SIZE as usize);
        file.seek(SeekFrom::Start(FILE_HEADER + chunk * CHUNK_SIZE))?;
        file.take(CHUNK_SIZE).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn lost(&self, input: u32, chunk: u64, reason: String) {
        let fault = Fault {
            chunk: Some(chunk),
            offset: Some(FILE_HEADER + chunk * CHUNK_SIZE),
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

/// Wants these records, which are in order.
struct These<'r>(&'r [RecordRef]);

impl Wanted for These<'_> {
    fn wants(&self, source: RecordRef, _: Channel, _: &str, _: u32) -> bool {
        self.0.binary_search(&source).is_ok()
    }
}
