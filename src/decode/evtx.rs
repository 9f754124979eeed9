//! EVTX chunks to records: through the plans of their templates, or through the evtx crate.
//!
//! The evtx crate says what a record means; a chunk of usual records only comes to the same
//! sooner by plans. So a chunk with anything unusual in it is the crate's as a whole.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use evtx::err::EvtxError;
use evtx::{EvtxChunkData, ParserSettings};
use tracing::debug;

use super::binxml::Odd;
use super::instance::Planned;
use super::json::{self, Header};
use super::{Interner, Wanted};
use crate::error::{Fault, FaultKind, chain};
use crate::input::FILE_HEADER;
use crate::model::{Record, RecordRef};

/// A chunk's size in bytes ([MS-EVEN6] and libevtx: fixed).
pub const CHUNK_SIZE: u64 = 65536;
/// A record's own header: magic, size, number, time.
const RECORD_HEADER: u64 = 24;

/// How many chunks a file of that size holds, a cut last one counted.
pub fn chunk_count(size: u64) -> u64 {
    size.saturating_sub(FILE_HEADER).div_ceil(CHUNK_SIZE)
}

/// What decoding a chunk came to.
#[derive(Debug, Default)]
pub struct ChunkTally {
    /// Records read, wanted or not.
    pub records: u64,
    /// What could not be read, or read with doubt.
    pub faults: Vec<Fault>,
}

/// Decodes chunks, one after another, for one thread.
pub struct Decoder<'w> {
    wanted: &'w dyn Wanted,
    settings: Arc<ParserSettings>,
    names: Interner,
    planned: Planned,
    /// The records of a chunk, until it is known that all of them are usual.
    records: Vec<Record>,
}

impl<'w> Decoder<'w> {
    /// A decoder that hands on the records `wanted` names.
    pub fn new(wanted: &'w dyn Wanted) -> Self {
        let settings = Arc::new(ParserSettings::new());
        Decoder {
            wanted,
            settings,
            names: Interner::default(),
            planned: Planned::default(),
            records: Vec::new(),
        }
    }

    /// Decodes chunk `number` of input `input` and hands each wanted record to `take`.
    ///
    /// Damage is a fault in the tally, and what can still be read is read: a chunk of zeroes is
    /// unused space, a wrong checksum makes its records suspect, a bad record is passed over.
    pub fn chunk(
        &mut self,
        mut bytes: Vec<u8>,
        input: u32,
        number: u64,
        take: impl FnMut(Record),
    ) -> ChunkTally {
        let mut tally = ChunkTally::default();
        let place = Place { input, number };
        if bytes.iter().all(|&byte| byte == 0) {
            return tally;
        }
        let whole = bytes.len() as u64 == CHUNK_SIZE;
        if !whole {
            let reason = format!("the file ends inside this chunk, {} bytes into it", bytes.len());
            tally.faults.push(place.lost(reason));
            // The records before the cut are whole.
            bytes.resize(CHUNK_SIZE as usize, 0);
        }
        let mut data = match EvtxChunkData::new(bytes, false) {
            Ok(data) => data,
            Err(error) => {
                tally.faults.push(place.lost(chain(&error)));
                return tally;
            }
        };
        data.number = Some(number);
        let checks = [
            (data.validate_header_checksum(), "wrong checksum of the chunk header"),
            (!whole || data.validate_data_checksum(), "wrong checksum of the chunk's records"),
        ];
        for (_, reason) in checks.into_iter().filter(|(right, _)| !right) {
            tally.faults.push(place.fault(FaultKind::Suspect, 0, None, reason.to_owned()));
        }
        if tally.faults.is_empty() {
            match self.by_plans(&data.data, place) {
                Ok(records) => {
                    tally.records = records;
                    self.records.drain(..).for_each(take);
                    return tally;
                }
                Err(Odd(reason)) => debug!(input, chunk = number, reason, "left to the evtx crate"),
            }
        }
        self.by_crate(data, place, &mut tally, take);
        tally
    }

    /// Reads a chunk's records by plans, all of them or none, into `self.records`, and yields
    /// how many there are, wanted or not.
    fn by_plans(&mut self, chunk: &[u8], place: Place) -> Result<u64, Odd> {
        self.records.clear();
        let Decoder { wanted, names, planned, records, .. } = self;
        let start = (place.input, place.start());
        planned.chunk(chunk, start, *wanted, names, |record| records.push(record))
    }

    /// Reads what the evtx crate can read of a chunk.
    fn by_crate(
        &mut self,
        mut data: EvtxChunkData,
        place: Place,
        tally: &mut ChunkTally,
        mut take: impl FnMut(Record),
    ) {
        let mut chunk = match data.parse(self.settings.clone()) {
            Ok(chunk) => chunk,
            Err(error) => {
                tally.faults.push(place.lost(chain(&error)));
                return;
            }
        };
        for record in chunk.iter() {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    let (offset, id) = locate(&error);
                    tally.faults.push(place.fault(FaultKind::Lost, offset, id, chain(&error)));
                    continue;
                }
            };
            let offset = record.binxml_offset - RECORD_HEADER;
            let id = record.event_record_id;
            let source =
                RecordRef { input: place.input, offset: place.start() + offset, number: id };
            let header = Header { source, time: utc(record.timestamp) };
            let read = match record.into_json_bytes() {
                Ok(text) => json::read(&text.data, header, self.wanted, &mut self.names),
                Err(error) => Err(chain(&error)),
            };
            match read {
                Ok(record) => {
                    tally.records += 1;
                    record.into_iter().for_each(&mut take);
                }
                Err(reason) => {
                    tally.faults.push(place.fault(FaultKind::Lost, offset, Some(id), reason));
                }
            }
        }
    }
}

/// A chunk's place: the index of its input, and its own number.
#[derive(Clone, Copy)]
struct Place {
    input: u32,
    number: u64,
}

impl Place {
    /// Offset of the chunk from the start of its file.
    fn start(self) -> u64 {
        FILE_HEADER + self.number * CHUNK_SIZE
    }

    /// A fault `offset` bytes into the chunk.
    fn fault(self, kind: FaultKind, offset: u64, record: Option<u64>, reason: String) -> Fault {
        let offset = Some(self.start() + offset);
        Fault { kind, chunk: Some(self.number), offset, record, reason }
    }

    /// The whole chunk is lost, or the part of it past the file's end.
    fn lost(self, reason: String) -> Fault {
        self.fault(FaultKind::Lost, 0, None, reason)
    }
}

/// The evtx crate's time, a whole number of FILETIME's 100 ns.
fn utc(time: evtx::Timestamp) -> DateTime<Utc> {
    const SECOND: i128 = 1_000_000_000;
    let nanoseconds = time.as_nanosecond();
    let (seconds, rest) = (nanoseconds.div_euclid(SECOND), nanoseconds.rem_euclid(SECOND));
    DateTime::from_timestamp(seconds as i64, rest as u32).unwrap_or_default()
}

/// Where in its chunk a record failed, and its number, as far as the error says.
fn locate(error: &EvtxError) -> (u64, Option<u64>) {
    match error {
        EvtxError::FailedToReadRecordAt { offset, .. } => (*offset, None),
        EvtxError::FailedToParseRecord { record_id, .. } => (0, Some(*record_id)),
        _ => (0, None),
    }
}

#[cfg(test)]
mod tests;
