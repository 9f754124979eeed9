//! One file of observations: a Parquet file of one row group, so that a file is what a task reads.

use std::fs;
use std::io::{self, Cursor, Write};
use std::path::Path;

use chrono::{DateTime, Utc};
use polars::prelude::{
    ChunkExplode, DataFrame, DataType, Int64Chunked, IntoColumn, IntoSeries, ListBuilderTrait,
    ListStringChunkedBuilder, NamedFrom, PolarsResult, Series, TimeUnit, TimeZone, UInt32Chunked,
    UInt64Chunked,
};
use polars_io::SerReader;
use polars_io::parquet::read::{ParallelStrategy, ParquetReader};
use polars_io::parquet::write::{ParquetCompression, ParquetWriter};
use sha2::{Digest, Sha256};

use super::journal::TableEntry;
use crate::input::hex;
use crate::model::{Channel, Fields, Form, Record, RecordRef, Str};
use crate::table::columns;

columns! { pub(crate) COLUMNS:
    "time": Time => "when it was logged (System/TimeCreated), UTC, nanoseconds; null where the type cannot hold it: before 1677 or after 2262",
    "exact_time" => "the time where `time` cannot hold it, or where the log has two: SECONDS.NANOSECONDS since 1970, and after a blank that of System/TimeCreated",
    "computer" => "System/Computer as logged; the folder `host=` has it in lower case",
    "channel" => "System/Channel as logged; empty when the record has none",
    "provider" => "System/Provider Name",
    "event_id": Integer => "System/EventID",
    "record_id": Integer => "System/EventRecordID, as Event Viewer shows it",
    "level": Integer => "System/Level: 1 critical to 5 verbose, 0 always",
    "keywords": Integer => "System/Keywords",
    "user_sid" => "System/Security UserID",
    "activity_id" => "System/Correlation ActivityID",
    "process_id": Integer => "System/Execution ProcessID",
    "thread_id": Integer => "System/Execution ThreadID",
    "names": Texts => "the names of the record's data, in log order; a name may repeat or be empty",
    "values": Texts => "their values",
    "form" => "the form the record came in: binary, rendered, winlogbeat, hayabusa, nxlog",
    "offset": Integer => "the record's offset in its file, bytes",
    "record_number": Integer => "the number in the record's own header",
}

/// The forms by their names.
const FORMS: [(&str, Form); 5] = [
    ("binary", Form::Binary),
    ("rendered", Form::Rendered),
    ("winlogbeat", Form::Winlogbeat),
    ("hayabusa", Form::Hayabusa),
    ("nxlog", Form::NxLog),
];

/// How the name of a file in the making ends.
pub(super) const UNFINISHED: &str = ".unfinished";
/// Rows of a file.
const MOST_ROWS: usize = 1 << 16;
/// Bytes of texts in a file, from which on it is full.
const MOST_BYTES: usize = 32 << 20;

/// A file of observations in the making.
pub(super) struct Table {
    times: Vec<Option<i64>>,
    exact_times: Vec<Option<String>>,
    texts: [Vec<Option<String>>; 6],
    numbers: [Vec<Option<u32>>; 4],
    large: [Vec<u64>; 4],
    names: ListStringChunkedBuilder,
    values: ListStringChunkedBuilder,
    first: u64,
    last: u64,
    bytes: usize,
}

impl Default for Table {
    fn default() -> Table {
        let list = |name: &str| ListStringChunkedBuilder::new(name.into(), 0, 0);
        Table {
            times: Vec::new(),
            exact_times: Vec::new(),
            texts: Default::default(),
            numbers: Default::default(),
            large: Default::default(),
            names: list("names"),
            values: list("values"),
            first: u64::MAX,
            last: 0,
            bytes: 0,
        }
    }
}

impl Table {
    /// Adds a record.
    pub fn add(&mut self, record: &Record) {
        let nanos = record.time.timestamp_nanos_opt();
        self.times.push(nanos);
        self.exact_times.push(exact(record, nanos.is_some()));
        let form = FORMS.iter().find(|(_, form)| *form == record.form).map(|(name, _)| *name);
        let texts = [
            Some(&*record.computer),
            Some(&*record.channel),
            Some(&*record.provider),
            record.user_sid.as_deref(),
            record.activity_id.as_deref(),
            form,
        ];
        for (column, text) in self.texts.iter_mut().zip(texts) {
            self.bytes += text.map_or(0, str::len);
            column.push(text.map(str::to_owned));
        }
        let numbers =
            [Some(record.event_id), Some(record.level.into()), record.process_id, record.thread_id];
        self.numbers.iter_mut().zip(numbers).for_each(|(column, number)| column.push(number));
        let RecordRef { offset, number, .. } = record.source;
        let large = [record.record_id, record.keywords, offset, number];
        self.large.iter_mut().zip(large).for_each(|(column, number)| column.push(number));
        self.names.append_values_iter(record.data.iter().map(|(name, _)| name));
        self.values.append_values_iter(record.data.iter().map(|(_, value)| value));
        self.bytes +=
            record.data.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        self.first = self.first.min(offset);
        self.last = self.last.max(offset);
    }

    /// Whether it should be put down.
    pub fn is_full(&self) -> bool {
        self.times.len() >= MOST_ROWS || self.bytes >= MOST_BYTES
    }

    /// Writes it to a file, which gets its name when it is whole. `name` is that below `folder`.
    pub fn write(self, folder: &Path, name: String) -> io::Result<TableEntry> {
        let rows = self.times.len() as u64;
        let (first, last) = (self.first, self.last);
        let mut bytes = Vec::new();
        let mut frame = self.into_frame().map_err(io::Error::other)?;
        ParquetWriter::new(&mut bytes)
            .with_compression(ParquetCompression::Zstd(None))
            .with_row_group_size(Some(MOST_ROWS))
            .set_parallel(false)
            .finish(&mut frame)
            .map_err(io::Error::other)?;
        let path = folder.join(&name);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent)?;
        let mut file =
            tempfile::Builder::new().prefix(".").suffix(UNFINISHED).tempfile_in(parent)?;
        file.write_all(&bytes)?;
        file.as_file().sync_data()?;
        file.persist(&path).map_err(|error| error.error)?;
        let sha256 = hex(&Sha256::digest(&bytes));
        Ok(TableEntry { name, rows, first, last, size: bytes.len() as u64, sha256 })
    }

    fn into_frame(mut self) -> PolarsResult<DataFrame> {
        let time = Int64Chunked::new("time".into(), &self.times)
            .into_datetime(TimeUnit::Nanoseconds, Some(TimeZone::UTC))
            .into_series();
        let text = |name: &str, values| Series::new(name.into(), values);
        let number = |name: &str, values: Vec<Option<u32>>| Series::new(name.into(), values);
        let large = |name: &str, values: Vec<u64>| Series::new(name.into(), values);
        let rows = self.times.len();
        let [computer, channel, provider, user_sid, activity_id, form] = self.texts;
        let [event_id, level, process_id, thread_id] = self.numbers;
        let [record_id, keywords, offset, record_number] = self.large;
        let columns = [
            time,
            text("exact_time", self.exact_times),
            text("computer", computer),
            text("channel", channel),
            text("provider", provider),
            number("event_id", event_id),
            large("record_id", record_id),
            number("level", level),
            large("keywords", keywords),
            text("user_sid", user_sid),
            text("activity_id", activity_id),
            number("process_id", process_id),
            number("thread_id", thread_id),
            self.names.finish().into_series(),
            self.values.finish().into_series(),
            text("form", form),
            large("offset", offset),
            large("record_number", record_number),
        ];
        DataFrame::new(rows, columns.into_iter().map(IntoColumn::into_column).collect())
    }
}

/// Records as a table of observations.
///
/// # Errors
/// When they do not fit into one.
pub fn frame(records: &[Record]) -> PolarsResult<DataFrame> {
    let mut table = Table::default();
    records.iter().for_each(|record| table.add(record));
    table.into_frame()
}

/// A file of observations as a table.
///
/// # Errors
/// When it cannot be read, or is not as it was written.
pub fn read_frame(folder: &Path, entry: &TableEntry) -> io::Result<DataFrame> {
    let bytes = fs::read(folder.join(&entry.name))?;
    if hex(&Sha256::digest(&bytes)) != entry.sha256 {
        return Err(io::Error::other("it is not as it was written: its SHA-256 is another one"));
    }
    let reader = ParquetReader::new(Cursor::new(bytes)).read_parallel(ParallelStrategy::None);
    reader.finish().map_err(io::Error::other)
}

/// The times of a record that the column of times does not hold.
fn exact(record: &Record, fits: bool) -> Option<String> {
    let text =
        |time: DateTime<Utc>| format!("{}.{:09}", time.timestamp(), time.timestamp_subsec_nanos());
    let logged = (record.logged != record.time).then(|| text(record.logged));
    match logged {
        Some(logged) => Some(format!("{} {logged}", text(record.time))),
        None => (!fits).then(|| text(record.time)),
    }
}

/// What [`exact`] wrote: a record's time, and that of System/TimeCreated.
fn parse_exact(text: &str) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let time = |text: &str| {
        let (seconds, nanos) = text.split_once('.')?;
        DateTime::from_timestamp(seconds.parse().ok()?, nanos.parse().ok()?)
    };
    let (first, second) = text.split_once(' ').unwrap_or((text, text));
    Some((time(first)?, time(second)?))
}

/// Reads a file of observations: its records, in its order, as records of this input.
///
/// # Errors
/// When it cannot be read, or is not what was written.
pub(super) fn read(folder: &Path, entry: &TableEntry, input: u32) -> io::Result<Vec<Record>> {
    let frame = read_frame(folder, entry)?;
    let records = records(&frame, input).map_err(io::Error::other)?;
    records.ok_or_else(|| io::Error::other("its rows are no observations"))
}

/// The records of a table; none where a cell is missing.
fn records(frame: &DataFrame, input: u32) -> PolarsResult<Option<Vec<Record>>> {
    let column = |name: &str| -> PolarsResult<Series> {
        Ok(frame.column(name)?.as_materialized_series().rechunk())
    };
    let number = |name: &str| -> PolarsResult<UInt32Chunked> { Ok(column(name)?.u32()?.clone()) };
    let large = |name: &str| -> PolarsResult<UInt64Chunked> { Ok(column(name)?.u64()?.clone()) };
    let times = column("time")?.cast(&DataType::Int64)?;
    let times = times.i64()?;
    let exact_times = column("exact_time")?;
    let exact_times = exact_times.str()?;
    let [computers, channels, providers, user_sids, activity_ids, forms] =
        ["computer", "channel", "provider", "user_sid", "activity_id", "form"].map(column);
    let (computers, channels, providers) = (computers?, channels?, providers?);
    let (computers, channels, providers) = (computers.str()?, channels.str()?, providers.str()?);
    let (user_sids, activity_ids, forms) = (user_sids?, activity_ids?, forms?);
    let (user_sids, activity_ids, forms) = (user_sids.str()?, activity_ids.str()?, forms.str()?);
    let (event_ids, levels) = (number("event_id")?, number("level")?);
    let (process_ids, thread_ids) = (number("process_id")?, number("thread_id")?);
    let (record_ids, keywords) = (large("record_id")?, large("keywords")?);
    let (offsets, numbers) = (large("offset")?, large("record_number")?);
    let (names, values) = (column("names")?, column("values")?);
    let (names, values) = (names.list()?, values.list()?);
    let ends = names.offsets()?;
    let (names, values) = (names.get_inner().rechunk(), values.get_inner().rechunk());
    let mut data = names.str()?.iter().zip(values.str()?.iter());

    let mut same = Same::default();
    let mut read = || {
        let mut found = Vec::with_capacity(frame.height());
        for row in 0..frame.height() {
            let (time, logged) = match exact_times.get(row) {
                Some(exact) => parse_exact(exact)?,
                None => {
                    let time = DateTime::from_timestamp_nanos(times.get(row)?);
                    (time, time)
                }
            };
            let form = forms.get(row)?;
            let mut fields = Fields::default();
            let [from, to] = [ends.get(row)?, ends.get(row + 1)?];
            for _ in *from..*to {
                let (name, value) = data.next()?;
                fields.push(name?, value?);
            }
            let (channel, provider) = (channels.get(row)?, providers.get(row)?);
            found.push(Record {
                source: RecordRef { input, offset: offsets.get(row)?, number: numbers.get(row)? },
                time,
                logged,
                form: FORMS.iter().find(|(name, _)| *name == form).map(|&(_, form)| form)?,
                provider: same.of(0, provider),
                channel: same.of(1, channel),
                known_channel: Channel::of(channel, provider),
                computer: same.of(2, computers.get(row)?),
                event_id: event_ids.get(row)?,
                level: levels.get(row)?.try_into().ok()?,
                keywords: keywords.get(row)?,
                record_id: record_ids.get(row)?,
                user_sid: user_sids.get(row).map(|sid| same.of(3, sid)),
                activity_id: activity_ids.get(row).map(|id| same.of(4, id)),
                process_id: process_ids.get(row),
                thread_id: thread_ids.get(row),
                data: fields,
            });
        }
        Some(found)
    };
    Ok(read())
}

/// The latest text of each column that repeats its texts.
#[derive(Default)]
struct Same([Str; 5]);

impl Same {
    fn of(&mut self, column: usize, text: &str) -> Str {
        let known = &mut self.0[column];
        if **known != *text {
            *known = text.into();
        }
        known.clone()
    }
}
