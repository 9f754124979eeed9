//! Pointers to the records that prove a row.

use std::borrow::Cow;

use super::cell::list;
use crate::analysis::Analysis;
use crate::model::{Event, RecordRef};

/// Most records a cell names; the timeline has them all, by session.
const MAX_NAMED: usize = 100;

/// The path of a record's file, as given or found.
pub(super) fn file(analysis: &Analysis, source: RecordRef) -> String {
    analysis.inputs[source.input as usize].input.path.display().to_string()
}

/// `FILE:EVENT_RECORD_ID@OFFSET`, and `#NUMBER` where the record's header has another number.
fn pointer(analysis: &Analysis, event: &Event) -> String {
    let RecordRef { offset, number, .. } = event.source;
    let file = file(analysis, event.source);
    if number == event.record_id {
        format!("{file}:{}@{offset}", event.record_id)
    } else {
        format!("{file}:{}#{number}@{offset}", event.record_id)
    }
}

/// Pointers to events' records in one cell, all of them or the first and how many more.
pub(super) fn cell<'e>(
    analysis: &Analysis,
    events: impl ExactSizeIterator<Item = &'e Event>,
) -> Cow<'static, str> {
    let more = events.len().saturating_sub(MAX_NAMED);
    let mut pointers: Vec<String> =
        events.take(MAX_NAMED).map(|event| pointer(analysis, event)).collect();
    if more > 0 {
        pointers.push(format!("and {more} more in timeline.csv"));
    }
    list(pointers)
}
