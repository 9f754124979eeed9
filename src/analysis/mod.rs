//! Runs the stages in order: input, decode, normalise, reconstruct, detect.
//!
//! Each log is read once, from its first byte to its last. The results of its events are stored at
//! once: rows of outputs, hits of rules, marks for reconstruction. The few records that sessions
//! are then rebuilt from are read a second time.

mod cancel;
#[cfg(feature = "parquet")]
mod cases;
mod correlations;
mod custody;
#[cfg(feature = "parquet")]
mod extract;
#[cfg_attr(not(feature = "parquet"), path = "not_extracted.rs")]
mod extracted;
mod input_report;
mod load;
mod logs;
mod options;
mod pointer;
mod progress;
mod read;
mod run_inputs;
mod survey;
mod texts;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Instant;

use ps_layers::Unwrapper;
use rayon::prelude::*;

use crate::dedup;
use crate::detect::{self, CorrelationResults, LimitedCorrelation, OutsideScriptMatcher, RuleSet};
use crate::error::{Error, Fault};
use crate::input::{Input, InputKind};
use crate::limits::Limits;
use crate::model::{
    Detection, Event, EventIdx, HostName, IdxVec, InputIdx, RecordRef, RuleIdx, SessionIdx, Subject,
};
use crate::reconstruct::{
    FileFacts, KeyHasher, Reconstruction, RecordReader, TimeWindow, UnassignedScripts,
    assemble_script_blocks, reconstruct,
};
use crate::rows::{
    Copies, DetectionRow, Fingerprints, KeepReason, OutsideSessions, Overlap, Scope, ScriptArchive,
    ScriptCollector, SessionRef, TaskScripts, TextPool, command_ids, detections, findings, layers,
};
use crate::sorted::{SortBuffer, SortedRows, Sorter};
pub use cancel::CancelToken;
#[cfg(feature = "cli")]
pub use cases::InputsSummary;
#[cfg(feature = "parquet")]
pub use extract::extract;
pub use input_report::InputReport;
use input_report::ensure_any_log;
pub(crate) use load::RecordLoader;
pub use options::Options;
pub(crate) use pointer::EvidencePointer;
pub use pointer::read_record;
pub use progress::{NoProgress, Progress};
use read::ReadingOutcome;
pub use run_inputs::RunInputs;
pub use survey::{ClearedLog, EventCount, HostChannel, Survey, survey};

/// A hit of a rule: a detection in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleHit {
    /// Index of the rule.
    pub rule: RuleIdx,
    /// Index of the session it belongs to.
    pub session: Option<SessionIdx>,
}

/// The results of a run. Results that may number in the millions are stored as rows of outputs.
pub struct Analysis {
    /// The inputs, by path.
    pub inputs: IdxVec<InputIdx, InputReport>,
    /// The results that are shown.
    pub scope: Scope,
    /// The inputs' paths.
    pub(crate) paths: Vec<PathBuf>,
    /// The run was cancelled before its end. The inputs show what was read.
    pub interrupted: bool,
    /// The limits of the run, and how often each was reached.
    pub limits: Limits,
    /// The rules that were loaded.
    pub rules: RuleSet,
    /// Events in the timeline.
    pub events: u64,
    /// Sessions and what belongs to them.
    pub reconstruction: Reconstruction,
    /// All detections, in no order.
    pub fired: Vec<RuleHit>,
    /// The correlations that reached a limit and may have missed something.
    pub limited: Vec<LimitedCorrelation>,
    /// The rules that fired on rebuilt sessions, by the records that show the hit.
    pub(crate) shown: BTreeMap<RecordRef, Vec<RuleIdx>>,
    pub(crate) copies: Copies,
    pub(crate) timeline: SortedRows,
    /// The timeline's records, if they were kept.
    pub(crate) records: Option<SortedRows>,
    /// Texts that rows of the timeline share.
    pub(crate) texts: crate::rows::Texts,
    pub(crate) detections: SortedRows,
    /// Hidden texts.
    pub(crate) layers: SortedRows,
    /// Script blocks outside sessions, if they are wanted.
    pub(crate) scripts: Option<ScriptArchive>,
    /// Notes on hidden texts for the run manifest.
    pub notes: layers::Notes,
    /// Findings: see [`findings`].
    pub(crate) findings: SortedRows,
}

impl Analysis {
    /// Returns whether something could not be read in full, a rule was not loaded, or a rule
    /// reached a limit.
    pub fn is_partial(&self) -> bool {
        let damaged = |report: &InputReport| report.faults.iter().any(Fault::is_damage);
        self.interrupted
            || self.inputs.iter().any(damaged)
            || self.rules.rejected().next().is_some()
            || !self.limited.is_empty()
    }

    /// Returns whether a limit left something out that does not count as damage: see
    /// [`layers::Notes`].
    pub fn met_limit(&self) -> bool {
        self.notes.left_wrapped > 0
            || !self.limited.is_empty()
            || self.limits.usage().iter().any(|note| note.met > 0)
    }

    /// Returns whether an input holds carved records.
    pub(crate) fn is_recovered(&self, input: InputIdx) -> bool {
        self.inputs[input].input.kind == InputKind::Recovered
    }

    /// Returns the number of records read, over all inputs.
    pub fn records(&self) -> u64 {
        self.inputs.iter().map(|report| report.records).sum()
    }

    /// Returns how many events are copies of one in another input and left out of everything else,
    /// and how many are not copies although they have the name and time of one.
    pub fn overlap(&self) -> Overlap {
        let all = self.inputs.iter().flat_map(|report| &report.overlaps);
        all.fold(Overlap::default(), |sum, (_, one)| Overlap {
            copies: sum.copies + one.copies,
            differing: sum.differing + one.differing,
        })
    }
}

/// Runs all stages on logs, on the threads of the current rayon pool.
///
/// # Errors
/// [`Error::NothingToRead`] when no input is a log, [`Error::Write`] when the scratch folder cannot
/// be written. Damage inside inputs is not an error: it is in the reports' faults.
pub fn analyze(
    inputs: Vec<Input>,
    options: &Options,
    rules: RuleSet,
    progress: &dyn Progress,
) -> Result<Analysis, Error> {
    rebuild(RunInputs::from_logs(inputs, options)?, options, rules, progress)
}

/// Runs all stages on logs or on records that were extracted before. [`analyze`] calls this with
/// logs. Both give the same results.
///
/// # Errors
/// As [`analyze`].
pub fn rebuild(
    inputs: RunInputs,
    options: &Options,
    rules: RuleSet,
    progress: &dyn Progress,
) -> Result<Analysis, Error> {
    let begun = Instant::now();
    let scratch = options.scratch();
    let RunInputs { inputs, observed, .. } = inputs;
    let faults = inputs.iter().map(|input| (input, &input.faults[..]));
    ensure_any_log(faults)?;
    let paths: Vec<PathBuf> = inputs.iter().map(|input| input.path.clone()).collect();
    let timeline = Sorter::new(scratch.clone());
    let found = Sorter::new(scratch.clone());
    let layers = Sorter::new(scratch.clone());
    let steps = [(); 2].map(|()| Sorter::new(scratch.clone()));
    let awaited_by_records = rules.contributing_with_records_only();
    let keeper = options.scripts.then(|| ScriptCollector::new(scratch.clone()));
    let records = options.keep_records.then(|| Sorter::new(scratch.clone()));
    let pool = TextPool::default();
    let keys = KeyHasher::default();
    let fingerprints = Fingerprints::of_inputs(&inputs);
    let pass = read::LogReading {
        inputs: &inputs,
        observed: &observed,
        options,
        rules: &rules,
        keys: &keys,
        fingerprints: &fingerprints,
        timeline: &timeline,
        pool: &pool,
        detections: &found,
        layers: &layers,
        steps: &steps,
        awaited_by_records: &awaited_by_records,
        scripts: keeper.as_ref(),
        records: records.as_ref(),
        progress,
    };
    let mut read = pass.read_all().map_err(Error::write(&scratch))?;
    ensure_any_log(read.reports.iter().map(|report| (&report.input, &report.faults[..])))?;
    tracing::debug!(ms = begun.elapsed().as_millis(), "all logs read");
    progress.stage("finding copies");
    let is_recovered = |input: &Input| input.kind == InputKind::Recovered;
    let recovered = inputs.find_index(is_recovered);
    let timeline = timeline.finish();
    let copies =
        dedup::find(&timeline, &read.spans, recovered, &scratch).map_err(Error::write(&scratch))?;
    read.remove_copies(&copies, &keys);
    let ReadingOutcome {
        mut reports,
        events,
        gathered,
        fired,
        stepped,
        scripts,
        lines,
        headers,
        ..
    } = read;
    progress.stage("rebuilding sessions");
    tracing::debug!(ms = begun.elapsed().as_millis(), "copies found");
    let begun = Instant::now();
    let loader = RecordLoader::with_extracted(&inputs, &observed, &options.limits);
    let mut reconstruction = reconstruct(gathered, &keys, &loader);
    let window = TimeWindow { from: options.from, to: options.to };
    reconstruction.look_for_gaps(window, |input| {
        let report = &reports[input];
        report.input.kind == InputKind::Evtx && report.faults.is_empty()
    });
    reconstruction.look_for_missing(window);
    let files = reports.iter().zip(&headers).map(|(report, headers)| FileFacts {
        headers,
        is_evtx: report.input.kind.is_evtx(),
        faults: &report.faults,
    });
    let files: IdxVec<InputIdx, FileFacts<'_>> = files.collect();
    reconstruction
        .look_for_signs(window, &files, |input, chunk| loader.first_of_chunk(input, chunk));
    let sessions = reconstruction.sessions.len();
    tracing::debug!(sessions, ms = begun.elapsed().as_millis(), "sessions rebuilt");
    progress.stage("matching rules");
    let mut detections = detect::detections_on_rebuilt(&rules, &reconstruction);
    let sessions = reconstruction.sessions_of_records();
    let texts = TextScanner {
        rules: &rules,
        reconstruction: &reconstruction,
        layers: &layers,
        keeper: keeper.as_ref(),
    };
    let on_lines = texts.detect_in_command_lines(lines, &sessions);
    detections.extend(on_lines);
    detections.extend(texts.detect_in_sessions().map_err(Error::write(&scratch))?);
    let elsewhere =
        texts.detect_outside_sessions(scripts, &loader).map_err(Error::write(&scratch))?;
    detections.extend(elsewhere);
    let steps = (steps.map(Sorter::finish), stepped);
    let correlated = correlations::run_correlations(
        steps,
        &copies,
        &detections,
        &reconstruction,
        &rules,
        &scratch,
    );
    let CorrelationResults { detections: correlated, limited } =
        correlated.map_err(Error::write(&scratch))?;
    detections.extend(correlated);
    detections.retain(|detection| !rules.is_suppressed(detection.rule));

    let mut rows = SortBuffer::default();
    let mut shown: BTreeMap<RecordRef, Vec<RuleIdx>> = BTreeMap::new();
    let on_record = |(rule, source)| RuleHit { rule, session: sessions.get(&source).copied() };
    let mut fired: Vec<RuleHit> = fired.into_iter().map(on_record).collect();
    for detection in &detections {
        let added = detections::add(&mut rows, detection);
        added.map_err(Error::write(&scratch))?;
        fired.push(RuleHit { rule: detection.rule, session: detection.session });
        // A hit on a whole session or attempt is shown at its first record, a correlation at the
        // record that completed it.
        let most = match detection.subject {
            Subject::Session | Subject::Attempt | Subject::Correlation => 1,
            _ => detection.evidence.len(),
        };
        for proof in detection.evidence.iter().take(most) {
            shown.entry(proof.source).or_default().push(detection.rule);
        }
    }
    found.add(&mut rows).map_err(Error::write(&scratch))?;
    loader.add_faults_to(&mut reports);
    custody::check_unchanged(&mut reports, options.rehash);
    let detections = found.finish();
    let is_in_scope = |row: &DetectionRow<'_>, session: Option<SessionIdx>| {
        let session = session.map(|session| &reconstruction.sessions[session]);
        options.scope.row(session, &row.host, &row.user)
    };
    let findings =
        findings::fold(&detections, &copies, &sessions, is_in_scope, &rules, scratch.clone());
    let findings = findings.map_err(Error::write(&scratch))?;
    let layers = layers.finish();
    let notes =
        layers::notes(&layers, &copies, &reconstruction, &paths).map_err(Error::write(&scratch))?;
    Ok(Analysis {
        inputs: reports,
        scope: options.scope.clone(),
        paths,
        interrupted: options.stop.is_cancelled(),
        limits: options.limits.clone(),
        rules,
        events,
        reconstruction,
        fired,
        limited,
        shown,
        copies,
        timeline,
        records: records.map(Sorter::finish),
        texts: pool.finish(),
        detections,
        layers,
        scripts: keeper.map(ScriptCollector::finish),
        notes,
        findings,
    })
}

/// Blocks of several parts that a thread holds at a time.
const BLOCKS_AT_ONCE: usize = 64;

/// The buffers of a thread for blocks of several parts.
#[derive(Default)]
struct BlockWorker {
    lone: OutsideScriptMatcher,
    unwrapper: Unwrapper,
    kept: TaskScripts,
}

/// Scans the texts of a run for hidden layers, once sessions are known.
struct TextScanner<'a> {
    rules: &'a RuleSet,
    reconstruction: &'a Reconstruction,
    layers: &'a Sorter,
    keeper: Option<&'a ScriptCollector>,
}

impl TextScanner<'_> {
    /// Returns the detections on hidden texts in the command lines of single records. Some belong
    /// to sessions.
    fn detect_in_command_lines(
        &self,
        lines: Vec<Detection>,
        sessions: &BTreeMap<RecordRef, SessionIdx>,
    ) -> impl Iterator<Item = Detection> {
        let alone = OutsideSessions::new(self.reconstruction);
        lines.into_iter().filter_map(move |detection| {
            let source = detection.evidence.first()?.source;
            let session = sessions.get(&source).copied();
            alone.is_line(source).then_some(Detection { session, ..detection })
        })
    }

    /// Stores the hidden texts of the rebuilt sessions and returns the detections on them.
    fn detect_in_sessions(&self) -> io::Result<Vec<Detection>> {
        let ids = command_ids(self.reconstruction);
        let mut rows = SortBuffer::default();
        let mut found = Vec::new();
        for text in texts::hidden_in_sessions(self.reconstruction) {
            let command = text.command.map_or("", |command| &ids[command]);
            layers::add(&mut rows, &text, SessionRef::Session(text.session), command)?;
            found.extend(detect::detections_on_layers(self.rules, &text));
        }
        self.layers.add(&mut rows)?;
        Ok(found)
    }

    /// Returns the detections on script blocks outside sessions and on their hidden texts. Those on
    /// blocks of one part were made before.
    fn detect_outside_sessions(
        &self,
        scripts: Vec<Detection>,
        loader: &RecordLoader<'_>,
    ) -> io::Result<Vec<Detection>> {
        let UnassignedScripts { whole, in_parts: parted } = &self.reconstruction.unassigned_scripts;
        let known = |detection: &Detection| {
            detection.evidence.iter().all(|proof| whole.contains(&proof.source))
        };
        let mut found: Vec<Detection> = scripts.into_iter().filter(known).collect();
        let parted = parted.par_chunks(BLOCKS_AT_ONCE);
        let blocks = parted.map_init(BlockWorker::default, |room, blocks| {
            self.detect_in_blocks(blocks, loader, room)
        });
        let blocks: Vec<Vec<Detection>> = blocks.collect::<io::Result<_>>()?;
        found.extend(blocks.into_iter().flatten());
        Ok(found)
    }

    /// Does the same for blocks of several parts.
    fn detect_in_blocks(
        &self,
        blocks: &[(Vec<RecordRef>, HostName)],
        loader: &RecordLoader<'_>,
        BlockWorker { lone, unwrapper, kept }: &mut BlockWorker,
    ) -> io::Result<Vec<Detection>> {
        let hosts: BTreeMap<RecordRef, &HostName> = blocks
            .iter()
            .flat_map(|(parts, host)| parts.iter().map(move |&part| (part, host)))
            .collect();
        let mut events: IdxVec<EventIdx, Event> =
            loader.events(hosts.keys().copied().collect()).into();
        for event in &mut events {
            if let Some(&host) = hosts.get(&event.source) {
                event.host = host.clone();
            }
        }
        let mut found = Vec::new();
        let mut rows = SortBuffer::default();
        let outside = events.iter().map(|_| None).collect();
        for block in assemble_script_blocks(&events, &outside, unwrapper) {
            let before = found.len();
            found.extend(lone.detect(self.rules, &events, &block));
            if let Some(text) = texts::hidden_in_block(&events, &block) {
                layers::add(&mut rows, &text, SessionRef::Session(None), "")?;
                found.extend(detect::detections_on_layers(self.rules, &text));
            }
            if self.keeper.is_some() {
                let rule = found[before..].iter().any(|hit| !self.rules.is_suppressed(hit.rule));
                let why = KeepReason { rule, layers: !block.hidden.is_empty(), parts: true };
                kept.keep(&events, &block, SessionRef::Session(None), why)?;
            }
        }
        self.layers.add(&mut rows)?;
        self.keeper.map_or(Ok(()), |keeper| keeper.add(kept))?;
        Ok(found)
    }
}
