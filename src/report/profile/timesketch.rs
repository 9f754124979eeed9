//! `timesketch.jsonl` and `timesketch.csv`: what Timesketch imports.
//!
//! `message`, `datetime` and `timestamp_desc` it asks for; `data_type`, `event_identifier`,
//! `record_number`, `source_name` and `computer_name` are Plaso's names for event log records, by
//! which its analysers find them (timesketch.org, "Import from JSON or CSV").

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value};

use super::super::cell::push;
use super::doc::{Doc, add};
use super::rows::{DetectionRow, EventRow, SessionRow};
use super::shape::Shape;
use crate::model::{AccountName, RuleMeta, csv_time};
use crate::table::columns;

columns! { COLUMNS:
    "message" => "what it is and says",
    "datetime": Time => "when: ISO 8601, UTC, to the microsecond",
    "timestamp": Integer => "the same as microseconds since 1970",
    "timestamp_desc" => "what happened then: Event Logged, Session Start, Session End, Detection",
    "data_type" => "windows:evtx:record for events, psr:session and psr:detection for others",
    "tag": Texts => "psr, the session, `level:` and the highest level of the rules that fired, and the ATT&CK tags of those rules",
    "logged_at": Time => "when, with the 100 ns of Windows: UTC, yyyy-MM-dd HH:mm:ss.fffffff",
    "computer_name" => "the host that logged it; of a session its target",
    "channel" => "System/Channel",
    "source_name" => "System/Provider Name",
    "event_identifier": Integer => "System/EventID",
    "record_number": Integer => "System/EventRecordID",
    "event_level": Integer => "System/Level: 1 critical to 5 verbose, 0 always",
    "kind" => "what it is, in this program's words; of a detection what it fired on",
    "username" => "the account it concerns, as logged, or the record's SID",
    "user_sid" => "System/Security UserID; of a session its account's SID",
    "source_host" => "of a session: the client's name",
    "source_ip" => "of a session: the client's address",
    "session_id" => "the session (sessions.csv)",
    "session_link" => "why an event belongs to it",
    "session_end": Time => "of a session: its end, UTC",
    "auth" => "of a session: how it was authenticated",
    "transport" => "of a session: what it travelled over",
    "command_count": Integer => "of a session: commands run in it",
    "confidence" => "of a session: high, medium or low",
    "detections": Texts => "titles of the rules that fired",
    "rule_id" => "of a detection: the rule's id",
    "matched_fields" => "of a detection: the fields that matched and their values",
    "level" => "the highest level of those rules",
    "event_data" => "the record's data: an object as JSON text; names that repeat have a list",
    "evidence" => "the records that prove it: FILE:EVENT_RECORD_ID@OFFSET",
    "copies" => "the same record in other inputs",
    "recovered" => "yes where no log holds it any more, and --recover found it in a file",
    "input_file" => "the file the record was read from",
    "offset": Integer => "the record's offset in that file, bytes",
    "header_number": Integer => "the number in the record's own header",
}

/// The JSON lines.
const JSONL: &str = "timesketch.jsonl";
/// The CSV.
const CSV: &str = "timesketch.csv";

pub(super) const SHAPES: &[Shape] = &[
    Shape {
        file: JSONL,
        columns: COLUMNS,
        has_head: false,
        event: |row, to| event(row).line(to),
        session: |row, to| session(row).into_iter().for_each(|doc| doc.line(to)),
        detection: |row, to| detection(row).line(to),
    },
    Shape {
        file: CSV,
        columns: COLUMNS,
        has_head: true,
        event: |row, to| line(event(row), to),
        session: |row, to| session(row).into_iter().for_each(|doc| line(doc, to)),
        detection: |row, to| line(detection(row), to),
    },
];

/// A line of the CSV: lists are JSON, which Timesketch reads as tags.
fn line(doc: Doc, to: &mut String) {
    let Value::Object(fields) = doc.value() else { return };
    for (index, column) in COLUMNS.iter().enumerate() {
        if index > 0 {
            to.push(',');
        }
        match fields.get(column.name) {
            None => {}
            Some(Value::String(text)) => push(to, text),
            Some(value) => push(to, &value.to_string()),
        }
    }
    to.push('\n');
}

/// What all rows begin with.
fn begin(message: &str, at: DateTime<Utc>, desc: &str, data_type: &str) -> Doc {
    let mut doc = Doc::default();
    doc.set("message", message);
    doc.set("datetime", at.to_rfc3339_opts(SecondsFormat::Micros, false));
    doc.set("timestamp", at.timestamp_micros());
    doc.set("timestamp_desc", desc);
    doc.set("data_type", data_type);
    doc.set("logged_at", csv_time(at));
    doc
}

fn tags(session: Option<&str>, rules: &[&RuleMeta]) -> Vec<String> {
    let mut tags = vec!["psr".to_owned()];
    tags.extend(session.map(str::to_owned));
    tags.extend(rules.iter().map(|rule| rule.level).max().map(|level| format!("level:{level}")));
    for tag in rules.iter().flat_map(|rule| &rule.tags) {
        if tag.starts_with("attack.") && !tags.contains(tag) {
            tags.push(tag.clone());
        }
    }
    tags
}

fn titles(rules: &[&RuleMeta]) -> Vec<String> {
    rules.iter().map(|rule| rule.title.clone()).collect()
}

fn event(row: &EventRow<'_>) -> Doc {
    let record = row.record;
    let session = row.session.as_ref();
    let message = format!("{}: {}", row.kind, row.summary);
    let mut doc = begin(&message, record.time, "Event Logged", "windows:evtx:record");
    doc.set("tag", tags(session.map(|(id, _)| id.as_str()), &row.rules));
    doc.set("computer_name", &*record.computer);
    doc.set("channel", &*record.channel);
    doc.set("source_name", &*record.provider);
    doc.set("event_identifier", record.event_id);
    doc.set("record_number", record.record_id);
    doc.set("event_level", record.level);
    doc.set("kind", row.kind);
    doc.set("username", &*row.user);
    doc.set("user_sid", record.user_sid.as_deref());
    if let Some((id, link)) = session {
        doc.set("session_id", id.as_str());
        doc.set("session_link", link.as_str());
    }
    doc.set("detections", titles(&row.rules));
    doc.set("level", row.level().map(|level| level.as_str()));
    let mut data = Map::new();
    for (name, value) in record.data.iter() {
        add(&mut data, name, value.into());
    }
    if !data.is_empty() {
        doc.set("event_data", Value::Object(data).to_string());
    }
    doc.set("evidence", row.pointer.as_str());
    doc.set("copies", row.copies.in_cell().collect::<Vec<_>>().join("; "));
    doc.set("recovered", row.recovered.then_some("yes"));
    doc.set("input_file", row.file);
    doc.set("offset", record.source.offset);
    doc.set("header_number", record.source.number);
    doc
}

/// A session is a row where it starts and one where it ends.
fn session(row: &SessionRow<'_>) -> [Doc; 2] {
    let session = row.session;
    [(session.start, "Session Start"), (session.end, "Session End")].map(|(at, desc)| {
        let mut doc = begin(&row.summary, at, desc, "psr:session");
        doc.set("tag", tags(Some(&row.id), &row.rules));
        doc.set("computer_name", &*session.target_host);
        doc.set("kind", session.kind.as_str());
        doc.set("username", session.user.as_ref().map(AccountName::to_string));
        doc.set("user_sid", session.user_sid.as_deref());
        doc.set("source_host", session.source_host.as_deref());
        doc.set("source_ip", session.source_ip.as_deref());
        doc.set("session_id", row.id.as_str());
        doc.set("session_end", csv_time(session.end));
        doc.set("auth", session.auth.as_str());
        doc.set("transport", session.transport.as_str());
        doc.set("command_count", row.commands);
        doc.set("confidence", session.confidence.as_str());
        doc.set("detections", titles(&row.rules));
        doc.set("level", row.rules.iter().map(|rule| rule.level).max().map(|level| level.as_str()));
        doc.set("evidence", row.evidence.join("; "));
        doc
    })
}

fn detection(row: &DetectionRow<'_>) -> Doc {
    let rule = row.rule;
    let message =
        format!("{} ({}) on {}: {}", rule.title, rule.level, row.fired_on, row.matched.join("; "));
    let mut doc = begin(&message, row.time, "Detection", "psr:detection");
    doc.set("tag", tags(row.session.as_deref(), &[rule]));
    doc.set("computer_name", row.host);
    doc.set("kind", row.fired_on);
    doc.set("username", row.user);
    doc.set("session_id", row.session.as_deref());
    doc.set("detections", titles(&[rule]));
    doc.set("rule_id", rule.id.as_str());
    doc.set("matched_fields", row.matched.join("; "));
    doc.set("level", rule.level.as_str());
    doc.set("evidence", row.evidence.join("; "));
    doc
}
