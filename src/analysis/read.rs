//! Reads all logs of a run, each once.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Mutex, PoisonError};

use ps_layers::Unwrapper;
use rayon::prelude::*;

use super::extracted::Extracted;
use super::input_report::InputReport;
use super::logs::{InputProgress, PieceDecoder, PieceOutcome};
use super::options::Options;
use super::progress::Progress;
use super::texts;
use crate::decode::EvtxHeaders;
use crate::dedup::Spans;
use crate::detect::{self, CorrelationStep, Hit, OutsideScriptMatcher, RuleSet};
use crate::input::{Input, InputKind, InputReader, piece_count};
use crate::limits::Limit;
use crate::model::{
    Detection, EventIdx, EventKind, IdxVec, InputIdx, Proof, Record, RecordRef, RuleIdx, Wrapped,
};
use crate::normalise::{self, Normaliser};
use crate::reconstruct::{KeyHasher, TaskMarks, assemble_script_blocks};
use crate::rows::timeline::TimelineRows;
use crate::rows::{
    Copies, Fingerprints, KeepReason, ScriptCollector, SessionRef, TaskScripts, TextPool,
    detections, layers, records,
};
use crate::sorted::{SortBuffer, Sorter};

/// The inputs of a reading and the places where its rows go.
pub(super) struct LogReading<'a> {
    pub inputs: &'a IdxVec<InputIdx, Input>,
    /// By input: the extracted records that are read instead of the log.
    pub observed: &'a IdxVec<InputIdx, Option<Extracted>>,
    pub options: &'a Options,
    pub rules: &'a RuleSet,
    pub keys: &'a KeyHasher,
    pub fingerprints: &'a Fingerprints,
    pub timeline: &'a Sorter,
    pub pool: &'a TextPool,
    pub detections: &'a Sorter,
    pub layers: &'a Sorter,
    /// Hits that correlations use, by rule: first those of rules that need only records, then those
    /// of rules that wait for more.
    pub steps: &'a [Sorter; 2],
    pub awaited_by_records: &'a IdxVec<RuleIdx, bool>,
    /// Keeps script blocks, if they are wanted.
    pub scripts: Option<&'a ScriptCollector>,
    /// Collects the records that outputs show in full.
    pub records: Option<&'a Sorter>,
    pub progress: &'a dyn Progress,
}

/// The results of reading all logs.
#[derive(Default)]
pub(super) struct ReadingOutcome {
    pub reports: IdxVec<InputIdx, InputReport>,
    /// Events in the timeline.
    pub events: u64,
    /// The marks that each task kept for reconstruction.
    pub gathered: Vec<TaskMarks>,
    /// The rules that fired on records.
    pub fired: Vec<(RuleIdx, RecordRef)>,
    /// The rules whose hits correlations wait for.
    pub stepped: BTreeSet<RuleIdx>,
    /// Detections on script blocks of one part. They count if the block belongs to no session.
    pub scripts: Vec<Detection>,
    /// Detections on texts hidden in command lines. They count if the line belongs to no session.
    pub lines: Vec<Detection>,
    /// By input, the logs that its events come from.
    pub spans: IdxVec<InputIdx, Spans>,
    /// By input, its headers.
    pub headers: IdxVec<InputIdx, EvtxHeaders>,
}

impl ReadingOutcome {
    /// Removes copies from all results and counts them in the reports.
    pub fn remove_copies(&mut self, copies: &Copies, keys: &KeyHasher) {
        if copies.count() == 0 && copies.overlaps.is_empty() {
            return;
        }
        let is_own = |source: RecordRef| !copies.contains(source);
        self.events -= copies.count();
        self.gathered.par_iter_mut().for_each(|task| task.retain(is_own, keys));
        self.fired.retain(|&(_, source)| is_own(source));
        let own = |script: &Detection| script.evidence.iter().all(|proof| is_own(proof.source));
        self.scripts.retain(own);
        self.lines.retain(own);
        for (&(input, other), &overlap) in &copies.overlaps {
            self.reports[input].overlaps.push((other, overlap));
        }
    }
}

/// The results of a task.
#[derive(Default)]
struct TaskOutcome {
    input: InputIdx,
    part: PieceOutcome,
    events: u64,
    gathered: TaskMarks,
    fired: Vec<(RuleIdx, RecordRef)>,
    stepped: BTreeSet<RuleIdx>,
    scripts: Vec<Detection>,
    lines: Vec<Detection>,
    spans: Spans,
}

/// The next thing that a thread reads.
#[derive(Clone, Copy)]
enum ReadTask {
    /// The next piece of an input.
    Piece(InputIdx),
    /// A table of records that were extracted from an input before.
    Table(InputIdx, usize),
}

impl LogReading<'_> {
    /// Reads all logs. A task is the next piece of a log. The pieces of one log are read in order,
    /// because its hash needs them so, and decoded in parallel.
    ///
    /// # Errors
    /// When rows cannot be stored.
    pub fn read_all(&self) -> io::Result<ReadingOutcome> {
        let is_read = |input: &&Input| input.kind != InputKind::Unknown && !input.is_extracted();
        let logs = || self.inputs.iter().filter(is_read);
        let tables = || {
            let observed = self.observed.iter().flatten();
            observed.flat_map(|of| (0..of.table_count()).map(|table| of.table_size(table)))
        };
        let bytes = logs().map(|input| input.size).chain(tables().map(|(bytes, _)| bytes)).sum();
        self.progress.begin(logs().count() + tables().count(), bytes);
        let readers: IdxVec<InputIdx, Mutex<InputReader<'_>>> = self
            .inputs
            .iter()
            .map(|input| Mutex::new(InputReader::with_limits(input, &self.options.limits)))
            .collect();
        let tasks = self.inputs.iter_enumerated().zip(self.observed);
        let tasks = tasks.flat_map(|((index, input), observed)| {
            let pieces = if is_read(&input) { piece_count(input) as usize } else { 0 };
            let tables = observed.as_ref().map_or(0, Extracted::table_count);
            let tables = (0..tables).map(move |table| ReadTask::Table(index, table));
            std::iter::repeat_n(ReadTask::Piece(index), pieces).chain(tables)
        });
        // Extracted records are read even if the run was cancelled.
        let is_wanted = |task: &ReadTask| {
            matches!(task, ReadTask::Table(..)) || !self.options.stop.is_cancelled()
        };
        let tasks = tasks.take_while(is_wanted);
        let batches = tasks.par_bridge().map_init(
            || ReadWorker::new(self),
            |worker, task| match task {
                ReadTask::Piece(input) => worker.read_piece(input, &readers[input]),
                ReadTask::Table(input, table) => worker.read_table(input, table),
            },
        );
        let mut batches: Vec<TaskOutcome> = batches.collect::<io::Result<_>>()?;
        // Threads finish in any order. The results below must not depend on it.
        batches.sort_by_key(|batch| (batch.input, batch.part.start));

        let mut read = ReadingOutcome::default();
        read.spans.extend(self.inputs.iter().map(|_| Spans::default()));
        let mut accounts: IdxVec<InputIdx, InputProgress> =
            self.inputs.iter().map(InputProgress::new).collect();
        for batch in batches {
            let TaskOutcome {
                input,
                part,
                events,
                mut gathered,
                fired,
                stepped,
                scripts,
                lines,
                spans,
            } = batch;
            gathered.extent = accounts[input].add(part);
            gathered.shrink();
            read.events += events;
            read.gathered.push(gathered);
            read.fired.extend(fired);
            read.stepped.extend(stepped);
            read.scripts.extend(scripts);
            read.lines.extend(lines);
            read.spans[input].absorb(spans);
        }
        for ((mut account, reader), observed) in
            accounts.into_iter().zip(readers).zip(self.observed)
        {
            match observed {
                None if account.report.input.is_extracted() => {}
                None => {
                    account.finish(&reader.into_inner().unwrap_or_else(PoisonError::into_inner))
                }
                Some(observed) => {
                    let limits = &self.options.limits;
                    limits.count_reached(Limit::RecordBytes, observed.too_long());
                    let faults = std::mem::take(&mut account.report.faults);
                    account.report =
                        InputReport { faults, ..observed.report(&account.report.input) };
                    account.headers = observed.headers().clone();
                    let reach = observed.reach().iter().cloned();
                    read.gathered.extend(reach.map(TaskMarks::from_extent));
                }
            }
            read.reports.push(account.report);
            read.headers.push(account.headers);
        }
        Ok(read)
    }
}

/// The work of a thread, with buffers that are used again.
struct ReadWorker<'p, 'a> {
    pieces: PieceDecoder,
    processor: RecordProcessor<'p, 'a>,
}

impl<'p, 'a> ReadWorker<'p, 'a> {
    fn new(pass: &'p LogReading<'a>) -> Self {
        let processor = RecordProcessor {
            pass,
            batch: TaskOutcome::default(),
            rows: TimelineRows::default(),
            hits: Vec::new(),
            found: SortBuffer::default(),
            layers: SortBuffer::default(),
            steps: Default::default(),
            scripts: TaskScripts::default(),
            records: SortBuffer::default(),
            lone: OutsideScriptMatcher::default(),
            unwrapper: Unwrapper::default(),
            normaliser: Normaliser::default(),
        };
        ReadWorker { pieces: PieceDecoder::default(), processor }
    }

    /// Reads and decodes the next piece of a log.
    fn read_piece(
        &mut self,
        input: InputIdx,
        reader: &Mutex<InputReader<'_>>,
    ) -> io::Result<TaskOutcome> {
        let ReadWorker { pieces, processor } = self;
        let pass = processor.pass;
        processor.batch = TaskOutcome { input, ..TaskOutcome::default() };
        let mut put = Ok(());
        let each = |record: &Record| {
            if put.is_ok() {
                put = processor.process(record);
            }
        };
        let log = (input, &pass.inputs[input]);
        let part = pieces.decode_next(log, reader, pass.rules, pass.progress, each);
        put?;
        pass.options.limits.count_reached(Limit::RecordBytes, part.too_long);
        processor.finish(part)
    }

    /// Reads a table of records that were extracted from a log before.
    fn read_table(&mut self, input: InputIdx, table: usize) -> io::Result<TaskOutcome> {
        let processor = &mut self.processor;
        let pass = processor.pass;
        processor.batch = TaskOutcome { input, ..TaskOutcome::default() };
        let Some(observed) = &pass.observed[input] else {
            return processor.finish(PieceOutcome::default());
        };
        let mut part = PieceOutcome { start: table as u64, ..PieceOutcome::default() };
        let mut put = Ok(());
        let each = |record: &Record| {
            if put.is_ok() {
                put = processor.process(record);
            }
        };
        let read = observed.read_table(table, input, each);
        put?;
        part.faults.extend(read.err());
        let (bytes, records) = observed.table_size(table);
        pass.progress.advance(bytes, records);
        processor.finish(part)
    }
}

/// Processes the records of a task.
struct RecordProcessor<'p, 'a> {
    pass: &'p LogReading<'a>,
    batch: TaskOutcome,
    rows: TimelineRows,
    /// Buffer for a record's hits.
    hits: Vec<Hit>,
    found: SortBuffer,
    /// Hidden texts.
    layers: SortBuffer,
    /// Hits that correlations wait for.
    steps: [SortBuffer; 2],
    scripts: TaskScripts,
    /// Records that outputs show in full.
    records: SortBuffer,
    lone: OutsideScriptMatcher,
    unwrapper: Unwrapper,
    normaliser: Normaliser,
}

impl RecordProcessor<'_, '_> {
    /// Stores the rows of a task and returns its results.
    fn finish(&mut self, part: PieceOutcome) -> io::Result<TaskOutcome> {
        let pass = self.pass;
        pass.timeline.add(&mut self.rows.rows)?;
        pass.detections.add(&mut self.found)?;
        pass.layers.add(&mut self.layers)?;
        for (steps, rows) in pass.steps.iter().zip(&mut self.steps) {
            steps.add(rows)?;
        }
        pass.scripts.map_or(Ok(()), |keeper| keeper.add(&mut self.scripts))?;
        pass.records.map_or(Ok(()), |records| records.add(&mut self.records))?;
        Ok(TaskOutcome { part, ..std::mem::take(&mut self.batch) })
    }

    /// Stores the rows of a record if it is relevant or a rule fires on it.
    fn process(&mut self, record: &Record) -> io::Result<()> {
        let LogReading { options, rules, keys, fingerprints, pool, .. } = self.pass;
        let Options { from, to, .. } = options;
        if from.is_some_and(|from| record.time < from) || to.is_some_and(|to| record.time >= to) {
            return Ok(());
        }
        let mut hits = std::mem::take(&mut self.hits);
        hits.clear();
        rules.find_hits(record, &mut hits);
        let relevant = normalise::relevant(record.known_channel, record.event_id);
        if !relevant && hits.is_empty() {
            self.hits = hits;
            return Ok(());
        }
        let event = self.normaliser.event(record);
        let batch = &mut self.batch;
        batch.events += 1;
        let heard = hits.iter().map(|hit| hit.rule).filter(|&rule| !rules.is_suppressed(rule));
        let fired: Vec<RuleIdx> = heard.collect();
        let has_fired = !fired.is_empty();
        batch.fired.extend(fired.iter().map(|&rule| (rule, event.source)));
        let (log, fingerprint) = fingerprints.of(record, &event, &hits);
        batch.spans.take(log, event.record_id);
        if self.pass.records.is_some() {
            records::add(&mut self.records, record, &fired)?;
        }
        let user = event.user();
        self.rows.add(&event, &user, fingerprint, fired, pool)?;
        let proof = Proof::of(&event);
        for hit in &mut hits {
            if let Some(step) = CorrelationStep::on_record(&event, &user, &proof, hit) {
                let waits = usize::from(!self.pass.awaited_by_records[step.rule]);
                self.steps[waits].push(|key| step.sort_key(0, key), &step)?;
                batch.stepped.insert(step.rule);
            }
        }
        hits.retain(|hit| !rules.is_suppressed(hit.rule));
        for detection in detect::detections_on_record(&event, hits.drain(..)) {
            detections::add(&mut self.found, &detection)?;
        }
        self.hits = hits;
        if let Some(line) = texts::hidden_in_record(record, &event, &mut self.unwrapper) {
            let found = self.add_layers(&line)?;
            self.batch.lines.extend(found);
        }
        if matches!(&event.kind, EventKind::ScriptBlockPart(part) if part.is_whole()) {
            let parts = IdxVec::from(vec![event]);
            let outside = IdxVec::from(vec![None]);
            for block in assemble_script_blocks(&parts, &outside, &mut self.unwrapper) {
                let before = self.batch.scripts.len();
                let found = self.lone.detect(rules, &parts, &block);
                self.batch.scripts.extend(found);
                if let Some(text) = texts::hidden_in_block(&parts, &block) {
                    let found = self.add_layers(&text)?;
                    self.batch.scripts.extend(found);
                }
                let found = &self.batch.scripts[before..];
                let rule = has_fired || found.iter().any(|found| !rules.is_suppressed(found.rule));
                let why = KeepReason { rule, layers: !block.hidden.is_empty(), parts: false };
                if self.pass.scripts.is_some() && why.any() {
                    let session = SessionRef::Record(parts[EventIdx::new(0)].source);
                    self.scripts.keep(&parts, &block, session, why)?;
                }
            }
            parts.into_iter().for_each(|event| self.batch.gathered.add_event(event, keys));
        } else {
            self.batch.gathered.add_event(event, keys);
        }
        Ok(())
    }

    /// Stores the layers of a record's text and returns the detections on them.
    fn add_layers(&mut self, text: &Wrapped) -> io::Result<Vec<Detection>> {
        let rules = self.pass.rules;
        let session = SessionRef::Record(text.evidence[0].source);
        layers::add(&mut self.layers, text, session, "")?;
        Ok(detect::detections_on_layers(rules, text))
    }
}
