//! Values to text, as the evtx crate renders them.

use std::fmt::Write;

use chrono::{DateTime, Datelike, NaiveDate, Timelike, Utc};

use super::binxml::{Odd, Value, kind, utf16};

/// 100 ns intervals in a second.
const TICKS: u64 = 10_000_000;
/// From FILETIME's 1601 to 1970, in seconds.
const EPOCH: i64 = 11_644_473_600;

impl Value<'_> {
    /// The value's text; empty for one without content.
    pub fn text(self) -> Result<String, Odd> {
        let bytes = self.bytes;
        Ok(match self.kind {
            kind::NULL => String::new(),
            kind::STRING => utf16(bytes).ok_or(Odd("a surrogate stands alone"))?,
            kind::ANSI_STRING if bytes.is_ascii() => {
                bytes.iter().filter(|&&byte| byte != 0).map(|&byte| char::from(byte)).collect()
            }
            kind::INT8 | kind::INT16 | kind::INT32 | kind::INT64 => signed(bytes).to_string(),
            kind::UINT8 | kind::UINT16 | kind::UINT32 | kind::UINT64 => unsigned(bytes).to_string(),
            // Windows also writes masks as booleans.
            kind::BOOL => match signed(bytes) {
                0 => "false".to_owned(),
                1 => "true".to_owned(),
                mask => mask.to_string(),
            },
            kind::BINARY => hex(bytes),
            kind::GUID => guid(bytes),
            kind::SIZE_T | kind::HEX_INT32 | kind::HEX_INT64 => hex_number(unsigned(bytes)),
            kind::FILETIME => time_text(unsigned(bytes)).ok_or(Odd("a time past the year 9999"))?,
            kind::SYSTEMTIME => systemtime(bytes),
            kind::SID => sid(bytes),
            kind::BINXML if bytes.is_empty() => String::new(),
            _ => return Err(Odd("a value whose text is the crate's to write")),
        })
    }

    /// The value as a number, if its text is the digits of one.
    pub fn number(self) -> Option<u64> {
        match self.kind {
            kind::UINT8 | kind::UINT16 | kind::UINT32 | kind::UINT64 => Some(unsigned(self.bytes)),
            _ => None,
        }
    }
}

/// A FILETIME up to the last second that the evtx crate takes for a record's time.
pub(super) fn filetime(ticks: u64) -> Option<DateTime<Utc>> {
    /// 9999-12-30 22:00:00.
    const LAST: i64 = 253_402_207_200;
    let seconds = i64::try_from(ticks / TICKS).ok()? - EPOCH;
    let time = DateTime::from_timestamp(seconds, (ticks % TICKS) as u32 * 100)?;
    (seconds <= LAST).then_some(time)
}

fn time_text(ticks: u64) -> Option<String> {
    let time = filetime(ticks)?.naive_utc();
    let (day, clock) = (time.date(), time.time());
    let date = [day.year() as u32, day.month(), day.day()];
    Some(stamp(date, [clock.hour(), clock.minute(), clock.second()], clock.nanosecond() / 100))
}

/// `yyyy-MM-ddTHH:mm:ss.fffffffZ`
fn stamp([year, month, day]: [u32; 3], [hour, minute, second]: [u32; 3], ticks: u32) -> String {
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ticks:07}Z")
}

/// A SYSTEMTIME: year, month, day of the week, day, hour, minute, second, milliseconds. One that
/// is no time reads as the first of 1601.
fn systemtime(bytes: &[u8]) -> String {
    let mut fields = [0; 8];
    for (field, bytes) in fields.iter_mut().zip(bytes.as_chunks().0) {
        *field = u32::from(u16::from_le_bytes(*bytes));
    }
    let [year, month, _, day, hour, minute, second, milliseconds] = fields;
    let valid = (1601..=30827).contains(&year)
        && NaiveDate::from_ymd_opt(year as i32, month, day).is_some()
        && hour < 24
        && minute < 60
        && second < 60
        && milliseconds < 1000;
    if valid {
        stamp([year % 10000, month, day], [hour, minute, second], milliseconds * 10_000)
    } else {
        stamp([1601, 1, 1], [0, 0, 0], 0)
    }
}

/// A little-endian number.
pub(super) fn unsigned(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

fn signed(bytes: &[u8]) -> i64 {
    let unused = 64 - 8 * bytes.len().clamp(1, 8);
    (unsigned(bytes) << unused) as i64 >> unused
}

fn digit(nibble: u8) -> char {
    char::from(b"0123456789abcdef"[usize::from(nibble & 15)])
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(digit(byte >> 4).to_ascii_uppercase());
        text.push(digit(*byte).to_ascii_uppercase());
    }
    text
}

/// `0x`, then the digits without leading zeroes.
fn hex_number(number: u64) -> String {
    let digits = (64 - number.leading_zeros()).div_ceil(4).max(1);
    let mut text = String::with_capacity(18);
    text.push_str("0x");
    text.extend((0..digits).rev().map(|place| digit((number >> (4 * place)) as u8)));
    text
}

/// `{d1-d2-d3-d4-d4}`, the first three of them little-endian.
fn guid(bytes: &[u8]) -> String {
    const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let mut text = String::with_capacity(38);
    text.push('{');
    for (place, &index) in ORDER.iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let byte = bytes.get(index).copied().unwrap_or_default();
        text.push(digit(byte >> 4));
        text.push(digit(byte));
    }
    text.push('}');
    text
}

/// `S-R-A-S1-…-Sn`: the revision, the authority (48 bits, big-endian), the sub-authorities.
fn sid(bytes: &[u8]) -> String {
    let [revision, _, a, b, c, d, e, f, subs @ ..] = bytes else { return String::new() };
    let authority = u64::from_be_bytes([0, 0, *a, *b, *c, *d, *e, *f]);
    let mut text = String::with_capacity(12 + 11 * subs.len() / 4);
    // Writing to a String does not fail.
    let _ = write!(text, "S-{revision}-{authority}");
    for sub in subs.as_chunks::<4>().0 {
        let _ = write!(text, "-{}", u32::from_le_bytes(*sub));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(kind: u8, bytes: &[u8]) -> String {
        Value::checked(kind, bytes).unwrap().text().unwrap()
    }

    #[test]
    fn values_read_as_windows_shows_them() {
        assert_eq!(text(kind::STRING, b"a\0\xe4\0\0\0b\0"), "a\u{e4}");
        assert_eq!(text(kind::ANSI_STRING, b"ab\0"), "ab");
        assert_eq!(text(kind::INT8, &[0xff]), "-1");
        assert_eq!(text(kind::INT64, &i64::MIN.to_le_bytes()), "-9223372036854775808");
        assert_eq!(text(kind::UINT32, &u32::MAX.to_le_bytes()), "4294967295");
        assert_eq!(text(kind::BOOL, &[1, 0, 0, 0]), "true");
        assert_eq!(text(kind::BOOL, &[0xfe, 0xff, 0xff, 0xff]), "-2");
        assert_eq!(text(kind::BINARY, &[0x0f, 0xa0]), "0FA0");
        assert_eq!(text(kind::HEX_INT32, &[0; 4]), "0x0");
        assert_eq!(text(kind::HEX_INT64, &0x1f00_0000_abcd_u64.to_le_bytes()), "0x1f000000abcd");
        assert_eq!(text(kind::SIZE_T, &u64::MAX.to_le_bytes()), "0xffffffffffffffff");
        let guid: Vec<u8> = (0..16).collect();
        assert_eq!(text(kind::GUID, &guid), "{03020100-0504-0706-0809-0a0b0c0d0e0f}");
        // Revision 1, two sub-authorities, authority 5, 32 and 544.
        let sid = [1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0];
        assert_eq!(text(kind::SID, &sid), "S-1-5-32-544");
    }

    #[test]
    fn times_keep_100_nanoseconds() {
        let ticks = 132_439_181_733_497_103_u64;
        assert_eq!(text(kind::FILETIME, &ticks.to_le_bytes()), "2020-09-07T02:09:33.3497103Z");
        assert_eq!(text(kind::FILETIME, &[0; 8]), "1601-01-01T00:00:00.0000000Z");
        assert_eq!(filetime(u64::MAX), None);
        // 2021-02-28 01:02:03.004, a Sunday; then the 30th.
        let mut time = [0xe5, 7, 2, 0, 0, 0, 28, 0, 1, 0, 2, 0, 3, 0, 4, 0];
        assert_eq!(text(kind::SYSTEMTIME, &time), "2021-02-28T01:02:03.0040000Z");
        time[6] = 30;
        assert_eq!(text(kind::SYSTEMTIME, &time), "1601-01-01T00:00:00.0000000Z");
    }

    #[test]
    fn the_unusual_is_left_to_the_crate() {
        assert!(Value::checked(kind::UINT32, &[0; 2]).is_err());
        assert!(Value::checked(kind::STRING, b"a").is_err());
        assert!(Value::checked(0x83, &[]).is_err());
        let half_a_pair = Value::checked(kind::STRING, &[0x00, 0xd8]).unwrap();
        assert!(half_a_pair.text().is_err());
        assert!(Value::checked(kind::REAL64, &[0; 8]).unwrap().text().is_err());
    }
}
