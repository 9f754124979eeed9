//! Signs that a log is not as the service wrote it: holes, clearings, time that runs backwards, the
//! service stopped, headers and checksums that are wrong. Each says what it rests on, and whether
//! something harmless is known to explain it: a false alarm is worse than a miss.
//!
//! - **Numbers go on when a log is cleared**: the record that says so, or the first after it, has
//!   the next EventRecordID. So what was in it before can be counted.
//! - **Time** is compared between records of adjacent EventRecordIDs only. Buffers of several
//!   processors reach a log out of order by moments; a minute is beyond that.
//! - **A stop of the service** is a shutdown where the System log has one beside it, or the machine
//!   starts before the service does.
//! - **A file that was not closed** was copied from a running machine: its header is older than its
//!   chunks, and a chunk may have been half written. What is wrong with it weighs less.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::case::Case;
use super::windows::{STEP_WINDOW, Window};
use crate::decode::{ChunkRange, EvtxHeaders};
use crate::error::{Fault, FaultKind};
use crate::model::{
    AccountName, Channel, Clearing, Coverage, Edge, HostName, IdxVec, InputIdx, Level, LogGap,
    LogSign, Mark, Proof, SignKind, csv_time,
};

/// How near a correction of the clock is to the step that it makes, by either time.
const CORRECTION: TimeDelta = TimeDelta::minutes(5);
/// How near a shutdown is to the stop of the service that it brings.
const SHUTDOWN: TimeDelta = TimeDelta::minutes(10);
/// Stops that both logs tell of at about one time are one.
const ONE_STOP: TimeDelta = TimeDelta::minutes(2);
/// Records that one sign names.
const MOST_NAMED: usize = 10;
/// Signs of one kind that stand alone in one log.
const MOST_ALONE: usize = 32;

/// What is known of an input's file.
pub struct FileFacts<'f> {
    /// Its headers.
    pub form: &'f EvtxHeaders,
    /// It is EVTX, and has a header that was read.
    pub is_evtx: bool,
    /// What is wrong with it.
    pub faults: &'f [Fault],
}

/// The first records of the chunks of a file of which `signs` asks: found by the same questions,
/// when the file is at hand.
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
        File::of(InputIdx::default(), facts, &[], &asked).signs();
    }
    found.into_inner()
}

/// The signs in a case. `first` finds the first record that can be read of an input's chunk.
pub(super) fn signs(
    case: &Case,
    window: Window,
    files: &IdxVec<InputIdx, FileFacts<'_>>,
    first: impl Fn(InputIdx, u64) -> Option<Edge>,
) -> Vec<LogSign> {
    let mut by_host: BTreeMap<&HostName, Vec<&Coverage>> = BTreeMap::new();
    let mut by_log: BTreeMap<(&HostName, Channel), Vec<&Coverage>> = BTreeMap::new();
    let mut by_input: BTreeMap<InputIdx, Vec<&Coverage>> = BTreeMap::new();
    for log in &case.coverage {
        by_host.entry(&log.host).or_default().push(log);
        by_log.entry((&log.host, log.channel)).or_default().push(log);
        by_input.entry(log.input).or_default().push(log);
    }
    let mut signs: Vec<LogSign> = case.gaps.iter().map(gap).collect();
    let mut clearings: BTreeMap<(&HostName, Channel), Vec<&Clearing>> = BTreeMap::new();
    for clearing in &case.cleared {
        clearings.entry((&clearing.host, clearing.channel)).or_default().push(clearing);
    }
    for (log, clearings) in clearings {
        let logs = by_log.get(&log).map(Vec::as_slice).unwrap_or_default();
        signs.extend(cleared(logs, &clearings));
    }
    for (host, logs) in by_host {
        let told = Told::of(&logs);
        signs.extend(told.backwards(&logs, window));
        signs.extend(told.stops(host, window));
        signs.extend(told.records(host, window));
    }
    for (input, facts) in files.iter_enumerated().filter(|(_, facts)| facts.is_evtx) {
        let logs = by_input.get(&input).map(Vec::as_slice).unwrap_or_default();
        signs.extend(File::of(input, facts, logs, &first).signs());
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

fn gap(found: &LogGap) -> LogSign {
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

/// The clearings of a log, in order of time: each of the first ones by itself with what was in the
/// log before, as far as numbers tell.
fn cleared(logs: &[&Coverage], clearings: &[&Clearing]) -> Vec<LogSign> {
    let (alone, more) = clearings.split_at(MOST_ALONE.min(clearings.len()));
    let mut signs: Vec<LogSign> =
        alone.iter().map(|clearing| one_cleared(logs, clearing)).collect();
    if let ([first, ..], [.., last]) = (more, more) {
        let what = format!("cleared {} times more", more.len());
        signs.push(LogSign {
            span: Some((first.time, last.time)),
            evidence: more.iter().take(MOST_NAMED).map(|clearing| record_of(clearing)).collect(),
            ..clearing(first, what, more.len() as u64)
        });
    }
    signs
}

fn record_of(clearing: &Clearing) -> Proof {
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
        evidence: vec![record_of(of)],
    }
}

fn one_cleared(logs: &[&Coverage], of: &Clearing) -> LogSign {
    // The log that was begun then: with the record of the clearing, or the first one after.
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
            "cleared by {by}; it goes on with record {begins}. Before that record {last} of {} is the last at \
             hand: {} after it are gone",
            csv_time(time),
            lost.unwrap_or_default(),
        ),
        (Some(begins), None) => format!(
            "cleared by {by}; it goes on with record {begins}, and no log at hand has one before it"
        ),
        (None, _) => format!("cleared by {by}"),
    };
    let sign = clearing(of, what, lost.unwrap_or_default());
    LogSign { span: Some((before.map_or(of.time, |(last, _)| last), of.time)), ..sign }
}

/// The records that tell of one stop of the service, and their channels.
type Stop = Vec<(Channel, Edge)>;

/// What a host's records say of its logs.
#[derive(Default)]
struct Told {
    /// In the order of time, each once however many inputs have it.
    marks: Vec<(Channel, Mark)>,
    /// When the clock was set.
    corrections: Times,
    /// When the machine was told to shut down, did, or started.
    shutdowns: Times,
    /// When the event log service started.
    starts: Times,
    /// How far the System logs reach: spans that do not overlap, in order.
    system: Vec<[DateTime<Utc>; 2]>,
}

/// Times in order.
#[derive(Default)]
struct Times(Vec<DateTime<Utc>>);

impl Times {
    /// The first that is not before a time.
    fn from(&self, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.0.get(self.0.partition_point(|known| *known < time)).copied()
    }

    fn near(&self, time: DateTime<Utc>, window: TimeDelta) -> bool {
        self.from(time - window).is_some_and(|found| found <= time + window)
    }
}

impl Told {
    fn of(logs: &[&Coverage]) -> Told {
        let mut told = Told::default();
        for log in logs {
            told.marks.extend(log.marks.iter().map(|mark| (log.channel, *mark)));
        }
        told.marks.sort_by_key(|(channel, mark)| (mark.edge.time, *channel, *mark));
        // A copy has another place, and all else the same.
        told.marks.dedup_by_key(|(channel, mark)| {
            (*channel, mark.event_id, mark.edge.record_id, mark.edge.time)
        });
        for (channel, mark) in &told.marks {
            let times = match (channel, mark.event_id) {
                (Channel::System, 1) | (Channel::Security, 4616) => &mut told.corrections,
                (Channel::System, 12 | 13 | 41 | 109 | 1074 | 6008) | (Channel::Security, 4608) => {
                    &mut told.shutdowns
                }
                (Channel::System, 6005) => &mut told.starts,
                _ => continue,
            };
            times.0.push(mark.edge.time);
        }
        let system = logs.iter().filter(|log| log.channel == Channel::System);
        let mut spans: Vec<[DateTime<Utc>; 2]> =
            system.map(|log| [log.first.0, log.last.0]).collect();
        spans.sort_unstable();
        for [first, last] in spans {
            match told.system.last_mut() {
                Some([_, end]) if first <= *end => *end = last.max(*end),
                _ => told.system.push([first, last]),
            }
        }
        told
    }

    fn has_system(&self, time: DateTime<Utc>) -> bool {
        let next = self.system.partition_point(|[first, _]| *first <= time);
        next.checked_sub(1).is_some_and(|at| self.system[at][1] >= time)
    }

    /// Where time runs backwards.
    fn backwards(&self, logs: &[&Coverage], window: Window) -> Vec<LogSign> {
        let mut seen: BTreeSet<(Channel, u64, DateTime<Utc>)> = BTreeSet::new();
        let mut signs = Vec::new();
        for log in logs {
            for [before, after] in log.backwards.iter().take(MOST_ALONE) {
                let is_new = seen.insert((log.channel, after.record_id, after.time));
                if !is_new || !(window.has(before.time) || window.has(after.time)) {
                    continue;
                }
                let corrected = |edge: &Edge| self.corrections.near(edge.time, CORRECTION);
                let explained = match corrected(before) || corrected(after) {
                    true => Some(true),
                    false => self.has_system(before.time).then_some(false),
                };
                let what = format!(
                    "record {} is {} s older than record {} before it{}",
                    after.record_id,
                    (before.time - after.time).num_seconds(),
                    before.record_id,
                    because(
                        explained,
                        "the clock was set then",
                        "no record says that the clock was set"
                    ),
                );
                signs.push(LogSign {
                    kind: SignKind::TimeBackwards,
                    level: weight(explained),
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

    /// Where the event log service stopped: alone where nothing explains it.
    fn stops(&self, host: &HostName, window: Window) -> Vec<LogSign> {
        let stop = |(channel, mark): &(Channel, Mark)| {
            matches!((channel, mark.event_id), (Channel::Security, 1100) | (Channel::System, 6006))
        };
        let mut stops: Vec<Stop> = Vec::new();
        for &(channel, mark) in self.marks.iter().filter(|mark| stop(mark)) {
            let edge = mark.edge;
            match stops.last_mut() {
                Some(known) if edge.time - known[0].1.time <= ONE_STOP => {
                    known.push((channel, edge))
                }
                _ => stops.push(vec![(channel, edge)]),
            }
        }
        let mut by_reason: BTreeMap<Option<bool>, Vec<&Stop>> = BTreeMap::new();
        for stop in stops.iter().filter(|stop| window.has(stop[0].1.time)) {
            let explained = self.is_shutdown(stop[0].1.time);
            by_reason.entry(explained).or_default().push(stop);
        }
        let mut signs = Vec::new();
        for (explained, stops) in by_reason {
            let alone = if explained == Some(false) { MOST_ALONE } else { 0 };
            let (alone, folded) = stops.split_at(alone.min(stops.len()));
            let groups = alone.chunks(1).chain((!folded.is_empty()).then_some(folded));
            for stops in groups {
                let edges = || stops.iter().flat_map(|stop| stop.iter().map(|(_, edge)| edge));
                let times = || edges().map(|edge| edge.time);
                let because = because(
                    explained,
                    "the machine was shut down or started then",
                    "no record says that the machine was shut down or started",
                );
                let what = match stops.len() {
                    1 => format!("the event log service stopped{because}"),
                    n => format!("the event log service stopped {n} times{because}"),
                };
                let channels: BTreeSet<Channel> = stops
                    .iter()
                    .flat_map(|stop| stop.iter().map(|(channel, _)| *channel))
                    .collect();
                signs.push(LogSign {
                    kind: SignKind::ServiceStopped,
                    level: weight(explained),
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

    /// Whether the service stopped because the machine did; none where nothing can tell.
    fn is_shutdown(&self, stop: DateTime<Utc>) -> Option<bool> {
        let start = self.starts.from(stop);
        let beside = |time| self.shutdowns.near(time, SHUTDOWN);
        if beside(stop) || start.is_some_and(beside) {
            return Some(true);
        }
        // A log that ends with the stop may be of a machine that was off since.
        (start.is_some() && self.has_system(stop)).then_some(false)
    }

    /// The signs that single records of the Security log are, each kind as one.
    fn records(&self, host: &HostName, window: Window) -> Vec<LogSign> {
        let sign = |(kind, ids, what): (SignKind, &[u32], &str)| {
            let of_kind = |(channel, mark): &&(Channel, Mark)| {
                *channel == Channel::Security
                    && ids.contains(&mark.event_id)
                    && window.has(mark.edge.time)
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
        RECORDS.into_iter().filter_map(sign).collect()
    }
}

/// Records of the Security log that are signs by themselves.
const RECORDS: [(SignKind, &[u32], &str); 4] = [
    (SignKind::EventsDropped, &[1101], "audit events were dropped (1101)"),
    (SignKind::LogFull, &[1104], "the Security log was full (1104)"),
    (SignKind::LoggingError, &[1108], "an event could not be logged (1108)"),
    (SignKind::PolicyChanged, &[4715, 4719, 4906, 4912], "the audit policy was changed"),
];

fn weight(explained: Option<bool>) -> Level {
    match explained {
        Some(true) => Level::Informational,
        None => Level::Low,
        Some(false) => Level::Medium,
    }
}

fn because(explained: Option<bool>, known: &str, unknown: &str) -> String {
    match explained {
        Some(true) => format!("; {known}"),
        Some(false) => format!("; {unknown}"),
        None => "; the System log that would say why does not cover it".to_owned(),
    }
}

/// What is wrong with a file.
struct File<'f, F> {
    input: InputIdx,
    facts: &'f FileFacts<'f>,
    host: HostName,
    channel: Channel,
    span: Option<(DateTime<Utc>, DateTime<Utc>)>,
    first: &'f F,
}

impl<'f, F: Fn(InputIdx, u64) -> Option<Edge>> File<'f, F> {
    fn of(input: InputIdx, facts: &'f FileFacts<'f>, logs: &[&Coverage], first: &'f F) -> Self {
        let (host, channel) = match logs {
            [log] if log.alone => (log.host.clone(), log.channel),
            _ => (HostName::default(), Channel::Other),
        };
        let (from, to) = (logs.iter().map(|log| log.first.0), logs.iter().map(|log| log.last.0));
        let span = from.min().zip(to.max());
        File { input, facts, host, channel, span, first }
    }

    fn is_dirty(&self) -> bool {
        self.facts.form.file.is_some_and(|header| header.dirty)
    }

    /// A sign in some chunks, or in the file as a whole where none is named.
    fn sign(&self, kind: SignKind, level: Level, chunks: &[u64], what: String) -> LogSign {
        let any = self.facts.form.chunks.iter().map(|chunk| chunk.number).take(MOST_NAMED);
        let first = |chunk| (self.first)(self.input, chunk);
        let evidence = match chunks {
            [] => { any }.find_map(first).iter().map(proof).collect(),
            chunks => {
                let named = chunks.iter().take(MOST_NAMED).filter_map(|&chunk| first(chunk));
                named.map(|edge| proof(&edge)).collect()
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

    /// What is wrong with chunks weighs less in a file that was not closed.
    fn weight(&self) -> Level {
        if self.is_dirty() { Level::Low } else { Level::Medium }
    }

    fn signs(&self) -> Vec<LogSign> {
        let mut signs = Vec::new();
        let FileFacts { form: EvtxHeaders { file, chunks }, faults, .. } = self.facts;
        let of_kind = |kind| {
            let chunks = faults.iter().filter(move |fault| fault.kind == kind);
            chunks.filter_map(|fault| fault.chunk).collect::<BTreeSet<u64>>()
        };
        let (suspect, lost) = (of_kind(FaultKind::Suspect), of_kind(FaultKind::Lost));
        match file {
            None => {
                let what = "the file has no header of a log".to_owned();
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
                        "the file header says that record {} is the next, and the last one is {last}",
                        header.next_record
                    );
                    signs.push(self.sign(SignKind::HeaderDisagrees, Level::Medium, &[], what));
                } else if usize::from(header.chunks) < chunks.len() {
                    let (said, there) = (header.chunks, chunks.len());
                    let what =
                        format!("the file header says {said} chunks, and {there} have records");
                    signs.push(self.sign(SignKind::HeaderDisagrees, Level::Medium, &[], what));
                }
            }
            Some(_) => {}
        }
        for (kind, level, chunks, what) in [
            (SignKind::ChunkChecksum, self.weight(), suspect, "wrong checksum"),
            (SignKind::Unreadable, Level::Low, lost.clone(), "not read in full"),
        ] {
            let chunks: Vec<u64> = chunks.into_iter().collect();
            if !chunks.is_empty() {
                let what = format!("{what}: {}", named(&chunks));
                signs.push(self.sign(kind, level, &chunks, what));
            }
        }
        signs.extend(self.order(chunks, !lost.is_empty()));
        signs
    }

    /// How the chunks follow each other by the numbers of their records.
    fn order(&self, chunks: &[ChunkRange], damaged: bool) -> Vec<LogSign> {
        let mut signs = Vec::new();
        let falls: Vec<u64> = chunks
            .windows(2)
            .filter(|pair| pair[1].first < pair[0].first)
            .map(|pair| pair[1].number)
            .collect();
        let begins = self.facts.form.file.map(|header| header.first_chunk);
        match falls[..] {
            [] => {}
            // The oldest chunk is where the log will write next, as its header says.
            [oldest] if self.is_dirty() || begins == Some(oldest) || begins.is_none() => {
                let what =
                    format!("the log went round at chunk {oldest}: what is older was overwritten");
                signs.push(self.sign(SignKind::Wrapped, Level::Informational, &[oldest], what));
            }
            _ => {
                let what = format!("older records than in the one before: {}", named(&falls));
                signs.push(self.sign(SignKind::ChunkOrder, self.weight(), &falls, what));
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
            let what = format!("records of numbers that another has: {}", named(&repeated));
            signs.push(self.sign(SignKind::ChunkRepeated, self.weight(), &repeated, what));
        }
        let missing: Vec<(&ChunkRange, u64)> = pairs()
            .filter(|(one, next)| next.first > one.last.saturating_add(1))
            .map(|(one, next)| (next, next.first - one.last - 1))
            .collect();
        if !missing.is_empty() && !damaged {
            let count: u64 = missing.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count));
            let chunks: Vec<u64> = missing.iter().map(|(next, _)| next.number).collect();
            let what =
                format!("{count} records are missing before {}, by their numbers", named(&chunks));
            let sign = self.sign(SignKind::ChunkMissing, self.weight(), &chunks, what);
            signs.push(LogSign { count, ..sign });
        }
        signs
    }
}

/// Chunks by their numbers, the first of many.
fn named(chunks: &[u64]) -> String {
    let first: Vec<String> = chunks.iter().take(MOST_NAMED).map(u64::to_string).collect();
    let more = chunks.len().saturating_sub(MOST_NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let word = if chunks.len() == 1 { "chunk" } else { "chunks" };
    format!("{word} {}{more}", first.join(", "))
}
