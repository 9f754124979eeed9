//! Each shape after its tool's documentation, and what is wrong with texts.

use super::*;
use crate::decode::tests::All;
use crate::input::{PlaceReader, discover};
use crate::model::{Channel, RecordRef, csv_time};

/// The records of one text file's first value on, and what came of the rest.
fn decode(content: &[u8]) -> (Vec<Record>, DecodeOutcome) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    std::fs::write(&path, content).unwrap();
    let input = &discover(&[path]).unwrap()[0];
    let mut piece = Piece::default();
    let mut records: Vec<Record> = Vec::new();
    crate::input::InputReader::new(input).next(&mut piece).unwrap();
    let mut decoder = TextDecoder::default();
    let outcome = decoder.decode_piece(input.kind, InputIdx::new(7), &piece, &All, |record| {
        records.push(record.clone())
    });
    // Each is found again by its place.
    for record in &records {
        let mut found = Vec::new();
        PlaceReader::default()
            .read(InputIdx::new(7), input, record.source.offset, &mut piece)
            .unwrap();
        decoder.decode_piece(input.kind, InputIdx::new(7), &piece, &All, |record| {
            found.push(record.clone())
        });
        assert_eq!(&found, std::slice::from_ref(record));
    }
    (records, outcome)
}

fn one(text: &str) -> Record {
    let (mut records, outcome) = decode(text.as_bytes());
    assert!(outcome.faults.is_empty() && outcome.foreign.is_empty(), "{outcome:?}");
    assert_eq!(records.len(), 1);
    records.remove(0)
}

fn data(record: &Record) -> Vec<(&str, &str)> {
    record.data.iter().collect()
}

#[test]
fn evtx_dump_in_lines_and_with_numbers() {
    let record = r##"{"Event":{"System":{"Provider":{"#attributes":{"Name":"x"}},"EventID":1,
        "TimeCreated":{"#attributes":{"SystemTime":"2026-03-14T21:14:07.1234567Z"}},
        "EventRecordID":42},"EventData":{"a":"b"}}}"##;
    let line = record.replace('\n', " ");
    for text in [format!("{line}\n{line}\n"), format!("Record 41\n{record}\nRecord 42\n{record}\n")]
    {
        let (records, outcome) = decode(text.as_bytes());
        assert_eq!((records.len(), outcome.faults.len(), outcome.foreign.len()), (2, 0, 0));
        let offset = text.find('{').unwrap() as u64;
        assert_eq!(records[0].source, RecordRef { input: InputIdx::new(7), offset, number: 42 });
        assert_eq!(csv_time(records[0].time), "2026-03-14 21:14:07.1234567");
        assert_eq!(data(&records[1]), [("a", "b")]);
    }
}

#[test]
fn nxlog_with_utc_from_its_times_of_collection() {
    let record = one(
        r#"{"EventTime":"2020-08-06 11:56:24","EventReceivedTime":"2020-08-06 17:41:26",
        "@timestamp":"2020-08-06T21:41:27.553Z","Hostname":"W6.x","Channel":"Security","EventID":4624,
        "SourceName":"Microsoft-Windows-Security-Auditing","RecordNumber":9,"ExecutionProcessID":600,
        "ThreadID":4,"EventType":"AUDIT_SUCCESS","ActivityID":"{D6B4D9AE-66AF-442A-82A6-10689D702F3D}",
        "Message":"An account","TargetUserName":"u","ProcessId":"0x258","Domain":"D","UserID":"S-1-5-18"}"#,
    );
    // Four hours behind UTC; that it was collected hours later does not count.
    assert_eq!(csv_time(record.time), "2020-08-06 15:56:24.0000000");
    assert_eq!(record.known_channel, Channel::Security);
    assert_eq!((record.event_id, record.record_id, record.source.number), (4624, 9, 9));
    assert_eq!((record.process_id, record.thread_id), (Some(600), Some(4)));
    assert_eq!((&*record.computer, record.level), ("W6.x", 0));
    assert_eq!(record.user_sid.as_deref(), Some("S-1-5-18"));
    assert_eq!(
        record.activity_id.as_ref().map(ToString::to_string).as_deref(),
        Some("d6b4d9ae-66af-442a-82a6-10689d702f3d")
    );
    assert_eq!(data(&record), [("TargetUserName", "u"), ("ProcessId", "0x258")]);
}

#[test]
fn nxlog_of_sysmon_and_of_the_classic_log() {
    let record =
        one(r#"{"EventTime":"2020-08-06 11:56:24","@timestamp":"2020-08-06T15:56:27.553Z",
        "Channel":"Microsoft-Windows-Sysmon/Operational","EventID":13,"EventType":"SetValue",
        "EventTypeOrignal":"INFO","UtcTime":"2020-08-06 15:56:24.866","SourceName":"x"}"#);
    assert_eq!(csv_time(record.time), "2020-08-06 15:56:24.8660000");
    assert_eq!(record.level, 4);
    assert_eq!(data(&record), [("EventType", "SetValue"), ("UtcTime", "2020-08-06 15:56:24.866")]);
    let record = one(
        r#"{"EventTime":"2020-08-06T15:56:24.5+05:30","Channel":"Windows PowerShell","EventID":403,
        "SourceName":"PowerShell","Message":"Engine state is changed from Available to Stopped. \r\n\r\nDetails: \r\n\tNewEngineState=Stopped\r\n\tPreviousEngineState=Available\r\n\r\n\tHostName=x"}"#,
    );
    assert_eq!(csv_time(record.time), "2020-08-06 10:26:24.5000000");
    let details = "\tNewEngineState=Stopped\r\n\tPreviousEngineState=Available\r\n\r\n\tHostName=x";
    assert_eq!(data(&record), [("Data", "Stopped"), ("Data", "Available"), ("Data", details)]);
}

#[test]
fn winlogbeat_nested_with_dots_and_from_elasticsearch() {
    let nested = r#"{"@timestamp":"2026-03-14T21:14:07.123Z","event":{"code":"4104","created":"2026-03-14T21:15:00Z"},
        "log":{"level":"warning"},"message":"Creating","winlog":{"channel":"Microsoft-Windows-PowerShell/Operational",
        "computer_name":"SRV02","event_id":"4104","record_id":77,"provider_name":"Microsoft-Windows-PowerShell",
        "process":{"pid":12,"thread":{"id":34}},"user":{"identifier":"S-1-5-18","name":"SYSTEM"},
        "activity_id":"{AB}","event_data":{"ScriptBlockText":"a","MessageNumber":"1"}}}"#;
    let dotted = r#"{"_index":"x","_source":{"@timestamp":["2026-03-14T21:14:07.123Z"],"event.code":4104,
        "log.level":"warning","winlog.channel":["Microsoft-Windows-PowerShell/Operational"],
        "winlog.computer_name":"SRV02","winlog.record_id":"77","winlog.provider_name":"Microsoft-Windows-PowerShell",
        "winlog.process.pid":12,"winlog.process":{"thread.id":34},"winlog.user.identifier":"S-1-5-18",
        "winlog.activity_id":"{AB}","winlog.event_data.ScriptBlockText":"a",
        "winlog":{"event_data":{"MessageNumber":1}}}}"#;
    for text in [nested, dotted] {
        let record = one(text);
        assert_eq!(csv_time(record.time), "2026-03-14 21:14:07.1230000");
        assert_eq!((record.event_id, record.record_id, record.level), (4104, 77, 3));
        assert_eq!((record.process_id, record.thread_id), (Some(12), Some(34)));
        assert_eq!(
            (&*record.computer, &*record.provider),
            ("SRV02", "Microsoft-Windows-PowerShell")
        );
        assert_eq!(record.user_sid.as_deref(), Some("S-1-5-18"));
        assert_eq!(record.activity_id.as_ref().map(ToString::to_string).as_deref(), Some("ab"));
        assert_eq!(data(&record), [("ScriptBlockText", "a"), ("MessageNumber", "1")]);
    }
}

#[test]
fn winlogbeat_user_data_unnamed_strings_and_version_6() {
    let record = one(
        r#"{"@timestamp":"2026-03-14T21:14:07Z","winlog":{"channel":"Security","event_id":1102,
        "user_data":{"SubjectUserName":"a","xml_name":"LogFileCleared"}}}"#,
    );
    assert_eq!(data(&record), [("SubjectUserName", "a")]);
    let record = one(
        r#"{"@timestamp":"2026-03-14T21:14:07Z","log_name":"Windows PowerShell","event_id":800,
        "computer_name":"H","record_number":"5","source_name":"PowerShell","level":"Information",
        "event_data":{"param1":"line","param2":"context","param3":"details"}}"#,
    );
    assert_eq!((record.record_id, record.level, &*record.computer), (5, 4, "H"));
    assert_eq!(data(&record), [("Data", "line"), ("Data", "context"), ("Data", "details")]);
}

#[test]
fn hayabusa_with_abbreviated_channels_and_its_times() {
    let text = r#"{"Timestamp":"2026-03-14 23:14:07.123 +02:00","RuleTitle":"t","Level":"high",
        "Computer":"SRV02","Channel":"PwSh","EventID":4104,"RecordID":77,
        "Details":{"ScriptBlock":"a"},"ExtraFieldInfo":{"MessageNumber":1}}"#;
    let record = one(text);
    assert_eq!(csv_time(record.time), "2026-03-14 21:14:07.1230000");
    assert_eq!(record.known_channel, Channel::PowerShell);
    assert_eq!((record.event_id, record.record_id, &*record.computer), (4104, 77, "SRV02"));
    assert_eq!(data(&record), [("ScriptBlock", "a"), ("MessageNumber", "1")]);
    let all = text
        .replace(r#""Details":{"ScriptBlock":"a"}"#, r#""AllFieldInfo":{"ScriptBlockText":"a"}"#);
    assert_eq!(data(&one(&all)), [("ScriptBlockText", "a")]);
}

const RECORD: &str = r#"{"EventID":1,"EventTime":"2026-03-14 21:14:07","a":"b"}"#;

#[test]
fn what_is_no_record_is_located() {
    let deep = format!("{}1{}", r#"{"a":"#.repeat(1000), "}".repeat(1000));
    let (records, outcome) =
        decode(format!("{RECORD}\n{{\"a\":1}}\nnull\n{deep}\n{RECORD}\n{{\"a\"").as_bytes());
    assert_eq!((records.len(), outcome.records), (2, 2));
    let length = RECORD.len() as u64;
    let offsets = |faults: &[Fault]| faults.iter().filter_map(|f| f.offset).collect::<Vec<_>>();
    assert_eq!(offsets(&outcome.foreign), [length + 1, length + 8]);
    let deep_at = length + 1 + 8 + 5;
    let end = deep_at + deep.len() as u64 + 1 + length + 1;
    assert_eq!(offsets(&outcome.faults), [deep_at, end]);
}

#[test]
fn bytes_that_are_no_text_cost_no_record() {
    let bytes = RECORD.replace("\"b\"", "\"?\"").into_bytes();
    let bytes: Vec<u8> = bytes.iter().map(|&byte| if byte == b'?' { 0xff } else { byte }).collect();
    let (records, outcome) = decode(&bytes);
    assert_eq!(data(&records[0]), [("a", "\u{fffd}")]);
    assert_eq!((outcome.faults.len(), outcome.faults[0].kind), (1, FaultKind::Suspect));
}

#[test]
fn faults_are_listed_up_to_a_number_and_then_counted() {
    let (records, outcome) = decode(format!("{RECORD}\n{}", "{\"a\":1}\n".repeat(5000)).as_bytes());
    assert_eq!((records.len(), outcome.foreign.len()), (1, MAX_FAULTS));
    assert!(outcome.foreign[MAX_FAULTS - 1].reason.contains("and 4900 more"));
}
