//! What outputs say of a record by itself, for who reads it again.

use super::cell::cell;
use crate::model::{Event, Record, csv_time};
use crate::normalise::Normaliser;
use crate::rows::describe;

/// Cells of a line of the timeline that its record alone gives, by column, and what other tables
/// have of it.
#[derive(Debug, Clone)]
pub(crate) struct Again {
    /// The cells of the timeline.
    pub cells: [(&'static str, String); 10],
    /// System/EventRecordID.
    pub record_id: u64,
}

impl Again {
    /// A cell.
    pub fn get(&self, column: &str) -> &str {
        let cell = self.cells.iter().find(|(name, _)| *name == column);
        cell.map_or("", |(_, text)| text)
    }
}

/// What outputs say of a record.
pub(crate) fn again(normaliser: &mut Normaliser, record: &Record) -> Again {
    let event: Event = normaliser.event(record);
    let mut summary = String::new();
    describe::summary(&event, &mut summary);
    let text = |text: &str| cell(text).into_owned();
    let cells = [
        ("time", csv_time(event.time)),
        ("host", text(&event.computer)),
        ("channel", text(&event.channel)),
        ("provider", text(&event.provider)),
        ("event_id", event.event_id.to_string()),
        ("record_id", event.record_id.to_string()),
        ("kind", describe::kind(&event).to_owned()),
        ("user", text(&event.user())),
        ("summary", text(&summary)),
        ("record_number", event.source.number.to_string()),
    ];
    Again { cells, record_id: event.record_id }
}
