//! Damages whole logs on purpose, and checks that the undamaged parts give the same records as
//! before.
//!
//! A log is damaged in one of the ways of [`DAMAGE`], which says of each chunk afterwards what must
//! come of it. The project's own tests take this file in, too.

#![expect(clippy::ptr_arg, reason = "all ways of damage are of one type")]

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;

use psr_forensics::decode::{Decoder, RecordFilter};
use psr_forensics::error::FaultKind;
use psr_forensics::input::{CHUNK_SIZE, FILE_HEADER, InputReader, Piece, discover, piece_count};
use psr_forensics::model::index::InputIdx;
use psr_forensics::model::{Channel, RecordRef};
use psr_forensics::{Fault, Record};

const HEADER: usize = FILE_HEADER as usize;
const CHUNK: usize = CHUNK_SIZE as usize;
/// The offset of a chunk's first record.
const RECORDS: usize = 512;

/// What a log came to: each chunk's records, their places counted from the chunk's start, and the
/// faults.
#[derive(Debug, Default, PartialEq)]
pub struct Read {
    chunks: BTreeMap<u64, Vec<Record>>,
    faults: Vec<Fault>,
}

struct All;

impl RecordFilter for All {
    fn wants(&self, _: RecordRef, _: Channel, _: &str, _: u32) -> bool {
        true
    }
}

/// Reads a log as the program does.
pub fn read(log: &[u8], folder: &Path) -> Read {
    let path = folder.join("log.evtx");
    fs::write(&path, log).unwrap();
    let input = discover(&[path]).unwrap().remove(0);
    let mut found = Read { faults: input.faults.clone(), ..Read::default() };
    if !input.kind.is_log() {
        return found;
    }
    let (mut reader, mut decoder) = (InputReader::new(&input), Decoder::default());
    let mut piece = Piece::default();
    for _ in 0..piece_count(&input) {
        reader.next(&mut piece).unwrap();
        let tally = decoder.decode_piece(&input, InputIdx::default(), &mut piece, &All, |record| {
            let (chunk, offset) = place(record.source.offset);
            let mut record = record.clone();
            record.source = RecordRef { input: InputIdx::default(), offset, ..record.source };
            found.chunks.entry(chunk).or_default().push(record);
        });
        found.faults.extend(tally.faults);
    }
    found
}

/// Returns the chunk at an offset, and the offset within that chunk.
fn place(offset: u64) -> (u64, u64) {
    let offset = offset - FILE_HEADER;
    (offset / CHUNK_SIZE, offset % CHUNK_SIZE)
}

/// The required result for a chunk.
#[derive(Debug, Clone)]
pub enum Expected {
    /// The same records as of this chunk of the whole log, and no fault that it has not.
    Same(usize),
    /// The same records, and a fault.
    Suspect(usize),
    /// Of this chunk, the records that end before this place, and maybe more.
    Cut(usize, usize),
    /// The same records and faults as the evtx crate gives.
    Sealed,
    /// A fault.
    Fault,
    /// It may read in any way.
    Any,
}

/// The ways in which logs are damaged.
pub const DAMAGE: [(&str, Damage); 12] = [
    ("bits flipped", flip),
    ("bits flipped, checksums put right", flip_and_seal),
    ("a sector of zeroes", zero_sector),
    ("a sector of another place", stale_sector),
    ("cut off", truncate),
    ("bytes missing", remove),
    ("chunks swapped", swap),
    ("a chunk twice", double),
    ("wrong checksum of a chunk", wrong_checksum),
    ("a chunk's header damaged, checksums put right", chunk_header),
    ("a chunk's signature damaged", chunk_magic),
    ("file header damaged", file_header),
];

/// Damages a log, and returns the required result for each of its chunks.
pub type Damage = fn(&mut Vec<u8>, &mut Random) -> Vec<Expected>;

/// Marsaglia's xorshift: the same numbers each run.
pub struct Random(u64);

impl Random {
    /// Creates a generator with this seed.
    pub fn new(seed: u64) -> Random {
        // Seeds that are near each other are to give others from the first number on.
        Random(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Returns a number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % end
    }
}

/// A log that is whole chunks: all of them as they are.
fn untouched(log: &[u8]) -> Vec<Expected> {
    (0..(log.len() - HEADER) / CHUNK).map(Expected::Same).collect()
}

/// Picks a chunk of a log. Returns its number and its offset.
fn pick(log: &[u8], random: &mut Random) -> (usize, Range<usize>) {
    let number = random.below((log.len() - HEADER) / CHUNK);
    let start = HEADER + number * CHUNK;
    (number, start..start + CHUNK)
}

/// Returns the end of a chunk's records, according to its header.
fn records_end(chunk: &[u8]) -> usize {
    let end = u32::from_le_bytes(chunk[48..52].try_into().unwrap()) as usize;
    end.clamp(RECORDS + 1, CHUNK)
}

/// Whether a chunk has checksums.
fn has_checksums(chunk: &[u8]) -> bool {
    chunk.starts_with(b"ElfChnk\0") && chunk[120] & 4 == 0
}

fn flip(log: &mut Vec<u8>, random: &mut Random) -> Vec<Expected> {
    let mut expected = untouched(log);
    let (number, chunk) = pick(log, random);
    let chunk = &mut log[chunk];
    let (kept, end) = (has_checksums(chunk), records_end(chunk));
    let before = chunk.to_vec();
    for _ in 0..=random.below(8) {
        chunk[RECORDS + random.below(end - RECORDS)] ^= 1 << random.below(8);
    }
    if *chunk != before {
        expected[number] = if kept { Expected::Fault } else { Expected::Any };
    }
    expected
}

fn flip_and_seal(log: &mut Vec<u8>, random: &mut Random) -> Vec<Expected> {
    let mut expected = untouched(log);
    let (number, chunk) = pick(log, random);
    let chunk = &mut log[chunk];
    let end = records_end(chunk);
    for _ in 0..=random.below(4) {
        let at = RECORDS + random.below(end - RECORDS);
        chunk[at] = match random.below(3) {
            0 => chunk[at] ^ 1 << random.below(8),
            1 => chunk[at].wrapping_add(1),
            _ => random.below(256) as u8,
        };
    }
    evtx_writer::seal(chunk);
    expected[number] = Expected::Sealed;
    expected
}

fn zero_sector(log: &mut Vec<u8>, random: &mut Random) -> Vec<Expected> {
    let mut expected = untouched(log);
    let (number, chunk) = pick(log, random);
    let sector = 512 * random.below(128);
    log[chunk][sector..sector + 512].fill(0);
    expected[number] = Expected::Any;
    expected
}

fn stale_sector(log: &mut Vec<u8>, random: &mut Random) -> Vec<Expected> {
    let mut expected = untouched(log);
    let (number, chunk) = pick(log, random);
    let (from, to) = (512 * random.below(log.len() / 512), 512 * random.below(128));
    log.copy_within(from..from + 512, chunk.start + to);
    expected[number] = Expected::Any;
    expected
}

fn truncate(log: &mut Vec<u8>, random: &mut Random) -> Vec<Expected> {
    let mut expected = untouched(log);
    let end = random.below(log.len());
    log.truncate(end);
    let rest = end.saturating_sub(HEADER);
    expected.truncate(rest.div_ceil(CHUNK));
    if !rest.is_multiple_of(CHUNK) {
        expected[rest / CHUNK] = Expected::Cut(rest / CHUNK, rest % CHUNK);
    }
    expected
}

fn remove(log: &mut Vec<u8>, random: &mut Random) -> Vec<Expected> {
    let mut expected = untouched(log);
    let start = HEADER + random.below(log.len() - HEADER);
    let end = log.len().min(start + 1 + random.below(4096));
    log.drain(start..end);
    expected[(start - HEADER) / CHUNK..].fill(Expected::Any);
    expected
}

fn swap(log: &mut Vec<u8>, random: &mut Random) -> Vec<Expected> {
    let mut expected = untouched(log);
    let ((a, from), (b, to)) = (pick(log, random), pick(log, random));
    let (first, second) = (log[from.clone()].to_vec(), log[to.clone()].to_vec());
    log[from].copy_from_slice(&second);
    log[to].copy_from_slice(&first);
    expected.swap(a, b);
    expected
}

fn double(log: &mut Vec<u8>, random: &mut Random) -> Vec<Expected> {
    let mut expected = untouched(log);
    let ((a, from), (b, to)) = (pick(log, random), pick(log, random));
    let copy = log[from].to_vec();
    log.splice(to.start..to.start, copy);
    expected.insert(b, Expected::Same(a));
    expected
}

fn wrong_checksum(log: &mut Vec<u8>, random: &mut Random) -> Vec<Expected> {
    let mut expected = untouched(log);
    let (number, chunk) = pick(log, random);
    let chunk = &mut log[chunk];
    // The records' checksum is part of what the header's is made of.
    chunk[[52, 124][random.below(2)] + random.below(4)] ^= 1 << random.below(8);
    expected[number] = match chunk.starts_with(b"ElfChnk\0") {
        true if has_checksums(chunk) => Expected::Suspect(number),
        true => Expected::Same(number),
        // Unused space that is not empty any more.
        false => Expected::Any,
    };
    expected
}

fn chunk_header(log: &mut Vec<u8>, random: &mut Random) -> Vec<Expected> {
    let mut expected = untouched(log);
    let (number, chunk) = pick(log, random);
    let chunk = &mut log[chunk];
    for _ in 0..=random.below(4) {
        chunk[8 + random.below(RECORDS - 8)] = random.below(256) as u8;
    }
    evtx_writer::seal(chunk);
    expected[number] = Expected::Sealed;
    expected
}

fn chunk_magic(log: &mut Vec<u8>, random: &mut Random) -> Vec<Expected> {
    let mut expected = untouched(log);
    let (number, chunk) = pick(log, random);
    let chunk = &mut log[chunk];
    let was_empty = chunk.iter().all(|&byte| byte == 0);
    chunk[random.below(8)] ^= 1 << random.below(8);
    expected[number] = if was_empty { Expected::Any } else { Expected::Fault };
    expected
}

fn file_header(log: &mut Vec<u8>, random: &mut Random) -> Vec<Expected> {
    let expected = untouched(log);
    let first = log[HEADER..].starts_with(b"ElfChnk\0");
    match random.below(3) {
        0 if first => log[..HEADER].fill(0),
        1 if first => log[random.below(8)] ^= 1 << random.below(8),
        _ => (0..=random.below(16)).for_each(|_| {
            log[8 + random.below(HEADER - 8)] = random.below(256) as u8;
        }),
    }
    expected
}

/// What the evtx crate makes of a chunk, as the decoder gives it all chunks with a wrong checksum;
/// none where it depends on the checksum, in which a damaged name may stand.
fn by_crate(chunk: &[u8], folder: &Path) -> Option<(Vec<Record>, Vec<Loss>)> {
    let verdict = |wrong: usize| {
        let mut log = vec![0; HEADER];
        log[..8].copy_from_slice(b"ElfFile\0");
        log.extend(chunk);
        log[HEADER + wrong] ^= 1;
        let mut found = read(&log, folder);
        (found.chunks.remove(&0).unwrap_or_default(), losses(&found.faults, 0))
    };
    Some(verdict(124)).filter(|first| *first == verdict(126))
}

/// What a fault costs, where in its chunk it is, and its record's number. Its reason names the
/// chunk.
type Loss = (FaultKind, Option<u64>, Option<u64>);

/// The faults of a chunk but that of its header's checksum.
fn losses(faults: &[Fault], chunk: usize) -> Vec<Loss> {
    let mine = faults.iter().filter(|fault| fault.chunk == Some(chunk as u64));
    let others = mine.filter(|fault| fault.reason != "wrong checksum of the chunk header");
    let loss = |fault: &Fault| (fault.kind, fault.offset.map(|at| place(at).1), fault.record);
    others.map(loss).collect()
}

/// Checks what came of a damaged log, and returns how many records were the same.
pub fn check(
    log: &[u8],
    whole: &Read,
    found: &Read,
    expected: &[Expected],
    folder: &Path,
) -> usize {
    let none = Vec::new();
    let records = |read: &'_ Read, chunk: usize| read.chunks.get(&(chunk as u64)).cloned();
    let of = |read: &Read, chunk: usize| records(read, chunk).unwrap_or_else(|| none.clone());
    let faults = |read: &Read, chunk: usize| {
        read.faults.iter().filter(|fault| fault.chunk == Some(chunk as u64)).count()
    };
    let mut same = 0;
    for (chunk, expected) in expected.iter().enumerate() {
        match *expected {
            Expected::Same(before) => {
                assert_eq!(of(found, chunk), of(whole, before), "chunk {chunk}");
                assert_eq!(faults(found, chunk), faults(whole, before), "chunk {chunk}");
                same += of(found, chunk).len();
            }
            Expected::Suspect(before) => {
                assert_eq!(of(found, chunk), of(whole, before), "chunk {chunk}");
                let suspect = |fault: &&Fault| {
                    fault.chunk == Some(chunk as u64) && fault.kind == FaultKind::Suspect
                };
                assert!(found.faults.iter().any(|fault| suspect(&fault)), "chunk {chunk}");
                same += of(found, chunk).len();
            }
            Expected::Cut(before, end) => {
                let (whole, here) = (of(whole, before), of(found, chunk));
                let start = HEADER + chunk * CHUNK;
                let ends = |record: &&Record| {
                    let at = start + record.source.offset as usize;
                    let size = log.get(at + 4..at + 8).and_then(|size| size.try_into().ok());
                    size.is_some_and(|size| {
                        record.source.offset as usize + u32::from_le_bytes(size) as usize <= end
                    })
                };
                let kept: Vec<Record> = whole.iter().filter(ends).cloned().collect();
                assert!(here.starts_with(&kept), "chunk {chunk}, cut at {end}");
                assert!(
                    whole.is_empty() || faults(found, chunk) > 0,
                    "chunk {chunk}, cut at {end}"
                );
                same += kept.len();
            }
            Expected::Sealed => {
                let start = HEADER + chunk * CHUNK;
                if let Some((records, faults)) = by_crate(&log[start..start + CHUNK], folder) {
                    let here = of(found, chunk);
                    assert_eq!(losses(&found.faults, chunk), faults, "chunk {chunk}");
                    assert_eq!(here.len(), records.len(), "chunk {chunk}");
                    let differs = here.iter().zip(&records).find(|(here, record)| here != record);
                    assert_eq!(differs, None, "chunk {chunk}");
                }
            }
            Expected::Fault => assert!(faults(found, chunk) > 0, "chunk {chunk} has no fault"),
            Expected::Any => {}
        }
    }
    same
}

/// Logs of whole chunks below a folder.
pub fn logs(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in walkdir::WalkDir::new(folder).sort_by_file_name().into_iter().flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "evtx") {
            let mut log = fs::read(entry.path()).unwrap();
            let chunks = log.len().saturating_sub(HEADER) / CHUNK;
            log.truncate(HEADER + chunks * CHUNK);
            if chunks > 0 {
                found.push((entry.path().file_name().unwrap().to_string_lossy().into(), log));
            }
        }
    }
    found
}
