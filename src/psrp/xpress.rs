//! Xpress as WinRM uses it: blocks of LZ77 with Huffman codes (MS-WSMV 2.2.5, MS-XCA 2.1 and 2.2).

/// Most bytes that one stream may unpack to; WinRM's own envelopes are far smaller.
const MOST_PLAIN: usize = 64 << 20;
/// The lengths of all codes, two in a byte, come first in each block (MS-XCA 2.2.4).
const TABLE: usize = 256;
const SYMBOLS: usize = 2 * TABLE;
/// Longest code, in bits.
const LONGEST_CODE: u32 = 15;

/// Why bytes are no such stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// A block's header or data stop early.
    #[error("a compressed block breaks off")]
    Short,
    /// The lengths of the codes make no code, or none for these bits.
    #[error("a compressed block does not follow its table of codes")]
    Table,
    /// A match starts before the stream does, or is longer than what is left of its block.
    #[error("a compressed block refers outside itself")]
    Match,
    /// More than this program unpacks.
    #[error("a compressed stream is longer than {} MiB", MOST_PLAIN >> 20)]
    TooLong,
}

/// Unpacks a stream of blocks: plain length - 1, stored length - 1 (both 16 bits, little-endian),
/// data, which is stored as it is where the lengths are the same.
pub fn unpack(mut stream: &[u8]) -> Result<Vec<u8>, Damage> {
    let mut plain = Vec::new();
    while !stream.is_empty() {
        let (header, rest) = stream.split_at_checked(4).ok_or(Damage::Short)?;
        let length = usize::from(u16::from_le_bytes([header[0], header[1]])) + 1;
        let stored = usize::from(u16::from_le_bytes([header[2], header[3]])) + 1;
        let (block, rest) = rest.split_at_checked(stored).ok_or(Damage::Short)?;
        if plain.len() + length > MOST_PLAIN {
            return Err(Damage::TooLong);
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

/// Unpacks one block of at most 64 KiB, whose plain length is known, to the end of `plain`.
fn unpack_block(block: &[u8], length: usize, plain: &mut Vec<u8>) -> Result<(), Damage> {
    let (lengths, data) = block.split_at_checked(TABLE).ok_or(Damage::Short)?;
    let codes = Codes::new(lengths)?;
    let mut bits = Bits::new(data);
    let end = plain.len() + length;
    while plain.len() < end {
        let symbol = codes.next(&mut bits)?;
        let Some(symbol) = symbol.checked_sub(256) else {
            plain.push(symbol as u8);
            continue;
        };
        let (distance_bits, mut run) = (u32::from(symbol >> 4), usize::from(symbol & 15));
        if run == 15 {
            run = bits.long_run()?;
        }
        let distance = (1 << distance_bits) + bits.take(distance_bits) as usize;
        let run = run + 3;
        if distance > plain.len() || run > end - plain.len() {
            return Err(Damage::Match);
        }
        for at in plain.len() - distance..plain.len() - distance + run {
            plain.push(plain[at]);
        }
    }
    if bits.is_overdrawn() { Err(Damage::Short) } else { Ok(()) }
}

/// The canonical code that a table of lengths stands for: shorter codes first, then by symbol.
struct Codes {
    /// By the next 15 bits: the symbol, and the length of its code.
    symbols: Vec<(u16, u8)>,
}

impl Codes {
    fn new(table: &[u8]) -> Result<Codes, Damage> {
        let length_of = |symbol: usize| table[symbol / 2] >> (4 * (symbol % 2)) & 15;
        let mut symbols = Vec::with_capacity(1 << LONGEST_CODE);
        for length in 1..=LONGEST_CODE as u8 {
            let share = 1 << (LONGEST_CODE - u32::from(length));
            for symbol in (0..SYMBOLS).filter(|&symbol| length_of(symbol) == length) {
                if symbols.len() + share > 1 << LONGEST_CODE {
                    return Err(Damage::Table);
                }
                symbols.resize(symbols.len() + share, (symbol as u16, length));
            }
        }
        if symbols.is_empty() {
            return Err(Damage::Table);
        }
        // What a code leaves over, stands for nothing.
        symbols.resize(1 << LONGEST_CODE, (0, 0));
        Ok(Codes { symbols })
    }

    fn next(&self, bits: &mut Bits<'_>) -> Result<u16, Damage> {
        let (symbol, length) = self.symbols[(bits.next >> (32 - LONGEST_CODE)) as usize];
        bits.skip(u32::from(length));
        match length {
            0 => Err(Damage::Table),
            _ if bits.is_overdrawn() => Err(Damage::Short),
            _ => Ok(symbol),
        }
    }
}

/// Bits in words of 16, and whole bytes between the words: long runs' lengths stand at the place
/// up to which words were taken, not at the place of the bits (MS-XCA 2.2.4).
struct Bits<'b> {
    data: &'b [u8],
    at: usize,
    /// The next bits, from the highest.
    next: u32,
    /// How many of `next` are there beyond 16.
    spare: i32,
}

impl<'b> Bits<'b> {
    fn new(data: &'b [u8]) -> Bits<'b> {
        let mut bits = Bits { data, at: 0, next: 0, spare: 16 };
        bits.next = bits.word() << 16;
        bits.next |= bits.word();
        bits
    }

    /// The next word, zero past the end: the last words of a block are read ahead of their need.
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

    /// The length of a run that its symbol has no room for, 3 less than it is.
    fn long_run(&mut self) -> Result<usize, Damage> {
        let byte = self.bytes(1)?;
        if byte != 255 {
            return Ok(byte + 15);
        }
        let run = match self.bytes(2)? {
            0 => self.bytes(4)?,
            run => run,
        };
        if run < 15 { Err(Damage::Match) } else { Ok(run) }
    }

    fn bytes(&mut self, count: usize) -> Result<usize, Damage> {
        let bytes = self.data.get(self.at..self.at + count).ok_or(Damage::Short)?;
        self.at += count;
        Ok(bytes.iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte)))
    }

    /// Whether bits were used that are not there.
    fn is_overdrawn(&self) -> bool {
        // Two words are read ahead of use: what is in `next` and unused, is not overdrawn.
        let unused = (16 + self.spare) as usize / 8;
        self.at > self.data.len() + unused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of lengths, from the bytes that are not zero.
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
        assert_eq!(unpack(&framed(26, &alphabet())).unwrap(), b"abcdefghijklmnopqrstuvwxyz");
        assert_eq!(unpack(&framed(300, &abc())).unwrap(), b"abc".repeat(100));
    }

    #[test]
    fn blocks_follow_each_other_and_may_be_stored() {
        let stream = [framed(2, b"hi"), framed(26, &alphabet()), framed(3, b"end")].concat();
        assert_eq!(unpack(&stream).unwrap(), b"hiabcdefghijklmnopqrstuvwxyzend");
        assert_eq!(unpack(b"").unwrap(), b"");
    }

    #[test]
    fn damage_has_a_reason() {
        let whole = framed(300, &abc());
        for length in 1..whole.len() {
            assert!(unpack(&whole[..length]).is_err(), "{length}");
        }
        // The match is longer than what the header says is left.
        assert_eq!(unpack(&framed(299, &abc())), Err(Damage::Match));
        // Of 26 letters the codes of the last ones are not there.
        assert_eq!(unpack(&framed(60, &alphabet()[..TABLE + 8])), Err(Damage::Short));
        // No codes at all, more than there is room for, and bits that are no code: `a` alone has
        // one, a zero.
        assert_eq!(unpack(&framed(5, &[0; TABLE + 8])), Err(Damage::Table));
        assert_eq!(unpack(&framed(5, &[0x11; TABLE + 8])), Err(Damage::Table));
        let alone = [table(&[(48, 0x10)]), vec![0, 0x80, 0, 0]].concat();
        assert_eq!(unpack(&framed(16, &alone)), Err(Damage::Table));
        // `c` first: a match of `abc` at distance 3 when one byte is there.
        let mut early = abc();
        early.splice(TABLE.., [0b1010_0000, 0b0010_1000, 0, 0, 1]);
        assert_eq!(unpack(&framed(300, &early)), Err(Damage::Match));
    }
}
