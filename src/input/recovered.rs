//! Inputs for the remains of records outside of logs: one beside each file.
//!
//! Such an input reads the bytes of the file that it is named after. In every output, recovered
//! records differ from live ones only by their input, because evidence names inputs.

use super::source::InputSource;
use super::{CHUNK_SIZE, FILE_HEADER, Input, InputKind, file_header, part_path};

/// The end of the name of such an input, after the name of its file.
const NAME: &str = "[recovered]";
/// The size of a chunk's header: no chunk is smaller.
const SMALLEST: u64 = 512;

/// Adds an input for the remains of records in each EVTX log, and in each file that is not a log: a
/// raw image, a memory dump, a log that is damaged beyond its first bytes.
///
/// They come last. If a record is also in a log, the one in the log counts.
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
                path: part_path(&input.path, NAME),
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

/// Returns whether the bytes of a file that is not a log can be read. Those of archives' members
/// cannot.
fn is_file(input: &Input) -> bool {
    matches!(&input.source, InputSource::File(path) if path.is_file())
}

/// Returns how many chunks the header of a closed log counts. Chunks after those no longer belong
/// to the log. The count of an open log is out of date (libevtx: file flags, 1 is dirty).
fn counted_chunks(input: &Input) -> Option<u64> {
    let header = file_header(input).ok()??;
    // A log with more chunks than the field can count, or with a wrong header, is read whole.
    let counted = !header.dirty && header.checksum_ok && (1..u16::MAX).contains(&header.chunks);
    let chunks = input.size.saturating_sub(FILE_HEADER).div_ceil(CHUNK_SIZE);
    let count = u64::from(header.chunks);
    (counted && count < chunks).then_some(count)
}
