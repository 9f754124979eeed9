//! Windows of time: how far apart records that belong together may be, and the time that a run
//! looks at.

use chrono::{DateTime, TimeDelta, Utc};

/// How far apart the two ends of a session may log its start, including the difference of clocks.
pub(super) const JOIN_WINDOW: TimeDelta = TimeDelta::seconds(60);
/// How far apart the clocks of two hosts may be. Kerberos refuses more (RFC 4120, 8.2, recommends
/// five minutes, which is Windows' default).
pub(super) const MAX_CLOCK_DIFFERENCE: TimeDelta = TimeDelta::minutes(5);
/// How far apart one host logs the records of one step.
pub(super) const STEP_WINDOW: TimeDelta = TimeDelta::seconds(10);
/// How long after its shell a session's first command may come, if no record shows its process.
pub(super) const FIRST_COMMAND_WINDOW: TimeDelta = TimeDelta::hours(1);

/// Returns true if two times are at most `window` apart.
pub(super) fn is_within(a: DateTime<Utc>, b: DateTime<Utc>, window: TimeDelta) -> bool {
    (a - b).abs() <= window
}

/// The time that a run looks at.
#[derive(Debug, Clone, Copy, Default)]
pub struct TimeWindow {
    /// From this time on, UTC.
    pub from: Option<DateTime<Utc>>,
    /// Before this time, UTC.
    pub to: Option<DateTime<Utc>>,
}

impl TimeWindow {
    pub(super) fn contains(&self, time: DateTime<Utc>) -> bool {
        self.from.is_none_or(|from| time >= from) && self.to.is_none_or(|to| time < to)
    }
}
