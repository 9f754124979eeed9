//! Renders values as text, in the way the evtx crate does.

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, Timelike, Utc};

use super::binxml::{BinXmlValue, Unplannable, kind, write_utf16};

/// 100 ns intervals in a second.
const TICKS: u64 = 10_000_000;
/// From FILETIME's 1601 to 1970, in seconds.
const EPOCH: i64 = 11_644_473_600;

impl BinXmlValue<'_> {
    /// Appends the value's text. A value without content adds nothing.
    pub fn write(self, out: &mut Vec<u8>) -> Result<(), Unplannable> {
        let bytes = self.bytes;
        match self.kind {
            kind::NULL => {}
            kind::STRING => write_utf16(bytes, out)?,
            kind::ANSI_STRING if bytes.is_ascii() => {
                out.extend(bytes.iter().filter(|&&byte| byte != 0));
            }
            kind::INT8 | kind::INT16 | kind::INT32 | kind::INT64 => {
                write_decimal(signed_le(bytes), out)
            }
            kind::UINT8 | kind::UINT16 | kind::UINT32 | kind::UINT64 => {
                write_decimal(unsigned_le(bytes), out);
            }
            // Windows also writes masks as booleans.
            kind::BOOL => match signed_le(bytes) {
                0 => out.extend_from_slice(b"false"),
                1 => out.extend_from_slice(b"true"),
                mask => write_decimal(mask, out),
            },
            kind::BINARY => write_hex(bytes, out),
            kind::GUID => write_guid(bytes, out),
            kind::SIZE_T | kind::HEX_INT32 | kind::HEX_INT64 => {
                write_hex_number(unsigned_le(bytes), out)
            }
            kind::FILETIME => write_time(unsigned_le(bytes), out)?,
            kind::SYSTEMTIME => write_systemtime(bytes, out),
            kind::SID => write_sid(bytes, out),
            kind::BINXML if bytes.is_empty() => {}
            _ => return Err(Unplannable("a value whose text is the crate's to write")),
        }
        Ok(())
    }

    /// Returns the value's text.
    pub fn text(self) -> Result<String, Unplannable> {
        let mut bytes = Vec::new();
        self.write(&mut bytes)?;
        String::from_utf8(bytes).map_err(|_| Unplannable("a text that is not UTF-8"))
    }

    /// Returns the value as a number, if its text is the digits of a number.
    pub fn number(self) -> Option<u64> {
        match self.kind {
            kind::UINT8 | kind::UINT16 | kind::UINT32 | kind::UINT64 => {
                Some(unsigned_le(self.bytes))
            }
            _ => None,
        }
    }
}

/// Returns whether the evtx crate accepts a FILETIME as a record's time.
pub(super) fn is_time(ticks: u64) -> bool {
    /// 9999-12-30 22:00:00.
    const LAST: i64 = 253_402_207_200;
    ticks / TICKS <= (LAST + EPOCH) as u64
}

/// Converts FILETIMEs and caches the day, because the next time is usually on the same day.
#[derive(Debug, Default)]
pub(super) struct DayCache {
    /// The last day's number since 1601, and its date.
    latest: Option<(u64, NaiveDate)>,
}

impl DayCache {
    /// Does the same as [`filetime`].
    pub fn filetime(&mut self, ticks: u64) -> Option<DateTime<Utc>> {
        const DAY: u64 = 24 * 60 * 60 * TICKS;
        let (day, of_day) = (ticks / DAY, ticks % DAY);
        if let Some((latest, date)) = self.latest
            && latest == day
        {
            let nanoseconds = (of_day % TICKS) as u32 * 100;
            let time = NaiveTime::from_num_seconds_from_midnight_opt(
                (of_day / TICKS) as u32,
                nanoseconds,
            )?;
            return is_time(ticks).then(|| date.and_time(time).and_utc());
        }
        let time = filetime(ticks)?;
        self.latest = Some((day, time.date_naive()));
        Some(time)
    }
}

/// Converts a FILETIME. Returns `None` if the evtx crate does not accept it as a record's time.
fn filetime(ticks: u64) -> Option<DateTime<Utc>> {
    let seconds = (ticks / TICKS) as i64 - EPOCH;
    let time = DateTime::from_timestamp(seconds, (ticks % TICKS) as u32 * 100)?;
    is_time(ticks).then_some(time)
}

fn write_time(ticks: u64, out: &mut Vec<u8>) -> Result<(), Unplannable> {
    let time = filetime(ticks).ok_or(Unplannable("a time past the year 9999"))?.naive_utc();
    let (day, clock) = (time.date(), time.time());
    let date = [day.year() as u32, day.month(), day.day()];
    write_timestamp(
        date,
        [clock.hour(), clock.minute(), clock.second()],
        clock.nanosecond() / 100,
        out,
    );
    Ok(())
}

/// Appends a time as `yyyy-MM-ddTHH:mm:ss.fffffffZ`.
fn write_timestamp(
    [year, month, day]: [u32; 3],
    [hour, minute, second]: [u32; 3],
    ticks: u32,
    out: &mut Vec<u8>,
) {
    let mut text = *b"0000-00-00T00:00:00.0000000Z";
    let places = [(0, 4), (5, 2), (8, 2), (11, 2), (14, 2), (17, 2), (20, 7)];
    for ((at, size), mut number) in
        places.into_iter().zip([year, month, day, hour, minute, second, ticks])
    {
        for digit in text[at..at + size].iter_mut().rev() {
            *digit += (number % 10) as u8;
            number /= 10;
        }
    }
    out.extend_from_slice(&text);
}

/// Appends a SYSTEMTIME: year, month, day of the week, day, hour, minute, second, milliseconds. An
/// invalid one is written as the first of January 1601.
fn write_systemtime(bytes: &[u8], out: &mut Vec<u8>) {
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
        write_timestamp(
            [year % 10000, month, day],
            [hour, minute, second],
            milliseconds * 10_000,
            out,
        );
    } else {
        write_timestamp([1601, 1, 1], [0, 0, 0], 0, out);
    }
}

/// Reads a little-endian number.
pub(super) fn unsigned_le(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

fn signed_le(bytes: &[u8]) -> i64 {
    let unused = 64 - 8 * bytes.len().clamp(1, 8);
    (unsigned_le(bytes) << unused) as i64 >> unused
}

fn write_decimal(number: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn digit(nibble: u8) -> u8 {
    b"0123456789abcdef"[usize::from(nibble & 15)]
}

fn write_hex(bytes: &[u8], out: &mut Vec<u8>) {
    let digits = bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]);
    out.extend(digits.map(|digit| digit.to_ascii_uppercase()));
}

/// Appends a number as `0x` and its digits without leading zeroes.
fn write_hex_number(number: u64, out: &mut Vec<u8>) {
    let digits = (64 - number.leading_zeros()).div_ceil(4).max(1) as usize;
    let mut text = *b"0x0000000000000000";
    for (place, to) in text[2..2 + digits].iter_mut().rev().enumerate() {
        *to = digit((number >> (4 * place)) as u8);
    }
    out.extend_from_slice(&text);
    out.truncate(out.len() - 16 + digits);
}

/// Appends a GUID as `{d1-d2-d3-d4-d4}`, of which the first three parts are little-endian.
fn write_guid(bytes: &[u8], out: &mut Vec<u8>) {
    /// The places of each byte's digits.
    const PLACES: [usize; 16] = [7, 5, 3, 1, 12, 10, 17, 15, 20, 22, 25, 27, 29, 31, 33, 35];
    let mut text = *b"{00000000-0000-0000-0000-000000000000}";
    for (&byte, place) in bytes.iter().zip(PLACES) {
        text[place] = digit(byte >> 4);
        text[place + 1] = digit(byte);
    }
    out.extend_from_slice(&text);
}

/// Appends a SID as `S-R-A-S1-…-Sn`: the revision, the authority (48 bits, big-endian), the
/// sub-authorities.
fn write_sid(bytes: &[u8], out: &mut Vec<u8>) {
    let [revision, _, a, b, c, d, e, f, subs @ ..] = bytes else { return };
    out.extend_from_slice(b"S-");
    write_decimal(*revision, out);
    out.push(b'-');
    write_decimal(u64::from_be_bytes([0, 0, *a, *b, *c, *d, *e, *f]), out);
    for &sub in subs.as_chunks::<4>().0 {
        out.push(b'-');
        write_decimal(u32::from_le_bytes(sub), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: u8, bytes: &[u8]) -> Result<String, Unplannable> {
        let value = BinXmlValue { kind, bytes };
        value.check().and_then(|()| value.text())
    }

    fn text(kind: u8, bytes: &[u8]) -> String {
        read(kind, bytes).unwrap()
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
        let mut days = DayCache::default();
        // The last tick of a day, the first one of the next, a leap day, the last time, none.
        let noon = 133_536_384_000_000_000;
        for ticks in [0, 863_999_999_999, 864_000_000_000, noon, noon + 1, 0, u64::MAX, noon] {
            assert_eq!(days.filetime(ticks), filetime(ticks), "{ticks}");
        }
        let last = (253_402_207_200 + EPOCH) as u64 * TICKS;
        for ticks in [last, last + TICKS - 1, last + TICKS, last + 2 * TICKS] {
            assert_eq!(days.filetime(ticks), filetime(ticks), "{ticks}");
        }
        // 2021-02-28 01:02:03.004, a Sunday; then the 30th.
        let mut time = [0xe5, 7, 2, 0, 0, 0, 28, 0, 1, 0, 2, 0, 3, 0, 4, 0];
        assert_eq!(text(kind::SYSTEMTIME, &time), "2021-02-28T01:02:03.0040000Z");
        time[6] = 30;
        assert_eq!(text(kind::SYSTEMTIME, &time), "1601-01-01T00:00:00.0000000Z");
    }

    #[test]
    fn the_unusual_is_left_to_the_crate() {
        assert!(read(kind::UINT32, &[0; 2]).is_err());
        assert!(read(kind::STRING, b"a").is_err());
        assert!(read(0x83, &[]).is_err());
        // Half a pair.
        assert!(read(kind::STRING, &[0x00, 0xd8]).is_err());
        assert!(read(kind::REAL64, &[0; 8]).is_err());
    }
}
