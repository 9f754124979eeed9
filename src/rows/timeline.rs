//! The timeline's rows as they are kept from the reading of their records on: all that is known of an
//! event when its record is read. Its copies, its session, and what was found in what was rebuilt
//! from it are known later, and `report` adds them.

use std::io;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::describe;
use super::fingerprint::Fingerprint;
use super::texts::{Repeats, RowText, SharedText, TextIdx, TextPool, Texts};
use crate::model::{Event, RecordRef, RuleIdx, Str, is_same};
use crate::sorted::{RowEntry, SortBuffer, SortedRows, push_place, push_time, read_time};

/// An event's row, as it lies in a sorter. The time is in its key.
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    source: RecordRef,
    fingerprint: Fingerprint,
    #[serde(borrow)]
    host: RowText<'a>,
    #[serde(borrow)]
    channel: RowText<'a>,
    #[serde(borrow)]
    provider: RowText<'a>,
    event_id: u32,
    record_id: u64,
    #[serde(borrow)]
    kind: RowText<'a>,
    #[serde(borrow)]
    user: RowText<'a>,
    #[serde(borrow)]
    summary: RowText<'a>,
    /// The rules that fired on the record.
    rules: Vec<RuleIdx>,
}

/// An event as its record alone shows it.
pub(crate) struct EventRow<'r> {
    pub time: DateTime<Utc>,
    pub source: RecordRef,
    pub host: SharedText<'r>,
    pub channel: SharedText<'r>,
    pub provider: SharedText<'r>,
    pub event_id: u32,
    pub record_id: u64,
    /// What it is, in this program's words.
    pub kind: SharedText<'r>,
    /// The account it concerns, as logged, or the record's SID.
    pub user: SharedText<'r>,
    /// What it says.
    pub summary: SharedText<'r>,
    /// The rules that fired on the record.
    pub rules: Vec<RuleIdx>,
}

impl<'r> EventRow<'r> {
    /// Reads a row back. `texts` are those that rows share.
    ///
    /// # Errors
    /// When the frame holds no row of the timeline.
    pub fn read(frame: &'r RowEntry<'_>, texts: &'r Texts) -> io::Result<EventRow<'r>> {
        let row = stored(frame)?;
        Ok(EventRow {
            time: time_in(frame)?,
            source: row.source,
            host: texts.get(row.host),
            channel: texts.get(row.channel),
            provider: texts.get(row.provider),
            event_id: row.event_id,
            record_id: row.record_id,
            kind: texts.get(row.kind),
            user: texts.get(row.user),
            summary: texts.get(row.summary),
            rules: row.rules,
        })
    }
}

/// A text that most rows have as the row before has it.
#[derive(Default)]
struct Latest(Option<(Str, TextIdx)>);

impl Latest {
    fn text<'t>(&mut self, text: &'t Str, repeats: &mut Repeats, pool: &TextPool) -> RowText<'t> {
        match &self.0 {
            Some((known, index)) if is_same(known, text) => RowText::Shared(*index),
            _ => {
                let index = repeats.index(text, pool);
                self.0 = index.map(|index| (text.clone(), index));
                index.map_or(RowText::Own(text), RowText::Shared)
            }
        }
    }
}

/// Makes the rows of a task, with room that it uses again.
#[derive(Default)]
pub(crate) struct TimelineRows {
    /// The rows, until a sorter takes them.
    pub rows: SortBuffer,
    summary: String,
    repeats: Repeats,
    latest: [Latest; 3],
}

impl TimelineRows {
    /// Adds the row of an event of a user that these rules fired on.
    ///
    /// # Errors
    /// When the row has no serial form.
    pub fn add(
        &mut self,
        event: &Event,
        user: &str,
        fingerprint: Fingerprint,
        rules: Vec<RuleIdx>,
        pool: &TextPool,
    ) -> io::Result<()> {
        let TimelineRows { rows, summary, repeats, latest } = self;
        summary.clear();
        describe::summary(event, summary);
        let [host, channel, provider] = latest;
        let Event { source, event_id, record_id, .. } = *event;
        let row = Stored {
            source,
            fingerprint,
            host: host.text(event.computer.shared(), repeats, pool),
            channel: channel.text(&event.channel, repeats, pool),
            provider: provider.text(&event.provider, repeats, pool),
            event_id,
            record_id,
            kind: repeats.text(describe::kind(event), pool),
            user: repeats.text(user, pool),
            summary: repeats.text(summary, pool),
            rules,
        };
        rows.push(|key| order(key, event.time, source), &row)
    }
}

/// The order of rows: time, place. It is total.
pub(crate) fn order(key: &mut Vec<u8>, at: DateTime<Utc>, source: RecordRef) {
    push_time(key, at);
    push_place(key, source);
}

/// The part of a row by which copies of a record are found.
#[derive(Serialize, Deserialize)]
pub(crate) struct FingerprintedRow {
    pub time: DateTime<Utc>,
    pub source: RecordRef,
    pub record_id: u64,
    pub fingerprint: Fingerprint,
}

/// The fingerprints of all rows, in their order.
///
/// # Errors
/// When the rows cannot be read back.
pub(crate) fn fingerprints(
    timeline: &SortedRows,
) -> io::Result<impl Iterator<Item = io::Result<FingerprintedRow>>> {
    Ok(timeline.rows()?.map(|frame| {
        let frame = frame?;
        let Stored { source, record_id, fingerprint, .. } = stored(&frame)?;
        Ok(FingerprintedRow { time: time_in(&frame)?, source, record_id, fingerprint })
    }))
}

fn stored<'f>(frame: &'f RowEntry<'_>) -> io::Result<Stored<'f>> {
    postcard::from_bytes(frame.content()).map_err(io::Error::other)
}

fn time_in(frame: &RowEntry<'_>) -> io::Result<DateTime<Utc>> {
    read_time(frame.key()).ok_or_else(|| io::Error::other("a row without a time"))
}
