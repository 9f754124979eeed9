//! Events with their records' data, kept for the formats that show them whole.
//!
//! A record is put down when it is read, like its line of the timeline and in the same order.

use std::io;

use serde::{Deserialize, Serialize};

use super::sorted::{Frame, Rows, time_of};
use super::timeline::order;
use crate::model::{Channel, Fields, Form, Record, RecordRef};

/// A record, all but its time, and the rules that fired on it.
#[derive(Serialize, Deserialize)]
struct Kept<'a> {
    source: RecordRef,
    form: Form,
    provider: &'a str,
    channel: &'a str,
    computer: &'a str,
    event_id: u32,
    level: u8,
    keywords: u64,
    record_id: u64,
    user_sid: Option<&'a str>,
    activity_id: Option<&'a str>,
    process_id: Option<u32>,
    thread_id: Option<u32>,
    #[serde(borrow)]
    data: Vec<(&'a str, &'a str)>,
    rules: Vec<usize>,
}

/// Keeps a record that these rules fired on.
///
/// # Errors
/// When the record has no serial form.
pub(crate) fn add(rows: &mut Rows, record: &Record, rules: &[usize]) -> io::Result<()> {
    let kept = Kept {
        source: record.source,
        form: record.form,
        provider: &record.provider,
        channel: &record.channel,
        computer: &record.computer,
        event_id: record.event_id,
        level: record.level,
        keywords: record.keywords,
        record_id: record.record_id,
        user_sid: record.user_sid.as_deref(),
        activity_id: record.activity_id.as_deref(),
        process_id: record.process_id,
        thread_id: record.thread_id,
        data: record.data.iter().collect(),
        rules: rules.to_vec(),
    };
    rows.push(|key| order(key, record.time, record.source), &kept)
}

/// Where the record of a frame lies.
///
/// # Errors
/// When the frame holds none.
pub(super) fn source(frame: &Frame<'_>) -> io::Result<RecordRef> {
    // It is what the content begins with.
    let (source, _) = postcard::take_from_bytes(frame.content()).map_err(io::Error::other)?;
    Ok(source)
}

/// A record and the rules that fired on it.
///
/// # Errors
/// When the frame holds none.
pub(super) fn read(frame: &Frame<'_>) -> io::Result<(Record, Vec<usize>)> {
    let time = time_of(frame.key()).ok_or_else(|| io::Error::other("a record of no time"))?;
    let kept: Kept<'_> = postcard::from_bytes(frame.content()).map_err(io::Error::other)?;
    let mut data = Fields::default();
    for (name, value) in kept.data {
        data.push(name, value);
    }
    let record = Record {
        source: kept.source,
        time,
        logged: time,
        form: kept.form,
        provider: kept.provider.into(),
        channel: kept.channel.into(),
        known_channel: Channel::of(kept.channel, kept.provider),
        computer: kept.computer.into(),
        event_id: kept.event_id,
        level: kept.level,
        keywords: kept.keywords,
        record_id: kept.record_id,
        user_sid: kept.user_sid.map(Into::into),
        activity_id: kept.activity_id.map(Into::into),
        process_id: kept.process_id,
        thread_id: kept.thread_id,
        data,
    };
    Ok((record, kept.rules))
}
