//! A record in the serialized form in which records are sorted, in memory and on disk.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::{Channel, Fields, Form, LoggedId, Record, RecordRef};

/// A record without its time, which is in the row's key.
#[derive(Serialize, Deserialize)]
pub(crate) struct RecordRow<'a> {
    pub source: RecordRef,
    /// TimeCreated where it differs from the record's time: seconds since 1970 and nanoseconds.
    logged: Option<(i64, u32)>,
    pub form: Form,
    pub provider: &'a str,
    pub channel: &'a str,
    pub computer: &'a str,
    pub event_id: u32,
    pub level: u8,
    pub keywords: u64,
    pub record_id: u64,
    pub user_sid: Option<&'a str>,
    pub activity_id: Option<String>,
    pub process_id: Option<u32>,
    pub thread_id: Option<u32>,
    #[serde(borrow)]
    pub data: Vec<(&'a str, &'a str)>,
}

impl<'a> RecordRow<'a> {
    /// Creates the row of a record.
    pub fn from_record(record: &'a Record) -> RecordRow<'a> {
        let logged = (record.logged != record.time).then_some(record.logged);
        RecordRow {
            source: record.source,
            logged: logged.map(|time| (time.timestamp(), time.timestamp_subsec_nanos())),
            form: record.form,
            provider: &record.provider,
            channel: &record.channel,
            computer: &record.computer,
            event_id: record.event_id,
            level: record.level,
            keywords: record.keywords,
            record_id: record.record_id,
            user_sid: record.user_sid.as_deref(),
            activity_id: record.activity_id.as_ref().map(LoggedId::to_string),
            process_id: record.process_id,
            thread_id: record.thread_id,
            data: record.data.iter().collect(),
        }
    }

    /// Returns TimeCreated where it differs from the record's time.
    pub fn logged(&self) -> Option<DateTime<Utc>> {
        let (seconds, nanos) = self.logged?;
        DateTime::from_timestamp(seconds, nanos)
    }

    /// Returns the record with its time.
    pub fn into_record(self, time: DateTime<Utc>) -> Record {
        let logged = self.logged().unwrap_or(time);
        let mut data = Fields::default();
        for (name, value) in self.data {
            data.push(name, value);
        }
        Record {
            source: self.source,
            time,
            logged,
            form: self.form,
            provider: self.provider.into(),
            channel: self.channel.into(),
            known_channel: Channel::of(self.channel, self.provider),
            computer: self.computer.into(),
            event_id: self.event_id,
            level: self.level,
            keywords: self.keywords,
            record_id: self.record_id,
            user_sid: self.user_sid.map(Into::into),
            activity_id: self.activity_id.as_deref().and_then(LoggedId::parse),
            process_id: self.process_id,
            thread_id: self.thread_id,
            data,
        }
    }
}
