//! Reads a record in one pass from JSON as the evtx crate renders it and evtx_dump writes it.
//!
//! System comes first in every record that Windows writes, so the data of an unwanted record is not
//! read. Values are kept as text, which rules compare and people read.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::interner::Interner;
use super::record_filter::RecordFilter;
use super::system::{RecordOrigin, SystemElement, SystemFields};
use crate::model::{Fields, Record};

/// Reads one rendered record. Returns `None` if it is not wanted.
pub(super) fn read_record(
    text: &[u8],
    header: RecordOrigin,
    filter: &dyn RecordFilter,
    names: &mut Interner,
) -> Result<Option<Record>, String> {
    let mut reader =
        EventReader { header, system: SystemFields::default(), skip: false, filter, names };
    let mut data = Fields::default();
    let mut json = serde_json::Deserializer::from_slice(text);
    let read = EventDocument { reader: &mut reader, data: &mut data }.deserialize(&mut json);
    if reader.skip {
        return Ok(None);
    }
    read.map_err(|error| format!("its content does not follow the event schema: {error}"))?;
    let EventReader { system, names, .. } = reader;
    system.build_record(header, filter, names, || data)
}

struct EventReader<'w> {
    header: RecordOrigin,
    system: SystemFields,
    skip: bool,
    filter: &'w dyn RecordFilter,
    names: &'w mut Interner,
}

/// `{"Event": {...}}`
struct EventDocument<'r, 'w> {
    reader: &'r mut EventReader<'w>,
    data: &'r mut Fields,
}

impl<'de> DeserializeSeed<'de> for EventDocument<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EventDocument<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with an Event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(ScalarText)? {
            if key == "Event" {
                map.next_value_seed(EventSeed { reader: self.reader, data: self.data })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

struct EventSeed<'r, 'w> {
    reader: &'r mut EventReader<'w>,
    data: &'r mut Fields,
}

impl<'de> DeserializeSeed<'de> for EventSeed<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EventSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(ScalarText)? {
            match &*key {
                "System" => {
                    map.next_value_seed(SystemSeed(&mut self.reader.system))?;
                    let EventReader { header, system, filter, skip, .. } = &mut *self.reader;
                    if system.event_id.is_some() && !system.is_wanted(*header, *filter) {
                        *skip = true;
                        return Err(de::Error::custom("not wanted"));
                    }
                }
                "#attributes" | "RenderingInfo" => {
                    map.next_value::<IgnoredAny>()?;
                }
                name => {
                    let names = &mut *self.reader.names;
                    map.next_value_seed(DataSeed { name, names, fields: self.data })?;
                }
            }
        }
        Ok(())
    }
}

struct SystemSeed<'r>(&'r mut SystemFields);

impl<'de> DeserializeSeed<'de> for SystemSeed<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for SystemSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("System")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(ScalarText)? {
            let mut node = SystemElement::default();
            map.next_value_seed(ElementSeed(&mut node))?;
            self.0.set_from_element(&key, &node);
        }
        Ok(())
    }
}

struct ElementSeed<'r, 'de>(&'r mut SystemElement<'de>);

impl<'de> DeserializeSeed<'de> for ElementSeed<'_, 'de> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

/// Defines the scalar cases of a visitor. Each scalar is passed to `$take` as text.
macro_rules! scalars_as_text {
    ($self:ident, $text:ident => $take:expr) => {
        fn visit_borrowed_str<E: de::Error>($self, text: &'de str) -> Result<Self::Value, E> {
            let $text = Cow::Borrowed(text);
            $take
        }
        fn visit_str<E: de::Error>($self, text: &str) -> Result<Self::Value, E> {
            let $text: Cow<'de, str> = Cow::Owned(text.to_owned());
            $take
        }
        fn visit_u64<E: de::Error>($self, number: u64) -> Result<Self::Value, E> {
            let $text: Cow<'de, str> = Cow::Owned(number.to_string());
            $take
        }
        fn visit_i64<E: de::Error>($self, number: i64) -> Result<Self::Value, E> {
            let $text: Cow<'de, str> = Cow::Owned(number.to_string());
            $take
        }
        fn visit_f64<E: de::Error>($self, number: f64) -> Result<Self::Value, E> {
            let $text: Cow<'de, str> = Cow::Owned(number.to_string());
            $take
        }
        fn visit_bool<E: de::Error>($self, value: bool) -> Result<Self::Value, E> {
            let $text: Cow<'de, str> = Cow::Borrowed(if value { "true" } else { "false" });
            $take
        }
        fn visit_unit<E: de::Error>($self) -> Result<Self::Value, E> {
            let $text: Cow<'de, str> = Cow::Borrowed("");
            $take
        }
    };
}

pub(super) use scalars_as_text;

impl<'de> Visitor<'de> for ElementSeed<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an element")
    }

    scalars_as_text!(self, text => {
        self.0.text = Some(text);
        Ok(())
    });

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(ElementSeed(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(ScalarText)? {
            match &*key {
                "#text" => map.next_value_seed(ElementSeed(self.0))?,
                "#attributes" => map.next_value_seed(AttributesSeed(&mut self.0.attributes))?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

struct AttributesSeed<'r, 'de>(&'r mut Vec<(Cow<'de, str>, Cow<'de, str>)>);

impl<'de> DeserializeSeed<'de> for AttributesSeed<'_, 'de> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for AttributesSeed<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("attributes")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(ScalarText)? {
            let value = map.next_value_seed(ScalarText)?;
            self.0.push((key, value));
        }
        Ok(())
    }
}

/// Reads any scalar as text, borrowed from the JSON if nothing is escaped.
pub(super) struct ScalarText;

impl<'de> DeserializeSeed<'de> for ScalarText {
    type Value = Cow<'de, str>;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ScalarText {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    scalars_as_text!(self, text => Ok(text));
}

/// Reads a part of the record's data, flattened to its leaves. Each leaf is named after its
/// element, or after the attribute `Name`, which the renderer uses instead of the element's name.
struct DataSeed<'r> {
    name: &'r str,
    names: &'r mut Interner,
    fields: &'r mut Fields,
}

impl<'de> DeserializeSeed<'de> for DataSeed<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for DataSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("event data")
    }

    scalars_as_text!(self, text => {
        // An empty EventData element is not a field.
        if !(text.is_empty() && matches!(self.name, "EventData" | "UserData")) {
            self.fields.push(self.name, &text);
        }
        Ok(())
    });

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let DataSeed { name, names, fields } = self;
        while seq.next_element_seed(DataSeed { name, names, fields })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let DataSeed { name, names, fields } = self;
        while let Some(key) = map.next_key_seed(ScalarText)? {
            match &*key {
                "#attributes" => {
                    map.next_value::<IgnoredAny>()?;
                }
                "#text" => map.next_value_seed(DataSeed { name, names, fields })?,
                name => map.next_value_seed(DataSeed { name, names, fields })?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::model::{Channel, InputIdx, RecordRef, parse_utc};

    struct Only(u32);
    impl RecordFilter for Only {
        fn wants(&self, _: RecordRef, _: Channel, _: &str, event_id: u32) -> bool {
            event_id == self.0
        }
    }

    fn parse(text: &str, id: u32) -> Result<Option<Record>, String> {
        let source = RecordRef { input: InputIdx::default(), offset: 4608, number: 1 };
        let header = RecordOrigin::from_evtx(source, DateTime::UNIX_EPOCH);
        read_record(text.as_bytes(), header, &Only(id), &mut Interner::default())
    }

    #[test]
    fn system_and_data_are_read() {
        let text = r##"{"Event":{"#attributes":{"xmlns":"x"},"System":{
            "Provider":{"#attributes":{"Name":"PowerShell"}},
            "EventID":{"#attributes":{"Qualifiers":0},"#text":800},"Level":4,
            "TimeCreated":{"#attributes":{"SystemTime":"2020-08-26T05:09:33.3497103Z"}},
            "EventRecordID":789,"Correlation":{"#attributes":{"ActivityID":"{AB-CD}"}},
            "Execution":{"#attributes":{"ProcessID":12,"ThreadID":34}},
            "Channel":"Windows PowerShell","Computer":"PC1",
            "Security":{"#attributes":{"UserID":"S-1-5-20"}}},
            "EventData":{"Data":{"#text":["a","b"]},"Count":7,"Flag":true,"None":null}}}"##;
        let record = parse(text, 800).unwrap().unwrap();
        assert_eq!(record.known_channel, Channel::PowerShellClassic);
        assert_eq!((record.record_id, record.process_id), (789, Some(12)));
        assert_eq!(record.activity_id.as_ref().map(ToString::to_string).as_deref(), Some("ab-cd"));
        assert_eq!(record.user_sid.as_deref(), Some("S-1-5-20"));
        assert_eq!(record.time, parse_utc("2020-08-26T05:09:33.3497103Z").unwrap());
        let data: Vec<_> = record.data.iter().collect();
        let expected =
            [("Data", "a"), ("Data", "b"), ("Count", "7"), ("Flag", "true"), ("None", "")];
        assert_eq!(data, expected);
    }

    #[test]
    fn user_data_flattens_to_its_leaves() {
        let text = r##"{"Event":{"System":{"EventID":1102},"UserData":{"LogFileCleared":{
            "#attributes":{"xmlns":"x"},"SubjectUserName":"admin01"}}}}"##;
        let record = parse(text, 1102).unwrap().unwrap();
        assert_eq!(record.data.iter().collect::<Vec<_>>(), [("SubjectUserName", "admin01")]);
        // Without EventRecordID and TimeCreated, the record's header speaks.
        assert_eq!((record.record_id, record.time), (1, DateTime::UNIX_EPOCH));
    }

    #[test]
    fn unwanted_records_are_skipped_wherever_system_stands() {
        assert_eq!(parse(r#"{"Event":{"System":{"EventID":1},"EventData":{}}}"#, 2), Ok(None));
        assert_eq!(parse(r#"{"Event":{"EventData":{"a":1},"System":{"EventID":1}}}"#, 2), Ok(None));
        assert!(parse(r#"{"Event":{"EventData":{"a":1}}}"#, 2).is_err());
        assert!(parse(r#"{"Event":{"System":{"EventID":2},"EventData":{"#, 2).is_err());
    }
}
