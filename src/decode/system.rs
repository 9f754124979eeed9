//! The System element of a record, read from any kind of text.

use std::borrow::Cow;

use chrono::{DateTime, Utc};

use super::interner::Interner;
use super::record_filter::{RecordFilter, RecordHeader};
use crate::model::{Channel, Fields, Form, InputIdx, LoggedId, Record, RecordRef, parse_utc};

/// The place of a record, known before its content is read, and the fields of its header.
#[derive(Clone, Copy)]
pub(super) struct RecordOrigin {
    input: InputIdx,
    offset: u64,
    /// The number and the time in the record's own header. A text has none.
    own: Option<(u64, DateTime<Utc>)>,
}

impl RecordOrigin {
    /// Creates the origin of a record that has a header.
    pub fn from_evtx(source: RecordRef, time: DateTime<Utc>) -> RecordOrigin {
        let RecordRef { input, offset, number } = source;
        RecordOrigin { input, offset, own: Some((number, time)) }
    }

    /// Creates the origin of a record that is text.
    pub fn from_text(input: InputIdx, offset: u64) -> RecordOrigin {
        RecordOrigin { input, offset, own: None }
    }
}

/// The fields of System.
#[derive(Debug, Default)]
pub(super) struct SystemFields {
    pub provider: String,
    pub channel: String,
    pub computer: String,
    pub time: Option<DateTime<Utc>>,
    /// TimeCreated, if `time` is a different time.
    pub logged: Option<DateTime<Utc>>,
    /// A collector's format. `None` for Windows' own.
    pub form: Option<Form>,
    pub event_id: Option<u32>,
    pub level: u8,
    pub keywords: u64,
    pub record_id: Option<u64>,
    pub user_sid: Option<String>,
    pub activity_id: Option<String>,
    pub process_id: Option<u32>,
    pub thread_id: Option<u32>,
}

impl SystemFields {
    /// Sets the field that an element of System gives.
    pub fn set_from_element(&mut self, element: &str, node: &SystemElement<'_>) {
        let text = node.text.as_deref();
        let attribute = |name: &str| {
            let found = node.attributes.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.to_string())
        };
        match element {
            "Provider" => self.provider = attribute("Name").unwrap_or_default(),
            "EventID" => self.event_id = text.and_then(|id| id.parse().ok()),
            "Level" => self.level = text.and_then(|level| level.parse().ok()).unwrap_or(0),
            "Keywords" => self.keywords = text.map(keywords).unwrap_or_default(),
            "EventRecordID" => self.record_id = text.and_then(|id| id.parse().ok()),
            "TimeCreated" => {
                self.time = attribute("SystemTime").and_then(|time| parse_utc(&time).ok());
            }
            "Channel" => self.channel = text.unwrap_or_default().to_owned(),
            "Computer" => self.computer = text.unwrap_or_default().to_owned(),
            "Correlation" => self.activity_id = attribute("ActivityID"),
            "Security" => self.user_sid = attribute("UserID"),
            "Execution" => {
                self.process_id = attribute("ProcessID").and_then(|id| id.parse().ok());
                self.thread_id = attribute("ThreadID").and_then(|id| id.parse().ok());
            }
            _ => {}
        }
    }

    /// Returns the record's place. A record without a header is numbered by its EventRecordID,
    /// which people quote.
    fn record_ref(&self, header: RecordOrigin) -> RecordRef {
        let RecordOrigin { input, offset, own } = header;
        let number = own.map(|(number, _)| number).or(self.record_id).unwrap_or_default();
        RecordRef { input, offset, number }
    }

    /// Returns whether the record is wanted. A record without an event id is not.
    pub fn is_wanted(&self, header: RecordOrigin, filter: &dyn RecordFilter) -> bool {
        let SystemFields { channel, provider, event_id, .. } = self;
        let known = Channel::of(channel, provider);
        let source = self.record_ref(header);
        let Some(event_id) = *event_id else { return false };
        if let Some(time) = self.time.or(header.own.map(|(_, time)| time)) {
            filter.observe(RecordHeader {
                source,
                channel: known,
                channel_name: channel,
                provider,
                computer: &self.computer,
                event_id,
                record_id: self.record_id.unwrap_or(source.number),
                time,
            });
        }
        filter.wants(source, known, channel, event_id)
    }

    /// Returns the record, if it is wanted. Its data is read only then.
    ///
    /// # Errors
    /// When a part that every record needs is missing.
    pub fn build_record(
        &self,
        header: RecordOrigin,
        filter: &dyn RecordFilter,
        names: &mut Interner,
        data: impl FnOnce() -> Fields,
    ) -> Result<Option<Record>, String> {
        let event_id = self.event_id.ok_or("it has no System/EventID")?;
        if !self.is_wanted(header, filter) {
            return Ok(None);
        }
        let source = self.record_ref(header);
        let written = header.own.map(|(_, time)| time);
        let time = self.time.or(written).ok_or("it has no time")?;
        Ok(Some(Record {
            source,
            time,
            logged: self.logged.unwrap_or(time),
            form: match header.own {
                Some(_) => Form::Binary,
                None => self.form.unwrap_or(Form::Rendered),
            },
            provider: names.get(&self.provider),
            channel: names.get(&self.channel),
            known_channel: Channel::of(&self.channel, &self.provider),
            computer: names.get(&self.computer),
            event_id,
            level: self.level,
            keywords: self.keywords,
            record_id: self.record_id.unwrap_or(source.number),
            user_sid: self.user_sid.as_deref().map(|sid| names.get(sid)),
            activity_id: self.activity_id.as_deref().and_then(LoggedId::parse),
            process_id: self.process_id,
            thread_id: self.thread_id,
            data: data(),
        }))
    }
}

/// Parses Keywords: hexadecimal as in XML, decimal and signed as in NXLog, or Winlogbeat's words
/// for auditing.
pub(super) fn keywords(text: &str) -> u64 {
    let text = text.trim();
    match text {
        "Audit Success" => return 0x8020_0000_0000_0000,
        "Audit Failure" => return 0x8010_0000_0000_0000,
        _ => {}
    }
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok().or_else(|| text.parse().ok().map(i64::cast_unsigned)),
    }
    .unwrap_or_default()
}

/// An element of System: its text and attributes.
#[derive(Debug, Default)]
pub(super) struct SystemElement<'t> {
    pub text: Option<Cow<'t, str>>,
    pub attributes: Vec<(Cow<'t, str>, Cow<'t, str>)>,
}

#[cfg(test)]
mod tests {
    use super::keywords;

    #[test]
    fn keywords_are_read_however_they_are_written() {
        let texts =
            ["0x8010000000000000", "-9218868437227405312", "9227875636482146304", "Audit Failure"];
        assert_eq!(texts.map(keywords), [0x8010_0000_0000_0000; 4]);
        assert_eq!(["", "Classic", "0xzz"].map(keywords), [0; 3]);
    }
}
