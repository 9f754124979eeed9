//! `splunk.jsonl`: lines for Splunk's HTTP Event Collector, with the field names that Splunk's
//! Windows add-on takes from XML (docs.splunk.com, "Format events for HTTP Event Collector").
//!
//! What the log says is in `event`, what this program says in `fields`: a log cannot write there.

use serde_json::{Map, Value};

use super::doc::{Doc, add, iso};
use super::rows::{DetectionRow, EventRow, SessionRow};
use super::shape::Shape;
use crate::table::columns;
use chrono::{DateTime, Utc};

use crate::model::{AccountName, RuleMeta};

/// The file's name.
const FILE: &str = "splunk.jsonl";

columns! { COLUMNS:
    "time": Number => "when: seconds since 1970, to 100 ns",
    "host" => "the host that logged it; of a session its target",
    "source" => "XmlWinEventLog:CHANNEL for events, psr-forensics for others",
    "sourcetype" => "XmlWinEventLog for events, psr:session and psr:detection for others",
    "event.EventCode": Integer => "System/EventID",
    "event.EventRecordID": Integer => "System/EventRecordID",
    "event.Name" => "System/Provider Name",
    "event.Channel" => "System/Channel",
    "event.Computer" => "System/Computer",
    "event.Level": Integer => "System/Level: 1 critical to 5 verbose, 0 always",
    "event.Keywords" => "System/Keywords, hexadecimal",
    "event.SystemTime": Time => "System/TimeCreated: ISO 8601, UTC, 100 ns",
    "event.ProcessID": Integer => "System/Execution ProcessID",
    "event.ThreadID": Integer => "System/Execution ThreadID",
    "event.UserID" => "System/Security UserID",
    "event.ActivityID" => "System/Correlation ActivityID",
    "event.*" => "the record's data by its own names, unnamed strings as Data; a name that repeats, or that System has, holds a list, System's value first",
    "event.session_id" => "of a session or detection: the session (sessions.csv)",
    "event.summary" => "of a session: what it is, on one line",
    "event.start": Time => "of a session: its start",
    "event.end": Time => "of a session: its end",
    "event.duration": Number => "of a session: seconds from start to end",
    "event.src" => "of a session: the client's address, or its name where no record gives that",
    "event.src_host" => "of a session: the client's name",
    "event.src_ip" => "of a session: the client's address",
    "event.dest" => "of a session or detection: the host",
    "event.user" => "of a session or detection: the account, as logged",
    "event.authentication_method" => "of a session: how it was authenticated",
    "event.transport" => "of a session: what it travelled over",
    "event.app" => "of a session: powershell, winrs or other",
    "event.process_id": Integer => "of a session: the host process on the target",
    "event.command_count": Integer => "of a session: commands run in it",
    "event.child_process_count": Integer => "of a session: processes below its host process",
    "event.parent_session_id" => "of a session: the session that it was started from",
    "event.confidence" => "of a session: high, medium or low",
    "event.signature" => "of a detection: the rule's title",
    "event.signature_id" => "of a detection: the rule's id",
    "event.severity" => "of a detection: the rule's level",
    "event.ruleset" => "of a detection: the pack the rule came with",
    "event.fired_on" => "of a detection: what it fired on",
    "event.matched_fields": Texts => "of a detection: the fields that matched and their values",
    "event.detections": Texts => "of a session: titles of the rules that fired in it",
    "fields.psr_kind" => "what an event is, in this program's words",
    "fields.psr_summary" => "what it says, on one line",
    "fields.psr_user" => "the account it concerns, as logged, or the record's SID",
    "fields.psr_session_id" => "the session (sessions.csv)",
    "fields.psr_link" => "why an event belongs to it",
    "fields.psr_detections": Texts => "titles of the rules that fired on it or on what was rebuilt from it",
    "fields.psr_level" => "the highest level of those rules",
    "fields.psr_tags": Texts => "the tags of those rules",
    "fields.psr_evidence": Texts => "the records that prove it: FILE:EVENT_RECORD_ID@OFFSET",
    "fields.psr_copies": Texts => "the same record in other inputs",
    "fields.psr_recovered" => "yes where no log holds it any more, and --recover found it in a file",
    "fields.psr_input_file" => "the file the record was read from",
    "fields.psr_offset" => "the record's offset in that file, bytes",
    "fields.psr_record_number" => "the number in the record's own header",
}

pub(super) const SHAPES: &[Shape] =
    &[Shape { file: FILE, columns: COLUMNS, has_head: false, event, session, detection }];

/// Appends a line. The time is written by hand: a float has no room for 100 ns.
fn line(at: DateTime<Utc>, doc: Doc, to: &mut String) {
    let (seconds, hundreds) = (at.timestamp(), at.timestamp_subsec_nanos() / 100);
    // Before 1970 the fraction counts from the next second down.
    let (sign, seconds, hundreds) = match (seconds < 0, hundreds) {
        (true, 0) => ("-", seconds.unsigned_abs(), 0),
        (true, _) => ("-", (seconds + 1).unsigned_abs(), 10_000_000 - hundreds),
        (false, _) => ("", seconds.unsigned_abs(), hundreds),
    };
    to.push_str(&format!("{{\"time\":{sign}{seconds}.{hundreds:07},"));
    let mut rest = String::new();
    doc.line(&mut rest);
    to.push_str(&rest[1..]);
}

fn tags(rules: &[&RuleMeta]) -> Vec<String> {
    let mut tags: Vec<String> = Vec::new();
    for tag in rules.iter().flat_map(|rule| &rule.tags) {
        if !tags.contains(tag) {
            tags.push(tag.clone());
        }
    }
    tags
}

fn titles(rules: &[&RuleMeta]) -> Vec<String> {
    rules.iter().map(|rule| rule.title.clone()).collect()
}

fn event(row: &EventRow<'_>, to: &mut String) {
    let record = row.record;
    let mut system = Doc::default();
    system.set("EventCode", record.event_id);
    system.set("EventRecordID", record.record_id);
    system.set("Name", &*record.provider);
    system.set("Channel", &*record.channel);
    system.set("Computer", &*record.computer);
    system.set("Level", record.level);
    system.set("Keywords", format!("{:#x}", record.keywords));
    system.set("SystemTime", iso(record.time));
    system.set("ProcessID", record.process_id);
    system.set("ThreadID", record.thread_id);
    system.set("UserID", record.user_sid.as_deref());
    system.set("ActivityID", record.activity_id.as_ref().map(ToString::to_string));
    let mut event = match system.value() {
        Value::Object(event) => event,
        _ => Map::new(),
    };
    for (name, value) in record.data.iter() {
        add(&mut event, if name.is_empty() { "Data" } else { name }, value.into());
    }
    let mut doc = Doc::default();
    doc.set("host", &*record.computer);
    doc.set("source", format!("XmlWinEventLog:{}", record.channel));
    doc.set("sourcetype", "XmlWinEventLog");
    doc.set("event", event);
    doc.set("fields.psr_kind", row.kind);
    doc.set("fields.psr_summary", row.summary.as_str());
    doc.set("fields.psr_user", row.user.as_str());
    if let Some((id, link)) = &row.session {
        doc.set("fields.psr_session_id", id.as_str());
        doc.set("fields.psr_link", link.as_str());
    }
    doc.set("fields.psr_detections", titles(&row.rules));
    doc.set("fields.psr_level", row.level().map(|level| level.as_str()));
    doc.set("fields.psr_tags", tags(&row.rules));
    doc.set("fields.psr_evidence", vec![row.pointer.as_str()]);
    doc.set("fields.psr_copies", row.copies.all().collect::<Vec<_>>());
    doc.set("fields.psr_recovered", row.recovered.then_some("yes"));
    doc.set("fields.psr_input_file", row.file);
    doc.set("fields.psr_offset", record.source.offset.to_string());
    doc.set("fields.psr_record_number", record.source.number.to_string());
    line(record.time, doc, to);
}

fn session(row: &SessionRow<'_>, to: &mut String) {
    let session = row.session;
    let source = session.source_ip.as_deref().or(session.source_host.as_deref());
    let mut doc = Doc::default();
    doc.set("host", &*session.target_host);
    doc.set("source", "psr-forensics");
    doc.set("sourcetype", "psr:session");
    doc.set("event.session_id", row.id.as_str());
    doc.set("event.summary", row.summary.as_str());
    doc.set("event.start", iso(session.start));
    doc.set("event.end", iso(session.end));
    doc.set("event.duration", (session.end - session.start).as_seconds_f64());
    doc.set("event.src", source);
    doc.set("event.src_host", session.source_host.as_deref());
    doc.set("event.src_ip", session.source_ip.as_deref());
    doc.set("event.dest", &*session.target_host);
    doc.set("event.user", session.user.as_ref().map(AccountName::to_string));
    doc.set("event.authentication_method", session.auth.as_str());
    doc.set("event.transport", session.transport.as_str());
    doc.set("event.app", session.kind.as_str());
    doc.set("event.process_id", session.process_id);
    doc.set("event.command_count", row.commands);
    doc.set("event.child_process_count", row.child_processes);
    doc.set("event.parent_session_id", row.parent.as_deref());
    doc.set("event.confidence", session.confidence.as_str());
    doc.set("event.detections", titles(&row.rules));
    doc.set("fields.psr_session_id", row.id.as_str());
    doc.set("fields.psr_level", row.rules.iter().map(|rule| rule.level).max().map(|l| l.as_str()));
    doc.set("fields.psr_tags", tags(&row.rules));
    doc.set("fields.psr_evidence", row.evidence.clone());
    line(session.start, doc, to);
}

fn detection(row: &DetectionRow<'_>, to: &mut String) {
    let rule = row.rule;
    let mut doc = Doc::default();
    doc.set("host", row.host);
    doc.set("source", "psr-forensics");
    doc.set("sourcetype", "psr:detection");
    doc.set("event.session_id", row.session.as_deref());
    doc.set("event.dest", row.host);
    doc.set("event.user", row.user);
    doc.set("event.signature", rule.title.as_str());
    doc.set("event.signature_id", rule.id.as_str());
    doc.set("event.severity", rule.level.as_str());
    doc.set("event.ruleset", rule.pack.as_str());
    doc.set("event.fired_on", row.fired_on);
    doc.set("event.matched_fields", row.matched.clone());
    doc.set("fields.psr_session_id", row.session.as_deref());
    doc.set("fields.psr_level", rule.level.as_str());
    doc.set("fields.psr_tags", rule.tags.clone());
    doc.set("fields.psr_evidence", row.evidence.clone());
    line(row.time, doc, to);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_100_ns_before_1970_too() {
        let time = |text: &str| {
            let at: DateTime<Utc> = text.parse().unwrap();
            let mut to = String::new();
            let mut doc = Doc::default();
            doc.set("host", "h");
            line(at, doc, &mut to);
            to
        };
        assert_eq!(
            time("2019-05-16T01:33:54.5678966Z"),
            "{\"time\":1557970434.5678966,\"host\":\"h\"}\n"
        );
        assert_eq!(time("1969-12-31T23:59:58.7500000Z"), "{\"time\":-1.2500000,\"host\":\"h\"}\n");
        assert_eq!(time("1969-12-31T23:59:58Z"), "{\"time\":-2.0000000,\"host\":\"h\"}\n");
        assert_eq!(
            iso("2019-05-16T01:33:54.5678966Z".parse().unwrap()),
            "2019-05-16T01:33:54.5678966Z"
        );
    }
}
