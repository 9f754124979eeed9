//! Extracts records from logs to a case folder, file by file. Finished files stay, even if the run
//! fails.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::cases::CaseFile;
use super::load::first_of_chunk;
use super::logs::{InputProgress, PieceDecoder, PieceOutcome};
use super::options::Options;
use super::progress::Progress;
use super::run_inputs::RunInputs;
use crate::detect::{EventFilter, RuleSet};
use crate::error::Error;
use crate::hex::hex;
use crate::input::{self, Input, InputKind, InputReader, piece_count};
use crate::model::{InputIdx, Record};
use crate::observe::{CaseFolder, ExtractSettings, ExtractedInput, FileEntry, ObservationWriter};
use crate::reconstruct::{FileFacts, LogExtent, first_records};
use crate::sorted::SortBuffer;

/// Extracts the records that reconstruction and these rules use to a case folder, on the threads of
/// the current rayon pool. Inputs that the folder already has are skipped. Returns the folder's
/// records of all these inputs.
///
/// # Errors
/// [`Error::Write`] when the folder cannot be written. Damage inside inputs is not an error.
pub fn extract(
    inputs: Vec<Input>,
    folder: &mut CaseFolder,
    options: &Options,
    rules: &RuleSet,
    progress: &dyn Progress,
) -> Result<RunInputs, Error> {
    let root = folder.root().to_owned();
    let settings = ExtractSettings {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        recover: options.recover,
        limits: options.limits.values(),
    };
    let asks = Arc::new(rules.event_filter());
    let mut entries = Vec::new();
    let mut given = Vec::new();
    for input in inputs {
        match folder.take_finished(&input.path, input.state.as_ref(), &settings, &asks) {
            Some(entry) => entries.push(entry),
            None => given.push(input),
        }
    }
    let before = entries.len();
    if !given.is_empty() {
        let paths: Vec<&Path> = given.iter().map(|input| &*input.path).collect();
        folder.begin(&asks, &paths).map_err(Error::write(&root))?;
        let run = Extraction { folder, options, rules, settings: &settings, asks: &asks, progress };
        let extracted = run.extract_files(given)?;
        entries.extend(extracted.into_iter().map(|entry| (asks.clone(), entry)));
    }
    entries.sort_by(|(_, a), (_, b)| a.path.cmp(&b.path));
    folder.rewrite(&entries).map_err(Error::write(&root))?;
    let of = |(_, entry)| CaseFile { root: &root, entry, remarks: Vec::new() };
    Ok(RunInputs { before, ..RunInputs::from_entries(entries.into_iter().map(of)) })
}

struct Extraction<'r> {
    folder: &'r CaseFolder,
    options: &'r Options,
    rules: &'r RuleSet,
    settings: &'r ExtractSettings,
    asks: &'r EventFilter,
    progress: &'r dyn Progress,
}

/// A file that is being extracted.
struct ExtractedFile {
    given: Input,
    /// How many inputs the file consists of.
    inputs: usize,
    /// The finished inputs, by index.
    done: Mutex<BTreeMap<usize, ExtractedInput>>,
}

/// An input that is being extracted.
struct ExtractingInput<'i> {
    /// Index of its file.
    file: usize,
    input: &'i Input,
    reader: Mutex<InputReader<'i>>,
    writer: ObservationWriter,
    state: Mutex<ExtractState>,
}

/// The progress of an input.
struct ExtractState {
    /// Pieces that are not finished.
    left: u64,
    /// The results of the finished pieces.
    parts: Vec<PieceOutcome>,
    closed: bool,
}

impl Extraction<'_> {
    /// Extracts files. Each file is added to the journal when all of it is finished.
    fn extract_files(&self, given: Vec<Input>) -> Result<Vec<FileEntry>, Error> {
        let root = self.folder.root();
        let opened = given.par_iter().map(|input| self.inputs_of_file(input.clone()));
        let opened: Vec<Vec<Input>> = opened.collect::<Result<_, Error>>()?;
        let inputs = || opened.iter().flatten().filter(|input| is_read(input));
        self.progress.begin(inputs().count(), inputs().map(|input| input.size).sum());
        let files: Vec<ExtractedFile> = { given.into_iter().zip(&opened) }
            .map(|(given, inputs)| ExtractedFile {
                given,
                inputs: inputs.len(),
                done: Mutex::default(),
            })
            .collect();
        let by_file = opened.iter().enumerate();
        let inputs =
            by_file.flat_map(|(file, inputs)| inputs.iter().map(move |input| (file, input)));
        let open = inputs.map(|(file, input)| ExtractingInput {
            file,
            input,
            reader: Mutex::new(InputReader::with_limits(input, &self.options.limits)),
            writer: ObservationWriter::new(root, self.table_name_stem(&files[file].given, input)),
            state: Mutex::new(ExtractState {
                left: task_count(input),
                parts: Vec::new(),
                closed: false,
            }),
        });
        let open: Vec<ExtractingInput<'_>> = open.collect();
        let entries = Mutex::new(Vec::new());
        let close = |index: usize| -> io::Result<()> {
            let file = &files[open[index].file];
            let observed = self.finish_input(&open[index])?;
            let mut done = file.done.lock().unwrap_or_else(PoisonError::into_inner);
            done.insert(index, observed);
            if done.len() == file.inputs {
                let entry = self.file_entry(&file.given, std::mem::take(&mut *done));
                self.folder.add(&entry)?;
                entries.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
            }
            Ok(())
        };
        let tasks = { 0..open.len() }
            .flat_map(|index| std::iter::repeat_n(index, task_count(open[index].input) as usize))
            .take_while(|_| !self.options.stop.is_cancelled());
        let extracted =
            tasks.par_bridge().try_for_each_init(ExtractWorker::default, |worker, index| {
                if self.extract_piece(&open[index], worker)? { close(index) } else { Ok(()) }
            });
        // If the run was cancelled, some inputs have pieces that were not read.
        let is_open = |index: &usize| {
            !open[*index].state.lock().unwrap_or_else(PoisonError::into_inner).closed
        };
        let rest = || (0..open.len()).into_par_iter().filter(is_open).try_for_each(close);
        extracted.and_then(|()| rest()).map_err(Error::write(root))?;
        Ok(entries.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the inputs in a given file.
    fn inputs_of_file(&self, given: Input) -> Result<Vec<Input>, Error> {
        let inputs = input::unpack(vec![given], self.folder.root(), &self.options.limits)?;
        Ok(if self.options.recover { input::with_recovered(inputs) } else { inputs })
    }

    /// Returns the beginning of the names of an input's tables. It differs if the file's state or
    /// the settings differ.
    fn table_name_stem(&self, given: &Input, input: &Input) -> String {
        let mut hash = Sha256::new();
        hash.update(input.path.as_os_str().as_encoded_bytes());
        let how = serde_json::to_vec(&(&given.state, self.settings, self.asks));
        hash.update(how.unwrap_or_default());
        hex(&hash.finalize()[..8])
    }

    /// Extracts the next piece of an input. Returns whether it was the last piece to finish.
    fn extract_piece(
        &self,
        open: &ExtractingInput<'_>,
        worker: &mut ExtractWorker,
    ) -> io::Result<bool> {
        let ExtractWorker { pieces, rows } = worker;
        let part = is_read(open.input).then(|| {
            let mut put = Ok(());
            let take = |record: &Record| {
                if put.is_ok() {
                    put = ObservationWriter::push(rows, record);
                }
            };
            let part = pieces.decode_next(
                (InputIdx::default(), open.input),
                &open.reader,
                self.rules,
                self.progress,
                take,
            );
            put.and_then(|()| open.writer.add(rows)).map(|()| part)
        });
        let part = part.transpose()?;
        let mut state = open.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.parts.extend(part);
        state.left -= 1;
        state.closed = state.left == 0;
        Ok(state.closed)
    }

    /// Writes the observations of an input whose pieces are finished, or whose other pieces are not
    /// read.
    fn finish_input(&self, open: &ExtractingInput<'_>) -> io::Result<ExtractedInput> {
        let ExtractingInput { input, reader, writer, state, .. } = open;
        let mut parts =
            std::mem::take(&mut state.lock().unwrap_or_else(PoisonError::into_inner).parts);
        // Threads finish in any order. The results below must not depend on it.
        parts.sort_by_key(|part| part.start);
        let mut account = InputProgress::new(input);
        let too_long = parts.iter().map(|part| part.too_long).sum();
        let mut reach: Vec<LogExtent> = parts.into_iter().map(|part| account.add(part)).collect();
        reach.iter_mut().for_each(LogExtent::shrink);
        account.finish(&reader.lock().unwrap_or_else(PoisonError::into_inner));
        let InputProgress { report, headers, .. } = account;
        let facts = FileFacts {
            headers: &headers,
            is_evtx: report.input.kind.is_evtx(),
            faults: &report.faults,
        };
        let firsts =
            first_records(&facts, |chunk| first_of_chunk(input, InputIdx::default(), chunk));
        Ok(ExtractedInput {
            path: input.path.as_path().into(),
            size: input.size,
            kind: report.input.kind,
            state: input.state.clone(),
            sha256: report.sha256,
            extent: report.extent,
            chunks: report.chunks,
            records: report.records,
            too_long,
            faults: report.faults,
            headers,
            firsts,
            reach,
            tables: writer.finish()?,
        })
    }

    fn file_entry(&self, given: &Input, done: BTreeMap<usize, ExtractedInput>) -> FileEntry {
        FileEntry {
            path: given.path.as_path().into(),
            settings: self.settings.clone(),
            inputs: done.into_values().collect(),
        }
    }
}

/// The buffers of a thread.
#[derive(Default)]
struct ExtractWorker {
    pieces: PieceDecoder,
    rows: SortBuffer,
}

/// Returns whether an input is read at all.
fn is_read(input: &Input) -> bool {
    input.kind != InputKind::Unknown
}

/// Returns how many tasks an input has. An input that is not read has one.
fn task_count(input: &Input) -> u64 {
    if is_read(input) { piece_count(input) } else { 1 }
}
