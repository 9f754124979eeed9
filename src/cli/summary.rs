//! The closing summary: what a tired person needs to know before opening a file.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use super::plain;
use crate::analysis::{Analysis, InputReport, Overlap};
use crate::detect::session_id;
use crate::error::FaultKind;
use crate::input::InputKind;
use crate::model::{Account, Level, RuleMeta, Session};
use crate::report::findings::{self, Finding};
use crate::report::{HTML_FILE, Notes, TABLES, story};

/// Most sessions, findings and faults it names.
const MOST: usize = 10;

pub(super) fn print(analysis: &Analysis, folder: &Path, out: &mut impl Write) -> io::Result<()> {
    inputs(analysis, out)?;
    sessions(analysis, out)?;
    detections(analysis, out)?;
    let names = TABLES.iter().map(|table| table.file).chain([story::FILE, HTML_FILE, "run.json"]);
    let names: Vec<&str> = names.collect();
    writeln!(out, "\nResults in {}: {}", plain(&folder.display().to_string()), names.join(", "))
}

fn inputs(analysis: &Analysis, out: &mut impl Write) -> io::Result<()> {
    let is_log = |report: &&InputReport| report.input.kind.is_log();
    let read: Vec<_> = analysis.inputs.iter().filter(is_log).collect();
    let bytes: u64 = read.iter().map(|report| report.input.size).sum();
    let is_skipped = |report: &&InputReport| report.input.kind == InputKind::Unknown;
    let skipped = analysis.inputs.iter().filter(is_skipped).count();
    writeln!(
        out,
        "Inputs      {} logs read ({}), {} files skipped; {} records, {} of them relevant",
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
            writeln!(out, "  {what:<9} {path}{at}: {}", plain(&fault.reason))?;
        }
        if faults.len() > MOST {
            writeln!(out, "  {what:<9} and {} more, see run.json", faults.len() - MOST)?;
        }
    }
    if !analysis.rules.refused.is_empty() {
        let refused = &analysis.rules.refused;
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

fn sessions(analysis: &Analysis, out: &mut impl Write) -> io::Result<()> {
    let sessions = &analysis.case.sessions;
    writeln!(
        out,
        "\nSessions    {}, failed attempts {}",
        sessions.len(),
        analysis.case.attempts.len()
    )?;
    for (index, session) in sessions.iter().enumerate().take(MOST) {
        writeln!(out, "  {} {}", session_id(index), plain(&line(session)))?;
    }
    if sessions.len() > MOST {
        writeln!(out, "  and {} more, see sessions.csv", sessions.len() - MOST)?;
    }
    Ok(())
}

fn line(session: &Session) -> String {
    let source = session.source_host.as_deref().or(session.source_ip.as_deref());
    format!(
        "{} UTC  {} -> {}  {}  {} by {}  ({} s, confidence {})",
        session.start.format("%Y-%m-%d %H:%M:%S"),
        source.unwrap_or("source unknown"),
        session.target_host,
        session.user.as_ref().map_or("user unknown".to_owned(), Account::to_string),
        session.kind.as_str(),
        session.auth.as_str(),
        (session.end - session.start).num_seconds(),
        session.confidence.as_str(),
    )
}

fn detections(analysis: &Analysis, out: &mut impl Write) -> io::Result<()> {
    let mut by_rule: BTreeMap<usize, usize> = BTreeMap::new();
    for detection in &analysis.fired {
        *by_rule.entry(detection.rule).or_default() += 1;
    }
    let rule = |index: usize| &analysis.rules.rules[index];
    let by_level = Level::DESCENDING.iter().map(|&level| {
        let count: usize =
            by_rule.iter().filter(|(index, _)| rule(**index).level == level).map(|(_, n)| n).sum();
        format!("{count} {level}")
    });
    let by_level: Vec<String> = by_level.collect();
    writeln!(out, "\nDetections  {} ({})", analysis.fired.len(), by_level.join(", "))?;
    let mut count = 0;
    let mut top: Vec<Finding> = Vec::new();
    findings::each(&analysis.findings, |finding| {
        count += 1;
        top.push(finding);
        if top.len() >= 2 * MOST {
            most_severe(&mut top, rule);
        }
        Ok(())
    })?;
    most_severe(&mut top, rule);
    for finding in &top {
        let Finding { count, host, session, first, last, .. } = finding;
        let place = [host.clone(), session.map(session_id).unwrap_or_default()];
        let place = place.iter().filter(|text| !text.is_empty()).map(|text| format!("  {text}"));
        let until = until(seconds(first), seconds(last));
        let (level, title) = (rule(finding.rule).level, plain(&rule(finding.rule).title));
        let place = plain(&place.collect::<String>());
        writeln!(out, "  {level:<13} {count:>6}  {title}{place}  {}{until}", seconds(first))?;
    }
    if count > top.len() {
        writeln!(out, "  and {} more findings, see findings.csv", count - top.len())?;
    }
    Ok(())
}

/// Leaves the most severe findings, and of those the most frequent.
fn most_severe<'r>(findings: &mut Vec<Finding>, rule: impl Fn(usize) -> &'r RuleMeta) {
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

/// A time to the second.
fn seconds(time: &str) -> &str {
    time.split('.').next().unwrap_or(time)
}
