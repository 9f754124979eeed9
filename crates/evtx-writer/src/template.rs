//! The templates behind a record: one for System, one inside it for the payload.

use crate::binxml::{BinXml, INDEPENDENT, NodeContent};
use crate::value::{kind, write_utf16};
use crate::{EvtxEvent, EvtxValue, Payload};

const EVENT_NAMESPACE: &str = "http://schemas.microsoft.com/win/2004/08/events/event";

/// Numbers of the substitutions in the template of System; Windows keeps 13 to 17 free.
mod field {
    pub const LEVEL: u16 = 0;
    pub const OPCODE: u16 = 1;
    pub const TASK: u16 = 2;
    pub const EVENT_ID: u16 = 3;
    pub const QUALIFIERS: u16 = 4;
    pub const KEYWORDS: u16 = 5;
    pub const TIME: u16 = 6;
    pub const ACTIVITY_ID: u16 = 7;
    pub const PROCESS_ID: u16 = 8;
    pub const THREAD_ID: u16 = 9;
    pub const RECORD_ID: u16 = 10;
    pub const VERSION: u16 = 11;
    pub const USER_ID: u16 = 12;
    pub const RELATED_ACTIVITY_ID: u16 = 18;
    pub const PAYLOAD: u16 = 19;
    pub const COUNT: usize = 20;
}

/// Writes the binary XML of `event`.
pub(crate) fn write_event(xml: &mut BinXml, event: &EvtxEvent) {
    let key = system_key(event);
    xml.fragment(&key, |xml| define_event(xml, event), |xml| event_values(xml, event));
}

/// All that the template of System holds as text.
fn system_key(event: &EvtxEvent) -> Vec<u8> {
    let mut key = Vec::with_capacity(128);
    key.push(matches!(event.payload, Payload::UserData { .. }).into());
    key.push(event.provider_guid.is_some().into());
    key.extend(event.provider_guid.unwrap_or_default().to_bytes());
    key.push(event.event_source.is_some().into());
    for text in [
        &event.provider,
        event.event_source.as_deref().unwrap_or(""),
        &event.channel,
        &event.computer,
    ] {
        push_name(&mut key, text);
    }
    key
}

/// Ends each name with a byte that UTF-8 has no use for.
fn push_name(key: &mut Vec<u8>, name: &str) {
    key.extend(name.as_bytes());
    key.push(0xff);
}

fn define_event(xml: &mut BinXml, event: &EvtxEvent) {
    let payload = NodeContent::Optional(field::PAYLOAD, kind::BINXML);
    let namespace = [("xmlns", NodeContent::Text(EVENT_NAMESPACE))];
    if matches!(event.payload, Payload::UserData { .. }) {
        xml.element("Event", INDEPENDENT, &namespace, |xml| {
            define_system(xml, event);
            xml.leaf("UserData", field::PAYLOAD, &[], payload);
        });
    } else {
        xml.element("Event", field::PAYLOAD, &namespace, |xml| {
            define_system(xml, event);
            xml.content(payload);
        });
    }
}

fn define_system(xml: &mut BinXml, event: &EvtxEvent) {
    let guid = event.provider_guid.map(|guid| format!("{{{guid}}}"));
    let mut provider = vec![("Name", NodeContent::Text(&event.provider))];
    provider.extend(guid.as_deref().map(|guid| ("Guid", NodeContent::Text(guid))));
    provider.extend(
        event.event_source.as_deref().map(|source| ("EventSourceName", NodeContent::Text(source))),
    );
    xml.element("System", INDEPENDENT, &[], |xml| {
        xml.empty("Provider", &provider);
        xml.leaf(
            "EventID",
            field::EVENT_ID,
            &[("Qualifiers", NodeContent::Optional(field::QUALIFIERS, kind::UINT16))],
            NodeContent::Optional(field::EVENT_ID, kind::UINT16),
        );
        for (name, field, kind) in [
            ("Version", field::VERSION, kind::UINT8),
            ("Level", field::LEVEL, kind::UINT8),
            ("Task", field::TASK, kind::UINT16),
            ("Opcode", field::OPCODE, kind::UINT8),
            ("Keywords", field::KEYWORDS, kind::HEX_INT64),
        ] {
            xml.leaf(name, field, &[], NodeContent::Optional(field, kind));
        }
        xml.empty(
            "TimeCreated",
            &[("SystemTime", NodeContent::Optional(field::TIME, kind::FILE_TIME))],
        );
        xml.leaf(
            "EventRecordID",
            field::RECORD_ID,
            &[],
            NodeContent::Optional(field::RECORD_ID, kind::UINT64),
        );
        xml.empty(
            "Correlation",
            &[
                ("ActivityID", NodeContent::Optional(field::ACTIVITY_ID, kind::GUID)),
                (
                    "RelatedActivityID",
                    NodeContent::Optional(field::RELATED_ACTIVITY_ID, kind::GUID),
                ),
            ],
        );
        xml.empty(
            "Execution",
            &[
                ("ProcessID", NodeContent::Optional(field::PROCESS_ID, kind::UINT32)),
                ("ThreadID", NodeContent::Optional(field::THREAD_ID, kind::UINT32)),
            ],
        );
        xml.leaf("Channel", INDEPENDENT, &[], NodeContent::Text(&event.channel));
        xml.leaf("Computer", INDEPENDENT, &[], NodeContent::Text(&event.computer));
        xml.empty("Security", &[("UserID", NodeContent::Optional(field::USER_ID, kind::SID))]);
    });
}

fn event_values(xml: &mut BinXml, event: &EvtxEvent) {
    let mut list = xml.values(field::COUNT);
    let values: [EvtxValue; field::COUNT - 1] = [
        event.level.into(),
        event.opcode.into(),
        event.task.into(),
        event.event_id.into(),
        event.qualifiers.map_or(EvtxValue::Null, EvtxValue::from),
        EvtxValue::HexInt64(event.keywords),
        event.time.into(),
        event.activity_id.map_or(EvtxValue::Null, EvtxValue::from),
        event.process_id.into(),
        event.thread_id.into(),
        event.record_id.into(),
        event.version.into(),
        event.user_sid.map_or(EvtxValue::Null, EvtxValue::from),
        EvtxValue::Null,
        EvtxValue::Null,
        EvtxValue::Null,
        EvtxValue::Null,
        EvtxValue::Null,
        EvtxValue::Null,
    ];
    for value in &values {
        xml.value(&mut list, value);
    }
    xml.value_with(&mut list, kind::BINXML, |xml| write_payload(xml, &event.payload));
}

fn write_payload(xml: &mut BinXml, payload: &Payload) {
    let key = payload_key(payload);
    xml.fragment(&key, |xml| define_payload(xml, payload), |xml| payload_values(xml, payload));
}

fn payload_key(payload: &Payload) -> Vec<u8> {
    let mut key = Vec::with_capacity(256);
    let fields: &[(String, EvtxValue)] = match payload {
        Payload::EventData(fields) => {
            key.push(b'E');
            fields
        }
        Payload::Strings(_) => {
            key.push(b'S');
            &[]
        }
        Payload::UserData { element, namespace, fields } => {
            key.push(b'U');
            push_name(&mut key, element);
            push_name(&mut key, namespace);
            fields
        }
        Payload::ProcessingError { .. } => {
            key.push(b'P');
            &[]
        }
    };
    for (name, value) in fields {
        push_name(&mut key, name);
        key.push(declared_kind(value));
    }
    key
}

/// The type a template gives a field. One that is null now would hold text another time.
fn declared_kind(value: &EvtxValue) -> u8 {
    match value {
        EvtxValue::Null => kind::STRING,
        value => value.kind(),
    }
}

fn define_payload(xml: &mut BinXml, payload: &Payload) {
    match payload {
        Payload::EventData(fields) if fields.is_empty() => xml.empty("EventData", &[]),
        Payload::EventData(fields) => xml.element("EventData", INDEPENDENT, &[], |xml| {
            for (field, (name, value)) in fields.iter().enumerate() {
                let content = NodeContent::Field(field as u16, declared_kind(value));
                xml.leaf("Data", INDEPENDENT, &[("Name", NodeContent::Text(name))], content);
            }
        }),
        // As Windows has it: value 1 is unused.
        Payload::Strings(_) => xml.element("EventData", INDEPENDENT, &[], |xml| {
            xml.leaf("Data", 0, &[], NodeContent::Optional(0, kind::STRING_ARRAY));
            xml.leaf("Binary", 2, &[], NodeContent::Optional(2, kind::BINARY));
        }),
        Payload::UserData { element, namespace, fields } => {
            let namespace = [("xmlns", NodeContent::Text(namespace))];
            xml.element(element, INDEPENDENT, &namespace, |xml| {
                for (field, (name, value)) in fields.iter().enumerate() {
                    let content = NodeContent::Field(field as u16, declared_kind(value));
                    xml.leaf(name, INDEPENDENT, &[], content);
                }
            });
        }
        Payload::ProcessingError { .. } => {
            xml.element("ProcessingErrorData", INDEPENDENT, &[], |xml| {
                for (field, name, kind) in [
                    (0, "ErrorCode", kind::UINT32),
                    (1, "DataItemName", kind::STRING),
                    (2, "EventPayload", kind::BINARY),
                ] {
                    xml.leaf(name, field, &[], NodeContent::Optional(field, kind));
                }
            });
        }
    }
}

fn payload_values(xml: &mut BinXml, payload: &Payload) {
    match payload {
        Payload::EventData(fields) | Payload::UserData { fields, .. } => {
            let mut list = xml.values(fields.len());
            for (_, value) in fields {
                xml.value(&mut list, value);
            }
        }
        Payload::Strings(strings) => {
            let mut list = xml.values(3);
            xml.value_with(&mut list, kind::STRING_ARRAY, |xml| {
                for text in strings {
                    write_utf16(text, &mut xml.data);
                    xml.data.extend([0, 0]);
                }
            });
            xml.value(&mut list, &EvtxValue::Null);
            xml.value(&mut list, &EvtxValue::Null);
        }
        Payload::ProcessingError { code, item, data } => {
            let mut list = xml.values(3);
            xml.value(&mut list, &EvtxValue::UInt32(*code));
            xml.value_with(&mut list, kind::STRING, |xml| write_utf16(item, &mut xml.data));
            xml.value_with(&mut list, kind::BINARY, |xml| xml.data.extend(data));
        }
    }
}
