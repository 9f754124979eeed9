//! The flow, in one place: input, decode, normalise, reconstruct, detect.
//!
//! Each log is read once, from its first byte to its last, and what its events give is written
//! down at once: lines of outputs, hits of rules, marks for reconstruction. The few records that
//! sessions are then rebuilt from are read a second time.

#[cfg(feature = "parquet")]
mod cases;
mod correlate;
mod custody;
mod evidence;
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
mod stop;
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
use crate::sorted::{Rows, Sorted, Sorter};
#[cfg(feature = "cli")]
pub use cases::Told;
pub use evidence::Evidence;
#[cfg(feature = "parquet")]
pub use extract::extract;
pub use input_report::InputReport;
use input_report::ensure_any_log;
pub(crate) use load::Loader;
pub use options::Options;
pub(crate) use pointer::Pointer;
pub use pointer::read_record;
pub use progress::{NoProgress, Progress};
use read::Read;
pub use stop::Stop;
pub use survey::{Cleared, Held, HeldEvents, Survey, survey};

/// A rule fired: a detection in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fired {
    /// Index of the rule.
    pub rule: RuleIdx,
    /// Index of the session it belongs to.
    pub session: Option<SessionIdx>,
}

/// Everything a run found. What is found in the millions is held as rows of outputs.
pub struct Analysis {
    /// The inputs, by path.
    pub inputs: IdxVec<InputIdx, InputReport>,
    /// What results tell of.
    pub scope: Scope,
    /// The inputs' paths.
    pub(crate) paths: Vec<PathBuf>,
    /// The run was asked to stop before its end: see the inputs for what was read.
    pub interrupted: bool,
    /// What limits held, and how often each was met.
    pub limits: Limits,
    /// The rules that were loaded.
    pub rules: RuleSet,
    /// Events that the timeline shows.
    pub events: u64,
    /// Sessions and what belongs to them.
    pub reconstruction: Reconstruction,
    /// All detections, in no order.
    pub fired: Vec<Fired>,
    /// The correlations that met a limit, and may have missed something.
    pub limited: Vec<LimitedCorrelation>,
    /// The rules that fired on what was rebuilt, by the records that show it.
    pub(crate) shown: BTreeMap<RecordRef, Vec<RuleIdx>>,
    pub(crate) copies: Copies,
    pub(crate) timeline: Sorted,
    /// The timeline's records, where they were to be kept.
    pub(crate) records: Option<Sorted>,
    /// Texts that rows of the timeline share.
    pub(crate) texts: crate::rows::Texts,
    pub(crate) detections: Sorted,
    /// What texts hide.
    pub(crate) layers: Sorted,
    /// Script blocks outside sessions, where they are wanted.
    pub(crate) scripts: Option<ScriptArchive>,
    /// What the run's ledger says of that.
    pub notes: layers::Notes,
    /// Detections folded: see [`findings`].
    pub(crate) findings: Sorted,
}

impl Analysis {
    /// Whether something could not be read in full, a rule was not loaded, or one met a limit.
    pub fn is_partial(&self) -> bool {
        let damaged = |report: &InputReport| report.faults.iter().any(Fault::is_damage);
        self.interrupted
            || self.inputs.iter().any(damaged)
            || self.rules.rejected().next().is_some()
            || !self.limited.is_empty()
    }

    /// Whether a limit left something out that is no damage: see [`layers::Notes`].
    pub fn met_limit(&self) -> bool {
        self.notes.left_wrapped > 0
            || !self.limited.is_empty()
            || self.limits.notes().iter().any(|note| note.met > 0)
    }

    /// Whether an input holds what was carved.
    pub(crate) fn is_recovered(&self, input: InputIdx) -> bool {
        self.inputs[input].input.kind == InputKind::Recovered
    }

    /// Records read, over all inputs.
    pub fn records(&self) -> u64 {
        self.inputs.iter().map(|report| report.records).sum()
    }

    /// Events that are copies of one in another input and left out of everything else, and how
    /// many are not, though they have the name and time of one there.
    pub fn overlap(&self) -> Overlap {
        let all = self.inputs.iter().flat_map(|report| &report.overlaps);
        all.fold(Overlap::default(), |sum, (_, one)| Overlap {
            copies: sum.copies + one.copies,
            differing: sum.differing + one.differing,
        })
    }
}

/// Runs the whole flow, on the threads of the rayon pool it is called in.
///
/// # Errors
/// [`Error::NothingToRead`] when no input is a log, [`Error::Write`] when the scratch folder takes
/// no more. Damage inside inputs is no error: it is in the reports' faults.
pub fn analyze(
    inputs: Vec<Input>,
    options: &Options,
    rules: RuleSet,
    progress: &dyn Progress,
) -> Result<Analysis, Error> {
    correlate(Evidence::of_logs(inputs, options)?, options, rules, progress)
}

/// Runs the flow on what was extracted before, or on logs: [`analyze`] is this with the logs
/// themselves, and gives the same.
///
/// # Errors
/// As [`analyze`].
pub fn correlate(
    evidence: Evidence,
    options: &Options,
    rules: RuleSet,
    progress: &dyn Progress,
) -> Result<Analysis, Error> {
    let begun = Instant::now();
    let scratch = options.scratch();
    let Evidence { inputs, observed, .. } = evidence;
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
    let pass = read::Pass {
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
    let mut read = pass.read().map_err(Error::write(&scratch))?;
    ensure_any_log(read.reports.iter().map(|report| (&report.input, &report.faults[..])))?;
    tracing::debug!(ms = begun.elapsed().as_millis(), "all logs read");
    progress.stage("telling copies");
    let is_recovered = |input: &Input| input.kind == InputKind::Recovered;
    let recovered = inputs.find_index(is_recovered);
    let timeline = timeline.finish();
    let copies =
        dedup::find(&timeline, &read.spans, recovered, &scratch).map_err(Error::write(&scratch))?;
    read.leave_out(&copies, &keys);
    let Read { mut reports, events, gathered, fired, stepped, scripts, lines, forms, .. } = read;
    progress.stage("rebuilding sessions");
    tracing::debug!(ms = begun.elapsed().as_millis(), "copies told");
    let begun = Instant::now();
    let loader = Loader::of_evidence(&inputs, &observed, &options.limits);
    let mut reconstruction = reconstruct(gathered, &keys, &loader);
    let window = TimeWindow { from: options.from, to: options.to };
    reconstruction.look_for_gaps(window, |input| {
        let report = &reports[input];
        report.input.kind == InputKind::Evtx && report.faults.is_empty()
    });
    reconstruction.look_for_missing(window);
    let files = reports.iter().zip(&forms).map(|(report, form)| FileFacts {
        headers: form,
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
    let texts = Texts {
        rules: &rules,
        reconstruction: &reconstruction,
        layers: &layers,
        keeper: keeper.as_ref(),
    };
    let on_lines = texts.of_records(lines, &sessions);
    detections.extend(on_lines);
    detections.extend(texts.of_case().map_err(Error::write(&scratch))?);
    let elsewhere = texts.elsewhere(scripts, &loader).map_err(Error::write(&scratch))?;
    detections.extend(elsewhere);
    let steps = (steps.map(Sorter::finish), stepped);
    let correlated =
        correlate::over_time(steps, &copies, &detections, &reconstruction, &rules, &scratch);
    let CorrelationResults { detections: correlated, limited } =
        correlated.map_err(Error::write(&scratch))?;
    detections.extend(correlated);
    detections.retain(|detection| !rules.is_suppressed(detection.rule));

    let mut rows = Rows::default();
    let mut shown: BTreeMap<RecordRef, Vec<RuleIdx>> = BTreeMap::new();
    let on_record = |(rule, source)| Fired { rule, session: sessions.get(&source).copied() };
    let mut fired: Vec<Fired> = fired.into_iter().map(on_record).collect();
    for detection in &detections {
        let added = detections::add(&mut rows, detection);
        added.map_err(Error::write(&scratch))?;
        fired.push(Fired { rule: detection.rule, session: detection.session });
        // What fired on a whole session or attempt shows at its first record, a correlation at
        // the one that completed it.
        let most = match detection.subject {
            Subject::Session | Subject::Attempt | Subject::Correlation => 1,
            _ => detection.evidence.len(),
        };
        for proof in detection.evidence.iter().take(most) {
            shown.entry(proof.source).or_default().push(detection.rule);
        }
    }
    found.add(&mut rows).map_err(Error::write(&scratch))?;
    loader.ledger(&mut reports);
    custody::look_again(&mut reports, options.rehash);
    let detections = found.finish();
    let is_told = |row: &DetectionRow<'_>, session: Option<SessionIdx>| {
        let session = session.map(|session| &reconstruction.sessions[session]);
        options.scope.row(session, &row.host, &row.user)
    };
    let findings =
        findings::fold(&detections, &copies, &sessions, is_told, &rules, scratch.clone());
    let findings = findings.map_err(Error::write(&scratch))?;
    let layers = layers.finish();
    let notes =
        layers::notes(&layers, &copies, &reconstruction, &paths).map_err(Error::write(&scratch))?;
    Ok(Analysis {
        inputs: reports,
        scope: options.scope.clone(),
        paths,
        interrupted: options.stop.is_asked(),
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

/// Blocks of many parts that a thread holds at a time.
const BLOCKS_AT_ONCE: usize = 64;

/// What a thread remembers of blocks of many parts.
#[derive(Default)]
struct Parted {
    lone: OutsideScriptMatcher,
    unwrapper: Unwrapper,
    kept: TaskScripts,
}

/// What is done with the texts of a run when sessions are known.
struct Texts<'a> {
    rules: &'a RuleSet,
    reconstruction: &'a Reconstruction,
    layers: &'a Sorter,
    keeper: Option<&'a ScriptCollector>,
}

impl Texts<'_> {
    /// The detections on what command lines of single records hide: sessions have some of them.
    fn of_records(
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

    /// Writes down what the texts of the case hide, and gives the detections on it.
    fn of_case(&self) -> io::Result<Vec<Detection>> {
        let ids = command_ids(self.reconstruction);
        let mut rows = Rows::default();
        let mut found = Vec::new();
        for text in texts::of_case(self.reconstruction) {
            let command = text.command.map_or("", |command| &ids[command]);
            layers::add(&mut rows, &text, SessionRef::Session(text.session), command)?;
            found.extend(detect::detections_on_layers(self.rules, &text));
        }
        self.layers.add(&mut rows)?;
        Ok(found)
    }

    /// The detections on script blocks outside sessions and on what they hide: those on blocks of
    /// one part are at hand.
    fn elsewhere(
        &self,
        scripts: Vec<Detection>,
        loader: &Loader<'_>,
    ) -> io::Result<Vec<Detection>> {
        let UnassignedScripts { whole, in_parts: parted } = &self.reconstruction.unassigned_scripts;
        let known = |detection: &Detection| {
            detection.evidence.iter().all(|proof| whole.contains(&proof.source))
        };
        let mut found: Vec<Detection> = scripts.into_iter().filter(known).collect();
        let parted = parted.par_chunks(BLOCKS_AT_ONCE);
        let blocks =
            parted.map_init(Parted::default, |room, blocks| self.parted(blocks, loader, room));
        let blocks: Vec<Vec<Detection>> = blocks.collect::<io::Result<_>>()?;
        found.extend(blocks.into_iter().flatten());
        Ok(found)
    }

    /// The same of blocks of several parts.
    fn parted(
        &self,
        blocks: &[(Vec<RecordRef>, HostName)],
        loader: &Loader<'_>,
        Parted { lone, unwrapper, kept }: &mut Parted,
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
        let mut rows = Rows::default();
        let outside = events.iter().map(|_| None).collect();
        for block in assemble_script_blocks(&events, &outside, unwrapper) {
            let before = found.len();
            found.extend(lone.detect(self.rules, &events, &block));
            if let Some(text) = texts::of_block(&events, &block) {
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
