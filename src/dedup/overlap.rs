//! Which inputs may hold the same records: those that hold the same log of the same host, of which
//! their EventRecordIDs overlap. In most runs none do, and no record need be compared.

use crate::model::{IdxVec, InputIdx};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Logs that are told apart of a task; forwarded records are of many.
const MOST_OF_TASK: usize = 256;
/// Logs that are told apart of an input.
const MOST_OF_INPUT: usize = 1 << 16;

/// The logs that records are of, each with its least and its greatest EventRecordID.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    logs: BTreeMap<u64, (u64, u64)>,
    /// There are more logs than are told apart.
    more: bool,
}

impl Spans {
    /// Takes a record of a log, which is named by a hash.
    pub fn take(&mut self, log: u64, record_id: u64) {
        self.widen(log, (record_id, record_id), MOST_OF_TASK);
    }

    /// Takes what another task found of the same input.
    pub fn absorb(&mut self, other: Spans) {
        self.more |= other.more;
        for (log, span) in other.logs {
            self.widen(log, span, MOST_OF_INPUT);
        }
    }

    fn widen(&mut self, log: u64, (least, greatest): (u64, u64), most: usize) {
        let full = self.logs.len() == most;
        match self.logs.entry(log) {
            Entry::Occupied(mut entry) => {
                let span = entry.get_mut();
                *span = (span.0.min(least), span.1.max(greatest));
            }
            Entry::Vacant(_) if full => self.more = true,
            Entry::Vacant(entry) => {
                entry.insert((least, greatest));
            }
        }
    }
}

/// Which of some inputs may share a record with another one; too many, never too few.
pub(super) fn overlapping(inputs: &IdxVec<InputIdx, Spans>) -> IdxVec<InputIdx, bool> {
    let held = inputs.iter().filter(|spans| !spans.logs.is_empty()).count();
    if held > 1 && inputs.iter().any(|spans| spans.more) {
        return inputs.iter().map(|_| true).collect();
    }
    let mut overlapping: IdxVec<InputIdx, bool> = inputs.iter().map(|_| false).collect();
    let spans = inputs.iter_enumerated().flat_map(|(input, spans)| {
        spans.logs.iter().map(move |(&log, &(least, greatest))| (log, least, greatest, input))
    });
    let mut spans: Vec<(u64, u64, u64, InputIdx)> = spans.collect();
    spans.sort_unstable();
    // Of the spans of a log that begin no later, the one that reaches furthest: where a span meets
    // any of them, it meets that one.
    let mut furthest: Option<(u64, u64, InputIdx)> = None;
    for (log, least, greatest, input) in spans {
        match &mut furthest {
            Some((known, reach, other)) if *known == log => {
                if least <= *reach {
                    overlapping[input] = true;
                    overlapping[*other] = true;
                }
                if greatest > *reach {
                    (*reach, *other) = (greatest, input);
                }
            }
            _ => furthest = Some((log, greatest, input)),
        }
    }
    overlapping
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(logs: &[(u64, u64, u64)]) -> Spans {
        let mut spans = Spans::default();
        for &(log, least, greatest) in logs {
            spans.take(log, greatest);
            spans.take(log, least);
        }
        spans
    }

    fn overlap<const N: usize>(inputs: [Spans; N]) -> Vec<bool> {
        overlapping(&Vec::from(inputs).into()).into_vec()
    }

    #[test]
    fn inputs_overlap_in_ids_of_one_log() {
        let live = spans(&[(1, 100, 200), (2, 5, 5)]);
        let rolled_over = spans(&[(1, 1, 99), (3, 5, 5)]);
        let others = spans(&[(4, 100, 200)]);
        assert_eq!(overlap([live, rolled_over, others]), [false; 3]);
        // One in the middle of another, and one that only meets a shorter one than the furthest.
        let all = [(10, 90), (20, 30), (25, 26), (91, 95)].map(|(a, b)| spans(&[(1, a, b)]));
        assert_eq!(overlap(all), [true, true, true, false]);
        assert_eq!(overlap([spans(&[(1, 1, 5)]), spans(&[(1, 5, 9)])]), [true, true]);
        assert_eq!(overlap([spans(&[]), spans(&[(1, 5, 9)])]), [false, false]);
    }

    #[test]
    fn with_more_logs_than_are_told_apart_all_may_overlap() {
        let mut many = Spans::default();
        (0..=MOST_OF_TASK as u64).for_each(|log| many.take(log, 1));
        let mut input = Spans::default();
        input.absorb(many);
        assert_eq!(overlap([input, spans(&[(u64::MAX, 1, 1)])]), [true, true]);
    }
}
