//! The flow, in one place: input, decode, normalise, reconstruct, detect.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use chrono::{DateTime, Utc};
use rayon::prelude::*;

use crate::decode::{CHUNK_SIZE, ChunkTally, Decoder, Wanted, chunk_count};
use crate::detect::{self, Hit, RuleSet};
use crate::error::{Error, Fault, FaultKind};
use crate::input::{self, FILE_HEADER, Input, InputKind};
use crate::model::{Channel, Detection, Event, Record, RecordRef};
use crate::normalise;
use crate::reconstruct::{Case, reconstruct};

/// Chunks that one task reads and decodes: 4 MiB.
const CHUNKS_PER_TASK: u64 = 64;

/// What to keep.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Events before this time are left out.
    pub from: Option<DateTime<Utc>>,
    /// Events at or after this time are left out.
    pub to: Option<DateTime<Utc>>,
}

/// Hears how far a run has come, from any thread.
pub trait Progress: Sync {
    /// The run is about to read this many files and bytes.
    fn begin(&self, files: usize, bytes: u64);
    /// So many more bytes are decoded, with so many records in them.
    fn advance(&self, bytes: u64, records: u64);
    /// The files are read; what follows is of this name.
    fn stage(&self, name: &str);
}

/// Tells nobody.
pub struct NoProgress;

impl Progress for NoProgress {
    fn begin(&self, _: usize, _: u64) {}
    fn advance(&self, _: u64, _: u64) {}
    fn stage(&self, _: &str) {}
}

/// What became of an input.
#[derive(Debug, Clone)]
pub struct InputReport {
    /// The input.
    pub input: Input,
    /// SHA-256 of the whole file; none for a file that was not read.
    pub sha256: Option<String>,
    /// Chunks in the file.
    pub chunks: u64,
    /// Records read, relevant or not.
    pub records: u64,
    /// What is wrong with it, in the order of the file.
    pub faults: Vec<Fault>,
}

/// Everything a run found.
pub struct Analysis {
    /// The inputs, by path.
    pub inputs: Vec<InputReport>,
    /// The rules that were loaded.
    pub rules: RuleSet,
    /// Events, sessions and what belongs to them.
    pub case: Case,
    /// What the rules found.
    pub detections: Vec<Detection>,
}

impl Analysis {
    /// Whether something could not be read in full, or a rule was not loaded.
    pub fn is_partial(&self) -> bool {
        let damaged = |report: &InputReport| {
            report.faults.iter().any(|fault| fault.kind != FaultKind::NotALog)
        };
        self.inputs.iter().any(damaged) || !self.rules.refused.is_empty()
    }

    /// Records read, over all inputs.
    pub fn records(&self) -> u64 {
        self.inputs.iter().map(|report| report.records).sum()
    }
}

/// Runs the whole flow, on the threads of the rayon pool it is called in.
///
/// # Errors
/// [`Error::NothingToRead`] when no input is a log.
/// Damage inside inputs is no error: it is in the reports' faults.
pub fn analyze(
    inputs: Vec<Input>,
    options: &Options,
    rules: RuleSet,
    progress: &dyn Progress,
) -> Result<Analysis, Error> {
    if !inputs.iter().any(is_log) {
        return Err(Error::NothingToRead(nothing(&inputs)));
    }
    let (inputs, events, hits) = read_all(inputs, options, &rules, progress);
    progress.stage("rebuilding sessions");
    let case = reconstruct(events);
    progress.stage("matching rules");
    let detections = detect::detect(&rules, &case, hits);
    Ok(Analysis { inputs, rules, case, detections })
}

fn is_log(input: &Input) -> bool {
    input.kind != InputKind::Unknown
}

fn nothing(inputs: &[Input]) -> String {
    let reason = |input: &Input| input.fault.as_ref().map_or("", |fault| &fault.reason).to_owned();
    match inputs {
        [] => "the paths given hold no file".to_owned(),
        [one] => format!("{}: {}", one.path.display(), reason(one)),
        [first, ..] => format!(
            "none of {} files is one, the first being {}: {}",
            inputs.len(),
            first.path.display(),
            reason(first)
        ),
    }
}

/// A piece of work: all inputs' pieces share the threads.
#[derive(Clone, Copy)]
enum Task {
    Hash(usize),
    Decode { input: usize, first: u64, count: u64 },
}

enum Done {
    Hash(usize, io::Result<String>),
    Decode(usize, Batch),
}

/// What some chunks came to.
#[derive(Default)]
struct Batch {
    records: u64,
    faults: Vec<Fault>,
    events: Vec<Event>,
    hits: Vec<(RecordRef, Vec<Hit>)>,
}

type Hits = BTreeMap<RecordRef, Vec<Hit>>;

fn read_all(
    inputs: Vec<Input>,
    options: &Options,
    rules: &RuleSet,
    progress: &dyn Progress,
) -> (Vec<InputReport>, Vec<Event>, Hits) {
    let mut tasks = Vec::new();
    for (index, input) in inputs.iter().enumerate().filter(|(_, input)| is_log(input)) {
        tasks.push(Task::Hash(index));
        let chunks = chunk_count(input.size);
        tasks.extend((0..chunks).step_by(CHUNKS_PER_TASK as usize).map(|first| Task::Decode {
            input: index,
            first,
            count: CHUNKS_PER_TASK.min(chunks - first),
        }));
    }
    let logs = inputs.iter().filter(|input| is_log(input));
    progress.begin(logs.clone().count(), logs.map(|input| input.size).sum());

    let reader = BatchReader { inputs: &inputs, options, rules, progress };
    let done = tasks.into_iter().enumerate().par_bridge().map(|(order, task)| {
        let done = match task {
            Task::Hash(input) => Done::Hash(input, input::sha256(&inputs[input].path)),
            Task::Decode { input, first, count } => {
                Done::Decode(input, reader.read(input, first, count))
            }
        };
        (order, done)
    });
    // Threads finish in any order; what follows must not depend on it.
    let mut done: Vec<(usize, Done)> = done.collect();
    done.sort_by_key(|(order, _)| *order);

    let mut reports: Vec<InputReport> = inputs
        .into_iter()
        .map(|input| InputReport {
            chunks: if is_log(&input) { chunk_count(input.size) } else { 0 },
            faults: input.fault.iter().cloned().collect(),
            input,
            sha256: None,
            records: 0,
        })
        .collect();
    let count = |done: &(usize, Done)| match done {
        (_, Done::Decode(_, batch)) => batch.events.len(),
        _ => 0,
    };
    let mut events = Vec::with_capacity(done.iter().map(count).sum());
    let mut hits = Hits::new();
    for (_, done) in done {
        match done {
            Done::Hash(input, Ok(sha256)) => reports[input].sha256 = Some(sha256),
            Done::Hash(input, Err(error)) => {
                let reason = format!("not hashed: {error}");
                reports[input].faults.push(Fault::file(FaultKind::Lost, reason));
            }
            Done::Decode(input, batch) => {
                reports[input].records += batch.records;
                reports[input].faults.extend(batch.faults);
                events.extend(batch.events);
                hits.extend(batch.hits);
            }
        }
    }
    (reports, events, hits)
}

/// Reads and decodes batches of chunks.
struct BatchReader<'a> {
    inputs: &'a [Input],
    options: &'a Options,
    rules: &'a RuleSet,
    progress: &'a dyn Progress,
}

impl Wanted for BatchReader<'_> {
    fn wants(&self, channel: Channel, channel_name: &str, event_id: u32) -> bool {
        normalise::relevant(channel, event_id) || self.rules.wants(channel, channel_name, event_id)
    }
}

impl BatchReader<'_> {
    fn read(&self, input: usize, first: u64, count: u64) -> Batch {
        let mut batch = Batch::default();
        let mut decoder = Decoder::new(self);
        let mut file = match File::open(&self.inputs[input].path) {
            Ok(file) => file,
            Err(error) => {
                batch.faults.push(unread(first, &error));
                return batch;
            }
        };
        for number in first..first + count {
            let bytes = match read_chunk(&mut file, number) {
                Ok(bytes) => bytes,
                Err(error) => {
                    batch.faults.push(unread(number, &error));
                    continue;
                }
            };
            let read = bytes.len() as u64;
            let Batch { events, hits, .. } = &mut batch;
            let take = |record: Record| self.take(&record, events, hits);
            let ChunkTally { records, faults } = decoder.chunk(bytes, input as u32, number, take);
            batch.records += records;
            batch.faults.extend(faults);
            self.progress.advance(read, records);
        }
        batch
    }

    /// Keeps the event of a record that is relevant or that a rule fires on.
    fn take(
        &self,
        record: &Record,
        events: &mut Vec<Event>,
        hits: &mut Vec<(RecordRef, Vec<Hit>)>,
    ) {
        let Options { from, to, .. } = self.options;
        if from.is_some_and(|from| record.time < from) || to.is_some_and(|to| record.time >= to) {
            return;
        }
        let fired = self.rules.on_record(record);
        if !fired.is_empty() || normalise::relevant(record.known_channel, record.event_id) {
            events.push(normalise::event(record));
        }
        if !fired.is_empty() {
            hits.push((record.source, fired));
        }
    }
}

fn read_chunk(file: &mut File, number: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(CHUNK_SIZE as usize);
    file.seek(SeekFrom::Start(FILE_HEADER + number * CHUNK_SIZE))?;
    file.take(CHUNK_SIZE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn unread(chunk: u64, error: &io::Error) -> Fault {
    Fault {
        chunk: Some(chunk),
        offset: Some(FILE_HEADER + chunk * CHUNK_SIZE),
        ..Fault::file(FaultKind::Lost, format!("not read: {error}"))
    }
}
