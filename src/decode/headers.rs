//! The headers of an EVTX file and of its chunks. Records are read without them. Whether the
//! headers agree is checked elsewhere.
//!
//! Offsets and flags are those of libevtx's description of the format ("Windows XML Event Log
//! (EVTX)", sections 2 and 3) and of the evtx crate.

use serde::{Deserialize, Serialize};

use crate::input::{CHUNK_SIZE, EvtxFileHeader, FILE_HEADER, Piece};

/// The headers of an EVTX file and of its chunks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvtxHeaders {
    /// The file's header. `None` if it has no readable one.
    pub file: Option<EvtxFileHeader>,
    /// The headers of the chunks that hold records, in the order of the file.
    pub chunks: Vec<ChunkRange>,
}

/// The fields of a chunk's header that order chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRange {
    /// The chunk's number in its file, from 0, by its place.
    pub number: u64,
    /// The number of its first record.
    pub first: u64,
    /// The number of its last record.
    pub last: u64,
}

impl ChunkRange {
    /// Reads the header of a chunk. Returns `None` if the bytes are not a chunk or it has no
    /// record.
    pub fn read(number: u64, bytes: &[u8]) -> Option<ChunkRange> {
        if !bytes.starts_with(b"ElfChnk\0") {
            return None;
        }
        let first = u64::from_le_bytes(array(bytes, 8)?);
        let last = u64::from_le_bytes(array(bytes, 16)?);
        (first <= last && last != u64::MAX).then_some(ChunkRange { number, first, last })
    }

    /// Reads the headers of the chunks in a piece of a log.
    pub fn read_all(piece: &Piece) -> Vec<ChunkRange> {
        let number = piece.start.saturating_sub(FILE_HEADER) / CHUNK_SIZE;
        let chunks = piece.chunks.iter().filter(|chunk| !chunk.is_empty());
        (number..)
            .zip(chunks)
            .filter_map(|(number, bytes)| ChunkRange::read(number, bytes))
            .collect()
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use evtx_writer::{EvtxEvent, FileTime, LogWriter};

    use super::*;

    #[test]
    fn headers_say_what_was_written() {
        let mut log = LogWriter::new();
        let time = FileTime::from_unix(1_773_522_847, 0);
        for record_id in 5..1005 {
            log.push(&EvtxEvent { record_id, time, ..EvtxEvent::default() }).unwrap();
        }
        let bytes = log.finish();
        let file = EvtxFileHeader::read(&bytes).unwrap();
        let chunks = (bytes.len() as u64 - FILE_HEADER) / CHUNK_SIZE;
        let expected = EvtxFileHeader {
            dirty: false,
            full: false,
            first_chunk: 0,
            next_record: 1005,
            chunks: chunks as u16,
            checksum_ok: true,
        };
        assert_eq!(file, expected);
        let at = |number: u64| &bytes[(FILE_HEADER + number * CHUNK_SIZE) as usize..];
        let read: Vec<_> = (0..chunks).filter_map(|n| ChunkRange::read(n, at(n))).collect();
        assert_eq!((read[0].number, read[0].first), (0, 5));
        assert!(read.windows(2).all(|pair| pair[1].first == pair[0].last + 1));
        assert_eq!(read.last().unwrap().last, 1004);
        let mut flipped = bytes[..4096].to_vec();
        flipped[24] ^= 1;
        assert!(!EvtxFileHeader::read(&flipped).unwrap().checksum_ok);
        // Flag 4: no checksum was to be written.
        flipped[120] = 4;
        assert!(EvtxFileHeader::read(&flipped).unwrap().checksum_ok);
        assert_eq!(EvtxFileHeader::read(b"ElfFile\0"), None);
        assert_eq!(ChunkRange::read(0, &[0; 512]), None);
    }
}
