//! The one reading of all logs.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::overlap::Spans;
use super::{Copies, Extent, InputReport, Options, Prints, Progress, texts};
use crate::decode::{ChunkHeader, Decoder, Form, Seen, Tally, Wanted, chunk_count, chunk_of};
use crate::detect::{self, LoneScripts, RuleSet, Step};
use crate::error::{Fault, FaultKind};
use crate::input::{End, FileHeader, Input, InputKind, Piece, Reader, piece_count};
use crate::layers::Unwrapper;
use crate::limits::Limit;
use crate::model::{Channel, Detection, EventKind, Record, RecordRef, Wrapped};
use crate::normalise::{self, Normaliser};
use crate::reconstruct::{Gathered, Keys, Reach, assemble};
use crate::report::sorted::{Rows, Sorter};
use crate::report::{
    detections::{self, Of},
    layers, records,
    scripts::{self, Keeper, Why},
    timeline::{Lines, Origins},
};

/// What a reading needs and where its rows go.
pub(super) struct Pass<'a> {
    pub inputs: &'a [Input],
    pub paths: &'a [PathBuf],
    pub options: &'a Options,
    pub rules: &'a RuleSet,
    pub keys: &'a Keys,
    pub prints: &'a Prints,
    pub timeline: &'a Sorter,
    pub origins: &'a Origins,
    pub detections: &'a Sorter,
    pub layers: &'a Sorter,
    pub steps: &'a Sorter,
    /// Keeps script blocks, if they are wanted.
    pub scripts: Option<&'a Keeper>,
    /// Where records go that outputs show whole.
    pub records: Option<&'a Sorter>,
    pub progress: &'a dyn Progress,
}

/// What the reading of all logs came to.
pub(super) struct Read {
    pub reports: Vec<InputReport>,
    /// Events that the timeline shows.
    pub events: u64,
    /// What each task kept for reconstruction.
    pub gathered: Vec<Gathered>,
    /// The rules that fired on records.
    pub fired: Vec<(usize, RecordRef)>,
    /// Those that correlations wait for.
    pub stepped: BTreeSet<usize>,
    /// Detections on script blocks of one part, should they belong to no session.
    pub scripts: Vec<Detection>,
    /// Detections on what command lines hide, should no session have them.
    pub lines: Vec<Detection>,
    /// By input, which logs its events are of.
    pub spans: Vec<Spans>,
    /// By input, what its headers say.
    pub forms: Vec<Form>,
}

impl Read {
    /// Leaves copies out of everything, and says so in the reports.
    pub fn leave_out(&mut self, copies: &Copies, keys: &Keys) {
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
            self.reports[input as usize].overlaps.push((other as usize, overlap));
        }
    }
}

/// What a task came to.
#[derive(Default)]
struct Batch {
    input: usize,
    /// Where in its input it began.
    start: u64,
    records: u64,
    faults: Vec<Fault>,
    /// Reading failed.
    unread: Option<Fault>,
    /// What is sound but no record.
    foreign: Vec<Fault>,
    events: u64,
    gathered: Gathered,
    fired: Vec<(usize, RecordRef)>,
    stepped: BTreeSet<usize>,
    scripts: Vec<Detection>,
    lines: Vec<Detection>,
    spans: Spans,
    chunks: Vec<ChunkHeader>,
}

/// Sees the records of a task, and says which are wanted.
struct Watch<'p> {
    rules: &'p RuleSet,
    recovered: bool,
    reach: RefCell<Reach>,
}

impl Wanted for Watch<'_> {
    fn passes(&self, seen: Seen<'_>) {
        // What was carved says nothing of what a log holds.
        if self.recovered {
            return;
        }
        self.reach.borrow_mut().see(seen);
    }

    fn wants(&self, source: RecordRef, channel: Channel, name: &str, event_id: u32) -> bool {
        normalise::relevant(channel, event_id) || self.rules.wants(source, channel, name, event_id)
    }
}

impl Pass<'_> {
    /// Reads all logs. A task is the next piece of a log: pieces of one log are read in order, as
    /// its hash needs them, and decoded side by side.
    ///
    /// # Errors
    /// When rows cannot be put down.
    pub fn read(&self) -> io::Result<Read> {
        let logs = || self.inputs.iter().filter(|input| input.kind != InputKind::Unknown);
        self.progress.begin(logs().count(), logs().map(|input| input.size).sum());
        let readers: Vec<Mutex<Reader<'_>>> = self
            .inputs
            .iter()
            .map(|input| Mutex::new(Reader::within(input, &self.options.limits)))
            .collect();
        let tasks = self.inputs.iter().enumerate();
        let tasks = tasks.filter(|(_, input)| input.kind != InputKind::Unknown);
        let tasks = tasks
            .flat_map(|(index, input)| std::iter::repeat_n(index, piece_count(input) as usize))
            .take_while(|_| !self.options.stop.is_asked());
        let batches = tasks
            .par_bridge()
            .map_init(|| Worker::new(self), |worker, input| worker.batch(input, &readers[input]));
        let mut batches: Vec<Batch> = batches.collect::<io::Result<_>>()?;
        // Threads finish in any order; what follows must not depend on it.
        batches.sort_by_key(|batch| (batch.input, batch.start));

        let mut read = Read {
            reports: self.inputs.iter().map(report).collect(),
            events: 0,
            gathered: Vec::new(),
            fired: Vec::new(),
            stepped: BTreeSet::new(),
            scripts: Vec::new(),
            lines: Vec::new(),
            spans: Vec::new(),
            forms: vec![Form::default(); self.inputs.len()],
        };
        read.spans.resize_with(self.inputs.len(), Spans::default);
        let mut foreign: Vec<Vec<Fault>> = vec![Vec::new(); self.inputs.len()];
        for batch in batches {
            let report = &mut read.reports[batch.input];
            report.records += batch.records;
            report.faults.extend(batch.faults);
            report.unread(batch.unread);
            foreign[batch.input].extend(batch.foreign);
            read.events += batch.events;
            read.gathered.push(batch.gathered);
            read.fired.extend(batch.fired);
            read.stepped.extend(batch.stepped);
            read.scripts.extend(batch.scripts);
            read.lines.extend(batch.lines);
            read.spans[batch.input].absorb(batch.spans);
            read.forms[batch.input].chunks.extend(batch.chunks);
        }
        let forms = &mut read.forms;
        let ends = readers.into_iter().zip(foreign).zip(forms);
        for (report, ((reader, foreign), form)) in read.reports.iter_mut().zip(ends) {
            if report.input.kind != InputKind::Unknown {
                let reader = reader.into_inner().unwrap_or_else(PoisonError::into_inner);
                form.file = FileHeader::read(reader.header());
                report.end(reader.end());
            }
            report.judge(foreign);
        }
        Ok(read)
    }
}

/// Why an input was not read in full.
const INTERRUPTED: &str = "the run was interrupted before it was read";

fn report(input: &Input) -> InputReport {
    InputReport {
        chunks: chunk_count(input),
        faults: input.faults.clone(),
        input: input.clone(),
        sha256: None,
        extent: Extent::Nothing,
        sha256_after: None,
        records: 0,
        overlaps: Vec::new(),
    }
}

impl InputReport {
    /// Takes how the reading of it ended.
    fn end(&mut self, end: End) {
        let (extent, fault) = match end {
            End::Whole(sha256) => {
                self.sha256 = Some(sha256);
                (Extent::Whole, None)
            }
            End::Failed(reason) => (Extent::Partly, Some((None, format!("not hashed: {reason}")))),
            End::Interrupted(0) => (Extent::Nothing, Some((None, INTERRUPTED.to_owned()))),
            End::Interrupted(position) => {
                let reason = format!("{INTERRUPTED}, and not hashed; what follows was not read");
                (Extent::Partly, Some((Some(position), reason)))
            }
        };
        self.extent = extent;
        self.faults.extend(fault.map(|(offset, reason)| Fault {
            chunk: offset.and_then(|offset| chunk_of(&self.input, offset)),
            offset,
            ..Fault::file(FaultKind::Lost, reason)
        }));
    }

    /// Takes that a piece could not be read. A whole disk that is gone is one row, not one a piece.
    fn unread(&mut self, fault: Option<Fault>) {
        let Some(fault) = fault else { return };
        if self.faults.last().is_none_or(|last| last.reason != fault.reason) {
            self.faults.push(fault);
        }
    }

    /// Takes what is sound but no record: a text that holds nothing else is no log.
    fn judge(&mut self, foreign: Vec<Fault>) {
        if self.input.kind.is_text() && self.records == 0 && self.faults.is_empty() {
            self.input.kind = InputKind::Unknown;
            self.faults.push(Fault::file(FaultKind::NotALog, "it holds no event record"));
        } else if !foreign.is_empty() {
            self.faults.extend(foreign);
            self.faults.sort_by_key(|fault| fault.offset);
        }
    }
}

/// A thread's work, with room that it uses again.
struct Worker<'p, 'a> {
    piece: Piece,
    decoder: Decoder,
    take: Take<'p, 'a>,
}

impl<'p, 'a> Worker<'p, 'a> {
    fn new(pass: &'p Pass<'a>) -> Self {
        let take = Take {
            pass,
            batch: Batch::default(),
            lines: Lines::default(),
            found: Rows::default(),
            layers: Rows::default(),
            steps: Rows::default(),
            scripts: scripts::Task::default(),
            records: Rows::default(),
            lone: LoneScripts::default(),
            unwrapper: Unwrapper::default(),
            normaliser: Normaliser::default(),
        };
        Worker { piece: Piece::default(), decoder: Decoder::default(), take }
    }

    /// Reads and decodes the next piece of a log.
    fn batch(&mut self, input: usize, reader: &Mutex<Reader<'_>>) -> io::Result<Batch> {
        let Worker { piece, decoder, take } = self;
        let pass = take.pass;
        let read = reader.lock().unwrap_or_else(PoisonError::into_inner).next(piece);
        let (start, length) = (piece.start, piece.length);
        take.batch = Batch { input, start, ..Batch::default() };
        let log = &pass.inputs[input];
        if log.kind.is_evtx() {
            // Before decoding takes the bytes.
            take.batch.chunks = ChunkHeader::of(piece);
        }
        let mut put = Ok(());
        let each = |record: &Record| {
            if put.is_ok() {
                put = take.record(record);
            }
        };
        let recovered = log.kind == InputKind::Recovered;
        let reach = RefCell::new(Reach::of(input as u32));
        let watch = Watch { rules: pass.rules, recovered, reach };
        let Tally { records, faults, foreign, too_long } =
            decoder.piece(log, input as u32, piece, &watch, each);
        put?;
        pass.options.limits.meet(Limit::RecordBytes, too_long);
        let batch = &mut take.batch;
        (batch.records, batch.faults, batch.foreign) = (records, faults, foreign);
        if let Err(error) = read {
            batch.unread = Some(Fault {
                chunk: chunk_of(log, start + length),
                offset: Some(start + length),
                ..Fault::file(FaultKind::Lost, format!("not read in full from here on: {error}"))
            });
        }
        pass.progress.advance(length, records);
        pass.timeline.add(&mut take.lines.rows)?;
        pass.detections.add(&mut take.found)?;
        pass.layers.add(&mut take.layers)?;
        pass.steps.add(&mut take.steps)?;
        pass.scripts.map_or(Ok(()), |keeper| keeper.add(&mut take.scripts))?;
        pass.records.map_or(Ok(()), |records| records.add(&mut take.records))?;
        take.batch.gathered.reach = watch.reach.into_inner();
        take.batch.gathered.shrink();
        Ok(std::mem::take(&mut take.batch))
    }
}

/// Takes the records of a task.
struct Take<'p, 'a> {
    pass: &'p Pass<'a>,
    batch: Batch,
    lines: Lines,
    found: Rows,
    /// What texts hide.
    layers: Rows,
    /// Hits that correlations wait for.
    steps: Rows,
    scripts: scripts::Task,
    /// Records that outputs show whole.
    records: Rows,
    lone: LoneScripts,
    unwrapper: Unwrapper,
    normaliser: Normaliser,
}

impl Take<'_, '_> {
    /// Writes down what a record gives, if it is relevant or a rule fires on it.
    fn record(&mut self, record: &Record) -> io::Result<()> {
        let Pass { options, rules, keys, prints, paths, origins, .. } = self.pass;
        let Options { from, to, .. } = options;
        if from.is_some_and(|from| record.time < from) || to.is_some_and(|to| record.time >= to) {
            return Ok(());
        }
        let mut hits = rules.on_record(record);
        let relevant = normalise::relevant(record.known_channel, record.event_id);
        if !relevant && hits.is_empty() {
            return Ok(());
        }
        let event = self.normaliser.event(record);
        let batch = &mut self.batch;
        batch.events += 1;
        let heard = hits.iter().map(|hit| hit.rule).filter(|&rule| !rules.is_silent(rule));
        let fired: Vec<usize> = heard.collect();
        let has_fired = !fired.is_empty();
        batch.fired.extend(fired.iter().map(|&rule| (rule, event.source)));
        let (log, print) = prints.of(record, &event, &hits);
        batch.spans.take(log, event.record_id);
        if self.pass.records.is_some() {
            records::add(&mut self.records, record, &fired)?;
        }
        self.lines.add(&event, print, fired, origins)?;
        for hit in &mut hits {
            if let Some(step) = Step::on_record(&event, hit) {
                self.steps.push(|key| step.key(0, key), &step)?;
                batch.stepped.insert(step.rule);
            }
        }
        hits.retain(|hit| !rules.is_silent(hit.rule));
        for detection in detect::on_record(&event, hits) {
            detections::add(&mut self.found, &detection, paths)?;
        }
        if let Some(line) = texts::of_record(record, &event, &mut self.unwrapper) {
            let found = self.layers(&line)?;
            self.batch.lines.extend(found);
        }
        if matches!(&event.kind, EventKind::ScriptBlockPart(part) if part.is_whole()) {
            let parts = [event];
            for block in assemble(&parts, &[None], &mut self.unwrapper) {
                let before = self.batch.scripts.len();
                let found = self.lone.detect(rules, &parts, &block);
                self.batch.scripts.extend(found);
                if let Some(text) = texts::of_block(&parts, &block) {
                    let found = self.layers(&text)?;
                    self.batch.scripts.extend(found);
                }
                let found = &self.batch.scripts[before..];
                let rule = has_fired || found.iter().any(|found| !rules.is_silent(found.rule));
                let why = Why { rule, layers: !block.hidden.is_empty(), parts: false };
                if self.pass.scripts.is_some() && why.any() {
                    let session = Of::Record(parts[0].source);
                    self.scripts.keep(&parts, &block, session, why, paths)?;
                }
            }
            let [event] = parts;
            self.batch.gathered.take(event, keys);
        } else {
            self.batch.gathered.take(event, keys);
        }
        Ok(())
    }

    /// Writes down what a record's text hides, and gives the detections on it.
    fn layers(&mut self, text: &Wrapped) -> io::Result<Vec<Detection>> {
        let Pass { rules, paths, .. } = self.pass;
        let session = Of::Record(text.evidence[0].source);
        layers::add(&mut self.layers, text, session, "", paths)?;
        Ok(detect::on_layers(rules, text))
    }
}
