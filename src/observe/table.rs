//! One file of observations: a Parquet file of one row group, so that a file is what a task reads.

use std::fs;
use std::io::{self, Cursor, Write};
use std::panic;
use std::path::Path;
use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use polars::prelude::{DataFrame, DataType, Field, PolarsResult, Schema, TimeUnit, TimeZone};
use polars_arrow::array::{
    Array, ListArray, MutableArray, MutablePrimitiveArray, PrimitiveArray, StaticArray,
    Utf8ViewArray,
};
use polars_io::SerReader;
use polars_io::parquet::read::{ParallelStrategy, ParquetReader};
use sha2::{Digest, Sha256};

use super::journal::TableEntry;
use super::row::Row;
use crate::input::hex;
use crate::model::{Channel, Form, InputIdx, LoggedId, Record, RecordRef, Str};
use crate::parquet::{self, LONG, Lists, MOST_BYTES, MOST_ROWS, Repeated, Texts};
use crate::table::{Column, Kind, columns};

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

/// What a field takes besides its texts: a log may be written to have many empty ones.
const FIELD_BYTES: usize = 8;

/// The types of the columns.
static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let of = |column: &Column| match (column.name, column.kind) {
        ("event_id" | "level" | "process_id" | "thread_id", _) => DataType::UInt32,
        (_, Kind::Integer) => DataType::UInt64,
        (_, Kind::Time) => DataType::Datetime(TimeUnit::Nanoseconds, Some(TimeZone::UTC)),
        (_, Kind::Texts) => DataType::List(Box::new(DataType::String)),
        _ => DataType::String,
    };
    COLUMNS.iter().map(|column| Field::new(column.name.into(), of(column))).collect()
});

/// A file of observations in the making.
#[derive(Default)]
pub(super) struct Table {
    times: MutablePrimitiveArray<i64>,
    exact_times: Texts,
    computers: Texts,
    channels: Texts,
    providers: Texts,
    event_ids: Repeated<u32>,
    record_ids: MutablePrimitiveArray<u64>,
    levels: Repeated<u32>,
    keywords: Repeated<u64>,
    user_sids: Texts,
    activity_ids: Texts,
    process_ids: Repeated<u32>,
    thread_ids: Repeated<u32>,
    names: Lists,
    values: Lists,
    forms: Texts,
    offsets: MutablePrimitiveArray<u64>,
    numbers: MutablePrimitiveArray<u64>,
    /// The least and the largest offset.
    reach: Option<(u64, u64)>,
    /// Bytes of texts and fields.
    bytes: usize,
}

impl Table {
    /// Adds the record of a row, of this time.
    pub fn add(&mut self, time: DateTime<Utc>, row: &Row<'_>) -> PolarsResult<()> {
        let nanos = time.timestamp_nanos_opt();
        self.times.push(nanos);
        self.exact_times.push(exact(time, row.logged(), nanos.is_some()).as_deref());
        self.computers.push(Some(row.computer));
        self.channels.push(Some(row.channel));
        self.providers.push(Some(row.provider));
        self.event_ids.push(Some(row.event_id));
        self.record_ids.push_value(row.record_id);
        self.levels.push(Some(row.level.into()));
        self.keywords.push(Some(row.keywords));
        self.user_sids.push(row.user_sid);
        self.activity_ids.push(row.activity_id.as_deref());
        self.process_ids.push(row.process_id);
        self.thread_ids.push(row.thread_id);
        self.names.push(row.data.iter().map(|(name, _)| *name))?;
        self.values.push(row.data.iter().map(|(_, value)| *value))?;
        self.forms.push(FORMS.iter().find(|(_, form)| *form == row.form).map(|(name, _)| *name));
        let RecordRef { offset, number, .. } = row.source;
        self.offsets.push_value(offset);
        self.numbers.push_value(number);
        let (first, last) = self.reach.unwrap_or((offset, offset));
        self.reach = Some((first.min(offset), last.max(offset)));
        let names = [row.computer, row.channel, row.provider];
        let ids = [row.user_sid, row.activity_id.as_deref()].into_iter().flatten();
        let fields = row.data.iter().map(|(name, value)| name.len() + value.len() + FIELD_BYTES);
        self.bytes += names.into_iter().chain(ids).map(str::len).sum::<usize>();
        self.bytes += fields.sum::<usize>();
        Ok(())
    }

    /// Whether it should be put down.
    pub fn is_full(&self) -> bool {
        self.times.len() >= MOST_ROWS || self.bytes >= MOST_BYTES
    }

    /// Writes it to a file, which gets its name when it is whole. `name` is that below `folder`.
    pub fn write(self, folder: &Path, name: String) -> io::Result<TableEntry> {
        let (rows, reach) = (self.times.len(), self.reach);
        let write = || {
            let mut file = parquet::File::new(Vec::new(), &SCHEMA, LONG)?;
            file.group(rows, self.into_columns())?;
            file.finish()
        };
        let bytes = write().map_err(io::Error::other)?;
        let path = folder.join(&name);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent)?;
        let mut file =
            tempfile::Builder::new().prefix(".").suffix(UNFINISHED).tempfile_in(parent)?;
        file.write_all(&bytes)?;
        file.as_file().sync_data()?;
        file.persist(&path).map_err(|error| error.error)?;
        let sha256 = hex(&Sha256::digest(&bytes));
        let (first, last) = reach.unwrap_or((u64::MAX, 0));
        Ok(TableEntry { name, rows: rows as u64, first, last, size: bytes.len() as u64, sha256 })
    }

    fn into_columns(self) -> Vec<parquet::Column> {
        use parquet::Column::{Integers, Lists, Repeated, Small, Texts, Times};
        vec![
            Times(self.times),
            Texts(self.exact_times),
            Texts(self.computers),
            Texts(self.channels),
            Texts(self.providers),
            Small(self.event_ids),
            Integers(self.record_ids),
            Small(self.levels),
            Repeated(self.keywords),
            Texts(self.user_sids),
            Texts(self.activity_ids),
            Small(self.process_ids),
            Small(self.thread_ids),
            Lists(self.names),
            Lists(self.values),
            Texts(self.forms),
            Integers(self.offsets),
            Integers(self.numbers),
        ]
    }
}

/// Records as a table of observations.
///
/// # Errors
/// When they do not fit into one.
pub fn frame(records: &[Record]) -> PolarsResult<DataFrame> {
    let mut table = Table::default();
    records.iter().try_for_each(|record| table.add(record.time, &Row::of(record)))?;
    parquet::frame(&SCHEMA, records.len(), table.into_columns())
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
    // Who sends a case may have made file and journal: the library trusts what a footer says, and
    // panics where that is not so.
    let frame = panic::catch_unwind(|| {
        let mut reader =
            ParquetReader::new(Cursor::new(bytes)).read_parallel(ParallelStrategy::None);
        let rows = reader.get_metadata()?.num_rows;
        let is_told = rows <= MOST_ROWS && rows as u64 == entry.rows;
        is_told.then(|| reader.finish()).transpose()
    });
    let frame = frame.map_err(|_| io::Error::other("it is no Parquet file"))?;
    let frame = frame.map_err(io::Error::other)?;
    let is_whole =
        |frame: &DataFrame| frame.columns().iter().all(|column| column.len() as u64 == entry.rows);
    frame
        .filter(is_whole)
        .ok_or_else(|| io::Error::other("its rows are not as many as were written"))
}

/// The times of a record that the column of times does not hold.
fn exact(time: DateTime<Utc>, logged: Option<DateTime<Utc>>, fits: bool) -> Option<String> {
    let text =
        |time: DateTime<Utc>| format!("{}.{:09}", time.timestamp(), time.timestamp_subsec_nanos());
    match logged {
        Some(logged) => Some(format!("{} {}", text(time), text(logged))),
        None => (!fits).then(|| text(time)),
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
pub(super) fn read(
    folder: &Path,
    entry: &TableEntry,
    input: InputIdx,
    each: impl FnMut(&Record),
) -> io::Result<()> {
    let mut frame = read_frame(folder, entry)?;
    frame.rechunk_mut();
    let rows = Rows::of(&frame).filter(Rows::are_observations);
    let rows = rows.ok_or_else(|| io::Error::other("its rows are no observations"))?;
    rows.each(input, each);
    Ok(())
}

/// The rows of a table, by column.
struct Rows<'f> {
    count: usize,
    times: &'f PrimitiveArray<i64>,
    exact_times: &'f Utf8ViewArray,
    computers: &'f Utf8ViewArray,
    channels: &'f Utf8ViewArray,
    providers: &'f Utf8ViewArray,
    event_ids: &'f PrimitiveArray<u32>,
    record_ids: &'f PrimitiveArray<u64>,
    levels: &'f PrimitiveArray<u32>,
    keywords: &'f PrimitiveArray<u64>,
    user_sids: &'f Utf8ViewArray,
    activity_ids: &'f Utf8ViewArray,
    process_ids: &'f PrimitiveArray<u32>,
    thread_ids: &'f PrimitiveArray<u32>,
    ends: &'f [i64],
    names: &'f Utf8ViewArray,
    values: &'f Utf8ViewArray,
    forms: &'f Utf8ViewArray,
    offsets: &'f PrimitiveArray<u64>,
    numbers: &'f PrimitiveArray<u64>,
}

impl<'f> Rows<'f> {
    /// Those of a table whose columns are of one piece; none where a column is missing, of another
    /// type, or has no value where each record has one.
    fn of(frame: &'f DataFrame) -> Option<Rows<'f>> {
        fn column<'f, A: 'static>(frame: &'f DataFrame, name: &str) -> Option<&'f A> {
            let [array] = &frame.column(name).ok()?.as_materialized_series().chunks()[..] else {
                return None;
            };
            array.as_any().downcast_ref()
        }
        fn whole<'f, A: Array + 'static>(frame: &'f DataFrame, name: &str) -> Option<&'f A> {
            column(frame, name).filter(|array: &&A| array.null_count() == 0)
        }
        let list = |name| {
            let list: &ListArray<i64> = whole(frame, name)?;
            let texts = list.values().as_any().downcast_ref::<Utf8ViewArray>()?;
            (texts.null_count() == 0).then(|| (list.offsets().as_slice(), texts))
        };
        let ((ends, names), (same_ends, values)) = (list("names")?, list("values")?);
        let rows = Rows {
            count: frame.height(),
            times: column(frame, "time")?,
            exact_times: column(frame, "exact_time")?,
            computers: whole(frame, "computer")?,
            channels: whole(frame, "channel")?,
            providers: whole(frame, "provider")?,
            event_ids: whole(frame, "event_id")?,
            record_ids: whole(frame, "record_id")?,
            levels: whole(frame, "level")?,
            keywords: whole(frame, "keywords")?,
            user_sids: column(frame, "user_sid")?,
            activity_ids: column(frame, "activity_id")?,
            process_ids: column(frame, "process_id")?,
            thread_ids: column(frame, "thread_id")?,
            ends,
            names,
            values,
            forms: whole(frame, "form")?,
            offsets: whole(frame, "offset")?,
            numbers: whole(frame, "record_number")?,
        };
        (ends == same_ends).then_some(rows)
    }

    /// Whether each is a record.
    fn are_observations(&self) -> bool {
        (0..self.count).all(|row| {
            self.time(row).is_some()
                && self.form(row).is_some()
                && u8::try_from(self.levels.value(row)).is_ok()
        })
    }

    /// A row's time, and that of System/TimeCreated.
    fn time(&self, row: usize) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        match self.exact_times.get(row) {
            Some(exact) => parse_exact(exact),
            None => {
                let time = DateTime::from_timestamp_nanos(self.times.get(row)?);
                Some((time, time))
            }
        }
    }

    fn form(&self, row: usize) -> Option<Form> {
        let form = self.forms.value(row);
        FORMS.iter().find(|(name, _)| *name == form).map(|&(_, form)| form)
    }

    /// Gives each as a record of an input.
    fn each(&self, input: InputIdx, mut each: impl FnMut(&Record)) {
        let mut record = Record::default();
        for row in 0..self.count {
            self.fill(&mut record, row);
            record.source.input = input;
            each(&record);
        }
    }

    /// Makes a record that of a row: texts that it has already are not made again.
    fn fill(&self, record: &mut Record, row: usize) {
        let Record {
            source,
            time,
            logged,
            form,
            provider,
            channel,
            known_channel,
            computer,
            event_id,
            level,
            keywords,
            record_id,
            user_sid,
            activity_id,
            process_id,
            thread_id,
            data,
        } = record;
        (*time, *logged) = self.time(row).unwrap_or_default();
        *form = self.form(row).unwrap_or_default();
        let names = (self.channels.value(row), self.providers.value(row));
        if (&**channel, &**provider) != names || row == 0 {
            *known_channel = Channel::of(names.0, names.1);
        }
        set(channel, names.0);
        set(provider, names.1);
        set(computer, self.computers.value(row));
        *event_id = self.event_ids.value(row);
        *level = self.levels.value(row).try_into().unwrap_or_default();
        *keywords = self.keywords.value(row);
        *record_id = self.record_ids.value(row);
        set_or_clear(user_sid, self.user_sids.get(row));
        *activity_id = self.activity_ids.get(row).and_then(LoggedId::parse);
        *process_id = self.process_ids.get(row);
        *thread_id = self.thread_ids.get(row);
        source.offset = self.offsets.value(row);
        source.number = self.numbers.value(row);
        data.clear();
        for field in self.ends[row] as usize..self.ends[row + 1] as usize {
            data.push(self.names.value(field), self.values.value(field));
        }
    }
}

fn set(known: &mut Str, text: &str) {
    if **known != *text {
        *known = text.into();
    }
}

fn set_or_clear(known: &mut Option<Str>, text: Option<&str>) {
    match (known.as_mut(), text) {
        (Some(known), Some(text)) => set(known, text),
        _ => *known = text.map(Into::into),
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::{IntoColumn, NamedFrom, Series};
    use polars_io::parquet::write::ParquetWriter;

    use super::*;

    fn record(number: u64) -> Record {
        let mut record = Record {
            source: RecordRef { input: InputIdx::default(), offset: number * 100, number },
            channel: "Security".into(),
            known_channel: Channel::Security,
            event_id: 4624,
            record_id: number,
            user_sid: (number > 1).then(|| "S-1-5-18".into()),
            ..Record::default()
        };
        record.data.push("TargetUserName", "adm");
        record
    }

    fn table(records: &[Record]) -> Table {
        let mut table = Table::default();
        for record in records {
            table.add(record.time, &Row::of(record)).unwrap();
        }
        table
    }

    /// What is read of a file that a journal has with its own hash and so many rows.
    fn forged(bytes: &[u8], rows: u64) -> io::Result<Vec<Record>> {
        let folder = tempfile::tempdir().unwrap();
        let name = "forged.parquet".to_owned();
        fs::write(folder.path().join(&name), bytes).unwrap();
        let sha256 = hex(&Sha256::digest(bytes));
        let size = bytes.len() as u64;
        let entry = TableEntry { name, rows, first: 0, last: u64::MAX, size, sha256 };
        let mut found = Vec::new();
        let read =
            read(folder.path(), &entry, InputIdx::default(), |record| found.push(record.clone()));
        assert!(read.is_ok() || found.is_empty(), "all or none");
        read.map(|()| found)
    }

    #[test]
    fn a_table_is_read_as_it_was_written() {
        let records = [record(1), record(2)];
        let folder = tempfile::tempdir().unwrap();
        let entry = table(&records).write(folder.path(), "a.parquet".into()).unwrap();
        let mut found = Vec::new();
        read(folder.path(), &entry, InputIdx::default(), |record| found.push(record.clone()))
            .unwrap();
        assert_eq!(found, records);
        let bytes = fs::read(folder.path().join("a.parquet")).unwrap();
        assert_eq!(forged(&bytes, 2).unwrap(), records);
        assert!(forged(&bytes, 3).is_err(), "the journal says otherwise");
    }

    #[test]
    fn what_is_no_table_of_observations_is_an_error_and_no_record() {
        let written = |change: &dyn Fn(&mut DataFrame)| {
            let mut frame = frame(&[record(1), record(2)]).unwrap();
            change(&mut frame);
            let mut bytes = Vec::new();
            ParquetWriter::new(&mut bytes).finish(&mut frame).unwrap();
            forged(&bytes, 2)
        };
        assert_eq!(written(&|_| {}).unwrap().len(), 2);
        let with = |series: Series| {
            written(&|frame| {
                frame.with_column(series.clone().into_column()).unwrap();
            })
        };
        let refused = [
            with(Series::new("level".into(), [Some(4_u32), None])),
            with(Series::new("level".into(), [4_u32, 256])),
            with(Series::new("level".into(), ["4", "4"])),
            with(Series::new("form".into(), ["binary", "other"])),
            with(Series::new("exact_time".into(), [None, Some("no time")])),
            with(Series::new("names".into(), ["a", "b"])),
            written(&|frame| drop(frame.drop_in_place("keywords").unwrap())),
            written(&|frame| {
                let lists = [Series::new("".into(), ["a", "b"]), Series::new("".into(), ["c"])];
                frame.with_column(Series::new("values".into(), lists).into_column()).unwrap();
            }),
        ];
        for (index, read) in refused.into_iter().enumerate() {
            assert!(read.is_err(), "{index}: {read:?}");
        }
    }

    #[test]
    fn a_file_whose_columns_are_of_several_lengths_is_an_error() {
        let short = |columns: &[usize]| {
            let mut of = table(&[record(1), record(2)]).into_columns();
            let mut one = table(&[record(1)]).into_columns();
            for &column in columns {
                std::mem::swap(&mut of[column], &mut one[column]);
            }
            let mut file = parquet::File::new(Vec::new(), &SCHEMA, LONG).unwrap();
            file.group(2, of).unwrap();
            forged(&file.finish().unwrap(), 2)
        };
        assert_eq!(short(&[]).unwrap().len(), 2);
        for columns in [&[7][..], &[13], &[13, 14], &[15], &[17]] {
            assert!(short(columns).is_err(), "{columns:?}");
        }
    }

    #[test]
    fn a_table_is_full_of_what_is_long_or_many() {
        let long = "x".repeat(MOST_BYTES / 2);
        let mut providers = table(&[]);
        for number in 0..2 {
            assert!(!providers.is_full());
            let record = Record { provider: format!("{long}{number}").into(), ..record(1) };
            providers.add(record.time, &Row::of(&record)).unwrap();
        }
        assert!(providers.is_full());
        let mut record = record(1);
        (0..MOST_BYTES / FIELD_BYTES).for_each(|_| record.data.push("", ""));
        assert!(table(&[record]).is_full());
    }
}
