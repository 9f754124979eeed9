//! Bytes to [`Record`]s. A piece of a log is this stage's whole world, and
//! only it knows the evtx crate and what records look like in exports.
//!
//! Of EVTX there are two ways to the same records. The evtx crate reads anything (`json` takes what
//! it renders) and has the last word. Chunks of usual records take a shorter one: `definition`
//! reads each template once, `plan` notes which value becomes which field, `instance` walks
//! the chunk's records and `record` fills them in.
//!
//! Of texts, `text` decodes value by value: `json` what evtx_dump writes, `shapes` what NXLog,
//! Winlogbeat and Hayabusa make of records, `xml` what Windows exports.

mod binxml;
mod carve;
mod classic;
mod definition;
mod evtx;
mod form;
mod instance;
mod json;
mod node;
mod plan;
mod record;
mod shapes;
mod system;
mod text;
mod value;
mod xml;

pub use evtx::{chunk_count, chunk_of};
pub use form::{ChunkHeader, Form};

use std::collections::HashSet;

use chrono::{DateTime, Utc};

use crate::error::Fault;
use crate::input::{Input, InputKind, Piece};
use crate::model::{Channel, InputIdx, Record, RecordRef, Str};

/// Decodes pieces of logs, one after another, for one thread, and is the quicker the more it has
/// seen.
#[derive(Default)]
pub struct Decoder {
    evtx: evtx::Decoder,
    text: text::Decoder,
}

/// What decoding a piece came to.
#[derive(Debug, Default)]
pub struct Tally {
    /// Records read, wanted or not.
    pub records: u64,
    /// What could not be read, or read with doubt.
    pub faults: Vec<Fault>,
    /// What is sound but no record. A text that has nothing else is no log.
    pub foreign: Vec<Fault>,
    /// Records whose texts are longer than the limit: each is a fault, listed or counted.
    pub too_long: u64,
}

impl Decoder {
    /// Decodes a piece of an input, the `index`th, and hands each wanted record to `take`. The
    /// piece is the caller's again, whatever is in it then.
    pub fn piece(
        &mut self,
        input: &Input,
        index: InputIdx,
        piece: &mut Piece,
        wanted: &dyn Wanted,
        mut take: impl FnMut(&Record),
    ) -> Tally {
        if input.kind.is_text() {
            return self.text.piece(input.kind, index, piece, wanted, take);
        }
        if input.kind == InputKind::Recovered {
            return carve::piece(&mut self.evtx, input.live_chunks, index, piece, wanted, take);
        }
        let mut tally = Tally::default();
        if input.kind.is_evtx() {
            let first = evtx::chunk_number(piece.start);
            let chunks = piece.chunks.iter_mut().filter(|chunk| !chunk.is_empty());
            for (number, chunk) in (first..input.live_chunks).zip(chunks) {
                let read = self.evtx.chunk(chunk, index, number, wanted, &mut take);
                tally.records += read.records;
                tally.faults.extend(read.faults);
            }
        }
        tally
    }
}

/// Where in the file to begin for reading a record again: at its chunk, or at its text.
pub fn place(input: &Input, offset: u64) -> u64 {
    if input.kind.is_evtx() { evtx::chunk_start(evtx::chunk_number(offset)) } else { offset }
}

/// Where a chunk of an EVTX log begins in its file.
pub fn start_of_chunk(number: u64) -> u64 {
    evtx::chunk_start(number)
}

/// What is known of a record before its data is read.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'r> {
    /// Its place.
    pub source: RecordRef,
    /// Its channel.
    pub channel: Channel,
    /// System/Channel as logged.
    pub channel_name: &'r str,
    /// System/Provider Name.
    pub provider: &'r str,
    /// System/Computer as logged.
    pub computer: &'r str,
    /// System/EventID.
    pub event_id: u32,
    /// System/EventRecordID; the header's number where it is missing.
    pub record_id: u64,
    /// When it was logged, UTC.
    pub time: DateTime<Utc>,
}

/// Says which records some later stage has a use for; the others are only seen.
pub trait Wanted {
    /// A record passes, wanted or not. One that is hard to read may pass more than once.
    fn passes(&self, _seen: Seen<'_>) {}

    /// Whether the record of this place, channel and event id is wanted.
    fn wants(&self, source: RecordRef, channel: Channel, channel_name: &str, event_id: u32)
    -> bool;
}

/// Keeps one copy of each name that records repeat.
#[derive(Default)]
struct Interner(HashSet<Str>);

impl Interner {
    fn get(&mut self, text: &str) -> Str {
        if let Some(known) = self.0.get(text) {
            return known.clone();
        }
        let new: Str = text.into();
        // Activities come and go, and hostile logs have ever new names: those in use are soon back.
        if self.0.len() == 4096 {
            self.0.clear();
        }
        self.0.insert(new.clone());
        new
    }
}

#[cfg(test)]
mod tests {
    use super::Wanted;
    use crate::model::{Channel, RecordRef};

    /// Wants every record.
    pub struct All;

    impl Wanted for All {
        fn wants(&self, _: RecordRef, _: Channel, _: &str, _: u32) -> bool {
            true
        }
    }
}
