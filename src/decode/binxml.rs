//! Reads BinXML: little-endian numbers, names, and the types of values.
//!
//! The format is [MS-EVEN6] 2.2.12 to 2.2.18. Names by chunk offset are described by libevtx.
//! Anything unusual is [`Unplannable`], and the evtx crate decides what it means.

/// The reason why no plan can decode a chunk, so that the evtx crate must read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unplannable(pub &'static str);

/// Tokens ([MS-EVEN6] 2.2.12). `MORE` is set on a token that is followed by more of its kind or by
/// attributes.
pub(super) mod token {
    pub const END: u8 = 0x00;
    pub const OPEN_ELEMENT: u8 = 0x01;
    pub const CLOSE_START: u8 = 0x02;
    pub const CLOSE_EMPTY: u8 = 0x03;
    pub const CLOSE_ELEMENT: u8 = 0x04;
    pub const VALUE: u8 = 0x05;
    pub const ATTRIBUTE: u8 = 0x06;
    pub const TEMPLATE_INSTANCE: u8 = 0x0c;
    pub const SUBSTITUTION: u8 = 0x0d;
    pub const OPTIONAL_SUBSTITUTION: u8 = 0x0e;
    pub const FRAGMENT_HEADER: u8 = 0x0f;
    pub const MORE: u8 = 0x40;
}

/// Types of values ([MS-EVEN6] 2.2.13).
pub(super) mod kind {
    pub const NULL: u8 = 0x00;
    pub const STRING: u8 = 0x01;
    pub const ANSI_STRING: u8 = 0x02;
    pub const INT8: u8 = 0x03;
    pub const UINT8: u8 = 0x04;
    pub const INT16: u8 = 0x05;
    pub const UINT16: u8 = 0x06;
    pub const INT32: u8 = 0x07;
    pub const UINT32: u8 = 0x08;
    pub const INT64: u8 = 0x09;
    pub const UINT64: u8 = 0x0a;
    pub const REAL32: u8 = 0x0b;
    pub const REAL64: u8 = 0x0c;
    pub const BOOL: u8 = 0x0d;
    pub const BINARY: u8 = 0x0e;
    pub const GUID: u8 = 0x0f;
    pub const SIZE_T: u8 = 0x10;
    pub const FILETIME: u8 = 0x11;
    pub const SYSTEMTIME: u8 = 0x12;
    pub const SID: u8 = 0x13;
    pub const HEX_INT32: u8 = 0x14;
    pub const HEX_INT64: u8 = 0x15;
    pub const BINXML: u8 = 0x21;
    pub const STRING_ARRAY: u8 = 0x81;
}

/// A position in a chunk. Reads cannot go past `end`.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'c> {
    pub chunk: &'c [u8],
    pub at: usize,
    end: usize,
}

impl<'c> Cursor<'c> {
    /// Creates a cursor from `at` to `end` of `chunk`, or to the chunk's end.
    pub fn new(chunk: &'c [u8], at: usize, end: usize) -> Self {
        Cursor { chunk, at, end: end.min(chunk.len()) }
    }

    /// Returns the next `size` bytes.
    pub fn take(&mut self, size: usize) -> Result<&'c [u8], Unplannable> {
        let next = self.at.checked_add(size).filter(|&next| next <= self.end);
        let bytes = next.and_then(|next| self.chunk.get(self.at..next));
        self.at += size;
        bytes.ok_or(Unplannable("it ends early"))
    }

    /// Returns the next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Unplannable> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| Unplannable("it ends early"))
    }

    pub fn u8(&mut self) -> Result<u8, Unplannable> {
        self.array().map(u8::from_le_bytes)
    }

    pub fn u16(&mut self) -> Result<u16, Unplannable> {
        self.array().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, Unplannable> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, Unplannable> {
        self.array().map(u64::from_le_bytes)
    }

    /// Returns the bytes up to the end.
    pub fn remaining(&self) -> &'c [u8] {
        self.chunk.get(self.at..self.end).unwrap_or_default()
    }

    /// Returns the offset of a name. If the name itself stands here, it is skipped.
    pub fn name_offset(&mut self) -> Result<usize, Unplannable> {
        let offset = self.u32()? as usize;
        if offset == self.at {
            self.take(6)?;
            let units = self.u16()?;
            // The name and its NUL, which the length does not count.
            self.take(usize::from(units) * 2 + 2)?;
        }
        Ok(offset)
    }
}

/// Reads an entry of the chunk's string table: the next one's offset, a hash, the length, the name
/// and a NUL. Returns the next one's offset and the name's UTF-16.
pub(super) fn name_entry(chunk: &[u8], offset: usize) -> Result<(usize, &[u8]), Unplannable> {
    let mut entry = Cursor::new(chunk, offset, chunk.len());
    let next = entry.u32()? as usize;
    entry.u16()?;
    let units = entry.u16()?;
    let name = entry.take(usize::from(units) * 2)?;
    entry.u16()?;
    Ok((next, name))
}

/// Checks the string table in the chunk's header. The evtx crate reads it first and rejects the
/// chunk if it is wrong.
pub(super) fn check_string_table(chunk: &[u8]) -> Result<(), Unplannable> {
    /// A chunk that Windows writes has about a hundred names.
    const MOST: usize = 2048;
    let mut table = Cursor::new(chunk, 128, 128 + 64 * 4);
    let mut seen = 0;
    for _ in 0..64 {
        let mut offset = table.u32()? as usize;
        while offset != 0 {
            let (next, name) = name_entry(chunk, offset)?;
            let units = name.as_chunks::<2>().0.iter();
            let bits = units.fold(0, |bits, &unit| bits | u16::from_le_bytes(unit));
            if bits >= 0x80 && utf16(name).is_none() {
                return Err(Unplannable("a name is not UTF-16"));
            }
            seen += 1;
            if seen > MOST {
                return Err(Unplannable("its string table is endless"));
            }
            offset = next;
        }
    }
    Ok(())
}

/// Returns UTF-16 up to its first NUL as text, or `None` if it has an unpaired surrogate.
pub(super) fn utf16(text: &[u8]) -> Option<String> {
    let mut bytes = Vec::new();
    write_utf16(text, &mut bytes).ok()?;
    String::from_utf8(bytes).ok()
}

/// Appends UTF-16 up to its first NUL as UTF-8.
pub(super) fn write_utf16(text: &[u8], out: &mut Vec<u8>) -> Result<(), Unplannable> {
    /// A one in each of four units.
    const ONES: u64 = 0x0001_0001_0001_0001;
    let (units, _) = text.as_chunks::<2>();
    let start = out.len();
    out.resize(start + units.len(), 0);
    // Treats the text as ASCII, which it usually is, four units at a time.
    let (words, rest) = text.as_chunks::<8>();
    let (quads, last) = out[start..].as_chunks_mut::<4>();
    let (mut bits, mut nuls) = (0, 0);
    for (word, quad) in words.iter().zip(quads) {
        let word = u64::from_le_bytes(*word);
        bits |= word;
        // Sets the highest bit of the first unit that is zero, and of none if no unit is.
        nuls |= word.wrapping_sub(ONES) & !word;
        let pairs = (word | word >> 8) & 0x0000_ffff_0000_ffff;
        *quad = ((pairs | pairs >> 16) as u32).to_le_bytes();
    }
    for (unit, byte) in rest.as_chunks().0.iter().zip(last) {
        let unit = u64::from(u16::from_le_bytes(*unit));
        bits |= unit;
        nuls |= unit.wrapping_sub(1) & !unit;
        *byte = unit as u8;
    }
    if bits & !(0x7f * ONES) == 0 {
        if nuls & (ONES << 15) != 0 {
            let end = out[start..].iter().position(|&byte| byte == 0);
            out.truncate(end.map_or(out.len(), |end| start + end));
        }
        return Ok(());
    }
    out.truncate(start);
    let units = units.iter().map(|&unit| u16::from_le_bytes(unit)).take_while(|&unit| unit != 0);
    for char in char::decode_utf16(units) {
        let char = char.map_err(|_| Unplannable("a surrogate stands alone"))?;
        match char.is_ascii() {
            true => out.push(char as u8),
            false => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Ok(())
}

/// Returns whether a value is usual by its type and size alone. Nearly all are, and each is
/// checked, so a table is used.
#[inline]
pub(super) fn has_usual_size(kind: u8, size: u16) -> bool {
    const SIZES: [(u16, u16); 256] = {
        let mut sizes = [(0, 1); 256];
        let mut kind = 0;
        while kind < sizes.len() {
            sizes[kind] = usual_sizes(kind as u8);
            kind += 1;
        }
        sizes
    };
    let (mask, bits) = SIZES[usize::from(kind)];
    size & mask == bits
}

/// Returns the bits that are the same in all sizes of a type's values, and their values.
const fn usual_sizes(kind: u8) -> (u16, u16) {
    const fn only(size: u16) -> (u16, u16) {
        (u16::MAX, size)
    }
    match kind {
        kind::NULL | kind::ANSI_STRING | kind::BINARY => (0, 0),
        kind::STRING => (1, 0),
        kind::INT8 | kind::UINT8 => only(1),
        kind::INT16 | kind::UINT16 => only(2),
        kind::INT32 | kind::UINT32 | kind::REAL32 | kind::BOOL | kind::HEX_INT32 => only(4),
        kind::INT64 | kind::UINT64 | kind::REAL64 | kind::FILETIME | kind::HEX_INT64 => only(8),
        kind::GUID | kind::SYSTEMTIME => only(16),
        // No size is usual.
        _ => (0, 1),
    }
}

/// A value of a template instance.
#[derive(Debug, Clone, Copy)]
pub(super) struct BinXmlValue<'c> {
    pub kind: u8,
    pub bytes: &'c [u8],
}

impl<'c> BinXmlValue<'c> {
    /// Checks that the value's type and size are usual. The evtx crate reads by the type's own size
    /// and has its own rules if the two differ.
    pub fn check(self) -> Result<(), Unplannable> {
        let size = self.bytes.len();
        let usual = match self.kind {
            kind::BINXML => true,
            kind::SIZE_T => size == 4 || size == 8,
            kind::SID => size >= 8 && size == 8 + 4 * usize::from(self.bytes[1]),
            kind::STRING_ARRAY => {
                size.is_multiple_of(2) && (size == 0 || self.bytes.ends_with(&[0, 0]))
            }
            kind => u16::try_from(size).is_ok_and(|size| has_usual_size(kind, size)),
        };
        if usual { Ok(()) } else { Err(Unplannable("a value of an unusual type or size")) }
    }

    /// Returns whether it is NULL, which leaves out the elements that depend on the value
    /// ([MS-EVEN6] 2.2.12).
    pub fn is_null(self) -> bool {
        self.kind == kind::NULL || self.kind == kind::BINXML && self.bytes.is_empty()
    }

    /// Returns whether it has no content. Then no attribute is made of it, and an element's text is
    /// empty.
    pub fn is_empty(self) -> bool {
        match self.kind {
            kind::NULL => true,
            kind::STRING => matches!(self.bytes, [] | [0, 0, ..]),
            kind::ANSI_STRING => self.bytes.iter().all(|&byte| byte == 0),
            kind::BINARY | kind::BINXML | kind::STRING_ARRAY => self.bytes.is_empty(),
            _ => false,
        }
    }

    /// Returns how many strings an array has.
    pub fn string_count(self) -> usize {
        self.bytes.as_chunks::<2>().0.iter().filter(|&&unit| unit == [0, 0]).count()
    }

    /// Returns the strings of an array, each of which ends with a NUL.
    pub fn strings(self) -> impl Iterator<Item = &'c [u8]> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            let (units, _) = rest.as_chunks::<2>();
            let end = 2 * units.iter().position(|&unit| unit == [0, 0])?;
            let (string, after) = rest.split_at(end);
            rest = &after[2..];
            Some(string)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf16_reads_up_to_its_first_nul() {
        // Each length around the four units that are read at once, and in each place a NUL, or
        // a letter of one, two, three or four bytes.
        for length in 0..=13 {
            for place in 0..=length {
                for letter in ["\0", "~", "\u{80}", "\u{3bb}", "\u{8000}", "\u{1f600}"] {
                    let mut text: String = ('a'..).take(length).collect();
                    text.insert_str(place, letter);
                    let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
                    let before_nul = text.split('\0').next().unwrap();
                    assert_eq!(utf16(&bytes).as_deref(), Some(before_nul));
                }
            }
        }
    }

    #[test]
    fn half_a_surrogate_pair_is_no_text() {
        for half in [0xd800_u16, 0xdbff, 0xdc00, 0xdfff] {
            for before in 0..5 {
                let mut bytes = [b'a', 0].repeat(before);
                bytes.extend(half.to_le_bytes());
                assert_eq!(utf16(&bytes), None);
                // After a NUL, nobody reads it.
                bytes.splice(..0, [0, 0]);
                assert_eq!(utf16(&bytes).as_deref(), Some(""));
            }
        }
    }

    #[test]
    fn an_array_has_a_string_before_each_nul() {
        for (bytes, strings) in
            [(&b""[..], &[][..]), (b"\0\0", &[&b""[..]]), (b"a\0b\0\0\0\0\0", &[b"a\0b\0", b""])]
        {
            let array = BinXmlValue { kind: kind::STRING_ARRAY, bytes };
            assert_eq!(array.strings().collect::<Vec<_>>(), strings);
            assert_eq!(array.string_count(), strings.len());
        }
    }
}
