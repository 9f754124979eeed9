//! The header of an EVTX file, which describes the log as a whole.

use std::io::{self, Read};

use flate2::Crc;
use serde::{Deserialize, Serialize};

use super::Input;

/// Bytes of the header that its checksum covers.
const CHECKED: usize = 120;
/// Bytes of the header that are in use.
const SIZE: usize = 128;

/// Flags of a log: not closed; full; without checksums.
const DIRTY: u32 = 1;
const FULL: u32 = 2;
const NO_CHECKSUM: u32 = 4;

/// The header of an EVTX file ([libevtx's description of the format][format]).
///
/// [format]: https://github.com/libyal/libevtx/blob/main/documentation/Windows%20XML%20Event%20Log%20(EVTX).asciidoc
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvtxFileHeader {
    /// Whether the log was not closed: it was copied while in use, or after a crash. The header's
    /// numbers may then be out of date.
    pub dirty: bool,
    /// Whether Windows marked it as full.
    pub full: bool,
    /// The number of the chunk with the oldest records.
    pub first_chunk: u64,
    /// The number that the next record would have received.
    pub next_record: u64,
    /// Chunks in use.
    pub chunks: u16,
    /// Whether its checksum is right, or the log has none.
    pub checksum_ok: bool,
}

impl EvtxFileHeader {
    /// Reads the header at the start of a file. Returns `None` if the bytes are too short or not a
    /// log.
    pub fn read(bytes: &[u8]) -> Option<EvtxFileHeader> {
        if !bytes.starts_with(b"ElfFile\0") {
            return None;
        }
        let flags = u32::from_le_bytes(array(bytes, 120)?);
        let mut crc = Crc::new();
        crc.update(bytes.get(..CHECKED)?);
        Some(EvtxFileHeader {
            dirty: flags & DIRTY != 0,
            full: flags & FULL != 0,
            first_chunk: u64::from_le_bytes(array(bytes, 8)?),
            next_record: u64::from_le_bytes(array(bytes, 24)?),
            chunks: u16::from_le_bytes(array(bytes, 42)?),
            checksum_ok: flags & NO_CHECKSUM != 0
                || crc.sum() == u32::from_le_bytes(array(bytes, 124)?),
        })
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// Reads the header of an EVTX file. Returns `None` for other files.
///
/// # Errors
/// When the file cannot be read.
pub fn file_header(input: &Input) -> io::Result<Option<EvtxFileHeader>> {
    if input.kind != super::InputKind::Evtx {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    input.source.open()?.take(SIZE as u64).read_to_end(&mut bytes)?;
    Ok(EvtxFileHeader::read(&bytes))
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
        bytes[8..16].copy_from_slice(&2_u64.to_le_bytes());
        let header = EvtxFileHeader::read(&bytes);
        let expected = EvtxFileHeader {
            dirty: true,
            full: true,
            first_chunk: 2,
            next_record: 48_822,
            chunks: 5,
            checksum_ok: false,
        };
        assert_eq!(header, Some(expected));
    }
}
