//! Holes in logs: which of them say that records were taken out.
//!
//! The event log service numbers the records of a channel without a hole, so a hole in
//! EventRecordID is a record that is not in the file. Most often nobody took it out of the log: who
//! exports what a query selects leaves holes, forwarded events come as a subscription selects them,
//! several hosts' or channels' records in one file have each their own numbers, and damage loses
//! records. So a hole counts only where nothing of that explains it, and a false alarm is worse
//! than a miss:
//!
//! - the file is EVTX, nothing of it was lost in reading, and all of it is one host's one channel;
//! - it has few holes: a query for some events leaves one at every other record;
//! - there are many records without a hole on both sides. An export numbers its records anew in
//!   their headers and keeps EventRecordID, so where both numbers are the same on both sides, no
//!   query made the file, and fewer suffice;
//! - no other input has a record of the hole.
//!
//! What is left may still be a query that left out something rare, or a log that was copied while
//! it was overwritten. Rules on it say so.

use std::collections::BTreeMap;

use super::windows::Window;
use crate::model::{Channel, Coverage, Gap, HostName, InputIdx, LogGap, Session};

/// Records without a hole on both sides of one, in a file numbered by the service.
const AROUND: u64 = 20;
/// The same in an export.
const AROUND_IN_EXPORT: u64 = 200;

/// The holes that count, by host, channel and place; once where several inputs have the same.
/// `sound` says of an input whether it is EVTX of which nothing was lost.
pub(super) fn gaps(
    coverage: &[Coverage],
    sessions: &[Session],
    window: Window,
    sound: impl Fn(InputIdx) -> bool,
) -> Vec<LogGap> {
    let mut by_place: BTreeMap<(&HostName, Channel), Vec<&Coverage>> = BTreeMap::new();
    for known in coverage {
        by_place.entry((&known.host, known.channel)).or_default().push(known);
    }
    let mut found: BTreeMap<(&HostName, Channel, u64, u64), LogGap> = BTreeMap::new();
    for ((host, channel), inputs) in &by_place {
        for known in inputs.iter().filter(|known| known.alone && sound(known.input)) {
            for gap in known.gaps.iter().flatten().filter(|gap| counts(gap)) {
                let elsewhere =
                    |other: &&&Coverage| other.input != known.input && may_hold(other, gap);
                let (from, to) = (gap.before.time, gap.after.time);
                let seen = window.from.is_none_or(|start| to >= start)
                    && window.to.is_none_or(|end| from < end);
                if !seen || inputs.iter().any(|other| elsewhere(&other)) {
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

/// Whether a hole is one that a query or the end of a log would not leave.
fn counts(gap: &Gap) -> bool {
    gap.around >= if gap.renumbered() { AROUND_IN_EXPORT } else { AROUND }
}

/// Whether a log may have a record of a hole in another. One with many holes may.
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

    use super::super::reach;
    use super::super::reach::Reach;
    use super::*;
    use crate::decode::RecordHeader;
    use crate::model::RecordRef;

    /// The records of an input: EventRecordIDs, and by how much the headers' numbers differ.
    fn log(input: InputIdx, ids: impl IntoIterator<Item = u64>, anew: bool) -> Reach {
        let mut reach = Reach::of(input);
        for (index, record_id) in ids.into_iter().enumerate() {
            let number = if anew { index as u64 + 1 } else { record_id };
            reach.see(RecordHeader {
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
        reach
    }

    fn holes(logs: &[Reach], window: Window) -> Vec<(u64, u64)> {
        let coverage = reach::coverage(logs.iter(), HostName::clone);
        let found = gaps(&coverage, &[], window, |_| true);
        found.iter().map(|one| (one.gap.before.record_id, one.gap.after.record_id)).collect()
    }

    fn without(from: u64, to: u64) -> impl Iterator<Item = u64> {
        (1000..2000).filter(move |id| !(from..to).contains(id))
    }

    #[test]
    fn a_hole_in_the_middle_counts_and_the_ends_of_a_log_do_not() {
        assert_eq!(holes(&[log(InputIdx::default(), 1000..2000, false)], Window::default()), []);
        let hole = log(InputIdx::default(), without(1500, 1503), false);
        assert_eq!(holes(&[hole], Window::default()), [(1499, 1503)]);
        // Too near the end to be told from what an overwritten log leaves.
        assert_eq!(
            holes(&[log(InputIdx::default(), without(1010, 1020), false)], Window::default()),
            []
        );
    }

    #[test]
    fn pieces_of_a_log_and_a_log_that_wrapped_have_no_hole_between_them() {
        let wrapped = (1600..2000).chain(1000..1600);
        assert_eq!(holes(&[log(InputIdx::default(), wrapped, false)], Window::default()), []);
        let pieces = [
            log(InputIdx::default(), 1600..2000, false),
            log(InputIdx::default(), 1000..1600, false),
        ];
        assert_eq!(holes(&pieces, Window::default()), []);
    }

    #[test]
    fn what_a_query_selected_is_no_gap() {
        assert_eq!(
            holes(&[log(InputIdx::default(), (1000..2000).step_by(3), false)], Window::default()),
            []
        );
        // An export with runs of a hundred is, as likely as not, one without some rare event.
        let rare = |every: u64| (1000..2000).filter(move |id| id % every != 0);
        assert_eq!(holes(&[log(InputIdx::default(), rare(100), true)], Window::default()), []);
        assert_eq!(
            holes(&[log(InputIdx::default(), without(1500, 1600), true)], Window::default()),
            [(1499, 1600)]
        );
    }

    #[test]
    fn what_another_input_has_is_not_missing() {
        let hole = || log(InputIdx::default(), without(1500, 1510), false);
        assert_eq!(
            holes(&[hole(), log(InputIdx::new(1), 1505..1506, true)], Window::default()),
            []
        );
        assert_eq!(
            holes(
                &[hole(), log(InputIdx::new(1), (1400..1900).step_by(7), true)],
                Window::default()
            ),
            []
        );
        // A copy with the same hole tells nothing new, and another part of the log nothing at all.
        let copy = log(InputIdx::new(1), without(1500, 1510), false);
        assert_eq!(holes(&[hole(), copy], Window::default()), [(1499, 1510)]);
        assert_eq!(
            holes(&[hole(), log(InputIdx::new(1), 10..900, false)], Window::default()),
            [(1499, 1510)]
        );
    }

    #[test]
    fn files_of_several_channels_and_times_outside_the_window_count_for_nothing() {
        let mut mixed = log(InputIdx::default(), without(1500, 1510), false);
        mixed.see(RecordHeader {
            source: RecordRef { input: InputIdx::default(), offset: 9, number: 9 },
            channel: Channel::Other,
            channel_name: "Application",
            provider: "",
            computer: "SRV01",
            event_id: 1,
            record_id: 9,
            time: DateTime::UNIX_EPOCH,
        });
        assert_eq!(holes(&[mixed], Window::default()), []);
        let from = |second| Some(DateTime::UNIX_EPOCH + TimeDelta::seconds(second));
        let hole = || log(InputIdx::default(), without(1500, 1510), false);
        assert_eq!(holes(&[hole()], Window { from: from(1511), to: None }), []);
        assert_eq!(holes(&[hole()], Window { from: from(1505), to: None }), [(1499, 1510)]);
        assert_eq!(holes(&[hole()], Window { from: None, to: from(1499) }), []);
    }
}
