//! Holes in logs that suggest that records were removed.
//!
//! The event log service numbers the records of a channel without gaps, so a hole in EventRecordID
//! is a record that is not in the file. Usually nobody removed it from the log: exports by query
//! leave holes, forwarded events are selected by a subscription, several hosts or channels in one
//! file have separate numbers, and damage loses records. So a hole is reported only if none of
//! these explains it. A false alarm is worse than a miss. All of these must hold:
//!
//! - The file is EVTX, was read without loss, and contains one channel of one host.
//! - It has few holes. A query for some events leaves a hole at every other record.
//! - There are many records without a hole on both sides. An export renumbers the records in their
//!   headers and keeps EventRecordID. So if both numbers are equal on both sides, the file is not
//!   an export, and fewer records suffice.
//! - No other input has a record of the hole.
//!
//! The cause may still be a query that excluded something rare, or a log that was copied while it
//! was overwritten. The rules on holes say so.

use std::collections::BTreeMap;

use super::windows::TimeWindow;
use crate::model::{Channel, Coverage, Gap, HostName, InputIdx, LogGap, Session};

/// Least records without a hole on both sides of a hole, in a file that the service numbered.
const MIN_RUN: u64 = 20;
/// The same in an export.
const MIN_RUN_IN_EXPORT: u64 = 200;

/// Returns the suspicious holes, by host, channel and place, each once if several inputs have it.
/// `sound` returns true if an input is EVTX and was read without loss.
pub(super) fn log_gaps(
    coverage: &[Coverage],
    sessions: &[Session],
    window: TimeWindow,
    sound: impl Fn(InputIdx) -> bool,
) -> Vec<LogGap> {
    let mut by_place: BTreeMap<(&HostName, Channel), Vec<&Coverage>> = BTreeMap::new();
    for known in coverage {
        by_place.entry((&known.host, known.channel)).or_default().push(known);
    }
    let mut found: BTreeMap<(&HostName, Channel, u64, u64), LogGap> = BTreeMap::new();
    for ((host, channel), inputs) in &by_place {
        for known in inputs.iter().filter(|known| known.alone && sound(known.input)) {
            for gap in known.gaps.iter().flatten().filter(|gap| is_suspicious(gap)) {
                let in_other_input =
                    |other: &&&Coverage| other.input != known.input && may_hold(other, gap);
                let (from, to) = (gap.before.time, gap.after.time);
                let seen = window.from.is_none_or(|start| to >= start)
                    && window.to.is_none_or(|end| from < end);
                if !seen || inputs.iter().any(|other| in_other_input(&other)) {
                    continue;
                }
                let inside = sessions.iter().filter(|session| {
                    session.target_host == **host && session.start <= to && session.end >= from
                });
                let key = (*host, *channel, gap.before.record_id, gap.after.record_id);
                found.entry(key).or_insert_with(|| LogGap {
                    host: (*host).clone(),
                    channel: *channel,
                    gap: *gap,
                    sessions: inside.count(),
                });
            }
        }
    }
    found.into_values().collect()
}

/// Returns true if neither a query nor the end of a log would leave this hole.
fn is_suspicious(gap: &Gap) -> bool {
    gap.around >= if gap.renumbered() { MIN_RUN_IN_EXPORT } else { MIN_RUN }
}

/// Returns true if another log may have a record of a hole. A log with many holes may.
fn may_hold(other: &Coverage, gap: &Gap) -> bool {
    let (first, last) = (gap.before.record_id + 1, gap.after.record_id - 1);
    let [from, to] = other.numbers;
    let apart = last < from || first > to;
    let within = |own: &Gap| own.before.record_id < first && own.after.record_id > last;
    !apart && !other.gaps.as_ref().is_some_and(|gaps| gaps.iter().any(within))
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::super::log_extent;
    use super::super::log_extent::LogExtent;
    use super::*;
    use crate::decode::RecordHeader;
    use crate::model::RecordRef;

    /// Returns the extent of an input with these EventRecordIDs. With `anew` the headers' numbers
    /// differ from them.
    fn log(input: InputIdx, ids: impl IntoIterator<Item = u64>, anew: bool) -> LogExtent {
        let mut extent = LogExtent::new(input);
        for (index, record_id) in ids.into_iter().enumerate() {
            let number = if anew { index as u64 + 1 } else { record_id };
            extent.add_record(RecordHeader {
                source: RecordRef { input, offset: index as u64, number },
                channel: Channel::Security,
                channel_name: "Security",
                provider: "",
                computer: "SRV01",
                event_id: 4624,
                record_id,
                time: DateTime::UNIX_EPOCH + TimeDelta::seconds(record_id as i64),
            });
        }
        extent
    }

    fn holes(logs: &[LogExtent], window: TimeWindow) -> Vec<(u64, u64)> {
        let coverage = log_extent::log_coverage(logs.iter(), HostName::clone);
        let found = log_gaps(&coverage, &[], window, |_| true);
        found.iter().map(|one| (one.gap.before.record_id, one.gap.after.record_id)).collect()
    }

    fn without(from: u64, to: u64) -> impl Iterator<Item = u64> {
        (1000..2000).filter(move |id| !(from..to).contains(id))
    }

    #[test]
    fn a_hole_in_the_middle_counts_and_the_ends_of_a_log_do_not() {
        assert_eq!(
            holes(&[log(InputIdx::default(), 1000..2000, false)], TimeWindow::default()),
            []
        );
        let hole = log(InputIdx::default(), without(1500, 1503), false);
        assert_eq!(holes(&[hole], TimeWindow::default()), [(1499, 1503)]);
        // Too near the end: an overwritten log may leave such a hole.
        assert_eq!(
            holes(&[log(InputIdx::default(), without(1010, 1020), false)], TimeWindow::default()),
            []
        );
    }

    #[test]
    fn pieces_of_a_log_and_a_log_that_wrapped_have_no_hole_between_them() {
        let wrapped = (1600..2000).chain(1000..1600);
        assert_eq!(holes(&[log(InputIdx::default(), wrapped, false)], TimeWindow::default()), []);
        let pieces = [
            log(InputIdx::default(), 1600..2000, false),
            log(InputIdx::default(), 1000..1600, false),
        ];
        assert_eq!(holes(&pieces, TimeWindow::default()), []);
    }

    #[test]
    fn what_a_query_selected_is_no_gap() {
        assert_eq!(
            holes(
                &[log(InputIdx::default(), (1000..2000).step_by(3), false)],
                TimeWindow::default()
            ),
            []
        );
        // An export with runs of a hundred may well be one without some rare event.
        let rare = |every: u64| (1000..2000).filter(move |id| id % every != 0);
        assert_eq!(holes(&[log(InputIdx::default(), rare(100), true)], TimeWindow::default()), []);
        assert_eq!(
            holes(&[log(InputIdx::default(), without(1500, 1600), true)], TimeWindow::default()),
            [(1499, 1600)]
        );
    }

    #[test]
    fn what_another_input_has_is_not_missing() {
        let hole = || log(InputIdx::default(), without(1500, 1510), false);
        assert_eq!(
            holes(&[hole(), log(InputIdx::new(1), 1505..1506, true)], TimeWindow::default()),
            []
        );
        assert_eq!(
            holes(
                &[hole(), log(InputIdx::new(1), (1400..1900).step_by(7), true)],
                TimeWindow::default()
            ),
            []
        );
        // A copy with the same hole adds nothing, and neither does another part of the log.
        let copy = log(InputIdx::new(1), without(1500, 1510), false);
        assert_eq!(holes(&[hole(), copy], TimeWindow::default()), [(1499, 1510)]);
        assert_eq!(
            holes(&[hole(), log(InputIdx::new(1), 10..900, false)], TimeWindow::default()),
            [(1499, 1510)]
        );
    }

    #[test]
    fn files_of_several_channels_and_times_outside_the_window_count_for_nothing() {
        let mut mixed = log(InputIdx::default(), without(1500, 1510), false);
        mixed.add_record(RecordHeader {
            source: RecordRef { input: InputIdx::default(), offset: 9, number: 9 },
            channel: Channel::Other,
            channel_name: "Application",
            provider: "",
            computer: "SRV01",
            event_id: 1,
            record_id: 9,
            time: DateTime::UNIX_EPOCH,
        });
        assert_eq!(holes(&[mixed], TimeWindow::default()), []);
        let from = |second| Some(DateTime::UNIX_EPOCH + TimeDelta::seconds(second));
        let hole = || log(InputIdx::default(), without(1500, 1510), false);
        assert_eq!(holes(&[hole()], TimeWindow { from: from(1511), to: None }), []);
        assert_eq!(holes(&[hole()], TimeWindow { from: from(1505), to: None }), [(1499, 1510)]);
        assert_eq!(holes(&[hole()], TimeWindow { from: None, to: from(1499) }), []);
    }
}
