use std::fmt;

/// Ticks of 100 ns from 1601 to 1970.
const UNIX_EPOCH: u64 = 116_444_736_000_000_000;

/// A point in time as Windows counts it: ticks of 100 ns since 1601-01-01 UTC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileTime(pub u64);

impl FileTime {
    /// The time `seconds` and `ticks` of 100 ns after the start of 1970.
    pub const fn from_unix(seconds: u64, ticks: u32) -> Self {
        Self(UNIX_EPOCH + seconds * 10_000_000 + ticks as u64)
    }
}

/// A GUID; written as Windows keeps it, the first three fields little-endian.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EvtxGuid(u128);

impl EvtxGuid {
    /// The GUID whose digits, left to right, are those of `digits`.
    pub const fn from_u128(digits: u128) -> Self {
        Self(digits)
    }

    pub(crate) fn to_bytes(self) -> [u8; 16] {
        let mut bytes = self.0.to_be_bytes();
        bytes[..4].reverse();
        bytes[4..6].reverse();
        bytes[6..8].reverse();
        bytes
    }
}

/// Lower-case digits and dashes, without braces.
impl fmt::Display for EvtxGuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:032x}", self.0);
        write!(
            f,
            "{}-{}-{}-{}-{}",
            &digits[..8],
            &digits[8..12],
            &digits[12..16],
            &digits[16..20],
            &digits[20..]
        )
    }
}

/// A security identifier ([MS-DTYP] 2.4.2.2).
///
/// [MS-DTYP]: https://learn.microsoft.com/openspecs/windows_protocols/ms-dtyp/
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sid {
    authority: u8,
    len: u8,
    parts: [u32; Self::MAX_PARTS],
}

impl Sid {
    const MAX_PARTS: usize = 15;

    /// `S-1-authority-parts…`, with at most 15 parts (checked when compiled).
    pub const fn new<const N: usize>(authority: u8, parts: [u32; N]) -> Self {
        const { assert!(N <= Self::MAX_PARTS) };
        let mut all = [0; Self::MAX_PARTS];
        let mut i = 0;
        while i < N {
            all[i] = parts[i];
            i += 1;
        }
        Self { authority, len: N as u8, parts: all }
    }

    /// `S-1-5-parts…`: the NT authority, as in `S-1-5-18`.
    pub const fn nt<const N: usize>(parts: [u32; N]) -> Self {
        Self::new(5, parts)
    }

    fn write(&self, out: &mut Vec<u8>) {
        // Revision, count of parts, and the authority as six bytes, big-endian.
        out.extend([1, self.len, 0, 0, 0, 0, 0, self.authority]);
        for part in &self.parts[..usize::from(self.len)] {
            out.extend(part.to_le_bytes());
        }
    }
}

/// `S-1-5-18` and the like.
impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S-1-{}", self.authority)?;
        self.parts[..usize::from(self.len)].iter().try_for_each(|part| write!(f, "-{part}"))
    }
}

/// A typed value of an event field ([MS-EVEN6] 2.2.12, `ValueType`).
///
/// [MS-EVEN6]: https://learn.microsoft.com/openspecs/windows_protocols/ms-even6/
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the names of the types say it all")]
pub enum EvtxValue {
    Null,
    String(String),
    Int8(i8),
    UInt8(u8),
    Int16(i16),
    UInt16(u16),
    Int32(i32),
    UInt32(u32),
    Int64(i64),
    UInt64(u64),
    Bool(bool),
    Binary(Vec<u8>),
    Guid(EvtxGuid),
    FileTime(FileTime),
    Sid(Sid),
    HexInt32(u32),
    HexInt64(u64),
}

/// Type numbers that the templates name themselves.
pub(crate) mod kind {
    pub const NULL: u8 = 0x00;
    pub const STRING: u8 = 0x01;
    pub const UINT8: u8 = 0x04;
    pub const UINT16: u8 = 0x06;
    pub const UINT32: u8 = 0x08;
    pub const UINT64: u8 = 0x0a;
    pub const BINARY: u8 = 0x0e;
    pub const GUID: u8 = 0x0f;
    pub const FILE_TIME: u8 = 0x11;
    pub const SID: u8 = 0x13;
    pub const HEX_INT64: u8 = 0x15;
    pub const BINXML: u8 = 0x21;
    pub const STRING_ARRAY: u8 = 0x81;
}

impl EvtxValue {
    /// The type's number in a substitution.
    pub(crate) fn kind(&self) -> u8 {
        match self {
            Self::Null => kind::NULL,
            Self::String(_) => kind::STRING,
            Self::Int8(_) => 0x03,
            Self::UInt8(_) => kind::UINT8,
            Self::Int16(_) => 0x05,
            Self::UInt16(_) => kind::UINT16,
            Self::Int32(_) => 0x07,
            Self::UInt32(_) => kind::UINT32,
            Self::Int64(_) => 0x09,
            Self::UInt64(_) => kind::UINT64,
            Self::Bool(_) => 0x0d,
            Self::Binary(_) => kind::BINARY,
            Self::Guid(_) => kind::GUID,
            Self::FileTime(_) => kind::FILE_TIME,
            Self::Sid(_) => kind::SID,
            Self::HexInt32(_) => 0x14,
            Self::HexInt64(_) => kind::HEX_INT64,
        }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => {}
            Self::String(text) => write_utf16(text, out),
            Self::Int8(n) => out.extend(n.to_le_bytes()),
            Self::UInt8(n) => out.push(*n),
            Self::Int16(n) => out.extend(n.to_le_bytes()),
            Self::UInt16(n) => out.extend(n.to_le_bytes()),
            Self::Int32(n) => out.extend(n.to_le_bytes()),
            Self::UInt32(n) | Self::HexInt32(n) => out.extend(n.to_le_bytes()),
            Self::Int64(n) => out.extend(n.to_le_bytes()),
            Self::UInt64(n) | Self::HexInt64(n) => out.extend(n.to_le_bytes()),
            // Four bytes, as BOOL is in C.
            Self::Bool(b) => out.extend(u32::from(*b).to_le_bytes()),
            Self::Binary(bytes) => out.extend(bytes),
            Self::Guid(guid) => out.extend(guid.to_bytes()),
            Self::FileTime(time) => out.extend(time.0.to_le_bytes()),
            Self::Sid(sid) => sid.write(out),
        }
    }
}

/// Appends `text` as UTF-16LE without a terminator.
pub(crate) fn write_utf16(text: &str, out: &mut Vec<u8>) {
    out.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
}

macro_rules! from {
    ($($source:ty => $variant:ident),* $(,)?) => {$(
        impl From<$source> for EvtxValue {
            fn from(value: $source) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}

from! {
    &str => String,
    String => String,
    u8 => UInt8,
    u16 => UInt16,
    u32 => UInt32,
    u64 => UInt64,
    i32 => Int32,
    i64 => Int64,
    bool => Bool,
    Vec<u8> => Binary,
    EvtxGuid => Guid,
    FileTime => FileTime,
    Sid => Sid,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guid_bytes_and_text() {
        let guid = EvtxGuid::from_u128(0xa7975c8f_ac13_49f1_87da_5a984a4ab417);
        assert_eq!(
            guid.to_bytes(),
            [
                0x8f, 0x5c, 0x97, 0xa7, // Data1, little-endian
                0x13, 0xac, // Data2
                0xf1, 0x49, // Data3
                0x87, 0xda, 0x5a, 0x98, 0x4a, 0x4a, 0xb4, 0x17, // Data4, in order
            ]
        );
        assert_eq!(guid.to_string(), "a7975c8f-ac13-49f1-87da-5a984a4ab417");
    }

    #[test]
    fn sid_bytes() {
        let mut out = Vec::new();
        assert_eq!(Sid::nt([32, 544]).to_string(), "S-1-5-32-544");
        EvtxValue::Sid(Sid::nt([32, 544])).write(&mut out);
        assert_eq!(
            out,
            [
                1, 2, // revision, two parts
                0, 0, 0, 0, 0, 5, // NT authority
                32, 0, 0, 0, // BUILTIN
                0x20, 2, 0, 0, // Administrators
            ]
        );
    }

    #[test]
    fn file_time_of_a_known_moment() {
        // 2019-05-16T01:33:54.5678966Z, the eight bytes Windows wrote for it.
        let time = FileTime::from_unix(1_557_970_434, 5_678_966);
        assert_eq!(time.0.to_le_bytes(), [0x76, 0x54, 0x79, 0x6c, 0x87, 0x0b, 0xd5, 0x01]);
    }

    #[test]
    fn bool_takes_four_bytes() {
        let mut out = Vec::new();
        EvtxValue::Bool(true).write(&mut out);
        assert_eq!(out, [1, 0, 0, 0]);
    }
}
