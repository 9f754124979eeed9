//! The code that all readings of logs share: decoding one piece after the other, and collecting the
//! results for the whole input.

use std::cell::RefCell;
use std::sync::{Mutex, PoisonError};

use super::input_report::InputReport;
use super::progress::Progress;
use crate::decode::{ChunkHeader, Decoder, Form, Seen, Tally, Wanted, chunk_count, chunk_of};
use crate::detect::RuleSet;
use crate::error::{Fault, FaultKind};
use crate::input::{End, Extent, FileHeader, Input, InputKind, Piece, Reader};
use crate::model::{Channel, InputIdx, Record, RecordRef};
use crate::normalise;
use crate::reconstruct::Reach;

/// The results of a piece, without its records.
#[derive(Default)]
pub(super) struct Part {
    /// The offset in its input where it began.
    pub start: u64,
    pub records: u64,
    /// Records longer than the limit.
    pub too_long: u64,
    pub faults: Vec<Fault>,
    /// Set if reading failed.
    pub unread: Option<Fault>,
    /// Sound values that are not records.
    pub foreign: Vec<Fault>,
    pub chunks: Vec<ChunkHeader>,
    pub reach: Reach,
}

/// Reads and decodes pieces of logs, one after another, for one thread. Its buffers are used again.
#[derive(Default)]
pub(super) struct Pieces {
    piece: Piece,
    decoder: Decoder,
}

impl Pieces {
    /// Reads and decodes the next piece of an input with this index. Passes each record that rules
    /// or reconstruction use to `take`.
    pub fn next(
        &mut self,
        (index, input): (InputIdx, &Input),
        reader: &Mutex<Reader<'_>>,
        rules: &RuleSet,
        progress: &dyn Progress,
        take: impl FnMut(&Record),
    ) -> Part {
        let Pieces { piece, decoder } = self;
        let read = reader.lock().unwrap_or_else(PoisonError::into_inner).next(piece);
        let (start, length) = (piece.start, piece.length);
        // This comes first because decoding takes the bytes.
        let chunks = if input.kind.is_evtx() { ChunkHeader::of(piece) } else { Vec::new() };
        let recovered = input.kind == InputKind::Recovered;
        let watch = Watch { rules, recovered, reach: RefCell::new(Reach::of(index)) };
        let Tally { records, faults, foreign, too_long } =
            decoder.piece(input, index, piece, &watch, take);
        let unread = read.err().map(|error| Fault {
            chunk: chunk_of(input, start + length),
            offset: Some(start + length),
            ..Fault::file(FaultKind::Lost, format!("not read in full from here on: {error}"))
        });
        progress.advance(length, records);
        let reach = watch.reach.into_inner();
        Part { start, records, too_long, faults, unread, foreign, chunks, reach }
    }
}

/// Notes the records of a task and selects those that rules or reconstruction use.
struct Watch<'p> {
    rules: &'p RuleSet,
    recovered: bool,
    reach: RefCell<Reach>,
}

impl Wanted for Watch<'_> {
    fn passes(&self, seen: Seen<'_>) {
        // Carved records do not show what a log contains.
        if self.recovered {
            return;
        }
        self.reach.borrow_mut().see(seen);
    }

    fn wants(&self, source: RecordRef, channel: Channel, name: &str, event_id: u32) -> bool {
        normalise::relevant(channel, event_id) || self.rules.wants(source, channel, name, event_id)
    }
}

/// The reason of an input that was not read in full.
const INTERRUPTED: &str = "the run was interrupted before it was read";

/// The state of an input while its pieces are read.
pub(super) struct InputProgress {
    pub report: InputReport,
    pub form: Form,
    foreign: Vec<Fault>,
}

impl InputProgress {
    /// Creates the state of an input of which nothing is read.
    pub fn new(input: &Input) -> InputProgress {
        let report = InputReport {
            chunks: chunk_count(input),
            faults: input.faults.clone(),
            input: input.clone(),
            sha256: None,
            extent: Extent::Nothing,
            sha256_after: None,
            records: 0,
            overlaps: Vec::new(),
        };
        InputProgress { report, form: Form::default(), foreign: Vec::new() }
    }

    /// Adds the results of the next piece. Returns how far the records in it reach.
    pub fn take(&mut self, part: Part) -> Reach {
        let Part { records, faults, unread, foreign, chunks, reach, .. } = part;
        self.report.records += records;
        self.report.faults.extend(faults);
        self.report.unread(unread);
        self.foreign.extend(foreign);
        self.form.chunks.extend(chunks);
        reach
    }

    /// Completes the report when all pieces are read, or no more will be.
    pub fn finish(&mut self, reader: &Reader<'_>) {
        if self.report.input.kind != InputKind::Unknown {
            self.form.file = FileHeader::read(reader.header());
            self.report.end(reader.end());
        }
        self.report.judge(std::mem::take(&mut self.foreign));
    }
}

impl InputReport {
    /// Adds the outcome of reading the input.
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

    /// Adds the fault of a piece that could not be read. A whole disk that is gone is one row, not
    /// one per piece.
    fn unread(&mut self, fault: Option<Fault>) {
        let Some(fault) = fault else { return };
        if self.faults.last().is_none_or(|last| last.reason != fault.reason) {
            self.faults.push(fault);
        }
    }

    /// Adds the sound values that are not records. A text that contains nothing else is not a log.
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
