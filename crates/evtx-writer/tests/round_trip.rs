//! What is written comes back through the `evtx` crate, with its checksum tests switched on.

use evtx::{EvtxParser, ParserSettings};
use evtx_writer::{Error, EvtxEvent, EvtxGuid, EvtxValue, FileTime, LogWriter, Payload, Sid};
use serde_json::{Value as Json, json};

/// Each record as (number in its header, JSON).
fn read(bytes: Vec<u8>) -> Vec<(u64, Json)> {
    let settings = ParserSettings::new().validate_checksums(true).num_threads(1);
    EvtxParser::from_buffer(bytes)
        .unwrap()
        .with_configuration(settings)
        .records_json_value()
        .map(|record| record.map(|record| (record.event_record_id, record.data)).unwrap())
        .collect()
}

fn read_one(event: &EvtxEvent) -> Json {
    let mut log = LogWriter::new();
    log.push(event).unwrap();
    let mut records = read(log.finish());
    assert_eq!(records.len(), 1);
    records.remove(0).1["Event"].take()
}

fn event(record_id: u64, payload: Payload) -> EvtxEvent {
    EvtxEvent {
        provider: "Microsoft-Windows-WinRM".into(),
        provider_guid: Some(EvtxGuid::from_u128(0xa7975c8f_ac13_49f1_87da_5a984a4ab417)),
        event_id: 91,
        version: 1,
        level: 4,
        task: 9,
        opcode: 2,
        keywords: 0x4000000000000004,
        time: FileTime::from_unix(1_773_522_847, 1_234_567),
        record_id,
        process_id: 952,
        thread_id: 960,
        channel: "Microsoft-Windows-WinRM/Operational".into(),
        computer: "SRV02.corp.example".into(),
        payload,
        ..EvtxEvent::default()
    }
}

fn text(length: usize) -> Payload {
    Payload::EventData(vec![("text".into(), "x".repeat(length).into())])
}

#[test]
fn system_with_all_fields() {
    let json = read_one(&EvtxEvent {
        event_source: Some("WinRM".into()),
        qualifiers: Some(16384),
        activity_id: Some(EvtxGuid::from_u128(0xae1a2cab_0b85_0000_ac2f_1aae850bd501)),
        user_sid: Some(Sid::nt([21, 738609754, 2819869699, 4189121830, 500])),
        ..event(508, Payload::default())
    });
    assert_eq!(
        json["System"],
        json!({
            "Provider": {"#attributes": {
                "Name": "Microsoft-Windows-WinRM",
                "Guid": "{a7975c8f-ac13-49f1-87da-5a984a4ab417}",
                "EventSourceName": "WinRM",
            }},
            "EventID": {"#attributes": {"Qualifiers": 16384}, "#text": 91},
            "Version": 1,
            "Level": 4,
            "Task": 9,
            "Opcode": 2,
            "Keywords": "0x4000000000000004",
            "TimeCreated": {"#attributes": {"SystemTime": "2026-03-14T21:14:07.1234567Z"}},
            "EventRecordID": 508,
            "Correlation": {"#attributes": {"ActivityID": "{ae1a2cab-0b85-0000-ac2f-1aae850bd501}"}},
            "Execution": {"#attributes": {"ProcessID": 952, "ThreadID": 960}},
            "Channel": "Microsoft-Windows-WinRM/Operational",
            "Computer": "SRV02.corp.example",
            "Security": {"#attributes": {"UserID": "S-1-5-21-738609754-2819869699-4189121830-500"}},
        })
    );
    assert_eq!(json["EventData"], Json::Null);
}

#[test]
fn system_without_the_optional_fields() {
    let json = read_one(&EvtxEvent { provider_guid: None, ..event(1, Payload::default()) });
    let system = &json["System"];
    assert_eq!(system["Provider"], json!({"#attributes": {"Name": "Microsoft-Windows-WinRM"}}));
    assert_eq!(system["EventID"], 91);
    assert_eq!(system["Correlation"], Json::Null);
    assert_eq!(system["Security"], Json::Null);
}

#[test]
fn every_type_of_value() {
    let cases: Vec<(EvtxValue, Json)> = vec![
        ("Grüße, 世界 🙂 <&>\r\n".into(), json!("Grüße, 世界 🙂 <&>\r\n")),
        (String::new().into(), json!("")),
        (EvtxValue::Null, json!("")),
        (EvtxValue::Int8(-1), json!(-1)),
        (EvtxValue::UInt8(255), json!(255)),
        (EvtxValue::Int16(-300), json!(-300)),
        (EvtxValue::UInt16(65535), json!(65535)),
        (EvtxValue::Int32(i32::MIN), json!(i32::MIN)),
        (EvtxValue::UInt32(u32::MAX), json!(u32::MAX)),
        (EvtxValue::Int64(i64::MIN), json!(i64::MIN)),
        (EvtxValue::UInt64(u64::MAX), json!(u64::MAX)),
        (EvtxValue::Bool(true), json!(true)),
        (EvtxValue::Bool(false), json!(false)),
        (vec![0xde, 0xad].into(), json!("DEAD")),
        (EvtxGuid::from_u128(1).into(), json!("{00000000-0000-0000-0000-000000000001}")),
        (FileTime::from_unix(0, 1).into(), json!("1970-01-01T00:00:00.0000001Z")),
        (Sid::nt([18]).into(), json!("S-1-5-18")),
        (Sid::new(0, [0]).into(), json!("S-1-0-0")),
        (EvtxValue::HexInt32(0x3e7), json!("0x3e7")),
        (EvtxValue::HexInt64(0x8020000000000000), json!("0x8020000000000000")),
    ];
    let fields = (0..).zip(&cases).map(|(i, (value, _))| (format!("f{i}"), value.clone()));
    let json = read_one(&event(1, Payload::EventData(fields.collect())));
    for (i, (value, expected)) in cases.iter().enumerate() {
        assert_eq!(json["EventData"][format!("f{i}")], *expected, "{value:?}");
    }
}

#[test]
fn unnamed_strings() {
    let strings = vec!["Available".into(), "None".into(), "\tHostName=ServerRemoteHost".into()];
    let json = read_one(&event(1, Payload::Strings(strings)));
    assert_eq!(
        json["EventData"]["Data"]["#text"],
        json!(["Available", "None", "\tHostName=ServerRemoteHost"])
    );
}

#[test]
fn user_data() {
    let json = read_one(&event(
        1,
        Payload::UserData {
            element: "LogFileCleared".into(),
            namespace: "http://manifests.microsoft.com/win/2004/08/windows/eventlog".into(),
            fields: vec![("SubjectUserName".into(), "adm.lee".into())],
        },
    ));
    let cleared = &json["UserData"]["LogFileCleared"];
    assert_eq!(cleared["SubjectUserName"], "adm.lee");
    assert_eq!(
        cleared["#attributes"]["xmlns"],
        "http://manifests.microsoft.com/win/2004/08/windows/eventlog"
    );
}

#[test]
fn processing_error() {
    let json = read_one(&event(
        1,
        Payload::ProcessingError { code: 15005, item: "shellId".into(), data: vec![0x68, 0] },
    ));
    assert_eq!(
        json["ProcessingErrorData"],
        json!({"ErrorCode": 15005, "DataItemName": "shellId", "EventPayload": "6800"})
    );
}

#[test]
fn many_chunks() {
    let mut log = LogWriter::new();
    for id in 1..=5000 {
        let mut event = event(id, Payload::EventData(vec![("id".into(), id.into())]));
        event.channel = format!("Channel {}", id % 7);
        log.push(&event).unwrap();
    }
    let bytes = log.finish();
    assert_eq!(bytes.len() % 65536, 4096);
    let chunks = bytes.len() / 65536;
    assert!(chunks > 10);
    assert_eq!(bytes[42..44], (chunks as u16).to_le_bytes());
    let records = read(bytes);
    assert_eq!(records.len(), 5000);
    for (id, (number, json)) in (1..).zip(&records) {
        assert_eq!(*number, id);
        assert_eq!(json["Event"]["EventData"]["id"], id);
        assert_eq!(json["Event"]["System"]["Channel"], format!("Channel {}", id % 7));
    }
}

#[test]
fn an_export_numbers_its_records_anew() {
    let mut log = LogWriter::numbered_from(1);
    for id in [48210, 48215] {
        log.push(&event(id, Payload::default())).unwrap();
    }
    let bytes = log.finish();
    assert_eq!(bytes[24..32], 3u64.to_le_bytes());
    let numbers = read(bytes)
        .into_iter()
        .map(|(number, json)| (number, json["Event"]["System"]["EventRecordID"].as_u64()));
    assert_eq!(numbers.collect::<Vec<_>>(), [(1, Some(48210)), (2, Some(48215))]);
}

#[test]
fn the_largest_record_and_one_character_more() {
    let fits = |length| LogWriter::new().push(&event(1, text(length))).is_ok();
    let largest = (0..40_000).collect::<Vec<_>>().partition_point(|&length| fits(length)) - 1;
    assert!(largest > 31_000, "{largest}");

    let mut log = LogWriter::new();
    log.push(&event(1, text(10))).unwrap();
    log.push(&event(2, text(largest))).unwrap();
    let error = log.push(&event(3, text(largest + 1))).unwrap_err();
    assert_eq!(error, Error::RecordTooLarge { record_id: 3 });
    log.push(&event(4, text(200_000))).unwrap_err();
    log.push(&event(5, text(10))).unwrap();

    let records = read(log.finish());
    let lengths = records.iter().map(|(number, json)| {
        (*number, json["Event"]["EventData"]["text"].as_str().unwrap().len())
    });
    assert_eq!(lengths.collect::<Vec<_>>(), [(1, 10), (2, largest), (5, 10)]);
}

#[test]
fn too_many_fields_and_too_long_names_are_too_large() {
    let fields = (0..70_000).map(|i| (i.to_string(), EvtxValue::Null)).collect();
    let mut log = LogWriter::new();
    log.push(&event(1, Payload::EventData(fields))).unwrap_err();
    log.push(&EvtxEvent { computer: "c".repeat(70_000), ..event(1, text(1)) }).unwrap_err();
    assert_eq!(read(log.finish()), []);
}

#[test]
fn same_events_same_bytes() {
    let write = || {
        let mut log = LogWriter::new();
        for id in 0..500 {
            log.push(&event(id, text(id as usize))).unwrap();
        }
        log.finish()
    };
    assert_eq!(write(), write());
}
