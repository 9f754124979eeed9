//! The time zone of what a terminal shows. Files stay UTC.

use chrono::{DateTime, FixedOffset, NaiveDateTime, Offset, TimeZone, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};

use crate::report::told::Clock;

/// A time zone.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) enum Zone {
    /// UTC.
    #[default]
    Utc,
    /// So far from UTC.
    Fixed(FixedOffset),
    /// A place's, with its summer time.
    Named(Tz),
}

/// The option that names it.
#[derive(clap::Args)]
pub(super) struct Shown {
    /// Show times in this zone: an IANA name as Europe/Berlin, or an offset as +02:00. Files stay
    /// UTC
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = parse,
          allow_hyphen_values = true, hide_default_value = true)]
    pub timezone: Zone,
}

fn parse(text: &str) -> Result<Zone, String> {
    if ["utc", "z"].iter().any(|utc| text.eq_ignore_ascii_case(utc)) {
        return Ok(Zone::Utc);
    }
    if let Some(zone) = TZ_VARIANTS.iter().find(|zone| zone.name().eq_ignore_ascii_case(text)) {
        return Ok(Zone::Named(*zone));
    }
    offset(text).map(Zone::Fixed).ok_or_else(|| {
        format!(
            "'{text}' is no time zone: write an IANA name as Europe/Berlin, or an offset as +02:00"
        )
    })
}

/// An offset: `+2`, `+02`, `+0200`, `+02:00`.
fn offset(text: &str) -> Option<FixedOffset> {
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = match digits.split_once(':') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => digits.split_at_checked(digits.len().min(2))?,
    };
    let number = |text: &str, most: i32| {
        let is_number = text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number| is_number && *number <= most)
    };
    let minutes = if minutes.is_empty() { Some(0) } else { number(minutes, 59) };
    FixedOffset::east_opt(sign * 60 * (60 * number(hours, 14)? + minutes?))
}

impl Zone {
    /// The zone's name, for a heading.
    pub fn name(self) -> String {
        match self {
            Zone::Utc => "UTC".to_owned(),
            Zone::Fixed(offset) => format!("UTC{offset}"),
            Zone::Named(zone) => zone.name().to_owned(),
        }
    }

    /// How far it is from UTC at a time.
    fn offset(self, time: DateTime<Utc>) -> FixedOffset {
        match self {
            Zone::Utc => Utc.fix(),
            Zone::Fixed(offset) => offset,
            Zone::Named(zone) => zone.offset_from_utc_datetime(&time.naive_utc()).fix(),
        }
    }

    /// A time's day and clock there.
    pub fn local(self, time: DateTime<Utc>) -> NaiveDateTime {
        time.with_timezone(&self.offset(time)).naive_local()
    }
}

impl Clock for Zone {
    /// What stands behind a time that has a day: `UTC`, or the offset, which summer time changes.
    fn mark(&self, time: DateTime<Utc>) -> String {
        match self {
            Zone::Utc => "UTC".to_owned(),
            _ => self.offset(time).to_string(),
        }
    }

    /// A time with its day, to 100 ns.
    fn exact(&self, time: DateTime<Utc>) -> String {
        let local = self.local(time);
        // FILETIME's 100 ns: nine digits less two.
        let text = local.format("%Y-%m-%d %H:%M:%S%.9f").to_string();
        text[..text.len() - 2].to_owned()
    }

    /// A time with its day, to the second.
    fn seconds(&self, time: DateTime<Utc>) -> String {
        self.local(time).format("%Y-%m-%d %H:%M:%S").to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{csv_time, parse_utc};

    #[test]
    fn zones_are_read_as_people_write_them() {
        assert_eq!(parse("utc"), Ok(Zone::Utc));
        assert_eq!(parse("europe/berlin"), Ok(Zone::Named(Tz::Europe__Berlin)));
        let east = |seconds| Ok(Zone::Fixed(FixedOffset::east_opt(seconds).unwrap()));
        for (text, seconds) in
            [("+2", 7200), ("+0530", 19_800), ("-03:30", -12_600), ("+14:00", 50_400)]
        {
            assert_eq!(parse(text), east(seconds), "{text}");
        }
        for text in ["", "+", "+15", "+02:60", "+2:", "Mars/Olympus", "+1:000", "+-1", "é"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn summer_time_is_told_by_the_offset() {
        let zone = Zone::Named(Tz::Europe__Berlin);
        // 2026: summer time begins on 29 March at 01:00 UTC.
        let winter = parse_utc("2026-03-29T00:59:59.1234567Z").unwrap();
        let summer = parse_utc("2026-03-29T01:00:00Z").unwrap();
        assert_eq!(
            (zone.exact(winter), zone.mark(winter)),
            ("2026-03-29 01:59:59.1234567".into(), "+01:00".into())
        );
        assert_eq!(
            (zone.seconds(summer), zone.mark(summer)),
            ("2026-03-29 03:00:00".into(), "+02:00".into())
        );
        assert_eq!(Zone::Utc.exact(winter), csv_time(winter));
        assert_eq!((Zone::Utc.mark(winter), Zone::Utc.name()), ("UTC".into(), "UTC".into()));
    }
}
