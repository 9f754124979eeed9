//! Which time and which records the logs cover, by host, channel and input: first and last record,
//! event ids, holes in EventRecordID, where time runs backwards, and records that describe the log
//! itself. Missing records of sessions are explained with it. [`super::gaps`] decides which holes
//! are suspicious, and [`super::integrity`] what they mean.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::decode::RecordHeader;
use crate::model::{Channel, Coverage, Edge, Gap, HostName, InputIdx, Mark};

/// The records of one channel of one host that were seen.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct ChannelExtent {
    /// The host as logged.
    computer: HostName,
    channel: Channel,
    /// Time and EventRecordID.
    first: (DateTime<Utc>, u64),
    last: (DateTime<Utc>, u64),
    ids: BTreeSet<u32>,
    /// The lowest and the highest EventRecordID.
    numbers: [u64; 2],
    runs: RecordRuns,
    marks: Vec<Mark>,
}

/// Most holes of a log that are listed. A log with more is a selection of records, and its holes
/// mean nothing.
const MOST_GAPS: usize = 32;

/// Most places where time runs backwards that are kept for a task's part of a log.
const MOST_BACKWARDS: usize = 32;

/// Most records that describe the log that are kept for a task's part of it.
const MOST_MARKS: usize = 4096;

/// How much older than the record before it a record may be. Buffers of several processors reach a
/// log out of order by moments.
const OUT_OF_ORDER: TimeDelta = TimeDelta::minutes(1);

/// Records with consecutive EventRecordIDs.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct RecordRun {
    first: Edge,
    last: Edge,
}

/// Runs of consecutive records. Records are added in any order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RecordRuns {
    /// `None` if there are too many.
    runs: Option<Vec<RecordRun>>,
    /// Records that are older than the one before them, each after that one.
    backwards: Vec<[Edge; 2]>,
}

impl Default for RecordRuns {
    fn default() -> RecordRuns {
        RecordRuns { runs: Some(Vec::new()), backwards: Vec::new() }
    }
}

impl RecordRuns {
    /// Adds a record.
    pub fn push(&mut self, edge: Edge) {
        let RecordRuns { runs: Some(runs), backwards } = self else { return };
        if let Some(run) = runs.last_mut() {
            let id = edge.record_id;
            if run.last.record_id.checked_add(1) == Some(id) {
                if edge.time < run.last.time && is_backwards(run.last, edge) {
                    note_backwards(backwards, run.last, edge);
                }
                run.last = edge;
                return;
            }
            if (run.first.record_id..=run.last.record_id).contains(&id) {
                return;
            }
        }
        runs.push(RecordRun { first: edge, last: edge });
        if runs.len() > 2 * MOST_GAPS {
            self.join_adjacent();
        }
    }

    /// Sorts runs and joins those that follow each other.
    fn join_adjacent(&mut self) {
        let RecordRuns { runs: Some(runs), backwards } = self else { return };
        runs.sort_unstable_by_key(|run| (run.first, run.last));
        runs.dedup_by(|next, run| {
            let joins = next.first.record_id <= run.last.record_id.saturating_add(1);
            let follows = run.last.record_id.checked_add(1) == Some(next.first.record_id);
            if follows && is_backwards(run.last, next.first) {
                note_backwards(backwards, run.last, next.first);
            }
            if joins && next.last.record_id > run.last.record_id {
                run.last = next.last;
            }
            joins
        });
        if runs.len() > MOST_GAPS + 1 {
            self.runs = None;
        }
    }

    /// Adds the runs of another part of the log.
    pub fn merge(&mut self, other: &RecordRuns) {
        match (&mut self.runs, &other.runs) {
            (Some(own), Some(others)) => own.extend(others),
            (own, _) => *own = None,
        }
        self.backwards.extend(&other.backwards);
    }

    /// Returns the holes between the runs. `None` if there are too many.
    pub fn gaps(&mut self) -> Option<Vec<Gap>> {
        self.join_adjacent();
        let length = |run: &RecordRun| (run.last.record_id - run.first.record_id).saturating_add(1);
        let runs = self.runs.as_ref()?;
        let gaps = runs.iter().zip(runs.iter().skip(1)).map(|(run, next)| Gap {
            before: run.last,
            after: next.first,
            around: length(run).min(length(next)),
        });
        Some(gaps.collect())
    }
}

fn is_backwards(before: Edge, after: Edge) -> bool {
    before.time - after.time > OUT_OF_ORDER
}

fn note_backwards(backwards: &mut Vec<[Edge; 2]>, before: Edge, after: Edge) {
    if backwards.len() < MOST_BACKWARDS {
        backwards.push([before, after]);
    }
}

/// Returns true if an event describes the log itself, so that a [`Mark`] is kept of it.
fn describes_log(channel: Channel, event_id: u32) -> bool {
    match channel {
        // 1: Kernel-General, the clock was set. 12, 13: the system starts, shuts down. 41, 109,
        // 1074, 6008: it restarted, or was asked to. 6005, 6006: the event log service starts,
        // stops.
        Channel::System => {
            matches!(event_id, 1 | 12 | 13 | 41 | 109 | 1074 | 6005 | 6006 | 6008)
        }
        // 4608: Windows starts. 4616: the clock was set. The others are signs themselves.
        Channel::Security => {
            matches!(event_id, 1100 | 1101 | 1104 | 1108 | 4608 | 4616 | 4715 | 4719 | 4906 | 4912)
        }
        _ => false,
    }
}

/// Which records a task saw, wanted or not. Adding a record twice changes nothing.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct LogExtent {
    /// Index of the input.
    input: InputIdx,
    spans: Vec<ChannelExtent>,
    #[serde(skip)]
    by_name: HashMap<(HostName, Channel), usize>,
    /// The entry of the latest record: logs seldom change it.
    #[serde(skip)]
    latest: usize,
    /// Some records are of channels that this program does not know.
    #[serde(rename = "others")]
    has_unknown_channels: bool,
}

impl LogExtent {
    /// Returns the empty extent of an input.
    pub fn new(input: InputIdx) -> LogExtent {
        LogExtent { input, ..LogExtent::default() }
    }

    /// Adds a record. Only channels that this program knows are kept.
    pub fn add_record(&mut self, seen: RecordHeader<'_>) {
        let RecordHeader { source, channel, computer, event_id, record_id, time, .. } = seen;
        if channel == Channel::Other {
            self.has_unknown_channels = true;
            return;
        }
        let is_latest =
            |span: &ChannelExtent| span.channel == channel && *span.computer == *computer;
        if !self.spans.get(self.latest).is_some_and(is_latest) {
            let key = (HostName::from(computer), channel);
            self.latest = match self.by_name.get(&key) {
                Some(&known) => known,
                None => {
                    self.spans.push(ChannelExtent {
                        computer: key.0.clone(),
                        channel,
                        first: (time, record_id),
                        last: (time, record_id),
                        ids: BTreeSet::new(),
                        numbers: [record_id, record_id],
                        runs: RecordRuns::default(),
                        marks: Vec::new(),
                    });
                    self.by_name.insert(key, self.spans.len() - 1);
                    self.spans.len() - 1
                }
            };
        }
        let span = &mut self.spans[self.latest];
        span.first = span.first.min((time, record_id));
        span.last = span.last.max((time, record_id));
        span.ids.insert(event_id);
        let [from, to] = span.numbers;
        span.numbers = [from.min(record_id), to.max(record_id)];
        let edge = Edge { record_id, time, source };
        span.runs.push(edge);
        if describes_log(channel, event_id) && span.marks.len() < MOST_MARKS {
            span.marks.push(Mark { event_id, edge });
        }
    }

    /// Sets the input: its index differs from run to run.
    pub fn set_input(&mut self, input: InputIdx) {
        self.input = input;
        for span in &mut self.spans {
            let runs = span.runs.runs.iter_mut().flatten();
            let edges = runs.flat_map(|run| [&mut run.first, &mut run.last]);
            let edges = edges.chain(span.runs.backwards.iter_mut().flatten());
            for edge in edges.chain(span.marks.iter_mut().map(|mark| &mut mark.edge)) {
                edge.source.input = input;
            }
        }
    }

    /// Frees unused memory.
    pub fn shrink(&mut self) {
        self.by_name = HashMap::new();
        for span in &mut self.spans {
            span.runs.join_adjacent();
            if let Some(runs) = &mut span.runs.runs {
                runs.shrink_to_fit();
            }
        }
        self.spans.shrink_to_fit();
    }
}

/// Returns the extent of all logs, by host, channel and input. `as_logged` returns the spelling of
/// a host's name in its records, from the name in lower case.
pub(super) fn log_coverage<'r>(
    all: impl Iterator<Item = &'r LogExtent>,
    as_logged: impl Fn(&HostName) -> HostName,
) -> Vec<Coverage> {
    let mut found: Vec<Coverage> = Vec::new();
    let mut runs: Vec<RecordRuns> = Vec::new();
    let mut with_unknown_channels: BTreeSet<InputIdx> = BTreeSet::new();
    let mut by_place: HashMap<(HostName, Channel, InputIdx), usize> = HashMap::new();
    for extent in all {
        if extent.has_unknown_channels {
            with_unknown_channels.insert(extent.input);
        }
        for span in &extent.spans {
            let host = as_logged(&span.computer.to_lowercase().into());
            let place = (host.clone(), span.channel, extent.input);
            let slot = *by_place.entry(place).or_insert_with(|| {
                found.push(Coverage {
                    host,
                    channel: span.channel,
                    input: extent.input,
                    first: span.first,
                    last: span.last,
                    ids: BTreeSet::new(),
                    numbers: [u64::MAX, 0],
                    gaps: None,
                    alone: true,
                    marks: Vec::new(),
                    backwards: Vec::new(),
                });
                runs.push(RecordRuns::default());
                found.len() - 1
            });
            let known = &mut found[slot];
            known.first = known.first.min(span.first);
            known.last = known.last.max(span.last);
            known.ids.extend(&span.ids);
            let [from, to] = known.numbers;
            let [first, last] = span.numbers;
            known.numbers = [from.min(first), to.max(last)];
            known.marks.extend(&span.marks);
            runs[slot].merge(&span.runs);
        }
    }
    let mut places: HashMap<InputIdx, usize> = HashMap::new();
    for known in &found {
        *places.entry(known.input).or_default() += 1;
    }
    for (known, mut runs) in found.iter_mut().zip(runs) {
        known.gaps = runs.gaps();
        runs.backwards.sort_unstable();
        runs.backwards.dedup();
        known.backwards = runs.backwards;
        known.alone = places[&known.input] == 1 && !with_unknown_channels.contains(&known.input);
    }
    found.sort_by(|a, b| (&a.host, a.channel, a.input).cmp(&(&b.host, b.channel, b.input)));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    use crate::model::RecordRef;

    fn seen(computer: &str, channel: Channel, event_id: u32, second: i64) -> RecordHeader<'_> {
        let time = DateTime::UNIX_EPOCH + TimeDelta::seconds(second);
        let record_id = second as u64 + 100;
        let source = RecordRef { input: InputIdx::new(3), offset: record_id, number: record_id };
        let (channel_name, provider) = (channel.name(), "");
        RecordHeader {
            source,
            channel,
            channel_name,
            provider,
            computer,
            event_id,
            record_id,
            time,
        }
    }

    #[test]
    fn logs_reach_from_their_earliest_to_their_latest_record_in_any_order() {
        let mut extent = LogExtent::new(InputIdx::new(3));
        for (id, second) in [(4624, 20), (4688, 10), (4624, 20), (4624, 30)] {
            extent.add_record(seen("Srv", Channel::Security, id, second));
        }
        extent.add_record(seen("Other", Channel::Security, 4624, 5));
        extent.add_record(seen("Srv", Channel::Other, 1, 1));
        let mut later = LogExtent::new(InputIdx::new(3));
        later.add_record(seen("srv", Channel::Security, 1102, 40));
        let found = log_coverage([extent, later].iter(), HostName::clone);
        let extents: Vec<_> =
            found.iter().map(|c| (&*c.host, c.input.index(), c.first.1, c.last.1)).collect();
        assert_eq!(extents, [("other", 3, 105, 105), ("srv", 3, 110, 140)]);
        assert_eq!(found[1].ids, BTreeSet::from([1102, 4624, 4688]));
    }
}
