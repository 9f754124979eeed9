//! `run.json`: what was run, on what, and what could not be read.

use std::collections::BTreeMap;
use std::io::{self, Write};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::machine::{BUILD, Build, Machine};
use super::output::Sum;
use super::scripts::Written;
use crate::analysis::{Analysis, InputReport};
use crate::detect::{ExclusionCounts, LimitedCorrelation, LoadedPack, RejectedRule};
use crate::error::Fault;
use crate::input::{InputKind, ReadExtent};
use crate::limits::LimitUsage;
use crate::model::{InputIdx, RuleMeta, csv_time};
use crate::rows::{Notes, Overlap};

/// What a run knows of itself.
#[derive(Debug, Clone)]
pub struct RunInfo {
    /// The command line's arguments.
    pub arguments: Vec<String>,
    /// When it began, UTC.
    pub started: DateTime<Utc>,
}

#[derive(Serialize)]
struct Run<'a> {
    tool: &'static str,
    version: &'static str,
    build: Build,
    arguments: &'a [String],
    working_directory: Option<String>,
    machine: Machine,
    threads: usize,
    started: String,
    finished: String,
    partial: bool,
    interrupted: bool,
    counts: Counts,
    packs: Vec<PackRow<'a>>,
    rules_fired: Vec<RuleRow<'a>>,
    rules_refused: Vec<&'a RejectedRule>,
    rules_limited: &'a [LimitedCorrelation],
    rules_excluded: ExclusionCounts,
    limits: Vec<LimitUsage>,
    hidden_texts: &'a Notes,
    scripts: Option<Written>,
    inputs: Vec<InputRow<'a>>,
    outputs: &'a [Sum],
}

#[derive(Serialize)]
struct Counts {
    inputs: usize,
    inputs_read: usize,
    records: u64,
    events: u64,
    copies: u64,
    sessions: usize,
    attempts: usize,
    commands: usize,
    script_blocks: usize,
    detections: usize,
    rules: usize,
}

#[derive(Serialize)]
struct PackRow<'a> {
    name: &'a str,
    path: Option<String>,
    sha256: &'a str,
    filters: usize,
}

#[derive(Serialize)]
struct RuleRow<'a> {
    id: &'a str,
    pack: &'a str,
    file: &'a str,
    sha256: Option<String>,
    detections: usize,
}

#[derive(Serialize)]
struct InputRow<'a> {
    path: String,
    size: u64,
    modified: Option<String>,
    sha256: Option<&'a str>,
    sha256_after: Option<&'a str>,
    kind: InputKind,
    /// Its records are those that were extracted to a case before.
    extracted: bool,
    read: ReadExtent,
    chunks: u64,
    records: u64,
    overlaps: Vec<OverlapRow>,
    faults: &'a [Fault],
}

#[derive(Serialize)]
struct OverlapRow {
    with: String,
    copies: u64,
    differing: u64,
}

/// Writes it; `outputs` are the run's other files.
pub(super) fn write(
    analysis: &Analysis,
    info: &RunInfo,
    scripts: Option<Written>,
    outputs: &[Sum],
    mut to: impl Write,
) -> io::Result<()> {
    let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Millis, true);
    let Analysis { inputs, rules, reconstruction: case, fired, .. } = analysis;
    let read = |report: &&InputReport| report.input.kind.is_log();
    let run = Run {
        tool: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        build: BUILD,
        arguments: &info.arguments,
        working_directory: std::env::current_dir().ok().map(|path| path.display().to_string()),
        machine: Machine::this(),
        threads: rayon::current_num_threads(),
        started: time(info.started),
        finished: time(Utc::now()),
        partial: analysis.is_partial(),
        interrupted: analysis.interrupted,
        counts: Counts {
            inputs: inputs.len(),
            inputs_read: inputs.iter().filter(read).count(),
            records: analysis.records(),
            events: analysis.events,
            copies: analysis.copies.count(),
            sessions: case.sessions.len(),
            attempts: case.attempts.len(),
            commands: case.commands.len(),
            script_blocks: case.script_blocks(),
            detections: fired.len(),
            rules: rules.rules.len(),
        },
        packs: rules
            .packs
            .iter()
            .map(|LoadedPack { pack, filters, .. }| PackRow {
                name: &pack.name,
                path: pack.path.as_ref().map(|path| path.display().to_string()),
                sha256: &pack.sha256,
                filters: *filters,
            })
            .collect(),
        rules_fired: rules_fired(analysis),
        rules_refused: rules.rejected().collect(),
        rules_limited: &analysis.limited,
        rules_excluded: rules.excluded,
        limits: analysis.limits.usage(),
        hidden_texts: &analysis.notes,
        scripts,
        inputs: inputs
            .iter()
            .map(|report| InputRow {
                path: report.input.path.display().to_string(),
                size: report.input.size,
                modified: modified(report),
                sha256: report.sha256.as_deref(),
                sha256_after: report.sha256_after.as_deref(),
                kind: report.input.kind,
                extracted: report.input.is_extracted(),
                read: report.extent,
                chunks: report.chunks,
                records: report.records,
                overlaps: overlaps(analysis, report),
                faults: &report.faults,
            })
            .collect(),
        outputs,
    };
    serde_json::to_writer_pretty(&mut to, &run)?;
    to.write_all(b"\n")?;
    to.flush()
}

/// When an input was last written to before the run, UTC.
fn modified(report: &InputReport) -> Option<String> {
    report.input.state.as_ref()?.modified.map(csv_time)
}

/// The rules that fired, by their places in their packs: which text judged.
fn rules_fired(analysis: &Analysis) -> Vec<RuleRow<'_>> {
    let mut count = BTreeMap::new();
    for fired in &analysis.fired {
        *count.entry(fired.rule).or_insert(0) += 1;
    }
    let row = |(rule, detections)| {
        let RuleMeta { id, pack, file, .. } = &analysis.rules.rules[rule].meta;
        let sha256 = analysis.rules.sha256_of(rule);
        RuleRow { id, pack, file, sha256, detections }
    };
    count.into_iter().map(row).collect()
}

fn overlaps(analysis: &Analysis, report: &InputReport) -> Vec<OverlapRow> {
    let row = |&(other, Overlap { copies, differing }): &(InputIdx, Overlap)| OverlapRow {
        with: analysis.paths[other.index()].display().to_string(),
        copies,
        differing,
    };
    report.overlaps.iter().map(row).collect()
}
