//! The interface by which a decoder learns which records are wanted.

use chrono::{DateTime, Utc};

use crate::model::{Channel, RecordRef};

/// The facts about a record that are known before its data is read.
#[derive(Debug, Clone, Copy)]
pub struct RecordHeader<'r> {
    /// The place of the record.
    pub source: RecordRef,
    /// Its channel.
    pub channel: Channel,
    /// System/Channel as logged.
    pub channel_name: &'r str,
    /// System/Provider Name.
    pub provider: &'r str,
    /// System/Computer as logged.
    pub computer: &'r str,
    /// System/EventID.
    pub event_id: u32,
    /// System/EventRecordID, or the number in the header if it is missing.
    pub record_id: u64,
    /// When it was logged, UTC.
    pub time: DateTime<Utc>,
}

/// Selects the records that later stages use. The others are only observed.
pub trait RecordFilter {
    /// Is called for every record, wanted or not. A record that is hard to read may come more than
    /// once.
    fn observe(&self, _seen: RecordHeader<'_>) {}

    /// Returns whether the record with this place, channel and event id is wanted.
    fn wants(&self, source: RecordRef, channel: Channel, channel_name: &str, event_id: u32)
    -> bool;
}
