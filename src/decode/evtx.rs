//! EVTX chunks to records, through the evtx crate.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use evtx::err::EvtxError;
use evtx::{EvtxChunkData, ParserSettings};

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
}

impl<'w> Decoder<'w> {
    /// A decoder that hands on the records `wanted` names.
    pub fn new(wanted: &'w dyn Wanted) -> Self {
        let settings = Arc::new(ParserSettings::new().num_threads(1));
        Decoder { wanted, settings, names: Interner::default() }
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
        mut take: impl FnMut(Record),
    ) -> ChunkTally {
        let mut tally = ChunkTally::default();
        let at = FILE_HEADER + number * CHUNK_SIZE;
        let fault = |kind, offset: u64, record, reason: String| Fault {
            kind,
            chunk: Some(number),
            offset: Some(at + offset),
            record,
            reason,
        };
        if bytes.iter().all(|&byte| byte == 0) {
            return tally;
        }
        let lost = |reason| fault(FaultKind::Lost, 0, None, reason);
        let whole = bytes.len() as u64 == CHUNK_SIZE;
        if !whole {
            let reason = format!("the file ends inside this chunk, {} bytes into it", bytes.len());
            tally.faults.push(lost(reason));
            // The records before the cut are whole.
            bytes.resize(CHUNK_SIZE as usize, 0);
        }
        let mut data = match EvtxChunkData::new(bytes, false) {
            Ok(data) => data,
            Err(error) => {
                tally.faults.push(lost(chain(&error)));
                return tally;
            }
        };
        data.number = Some(number);
        let checks = [
            (data.validate_header_checksum(), "wrong checksum of the chunk header"),
            (!whole || data.validate_data_checksum(), "wrong checksum of the chunk's records"),
        ];
        for (_, reason) in checks.into_iter().filter(|(right, _)| !right) {
            tally.faults.push(fault(FaultKind::Suspect, 0, None, reason.to_owned()));
        }
        let mut chunk = match data.parse(self.settings.clone()) {
            Ok(chunk) => chunk,
            Err(error) => {
                tally.faults.push(lost(chain(&error)));
                return tally;
            }
        };
        for record in chunk.iter() {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    let (offset, id) = place(&error);
                    tally.faults.push(fault(FaultKind::Lost, offset, id, chain(&error)));
                    continue;
                }
            };
            let offset = record.binxml_offset - RECORD_HEADER;
            let id = record.event_record_id;
            let source = RecordRef { input, offset: at + offset, number: id };
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
                    tally.faults.push(fault(FaultKind::Lost, offset, Some(id), reason));
                }
            }
        }
        tally
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
fn place(error: &EvtxError) -> (u64, Option<u64>) {
    match error {
        EvtxError::FailedToReadRecordAt { offset, .. } => (*offset, None),
        EvtxError::FailedToParseRecord { record_id, .. } => (0, Some(*record_id)),
        _ => (0, None),
    }
}
