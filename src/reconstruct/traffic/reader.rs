//! Reads records a second time.

use chrono::{DateTime, Utc};

use crate::model::{Event, RecordRef};
use crate::normalise::Wire;

/// Reads records again by their places.
pub trait RecordReader {
    /// Returns the events of some records.
    fn events(&self, records: Vec<RecordRef>) -> Vec<Event>;
    /// Returns the remoting traffic in some records.
    fn traffic(&self, records: Vec<RecordRef>) -> Vec<TrafficRecord>;
}

/// A few events in memory, for small inputs. They hold no traffic.
impl RecordReader for &[Event] {
    fn events(&self, records: Vec<RecordRef>) -> Vec<Event> {
        self.iter().filter(|event| records.contains(&event.source)).cloned().collect()
    }

    fn traffic(&self, _: Vec<RecordRef>) -> Vec<TrafficRecord> {
        Vec::new()
    }
}

/// A piece of remoting traffic, and its record.
#[derive(Debug, Clone)]
pub struct TrafficRecord {
    /// When it was logged, UTC.
    pub time: DateTime<Utc>,
    /// The place of its record.
    pub source: RecordRef,
    /// The record's event id.
    pub event_id: u32,
    /// The piece of traffic.
    pub wire: Wire,
}
