//! The code that all readings of logs share: decoding one piece after the other, and collecting the
//! results for the whole input.

use std::cell::RefCell;
use std::sync::{Mutex, PoisonError};

use super::input_report::InputReport;
use super::progress::Progress;
use crate::decode::{
    ChunkRange, DecodeOutcome, Decoder, EvtxHeaders, RecordFilter, RecordHeader, chunk_count,
    chunk_number_at,
};
use crate::detect::RuleSet;
use crate::error::{Fault, FaultKind};
use crate::input::{EvtxFileHeader, Input, InputKind, InputReader, Piece, ReadEnd, ReadExtent};
use crate::model::{Channel, InputIdx, Record, RecordRef};
use crate::normalise;
use crate::reconstruct::LogExtent;

/// The results of a piece, without its records.
#[derive(Default)]
pub(super) struct PieceOutcome {
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
    pub chunks: Vec<ChunkRange>,
    pub reach: LogExtent,
}

/// Reads and decodes pieces of logs, one after another, for one thread. Its buffers are used again.
#[derive(Default)]
pub(super) struct PieceDecoder {
    piece: Piece,
    decoder: Decoder,
}

impl PieceDecoder {
    /// Reads and decodes the next piece of an input with this index. Passes each record that rules
    /// or reconstruction use to `take`.
    pub fn decode_next(
        &mut self,
        (index, input): (InputIdx, &Input),
        reader: &Mutex<InputReader<'_>>,
        rules: &RuleSet,
        progress: &dyn Progress,
        take: impl FnMut(&Record),
    ) -> PieceOutcome {
        let PieceDecoder { piece, decoder } = self;
        let read = reader.lock().unwrap_or_else(PoisonError::into_inner).next(piece);
        let (start, length) = (piece.start, piece.length);
        // This comes first because decoding takes the bytes.
        let chunks = if input.kind.is_evtx() { ChunkRange::read_all(piece) } else { Vec::new() };
        let recovered = input.kind == InputKind::Recovered;
        let watch = AnalysisFilter { rules, recovered, reach: RefCell::new(LogExtent::new(index)) };
        let DecodeOutcome { records, faults, foreign, too_long } =
            decoder.decode_piece(input, index, piece, &watch, take);
        let unread = read.err().map(|error| Fault {
            chunk: chunk_number_at(input, start + length),
            offset: Some(start + length),
            ..Fault::file(FaultKind::Lost, format!("not read in full from here on: {error}"))
        });
        progress.advance(length, records);
        let reach = watch.reach.into_inner();
        PieceOutcome { start, records, too_long, faults, unread, foreign, chunks, reach }
    }
}

/// Notes the records of a task and selects those that rules or reconstruction use.
struct AnalysisFilter<'p> {
    rules: &'p RuleSet,
    recovered: bool,
    reach: RefCell<LogExtent>,
}

impl RecordFilter for AnalysisFilter<'_> {
    fn observe(&self, header: RecordHeader<'_>) {
        // Carved records do not show what a log contains.
        if self.recovered {
            return;
        }
        self.reach.borrow_mut().add_record(header);
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
    pub headers: EvtxHeaders,
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
            extent: ReadExtent::Nothing,
            sha256_after: None,
            records: 0,
            overlaps: Vec::new(),
        };
        InputProgress { report, headers: EvtxHeaders::default(), foreign: Vec::new() }
    }

    /// Adds the results of the next piece. Returns how far the records in it reach.
    pub fn add(&mut self, part: PieceOutcome) -> LogExtent {
        let PieceOutcome { records, faults, unread, foreign, chunks, reach, .. } = part;
        self.report.records += records;
        self.report.faults.extend(faults);
        self.report.add_unread(unread);
        self.foreign.extend(foreign);
        self.headers.chunks.extend(chunks);
        reach
    }

    /// Completes the report when all pieces are read, or no more will be.
    pub fn finish(&mut self, reader: &InputReader<'_>) {
        if self.report.input.kind != InputKind::Unknown {
            self.headers.file = EvtxFileHeader::read(reader.header());
            self.report.add_end(reader.end());
        }
        self.report.add_foreign(std::mem::take(&mut self.foreign));
    }
}

impl InputReport {
    /// Adds the outcome of reading the input.
    fn add_end(&mut self, end: ReadEnd) {
        let (extent, fault) = match end {
            ReadEnd::Whole(sha256) => {
                self.sha256 = Some(sha256);
                (ReadExtent::Whole, None)
            }
            ReadEnd::Failed(reason) => {
                (ReadExtent::Partly, Some((None, format!("not hashed: {reason}"))))
            }
            ReadEnd::Interrupted(0) => (ReadExtent::Nothing, Some((None, INTERRUPTED.to_owned()))),
            ReadEnd::Interrupted(position) => {
                let reason = format!("{INTERRUPTED}, and not hashed; what follows was not read");
                (ReadExtent::Partly, Some((Some(position), reason)))
            }
        };
        self.extent = extent;
        self.faults.extend(fault.map(|(offset, reason)| Fault {
            chunk: offset.and_then(|offset| chunk_number_at(&self.input, offset)),
            offset,
            ..Fault::file(FaultKind::Lost, reason)
        }));
    }

    /// Adds the fault of a piece that could not be read. A whole disk that is gone is one row, not
    /// one per piece.
    fn add_unread(&mut self, fault: Option<Fault>) {
        let Some(fault) = fault else { return };
        if self.faults.last().is_none_or(|last| last.reason != fault.reason) {
            self.faults.push(fault);
        }
    }

    /// Adds the sound values that are not records. A text that contains nothing else is not a log.
    fn add_foreign(&mut self, foreign: Vec<Fault>) {
        if self.input.kind.is_text() && self.records == 0 && self.faults.is_empty() {
            self.input.kind = InputKind::Unknown;
            self.faults.push(Fault::file(FaultKind::NotALog, "it holds no event record"));
        } else if !foreign.is_empty() {
            self.faults.extend(foreign);
            self.faults.sort_by_key(|fault| fault.offset);
        }
    }
}
