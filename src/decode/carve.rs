//! Carves records that no log holds any more: in the slack space of chunks, in chunks that no log
//! counts, in the remains of damaged chunks, and behind records whose size was changed to hide
//! them.
//!
//! A record is decoded with the template that it refers to, which lies in its chunk. Chunks are
//! found by their signature, at any offset. If a chunk's header is gone, a record that contains its
//! own template shows where the chunk began, because it names the template by its place in the
//! chunk. The template is checked before it is used: its id and the hashes of its names must be
//! right. Otherwise a part of it was overwritten and would give the record a wrong meaning.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use memchr::memmem;

use super::binxml::token;
use super::evtx::{ChunkPlace, EvtxDecoder, chunk_number, chunk_start};
use super::outcome::DecodeOutcome;
use super::record_filter::{RecordFilter, RecordHeader};
use super::value::is_time;
use crate::error::{Fault, FaultKind};
use crate::input::{CHUNK_SIZE, FILE_HEADER, Piece};
use crate::model::{Channel, InputIdx, Record, RecordRef};

const CHUNK: usize = CHUNK_SIZE as usize;
/// The size of a chunk's header with its tables, which is where its records begin.
const CHUNK_HEADER: usize = 512;
/// The size of a record's header, its fragment header, and its size field at the end.
const SMALLEST_RECORD: usize = 32;
const FRAGMENT_HEADER: [u8; 4] = [token::FRAGMENT_HEADER, 1, 1, 0];
/// The distance from a record's start to the place of an inline template: header, fragment header,
/// and the instance's token, version, id and offset.
const TO_TEMPLATE: usize = 24 + 4 + 1 + 1 + 4 + 4;
/// The most chunks of a window that are decoded. Hostile bytes may contain a signature every few
/// bytes.
const MOST_CHUNKS: usize = 256;

/// Decodes the remains of records in a piece's window, each once. The windows of a file's pieces
/// overlap, and a record is decoded with the piece in which it begins. The first `live_chunks`
/// chunks of the file belong to the log and are not read again.
pub(super) fn carve_piece(
    decoder: &mut EvtxDecoder,
    live_chunks: u64,
    input: InputIdx,
    piece: &Piece,
    filter: &dyn RecordFilter,
    mut take: impl FnMut(&Record),
) -> DecodeOutcome {
    let window = CarveWindow { bytes: &piece.window, start: piece.window_start, live_chunks };
    let own = piece.start..piece.start + piece.length;
    let owned = PieceRecords {
        filter,
        own: own.clone(),
        seen: RefCell::default(),
        earlier: BTreeSet::new(),
    };
    let mut carver = Carver { decoder, window, input, owned, outcome: DecodeOutcome::default() };
    let mut chunks = window.chunks();
    if let Some(more) = chunks.get(MOST_CHUNKS) {
        let reason = "more chunks begin here than are looked for: the limit carved-chunks";
        let offset = Some(window.start + more.at as u64);
        let fault = Fault { offset, ..Fault::file(FaultKind::Lost, reason) };
        carver.outcome.faults.push(fault);
        chunks.truncate(MOST_CHUNKS);
    }
    for chunk in chunks.iter().filter(|chunk| !chunk.is_live) {
        carver.decode_chunk(chunk, &mut take);
    }
    carver.decode_leftovers(&chunks, &mut take);
    let Carver { owned, mut outcome, .. } = carver;
    outcome.records = owned.record_count();
    outcome.faults.retain(|fault| fault.offset.is_some_and(|offset| own.contains(&offset)));
    outcome.faults.sort_by_key(|fault| fault.offset);
    outcome
}

/// The bytes that are searched.
#[derive(Clone, Copy)]
struct CarveWindow<'w> {
    bytes: &'w [u8],
    /// The offset in the file where they begin.
    start: u64,
    live_chunks: u64,
}

/// A chunk in the window.
struct CarvedChunk {
    at: usize,
    /// Whether it belongs to the log.
    is_live: bool,
    /// The records that follow one another by their sizes, from the first one on.
    chain: Vec<Range<usize>>,
}

impl CarvedChunk {
    /// Returns whether a place is in the chunk, behind its header.
    fn contains(&self, at: usize) -> bool {
        (self.at + CHUNK_HEADER..self.at + CHUNK).contains(&at)
    }

    /// Returns the record of the chain that contains a place.
    fn record_around(&self, at: usize) -> Option<&Range<usize>> {
        let next = self.chain.partition_point(|record| record.start <= at);
        self.chain[..next].last().filter(|record| record.contains(&at))
    }
}

impl<'w> CarveWindow<'w> {
    fn read_u32(&self, at: usize) -> Option<u32> {
        self.bytes.get(at..).and_then(<[u8]>::first_chunk).map(|&four| u32::from_le_bytes(four))
    }

    /// Finds the chunks that begin in the window and whose headers are plausible.
    fn chunks(&self) -> Vec<CarvedChunk> {
        let found = memmem::find_iter(self.bytes, b"ElfChnk\0");
        let found = found.filter_map(|at| {
            // The header's own size, the last record's place, the start of the free space.
            let [size, last, free] = [40, 44, 48].map(|field| self.read_u32(at + field));
            let (last, free) = (last? as usize, free? as usize);
            let plausible = size? == 128 && last < free && (CHUNK_HEADER..=CHUNK).contains(&free);
            plausible.then(|| CarvedChunk {
                at,
                is_live: self.is_live(at),
                chain: self.record_chain(at, free),
            })
        });
        found.take(MOST_CHUNKS + 1).collect()
    }

    /// Returns whether a chunk at this place belongs to the log.
    fn is_live(&self, at: usize) -> bool {
        let offset = self.start + at as u64;
        let in_place = offset >= FILE_HEADER && (offset - FILE_HEADER).is_multiple_of(CHUNK_SIZE);
        in_place && chunk_number(offset) < self.live_chunks
    }

    /// Returns the records of a chunk up to its free space, by their sizes.
    fn record_chain(&self, chunk: usize, free: usize) -> Vec<Range<usize>> {
        let end = (chunk + free).min(self.bytes.len());
        let mut chain = Vec::new();
        let mut at = chunk + CHUNK_HEADER;
        while at < end && self.bytes[at..].starts_with(b"**\0\0") {
            let size = self.read_u32(at + 4).unwrap_or_default() as usize;
            // The size of a header and both size fields. No record is smaller.
            if size < 28 || at + size > end {
                break;
            }
            chain.push(at..at + size);
            at += size;
        }
        chain
    }

    /// Returns whether a record may begin here, by its header, its fragment header, and its size,
    /// which stands at both ends. If one record was made longer to hide others, the size behind the
    /// last of them is the longer one.
    fn may_be_record(&self, at: usize, chunks: &[CarvedChunk]) -> bool {
        let size = self.read_u32(at + 4).unwrap_or_default() as usize;
        let Some(header) = self.bytes.get(at..at + 28) else { return false };
        let ticks =
            header[16..24].first_chunk().map_or(u64::MAX, |&ticks| u64::from_le_bytes(ticks));
        if !(SMALLEST_RECORD..=CHUNK).contains(&size)
            || !is_time(ticks)
            || header[24..] != FRAGMENT_HEADER
        {
            return false;
        }
        let behind = self.read_u32(at + size - 4).map(|size| size as usize);
        let hides = |record: &Range<usize>| record.end == at + size && Some(record.len()) == behind;
        behind == Some(size) || chunks.iter().filter_map(|chunk| chunk.record_around(at)).any(hides)
    }

    /// Returns where the chunk of a record began, if the record contains its own template.
    fn chunk_start_of(&self, record: usize) -> Option<usize> {
        let at = record + TO_TEMPLATE;
        let (id, place) = (self.read_u32(at - 8)?, self.read_u32(at - 4)? as usize);
        // A definition begins with the next one's offset and its GUID. The first part of the GUID
        // is the id.
        let is_template = self.bytes.get(record + 28) == Some(&token::TEMPLATE_INSTANCE)
            && (CHUNK_HEADER..CHUNK).contains(&place)
            && self.read_u32(at + 4)? == id;
        at.checked_sub(place).filter(|_| is_template)
    }
}

/// Selects the records that begin in the piece and were not decoded before.
struct PieceRecords<'p> {
    filter: &'p dyn RecordFilter,
    own: Range<u64>,
    seen: RefCell<BTreeSet<u64>>,
    /// The records of chunks that were decoded before. Chunks may overlap.
    earlier: BTreeSet<u64>,
}

impl PieceRecords<'_> {
    fn is_new(&self, offset: u64) -> bool {
        self.own.contains(&offset) && !self.earlier.contains(&offset)
    }

    /// Marks the records of a finished chunk as decoded.
    fn finish_chunk(&mut self) {
        self.earlier.append(self.seen.get_mut());
    }

    fn record_count(mut self) -> u64 {
        self.finish_chunk();
        self.earlier.len() as u64
    }
}

impl RecordFilter for PieceRecords<'_> {
    fn observe(&self, seen: RecordHeader<'_>) {
        if self.is_new(seen.source.offset) {
            self.seen.borrow_mut().insert(seen.source.offset);
            self.filter.observe(seen);
        }
    }

    fn wants(&self, source: RecordRef, channel: Channel, name: &str, event_id: u32) -> bool {
        self.is_new(source.offset) && self.filter.wants(source, channel, name, event_id)
    }
}

struct Carver<'p> {
    decoder: &'p mut EvtxDecoder,
    window: CarveWindow<'p>,
    input: InputIdx,
    owned: PieceRecords<'p>,
    outcome: DecodeOutcome,
}

impl Carver<'_> {
    fn place(&self, at: usize) -> ChunkPlace {
        ChunkPlace { input: self.input, number: None, start: self.window.start + at as u64 }
    }

    /// Decodes a chunk that no log counts.
    fn decode_chunk(&mut self, chunk: &CarvedChunk, take: &mut impl FnMut(&Record)) {
        let bytes = self.window.bytes;
        let place = self.place(chunk.at);
        if place.start + CHUNK_SIZE <= self.owned.own.start || place.start >= self.owned.own.end {
            return;
        }
        let mut bytes = bytes[chunk.at..bytes.len().min(chunk.at + CHUNK)].to_vec();
        let read = self.decoder.decode_chunk_at(&mut bytes, place, &self.owned, take);
        self.outcome.faults.extend(read.faults);
        self.owned.finish_chunk();
    }

    /// Decodes records that are in no chunk's chain.
    fn decode_leftovers(&mut self, chunks: &[CarvedChunk], take: &mut impl FnMut(&Record)) {
        let window = self.window;
        let in_chain = |at: usize| {
            chunks
                .iter()
                .any(|chunk| chunk.record_around(at).is_some_and(|record| record.start == at))
        };
        let found = memmem::find_iter(window.bytes, b"**\0\0");
        let is_left = |&at: &usize| window.may_be_record(at, chunks) && !in_chain(at);
        let found: Vec<usize> = found.filter(is_left).collect();
        // The places where chunks are or were, by headers, by templates, and by a log's layout.
        let mut bases: BTreeSet<usize> = chunks.iter().map(|chunk| chunk.at).collect();
        bases.extend(found.iter().filter_map(|&at| window.chunk_start_of(at)));
        if window.live_chunks > 0 {
            let first = chunk_number(window.start);
            let starts = (first..)
                .map(chunk_start)
                .take_while(|&at| at < window.start + window.bytes.len() as u64);
            bases
                .extend(starts.filter_map(|at| at.checked_sub(window.start)).map(|at| at as usize));
        }
        let mut of: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
        for &at in found.iter().filter(|&&at| self.owned.own.contains(&(window.start + at as u64)))
        {
            // The nearest header, or else the nearest place where a chunk must have begun.
            let header = chunks.iter().rev().find(|chunk| chunk.contains(at)).map(|chunk| chunk.at);
            let near = at.saturating_sub(CHUNK - 1)..(at + 1).saturating_sub(CHUNK_HEADER);
            let base = header.or_else(|| match near.is_empty() {
                true => None,
                false => bases.range(near).next_back().copied(),
            });
            of.entry(base).or_default().push(at);
        }
        let mut undecoded: Vec<usize> = Vec::new();
        for (base, records) in of {
            let Some(base) = base else {
                undecoded.extend(records);
                continue;
            };
            let bytes = &window.bytes[base..window.bytes.len().min(base + CHUNK)];
            let offsets: Vec<usize> = records.iter().map(|at| at - base).collect();
            let place = self.place(base);
            let decoded =
                self.decoder.decode_leftovers(bytes, place, &offsets, &self.owned, &mut *take);
            self.owned.finish_chunk();
            for (at, decoded) in records.into_iter().zip(decoded) {
                match decoded {
                    true => self.report_hidden(chunks, at),
                    false => undecoded.push(at),
                }
            }
        }
        undecoded.sort_unstable();
        if let Some(&first) = undecoded.first() {
            let reason = format!(
                "the remains of {} records from here on cannot be decoded: the templates they \
                 refer to are overwritten or missing",
                undecoded.len()
            );
            self.add_fault(FaultKind::Remnant, first, reason);
        }
    }

    /// Adds a fault if a decoded record lies inside another one of its chunk.
    fn report_hidden(&mut self, chunks: &[CarvedChunk], at: usize) {
        let around = chunks.iter().find_map(|chunk| chunk.record_around(at));
        if let Some(around) = around {
            let outer = self.window.start + around.start as u64;
            let reason = format!(
                "a whole record inside the one at byte {outer}, which was made longer so that readers \
                 skip it: this is how records are removed from a log"
            );
            self.add_fault(FaultKind::Suspect, at, reason);
        }
    }

    fn add_fault(&mut self, kind: FaultKind, at: usize, reason: String) {
        let bytes = self.window.bytes.get(at + 8..).and_then(<[u8]>::first_chunk);
        self.outcome.faults.push(Fault {
            offset: Some(self.window.start + at as u64),
            record: bytes.map(|&number| u64::from_le_bytes(number)),
            ..Fault::file(kind, reason)
        });
    }
}
