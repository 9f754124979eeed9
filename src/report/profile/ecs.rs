//! `ecs.jsonl`: lines in the Elastic Common Schema, with `winlog.*` and `powershell.*` as
//! Winlogbeat writes them.
//!
//! The names of ECS are those of version 9.4 (elastic.co/docs/reference/ecs); those of Winlogbeat
//! are in its reference, "Winlogbeat fields" and "PowerShell module fields". What this program says
//! is in `psr.*`.

use serde_json::{Map, Value};

use super::doc::{Doc, add, iso};
use super::ecs_fields::{self, User};
use super::rows::{DetectionRow, EventRow, SessionRow};
use super::shape::Shape;
use crate::model::{Level, Record, RuleMeta};
use crate::table::columns;

/// The file's name.
const FILE: &str = "ecs.jsonl";

/// The version of ECS that the names are of.
const VERSION: &str = "9.4.0";

columns! { COLUMNS:
    "@timestamp": Time => "when it was logged, a session began, or what a rule fired on was logged: ISO 8601, UTC, 100 ns",
    "ecs.version" => "the version of ECS that the names are of",
    "message" => "what it says, on one line",
    "tags": Texts => "titles of the rules that fired on an event or in a session; of a detection the rule's tags",
    "event.kind" => "event; alert for a detection",
    "event.module" => "psr",
    "event.dataset" => "psr.event, psr.session or psr.detection",
    "event.code" => "System/EventID",
    "event.provider" => "System/Provider Name",
    "event.action" => "what it is, in this program's words",
    "event.category": Texts => "ECS's word for what it is about, where it has one",
    "event.type": Texts => "ECS's word for what happened",
    "event.outcome" => "success or failure, where the event says so",
    "event.severity": Integer => "of a detection: 99 critical, 73 high, 47 medium, 21 low, 1 informational",
    "event.start": Time => "of a session: its start",
    "event.end": Time => "of a session: its end, as far as known",
    "event.duration": Integer => "of a session: nanoseconds from start to end",
    "log.level" => "System/Level in words",
    "log.file.path" => "the file the record was read from",
    "host.name" => "the host that logged it; of a session its target",
    "user.name" => "the account it concerns",
    "user.domain" => "its domain",
    "user.id" => "its SID",
    "source.ip": Address => "where it came from",
    "source.address" => "the same as logged, an address or not",
    "source.domain" => "the name of the host it came from",
    "source.port": Integer => "of a connection: the opener's port",
    "destination.ip": Address => "of a connection: the listener",
    "destination.address" => "the same as logged, an address or not",
    "destination.domain" => "the name of the host it went to",
    "destination.port": Integer => "of a connection: the listener's port",
    "process.pid": Integer => "the process that started, exited or connected; of a session its host process",
    "process.name" => "its image's name",
    "process.executable" => "its image",
    "process.command_line" => "its command line; of an engine HostApplication",
    "process.title" => "of an engine: HostName",
    "process.entity_id" => "of an engine: HostId",
    "process.parent.pid": Integer => "the parent process",
    "process.parent.name" => "its image's name",
    "process.parent.executable" => "its image",
    "file.path" => "of a script block: the script's file",
    "related.user": Texts => "accounts it names",
    "related.ip": Texts => "addresses it names",
    "related.hosts": Texts => "hosts it names",
    "rule.id" => "of a detection: the rule's id",
    "rule.name" => "its title",
    "rule.ruleset" => "the pack it came with",
    "threat.framework" => "MITRE ATT&CK, where the rule names it",
    "threat.tactic.name": Texts => "tactics that the rules name",
    "threat.technique.id": Texts => "techniques that the rules name",
    "threat.technique.subtechnique.id": Texts => "sub-techniques that the rules name",
    "winlog.api" => "wineventlog",
    "winlog.channel" => "System/Channel",
    "winlog.computer_name" => "System/Computer",
    "winlog.provider_name" => "System/Provider Name",
    "winlog.event_id" => "System/EventID",
    "winlog.record_id" => "System/EventRecordID",
    "winlog.keywords": Texts => "Audit Success, Audit Failure, Classic",
    "winlog.activity_id" => "System/Correlation ActivityID",
    "winlog.process.pid": Integer => "System/Execution ProcessID",
    "winlog.process.thread.id": Integer => "System/Execution ThreadID",
    "winlog.user.identifier" => "System/Security UserID",
    "winlog.event_data": Object => "the record's data by its own names; unnamed strings as param1, param2 and so on; names that repeat have a list",
    "powershell.id" => "ShellID of a 4103",
    "powershell.pipeline_id" => "PipelineId",
    "powershell.runspace_id" => "RunspaceId",
    "powershell.sequence": Integer => "of a script block: which part; of an 800 which part of the details",
    "powershell.total": Integer => "how many parts",
    "powershell.command.name" => "the command",
    "powershell.command.type" => "its type",
    "powershell.command.path" => "its path",
    "powershell.command.value" => "the command with its parameters; of an 800 the pipeline's line",
    "powershell.connected_user.name" => "who connected, where the account is a virtual one",
    "powershell.connected_user.domain" => "their domain",
    "powershell.engine.version" => "EngineVersion",
    "powershell.engine.new_state" => "of a 400 or 403: the engine's state",
    "powershell.file.script_block_id" => "ScriptBlockId",
    "powershell.file.script_block_text" => "the text in this record",
    "powershell.process.executable_version" => "HostVersion",
    "powershell.provider.name" => "of a 600: the provider",
    "powershell.provider.new_state" => "of a 600: its state",
    "psr.session_id" => "the session (sessions.csv)",
    "psr.link" => "why an event belongs to it",
    "psr.level" => "the highest level of the rules that fired",
    "psr.detections": Texts => "titles of those rules",
    "psr.evidence": Texts => "the records that prove it: FILE:EVENT_RECORD_ID@OFFSET",
    "psr.offset": Integer => "the record's offset in its file, bytes",
    "psr.record_number": Integer => "the number in the record's own header",
    "psr.copies": Texts => "the same record in other inputs",
    "psr.recovered": Boolean => "true where no log holds it any more, and --recover found it in a file",
    "psr.fired_on" => "of a detection: what the rule fired on",
    "psr.matched_fields": Texts => "of a detection: the fields that matched and their values",
    "psr.auth" => "of a session: how it was authenticated",
    "psr.transport" => "of a session: what it travelled over",
    "psr.session_kind" => "of a session: powershell, winrs or other",
    "psr.confidence" => "of a session: high, medium or low",
    "psr.commands": Integer => "of a session: commands run in it",
    "psr.child_processes": Integer => "of a session: processes below its host process",
    "psr.parent_session_id" => "of a session: the session that it was started from",
}

pub(super) const SHAPES: &[Shape] = &[Shape {
    file: FILE,
    columns: COLUMNS,
    has_head: false,
    event: |row, to| event(row).line(to),
    session: |row, to| session(row).line(to),
    detection: |row, to| detection(row).line(to),
}];

fn event(row: &EventRow<'_>) -> Doc {
    let EventRow { record, event, .. } = row;
    let mut doc = Doc::default();
    doc.set("@timestamp", iso(record.time));
    doc.set("ecs.version", VERSION);
    doc.set("message", row.summary.as_str());
    doc.set("event.kind", "event");
    doc.set("event.module", "psr");
    doc.set("event.dataset", "psr.event");
    doc.set("event.code", record.event_id.to_string());
    doc.set("event.provider", &*record.provider);
    doc.set("event.action", row.kind);
    doc.set("log.level", log_level(record.level));
    doc.set("log.file.path", row.file);
    doc.set("host.name", &*record.computer);
    let mut user = User::parse(&row.user);
    if user.id.is_empty() && event.engine().is_some() {
        user.id = record.user_sid.as_deref().unwrap_or_default().to_owned();
    }
    ecs_fields::of_kind(&event.kind, &mut user, &mut doc);
    user.set(&mut doc);
    ecs_fields::powershell(record, event, &mut doc);
    winlog(record, &mut doc);
    rules(&row.rules, &mut doc);
    doc.set("tags", titles(&row.rules));
    doc.set("psr.detections", titles(&row.rules));
    doc.set("psr.level", row.level().map(|level| level.as_str()));
    if let Some((id, link)) = &row.session {
        doc.set("psr.session_id", id.as_str());
        doc.set("psr.link", link.as_str());
    }
    doc.set("psr.evidence", vec![row.pointer.as_str()]);
    doc.set("psr.offset", record.source.offset);
    doc.set("psr.record_number", record.source.number);
    doc.set("psr.copies", row.copies.all().collect::<Vec<_>>());
    doc.set("psr.recovered", row.recovered.then_some(true));
    ecs_fields::related(&mut doc);
    doc
}

fn winlog(record: &Record, doc: &mut Doc) {
    doc.set("winlog.api", "wineventlog");
    doc.set("winlog.channel", &*record.channel);
    doc.set("winlog.computer_name", &*record.computer);
    doc.set("winlog.provider_name", &*record.provider);
    doc.set("winlog.event_id", record.event_id.to_string());
    doc.set("winlog.record_id", record.record_id.to_string());
    let keywords = [(0x20_u64, "Audit Success"), (0x10, "Audit Failure"), (0x80, "Classic")];
    let keywords = keywords.iter().filter(|(bit, _)| record.keywords >> 48 & bit != 0);
    doc.set("winlog.keywords", keywords.map(|&(_, word)| word).collect::<Vec<_>>());
    doc.set("winlog.activity_id", record.activity_id.as_ref().map(|id| format!("{{{id}}}")));
    doc.set("winlog.process.pid", record.process_id);
    doc.set("winlog.process.thread.id", record.thread_id);
    doc.set("winlog.user.identifier", record.user_sid.as_deref());
    let mut data = Map::new();
    let mut unnamed = 0;
    for (name, value) in record.data.iter() {
        if name.is_empty() || name == "Data" {
            unnamed += 1;
            add(&mut data, &format!("param{unnamed}"), value.into());
        } else {
            add(&mut data, name, value.into());
        }
    }
    doc.set("winlog.event_data", Value::Object(data));
}

/// Winlogbeat's words for levels.
fn log_level(level: u8) -> &'static str {
    match level {
        1 => "critical",
        2 => "error",
        3 => "warning",
        5 => "verbose",
        _ => "information",
    }
}

fn titles(rules: &[&RuleMeta]) -> Vec<String> {
    rules.iter().map(|rule| rule.title.clone()).collect()
}

/// What the rules' tags say of ATT&CK: `attack.t1059.001`, `attack.lateral-movement`.
fn rules(rules: &[&RuleMeta], doc: &mut Doc) {
    let (mut tactics, mut techniques, mut parts) = (Vec::new(), Vec::new(), Vec::new());
    let once = |list: &mut Vec<String>, text: String| {
        if !list.contains(&text) {
            list.push(text);
        }
    };
    for tag in rules.iter().flat_map(|rule| &rule.tags) {
        let Some(name) = tag.strip_prefix("attack.") else { continue };
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let technique = name.strip_prefix(['t', 'T']).map(|id| id.split('.').collect::<Vec<_>>());
        match technique.as_deref() {
            Some([id]) if is_number(id) => once(&mut techniques, format!("T{id}")),
            Some([id, part]) if is_number(id) && is_number(part) => {
                once(&mut techniques, format!("T{id}"));
                once(&mut parts, format!("T{id}.{part}"));
            }
            // Groups and software.
            _ if name.starts_with(['g', 's']) && is_number(&name[1..]) => {}
            _ => once(&mut tactics, words(name)),
        }
    }
    if !tactics.is_empty() || !techniques.is_empty() {
        doc.set("threat.framework", "MITRE ATT&CK");
    }
    doc.set("threat.tactic.name", tactics);
    doc.set("threat.technique.id", techniques);
    doc.set("threat.technique.subtechnique.id", parts);
}

/// `lateral-movement` as ATT&CK writes it: `Lateral Movement`.
fn words(name: &str) -> String {
    let word = |word: &str| match word {
        "and" => word.to_owned(),
        _ => {
            let mut letters = word.chars();
            let first = letters.next().map(|first| first.to_ascii_uppercase());
            first.into_iter().chain(letters).collect()
        }
    };
    name.split(['-', '_']).map(word).collect::<Vec<String>>().join(" ")
}

fn session(row: &SessionRow<'_>) -> Doc {
    let session = row.session;
    let mut doc = Doc::default();
    doc.set("@timestamp", iso(session.start));
    doc.set("ecs.version", VERSION);
    doc.set("message", row.summary.as_str());
    doc.set("tags", titles(&row.rules));
    doc.set("event.kind", "event");
    doc.set("event.module", "psr");
    doc.set("event.dataset", "psr.session");
    doc.set("event.action", "remoting_session");
    doc.set("event.category", vec!["session"]);
    doc.set("event.type", vec!["info"]);
    doc.set("event.start", iso(session.start));
    doc.set("event.end", iso(session.end));
    doc.set("event.duration", (session.end - session.start).num_nanoseconds());
    doc.set("host.name", &*session.target_host);
    let mut user = User::default();
    if let Some(account) = &session.user {
        (user.name, user.domain) = (account.name.clone(), account.domain.clone());
    }
    user.id = session.user_sid.clone().unwrap_or_default();
    user.set(&mut doc);
    ecs_fields::address("source", session.source_ip.as_deref(), &mut doc);
    doc.set("source.domain", session.source_host.as_deref());
    doc.set("destination.domain", &*session.target_host);
    doc.set("process.pid", session.process_id);
    rules(&row.rules, &mut doc);
    doc.set("psr.session_id", row.id.as_str());
    doc.set("psr.detections", titles(&row.rules));
    doc.set("psr.level", row.rules.iter().map(|rule| rule.level).max().map(|l| l.as_str()));
    doc.set("psr.evidence", row.evidence.clone());
    doc.set("psr.auth", session.auth.as_str());
    doc.set("psr.transport", session.transport.as_str());
    doc.set("psr.session_kind", session.kind.as_str());
    doc.set("psr.confidence", session.confidence.as_str());
    doc.set("psr.commands", row.commands);
    doc.set("psr.child_processes", row.child_processes);
    doc.set("psr.parent_session_id", row.parent.as_deref());
    ecs_fields::related(&mut doc);
    doc
}

fn detection(row: &DetectionRow<'_>) -> Doc {
    let rule = row.rule;
    let mut doc = Doc::default();
    doc.set("@timestamp", iso(row.time));
    doc.set("ecs.version", VERSION);
    doc.set("message", rule.title.as_str());
    doc.set("tags", rule.tags.clone());
    doc.set("event.kind", "alert");
    doc.set("event.module", "psr");
    doc.set("event.dataset", "psr.detection");
    doc.set("event.severity", severity(rule.level));
    doc.set("host.name", row.host);
    User::parse(row.user).set(&mut doc);
    doc.set("rule.id", rule.id.as_str());
    doc.set("rule.name", rule.title.as_str());
    doc.set("rule.ruleset", rule.pack.as_str());
    rules(&[rule], &mut doc);
    doc.set("psr.session_id", row.session.as_deref());
    doc.set("psr.level", rule.level.as_str());
    doc.set("psr.fired_on", row.fired_on);
    doc.set("psr.matched_fields", row.matched.clone());
    doc.set("psr.evidence", row.evidence.clone());
    ecs_fields::related(&mut doc);
    doc
}

/// The numbers that Elastic's own rules have for their levels.
fn severity(level: Level) -> u8 {
    match level {
        Level::Critical => 99,
        Level::High => 73,
        Level::Medium => 47,
        Level::Low => 21,
        Level::Informational => 1,
    }
}
