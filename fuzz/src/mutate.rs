//! Mutations of an EVTX chunk that keep its form: libFuzzer's own would seldom get past the record
//! headers.

/// The offset of a chunk's first record.
const RECORDS: usize = 512;
/// Bytes with a meaning in binary XML, and boundary values of numbers.
const TOKENS: [u8; 24] = [
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0c, 0x0d, 0x0e, 0x0f, 0x11,
    0x12, 0x13, 0x21, 0x41, 0x45, 0x81, 0x7f, 0xff,
];

/// Marsaglia's xorshift, from libFuzzer's seed.
pub struct Random(u64);

impl Random {
    /// A generator; the same seed, the same numbers.
    pub fn new(seed: u32) -> Random {
        Random(u64::from(seed) << 1 | 1 << 40 | 1)
    }

    /// A number below `end`, 0 where there is none.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % end.max(1)
    }
}

/// Returns the start and end of each record of a chunk, according to the sizes in front of the
/// records.
pub fn records(chunk: &[u8]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = RECORDS;
    while chunk.get(at..at + 4) == Some(b"**\0\0".as_slice()) {
        let Some(&[a, b, c, d]) = chunk.get(at + 4..at + 8) else { break };
        let end = at.saturating_add(u32::from_le_bytes([a, b, c, d]) as usize);
        if end <= at + 28 || end > chunk.len() {
            break;
        }
        found.push((at, end));
        at = end;
    }
    found
}

/// Changes one chunk, `size` bytes of which are in use, and returns how many are then. `any` is
/// libFuzzer's own mutation of some bytes, which keeps their number or says which it is.
///
/// Checksums are left wrong: the target puts them right before it reads the chunk.
pub fn chunk(
    data: &mut [u8],
    size: usize,
    random: &mut Random,
    mut any: impl FnMut(&mut [u8], usize) -> usize,
) -> usize {
    let records = records(&data[..size]);
    if records.is_empty() || random.below(16) == 0 {
        let most = data.len();
        return any(data, size).min(most);
    }
    let (start, end) = records[random.below(records.len())];
    let body = start + 24;
    match random.below(8) {
        // Within a record's binary XML: single bytes.
        0..=2 => {
            for _ in 0..=random.below(3) {
                let at = body + random.below(end - body);
                data[at] = match random.below(4) {
                    0 => data[at] ^ 1 << random.below(8),
                    1 => data[at].wrapping_add(1),
                    2 => TOKENS[random.below(TOKENS.len())],
                    _ => random.below(256) as u8,
                };
            }
        }
        // As libFuzzer does, in the place that it has.
        3 => {
            let length = end - body;
            any(&mut data[body..end], length);
        }
        // A piece of one record over a piece of another.
        4 => {
            let (from, from_end) = records[random.below(records.len())];
            let length = 1 + random.below(64);
            let from = from + random.below(from_end - from);
            let to = body + random.below(end - body);
            let length = length.min(from_end - from).min(end - to);
            data.copy_within(from..from + length, to);
        }
        // A number that is a size, an offset or a count.
        5 => {
            let at = (body + random.below(end - body)).min(end.saturating_sub(4));
            let old = u32::from_le_bytes([data[at], data[at + 1], data[at + 2], data[at + 3]]);
            let new = match random.below(4) {
                0 => old.wrapping_add(1),
                1 => old.wrapping_sub(1),
                2 => start as u32,
                _ => random.below(size) as u32,
            };
            data[at..at + 4].copy_from_slice(&new.to_le_bytes());
        }
        // The tables of names and templates, and the header.
        6 => {
            let at = random.below(RECORDS);
            data[at] = random.below(256) as u8;
        }
        // The last records are cut off, or the first record stands there again.
        _ => {
            let last = records[records.len() - 1];
            let size = match random.below(2) {
                0 => start.max(RECORDS + 1),
                _ if last.1 + (end - start) <= data.len() => {
                    data.copy_within(start..end, last.1);
                    last.1 + (end - start)
                }
                _ => size,
            };
            data[48..52].copy_from_slice(&(size as u32).to_le_bytes());
            return size;
        }
    }
    size
}
