//! `evtxecmd.csv`: every event in the columns of EvtxECmd's CSV, which Timeline Explorer knows.
//!
//! The columns and their order are those of EvtxECmd 2026.5 (github.com/EricZimmerman/evtx), whose
//! maps fill `PayloadData1` to `PayloadData6` as they like; what this program found stands there.

use serde_json::{Map, Value, json};

use super::super::cell::push;
use super::doc::escaped;
use super::rows::EventRow;
use super::shape::Shape;
use crate::model::{EventKind, Fields, csv_time};
use crate::table::MOST_IN_CELL;
use crate::table::columns;

/// The file's name.
const FILE: &str = "evtxecmd.csv";

columns! { COLUMNS:
    "RecordNumber": Integer => "the number in the record's own header, which exported logs renumber",
    "EventRecordId": Integer => "System/EventRecordID, as Event Viewer shows it",
    "TimeCreated": Time => "when it was logged: UTC, yyyy-MM-dd HH:mm:ss.fffffff",
    "EventId": Integer => "System/EventID",
    "Level" => "System/Level in words: LogAlways, Critical, Error, Warning, Info, Verbose",
    "Provider" => "System/Provider Name",
    "Channel" => "System/Channel",
    "ProcessId": Integer => "System/Execution ProcessID",
    "ThreadId": Integer => "System/Execution ThreadID",
    "Computer" => "System/Computer",
    "ChunkNumber": Integer => "the chunk of the file that it lies in, from 0; empty for texts",
    "UserId" => "System/Security UserID, a SID",
    "MapDescription" => "what it is, in this program's words: `kind` of timeline.csv",
    "UserName" => "the account it concerns, as logged, or the record's SID",
    "RemoteHost" => "where it came from: NAME (ADDRESS)",
    "PayloadData1" => "what it says, on one line",
    "PayloadData2" => "Session: the session it belongs to, and why",
    "PayloadData3" => "Detections: titles of the rules that fired on it or on what was rebuilt from it",
    "PayloadData4" => "Level: the highest level of those rules",
    "PayloadData5" => "Evidence: where the record lies, FILE:EVENT_RECORD_ID@OFFSET",
    "PayloadData6" => "Copies: the same record in other inputs",
    "ExecutableInfo" => "the process's command line, or its image where that was not logged; of an engine its HostApplication",
    "HiddenRecord": Boolean => "True for what no log lists any more, and --recover found",
    "SourceFile" => "the file it was read from",
    "Keywords" => "Audit success, Audit failure, Classic, or the number",
    "ExtraDataOffset": Integer => "0: what lies behind a record's XML is not looked at",
    "Payload" => "the record's data as JSON, in log order; long values are cut so that it fits a cell",
}

pub(super) const SHAPES: &[Shape] = &[Shape {
    file: FILE,
    columns: COLUMNS,
    has_head: true,
    event,
    session: |_, _| {},
    detection: |_, _| {},
}];

fn event(row: &EventRow<'_>, to: &mut String) {
    let EventRow { record, event, .. } = row;
    let number = |number: Option<u32>| number.map(|id| id.to_string()).unwrap_or_default();
    let named = |name: &str, text: String| match text.is_empty() {
        true => text,
        false => format!("{name}: {text}"),
    };
    let titles: Vec<&str> = row.rules.iter().map(|rule| rule.title.as_str()).collect();
    let session = row.session.as_ref().map(|(id, link)| format!("{id} ({})", link.as_str()));
    let cells = [
        record.source.number.to_string(),
        record.record_id.to_string(),
        csv_time(record.time),
        record.event_id.to_string(),
        level(record.level),
        record.provider.to_string(),
        record.channel.to_string(),
        number(record.process_id),
        number(record.thread_id),
        record.computer.to_string(),
        row.chunk.map(|chunk| chunk.to_string()).unwrap_or_default(),
        record.user_sid.as_deref().unwrap_or_default().to_owned(),
        row.kind.to_owned(),
        row.user.clone(),
        remote(&event.kind),
        row.summary.clone(),
        named("Session", session.unwrap_or_default()),
        named("Detections", titles.join("; ")),
        named("Level", row.level().map(|level| level.to_string()).unwrap_or_default()),
        named("Evidence", row.pointer.clone()),
        named("Copies", row.copies.in_cell().collect::<Vec<_>>().join("; ")),
        executable(&event.kind),
        if row.recovered { "True" } else { "False" }.to_owned(),
        row.file.to_owned(),
        keywords(record.keywords),
        "0".to_owned(),
        payload(&record.data),
    ];
    for (index, cell) in cells.iter().enumerate() {
        if index > 0 {
            to.push(',');
        }
        push(to, cell);
    }
    to.push('\n');
}

/// EvtxECmd's words for levels.
fn level(level: u8) -> String {
    match level {
        0 => "LogAlways".to_owned(),
        1 => "Critical".to_owned(),
        2 => "Error".to_owned(),
        3 => "Warning".to_owned(),
        4 => "Info".to_owned(),
        5 => "Verbose".to_owned(),
        other => format!("Level {other}"),
    }
}

/// The keywords that logs of interest have, as EvtxECmd words them.
fn keywords(keywords: u64) -> String {
    /// What channels and classic logs set besides, winmeta.xml.
    const RESERVED: u64 = 0x00ff_0000_0000_0000;
    match (keywords & RESERVED) >> 48 {
        bits if bits & 0x20 != 0 => "Audit success".to_owned(),
        bits if bits & 0x10 != 0 => "Audit failure".to_owned(),
        bits if bits & 0x80 != 0 => "Classic".to_owned(),
        _ if keywords == 0 => String::new(),
        _ => format!("{keywords:#x}"),
    }
}

/// Where an event came from, by name and address.
fn remote(kind: &EventKind) -> String {
    let of = |host: Option<&str>, ip: Option<&str>| match (host.unwrap_or_default(), ip) {
        (host, None | Some("")) => host.to_owned(),
        ("", Some(ip)) => ip.to_owned(),
        (host, Some(ip)) => format!("{host} ({ip})"),
    };
    match kind {
        EventKind::Logon(logon) | EventKind::LogonFailed(logon) => {
            of(logon.workstation.as_deref(), logon.ip.as_deref())
        }
        EventKind::ShellCreated(shell) => of(None, shell.client_ip.as_deref()),
        EventKind::KerberosTicket(ticket) => of(None, ticket.ip.as_deref()),
        EventKind::NtlmValidation(check) => of(check.workstation.as_deref(), None),
        EventKind::Connection(connection) => {
            of(Some(&connection.source_host), Some(&connection.source_ip))
        }
        EventKind::SshAccepted(caller) => of(None, Some(&caller.ip)),
        EventKind::ClientSession(session) => of(Some(&session.target), None),
        EventKind::ExplicitCredentials(used) => of(Some(&used.target), None),
        _ => String::new(),
    }
}

fn executable(kind: &EventKind) -> String {
    match kind {
        EventKind::ProcessStart(start) if !start.command_line.is_empty() => {
            start.command_line.clone()
        }
        EventKind::ProcessStart(start) => start.image.clone(),
        EventKind::ProcessExit(exit) => exit.image.clone(),
        EventKind::Connection(connection) => connection.image.clone(),
        EventKind::ExplicitCredentials(used) => used.process_name.clone(),
        EventKind::Engine(engine) => engine.context.host_application.clone(),
        EventKind::Pipeline(pipeline) => pipeline.context.host_application.clone(),
        EventKind::Command(command)
        | EventKind::CommandError(command)
        | EventKind::CommandLifecycle(command) => command.context.host_application.clone(),
        _ => String::new(),
    }
}

/// A record's data as EvtxECmd's JSON has it. It stays JSON in a cell: values are cut, not the
/// whole, and characters that a cell would show otherwise are escaped.
fn payload(data: &Fields) -> String {
    let mut longest = MOST_IN_CELL;
    loop {
        let fields: Vec<Value> =
            data.iter().map(|(name, value)| field(name, value, longest)).collect();
        let json = json!({ "EventData": { "Data": fields } }).to_string();
        let json = escaped(&json);
        if json.len() <= MOST_IN_CELL {
            return json.into_owned();
        }
        if longest < 32 {
            return json!({ "EventData": "too many fields for a cell" }).to_string();
        }
        longest /= 2;
    }
}

fn field(name: &str, value: &str, longest: usize) -> Value {
    let cut = |text: &str| match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}… (cut: the record holds the rest)", &text[..end]),
        None => text.to_owned(),
    };
    // The classic logs' strings have no names.
    if name == "Data" || name.is_empty() {
        return Value::String(cut(value));
    }
    let mut field = Map::new();
    field.insert("@Name".to_owned(), cut(name).into());
    field.insert("#text".to_owned(), cut(value).into());
    Value::Object(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_that_of_evtxecmd() {
        // The first line of a file that EvtxECmd 2026.5 wrote, without its byte order mark.
        let published = "RecordNumber,EventRecordId,TimeCreated,EventId,Level,Provider,Channel,\
            ProcessId,ThreadId,Computer,ChunkNumber,UserId,MapDescription,UserName,RemoteHost,\
            PayloadData1,PayloadData2,PayloadData3,PayloadData4,PayloadData5,PayloadData6,\
            ExecutableInfo,HiddenRecord,SourceFile,Keywords,ExtraDataOffset,Payload";
        let names: Vec<&str> = COLUMNS.iter().map(|column| column.name).collect();
        assert_eq!(names.join(","), published);
    }

    #[test]
    fn payload_stays_json_in_a_cell() {
        let mut data = Fields::default();
        data.push("ScriptBlockText", &"\u{202e}\"=\u{1b}[2J\n".repeat(1 << 17));
        data.push("Data", "unnamed");
        data.push("ScriptBlockId", "42");
        let text = payload(&data);
        assert!(text.len() <= MOST_IN_CELL, "{}", text.len());
        assert_eq!(super::super::super::cell::cell(&text), text, "a cell shows it as it is");
        let json: Value = serde_json::from_str(&text).unwrap();
        let fields = json["EventData"]["Data"].as_array().unwrap();
        assert!(fields[0]["#text"].as_str().unwrap().starts_with("\u{202e}\"=\u{1b}[2J\n"));
        assert_eq!(fields[1], "unnamed");
        assert_eq!(fields[2], json!({"@Name": "ScriptBlockId", "#text": "42"}));
        let mut many = Fields::default();
        for _ in 0..1 << 16 {
            many.push("", "");
        }
        assert!(serde_json::from_str::<Value>(&payload(&many)).is_ok());
    }

    #[test]
    fn keywords_are_words() {
        assert_eq!(keywords(0x8020_0000_0000_0000), "Audit success");
        assert_eq!(keywords(0x8010_0000_0000_0000), "Audit failure");
        assert_eq!(keywords(0x0080_0000_0000_0000), "Classic");
        assert_eq!(keywords(0x4000_0000_0000_0004), "0x4000000000000004");
        assert_eq!(keywords(0), "");
    }
}
