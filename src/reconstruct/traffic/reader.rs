//! Logs that records are read from again, by their places.

use chrono::{DateTime, Utc};

use crate::model::{Event, RecordRef};
use crate::normalise::Wire;

/// Reads records again by their places.
pub trait RecordReader {
    /// The events of some records.
    fn events(&self, records: Vec<RecordRef>) -> Vec<Event>;
    /// What some records hold of remoting's traffic.
    fn traffic(&self, records: Vec<RecordRef>) -> Vec<TrafficRecord>;
}

/// A few events at hand, for small cases: they hold no traffic.
impl RecordReader for &[Event] {
    fn events(&self, records: Vec<RecordRef>) -> Vec<Event> {
        self.iter().filter(|event| records.contains(&event.source)).cloned().collect()
    }

    fn traffic(&self, _: Vec<RecordRef>) -> Vec<TrafficRecord> {
        Vec::new()
    }
}

/// A piece of traffic, and the record that holds it.
#[derive(Debug, Clone)]
pub struct TrafficRecord {
    /// When it was logged, UTC.
    pub time: DateTime<Utc>,
    /// Where its record lies.
    pub source: RecordRef,
    /// The record's event id.
    pub event_id: u32,
    /// What it holds.
    pub wire: Wire,
}
