//! Unpacks Xpress as WinRM uses it: blocks of LZ77 with Huffman codes (MS-WSMV 2.2.5, MS-XCA 2.1
//! and 2.2).

/// Largest number of bytes that one stream may unpack to; WinRM's own envelopes are far smaller.
const MOST_PLAIN: usize = 64 << 20;
/// Size of the table at the start of each block: the lengths of all codes, two per byte (MS-XCA
/// 2.2.4).
const TABLE: usize = 256;
const SYMBOLS: usize = 2 * TABLE;
/// Longest code, in bits.
const LONGEST_CODE: u32 = 15;

/// An error that makes bytes unreadable as an Xpress stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum XpressError {
    /// A block's header or data ends early.
    #[error("a compressed block breaks off")]
    Short,
    /// The lengths do not form a code, or the bits do not form a code of the table.
    #[error("a compressed block does not follow its table of codes")]
    Table,
    /// A match starts before the stream, or is longer than the rest of its block.
    #[error("a compressed block refers outside itself")]
    Match,
    /// The stream is longer than this program unpacks.
    #[error("a compressed stream is longer than {} MiB", MOST_PLAIN >> 20)]
    TooLong,
}

/// Unpacks a stream of blocks. Each has its plain length - 1 and its stored length - 1 (both 16
/// bits, little-endian), then data. If the lengths are equal, the data is not compressed.
pub fn unpack_xpress(mut stream: &[u8]) -> Result<Vec<u8>, XpressError> {
    let mut plain = Vec::new();
    while !stream.is_empty() {
        let (header, rest) = stream.split_at_checked(4).ok_or(XpressError::Short)?;
        let length = usize::from(u16::from_le_bytes([header[0], header[1]])) + 1;
        let stored = usize::from(u16::from_le_bytes([header[2], header[3]])) + 1;
        let (block, rest) = rest.split_at_checked(stored).ok_or(XpressError::Short)?;
        if plain.len() + length > MOST_PLAIN {
            return Err(XpressError::TooLong);
        }
        if length == stored {
            plain.extend_from_slice(block);
        } else {
            unpack_block(block, length, &mut plain)?;
        }
        stream = rest;
    }
    Ok(plain)
}

/// Unpacks one block of at most 64 KiB with a known plain length, and appends it to `plain`.
fn unpack_block(block: &[u8], length: usize, plain: &mut Vec<u8>) -> Result<(), XpressError> {
    let (lengths, data) = block.split_at_checked(TABLE).ok_or(XpressError::Short)?;
    let codes = HuffmanCodes::new(lengths)?;
    let mut bits = BitReader::new(data);
    let end = plain.len() + length;
    plain.reserve(length);
    while plain.len() < end {
        let symbol = codes.next(&mut bits)?;
        let Some(symbol) = symbol.checked_sub(256) else {
            plain.push(symbol as u8);
            continue;
        };
        let (distance_bits, mut run) = (u32::from(symbol >> 4), usize::from(symbol & 15));
        if run == 15 {
            run = bits.long_match_length()?;
        }
        let distance = (1 << distance_bits) + bits.take(distance_bits) as usize;
        let run = run + 3;
        if distance > plain.len() || run > end - plain.len() {
            return Err(XpressError::Match);
        }
        // A match that is longer than its distance repeats the bytes that it has just added.
        let (from, to) = (plain.len() - distance, plain.len() + run);
        while plain.len() < to {
            let there = (plain.len() - from).min(to - plain.len());
            plain.extend_from_within(from..from + there);
        }
    }
    if bits.is_overdrawn() { Err(XpressError::Short) } else { Ok(()) }
}

/// Number of bits with which most codes are found in one look-up; longer codes are rare.
const FAST: u32 = 10;

/// The canonical Huffman code of a table of lengths: shorter codes first, then by symbol.
struct HuffmanCodes {
    /// Indexed by the next bits: the symbol, with the length of its code in the lowest four bits;
    /// zero for a longer code, or none.
    fast: [u16; 1 << FAST],
    /// All symbols that have a code, in the order of their codes.
    symbols: [u16; SYMBOLS],
    /// Indexed by length: the first code, as 15 bits, and the position of its symbols. Codes
    /// beyond the last one of a length are longer.
    first: [(u32, usize); LONGEST_CODE as usize + 2],
}

impl HuffmanCodes {
    fn new(table: &[u8]) -> Result<HuffmanCodes, XpressError> {
        let lengths = || table.iter().flat_map(|&pair| [pair & 15, pair >> 4]).zip(0u16..);
        let mut counts = [0; LONGEST_CODE as usize + 1];
        lengths().for_each(|(length, _)| counts[usize::from(length)] += 1);
        let mut first = [(0, 0); LONGEST_CODE as usize + 2];
        for length in 1..=LONGEST_CODE {
            let (code, place) = first[length as usize];
            let count = counts[length as usize];
            first[length as usize + 1] =
                (code + ((count as u32) << (LONGEST_CODE - length)), place + count);
        }
        let (end, count) = first[LONGEST_CODE as usize + 1];
        if count == 0 || end > 1 << LONGEST_CODE {
            return Err(XpressError::Table);
        }
        let mut codes = HuffmanCodes { fast: [0; 1 << FAST], symbols: [0; SYMBOLS], first };
        let mut next = first;
        for (length, symbol) in lengths().filter(|&(length, _)| length > 0) {
            let (code, place) = &mut next[usize::from(length)];
            codes.symbols[*place] = symbol;
            *place += 1;
            let length = u32::from(length);
            if length <= FAST {
                let (from, share) = (*code >> (LONGEST_CODE - FAST), 1 << (FAST - length));
                let entry = symbol << 4 | length as u16;
                codes.fast[from as usize..from as usize + share].fill(entry);
            }
            *code += 1 << (LONGEST_CODE - length);
        }
        Ok(codes)
    }

    fn next(&self, bits: &mut BitReader<'_>) -> Result<u16, XpressError> {
        let code = bits.next >> (32 - LONGEST_CODE);
        let entry = self.fast[(code >> (LONGEST_CODE - FAST)) as usize];
        let (symbol, length) = match entry {
            0 => self.long_code(code).ok_or(XpressError::Table)?,
            entry => (entry >> 4, u32::from(entry & 15)),
        };
        bits.skip(length);
        if bits.is_overdrawn() { Err(XpressError::Short) } else { Ok(symbol) }
    }

    /// Returns the symbol of a code that is too long for the look-up table, and the length of the
    /// code.
    fn long_code(&self, code: u32) -> Option<(u16, u32)> {
        let length =
            (FAST + 1..=LONGEST_CODE).find(|&length| code < self.first[length as usize + 1].0)?;
        let (first, place) = self.first[length as usize];
        let at = place + ((code - first) >> (LONGEST_CODE - length)) as usize;
        Some((self.symbols[at], length))
    }
}

/// Reads bits from 16-bit words, and whole bytes between the words. The lengths of long matches
/// stand where the next word would be read, not at the position of the bits (MS-XCA 2.2.4).
struct BitReader<'b> {
    data: &'b [u8],
    at: usize,
    /// The next bits, the first one highest.
    next: u32,
    /// How many bits of `next` beyond 16 are valid.
    spare: i32,
}

impl<'b> BitReader<'b> {
    fn new(data: &'b [u8]) -> BitReader<'b> {
        let mut bits = BitReader { data, at: 0, next: 0, spare: 16 };
        bits.next = bits.word() << 16;
        bits.next |= bits.word();
        bits
    }

    /// Returns the next word, or zero beyond the end: the last words of a block are read before
    /// they are needed.
    fn word(&mut self) -> u32 {
        let byte = |at: usize| u32::from(self.data.get(at).copied().unwrap_or(0));
        let word = byte(self.at) | byte(self.at + 1) << 8;
        self.at += 2;
        word
    }

    fn skip(&mut self, count: u32) {
        self.next = self.next.checked_shl(count).unwrap_or(0);
        self.spare -= count as i32;
        if self.spare < 0 {
            self.next |= self.word() << -self.spare;
            self.spare += 16;
        }
    }

    fn take(&mut self, count: u32) -> u32 {
        let bits = self.next.checked_shr(32 - count).unwrap_or(0);
        self.skip(count);
        bits
    }

    /// Reads the length of a match that is too long for its symbol; it is 3 less than the real
    /// length.
    fn long_match_length(&mut self) -> Result<usize, XpressError> {
        let byte = self.bytes(1)?;
        if byte != 255 {
            return Ok(byte + 15);
        }
        let run = match self.bytes(2)? {
            0 => self.bytes(4)?,
            run => run,
        };
        if run < 15 { Err(XpressError::Match) } else { Ok(run) }
    }

    fn bytes(&mut self, count: usize) -> Result<usize, XpressError> {
        let bytes = self.data.get(self.at..self.at + count).ok_or(XpressError::Short)?;
        self.at += count;
        Ok(bytes.iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte)))
    }

    /// Returns whether bits were used beyond the end of the data.
    fn is_overdrawn(&self) -> bool {
        // Two words are read ahead: unused bits in `next` do not count.
        let unused = (16 + self.spare) as usize / 8;
        self.at > self.data.len() + unused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a table of lengths from the bytes that are not zero.
    fn table(bytes: &[(usize, u8)]) -> Vec<u8> {
        let mut table = vec![0; TABLE];
        for &(at, byte) in bytes {
            table[at] = byte;
        }
        table
    }

    /// MS-XCA 3.2, first example: the alphabet, literals only, codes of four and five bits.
    fn alphabet() -> Vec<u8> {
        let mut block = table(&[(48, 0x50), (59, 0x45), (60, 0x44), (61, 0x04), (128, 0x04)]);
        block[49..59].fill(0x55);
        block.extend([0xd8, 0x52, 0x3e, 0xd7, 0x94, 0x11, 0x5b, 0xe9, 0x19, 0x5f]);
        block.extend([0xf9, 0xd6, 0x7c, 0xdf, 0x8d, 0x04, 0x00, 0x00, 0x00, 0x00]);
        block
    }

    /// MS-XCA 3.2, second example: `abc`, then a match of 297 bytes at distance 3.
    fn abc() -> Vec<u8> {
        let mut block = table(&[(48, 0x30), (49, 0x23), (128, 0x02), (143, 0x20)]);
        block.extend([0xa8, 0xdc, 0x00, 0x00, 0xff, 0x26, 0x01]);
        block
    }

    /// A block as WinRM frames it.
    fn framed(plain: usize, data: &[u8]) -> Vec<u8> {
        let mut stream = u16::try_from(plain - 1).unwrap().to_le_bytes().to_vec();
        stream.extend(u16::try_from(data.len() - 1).unwrap().to_le_bytes());
        stream.extend(data);
        stream
    }

    #[test]
    fn the_specifications_examples() {
        assert_eq!(unpack_xpress(&framed(26, &alphabet())).unwrap(), b"abcdefghijklmnopqrstuvwxyz");
        assert_eq!(unpack_xpress(&framed(300, &abc())).unwrap(), b"abc".repeat(100));
    }

    #[test]
    fn blocks_follow_each_other_and_may_be_stored() {
        let stream = [framed(2, b"hi"), framed(26, &alphabet()), framed(3, b"end")].concat();
        assert_eq!(unpack_xpress(&stream).unwrap(), b"hiabcdefghijklmnopqrstuvwxyzend");
        assert_eq!(unpack_xpress(b"").unwrap(), b"");
    }

    #[test]
    fn damage_has_a_reason() {
        let whole = framed(300, &abc());
        for length in 1..whole.len() {
            assert!(unpack_xpress(&whole[..length]).is_err(), "{length}");
        }
        // The match is longer than the rest of the block according to its header.
        assert_eq!(unpack_xpress(&framed(299, &abc())), Err(XpressError::Match));
        // The codes of the last of the 26 letters are missing.
        assert_eq!(unpack_xpress(&framed(60, &alphabet()[..TABLE + 8])), Err(XpressError::Short));
        // No codes at all; more codes than there is room for; and bits that are not a code: only
        // `a` has one, a zero.
        assert_eq!(unpack_xpress(&framed(5, &[0; TABLE + 8])), Err(XpressError::Table));
        assert_eq!(unpack_xpress(&framed(5, &[0x11; TABLE + 8])), Err(XpressError::Table));
        let alone = [table(&[(48, 0x10)]), vec![0, 0x80, 0, 0]].concat();
        assert_eq!(unpack_xpress(&framed(16, &alone)), Err(XpressError::Table));
        // `c` first: a match of `abc` at distance 3 when only one byte is there.
        let mut early = abc();
        early.splice(TABLE.., [0b1010_0000, 0b0010_1000, 0, 0, 1]);
        assert_eq!(unpack_xpress(&framed(300, &early)), Err(XpressError::Match));
    }
}
