//! Time: ticks of 100 ns since 1601, as Windows counts them.

use chrono::{DateTime, TimeDelta, Utc};
use evtx_writer::FileTime;

/// A point in time or a span.
pub(crate) type Ticks = u64;

/// The story begins on 2026-03-14 at 10:00 UTC and lasts a day, so that it has a midnight in it.
pub(crate) const BEGIN: Ticks = FileTime::from_unix(1_773_482_400, 0).0;
pub(crate) const LENGTH: Ticks = seconds(24 * 3600);
/// When some machines get another address.
pub(crate) const MOVED: Ticks = BEGIN + seconds(9 * 3600);
pub(crate) const MIDNIGHT: Ticks = BEGIN + seconds(14 * 3600);

pub(crate) const fn seconds(count: u64) -> Ticks {
    count * 10_000_000
}

pub(crate) const fn millis(count: u64) -> Ticks {
    count * 10_000
}

/// A point in time as UTC.
pub(crate) fn utc(time: Ticks) -> DateTime<Utc> {
    let since = time as i64 - FileTime::from_unix(0, 0).0 as i64;
    DateTime::UNIX_EPOCH + TimeDelta::microseconds(since / 10)
}

/// As Sysmon spells it.
pub(crate) fn sysmon(time: Ticks) -> String {
    utc(time).format("%Y-%m-%d %H:%M:%S%.3f").to_string()
}
