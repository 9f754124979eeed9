//! Surveys logs before a full run. Only the System part of each record is read.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use rayon::prelude::*;

use super::input_report::ensure_any_log;
use super::progress::Progress;
use crate::decode::{
    DecodeOutcome, Decoder, RecordFilter, RecordHeader, chunk_count, chunk_number_at,
};
use crate::error::{Error, Fault, FaultKind};
use crate::input::{
    self, EvtxFileHeader, Input, InputKind, InputReader, Piece, ReadEnd, file_header, piece_count,
};
use crate::limits::Limits;
use crate::model::{
    AccountName, Channel, Edge, EventKind, Gap, IdxVec, InputIdx, Record, RecordRef, Str,
};
use crate::normalise::{self, Normaliser};
use crate::reconstruct::RecordRuns;

/// The most channels of hosts that are listed for one input. Forwarded logs mix thousands of hosts.
const MOST_HELD: usize = 4096;
/// The most kinds of events that are listed for one input.
const MOST_KINDS: usize = 4096;
/// The most clearings that are listed.
const MOST_CLEARED: usize = 100;

/// The contents of an input.
#[derive(Debug)]
pub struct Survey {
    /// The input.
    pub input: Input,
    /// SHA-256 of the whole file, or of an archive's member as unpacked. `None` if the file was not
    /// read in full.
    pub sha256: Option<String>,
    /// The header of an EVTX file.
    pub header: Option<EvtxFileHeader>,
    /// Chunks in the file.
    pub chunks: u64,
    /// Records read.
    pub records: u64,
    /// Records of the kinds that an analysis always reads in full, whatever rules are loaded.
    pub relevant: u64,
    /// The lowest and the highest number in the records' own headers. Only for EVTX.
    pub numbers: Option<(u64, u64)>,
    /// Whether later chunks hold older records: the log was full and continued at its beginning.
    pub wrapped: bool,
    /// The records of each host's channels, by host and channel.
    pub held: Vec<HostChannel>,
    /// How many records there are of each kind, most frequent first.
    pub events: Vec<EventCount>,
    /// Records that are counted neither by host and channel nor by kind, because there are too many
    /// of these.
    pub not_listed: u64,
    /// Records of a clearing of a log (1102, 104), the first hundred.
    pub cleared: Vec<ClearedLog>,
    /// Its faults, in the order of the file.
    pub faults: Vec<Fault>,
}

/// An input's records in one channel of one host.
#[derive(Debug, Clone)]
pub struct HostChannel {
    /// System/Computer as logged.
    pub host: Str,
    /// System/Channel as logged.
    pub channel: Str,
    /// How many.
    pub records: u64,
    /// The earliest one's time, UTC.
    pub first: DateTime<Utc>,
    /// The latest one's time, UTC.
    pub last: DateTime<Utc>,
    /// The lowest and the highest EventRecordID.
    pub record_ids: (u64, u64),
    /// Gaps in EventRecordID. `None` where there are more than 32, as in a selection of records.
    pub gaps: Option<Vec<Gap>>,
}

/// An input's records of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventCount {
    /// System/EventID.
    pub event_id: u32,
    /// System/Provider Name.
    pub provider: Str,
    /// How many.
    pub records: u64,
    /// How many of them an analysis always reads in full, whatever rules are loaded.
    pub relevant: u64,
}

/// A record of a clearing of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClearedLog {
    /// When, UTC.
    pub time: DateTime<Utc>,
    /// The host, as logged.
    pub host: Str,
    /// The cleared log.
    pub log: String,
    /// Who cleared it, as logged.
    pub account: Option<AccountName>,
    /// The record's EventRecordID.
    pub record_id: u64,
}

/// Surveys logs on the threads of the current rayon pool. Zips are unpacked to an unlinked
/// temporary file in `scratch`.
///
/// # Errors
/// [`Error::NothingToRead`] when no input is a log, [`Error::Write`] when the scratch folder cannot
/// be written. Damage inside inputs is not an error: it is in the faults.
pub fn survey(
    inputs: Vec<Input>,
    scratch: &Path,
    progress: &dyn Progress,
) -> Result<Vec<Survey>, Error> {
    let inputs: IdxVec<InputIdx, Input> =
        input::unpack(inputs, scratch, &Limits::default())?.into();
    ensure_any_log(inputs.iter().map(|input| (input, &input.faults[..])))?;
    let logs = || inputs.iter_enumerated().filter(|(_, input)| input.kind.is_log());
    progress.begin(logs().count(), logs().map(|(_, input)| input.size).sum());
    let readers: IdxVec<InputIdx, Mutex<InputReader<'_>>> =
        inputs.iter().map(|input| Mutex::new(InputReader::new(input))).collect();
    let tasks =
        logs().flat_map(|(index, input)| std::iter::repeat_n(index, piece_count(input) as usize));
    let room = || (Piece::default(), Decoder::default());
    let parts = tasks.par_bridge().map_init(room, |(piece, decoder), index| {
        let part = survey_piece(&inputs[index], index, &readers[index], piece, decoder);
        progress.advance(piece.length, part.tally.records);
        part
    });
    let mut parts: Vec<PieceSurvey> = parts.collect();
    // Threads finish in any order. The results below must not depend on it.
    parts.sort_by_key(|part| (part.index, part.start));
    let mut parts = parts.into_iter().peekable();
    let mut surveys = Vec::new();
    for ((index, input), reader) in inputs.iter_enumerated().zip(readers) {
        let own = std::iter::from_fn(|| parts.next_if(|part| part.index == index));
        let reader = reader.into_inner().unwrap_or_else(PoisonError::into_inner);
        surveys.push(Survey::from_parts(input, own, reader));
    }
    ensure_any_log(surveys.iter().map(|survey| (&survey.input, &survey.faults[..])))?;
    Ok(surveys)
}

impl Survey {
    /// Combines the parts of an input, which come in order.
    fn from_parts(
        input: &Input,
        parts: impl Iterator<Item = PieceSurvey>,
        reader: InputReader<'_>,
    ) -> Survey {
        let mut survey = Survey {
            sha256: None,
            header: None,
            chunks: chunk_count(input),
            records: 0,
            relevant: 0,
            numbers: None,
            wrapped: false,
            held: Vec::new(),
            events: Vec::new(),
            not_listed: 0,
            cleared: Vec::new(),
            faults: input.faults.clone(),
            input: input.clone(),
        };
        if !input.kind.is_log() {
            return survey;
        }
        let mut count = SurveyCount::default();
        let mut foreign = Vec::new();
        for part in parts {
            survey.records += part.tally.records;
            survey.faults.extend(part.tally.faults);
            foreign.extend(part.tally.foreign);
            count.append(part.count);
        }
        if input.kind.is_text() && survey.records == 0 && survey.faults.is_empty() {
            survey.input.kind = InputKind::Unknown;
            survey.faults.push(Fault::file(FaultKind::NotALog, "it holds no event record"));
            return survey;
        }
        match reader.end() {
            ReadEnd::Whole(sha256) => survey.sha256 = Some(sha256),
            ReadEnd::Failed(reason) => {
                let reason = format!("not hashed: {reason}");
                survey.faults.push(Fault::file(FaultKind::Lost, reason));
            }
            // All of its pieces are read.
            ReadEnd::Interrupted(_) => {}
        }
        survey.faults.extend(foreign);
        survey.faults.sort_by_key(|fault| fault.offset);
        survey.header = file_header(input).unwrap_or_default();
        if let Some(numbers) = count.numbers.filter(|_| input.kind.is_evtx()) {
            survey.numbers = Some((numbers.low, numbers.high));
            survey.wrapped = numbers.falls;
        }
        survey.cleared = std::mem::take(&mut count.cleared);
        survey.not_listed = count.not_listed;
        survey.held = count.take_channels();
        survey.events = count.take_event_counts();
        survey.relevant = survey.events.iter().map(|events| events.relevant).sum();
        survey
    }

    /// Returns whether something could not be read, or is less trustworthy.
    pub fn is_damaged(&self) -> bool {
        self.faults.iter().any(|fault| fault.kind != FaultKind::NotALog)
    }
}

/// The survey of a piece of a log.
struct PieceSurvey {
    index: InputIdx,
    start: u64,
    tally: DecodeOutcome,
    count: SurveyCount,
}

/// Surveys the next piece of a log.
fn survey_piece(
    input: &Input,
    index: InputIdx,
    reader: &Mutex<InputReader<'_>>,
    piece: &mut Piece,
    decoder: &mut Decoder,
) -> PieceSurvey {
    let read = reader.lock().unwrap_or_else(PoisonError::into_inner).next(piece);
    let start = piece.start;
    let watch = SurveyCounter::default();
    let mut cleared = Vec::new();
    let mut normaliser = Normaliser::default();
    let take = |record: &Record| {
        let event = normaliser.event(record);
        if let EventKind::LogCleared(what) = event.kind
            && cleared.len() < MOST_CLEARED
        {
            let (host, log) = (event.computer.shared().clone(), what.log);
            let (time, record_id) = (event.time, event.record_id);
            cleared.push(ClearedLog { time, host, log, account: what.account, record_id });
        }
    };
    let mut tally = decoder.decode_piece(input, index, piece, &watch, take);
    if let Err(error) = read {
        tally.faults.push(Fault {
            chunk: chunk_number_at(input, start),
            offset: Some(start),
            ..Fault::file(FaultKind::Lost, format!("not read in full from here on: {error}"))
        });
    }
    let count = SurveyCount { cleared, ..watch.0.into_inner() };
    PieceSurvey { index, start, tally, count }
}

/// Counts all records, and asks for those of a clearing of a log.
#[derive(Default)]
struct SurveyCounter(RefCell<SurveyCount>);

impl RecordFilter for SurveyCounter {
    fn observe(&self, header: RecordHeader<'_>) {
        self.0.borrow_mut().add_record(header);
    }

    fn wants(&self, _: RecordRef, channel: Channel, _: &str, event_id: u32) -> bool {
        matches!((channel, event_id), (Channel::Security, 1102) | (Channel::System, 104))
    }
}

/// The counts of the records in a part of a log.
#[derive(Default)]
struct SurveyCount {
    /// The offset of the latest record. A record that is hard to read is seen twice.
    latest: Option<u64>,
    held: BTreeMap<Str, BTreeMap<Str, ChannelCount>>,
    /// How many channels `held` has.
    channels: usize,
    kinds: BTreeMap<Str, BTreeMap<u32, KindCount>>,
    /// How many kinds there are.
    ids: usize,
    not_listed: u64,
    numbers: Option<RecordNumbers>,
    cleared: Vec<ClearedLog>,
}

/// The records of one kind: all, and the relevant ones.
#[derive(Default)]
struct KindCount {
    records: u64,
    relevant: u64,
}

/// The numbers in the headers of records, in the order of the file.
#[derive(Clone, Copy)]
struct RecordNumbers {
    first: u64,
    last: u64,
    low: u64,
    high: u64,
    /// Whether a number is lower than the one before it.
    falls: bool,
}

/// The records in one channel of one host.
struct ChannelCount {
    records: u64,
    first: DateTime<Utc>,
    last: DateTime<Utc>,
    low: u64,
    high: u64,
    runs: RecordRuns,
}

impl SurveyCount {
    fn add_record(&mut self, header: RecordHeader<'_>) {
        let RecordHeader { source, record_id, time, .. } = header;
        if self.latest.is_some_and(|latest| source.offset <= latest) {
            return;
        }
        self.latest = Some(source.offset);
        let number = source.number;
        let new =
            RecordNumbers { first: number, last: number, low: number, high: number, falls: false };
        self.append_numbers(new);
        let is_told = self.update_kind(header.provider, header.event_id, |kind| {
            kind.records += 1;
            kind.relevant += u64::from(normalise::relevant(header.channel, header.event_id));
        });
        let edge = Edge { record_id, time, source };
        let is_held = self.update_channel(header.computer, header.channel_name, edge, |span| {
            span.records += 1;
            span.first = span.first.min(time);
            span.last = span.last.max(time);
            span.low = span.low.min(record_id);
            span.high = span.high.max(record_id);
            span.runs.push(edge);
        });
        self.not_listed += u64::from(!is_told || !is_held);
    }

    /// Updates the counts of a kind of events. Returns `false` if there are too many kinds.
    fn update_kind(
        &mut self,
        provider: &str,
        event_id: u32,
        change: impl FnOnce(&mut KindCount),
    ) -> bool {
        if let Some(kind) = self.kinds.get_mut(provider).and_then(|ids| ids.get_mut(&event_id)) {
            change(kind);
            return true;
        }
        if self.ids == MOST_KINDS {
            return false;
        }
        self.ids += 1;
        change(self.kinds.entry(provider.into()).or_default().entry(event_id).or_default());
        true
    }

    /// Updates the counts of a host's channel. Returns `false` if there are too many channels.
    /// `edge` is one of its records.
    fn update_channel(
        &mut self,
        host: &str,
        channel: &str,
        edge: Edge,
        change: impl FnOnce(&mut ChannelCount),
    ) -> bool {
        if let Some(span) = self.held.get_mut(host).and_then(|own| own.get_mut(channel)) {
            change(span);
            return true;
        }
        if self.channels == MOST_HELD {
            return false;
        }
        self.channels += 1;
        let Edge { record_id, time, .. } = edge;
        let (low, high) = (record_id, record_id);
        let new = ChannelCount {
            records: 0,
            first: time,
            last: time,
            low,
            high,
            runs: RecordRuns::default(),
        };
        change(self.held.entry(host.into()).or_default().entry(channel.into()).or_insert(new));
        true
    }

    fn append_numbers(&mut self, next: RecordNumbers) {
        self.numbers = Some(match self.numbers {
            None => next,
            Some(RecordNumbers { first, last, low, high, falls }) => RecordNumbers {
                first,
                last: next.last,
                low: low.min(next.low),
                high: high.max(next.high),
                falls: falls || next.falls || next.first < last,
            },
        });
    }

    /// Adds the counts of the next part of the log.
    fn append(&mut self, next: SurveyCount) {
        if let Some(numbers) = next.numbers {
            self.append_numbers(numbers);
        }
        self.not_listed += next.not_listed;
        let room = MOST_CLEARED.saturating_sub(self.cleared.len());
        self.cleared.extend(next.cleared.into_iter().take(room));
        for (provider, ids) in &next.kinds {
            for (&event_id, more) in ids {
                let add = |kind: &mut KindCount| {
                    kind.records += more.records;
                    kind.relevant += more.relevant;
                };
                if !self.update_kind(provider, event_id, add) {
                    self.not_listed += more.records;
                }
            }
        }
        for (host, channels) in &next.held {
            for (channel, more) in channels {
                let source = RecordRef::default();
                let edge = Edge { record_id: more.low, time: more.first, source };
                let add = |span: &mut ChannelCount| {
                    span.records += more.records;
                    span.first = span.first.min(more.first);
                    span.last = span.last.max(more.last);
                    span.low = span.low.min(more.low);
                    span.high = span.high.max(more.high);
                    span.runs.merge(&more.runs);
                };
                if !self.update_channel(host, channel, edge, add) {
                    self.not_listed += more.records;
                }
            }
        }
    }

    /// Returns the channels of hosts.
    fn take_channels(&mut self) -> Vec<HostChannel> {
        let mut held = Vec::new();
        for (host, channels) in std::mem::take(&mut self.held) {
            for (channel, span) in channels {
                let ChannelCount { records, first, last, low, high, mut runs } = span;
                let (host, gaps) = (host.clone(), runs.gaps());
                let record_ids = (low, high);
                held.push(HostChannel { host, channel, records, first, last, record_ids, gaps });
            }
        }
        held
    }

    /// Returns the kinds of events, most frequent first.
    fn take_event_counts(&mut self) -> Vec<EventCount> {
        let mut events = Vec::new();
        for (provider, ids) in std::mem::take(&mut self.kinds) {
            for (event_id, KindCount { records, relevant }) in ids {
                events.push(EventCount { event_id, provider: provider.clone(), records, relevant });
            }
        }
        // The sort is stable: equal kinds stay in the order of their names.
        events.sort_by_key(|kind| std::cmp::Reverse(kind.records));
        events
    }
}
