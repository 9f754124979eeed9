//! Records and derived events as rules see them: fields by Sigma's names.

use std::borrow::Cow;
use std::cell::OnceCell;

use rsigma_eval::{Event as SigmaEvent, EventValue};
use serde_json::{Map, Value as Json};

use crate::model::{Channel, Record};
use crate::normalise::{context_text, pairs};

/// A record as rules see it.
pub(super) struct RecordView<'r> {
    record: &'r Record,
    process_creation: bool,
    parts: OnceCell<Vec<(String, String)>>,
}

impl<'r> RecordView<'r> {
    /// With `process_creation`, the fields of 4688 go by Sysmon's names.
    pub fn new(record: &'r Record, process_creation: bool) -> Self {
        let process_creation = process_creation && record.known_channel == Channel::Security;
        RecordView { record, process_creation, parts: OnceCell::new() }
    }

    /// The fields inside the texts that PowerShell logs: classic details and ContextInfo.
    fn parts(&self) -> &[(String, String)] {
        self.parts.get_or_init(|| {
            let pairs = pairs(context_text(self.record)).into_iter();
            pairs.map(|(key, value)| (key.replace(' ', ""), value)).collect()
        })
    }

    /// Sysmon's name for a field of 4688.
    fn process_field(&self, name: &str) -> Option<Cow<'_, str>> {
        let data = &self.record.data;
        let logged = match name {
            "Image" => "NewProcessName",
            "ParentImage" => "ParentProcessName",
            "ProcessId" => "NewProcessId",
            "ParentProcessId" => "ProcessId",
            "LogonId" => "SubjectLogonId",
            "IntegrityLevel" => return integrity(data.get("MandatoryLabel")?).map(Cow::Borrowed),
            "User" => {
                let domain = data.get("SubjectDomainName").unwrap_or_default();
                return Some(format!("{domain}\\{}", data.get("SubjectUserName")?).into());
            }
            _ => return None,
        };
        data.get(logged).map(Cow::Borrowed)
    }

    fn field<'v>(&'v self, name: &str) -> Option<EventValue<'v>> {
        let record = self.record;
        if self.process_creation
            && let Some(value) = self.process_field(name)
        {
            return Some(EventValue::Str(value));
        }
        match name {
            "EventID" => return Some(EventValue::Int(record.event_id.into())),
            "Level" => return Some(EventValue::Int(record.level.into())),
            "Channel" if record.data.get(name).is_none() => return text(&record.channel),
            "Provider_Name" => return text(&record.provider),
            "Computer" | "ComputerName" => return text(&record.computer),
            "UserID" => return record.user_sid.as_deref().and_then(text),
            _ => {}
        }
        let mut values = record.data.all(name);
        if let Some(first) = values.next() {
            return match values.next() {
                None => text(first),
                // Rules on the classic log's strings expect its whole text.
                Some(_) => {
                    let all: Vec<&str> = record.data.all(name).collect();
                    Some(EventValue::Str(all.join("\n").into()))
                }
            };
        }
        let part = self.parts().iter().find(|(key, _)| key == name);
        part.and_then(|(_, value)| text(value))
    }
}

fn text(text: &str) -> Option<EventValue<'_>> {
    Some(EventValue::Str(Cow::Borrowed(text)))
}

/// The integrity levels that Sysmon names and 4688 gives as SIDs ([MS-DTYP] 2.4.2.4).
fn integrity(sid: &str) -> Option<&'static str> {
    Some(match sid {
        "S-1-16-4096" => "Low",
        "S-1-16-8192" => "Medium",
        "S-1-16-12288" => "High",
        "S-1-16-16384" => "System",
        _ => return None,
    })
}

impl SigmaEvent for RecordView<'_> {
    fn get_field(&self, path: &str) -> Option<EventValue<'_>> {
        self.field(path)
    }

    fn any_string_value(&self, pred: &dyn Fn(&str) -> bool) -> bool {
        self.record.data.iter().any(|(_, value)| pred(value))
    }

    fn all_string_values(&self) -> Vec<Cow<'_, str>> {
        self.record.data.iter().map(|(_, value)| Cow::Borrowed(value)).collect()
    }

    fn to_json(&self) -> Json {
        let data = self.record.data.iter();
        Json::Object(data.map(|(name, value)| (name.to_owned(), value.into())).collect())
    }
}

/// A derived event's value.
#[derive(Debug, Clone, PartialEq, Hash)]
pub(super) enum Value {
    Text(String),
    Number(i64),
    List(Vec<Cow<'static, str>>),
}

/// A derived event: its fields, absent ones left out.
#[derive(Debug, Clone, Default, Hash)]
pub(super) struct FieldMap(Vec<(&'static str, Value)>);

impl FieldMap {
    pub fn text(mut self, name: &'static str, text: impl Into<String>) -> Self {
        self.0.push((name, Value::Text(text.into())));
        self
    }

    /// A text that may be missing: then the field is, too.
    pub fn known(self, name: &'static str, text: Option<impl Into<String>>) -> Self {
        match text {
            Some(text) => self.text(name, text),
            None => self,
        }
    }

    pub fn number(mut self, name: &'static str, number: i64) -> Self {
        self.0.push((name, Value::Number(number)));
        self
    }

    pub fn list<V>(mut self, name: &'static str, values: impl IntoIterator<Item = V>) -> Self
    where
        V: Into<Cow<'static, str>>,
    {
        self.0.push((name, Value::List(values.into_iter().map(Into::into).collect())));
        self
    }

    /// A truth as rules write it: `true` or `false`.
    pub fn truth(self, name: &'static str, truth: bool) -> Self {
        self.text(name, if truth { "true" } else { "false" })
    }
}

impl SigmaEvent for FieldMap {
    fn get_field(&self, path: &str) -> Option<EventValue<'_>> {
        let (_, value) = self.0.iter().find(|(name, _)| *name == path)?;
        Some(match value {
            Value::Text(text) => EventValue::Str(Cow::Borrowed(text)),
            Value::Number(number) => EventValue::Int(*number),
            Value::List(values) => {
                let values = values.iter().map(|value| EventValue::Str(Cow::Borrowed(&**value)));
                EventValue::Array(values.collect())
            }
        })
    }

    fn any_string_value(&self, pred: &dyn Fn(&str) -> bool) -> bool {
        self.all_string_values().iter().any(|value| pred(value))
    }

    fn all_string_values(&self) -> Vec<Cow<'_, str>> {
        let mut all = Vec::new();
        for (_, value) in &self.0 {
            match value {
                Value::Text(text) => all.push(Cow::Borrowed(text.as_str())),
                Value::Number(_) => {}
                Value::List(values) => all.extend(values.iter().map(|v| Cow::Borrowed(&**v))),
            }
        }
        all
    }

    fn to_json(&self) -> Json {
        let mut map = Map::new();
        for (name, value) in &self.0 {
            let value = match value {
                Value::Text(text) => Json::from(text.as_str()),
                Value::Number(number) => Json::from(*number),
                Value::List(values) => Json::from(values.clone()),
            };
            map.insert((*name).to_owned(), value);
        }
        Json::Object(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::normalise::testing::record;

    fn seen(view: &RecordView<'_>, name: &str) -> Option<String> {
        view.get_field(name)?.as_str().map(Cow::into_owned)
    }

    #[test]
    fn a_4688_reads_as_process_creation_only_where_asked() {
        let data = [
            ("SubjectUserName", "a"),
            ("SubjectDomainName", "CORP"),
            ("NewProcessId", "0x10"),
            ("ProcessId", "0x20"),
            ("NewProcessName", r"C:\x.exe"),
            ("MandatoryLabel", "S-1-16-12288"),
        ];
        let record = record("Security", 4688, &data);
        let sysmon = RecordView::new(&record, true);
        let found = ["Image", "ProcessId", "ParentProcessId", "User", "IntegrityLevel"]
            .map(|name| seen(&sysmon, name).unwrap());
        assert_eq!(found, [r"C:\x.exe", "0x10", "0x20", r"CORP\a", "High"]);
        let raw = RecordView::new(&record, false);
        assert_eq!((seen(&raw, "Image"), seen(&raw, "ProcessId").unwrap()), (None, "0x20".into()));
    }

    #[test]
    fn texts_are_split_into_fields() {
        let data =
            [("Data", "Available"), ("Data", "\tHostName=ConsoleHost\n\tEngineVersion=2.0\n")];
        let record_400 = record("Windows PowerShell", 400, &data);
        let view = RecordView::new(&record_400, false);
        assert_eq!(seen(&view, "EngineVersion").unwrap(), "2.0");
        assert!(seen(&view, "Data").unwrap().starts_with("Available\n"));
        let context = "   Host Application = wsmprovhost.exe -Embedding\r\n";
        let record_4103 =
            record("Microsoft-Windows-PowerShell/Operational", 4103, &[("ContextInfo", context)]);
        let view = RecordView::new(&record_4103, false);
        assert_eq!(seen(&view, "HostApplication").unwrap(), "wsmprovhost.exe -Embedding");
        assert_eq!(seen(&view, "Nothing"), None);
    }
}
