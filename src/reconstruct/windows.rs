//! Windows of time: how far apart records may be that belong together, and the part of the time that a
//! run looks at.

use chrono::{DateTime, TimeDelta, Utc};

/// How far apart the ends of one session may log its start, clocks included.
pub(super) const JOIN_WINDOW: TimeDelta = TimeDelta::seconds(60);
/// How far apart the clocks of two hosts may be: Kerberos refuses more (RFC 4120, 8.2, recommends
/// five minutes, which is Windows' default).
pub(super) const MAX_CLOCK_DIFFERENCE: TimeDelta = TimeDelta::minutes(5);
/// How far apart one host logs what belongs to one step.
pub(super) const STEP_WINDOW: TimeDelta = TimeDelta::seconds(10);
/// How long after its shell a session's first command may come where no record tells of its process.
pub(super) const FIRST_COMMAND_WINDOW: TimeDelta = TimeDelta::hours(1);

/// Whether two times are at most `window` apart.
pub(super) fn is_within(a: DateTime<Utc>, b: DateTime<Utc>, window: TimeDelta) -> bool {
    (a - b).abs() <= window
}

/// The part of the time that a run looks at.
#[derive(Debug, Clone, Copy, Default)]
pub struct TimeWindow {
    /// From then on; UTC.
    pub from: Option<DateTime<Utc>>,
    /// Until before then; UTC.
    pub to: Option<DateTime<Utc>>,
}

impl TimeWindow {
    pub(super) fn contains(&self, time: DateTime<Utc>) -> bool {
        self.from.is_none_or(|from| time >= from) && self.to.is_none_or(|to| time < to)
    }
}
