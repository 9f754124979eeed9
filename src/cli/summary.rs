//! The closing summary: what a tired person needs to know before opening a file.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use super::paint::{self, ALARM, HEAD, Painted};
use super::print::plain;
use super::zone::Zone;
use crate::analysis::{Analysis, InputReport};
use crate::detect::RejectedRule;
use crate::error::FaultKind;
use crate::input::{InputKind, ReadExtent};
use crate::model::{AccountName, Level, RuleIdx, RuleMeta, Session, session_id};
use crate::report::told::Clock;
use crate::report::{Format, Wanted, schema, story};
use crate::rows::{Finding, Notes, Overlap, findings};

/// Most sessions, findings and faults it names.
const MOST: usize = 10;

/// Prints it; `sha256` is that of run.json.
pub(super) fn print(
    analysis: &Analysis,
    wanted: &Wanted,
    folder: &Path,
    zone: Zone,
    sha256: &str,
    out: &mut impl Write,
) -> io::Result<()> {
    interrupted(analysis, out)?;
    inputs(analysis, out)?;
    sessions(analysis, zone, out)?;
    detections(analysis, zone, out)?;
    let files = |&format: &Format| match format {
        Format::Parquet => vec![Cow::Borrowed("parquet/")],
        _ => schema::files(format).into_iter().map(|file| file.name).collect(),
    };
    let mut names: Vec<Cow<'_, str>> = wanted.formats.iter().flat_map(files).collect();
    names.push(story::FILE.into());
    names.extend(analysis.scripts.is_some().then_some(Cow::Borrowed("scripts/")));
    names.push("run.json".into());
    writeln!(out, "\nResults in {}: {}", plain(&folder.display().to_string()), names.join(", "))?;
    writeln!(out, "SHA-256 of run.json, which has those of all files: {sha256}")
}

fn interrupted(analysis: &Analysis, out: &mut impl Write) -> io::Result<()> {
    if !analysis.interrupted {
        return Ok(());
    }
    let count = |extent| {
        let logs = analysis.inputs.iter().filter(|report| report.input.kind.is_log());
        logs.filter(|report| report.extent == extent).count()
    };
    let [whole, partly, nothing] =
        [ReadExtent::Whole, ReadExtent::Partly, ReadExtent::Nothing].map(count);
    writeln!(
        out,
        "INTERRUPTED {whole} logs were read whole, {partly} in part, {nothing} not at all"
    )
}

fn inputs(analysis: &Analysis, out: &mut impl Write) -> io::Result<()> {
    let is_log = |report: &&InputReport| report.input.kind.is_log();
    let read: Vec<_> = analysis.inputs.iter().filter(is_log).collect();
    let bytes: u64 = read.iter().map(|report| report.input.size).sum();
    let is_skipped = |report: &&InputReport| report.input.kind == InputKind::Unknown;
    let skipped = analysis.inputs.iter().filter(is_skipped).count();
    writeln!(
        out,
        "{}      {} logs read ({}), {} files skipped; {} records, {} of them relevant",
        Painted(HEAD, "Inputs"),
        read.len(),
        indicatif::HumanBytes(bytes),
        skipped,
        analysis.records(),
        analysis.events,
    )?;
    let Overlap { copies, differing } = analysis.overlap();
    if copies > 0 {
        writeln!(out, "  Copies    {copies} more are copies of these in other inputs")?;
    }
    if differing > 0 {
        writeln!(
            out,
            "  Differing {differing} have the id and time of one in another input and say something \
             else, see run.json"
        )?;
    }
    let faults = |kind| {
        let faults = analysis
            .inputs
            .iter()
            .flat_map(|report| report.faults.iter().map(move |fault| (&report.input.path, fault)));
        faults.filter(move |(_, fault)| fault.kind == kind).collect::<Vec<_>>()
    };
    for (kind, what) in [(FaultKind::Lost, "LOST"), (FaultKind::Suspect, "Suspect")] {
        let faults = faults(kind);
        for (path, fault) in faults.iter().take(MOST) {
            let at = fault.offset.map_or(String::new(), |offset| format!(" at byte {offset}"));
            let path = plain(&path.display().to_string());
            let what = Painted(ALARM, format_args!("{what:<9}"));
            writeln!(out, "  {what} {path}{at}: {}", plain(&fault.reason))?;
        }
        if faults.len() > MOST {
            writeln!(out, "  {what:<9} and {} more, see run.json", faults.len() - MOST)?;
        }
    }
    let refused: Vec<&RejectedRule> = analysis.rules.rejected().collect();
    if !refused.is_empty() {
        writeln!(out, "  Rules     {} not loaded, see run.json or -v", refused.len())?;
        for refused in refused.iter().take(3) {
            writeln!(out, "            {}: {}", plain(&refused.file), plain(&refused.reason))?;
        }
    }
    let Notes { left_wrapped, programs, .. } = analysis.notes;
    if left_wrapped > 0 {
        writeln!(out, "  Layers    a limit left {left_wrapped} texts wrapped, see run.json")?;
    }
    if programs > 0 {
        writeln!(out, "  Layers    {programs} programs lie in texts, see run.json")?;
    }
    for limited in analysis.limited.iter().take(3) {
        writeln!(out, "  LIMIT     rule {}: {}", plain(&limited.rule), limited.reason)?;
    }
    Ok(())
}

fn sessions(analysis: &Analysis, zone: Zone, out: &mut impl Write) -> io::Result<()> {
    let Analysis { reconstruction: case, scope, .. } = analysis;
    let told = case.sessions.iter_enumerated();
    let told: Vec<_> = told.filter(|(_, session)| scope.session(session)).collect();
    let attempts = case.attempts.iter().filter(|attempt| scope.attempt(attempt)).count();
    let head = Painted(HEAD, "Sessions");
    writeln!(out, "\n{head}    {}, failed attempts {attempts}", told.len())?;
    if !scope.is_whole() {
        let (sessions, attempts) = (case.sessions.len(), case.attempts.len());
        writeln!(out, "  --host and --user tell of these of {sessions} and {attempts}")?;
    }
    for (index, session) in told.iter().take(MOST) {
        writeln!(out, "  {} {}", session_id(*index), plain(&line(session, zone)))?;
    }
    if told.len() > MOST {
        writeln!(out, "  and {} more, see sessions.csv", told.len() - MOST)?;
    }
    Ok(())
}

fn line(session: &Session, zone: Zone) -> String {
    let source = session.source_host.as_deref().or(session.source_ip.as_deref());
    format!(
        "{} {}  {} -> {}  {}  {} by {}  ({} s, confidence {})",
        zone.seconds(session.start),
        zone.mark(session.start),
        source.unwrap_or("source unknown"),
        session.target_host,
        session.user.as_ref().map_or("user unknown".to_owned(), AccountName::to_string),
        session.kind.as_str(),
        session.auth.as_str(),
        (session.end - session.start).num_seconds(),
        session.confidence.as_str(),
    )
}

fn detections(analysis: &Analysis, zone: Zone, out: &mut impl Write) -> io::Result<()> {
    let rule = |index: RuleIdx| &analysis.rules.rules[index].meta;
    let mut by_level: BTreeMap<Level, u64> = BTreeMap::new();
    let mut count = 0;
    let mut top: Vec<Finding> = Vec::new();
    findings::each(&analysis.findings, |finding| {
        count += 1;
        *by_level.entry(rule(finding.rule).level).or_default() += finding.count;
        top.push(finding);
        if top.len() >= 2 * MOST {
            most_severe(&mut top, rule);
        }
        Ok(())
    })?;
    let of = |level: &Level| by_level.get(level).copied().unwrap_or_default();
    let all: u64 = by_level.values().sum();
    let levels = Level::DESCENDING.iter().map(|level| format!("{} {level}", of(level)));
    let head = Painted(HEAD, "Detections");
    writeln!(out, "\n{head}  {all} ({})", levels.collect::<Vec<_>>().join(", "))?;
    most_severe(&mut top, rule);
    for finding in &top {
        let Finding { count, host, session, first, last, .. } = finding;
        let place = [host.clone(), session.map(session_id).unwrap_or_default()];
        let place = place.iter().filter(|text| !text.is_empty()).map(|text| format!("  {text}"));
        let (first, last) = (zone.seconds(*first), zone.seconds(*last));
        let until = until(&first, &last);
        let (level, title) = (rule(finding.rule).level, plain(&rule(finding.rule).title));
        let place = plain(&place.collect::<String>());
        let level = Painted(paint::level(level), format_args!("{level:<13}"));
        writeln!(out, "  {level} {count:>6}  {title}{place}  {first}{until}")?;
    }
    if count > top.len() {
        writeln!(out, "  and {} more findings, see findings.csv", count - top.len())?;
    }
    Ok(())
}

/// Leaves the most severe findings, and of those the most frequent.
fn most_severe<'r>(findings: &mut Vec<Finding>, rule: impl Fn(RuleIdx) -> &'r RuleMeta) {
    // A stable sort: what is equal stays in the order of the file.
    findings.sort_by_key(|finding| (Reverse(rule(finding.rule).level), Reverse(finding.count)));
    findings.truncate(MOST);
}

/// Until when, unless that is the same second; the day only where it is another one.
fn until(first: &str, last: &str) -> String {
    let (day, time) = last.split_once(' ').unwrap_or_default();
    match (first == last, first.starts_with(day)) {
        (true, _) => String::new(),
        (false, true) => format!(" to {time}"),
        (false, false) => format!(" to {last}"),
    }
}
