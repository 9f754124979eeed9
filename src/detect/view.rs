//! Presents records and derived events to rules: fields by Sigma's names.

use std::borrow::Cow;
use std::cell::OnceCell;

use rsigma_eval::{Event as SigmaEvent, EventValue};
use serde_json::{Map, Value as Json};

use super::equivalent::SysmonMapping;
use crate::model::{Channel, Record};
use crate::normalise::{context_text, pairs};

/// A record as rules see it.
pub(super) struct RecordView<'r> {
    record: &'r Record,
    mapping: SysmonMapping,
    context_parts: OnceCell<Vec<(String, String)>>,
    spaced: OnceCell<bool>,
}

impl<'r> RecordView<'r> {
    /// Presents a record under the names of its own fields and those of the mapping.
    pub fn new(record: &'r Record, mapping: SysmonMapping) -> Self {
        RecordView { record, mapping, context_parts: OnceCell::new(), spaced: OnceCell::new() }
    }

    /// Returns the fields inside the texts that PowerShell logs: classic details and ContextInfo.
    fn context_parts(&self) -> &[(String, String)] {
        self.context_parts.get_or_init(|| {
            let pairs = pairs(context_text(self.record)).into_iter();
            pairs.map(|(key, value)| (key.replace(' ', ""), value)).collect()
        })
    }

    /// Returns the value of a field whose logged name has blanks, as Defender's have. Rules leave
    /// the blanks out (`ProcessName`) or write an underscore (`Feature_Name`).
    fn field_with_blanks(&self, name: &str) -> Option<&'r str> {
        let data = &self.record.data;
        let mut fields = data.iter();
        if !*self.spaced.get_or_init(|| data.iter().any(|(known, _)| known.contains(' '))) {
            return None;
        }
        let letters = || name.bytes().filter(|&byte| byte != b'_');
        let (_, value) = fields.find(|(known, _)| {
            known.contains(' ') && known.bytes().filter(|&byte| byte != b' ').eq(letters())
        })?;
        Some(value)
    }

    fn field<'v>(&'v self, name: &str) -> Option<EventValue<'v>> {
        let record = self.record;
        if let Some(value) = self.mapping.field(record, name) {
            return Some(EventValue::Str(value));
        }
        match name {
            "EventID" => return Some(EventValue::Int(record.event_id.into())),
            "Level" => return Some(EventValue::Int(record.level.into())),
            "Keywords" if record.keywords != 0 => {
                return Some(EventValue::Str(format!("{:#x}", record.keywords).into()));
            }
            "Channel" if record.data.get(name).is_none() => return text_value(&record.channel),
            "Provider_Name" => return text_value(&record.provider),
            "Computer" | "ComputerName" => return text_value(&record.computer),
            "UserID" | "Security_UserID" => return record.user_sid.as_deref().and_then(text_value),
            _ => {}
        }
        let mut values = record.data.all(name);
        if let Some(first) = values.next() {
            return match values.next() {
                // The names of some logon processes end in blanks: `NtLmSsp `, `Advapi  `.
                None if name == "LogonProcessName" => text_value(first.trim_end()),
                None => text_value(first),
                // Rules on the strings of the classic log expect the whole text.
                Some(_) => {
                    let all: Vec<&str> = record.data.all(name).collect();
                    Some(EventValue::Str(all.join("\n").into()))
                }
            };
        }
        let other = self
            .field_with_blanks(name)
            .or_else(|| sysmon_hash(record, name))
            .or_else(|| unnamed_string(record, name));
        if let Some(value) = other {
            return text_value(value);
        }
        if name == "Message" {
            // The log does not contain the message text, only the values inserted into it.
            let all: Vec<&str> = record.data.iter().map(|(_, value)| value).collect();
            return (!all.is_empty()).then(|| EventValue::Str(all.join("\n").into()));
        }
        let part = self.context_parts().iter().find(|(key, _)| key == name);
        part.and_then(|(_, value)| text_value(value))
    }
}

/// Returns one of the hashes that Sysmon logs as `SHA1=...,MD5=...`, by its name in Sigma's
/// taxonomy.
fn sysmon_hash<'r>(record: &'r Record, name: &str) -> Option<&'r str> {
    const NAMES: [&str; 4] = ["imphash", "md5", "sha1", "sha256"];
    if record.known_channel != Channel::Sysmon
        || !NAMES.iter().any(|known| known.eq_ignore_ascii_case(name))
    {
        return None;
    }
    let hashes = record.data.get("Hashes").or_else(|| record.data.get("Hash"))?;
    let mut hashes = hashes.split(',').filter_map(|hash| hash.split_once('='));
    hashes.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, hash)| hash)
}

/// Returns a string of an event that was logged before its provider gave its strings names.
fn unnamed_string<'r>(record: &'r Record, name: &str) -> Option<&'r str> {
    const APPLICATION_ERROR: [&str; 13] = [
        "AppName",
        "AppVersion",
        "AppTimeStamp",
        "ModuleName",
        "ModuleVersion",
        "ModuleTimeStamp",
        "ExceptionCode",
        "FaultingOffset",
        "ProcessId",
        "ProcessCreationTime",
        "AppPath",
        "ModulePath",
        "IntegratorReportId",
    ];
    if record.event_id != 1000 || &*record.provider != "Application Error" {
        return None;
    }
    let place = APPLICATION_ERROR.iter().position(|known| *known == name)?;
    record.data.all("Data").nth(place)
}

fn text_value(text: &str) -> Option<EventValue<'_>> {
    Some(EventValue::Str(Cow::Borrowed(text)))
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

/// A value of a derived event.
#[derive(Debug, Clone, PartialEq, Hash)]
pub(super) enum FieldValue {
    Text(String),
    Number(i64),
    List(Vec<Cow<'static, str>>),
}

/// The fields of a derived event; missing fields are left out.
#[derive(Debug, Clone, Default, Hash)]
pub(super) struct FieldMap(Vec<(&'static str, FieldValue)>);

impl FieldMap {
    pub fn text(mut self, name: &'static str, text: impl Into<String>) -> Self {
        self.0.push((name, FieldValue::Text(text.into())));
        self
    }

    /// Adds a text, if there is one.
    pub fn optional_text(self, name: &'static str, text: Option<impl Into<String>>) -> Self {
        match text {
            Some(text) => self.text(name, text),
            None => self,
        }
    }

    pub fn number(mut self, name: &'static str, number: i64) -> Self {
        self.0.push((name, FieldValue::Number(number)));
        self
    }

    pub fn list<V>(mut self, name: &'static str, values: impl IntoIterator<Item = V>) -> Self
    where
        V: Into<Cow<'static, str>>,
    {
        self.0.push((name, FieldValue::List(values.into_iter().map(Into::into).collect())));
        self
    }

    /// Returns the texts of a list field.
    pub fn texts(&self, name: &str) -> &[Cow<'static, str>] {
        match self.0.iter().find(|(known, _)| *known == name) {
            Some((_, FieldValue::List(texts))) => texts,
            _ => &[],
        }
    }

    /// Returns the other fields whose values are at most `length` bytes long.
    pub fn short_fields_except(&self, name: &str, length: usize) -> FieldMap {
        let is_short = |value: &FieldValue| match value {
            FieldValue::Text(text) => text.len() <= length,
            FieldValue::Number(_) => true,
            FieldValue::List(texts) => texts.iter().map(|text| text.len()).sum::<usize>() <= length,
        };
        let fields = self.0.iter().filter(|(known, value)| *known != name && is_short(value));
        FieldMap(fields.cloned().collect())
    }

    /// Adds a boolean as rules write it: `true` or `false`.
    pub fn boolean(self, name: &'static str, truth: bool) -> Self {
        self.text(name, if truth { "true" } else { "false" })
    }
}

impl SigmaEvent for FieldMap {
    fn get_field(&self, path: &str) -> Option<EventValue<'_>> {
        let (_, value) = self.0.iter().find(|(name, _)| *name == path)?;
        Some(match value {
            FieldValue::Text(text) => EventValue::Str(Cow::Borrowed(text)),
            FieldValue::Number(number) => EventValue::Int(*number),
            FieldValue::List(values) => {
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
                FieldValue::Text(text) => all.push(Cow::Borrowed(text.as_str())),
                FieldValue::Number(_) => {}
                FieldValue::List(values) => all.extend(values.iter().map(|v| Cow::Borrowed(&**v))),
            }
        }
        all
    }

    fn to_json(&self) -> Json {
        let mut map = Map::new();
        for (name, value) in &self.0 {
            let value = match value {
                FieldValue::Text(text) => Json::from(text.as_str()),
                FieldValue::Number(number) => Json::from(*number),
                FieldValue::List(values) => Json::from(values.clone()),
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
    fn fields_go_by_sysmon_s_names_only_where_asked() {
        let data =
            [("NewProcessName", r"C:\x.exe"), ("NewProcessId", "0x10"), ("ProcessId", "0x20")];
        let record = record("Security", 4688, &data);
        let found = |mapping| {
            let view = RecordView::new(&record, mapping);
            ["Image", "ProcessId"].map(|name| seen(&view, name))
        };
        let sysmon = found(SysmonMapping::ProcessCreation);
        assert_eq!(sysmon, [Some(r"C:\x.exe".into()), Some("16".into())]);
        assert_eq!(found(SysmonMapping::None), [None, Some("0x20".into())]);
    }

    #[test]
    fn names_with_blanks_are_found_without() {
        let data = [("Feature Name", "%%886"), ("Process Name", "a.exe"), ("Path", "p")];
        let record = record("Microsoft-Windows-Windows Defender/Operational", 3002, &data);
        let view = RecordView::new(&record, SysmonMapping::None);
        let found =
            ["Feature_Name", "FeatureName", "ProcessName", "Process Name", "Process", "Path"]
                .map(|name| seen(&view, name));
        let expected =
            [Some("%%886"), Some("%%886"), Some("a.exe"), Some("a.exe"), None, Some("p")];
        assert_eq!(found, expected.map(|value| value.map(Into::into)));
    }

    #[test]
    fn values_inside_other_fields_are_found() {
        let data = [("Hashes", "SHA1=AB,MD5=CD,IMPHASH=EF")];
        let sysmon = record("Microsoft-Windows-Sysmon/Operational", 1, &data);
        let sysmon = RecordView::new(&sysmon, SysmonMapping::None);
        let found = ["md5", "Imphash", "sha1", "sha256"].map(|name| seen(&sysmon, name));
        assert_eq!(found, [Some("CD"), Some("EF"), Some("AB"), None].map(|v| v.map(Into::into)));

        let strings = ["lsass.exe", "10.0", "", "ntdll.dll", "10.0", "", "c0000001"];
        let crash = record("Application", 1000, &strings.map(|string| ("Data", string)));
        let crash = Record { provider: "Application Error".into(), ..crash };
        let crash = RecordView::new(&crash, SysmonMapping::None);
        let found = ["AppName", "ExceptionCode"].map(|name| seen(&crash, name).unwrap());
        assert_eq!(found, ["lsass.exe", "c0000001"]);

        let installed = record("Application", 1033, &[("Data", "AteraAgent"), ("Data", "1.8")]);
        let installed = Record { keywords: 0x80_0000_0000_0000, ..installed };
        let installed = RecordView::new(&installed, SysmonMapping::None);
        assert_eq!(seen(&installed, "Message").unwrap(), "AteraAgent\n1.8");
        assert_eq!(seen(&installed, "Keywords").unwrap(), "0x80000000000000");
    }

    #[test]
    fn a_logon_process_s_name_has_no_blanks_behind() {
        let data = [("LogonProcessName", "NtLmSsp "), ("WorkstationName", "A ")];
        let record = record("Security", 4624, &data);
        let view = RecordView::new(&record, SysmonMapping::None);
        assert_eq!(seen(&view, "LogonProcessName").unwrap(), "NtLmSsp");
        assert_eq!(seen(&view, "WorkstationName").unwrap(), "A ");
    }

    #[test]
    fn texts_are_split_into_fields() {
        let data =
            [("Data", "Available"), ("Data", "\tHostName=ConsoleHost\n\tEngineVersion=2.0\n")];
        let record_400 = record("Windows PowerShell", 400, &data);
        let view = RecordView::new(&record_400, SysmonMapping::None);
        assert_eq!(seen(&view, "EngineVersion").unwrap(), "2.0");
        assert!(seen(&view, "Data").unwrap().starts_with("Available\n"));
        let context = "   Host Application = wsmprovhost.exe -Embedding\r\n";
        let record_4103 =
            record("Microsoft-Windows-PowerShell/Operational", 4103, &[("ContextInfo", context)]);
        let view = RecordView::new(&record_4103, SysmonMapping::None);
        assert_eq!(seen(&view, "HostApplication").unwrap(), "wsmprovhost.exe -Embedding");
        assert_eq!(seen(&view, "Nothing"), None);
    }
}
