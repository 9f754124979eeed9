//! What a decoder asks before it reads a record's data.

use chrono::{DateTime, Utc};

use crate::model::{Channel, RecordRef};

/// What is known of a record before its data is read.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'r> {
    /// Its place.
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
    /// System/EventRecordID; the header's number where it is missing.
    pub record_id: u64,
    /// When it was logged, UTC.
    pub time: DateTime<Utc>,
}

/// Says which records some later stage has a use for; the others are only seen.
pub trait Wanted {
    /// A record passes, wanted or not. One that is hard to read may pass more than once.
    fn passes(&self, _seen: Seen<'_>) {}

    /// Whether the record of this place, channel and event id is wanted.
    fn wants(&self, source: RecordRef, channel: Channel, channel_name: &str, event_id: u32)
    -> bool;
}
