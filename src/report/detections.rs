//! `detections.csv`: what the rules found.
//!
//! A detection's line is made when the rule fires; a record's session is filled in later.

use std::io::{self, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::cell::{list, push};
use super::sorted::{Rows, place, time};
use super::{columns, evidence};
use crate::analysis::Analysis;
use crate::detect::{RuleSet, session_id};
use crate::model::{Detection, RecordRef, Subject, csv_time};

columns! { pub(super) COLUMNS:
    "time" => "when what it fired on was logged or began: UTC, yyyy-MM-dd HH:mm:ss.fffffff",
    "level" => "the rule's level: critical, high, medium, low, informational",
    "rule_id" => "the rule's id",
    "rule_title" => "the rule's title",
    "pack" => "the pack it came with",
    "tags" => "the rule's tags, ATT&CK's among them",
    "host" => "the host it concerns",
    "user" => "the account it concerns, as logged",
    "session_id" => "its session (sessions.csv)",
    "fired_on" => "record, session, command, script_block, child_process or attempt",
    "matched_fields" => "the fields that matched and their values",
    "evidence" => "the records that prove it: FILE:EVENT_RECORD_ID@OFFSET",
}

/// A detection's line.
#[derive(Serialize, Deserialize)]
struct Row<'a> {
    /// The cells before the session's.
    before: &'a str,
    session: Of,
    /// The cells after it.
    after: &'a str,
}

/// Whose session a detection is in.
#[derive(Serialize, Deserialize)]
enum Of {
    /// The record's, if it has one.
    Record(RecordRef),
    /// This one, or none.
    Session(Option<usize>),
}

/// Adds the line of a detection.
///
/// # Errors
/// When the line has no serial form.
pub(crate) fn add(
    rows: &mut Rows,
    detection: &Detection,
    rules: &RuleSet,
    paths: &[PathBuf],
) -> io::Result<()> {
    let rule = &rules.rules[detection.rule];
    let mut before = csv_time(detection.time);
    let tags = list(&rule.tags);
    let level = rule.level.as_str();
    let texts = [&rule.id, &rule.title, &rule.pack, &*tags, &*detection.host, &detection.user];
    for text in [level].into_iter().chain(texts) {
        before.push(',');
        push(&mut before, text);
    }
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
    rows.push(|key| order(key, detection), &Row { before: &before, session, after: &after })
}

/// The order of lines: time, host, rule, what it fired on, its records. It is total.
fn order(key: &mut Vec<u8>, detection: &Detection) {
    time(key, detection.time);
    key.extend(detection.host.bytes());
    key.push(0);
    key.extend((detection.rule as u64).to_be_bytes());
    key.push(detection.subject as u8);
    detection.evidence.iter().for_each(|proof| place(key, proof.source));
}

pub(super) fn write(analysis: &Analysis, to: &mut dyn Write) -> io::Result<()> {
    let sessions = analysis.case.by_record();
    for row in analysis.detections.rows()? {
        let row = row?;
        let row = postcard::from_bytes(row.content()).map_err(io::Error::other)?;
        let Row { before, session, after } = row;
        let session = match session {
            Of::Record(source) if analysis.copies.contains(source) => continue,
            Of::Record(source) => sessions.get(&source).map(|(session, _)| *session),
            Of::Session(session) => session,
        };
        let session = session.map(session_id).unwrap_or_default();
        writeln!(to, "{before},{session},{after}")?;
    }
    Ok(())
}
