//! Reading BinXML's bytes: little-endian numbers, names and the types of values.
//!
//! The format is [MS-EVEN6] 2.2.12 to 2.2.18; names by chunk offset are as libevtx documents
//! them. Whatever is unusual is [`Odd`], and the evtx crate decides what it means.

/// Why a chunk is left to the evtx crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Odd(pub &'static str);

/// Tokens ([MS-EVEN6] 2.2.12); `MORE` is set on those that more of their kind or attributes follow.
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

/// A position in a chunk that no read takes past `end`.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'c> {
    pub chunk: &'c [u8],
    pub at: usize,
    end: usize,
}

impl<'c> Cursor<'c> {
    /// From `at` to `end` of `chunk`, or to the chunk's own end.
    pub fn new(chunk: &'c [u8], at: usize, end: usize) -> Self {
        Cursor { chunk, at, end: end.min(chunk.len()) }
    }

    /// The next `size` bytes.
    pub fn take(&mut self, size: usize) -> Result<&'c [u8], Odd> {
        let next = self.at.checked_add(size).filter(|&next| next <= self.end);
        let bytes = next.and_then(|next| self.chunk.get(self.at..next));
        self.at += size;
        bytes.ok_or(Odd("it ends early"))
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Odd> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| Odd("it ends early"))
    }

    pub fn u8(&mut self) -> Result<u8, Odd> {
        self.array().map(u8::from_le_bytes)
    }

    pub fn u16(&mut self) -> Result<u16, Odd> {
        self.array().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, Odd> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, Odd> {
        self.array().map(u64::from_le_bytes)
    }

    /// What is left up to the end.
    pub fn rest(&self) -> &'c [u8] {
        self.chunk.get(self.at..self.end).unwrap_or_default()
    }

    /// The offset of a name; the name itself may stand right here, and is passed over then.
    pub fn name_offset(&mut self) -> Result<usize, Odd> {
        let offset = self.u32()? as usize;
        if offset == self.at {
            self.take(6)?;
            let units = self.u16()?;
            // The name, and its NUL, which its length leaves out.
            self.take(usize::from(units) * 2 + 2)?;
        }
        Ok(offset)
    }
}

/// An entry of the chunk's string table: the next one's offset, a hash, the length, the name and
/// a NUL. Yields the next one's offset and the name's UTF-16.
pub(super) fn name_entry(chunk: &[u8], offset: usize) -> Result<(usize, &[u8]), Odd> {
    let mut entry = Cursor::new(chunk, offset, chunk.len());
    let next = entry.u32()? as usize;
    entry.u16()?;
    let units = entry.u16()?;
    let name = entry.take(usize::from(units) * 2)?;
    entry.u16()?;
    Ok((next, name))
}

/// Checks the string table in the chunk's header, which the evtx crate reads before all else and
/// without which it gives the chunk up.
pub(super) fn check_names(chunk: &[u8]) -> Result<(), Odd> {
    /// A chunk that Windows writes has about a hundred names.
    const MOST: usize = 2048;
    let mut table = Cursor::new(chunk, 128, 128 + 64 * 4);
    let mut seen = 0;
    for _ in 0..64 {
        let mut offset = table.u32()? as usize;
        while offset != 0 {
            let (next, name) = name_entry(chunk, offset)?;
            let ascii = name.as_chunks::<2>().0.iter().all(|unit| unit[1] == 0 && unit[0] < 0x80);
            if !ascii && utf16(name).is_none() {
                return Err(Odd("a name is no UTF-16"));
            }
            seen += 1;
            if seen > MOST {
                return Err(Odd("its string table is endless"));
            }
            offset = next;
        }
    }
    Ok(())
}

/// UTF-16 up to its first NUL as text; `None` when a surrogate stands alone.
pub(super) fn utf16(text: &[u8]) -> Option<String> {
    let (mut units, _) = text.as_chunks::<2>();
    // No early end, so that the compiler may look at many units at once.
    let (mut bits, mut nul) = (0, false);
    for &unit in units {
        let unit = u16::from_le_bytes(unit);
        bits |= unit;
        nul |= unit == 0;
    }
    if nul {
        let end = units.iter().position(|&unit| unit == [0, 0]);
        units = &units[..end.unwrap_or(units.len())];
    }
    if bits < 0x80 {
        return String::from_utf8(units.iter().map(|unit| unit[0]).collect()).ok();
    }
    let units = units.iter().map(|&unit| u16::from_le_bytes(unit));
    char::decode_utf16(units).collect::<Result<_, _>>().ok()
}

/// A value of a template instance, checked to have the size of its type.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value<'c> {
    pub kind: u8,
    pub bytes: &'c [u8],
}

impl<'c> Value<'c> {
    /// The value, if its type and size are usual: the evtx crate reads by the type's own size,
    /// and has its ways where the two differ.
    pub fn checked(kind: u8, bytes: &'c [u8]) -> Result<Self, Odd> {
        let size = bytes.len();
        let usual = match kind {
            kind::NULL | kind::ANSI_STRING | kind::BINARY | kind::BINXML => true,
            kind::STRING => size.is_multiple_of(2),
            kind::INT8 | kind::UINT8 => size == 1,
            kind::INT16 | kind::UINT16 => size == 2,
            kind::INT32 | kind::UINT32 | kind::REAL32 | kind::BOOL | kind::HEX_INT32 => size == 4,
            kind::INT64 | kind::UINT64 | kind::REAL64 | kind::FILETIME | kind::HEX_INT64 => {
                size == 8
            }
            kind::GUID | kind::SYSTEMTIME => size == 16,
            kind::SIZE_T => size == 4 || size == 8,
            kind::SID => size >= 8 && size == 8 + 4 * usize::from(bytes[1]),
            kind::STRING_ARRAY => size.is_multiple_of(2) && (size == 0 || bytes.ends_with(&[0, 0])),
            _ => return Err(Odd("a value of an unusual type")),
        };
        if usual { Ok(Value { kind, bytes }) } else { Err(Odd("a value of an unusual size")) }
    }

    /// NULL, which leaves out the elements that depend on the value ([MS-EVEN6] 2.2.12).
    pub fn is_null(self) -> bool {
        self.kind == kind::NULL || self.kind == kind::BINXML && self.bytes.is_empty()
    }

    /// Without content: no attribute is made of it, and an element's text is empty.
    pub fn is_empty(self) -> bool {
        match self.kind {
            kind::NULL => true,
            kind::STRING => matches!(self.bytes, [] | [0, 0, ..]),
            kind::ANSI_STRING => self.bytes.iter().all(|&byte| byte == 0),
            kind::BINARY | kind::BINXML | kind::STRING_ARRAY => self.bytes.is_empty(),
            _ => false,
        }
    }

    /// The strings of an array, each with its NUL behind it.
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
