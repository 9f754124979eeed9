//! A record as JSON lines have it: what evtx_dump makes of a log, and what NXLog ships.

use evtx_writer::{EvtxEvent, EvtxValue, Payload};
use serde_json::{Map, Number, Value as Json, json};

use crate::clock::{Ticks, seconds, utc};

/// How a record is spelled in a line of JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonLineFormat {
    /// As evtx_dump 0.15 does, `-o jsonl`: the XML's elements, a file a log.
    EvtxDump,
    /// As NXLog's im_msvistalog ships them to a collector: flat, all hosts in one file, times in
    /// whole seconds of the host's own zone.
    NxLog,
}

/// How far east of UTC the machines' zone is: the captures that the shape is read off are of one
/// four hours west.
const ZONE: Ticks = seconds(4 * 3600);

pub(crate) fn evtx_dump(event: &EvtxEvent) -> Json {
    let mut provider = Map::new();
    provider.insert("Name".into(), event.provider.as_str().into());
    if let Some(guid) = event.provider_guid {
        provider.insert("Guid".into(), format!("{{{guid}}}").into());
    }
    if let Some(source) = &event.event_source {
        provider.insert("EventSourceName".into(), source.as_str().into());
    }
    let attributes = |attributes: Json| json!({ "#attributes": attributes });
    let optional = |value: Option<Json>| value.map_or(Json::Null, attributes);
    let event_id = match event.qualifiers {
        Some(qualifiers) => json!({
            "#attributes": { "Qualifiers": qualifiers },
            "#text": event.event_id,
        }),
        None => event.event_id.into(),
    };
    let activity = event.activity_id.map(|id| json!({ "ActivityID": format!("{{{id}}}") }));
    let user = event.user_sid.map(|sid| json!({ "UserID": sid.to_string() }));
    let time = utc(event.time.0).format("%Y-%m-%dT%H:%M:%S");
    let ticks = event.time.0 % seconds(1);
    let system = json!({
        "Provider": attributes(provider.into()),
        "EventID": event_id,
        "Version": event.version,
        "Level": event.level,
        "Task": event.task,
        "Opcode": event.opcode,
        "Keywords": format!("{:#x}", event.keywords),
        "TimeCreated": attributes(json!({ "SystemTime": format!("{time}.{ticks:07}Z") })),
        "EventRecordID": event.record_id,
        "Correlation": optional(activity),
        "Execution": attributes(json!({
            "ProcessID": event.process_id,
            "ThreadID": event.thread_id,
        })),
        "Channel": event.channel,
        "Computer": event.computer,
        "Security": optional(user),
    });
    let (name, payload) = match &event.payload {
        Payload::EventData(fields) if fields.is_empty() => ("EventData", Json::Null),
        Payload::EventData(fields) => ("EventData", members(fields).into()),
        Payload::Strings(strings) => ("EventData", json!({ "Data": { "#text": strings } })),
        Payload::UserData { element, namespace, fields } => {
            let mut inner = members(fields);
            inner.insert("#attributes".into(), json!({ "xmlns": namespace }));
            ("UserData", json!({ element: inner }))
        }
        Payload::ProcessingError { code, item, data } => (
            "ProcessingErrorData",
            json!({ "ErrorCode": code, "DataItemName": item, "EventPayload": hex(data) }),
        ),
    };
    json!({
        "Event": {
            "#attributes": { "xmlns": "http://schemas.microsoft.com/win/2004/08/events/event" },
            "System": system,
            name: payload,
        }
    })
}

/// A line of NXLog's. What it makes of ProcessingErrorData the captures do not show: here such a
/// record comes without data.
pub(crate) fn nxlog(event: &EvtxEvent) -> Json {
    let received = utc(event.time.0 + seconds(1)).format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
    let failure = event.keywords & 0x10_0000_0000_0000 != 0;
    let kind = match (event.channel.as_str(), event.level) {
        ("Security", _) if failure => "AUDIT_FAILURE",
        ("Security", _) => "AUDIT_SUCCESS",
        (_, 2) => "ERROR",
        (_, 3) => "WARNING",
        _ => "INFO",
    };
    let mut line = Map::new();
    if let Payload::EventData(fields) | Payload::UserData { fields, .. } = &event.payload {
        line.extend(fields.iter().map(|(name, value)| (name.clone(), text(value).into())));
    }
    let own = json!({
        "@timestamp": received,
        "EventTime": utc(event.time.0 - ZONE).format("%Y-%m-%d %H:%M:%S").to_string(),
        "Hostname": event.computer,
        "Channel": event.channel,
        "SourceName": event.provider,
        "EventID": event.event_id,
        "RecordNumber": event.record_id,
        "EventType": kind,
        "Version": event.version,
        "Task": event.task,
        "OpcodeValue": event.opcode,
        "Keywords": event.keywords as i64,
        "ExecutionProcessID": event.process_id,
        "ThreadID": event.thread_id,
        "Message": message(event),
    });
    if let Json::Object(own) = own {
        line.extend(own);
    }
    if let Some(guid) = event.provider_guid {
        line.insert("ProviderGuid".into(), braced(&guid.to_string()));
    }
    if let Some(activity) = event.activity_id {
        line.insert("ActivityID".into(), braced(&activity.to_string()));
    }
    if let Some(sid) = event.user_sid {
        line.insert("UserID".into(), sid.to_string().into());
    }
    line.into()
}

fn braced(guid: &str) -> Json {
    format!("{{{}}}", guid.to_uppercase()).into()
}

/// The message of an event: for classic ones, all there is of their data.
fn message(event: &EvtxEvent) -> String {
    let Payload::Strings(strings) = &event.payload else { return String::new() };
    let [first, second, third] = strings.as_slice() else { return strings.join("\r\n") };
    match event.event_id {
        600 => format!("Provider \"{first}\" is {second}. \r\n\r\nDetails: \r\n{third}"),
        800 => format!(
            "Pipeline execution details for command line: {first}. \r\n\r\nContext Information: \
             \r\n{second} \r\n\r\nDetails: \r\n{third}"
        ),
        _ => format!(
            "Engine state is changed from {second} to {first}. \r\n\r\nDetails: \r\n{third}"
        ),
    }
}

fn members(fields: &[(String, EvtxValue)]) -> Map<String, Json> {
    fields.iter().map(|(name, value)| (name.clone(), typed(value))).collect()
}

/// A value as evtx_dump shows it: numbers as such, all else as text.
fn typed(value: &EvtxValue) -> Json {
    let signed = |n: i64| Json::Number(Number::from(n));
    let unsigned = |n: u64| Json::Number(Number::from(n));
    match value {
        EvtxValue::Null => Json::Null,
        EvtxValue::Bool(value) => (*value).into(),
        EvtxValue::Int8(n) => signed((*n).into()),
        EvtxValue::Int16(n) => signed((*n).into()),
        EvtxValue::Int32(n) => signed((*n).into()),
        EvtxValue::Int64(n) => signed(*n),
        EvtxValue::UInt8(n) => unsigned((*n).into()),
        EvtxValue::UInt16(n) => unsigned((*n).into()),
        EvtxValue::UInt32(n) => unsigned((*n).into()),
        EvtxValue::UInt64(n) => unsigned(*n),
        _ => text(value).into(),
    }
}

/// A value as text.
fn text(value: &EvtxValue) -> String {
    match value {
        EvtxValue::Null => String::new(),
        EvtxValue::String(text) => text.clone(),
        EvtxValue::Bool(value) => value.to_string(),
        EvtxValue::Int8(n) => n.to_string(),
        EvtxValue::Int16(n) => n.to_string(),
        EvtxValue::Int32(n) => n.to_string(),
        EvtxValue::Int64(n) => n.to_string(),
        EvtxValue::UInt8(n) => n.to_string(),
        EvtxValue::UInt16(n) => n.to_string(),
        EvtxValue::UInt32(n) => n.to_string(),
        EvtxValue::UInt64(n) => n.to_string(),
        EvtxValue::HexInt32(n) => format!("{n:#x}"),
        EvtxValue::HexInt64(n) => format!("{n:#x}"),
        EvtxValue::Guid(guid) => format!("{{{guid}}}"),
        EvtxValue::Sid(sid) => sid.to_string(),
        EvtxValue::FileTime(time) => utc(time.0).to_rfc3339(),
        EvtxValue::Binary(bytes) => hex(bytes),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}
