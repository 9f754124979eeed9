/// Size of the file header's block.
pub(crate) const FILE_HEADER_SIZE: usize = 4096;
/// Size of a chunk.
pub(crate) const CHUNK_SIZE: usize = 65536;
/// Size of a chunk's header with its string and template tables: where records begin.
pub(crate) const CHUNK_HEADER_SIZE: usize = 512;
/// Where a chunk's string table begins.
const STRING_TABLE: usize = 128;
/// Where a chunk's template table begins.
const TEMPLATE_TABLE: usize = 384;
/// Both headers: the part in use, and where their checksum lies.
const USED_SIZE: u32 = 128;
const CHECKSUM: usize = 124;
/// Flags of a chunk; their meaning is unknown, and Windows always writes this.
const CHUNK_FLAGS: u32 = 1;

/// The fields of the file header that describe its chunks.
pub(crate) struct FileHeaderFields {
    pub chunks: u16,
    pub next_record_number: u64,
}

impl FileHeaderFields {
    pub fn to_bytes(&self) -> [u8; FILE_HEADER_SIZE] {
        let mut out = [0; FILE_HEADER_SIZE];
        out[..8].copy_from_slice(b"ElfFile\0");
        // The first chunk's number stays 0: these logs never wrap.
        put(&mut out, 16, u64::from(self.chunks.saturating_sub(1)).to_le_bytes());
        put(&mut out, 24, self.next_record_number.to_le_bytes());
        put(&mut out, 32, USED_SIZE.to_le_bytes());
        put(&mut out, 36, 1u16.to_le_bytes()); // minor version
        put(&mut out, 38, 3u16.to_le_bytes()); // major version
        put(&mut out, 40, (FILE_HEADER_SIZE as u16).to_le_bytes());
        put(&mut out, 42, self.chunks.to_le_bytes());
        let checksum = crc([&out[..120]]);
        put(&mut out, CHECKSUM, checksum.to_le_bytes());
        out
    }
}

/// The fields of a chunk header that describe its records.
pub(crate) struct ChunkHeaderFields<'a> {
    pub first_number: u64,
    pub last_number: u64,
    pub last_record: u32,
    pub strings: &'a [u32; 64],
    pub templates: &'a [u32; 32],
}

impl ChunkHeaderFields<'_> {
    /// Fills the header of `chunk`, whose records end at its end, and pads it to its full size.
    pub fn complete(&self, chunk: &mut Vec<u8>) {
        let free = chunk.len();
        chunk.resize(CHUNK_SIZE, 0);
        put(chunk, 0, *b"ElfChnk\0");
        for (offset, number) in [
            (8, self.first_number),
            (16, self.last_number),
            (24, self.first_number),
            (32, self.last_number),
        ] {
            put(chunk, offset, number.to_le_bytes());
        }
        put(chunk, 40, USED_SIZE.to_le_bytes());
        put(chunk, 44, self.last_record.to_le_bytes());
        put(chunk, 48, (free as u32).to_le_bytes());
        let records = crc([&chunk[CHUNK_HEADER_SIZE..free]]);
        put(chunk, 52, records.to_le_bytes());
        put(chunk, 120, CHUNK_FLAGS.to_le_bytes());
        let tables = [(STRING_TABLE, &self.strings[..]), (TEMPLATE_TABLE, &self.templates[..])];
        for (start, heads) in tables {
            for (i, head) in heads.iter().enumerate() {
                put(chunk, start + 4 * i, head.to_le_bytes());
            }
        }
        let header = crc([&chunk[..120], &chunk[STRING_TABLE..CHUNK_HEADER_SIZE]]);
        put(chunk, CHECKSUM, header.to_le_bytes());
    }
}

/// Puts a chunk's checksums right after its bytes were changed, for tests of damage that no checksum
/// tells. Bytes that are no whole chunk stay as they are, and so does the records' checksum where
/// the header does not say where they end.
///
/// ```
/// # use evtx_writer::{EvtxEvent, LogWriter, seal};
/// let mut log = LogWriter::new();
/// log.push(&EvtxEvent::default())?;
/// let whole = log.finish();
/// let mut chunk = whole[4096..].to_vec();
/// chunk[52..56].fill(0);
/// chunk[124..128].fill(0);
/// seal(&mut chunk);
/// assert_eq!(chunk, whole[4096..]);
/// # Ok::<(), evtx_writer::Error>(())
/// ```
pub fn seal(chunk: &mut [u8]) {
    if chunk.len() != CHUNK_SIZE {
        return;
    }
    let free = u32::from_le_bytes([chunk[48], chunk[49], chunk[50], chunk[51]]);
    if let Some(records) = chunk.get(CHUNK_HEADER_SIZE..free as usize) {
        let records = crc([records]);
        put(chunk, 52, records.to_le_bytes());
    }
    let header = crc([&chunk[..120], &chunk[STRING_TABLE..CHUNK_HEADER_SIZE]]);
    put(chunk, CHECKSUM, header.to_le_bytes());
}

/// Overwrites bytes at `offset`.
pub(crate) fn put<const N: usize>(out: &mut [u8], offset: usize, bytes: [u8; N]) {
    out[offset..offset + N].copy_from_slice(&bytes);
}

fn crc<const N: usize>(parts: [&[u8]; N]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_header_bytes() {
        // As Windows wrote it for a log of one chunk and one record.
        let out = FileHeaderFields { chunks: 1, next_record_number: 2 }.to_bytes();
        assert_eq!(out[..8], *b"ElfFile\0");
        assert_eq!(out[8..24], [0; 16]); // first and last chunk
        assert_eq!(out[24..32], [2, 0, 0, 0, 0, 0, 0, 0]); // next record
        assert_eq!(out[32..44], [0x80, 0, 0, 0, 1, 0, 3, 0, 0, 0x10, 1, 0]); // size, 3.1, 4096, chunks
        assert_eq!(out[44..124], [0; 80]); // unused, flags
        assert_eq!(out[124..128], [0x10, 0x18, 0xff, 0xd0]); // checksum
        assert!(out[128..].iter().all(|&b| b == 0));
    }

    #[test]
    fn chunk_header_bytes() {
        let mut strings = [0; 64];
        strings[58] = 0x24d;
        let mut templates = [0; 32];
        templates[3] = 0x226;
        let header = ChunkHeaderFields {
            first_number: 5,
            last_number: 7,
            last_record: 512,
            strings: &strings,
            templates: &templates,
        };
        let mut chunk = vec![0; CHUNK_HEADER_SIZE];
        chunk.extend(b"records");
        header.complete(&mut chunk);

        assert_eq!(chunk.len(), CHUNK_SIZE);
        assert_eq!(chunk[..8], *b"ElfChnk\0");
        for (offset, number) in [(8, 5), (16, 7), (24, 5), (32, 7)] {
            assert_eq!(chunk[offset..offset + 8], [number, 0, 0, 0, 0, 0, 0, 0]);
        }
        assert_eq!(chunk[40..52], [0x80, 0, 0, 0, 0, 2, 0, 0, 7, 2, 0, 0]); // sizes and offsets
        assert_eq!(chunk[52..56], crc32fast::hash(b"records").to_le_bytes());
        assert_eq!(chunk[56..124], [&[0; 64][..], &[1, 0, 0, 0]].concat()); // unused, flags
        assert_eq!(chunk[128 + 4 * 58..][..4], [0x4d, 2, 0, 0]);
        assert_eq!(chunk[384 + 4 * 3..][..4], [0x26, 2, 0, 0]);
        let checksum = crc32fast::hash(&[&chunk[..120], &chunk[128..512]].concat());
        assert_eq!(chunk[124..128], checksum.to_le_bytes());
    }
}
