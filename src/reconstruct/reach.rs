//! How far the logs at hand reach: of each host's channel in each input, the first and the last
//! record, the event ids that are there, the holes in EventRecordID, where time runs backwards, and
//! the records that say something of the logs. What is missing from a session is judged by it,
//! [`super::gaps`] says which holes count, and [`super::integrity`] what they mean.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::decode::RecordHeader;
use crate::model::{Channel, Coverage, Edge, Gap, HostName, InputIdx, Mark};

/// One host's records of one channel, as far as they were seen.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Span {
    /// The host as logged.
    computer: HostName,
    channel: Channel,
    /// Time and EventRecordID.
    first: (DateTime<Utc>, u64),
    last: (DateTime<Utc>, u64),
    ids: BTreeSet<u32>,
    /// The lowest and the highest EventRecordID.
    numbers: [u64; 2],
    runs: Runs,
    marks: Vec<Mark>,
}

/// Holes of a log that are told: one with more is a selection of records, and each says nothing.
const MOST_GAPS: usize = 32;

/// Places where time runs backwards that are told of a task's part of a log.
const MOST_BACKWARDS: usize = 32;

/// Records that say something of the log that are told of a task's part of it.
const MOST_MARKS: usize = 4096;

/// How much older than the record before it a record may be: buffers of several processors reach a
/// log out of order by moments.
const OUT_OF_ORDER: TimeDelta = TimeDelta::minutes(1);

/// Records with EventRecordIDs in a row.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Run {
    first: Edge,
    last: Edge,
}

/// The runs that records make up, in any order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Runs {
    /// None where they are too many.
    runs: Option<Vec<Run>>,
    /// Records that are older than the one before them, after that one.
    backwards: Vec<[Edge; 2]>,
}

impl Default for Runs {
    fn default() -> Runs {
        Runs { runs: Some(Vec::new()), backwards: Vec::new() }
    }
}

impl Runs {
    /// Takes a record.
    pub fn take(&mut self, edge: Edge) {
        let Runs { runs: Some(runs), backwards } = self else { return };
        if let Some(run) = runs.last_mut() {
            let id = edge.record_id;
            if run.last.record_id.checked_add(1) == Some(id) {
                if edge.time < run.last.time && is_backwards(run.last, edge) {
                    note(backwards, run.last, edge);
                }
                run.last = edge;
                return;
            }
            if (run.first.record_id..=run.last.record_id).contains(&id) {
                return;
            }
        }
        runs.push(Run { first: edge, last: edge });
        if runs.len() > 2 * MOST_GAPS {
            self.join();
        }
    }

    /// Puts runs that follow each other together.
    fn join(&mut self) {
        let Runs { runs: Some(runs), backwards } = self else { return };
        runs.sort_unstable_by_key(|run| (run.first, run.last));
        runs.dedup_by(|next, run| {
            let joins = next.first.record_id <= run.last.record_id.saturating_add(1);
            let follows = run.last.record_id.checked_add(1) == Some(next.first.record_id);
            if follows && is_backwards(run.last, next.first) {
                note(backwards, run.last, next.first);
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

    /// Takes in those of another part of the log.
    pub fn absorb(&mut self, other: &Runs) {
        match (&mut self.runs, &other.runs) {
            (Some(own), Some(others)) => own.extend(others),
            (own, _) => *own = None,
        }
        self.backwards.extend(&other.backwards);
    }

    /// The holes between them; none where they are too many to tell.
    pub fn gaps(&mut self) -> Option<Vec<Gap>> {
        self.join();
        let length = |run: &Run| (run.last.record_id - run.first.record_id).saturating_add(1);
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

fn note(backwards: &mut Vec<[Edge; 2]>, before: Edge, after: Edge) {
    if backwards.len() < MOST_BACKWARDS {
        backwards.push([before, after]);
    }
}

/// Whether an event of a channel says something of the log: what [`Mark`]s are made of.
fn is_mark(channel: Channel, event_id: u32) -> bool {
    match channel {
        // 1: Kernel-General, the clock was set. 12, 13: the system starts, shuts down. 41, 109, 1074,
        // 6008: it restarted, is told to. 6005, 6006: the event log service starts, stops.
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

/// What a task saw of all records, wanted or not. To see one twice changes nothing.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Reach {
    /// Index of the input.
    input: InputIdx,
    spans: Vec<Span>,
    #[serde(skip)]
    by_name: HashMap<(HostName, Channel), usize>,
    /// The latest record's span: logs seldom change it.
    #[serde(skip)]
    latest: usize,
    /// Some records are of channels that this program does not know.
    others: bool,
}

impl Reach {
    /// Begins with the records of an input.
    pub fn of(input: InputIdx) -> Reach {
        Reach { input, ..Reach::default() }
    }

    /// Takes note of a record. Only channels that this program knows are of use.
    pub fn see(&mut self, seen: RecordHeader<'_>) {
        let RecordHeader { source, channel, computer, event_id, record_id, time, .. } = seen;
        if channel == Channel::Other {
            self.others = true;
            return;
        }
        let is_latest = |span: &Span| span.channel == channel && *span.computer == *computer;
        if !self.spans.get(self.latest).is_some_and(is_latest) {
            let key = (HostName::from(computer), channel);
            self.latest = match self.by_name.get(&key) {
                Some(&known) => known,
                None => {
                    self.spans.push(Span {
                        computer: key.0.clone(),
                        channel,
                        first: (time, record_id),
                        last: (time, record_id),
                        ids: BTreeSet::new(),
                        numbers: [record_id, record_id],
                        runs: Runs::default(),
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
        span.runs.take(edge);
        if is_mark(channel, event_id) && span.marks.len() < MOST_MARKS {
            span.marks.push(Mark { event_id, edge });
        }
    }

    /// Takes the input for this one: its place among the inputs is another in each run.
    pub fn move_to(&mut self, input: InputIdx) {
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

    /// Gives back the room that was made for more.
    pub fn shrink(&mut self) {
        self.by_name = HashMap::new();
        for span in &mut self.spans {
            span.runs.join();
            if let Some(runs) = &mut span.runs.runs {
                runs.shrink_to_fit();
            }
        }
        self.spans.shrink_to_fit();
    }
}

/// How far all logs reach, by host, channel and input. `as_logged` has of a host's name in lower case
/// the one that its records spell.
pub(super) fn coverage<'r>(
    all: impl Iterator<Item = &'r Reach>,
    as_logged: impl Fn(&HostName) -> HostName,
) -> Vec<Coverage> {
    let mut found: Vec<Coverage> = Vec::new();
    let mut runs: Vec<Runs> = Vec::new();
    let mut others: BTreeSet<InputIdx> = BTreeSet::new();
    let mut by_place: HashMap<(HostName, Channel, InputIdx), usize> = HashMap::new();
    for reach in all {
        if reach.others {
            others.insert(reach.input);
        }
        for span in &reach.spans {
            let host = as_logged(&span.computer.to_lowercase().into());
            let place = (host.clone(), span.channel, reach.input);
            let slot = *by_place.entry(place).or_insert_with(|| {
                found.push(Coverage {
                    host,
                    channel: span.channel,
                    input: reach.input,
                    first: span.first,
                    last: span.last,
                    ids: BTreeSet::new(),
                    numbers: [u64::MAX, 0],
                    gaps: None,
                    alone: true,
                    marks: Vec::new(),
                    backwards: Vec::new(),
                });
                runs.push(Runs::default());
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
            runs[slot].absorb(&span.runs);
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
        known.alone = places[&known.input] == 1 && !others.contains(&known.input);
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
        RecordHeader { source, channel, channel_name, provider, computer, event_id, record_id, time }
    }

    #[test]
    fn logs_reach_from_their_earliest_to_their_latest_record_in_any_order() {
        let mut reach = Reach::of(InputIdx::new(3));
        for (id, second) in [(4624, 20), (4688, 10), (4624, 20), (4624, 30)] {
            reach.see(seen("Srv", Channel::Security, id, second));
        }
        reach.see(seen("Other", Channel::Security, 4624, 5));
        reach.see(seen("Srv", Channel::Other, 1, 1));
        let mut later = Reach::of(InputIdx::new(3));
        later.see(seen("srv", Channel::Security, 1102, 40));
        let found = coverage([reach, later].iter(), HostName::clone);
        let told: Vec<_> =
            found.iter().map(|c| (&*c.host, c.input.index(), c.first.1, c.last.1)).collect();
        assert_eq!(told, [("other", 3, 105, 105), ("srv", 3, 110, 140)]);
        assert_eq!(found[1].ids, BTreeSet::from([1102, 4624, 4688]));
    }
}
