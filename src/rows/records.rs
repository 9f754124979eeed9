//! Events with their records' data, kept for the formats that show them whole.
//!
//! A record is put down when it is read, like its line of the timeline and in the same order.

use std::io;

use serde::{Deserialize, Serialize};

use super::timeline::order;
use crate::model::{Record, RecordRef, RuleIdx};
use crate::record_row::RecordRow;
use crate::sorted::{RowEntry, SortBuffer, read_time};

/// A record, all but its time, and the rules that fired on it.
#[derive(Serialize, Deserialize)]
struct Kept<'a> {
    #[serde(borrow)]
    row: RecordRow<'a>,
    rules: Vec<RuleIdx>,
}

/// Keeps a record that these rules fired on.
///
/// # Errors
/// When the record has no serial form.
pub(crate) fn add(rows: &mut SortBuffer, record: &Record, rules: &[RuleIdx]) -> io::Result<()> {
    let kept = Kept { row: RecordRow::from_record(record), rules: rules.to_vec() };
    rows.push(|key| order(key, record.time, record.source), &kept)
}

/// Where the record of a frame lies.
///
/// # Errors
/// When the frame holds none.
pub(crate) fn source(frame: &RowEntry<'_>) -> io::Result<RecordRef> {
    // It is what the content begins with.
    let (source, _) = postcard::take_from_bytes(frame.content()).map_err(io::Error::other)?;
    Ok(source)
}

/// A record and the rules that fired on it.
///
/// # Errors
/// When the frame holds none.
pub(crate) fn read(frame: &RowEntry<'_>) -> io::Result<(Record, Vec<RuleIdx>)> {
    let time = read_time(frame.key()).ok_or_else(|| io::Error::other("a record of no time"))?;
    let Kept { row, rules } = postcard::from_bytes(frame.content()).map_err(io::Error::other)?;
    Ok((row.into_record(time), rules))
}
