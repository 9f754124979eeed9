//! What may be left of records outside of logs: an input of its own beside each file.
//!
//! Such an input reads the bytes of the file that it is named after. What comes of it is told from
//! live records by its input alone, in every output, as evidence names inputs.

use super::source::Source;
use super::{CHUNK_SIZE, FILE_HEADER, Input, InputKind, file_header, shown};

/// What the name of such an input ends with, below the name of its file.
const NAME: &str = "[recovered]";
/// No chunk is smaller than its header.
const SMALLEST: u64 = 512;

/// Puts behind the inputs one for what may be left of records in each EVTX log, and in each file
/// that is no log: a raw image, a memory dump, a log that is damaged beyond its first bytes.
///
/// They come last, so that of a record that is in a log, too, the one in the log counts.
pub fn with_recovered(mut inputs: Vec<Input>) -> Vec<Input> {
    let mut recovered: Vec<Input> = Vec::new();
    for input in &mut inputs {
        let live_chunks = match input.kind {
            InputKind::Evtx => counted_chunks(input).unwrap_or(u64::MAX),
            InputKind::EvtxWithoutHeader => u64::MAX,
            InputKind::Unknown if is_file(input) => 0,
            _ => continue,
        };
        if input.kind.is_evtx() {
            input.live_chunks = live_chunks;
        }
        if input.size >= SMALLEST {
            recovered.push(Input {
                path: shown(&input.path, NAME),
                kind: InputKind::Recovered,
                faults: Vec::new(),
                live_chunks,
                ..input.clone()
            });
        }
    }
    inputs.extend(recovered);
    inputs
}

/// Whether the bytes of what is no log are at hand: those of archives' members are not.
fn is_file(input: &Input) -> bool {
    matches!(&input.source, Source::File(path) if path.is_file())
}

/// How many chunks a log's header counts, of one that was closed: what lies behind them is no longer
/// of the log. Of an open log the count is an old one (libevtx: file flags, 1 is dirty).
fn counted_chunks(input: &Input) -> Option<u64> {
    let header = file_header(input).ok()??;
    // A log of more chunks than the field can count, and one whose header is wrong, are read whole.
    let counted = !header.dirty && header.checksum_ok && (1..u16::MAX).contains(&header.chunks);
    let chunks = input.size.saturating_sub(FILE_HEADER).div_ceil(CHUNK_SIZE);
    let count = u64::from(header.chunks);
    (counted && count < chunks).then_some(count)
}
