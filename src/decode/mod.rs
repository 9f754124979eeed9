//! Decodes bytes to [`Record`]s. This stage sees one piece of a log at a time. Only it uses the
//! evtx crate and knows the format of exported records.
//!
//! EVTX is decoded in one of two ways, with the same results. The evtx crate reads anything (`json`
//! reads its output) and decides in case of doubt. Chunks of usual records take a faster way:
//! `definition` reads each template once, `plan` notes which value becomes which field, `instance`
//! reads the chunk's records and `record` fills them in.
//!
//! Text logs are decoded value by value by `text`: `json` reads the output of evtx_dump,
//! `collector_format` the JSON of NXLog, Winlogbeat and Hayabusa, `xml` the exports of Windows.

mod binxml;
mod carve;
mod classic;
mod collector_format;
mod definition;
mod evtx;
mod headers;
mod instance;
mod interner;
mod json;
mod node;
mod outcome;
mod plan;
mod record;
mod record_filter;
mod system;
mod text;
mod value;
mod xml;

pub use evtx::{chunk_count, chunk_number_at};
pub use headers::{ChunkRange, EvtxHeaders};
pub use outcome::DecodeOutcome;
pub use record_filter::{RecordFilter, RecordHeader};

use crate::input::{Input, InputKind, Piece};
use crate::model::{InputIdx, Record};

/// Decodes pieces of logs, one after another, for one thread. It becomes faster the more it has
/// decoded.
#[derive(Default)]
pub struct Decoder {
    evtx: evtx::EvtxDecoder,
    text: text::TextDecoder,
}

impl Decoder {
    /// Decodes a piece of the input with this index and passes each wanted record to `take`. The
    /// content of the piece is undefined afterwards.
    pub fn decode_piece(
        &mut self,
        input: &Input,
        index: InputIdx,
        piece: &mut Piece,
        filter: &dyn RecordFilter,
        mut take: impl FnMut(&Record),
    ) -> DecodeOutcome {
        if input.kind.is_text() {
            return self.text.decode_piece(input.kind, index, piece, filter, take);
        }
        if input.kind == InputKind::Recovered {
            return carve::carve_piece(
                &mut self.evtx,
                input.live_chunks,
                index,
                piece,
                filter,
                take,
            );
        }
        let mut outcome = DecodeOutcome::default();
        if input.kind.is_evtx() {
            let first = evtx::chunk_number(piece.start);
            let chunks = piece.chunks.iter_mut().filter(|chunk| !chunk.is_empty());
            for (number, chunk) in (first..input.live_chunks).zip(chunks) {
                let read = self.evtx.decode_chunk(chunk, index, number, filter, &mut take);
                outcome.records += read.records;
                outcome.faults.extend(read.faults);
            }
        }
        outcome
    }
}

/// Returns the offset from which a record can be read again: that of its chunk, or of its text.
pub fn reread_offset(input: &Input, offset: u64) -> u64 {
    if input.kind.is_evtx() { evtx::chunk_start(evtx::chunk_number(offset)) } else { offset }
}

/// Returns the offset in its file at which a chunk of an EVTX log begins.
pub fn chunk_offset(number: u64) -> u64 {
    evtx::chunk_start(number)
}

#[cfg(test)]
mod tests {
    use super::RecordFilter;
    use crate::model::{Channel, RecordRef};

    /// Wants every record.
    pub struct All;

    impl RecordFilter for All {
        fn wants(&self, _: RecordRef, _: Channel, _: &str, _: u32) -> bool {
            true
        }
    }
}
