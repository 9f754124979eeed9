//! `detections.csv`: what the rules found.
//!
//! A detection's line is made when the rule fires; a record's session is filled in later.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::cell::{list, push};
use super::{columns, evidence};
use crate::analysis::{Analysis, Copies};
use crate::detect::session_id;
use crate::model::{Detection, IdxVec, RecordRef, RuleIdx, SessionIdx, Subject, csv_time};
use crate::sorted::{Rows, Sorted, place, time};

columns! { pub(super) COLUMNS:
    "time": Time => "when what it fired on was logged or began: UTC, yyyy-MM-dd HH:mm:ss.fffffff",
    "level" => "the rule's level: critical, high, medium, low, informational",
    "rule_id" => "the rule's id",
    "rule_title" => "the rule's title",
    "pack" => "the pack it came with",
    "tags" => "the rule's tags, ATT&CK's among them",
    "host" => "the host it concerns",
    "user" => "the account it concerns, as logged",
    "session_id" => "its session (sessions.csv)",
    "fired_on" => "record, session, command, script_block, child_process, attempt, decoded_layer, log_gap, log_integrity or correlation",
    "matched_fields" => "the fields that matched and their values",
    "evidence" => "the records that prove it: FILE:EVENT_RECORD_ID@OFFSET; of a correlation the one that completed it first",
}

/// A detection's line, as far as it is known when the rule fires.
#[derive(Serialize, Deserialize)]
pub(crate) struct Row<'a> {
    pub time: &'a str,
    /// Index of the rule.
    pub rule: RuleIdx,
    pub host: &'a str,
    pub user: &'a str,
    session: Of,
    /// The first of its evidence pointers.
    pub pointer: &'a str,
    /// The cells after the session's.
    after: &'a str,
}

impl Row<'_> {
    /// What it fired on, the fields that matched, and the records that prove it, as the file has
    /// them.
    ///
    /// # Errors
    /// When its cells are not those three.
    pub fn cells(&self) -> io::Result<[String; 3]> {
        let mut csv =
            csv::ReaderBuilder::new().has_headers(false).from_reader(self.after.as_bytes());
        csv.deserialize().next().transpose()?.ok_or_else(|| io::Error::other("a row of no cells"))
    }
}

/// Whose session a row is in.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Of {
    /// The record's, if it has one.
    Record(RecordRef),
    /// This one, or none.
    Session(Option<SessionIdx>),
}

/// Adds the line of a detection.
///
/// # Errors
/// When the line has no serial form.
pub(crate) fn add(rows: &mut Rows, detection: &Detection, paths: &[PathBuf]) -> io::Result<()> {
    let matched = detection.matched.iter().map(|m| format!("{}={}", m.field, m.value));
    let evidence = evidence::cell(paths, &detection.evidence);
    let mut after = detection.subject.as_str().to_owned();
    for text in [list(matched), evidence] {
        after.push(',');
        push(&mut after, &text);
    }
    let session = match (detection.subject, &detection.evidence[..]) {
        (Subject::Record, [proof]) => Of::Record(proof.source),
        _ => Of::Session(detection.session),
    };
    let pointer = detection.evidence.first().map(|proof| evidence::pointer(paths, proof));
    let row = Row {
        time: &csv_time(detection.time),
        rule: detection.rule,
        host: &detection.host,
        user: &detection.user,
        session,
        pointer: &pointer.unwrap_or_default(),
        after: &after,
    };
    rows.push(|key| order(key, detection), &row)
}

/// Calls `each` with the row of every detection and the session it is in, in the order of lines.
/// Those on copies of records are none.
///
/// # Errors
/// When the rows cannot be read back, and what `each` returns.
pub(super) fn each(
    found: &Sorted,
    copies: &Copies,
    sessions: &BTreeMap<RecordRef, SessionIdx>,
    mut each: impl FnMut(&Row<'_>, Option<SessionIdx>) -> io::Result<()>,
) -> io::Result<()> {
    for row in found.rows()? {
        let row = row?;
        let row: Row<'_> = postcard::from_bytes(row.content()).map_err(io::Error::other)?;
        let session = match row.session {
            Of::Record(source) if copies.contains(source) => continue,
            Of::Record(source) => sessions.get(&source).copied(),
            Of::Session(session) => session,
        };
        each(&row, session)?;
    }
    Ok(())
}

/// The order of lines: time, host, rule, what it fired on, its records. It is total.
fn order(key: &mut Vec<u8>, detection: &Detection) {
    time(key, detection.time);
    key.extend(detection.host.bytes());
    key.push(0);
    key.extend((detection.rule.index() as u64).to_be_bytes());
    key.push(detection.subject as u8);
    detection.evidence.iter().for_each(|proof| place(key, proof.source));
}

pub(super) fn write(analysis: &Analysis, to: &mut (dyn Write + Send)) -> io::Result<()> {
    let sessions = analysis.case.sessions_of_records();
    let rules = analysis.rules.rules.iter().map(|rule| {
        let mut cells = String::new();
        let tags = list(&rule.tags);
        for text in [rule.level.as_str(), &rule.id, &rule.title, &rule.pack, &tags] {
            push(&mut cells, text);
            cells.push(',');
        }
        cells
    });
    let rules: IdxVec<RuleIdx, String> = rules.collect();
    let mut line = String::new();
    each(&analysis.detections, &analysis.copies, &sessions, |row, session| {
        let Row { time, rule, host, user, after, .. } = row;
        let told = session.map(|session| &analysis.case.sessions[session]);
        if !analysis.scope.row(told, host, user) {
            return Ok(());
        }
        line.clear();
        line.push_str(time);
        line.push(',');
        line.push_str(&rules[*rule]);
        for text in [host, user] {
            push(&mut line, text);
            line.push(',');
        }
        if let Some(session) = session {
            line.push_str(&session_id(session));
        }
        line.push(',');
        line.push_str(after);
        line.push('\n');
        to.write_all(line.as_bytes())
    })
}
