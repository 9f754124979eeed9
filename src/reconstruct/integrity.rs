//! Signs that a log is not as the service wrote it: holes, clearings, time that runs backwards,
//! stops of the service, wrong headers and checksums. Each sign names its records, and whether
//! something harmless explains it. A false alarm is worse than a miss.
//!
//! - **Record numbers continue when a log is cleared**: the record of the clearing, or the first
//!   one after it, has the next EventRecordID. So the lost records can be counted.
//! - **Time** is compared only between records of adjacent EventRecordIDs. Buffers of several
//!   processors reach a log out of order by moments; a minute is more than that.
//! - **A stop of the service** is a shutdown if the System log shows one near it, or if the machine
//!   starts before the service does.
//! - **A file that was not closed** was copied from a running machine: its header is older than its
//!   chunks, and a chunk may be half written. Faults in it get a lower level.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::reconstruction::Reconstruction;
use super::windows::{STEP_WINDOW, TimeWindow};
use crate::decode::{ChunkRange, EvtxHeaders};
use crate::error::{Fault, FaultKind};
use crate::model::{
    AccountName, Channel, Clearing, Coverage, Edge, HostName, IdxVec, InputIdx, Level, LogGap,
    LogSign, Mark, Proof, SignKind, csv_time,
};

/// How near to a step in time the correction of the clock must be, by either time.
const CORRECTION: TimeDelta = TimeDelta::minutes(5);
/// How near a shutdown must be to the stop of the service that it causes.
const SHUTDOWN: TimeDelta = TimeDelta::minutes(10);
/// Stops in the two logs within this time are one stop.
const ONE_STOP: TimeDelta = TimeDelta::minutes(2);
/// Most records that one sign names.
const MOST_NAMED: usize = 10;
/// Most signs of one kind that are listed separately for one log.
const MOST_SEPARATE: usize = 32;

/// Facts about the file of an input.
pub struct FileFacts<'f> {
    /// The headers.
    pub headers: &'f EvtxHeaders,
    /// The file is EVTX, and its header was read.
    pub is_evtx: bool,
    /// The faults.
    pub faults: &'f [Fault],
}

/// Returns the first records of the chunks that the signs of a file need, so that they can be kept
/// while the file is open.
pub fn first_records(
    facts: &FileFacts<'_>,
    first: impl Fn(u64) -> Option<Edge>,
) -> BTreeMap<u64, Edge> {
    let found = RefCell::new(BTreeMap::new());
    if facts.is_evtx {
        let asked = |_, chunk| {
            let edge = first(chunk)?;
            found.borrow_mut().insert(chunk, edge);
            Some(edge)
        };
        LogFile::new(InputIdx::default(), facts, &[], &asked).find_signs();
    }
    found.into_inner()
}

/// Returns the signs of all logs. `first` returns the first readable record of an input's chunk.
pub(super) fn signs(
    reconstruction: &Reconstruction,
    window: TimeWindow,
    files: &IdxVec<InputIdx, FileFacts<'_>>,
    first: impl Fn(InputIdx, u64) -> Option<Edge>,
) -> Vec<LogSign> {
    let mut by_host: BTreeMap<&HostName, Vec<&Coverage>> = BTreeMap::new();
    let mut by_log: BTreeMap<(&HostName, Channel), Vec<&Coverage>> = BTreeMap::new();
    let mut by_input: BTreeMap<InputIdx, Vec<&Coverage>> = BTreeMap::new();
    for log in &reconstruction.coverage {
        by_host.entry(&log.host).or_default().push(log);
        by_log.entry((&log.host, log.channel)).or_default().push(log);
        by_input.entry(log.input).or_default().push(log);
    }
    let mut signs: Vec<LogSign> = reconstruction.gaps.iter().map(gap_sign).collect();
    let mut clearings: BTreeMap<(&HostName, Channel), Vec<&Clearing>> = BTreeMap::new();
    for clearing in &reconstruction.cleared {
        clearings.entry((&clearing.host, clearing.channel)).or_default().push(clearing);
    }
    for (log, clearings) in clearings {
        let logs = by_log.get(&log).map(Vec::as_slice).unwrap_or_default();
        signs.extend(clearing_signs(logs, &clearings));
    }
    for (host, logs) in by_host {
        let host_marks = HostLogMarks::new(&logs);
        signs.extend(host_marks.backwards_signs(&logs, window));
        signs.extend(host_marks.stop_signs(host, window));
        signs.extend(host_marks.single_record_signs(host, window));
    }
    for (input, facts) in files.iter_enumerated().filter(|(_, facts)| facts.is_evtx) {
        let logs = by_input.get(&input).map(Vec::as_slice).unwrap_or_default();
        signs.extend(LogFile::new(input, facts, logs, &first).find_signs());
    }
    let key = |sign: &LogSign| {
        let LogSign { level, span, host, channel, kind, input, evidence, .. } = sign;
        (Reverse(*level), *span, host.clone(), *channel, *kind, *input, evidence.clone())
    };
    signs.sort_by_cached_key(key);
    signs
}

fn proof(edge: &Edge) -> Proof {
    Proof { source: edge.source, record_id: edge.record_id }
}

fn gap_sign(found: &LogGap) -> LogSign {
    let LogGap { host, channel, gap, .. } = found;
    let (from, to) = (gap.before.record_id + 1, gap.after.record_id - 1);
    LogSign {
        kind: SignKind::MissingRecords,
        level: if gap.renumbered() { Level::Medium } else { Level::High },
        host: host.clone(),
        channel: *channel,
        span: Some((gap.before.time, gap.after.time)),
        count: gap.missing(),
        explained: None,
        what: format!("{} records are missing: {from} to {to}", gap.missing()),
        input: Some(gap.before.source.input),
        evidence: vec![proof(&gap.before), proof(&gap.after)],
    }
}

/// Returns the clearings of a log, in order of time. The first ones are listed separately, with the
/// number of lost records if it is known.
fn clearing_signs(logs: &[&Coverage], clearings: &[&Clearing]) -> Vec<LogSign> {
    let (separate, more) = clearings.split_at(MOST_SEPARATE.min(clearings.len()));
    let mut signs: Vec<LogSign> =
        separate.iter().map(|clearing| explain_clearing(logs, clearing)).collect();
    if let ([first, ..], [.., last]) = (more, more) {
        let what = format!("cleared {} times more", more.len());
        signs.push(LogSign {
            span: Some((first.time, last.time)),
            evidence: more
                .iter()
                .take(MOST_NAMED)
                .map(|clearing| clearing_proof(clearing))
                .collect(),
            ..clearing(first, what, more.len() as u64)
        });
    }
    signs
}

fn clearing_proof(clearing: &Clearing) -> Proof {
    Proof { source: clearing.source, record_id: clearing.record_id }
}

fn clearing(of: &Clearing, what: String, count: u64) -> LogSign {
    let weighs = matches!(
        of.channel,
        Channel::Security
            | Channel::Sysmon
            | Channel::WinRm
            | Channel::PowerShell
            | Channel::PowerShellCore
            | Channel::PowerShellClassic
    );
    LogSign {
        kind: SignKind::Cleared,
        level: if weighs { Level::High } else { Level::Medium },
        host: of.host.clone(),
        channel: of.channel,
        span: Some((of.time, of.time)),
        count,
        explained: None,
        what,
        input: Some(of.source.input),
        evidence: vec![clearing_proof(of)],
    }
}

fn explain_clearing(logs: &[&Coverage], of: &Clearing) -> LogSign {
    // The first record of the log after the clearing: the record of the clearing itself, or the
    // next one.
    let begins = match of.channel {
        Channel::Security => Some(of.record_id),
        _ => {
            let later = logs.iter().filter(|log| log.first.0 >= of.time - STEP_WINDOW);
            later.map(|log| log.first).min().map(|(_, id)| id)
        }
    };
    let is_before =
        |log: &&&Coverage| log.last.0 < of.time && begins.is_none_or(|id| log.last.1 < id);
    let before = logs.iter().filter(is_before).map(|log| log.last).max();
    let by = of.account.as_ref().map_or("an unknown account".to_owned(), AccountName::to_string);
    let lost =
        begins.map(|id| (id.saturating_sub(1)).saturating_sub(before.map_or(0, |(_, id)| id)));
    let what = match (begins.filter(|&id| id > 1), before) {
        (Some(begins), Some((time, last))) => format!(
            "cleared by {by}; the log continues with record {begins}. The last record before it in \
             the input is {last} of {}: {} after it are lost",
            csv_time(time),
            lost.unwrap_or_default(),
        ),
        (Some(begins), None) => format!(
            "cleared by {by}; the log continues with record {begins}, and the input has no record \
             before it"
        ),
        (None, _) => format!("cleared by {by}"),
    };
    let sign = clearing(of, what, lost.unwrap_or_default());
    LogSign { span: Some((before.map_or(of.time, |(last, _)| last), of.time)), ..sign }
}

/// The records of one stop of the service, and their channels.
type ServiceStop = Vec<(Channel, Edge)>;

/// The records of a host that describe its logs.
#[derive(Default)]
struct HostLogMarks {
    /// In order of time, each once even if several inputs have it.
    marks: Vec<(Channel, Mark)>,
    /// When the clock was set.
    corrections: MarkTimes,
    /// When the machine was asked to shut down, shut down, or started.
    shutdowns: MarkTimes,
    /// When the event log service started.
    starts: MarkTimes,
    /// The time that the System logs cover: spans in order that do not overlap.
    system: Vec<[DateTime<Utc>; 2]>,
}

/// Times in order.
#[derive(Default)]
struct MarkTimes(Vec<DateTime<Utc>>);

impl MarkTimes {
    /// Returns the first time that is not before `time`.
    fn first_from(&self, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.0.get(self.0.partition_point(|known| *known < time)).copied()
    }

    fn any_near(&self, time: DateTime<Utc>, window: TimeDelta) -> bool {
        self.first_from(time - window).is_some_and(|found| found <= time + window)
    }
}

impl HostLogMarks {
    fn new(logs: &[&Coverage]) -> HostLogMarks {
        let mut host_marks = HostLogMarks::default();
        for log in logs {
            host_marks.marks.extend(log.marks.iter().map(|mark| (log.channel, *mark)));
        }
        host_marks.marks.sort_by_key(|(channel, mark)| (mark.edge.time, *channel, *mark));
        // A copy differs only in its place.
        host_marks.marks.dedup_by_key(|(channel, mark)| {
            (*channel, mark.event_id, mark.edge.record_id, mark.edge.time)
        });
        for (channel, mark) in &host_marks.marks {
            let times = match (channel, mark.event_id) {
                (Channel::System, 1) | (Channel::Security, 4616) => &mut host_marks.corrections,
                (Channel::System, 12 | 13 | 41 | 109 | 1074 | 6008) | (Channel::Security, 4608) => {
                    &mut host_marks.shutdowns
                }
                (Channel::System, 6005) => &mut host_marks.starts,
                _ => continue,
            };
            times.0.push(mark.edge.time);
        }
        let system = logs.iter().filter(|log| log.channel == Channel::System);
        let mut spans: Vec<[DateTime<Utc>; 2]> =
            system.map(|log| [log.first.0, log.last.0]).collect();
        spans.sort_unstable();
        for [first, last] in spans {
            match host_marks.system.last_mut() {
                Some([_, end]) if first <= *end => *end = last.max(*end),
                _ => host_marks.system.push([first, last]),
            }
        }
        host_marks
    }

    fn is_covered_by_system(&self, time: DateTime<Utc>) -> bool {
        let next = self.system.partition_point(|[first, _]| *first <= time);
        next.checked_sub(1).is_some_and(|at| self.system[at][1] >= time)
    }

    /// Returns signs for time that runs backwards.
    fn backwards_signs(&self, logs: &[&Coverage], window: TimeWindow) -> Vec<LogSign> {
        let mut seen: BTreeSet<(Channel, u64, DateTime<Utc>)> = BTreeSet::new();
        let mut signs = Vec::new();
        for log in logs {
            for [before, after] in log.backwards.iter().take(MOST_SEPARATE) {
                let is_new = seen.insert((log.channel, after.record_id, after.time));
                if !is_new || !(window.contains(before.time) || window.contains(after.time)) {
                    continue;
                }
                let corrected = |edge: &Edge| self.corrections.any_near(edge.time, CORRECTION);
                let explained = match corrected(before) || corrected(after) {
                    true => Some(true),
                    false => self.is_covered_by_system(before.time).then_some(false),
                };
                let what = format!(
                    "record {} is {} s older than record {} before it{}",
                    after.record_id,
                    (before.time - after.time).num_seconds(),
                    before.record_id,
                    explanation(
                        explained,
                        "the clock was set then",
                        "no record says that the clock was set"
                    ),
                );
                signs.push(LogSign {
                    kind: SignKind::TimeBackwards,
                    level: level_of(explained),
                    host: log.host.clone(),
                    channel: log.channel,
                    span: Some((after.time, before.time)),
                    count: 1,
                    explained,
                    what,
                    input: Some(log.input),
                    evidence: vec![proof(before), proof(after)],
                });
            }
        }
        signs
    }

    /// Returns signs for stops of the event log service. Unexplained stops are listed separately.
    fn stop_signs(&self, host: &HostName, window: TimeWindow) -> Vec<LogSign> {
        let stop = |(channel, mark): &(Channel, Mark)| {
            matches!((channel, mark.event_id), (Channel::Security, 1100) | (Channel::System, 6006))
        };
        let mut stops: Vec<ServiceStop> = Vec::new();
        for &(channel, mark) in self.marks.iter().filter(|mark| stop(mark)) {
            let edge = mark.edge;
            match stops.last_mut() {
                Some(known) if edge.time - known[0].1.time <= ONE_STOP => {
                    known.push((channel, edge))
                }
                _ => stops.push(vec![(channel, edge)]),
            }
        }
        let mut by_reason: BTreeMap<Option<bool>, Vec<&ServiceStop>> = BTreeMap::new();
        for stop in stops.iter().filter(|stop| window.contains(stop[0].1.time)) {
            let explained = self.is_shutdown(stop[0].1.time);
            by_reason.entry(explained).or_default().push(stop);
        }
        let mut signs = Vec::new();
        for (explained, stops) in by_reason {
            let separate = if explained == Some(false) { MOST_SEPARATE } else { 0 };
            let (separate, folded) = stops.split_at(separate.min(stops.len()));
            let groups = separate.chunks(1).chain((!folded.is_empty()).then_some(folded));
            for stops in groups {
                let edges = || stops.iter().flat_map(|stop| stop.iter().map(|(_, edge)| edge));
                let times = || edges().map(|edge| edge.time);
                let explanation = explanation(
                    explained,
                    "the machine was shut down or started then",
                    "no record says that the machine was shut down or started",
                );
                let what = match stops.len() {
                    1 => format!("the event log service stopped{explanation}"),
                    n => format!("the event log service stopped {n} times{explanation}"),
                };
                let channels: BTreeSet<Channel> = stops
                    .iter()
                    .flat_map(|stop| stop.iter().map(|(channel, _)| *channel))
                    .collect();
                signs.push(LogSign {
                    kind: SignKind::ServiceStopped,
                    level: level_of(explained),
                    host: host.clone(),
                    channel: channels.first().copied().unwrap_or_default(),
                    span: times().min().zip(times().max()),
                    count: stops.len() as u64,
                    explained,
                    what,
                    input: None,
                    evidence: edges().take(MOST_NAMED).map(proof).collect(),
                });
            }
        }
        signs
    }

    /// Returns whether the service stopped because the machine did. `None` if the logs do not show
    /// it.
    fn is_shutdown(&self, stop: DateTime<Utc>) -> Option<bool> {
        let start = self.starts.first_from(stop);
        let beside = |time| self.shutdowns.any_near(time, SHUTDOWN);
        if beside(stop) || start.is_some_and(beside) {
            return Some(true);
        }
        // If the log ends with the stop, the machine may have been off since.
        (start.is_some() && self.is_covered_by_system(stop)).then_some(false)
    }

    /// Returns the signs that are single records of the Security log, one sign for each kind.
    fn single_record_signs(&self, host: &HostName, window: TimeWindow) -> Vec<LogSign> {
        let sign = |(kind, ids, what): (SignKind, &[u32], &str)| {
            let of_kind = |(channel, mark): &&(Channel, Mark)| {
                *channel == Channel::Security
                    && ids.contains(&mark.event_id)
                    && window.contains(mark.edge.time)
            };
            let marks = self.marks.iter().filter(of_kind);
            let edges: Vec<Edge> = marks.map(|(_, mark)| mark.edge).collect();
            let (first, last) = (edges.first()?, edges.last()?);
            let times = match edges.len() {
                1 => String::new(),
                n => format!(", {n} times"),
            };
            Some(LogSign {
                kind,
                level: Level::Low,
                host: host.clone(),
                channel: Channel::Security,
                span: Some((first.time, last.time)),
                count: edges.len() as u64,
                explained: None,
                what: format!("{what}{times}"),
                input: None,
                evidence: edges.iter().take(MOST_NAMED).map(proof).collect(),
            })
        };
        SINGLE_RECORD_SIGNS.into_iter().filter_map(sign).collect()
    }
}

/// Records of the Security log that are signs by themselves.
const SINGLE_RECORD_SIGNS: [(SignKind, &[u32], &str); 4] = [
    (SignKind::EventsDropped, &[1101], "audit events were dropped (1101)"),
    (SignKind::LogFull, &[1104], "the Security log was full (1104)"),
    (SignKind::LoggingError, &[1108], "an event could not be logged (1108)"),
    (SignKind::PolicyChanged, &[4715, 4719, 4906, 4912], "the audit policy was changed"),
];

fn level_of(explained: Option<bool>) -> Level {
    match explained {
        Some(true) => Level::Informational,
        None => Level::Low,
        Some(false) => Level::Medium,
    }
}

fn explanation(explained: Option<bool>, known: &str, unknown: &str) -> String {
    match explained {
        Some(true) => format!("; {known}"),
        Some(false) => format!("; {unknown}"),
        None => "; the System log that would say why does not cover it".to_owned(),
    }
}

/// The file of an input, to be checked for faults.
struct LogFile<'f, F> {
    input: InputIdx,
    facts: &'f FileFacts<'f>,
    host: HostName,
    channel: Channel,
    span: Option<(DateTime<Utc>, DateTime<Utc>)>,
    first: &'f F,
}

impl<'f, F: Fn(InputIdx, u64) -> Option<Edge>> LogFile<'f, F> {
    fn new(input: InputIdx, facts: &'f FileFacts<'f>, logs: &[&Coverage], first: &'f F) -> Self {
        let (host, channel) = match logs {
            [log] if log.alone => (log.host.clone(), log.channel),
            _ => (HostName::default(), Channel::Other),
        };
        let (from, to) = (logs.iter().map(|log| log.first.0), logs.iter().map(|log| log.last.0));
        let span = from.min().zip(to.max());
        LogFile { input, facts, host, channel, span, first }
    }

    fn is_dirty(&self) -> bool {
        self.facts.headers.file.is_some_and(|header| header.dirty)
    }

    /// Makes a sign for some chunks, or for the whole file if `chunks` is empty.
    fn sign(&self, kind: SignKind, level: Level, chunks: &[u64], what: String) -> LogSign {
        let any = self.facts.headers.chunks.iter().map(|chunk| chunk.number).take(MOST_NAMED);
        let first = |chunk| (self.first)(self.input, chunk);
        let evidence = match chunks {
            [] => { any }.find_map(first).iter().map(proof).collect(),
            chunks => {
                let chunk_list = chunks.iter().take(MOST_NAMED).filter_map(|&chunk| first(chunk));
                chunk_list.map(|edge| proof(&edge)).collect()
            }
        };
        LogSign {
            kind,
            level,
            host: self.host.clone(),
            channel: self.channel,
            span: self.span,
            count: chunks.len().max(1) as u64,
            explained: None,
            what,
            input: Some(self.input),
            evidence,
        }
    }

    /// Returns the level of a fault in chunks, which is lower in a file that was not closed.
    fn chunk_level(&self) -> Level {
        if self.is_dirty() { Level::Low } else { Level::Medium }
    }

    fn find_signs(&self) -> Vec<LogSign> {
        let mut signs = Vec::new();
        let FileFacts { headers: EvtxHeaders { file, chunks }, faults, .. } = self.facts;
        let of_kind = |kind| {
            let chunks = faults.iter().filter(move |fault| fault.kind == kind);
            chunks.filter_map(|fault| fault.chunk).collect::<BTreeSet<u64>>()
        };
        let (suspect, lost) = (of_kind(FaultKind::Suspect), of_kind(FaultKind::Lost));
        match file {
            None => {
                let what = "the file has no log header".to_owned();
                signs.push(self.sign(SignKind::FileHeader, Level::Medium, &[], what));
            }
            Some(header) if !header.checksum_ok => {
                let what = "the file header's checksum is wrong".to_owned();
                signs.push(self.sign(SignKind::FileHeader, Level::Medium, &[], what));
            }
            Some(header) if header.dirty => {
                let what = "the file was not closed".to_owned();
                signs.push(self.sign(SignKind::Dirty, Level::Informational, &[], what));
            }
            Some(header) if lost.is_empty() => {
                let last = chunks.iter().map(|chunk| chunk.last).max();
                if let Some(last) =
                    last.filter(|&last| last.checked_add(1) != Some(header.next_record))
                {
                    let what = format!(
                        "the file header says that record {} is the next, but the last one is {last}",
                        header.next_record
                    );
                    signs.push(self.sign(SignKind::HeaderDisagrees, Level::Medium, &[], what));
                } else if usize::from(header.chunks) < chunks.len() {
                    let (said, there) = (header.chunks, chunks.len());
                    let what =
                        format!("the file header says {said} chunks, but {there} have records");
                    signs.push(self.sign(SignKind::HeaderDisagrees, Level::Medium, &[], what));
                }
            }
            Some(_) => {}
        }
        for (kind, level, chunks, what) in [
            (SignKind::ChunkChecksum, self.chunk_level(), suspect, "wrong checksum"),
            (SignKind::Unreadable, Level::Low, lost.clone(), "not read in full"),
        ] {
            let chunks: Vec<u64> = chunks.into_iter().collect();
            if !chunks.is_empty() {
                let what = format!("{what}: {}", chunk_list(&chunks));
                signs.push(self.sign(kind, level, &chunks, what));
            }
        }
        signs.extend(self.chunk_order_signs(chunks, !lost.is_empty()));
        signs
    }

    /// Returns signs for chunks whose record numbers are out of order, repeated or missing.
    fn chunk_order_signs(&self, chunks: &[ChunkRange], damaged: bool) -> Vec<LogSign> {
        let mut signs = Vec::new();
        let falls: Vec<u64> = chunks
            .windows(2)
            .filter(|pair| pair[1].first < pair[0].first)
            .map(|pair| pair[1].number)
            .collect();
        let begins = self.facts.headers.file.map(|header| header.first_chunk);
        match falls[..] {
            [] => {}
            // The oldest chunk is the one that the log will overwrite next, according to its
            // header.
            [oldest] if self.is_dirty() || begins == Some(oldest) || begins.is_none() => {
                let what =
                    format!("the log wrapped at chunk {oldest}: older records were overwritten");
                signs.push(self.sign(SignKind::Wrapped, Level::Informational, &[oldest], what));
            }
            _ => {
                let what =
                    format!("records older than those in the chunk before: {}", chunk_list(&falls));
                signs.push(self.sign(SignKind::ChunkOrder, self.chunk_level(), &falls, what));
            }
        }
        let mut by_number: Vec<&ChunkRange> = chunks.iter().collect();
        by_number.sort_by_key(|chunk| (chunk.first, chunk.last, chunk.number));
        let pairs = || by_number.windows(2).map(|pair| (pair[0], pair[1]));
        let repeated: Vec<u64> = pairs()
            .filter(|(one, next)| next.first <= one.last)
            .map(|(_, next)| next.number)
            .collect();
        if !repeated.is_empty() {
            let what =
                format!("record numbers that another chunk also has: {}", chunk_list(&repeated));
            signs.push(self.sign(SignKind::ChunkRepeated, self.chunk_level(), &repeated, what));
        }
        let missing: Vec<(&ChunkRange, u64)> = pairs()
            .filter(|(one, next)| next.first > one.last.saturating_add(1))
            .map(|(one, next)| (next, next.first - one.last - 1))
            .collect();
        if !missing.is_empty() && !damaged {
            let count: u64 = missing.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count));
            let chunks: Vec<u64> = missing.iter().map(|(next, _)| next.number).collect();
            let what = format!(
                "{count} records are missing before {}, by their numbers",
                chunk_list(&chunks)
            );
            let sign = self.sign(SignKind::ChunkMissing, self.chunk_level(), &chunks, what);
            signs.push(LogSign { count, ..sign });
        }
        signs
    }
}

/// Lists chunks by number, and counts the rest if there are many.
fn chunk_list(chunks: &[u64]) -> String {
    let first: Vec<String> = chunks.iter().take(MOST_NAMED).map(u64::to_string).collect();
    let more = chunks.len().saturating_sub(MOST_NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let word = if chunks.len() == 1 { "chunk" } else { "chunks" };
    format!("{word} {}{more}", first.join(", "))
}
