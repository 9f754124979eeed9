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
mod interner;
mod json;
mod node;
mod plan;
mod record;
mod shapes;
mod system;
mod tally;
mod text;
mod value;
mod wanted;
mod xml;

pub use evtx::{chunk_count, chunk_of};
pub use form::{ChunkHeader, Form};
pub use tally::Tally;
pub use wanted::{Seen, Wanted};

use crate::input::{Input, InputKind, Piece};
use crate::model::{InputIdx, Record};

/// Decodes pieces of logs, one after another, for one thread, and is the quicker the more it has
/// seen.
#[derive(Default)]
pub struct Decoder {
    evtx: evtx::Decoder,
    text: text::Decoder,
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
