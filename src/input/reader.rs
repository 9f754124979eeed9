//! Reads a log once, from its first byte to its last, and hashes it on the way. Also reads single
//! places of logs again.

use std::io::{self, Read, Seek, SeekFrom};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::source::OpenInput;
use super::text::{PieceText, TextSplitter};
use super::{CHUNK_SIZE, Input, InputKind};
use crate::hex::hex;
use crate::limits::{Limit, Limits};
use crate::model::InputIdx;

/// Chunks in a piece of an EVTX log.
const CHUNKS: u64 = 32;
/// Bytes of a file that a piece is made of: 2 MiB.
const PIECE: u64 = CHUNKS * CHUNK_SIZE;

/// A piece of a log: as much as is read and decoded at a time.
#[derive(Debug, Default)]
pub struct Piece {
    /// The offset in the file where the piece begins.
    pub start: u64,
    /// Bytes of the file that were read.
    pub length: u64,
    /// The chunks of an EVTX log.
    pub chunks: Vec<Vec<u8>>,
    /// The bytes in which records are searched for, from `window_start` on: the piece, and one
    /// chunk's size more at both ends.
    pub window: Vec<u8>,
    /// The offset in the file where the window begins.
    pub window_start: u64,
    /// The values of a text log, the first of which may begin in an earlier piece.
    pub text: PieceText,
}

impl Piece {
    /// Empties the piece except for its chunks, whose buffers are used again.
    fn begin(&mut self) {
        self.length = 0;
        self.window.clear();
        self.chunks.resize_with(CHUNKS as usize, Vec::new);
        self.text.bytes.clear();
        self.text.parts.clear();
    }

    fn clear(&mut self) {
        self.begin();
        self.chunks.iter_mut().for_each(Vec::clear);
    }
}

/// Returns how many pieces [`InputReader::next`] reads of an input. An empty input has one, so that
/// it is hashed.
pub fn piece_count(input: &Input) -> u64 {
    input.size.saturating_sub(input.kind.header_size()).div_ceil(PIECE).max(1)
}

/// The extent to which an input was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadExtent {
    /// From its first byte to its last.
    Whole,
    /// A part of it, because reading failed or the run was interrupted.
    Partly,
    /// None of it.
    Nothing,
}

/// The outcome of reading a log.
#[derive(Debug, PartialEq, Eq)]
pub enum ReadEnd {
    /// It was read to its last byte. Holds the SHA-256 of the whole file, lower-case hex.
    Whole(String),
    /// Some of it could not be read. Holds the reason.
    Failed(String),
    /// The run stopped reading at this offset.
    Interrupted(u64),
}

/// Reads a log piece by piece. The file is open from the first piece to the last.
pub struct InputReader<'i> {
    input: &'i Input,
    file: Option<OpenInput>,
    position: u64,
    /// The offset up to which the file could be read.
    reached: u64,
    hash: Result<Sha256, String>,
    cutter: Option<TextSplitter>,
    raw: Vec<u8>,
    header: Vec<u8>,
}

impl<'i> InputReader<'i> {
    /// Creates a reader at the start of a log, with the default limits.
    pub fn new(input: &'i Input) -> InputReader<'i> {
        InputReader::with_limits(input, &Limits::default())
    }

    /// Creates a reader at the start of a log, with these limits.
    pub fn with_limits(input: &'i Input, limits: &Limits) -> InputReader<'i> {
        let longest = limits.get(Limit::RecordBytes);
        let cutter = || TextSplitter::new(input.kind, input.encoding, 0, longest);
        let cutter = input.kind.is_text().then(cutter);
        let hash = Ok(Sha256::new());
        let (raw, header) = (Vec::new(), Vec::new());
        InputReader { input, file: None, position: 0, reached: 0, hash, cutter, raw, header }
    }

    /// Reads the next piece. The first piece begins after the file header.
    ///
    /// # Errors
    /// When the file cannot be read or ends before its recorded size. The piece then holds the
    /// bytes that could be read, and the rest of its range is skipped.
    pub fn next(&mut self, piece: &mut Piece) -> io::Result<()> {
        let end = self.input.size;
        match self.input.kind.is_evtx() && self.position < end {
            true => piece.begin(),
            false => piece.clear(),
        }
        let from = self.position.max(self.input.kind.header_size()).min(end);
        let to = end.min(from + PIECE);
        piece.start = from;
        piece.length = to - from;
        if self.position == end {
            return Ok(());
        }
        let read = match &mut self.cutter {
            None if self.input.kind == InputKind::Recovered => self.read_window(from, to, piece),
            None => self.read_blocks(from, to, &mut piece.chunks, CHUNK_SIZE),
            Some(_) => self.read_text(from, to, &mut piece.text),
        };
        self.position = to;
        if let Err(error) = &read {
            self.hash = Err(error.to_string());
            piece.length = self.reached.saturating_sub(from);
            // Nothing can be read past the end of a file, but something may be past an unreadable
            // place.
            if error.kind() == io::ErrorKind::UnexpectedEof {
                self.position = end;
            }
        }
        if self.position == end {
            self.file = None;
            self.raw = Vec::new();
        }
        read
    }

    fn read_text(&mut self, from: u64, to: u64, text: &mut PieceText) -> io::Result<()> {
        let mut raw = std::mem::take(&mut self.raw);
        let read = self.read_blocks(from, to, std::slice::from_mut(&mut raw), PIECE);
        if let Some(cutter) = &mut self.cutter {
            cutter.push(&raw, to == self.input.size || read.is_err(), text);
        }
        self.raw = raw;
        read
    }

    fn read_window(&mut self, from: u64, to: u64, piece: &mut Piece) -> io::Result<()> {
        self.reached = from;
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(self.input.source.open()?),
        };
        let read = fill_window(file, from, to, self.input.size, piece);
        let window = piece.window_start..piece.window_start + piece.window.len() as u64;
        self.reached = window.end.clamp(from, to);
        read?;
        if let Ok(hash) = &mut self.hash {
            let [from, to] = [from, self.reached].map(|at| (at - window.start) as usize);
            hash.update(&piece.window[from..to]);
        }
        if window.end < to {
            let reason = "the file became shorter while it was read";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, reason));
        }
        Ok(())
    }

    /// Moves to an offset after the part that was read. The file header is read on the way.
    fn seek_to(&mut self, from: u64) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(self.input.source.open()?),
        };
        if self.position < from {
            file.take(from - self.position).read_to_end(&mut self.header)?;
            if let Ok(hash) = &mut self.hash {
                hash.update(&self.header);
            }
        } else if self.hash.is_err() {
            file.seek(SeekFrom::Start(from))?;
        }
        Ok(())
    }

    /// Reads blocks of a size into these buffers. Buffers for which no bytes are left become empty.
    fn read_blocks(
        &mut self,
        from: u64,
        to: u64,
        blocks: &mut [Vec<u8>],
        size: u64,
    ) -> io::Result<()> {
        self.reached = from;
        let mut read = self.seek_to(from);
        let mut left = to - from;
        for block in blocks {
            let (Ok(()), Some(file)) = (&read, &mut self.file) else {
                block.clear();
                continue;
            };
            let wanted = left.min(size);
            block.resize(wanted as usize, 0);
            read = file.fill_block(block);
            self.reached += block.len() as u64;
            if read.is_ok() && (block.len() as u64) < wanted {
                let reason = "the file became shorter while it was read";
                read = Err(io::Error::new(io::ErrorKind::UnexpectedEof, reason));
            }
            if let (Ok(()), Ok(hash)) = (&read, &mut self.hash) {
                hash.update(&*block);
            }
            left -= wanted;
        }
        read
    }

    /// Returns the file header of an EVTX log, once it was read.
    pub fn header(&self) -> &[u8] {
        &self.header
    }

    /// Returns how the reading ended.
    pub fn end(&self) -> ReadEnd {
        match &self.hash {
            Err(reason) => ReadEnd::Failed(reason.clone()),
            Ok(_) if self.position < self.input.size => ReadEnd::Interrupted(self.position),
            Ok(hash) => ReadEnd::Whole(hex(&hash.clone().finalize())),
        }
    }
}

/// Fills a piece's window with the bytes from `from` to `to` and those around them.
fn fill_window(
    file: &mut OpenInput,
    from: u64,
    to: u64,
    size: u64,
    piece: &mut Piece,
) -> io::Result<()> {
    piece.window_start = from.saturating_sub(CHUNK_SIZE);
    file.seek(SeekFrom::Start(piece.window_start))?;
    let length = to.saturating_add(CHUNK_SIZE).min(size) - piece.window_start;
    file.take(length).read_to_end(&mut piece.window).map(drop)
}

/// Reads single places of logs again.
pub struct PlaceReader {
    longest: u64,
    /// The log read last, with the index of its input.
    file: Option<(InputIdx, OpenInput)>,
    raw: Vec<u8>,
}

/// Bytes of a text that are read first for a record. Most records are smaller.
const FIRST_READ: u64 = 8 << 10;

impl Default for PlaceReader {
    fn default() -> PlaceReader {
        PlaceReader::with_limits(&Limits::default())
    }
}

impl PlaceReader {
    /// Creates a reader that applies the same limits as the run.
    pub fn with_limits(limits: &Limits) -> PlaceReader {
        PlaceReader { longest: limits.get(Limit::RecordBytes), file: None, raw: Vec::new() }
    }

    /// Fills a piece with the data at an offset of an input: the chunk of an EVTX log that begins
    /// there, the value of a text log, or the recovered record.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(
        &mut self,
        index: InputIdx,
        input: &Input,
        place: u64,
        piece: &mut Piece,
    ) -> io::Result<()> {
        piece.clear();
        piece.start = place;
        let PlaceReader { longest, file, raw } = self;
        let file = match file {
            Some((known, file)) if *known == index => file,
            other => &mut other.insert((index, input.source.open()?)).1,
        };
        if input.kind == InputKind::Recovered {
            if place >= input.size {
                return Ok(());
            }
            piece.length = 1;
            return fill_window(file, place, place + 1, input.size, piece);
        }
        file.seek(SeekFrom::Start(place))?;
        if !input.kind.is_text() {
            if let Some(chunk) = piece.chunks.first_mut() {
                file.take(CHUNK_SIZE).read_to_end(chunk)?;
            }
            return Ok(());
        }
        let mut cutter = TextSplitter::new(input.kind, input.encoding, place, *longest);
        let mut size = FIRST_READ;
        while piece.text.parts.is_empty() {
            raw.clear();
            let read = file.take(size).read_to_end(raw)? as u64;
            cutter.push(raw, read < size, &mut piece.text);
            if read < size {
                break;
            }
            size = PIECE.min(2 * size);
        }
        piece.text.parts.truncate(1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{FILE_HEADER, discover};

    #[test]
    fn blocks_follow_the_header_and_the_hash_is_the_files() {
        let folder = tempfile::tempdir().unwrap();
        // A million times "a": FIPS 180-2, appendix B.3.
        let path = folder.path().join("a");
        std::fs::write(&path, vec![b'a'; 1_000_000]).unwrap();
        let mut inputs = discover(&[path]).unwrap();
        inputs[0].kind = InputKind::Evtx;
        let mut reader = InputReader::new(&inputs[0]);
        let mut blocks = vec![Vec::new(); 2];
        let mut next = |reader: &mut InputReader, from, to| {
            blocks.iter_mut().for_each(Vec::clear);
            reader.read_blocks(from, to, &mut blocks, 300_000).unwrap();
            reader.position = to;
            (blocks[0].len(), blocks[1].len())
        };
        assert_eq!(next(&mut reader, 4096, 604_096), (300_000, 300_000));
        assert_eq!(next(&mut reader, 604_096, 1_000_000), (300_000, 95_904));
        const MILLION_A: &str = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
        assert_eq!(reader.end(), ReadEnd::Whole(MILLION_A.to_owned()));
        let mut reader = InputReader::new(&inputs[0]);
        let mut piece = Piece::default();
        reader.next(&mut piece).unwrap();
        assert_eq!((piece.start, piece.length, piece.chunks[0].len()), (4096, 995_904, 65_536));
        assert_eq!(reader.end(), ReadEnd::Whole(MILLION_A.to_owned()));
    }

    #[test]
    fn a_file_that_shrinks_is_lost_from_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, vec![0; 5_000_000]).unwrap();
        let mut inputs = discover(std::slice::from_ref(&path)).unwrap();
        inputs[0].kind = InputKind::Evtx;
        std::fs::write(&path, vec![0; 2_500_000]).unwrap();
        let mut reader = InputReader::new(&inputs[0]);
        let mut piece = Piece::default();
        assert_eq!(piece_count(&inputs[0]), 3);
        assert!(reader.next(&mut piece).is_ok());
        assert_eq!(piece.chunks.concat().len() as u64, PIECE);
        assert!(reader.next(&mut piece).is_err());
        // Nothing is left of what was in the piece before.
        assert_eq!(piece.chunks.concat().len() as u64, 2_500_000 - FILE_HEADER - PIECE);
        assert_eq!(piece.length, 2_500_000 - FILE_HEADER - PIECE);
        assert!(reader.next(&mut piece).is_ok(), "the end is told once");
        assert!(piece.chunks.concat().is_empty());
        assert!(matches!(reader.end(), ReadEnd::Failed(reason) if reason.contains("shorter")));
    }

    #[test]
    fn a_value_is_found_again_by_its_offset() {
        let folder = tempfile::tempdir().unwrap();
        let long = "x".repeat(3 << 20);
        let first = format!("{{\"EventID\":1,\"long\":\"{long}\"}}");
        let path = folder.path().join("a");
        std::fs::write(&path, format!("{first}\n{{\"EventID\":2}}\n")).unwrap();
        let input = &discover(&[path]).unwrap()[0];
        let (mut again, mut piece) = (PlaceReader::default(), Piece::default());
        for (place, value) in [(first.len() as u64 + 1, "{\"EventID\":2}"), (0, &*first)] {
            again.read(InputIdx::default(), input, place, &mut piece).unwrap();
            let [part] = &piece.text.parts[..] else { panic!("{:?}", piece.text.parts) };
            assert_eq!((part.offset, piece.text.part_bytes(part)), (place, value.as_bytes()));
        }
    }
}
