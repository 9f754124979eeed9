//! The header of an EVTX file: what Windows says of the log as a whole.

use std::io::{self, Read};

use flate2::Crc;
use serde::Serialize;

use super::Input;

/// Bytes of the header that its checksum is of.
const CHECKED: usize = 120;
/// Bytes of the header that hold something.
const SIZE: usize = 128;

/// What the header of an EVTX file says ([libevtx's description of the format][format]).
///
/// [format]: https://github.com/libyal/libevtx/blob/main/documentation/Windows%20XML%20Event%20Log%20(EVTX).asciidoc
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FileHeader {
    /// Whether the log was not closed: copied while in use, or after a crash. The header's numbers
    /// may lag behind then.
    pub dirty: bool,
    /// Whether Windows marked it as full.
    pub full: bool,
    /// The number that the next record would have had.
    pub next_record: u64,
    /// Chunks in use.
    pub chunks: u16,
    /// Whether its checksum is right.
    pub checksum_ok: bool,
}

impl FileHeader {
    fn of(bytes: &[u8; SIZE]) -> FileHeader {
        let number = |at: usize, size: usize| {
            let bytes = bytes[at..at + size].iter().rev();
            bytes.fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
        };
        let mut crc = Crc::new();
        crc.update(&bytes[..CHECKED]);
        let flags = number(120, 4);
        FileHeader {
            dirty: flags & 1 != 0,
            full: flags & 2 != 0,
            next_record: number(24, 8),
            chunks: number(42, 2) as u16,
            checksum_ok: u64::from(crc.sum()) == number(124, 4),
        }
    }
}

/// The header of an EVTX file; none of a file that has none.
///
/// # Errors
/// When the file cannot be read.
pub fn file_header(input: &Input) -> io::Result<Option<FileHeader>> {
    if input.kind != super::InputKind::Evtx {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    input.source.open()?.take(SIZE as u64).read_to_end(&mut bytes)?;
    Ok(bytes.first_chunk().map(FileHeader::of))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_the_format_has_them() {
        let mut bytes = [0_u8; SIZE];
        bytes[..8].copy_from_slice(b"ElfFile\0");
        bytes[24..32].copy_from_slice(&48_822_u64.to_le_bytes());
        bytes[42..44].copy_from_slice(&5_u16.to_le_bytes());
        bytes[120..124].copy_from_slice(&3_u32.to_le_bytes());
        let header = FileHeader::of(&bytes);
        let expected = FileHeader {
            dirty: true,
            full: true,
            next_record: 48_822,
            chunks: 5,
            checksum_ok: false,
        };
        assert_eq!(header, expected);
    }
}
