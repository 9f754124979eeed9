//! Times are UTC and keep the 100 ns of Windows' FILETIME.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Timelike, Utc};

/// A time as CSV cells show it: `yyyy-MM-dd HH:mm:ss.fffffff`, UTC.
///
/// Neither `T` nor `Z`: Timeline Explorer shifts an ISO time with `Z` to local time.
pub fn csv_time(time: DateTime<Utc>) -> String {
    String::from_utf8_lossy(&csv_time_bytes(time)).into_owned()
}

/// Shows times one after another, most of which are of the same second as the one before.
#[derive(Debug, Default)]
pub(crate) struct CsvTimes {
    second: Option<i64>,
    text: [u8; 27],
}

impl CsvTimes {
    /// A time as [`csv_time`] shows it.
    pub fn show(&mut self, time: DateTime<Utc>) -> &str {
        let second = Some(time.timestamp());
        if self.second != second {
            self.text = csv_time_bytes(time);
            self.second = second;
        } else {
            digits(&mut self.text[20..], ticks(time));
        }
        // Digits and what stands between them are ASCII.
        str::from_utf8(&self.text).unwrap_or_default()
    }
}

/// The 100 ns of its second that a time is at.
fn ticks(time: DateTime<Utc>) -> u32 {
    time.timestamp_subsec_nanos() % 1_000_000_000 / 100
}

/// Fills room with a number's last digits.
fn digits(room: &mut [u8], mut number: u32) {
    for byte in room.iter_mut().rev() {
        *byte = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn csv_time_bytes(time: DateTime<Utc>) -> [u8; 27] {
    // By hand: every row has one, and formatting takes many times as long.
    let (date, clock) = (time.date_naive(), time.time());
    let mut text = *b"0000-00-00 00:00:00.0000000";
    let parts = [
        (0..4, date.year().unsigned_abs()),
        (5..7, date.month()),
        (8..10, date.day()),
        (11..13, clock.hour()),
        (14..16, clock.minute()),
        (17..19, clock.second()),
        (20..27, ticks(time)),
    ];
    for (place, number) in parts {
        digits(&mut text[place], number);
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
    fn a_time_is_shown_the_same_after_any_other() {
        let texts =
            ["2019-05-16T01:33:54.5678966Z", "2019-05-16T01:33:54Z", "1969-12-31T23:59:59.9Z"];
        let times = texts.map(|text| text.parse::<DateTime<Utc>>().unwrap());
        let mut shown = CsvTimes::default();
        for time in [0, 1, 1, 0, 2, 2, 0].map(|index| times[index]) {
            assert_eq!(shown.show(time), csv_time(time));
        }
        assert_eq!(csv_time(times[2]), "1969-12-31 23:59:59.9000000");
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
