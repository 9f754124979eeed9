//! Times are UTC and keep the 100 ns of Windows' FILETIME.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Timelike, Utc};

/// A time as CSV cells show it: `yyyy-MM-dd HH:mm:ss.fffffff`, UTC.
///
/// Neither `T` nor `Z`: Timeline Explorer shifts an ISO time with `Z` to local time.
pub fn csv_time(time: DateTime<Utc>) -> String {
    String::from_utf8_lossy(&csv_time_bytes(time)).into_owned()
}

/// The same in ASCII.
pub(crate) fn csv_time_bytes(time: DateTime<Utc>) -> [u8; 27] {
    // By hand: every row has one, and formatting takes many times as long.
    let (date, clock) = (time.date_naive(), time.time());
    let parts = [
        (4, date.year().unsigned_abs(), b'-'),
        (2, date.month(), b'-'),
        (2, date.day(), b' '),
        (2, clock.hour(), b':'),
        (2, clock.minute(), b':'),
        (2, clock.second(), b'.'),
        (7, clock.nanosecond() % 1_000_000_000 / 100, b' '),
    ];
    let mut text = [0; 27];
    let mut to = text.iter_mut();
    for (digits, number, after) in parts {
        let mut unit = 10_u32.pow(digits);
        for byte in to.by_ref().take(digits as usize) {
            unit /= 10;
            *byte = b'0' + (number / unit % 10) as u8;
        }
        to.by_ref().take(1).for_each(|byte| *byte = after);
    }
    text
}

/// Reads a UTC time as people type it: `2026-03-14`, `2026-03-14 21:00`, `2026-03-14T21:00:05.5Z`.
///
/// # Errors
/// A sentence that names the accepted forms.
pub fn parse_utc(text: &str) -> Result<DateTime<Utc>, String> {
    let time = parse(text)?;
    // FILETIME begins in 1601, and cells have four digits for a year.
    match time.year() {
        1601..=9999 => Ok(time),
        _ => Err(format!("'{text}' is not between the years 1601 and 9999")),
    }
}

fn parse(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.with_timezone(&Utc));
    }
    let bare = text.trim_end_matches('Z').replace('T', " ");
    for format in ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(&bare, format) {
            return Ok(time.and_utc());
        }
    }
    NaiveDate::parse_from_str(&bare, "%Y-%m-%d")
        .ok()
        .and_then(|day| day.and_hms_opt(0, 0, 0))
        .map(|time| time.and_utc())
        .ok_or_else(|| format!("'{text}' is no UTC time; write 2026-03-14 or 2026-03-14T21:00:05"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_100_nanoseconds() {
        let time = parse_utc("2019-05-16T01:33:54.5678966Z").unwrap();
        assert_eq!(csv_time(time), "2019-05-16 01:33:54.5678966");
    }

    #[test]
    fn reads_what_people_type() {
        let day = parse_utc("2026-03-14").unwrap();
        assert_eq!(csv_time(day), "2026-03-14 00:00:00.0000000");
        assert_eq!(parse_utc("2026-03-14 00:00").unwrap(), day);
        assert_eq!(parse_utc("2026-03-14T02:00:00+02:00").unwrap(), day);
        assert!(parse_utc("yesterday").unwrap_err().contains("yesterday"));
        assert!(parse_utc("-262143-01-01").unwrap_err().contains("1601"));
        assert!(parse_utc("+10000-01-01T00:00:00Z").is_err());
    }
}
