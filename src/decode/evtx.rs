//! Decodes EVTX chunks to records, by the plans of their templates or with the evtx crate.
//!
//! The evtx crate defines the meaning of a record. Plans give the same result faster, but only for
//! usual records. From the first unusual record on, the evtx crate reads the chunk.

use std::mem;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use evtx::err::EvtxError;
use evtx::{EvtxChunkData, ParserSettings};
use tracing::debug;

use super::binxml::Unplannable;
use super::instance::PlanCache;
use super::interner::Interner;
use super::json;
use super::record::RecordReader;
use super::record_filter::RecordFilter;
use super::system::RecordOrigin;
use crate::error::{Fault, FaultKind, with_causes};
use crate::input::{CHUNK_SIZE, FILE_HEADER, Input};
use crate::model::{InputIdx, Record, RecordRef};

/// The size of a record's own header: magic, size, number, time.
const RECORD_HEADER: u64 = 24;

/// Returns how many chunks an input has, including a last one that is cut off.
pub fn chunk_count(input: &Input) -> u64 {
    match input.kind.is_evtx() {
        true => input.size.saturating_sub(FILE_HEADER).div_ceil(CHUNK_SIZE),
        false => 0,
    }
}

/// Returns the number of the chunk at an offset, or `None` if the input has no chunks.
pub fn chunk_number_at(input: &Input, offset: u64) -> Option<u64> {
    input.kind.is_evtx().then(|| chunk_number(offset))
}

/// Returns the number of the chunk at an offset.
pub(super) fn chunk_number(offset: u64) -> u64 {
    offset.saturating_sub(FILE_HEADER) / CHUNK_SIZE
}

/// Returns the offset in its file where a chunk begins.
pub(super) const fn chunk_start(number: u64) -> u64 {
    FILE_HEADER + number * CHUNK_SIZE
}

/// The results of decoding a chunk.
#[derive(Debug, Default)]
pub struct ChunkOutcome {
    /// Records read, wanted or not.
    pub records: u64,
    /// Faults: parts that could not be read, or only with doubt.
    pub faults: Vec<Fault>,
}

/// Decodes EVTX chunks, one after another, for one thread. It becomes faster the more it has
/// decoded.
#[derive(Default)]
pub struct EvtxDecoder {
    settings: Arc<ParserSettings>,
    names: Interner,
    plans: PlanCache,
    reader: RecordReader,
}

impl EvtxDecoder {
    /// Decodes chunk `number` of input `input` and passes each wanted record to `take`. The content
    /// of the buffer is undefined afterwards.
    ///
    /// Damage is a fault in the outcome, and everything that is still readable is read: a chunk of
    /// zeroes is unused space, a wrong checksum makes its records suspect, a bad record is skipped.
    pub fn decode_chunk(
        &mut self,
        bytes: &mut Vec<u8>,
        input: InputIdx,
        number: u64,
        filter: &dyn RecordFilter,
        take: impl FnMut(&Record),
    ) -> ChunkOutcome {
        let place = ChunkPlace { input, number: Some(number), start: chunk_start(number) };
        self.decode_chunk_at(bytes, place, filter, take)
    }

    /// Decodes a chunk at any place.
    pub(super) fn decode_chunk_at(
        &mut self,
        bytes: &mut Vec<u8>,
        place: ChunkPlace,
        filter: &dyn RecordFilter,
        take: impl FnMut(&Record),
    ) -> ChunkOutcome {
        let mut outcome = ChunkOutcome::default();
        if bytes.iter().all(|&byte| byte == 0) {
            return outcome;
        }
        let whole = bytes.len() as u64 == CHUNK_SIZE;
        if !whole {
            let reason = format!("the file ends inside this chunk, {} bytes into it", bytes.len());
            outcome.faults.push(place.lost_fault(reason));
            // The records before the cut are whole.
            bytes.resize(CHUNK_SIZE as usize, 0);
        }
        let mut data = match EvtxChunkData::new(mem::take(bytes), false) {
            Ok(data) => data,
            Err(error) => {
                outcome.faults.push(place.lost_fault(with_causes(&error)));
                return outcome;
            }
        };
        data.number = place.number;
        let checks = [
            (data.validate_header_checksum(), "wrong checksum of the chunk header"),
            (!whole || data.validate_data_checksum(), "wrong checksum of the chunk's records"),
        ];
        for (_, reason) in checks.into_iter().filter(|(right, _)| !right) {
            outcome.faults.push(place.fault(FaultKind::Suspect, 0, None, reason.to_owned()));
        }
        if outcome.faults.is_empty() {
            self.decode_sound(&mut data, place, filter, &mut outcome, take);
        } else {
            self.decode_by_crate(&mut data, place, filter, &mut outcome, take);
        }
        *bytes = data.data;
        outcome
    }

    /// Decodes a chunk without known damage, by plans as far as possible.
    fn decode_sound(
        &mut self,
        data: &mut EvtxChunkData,
        place: ChunkPlace,
        filter: &dyn RecordFilter,
        outcome: &mut ChunkOutcome,
        mut take: impl FnMut(&Record),
    ) {
        let mut given = 0_usize;
        let planned = self.decode_by_plans(&data.data, place, filter, |record| {
            given += 1;
            take(record);
        });
        match planned {
            Ok(records) => outcome.records = records,
            Err(Unplannable(reason)) => {
                let ChunkPlace { input, number: chunk, start } = place;
                debug!(input = input.index(), chunk, start, reason, "left to the evtx crate");
                // The first records are the same again, and were already passed on.
                self.decode_by_crate(data, place, filter, outcome, |record| match given {
                    0 => take(record),
                    _ => given -= 1,
                });
            }
        }
    }

    /// Decodes a chunk's records by plans and returns how many there are, wanted or not.
    ///
    /// # Errors
    /// When something is unusual. The evtx crate must then read the chunk, and `take` has already
    /// received the first wanted records.
    fn decode_by_plans(
        &mut self,
        chunk: &[u8],
        place: ChunkPlace,
        filter: &dyn RecordFilter,
        mut take: impl FnMut(&Record),
    ) -> Result<u64, Unplannable> {
        let EvtxDecoder { names, plans, reader, .. } = self;
        let mut records = plans.chunk_records(chunk, names)?;
        while let Some(header) = records.next()? {
            let source = place.record_ref(header.offset as u64, header.number);
            let (instances, names) = records.current();
            if reader.read(instances, header, source, filter, names)? {
                take(&reader.record);
            }
        }
        Ok(records.count)
    }

    /// Decodes records at these offsets of a chunk that may be partly overwritten, and passes each
    /// wanted one to `take`. Returns for each whether everything that it refers to is intact.
    /// Unusual records are not decoded.
    pub(super) fn decode_leftovers(
        &mut self,
        chunk: &[u8],
        place: ChunkPlace,
        offsets: &[usize],
        filter: &dyn RecordFilter,
        mut take: impl FnMut(&Record),
    ) -> Vec<bool> {
        let EvtxDecoder { names, plans, reader, .. } = self;
        let mut records = plans.leftover_records(chunk, names);
        let mut decode = |offset: usize| -> Result<(), Unplannable> {
            let header = records.read_at(offset)?;
            let source = place.record_ref(header.offset as u64, header.number);
            let (instances, names) = records.current();
            if reader.read(instances, header, source, filter, names)? {
                take(&reader.record);
            }
            Ok(())
        };
        offsets.iter().map(|&offset| decode(offset).is_ok()).collect()
    }

    /// Decodes the parts of a chunk that the evtx crate can read.
    fn decode_by_crate(
        &mut self,
        data: &mut EvtxChunkData,
        place: ChunkPlace,
        filter: &dyn RecordFilter,
        outcome: &mut ChunkOutcome,
        mut take: impl FnMut(&Record),
    ) {
        let mut chunk = match data.parse(self.settings.clone()) {
            Ok(chunk) => chunk,
            Err(error) => {
                outcome.faults.push(place.lost_fault(with_causes(&error)));
                return;
            }
        };
        for record in chunk.iter() {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    let (offset, id) = locate_error(&error);
                    outcome.faults.push(place.fault(
                        FaultKind::Lost,
                        offset,
                        id,
                        with_causes(&error),
                    ));
                    continue;
                }
            };
            let offset = record.binxml_offset - RECORD_HEADER;
            let id = record.event_record_id;
            let source = place.record_ref(offset, id);
            let header = RecordOrigin::from_evtx(source, to_utc(record.timestamp));
            let read = match record.into_json_bytes() {
                Ok(text) => json::read_record(&text.data, header, filter, &mut self.names),
                Err(error) => Err(with_causes(&error)),
            };
            match read {
                Ok(record) => {
                    outcome.records += 1;
                    record.iter().for_each(&mut take);
                }
                Err(reason) => {
                    outcome.faults.push(place.fault(FaultKind::Lost, offset, Some(id), reason));
                }
            }
        }
    }
}

/// The place of a chunk: the index of its input, its number among the chunks of a log, and the
/// offset in the file where it begins.
#[derive(Clone, Copy)]
pub(super) struct ChunkPlace {
    pub input: InputIdx,
    pub number: Option<u64>,
    pub start: u64,
}

impl ChunkPlace {
    /// Returns the place of the record `offset` bytes into the chunk.
    fn record_ref(self, offset: u64, number: u64) -> RecordRef {
        RecordRef { input: self.input, offset: self.start + offset, number }
    }

    /// Creates a fault `offset` bytes into the chunk.
    fn fault(self, kind: FaultKind, offset: u64, record: Option<u64>, reason: String) -> Fault {
        let offset = Some(self.start + offset);
        Fault { kind, chunk: self.number, offset, record, reason }
    }

    /// Creates the fault of a chunk that is lost, as a whole or from the file's end on.
    fn lost_fault(self, reason: String) -> Fault {
        self.fault(FaultKind::Lost, 0, None, reason)
    }
}

/// Converts the evtx crate's time, a whole number of FILETIME's 100 ns.
fn to_utc(time: evtx::Timestamp) -> DateTime<Utc> {
    const SECOND: i128 = 1_000_000_000;
    let nanoseconds = time.as_nanosecond();
    let (seconds, rest) = (nanoseconds.div_euclid(SECOND), nanoseconds.rem_euclid(SECOND));
    DateTime::from_timestamp(seconds as i64, rest as u32).unwrap_or_default()
}

/// Returns where in its chunk a record failed, and its number, as far as the error contains them.
fn locate_error(error: &EvtxError) -> (u64, Option<u64>) {
    match error {
        EvtxError::FailedToReadRecordAt { offset, .. } => (*offset, None),
        EvtxError::FailedToParseRecord { record_id, .. } => (0, Some(*record_id)),
        _ => (0, None),
    }
}

#[cfg(test)]
mod tests;
