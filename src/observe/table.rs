//! One file of observations: a Parquet file of one row group, which is as much as a task reads.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::iter;
use std::path::Path;
use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::journal::TableEntry;
use crate::hex::hex;
use crate::model::{Channel, Form, InputIdx, LoggedId, Record, Str};
use crate::parquet::{
    self, ColumnType, ColumnValues, ListValues, MOST_BYTES, MOST_ROWS, ParquetField,
    PrimitiveValues, ReadBounds, TextValues,
};
use crate::record_row::RecordRow;
use crate::table::{Column, Kind, columns};

columns! { pub(crate) COLUMNS:
    "time": Time => "when it was logged (System/TimeCreated), UTC, nanoseconds; null where the type cannot hold it: before 1677 or after 2262",
    "exact_time" => "the time if `time` cannot hold it or if the log has two times: SECONDS.NANOSECONDS since 1970, then a blank and the time of System/TimeCreated",
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
    "form" => "the format of the record: binary, rendered, winlogbeat, hayabusa, nxlog",
    "offset": Integer => "the record's offset in its file, bytes",
    "record_number": Integer => "the number in the record's own header",
}

/// The names of the formats.
const FORMS: [(&str, Form); 5] = [
    ("binary", Form::Binary),
    ("rendered", Form::Rendered),
    ("winlogbeat", Form::Winlogbeat),
    ("hayabusa", Form::Hayabusa),
    ("nxlog", Form::NxLog),
];

/// The end of the name of an unfinished file.
pub(super) const UNFINISHED: &str = ".unfinished";

/// Bytes that a field of a record takes besides its texts. A hostile log may have many empty
/// fields.
const FIELD_BYTES: usize = 16;

/// The most bytes that are read of a file of observations, of all texts in it, and of the pages of
/// a column. A file is full at [`MOST_BYTES`] plus one record, which `record-bytes` limits.
const MOST_READ: usize = 256 << 20;
/// The most fields of records in a file that is read.
const MOST_FIELDS: usize = MOST_READ / 32;

/// The columns as Parquet columns.
static FIELDS: LazyLock<Vec<ParquetField>> = LazyLock::new(|| {
    let column_type = |column: &Column| match (column.name, column.kind) {
        ("event_id" | "level" | "process_id" | "thread_id", _) => ColumnType::U32,
        (_, Kind::Integer) => ColumnType::U64,
        (_, Kind::Time) => ColumnType::Time,
        (_, Kind::Texts) => ColumnType::Texts,
        _ => ColumnType::Text,
    };
    let field = |column: &Column| ParquetField {
        name: column.name,
        column_type: column_type(column),
        repeats: column_type(column) == ColumnType::U32 || column.name == "keywords",
    };
    COLUMNS.iter().map(field).collect()
});

/// The values of the columns, one field for each.
#[derive(Default)]
struct ObservationColumns {
    times: PrimitiveValues<i64>,
    exact_times: TextValues,
    computers: TextValues,
    channels: TextValues,
    providers: TextValues,
    event_ids: PrimitiveValues<u32>,
    record_ids: PrimitiveValues<u64>,
    levels: PrimitiveValues<u32>,
    keywords: PrimitiveValues<u64>,
    user_sids: TextValues,
    activity_ids: TextValues,
    process_ids: PrimitiveValues<u32>,
    thread_ids: PrimitiveValues<u32>,
    names: ListValues,
    values: ListValues,
    forms: TextValues,
    offsets: PrimitiveValues<u64>,
    numbers: PrimitiveValues<u64>,
}

/// A file of observations that is being filled.
#[derive(Default)]
pub(super) struct ObservationTable {
    observations: ObservationColumns,
    /// The lowest and the highest offset.
    reach: Option<(u64, u64)>,
    /// Bytes of texts and fields.
    bytes: usize,
}

impl ObservationTable {
    /// Adds the record of a row, with its time.
    pub fn add(&mut self, time: DateTime<Utc>, row: &RecordRow<'_>) {
        self.observations.push(time, row);
        let offset = row.source.offset;
        let (first, last) = self.reach.unwrap_or((offset, offset));
        self.reach = Some((first.min(offset), last.max(offset)));
        let names = [row.computer, row.channel, row.provider];
        let ids = [row.user_sid, row.activity_id.as_deref()].into_iter().flatten();
        let fields = row.data.iter().map(|(name, value)| name.len() + value.len() + FIELD_BYTES);
        self.bytes += names.into_iter().chain(ids).map(str::len).sum::<usize>();
        self.bytes += fields.sum::<usize>();
    }

    /// Returns whether it should be written.
    pub fn is_full(&self) -> bool {
        self.observations.len() >= MOST_ROWS || self.bytes >= MOST_BYTES
    }

    /// Writes it to a file, which gets its name when it is complete. `name` is its path below
    /// `folder`.
    pub fn write(self, folder: &Path, name: String) -> io::Result<TableEntry> {
        let (rows, reach) = (self.observations.len(), self.reach);
        let columns = self.observations.into_columns();
        let bytes = parquet::write_single_group(Vec::new(), &FIELDS, columns)?;
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
}

/// Returns the columns of a table of observations.
pub fn fields() -> &'static [ParquetField] {
    &FIELDS
}

/// Converts records to the columns of a table of observations.
pub fn columns(records: &[Record]) -> Vec<ColumnValues> {
    let mut observations = ObservationColumns::default();
    records
        .iter()
        .for_each(|record| observations.push(record.time, &RecordRow::from_record(record)));
    observations.into_columns()
}

/// Reads the columns of a file of observations.
///
/// # Errors
/// When the file cannot be read, or was changed after it was written.
pub fn read_columns(folder: &Path, entry: &TableEntry) -> io::Result<Vec<ColumnValues>> {
    let mut bytes = Vec::new();
    // The sender of a case may have made both file and journal, so its hash and size prove nothing.
    let file = File::open(folder.join(&entry.name))?;
    file.take(MOST_READ as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MOST_READ {
        return Err(io::Error::other("it is longer than what is read of one file"));
    }
    if hex(&Sha256::digest(&bytes)) != entry.sha256 {
        return Err(io::Error::other("it is not as it was written: its SHA-256 is another one"));
    }
    let rows = usize::try_from(entry.rows).ok().filter(|&rows| rows <= MOST_ROWS);
    let rows = rows.ok_or_else(|| io::Error::other("its rows are more than a file has"))?;
    parquet::read(bytes, &FIELDS, ReadBounds { rows, texts: MOST_FIELDS, bytes: MOST_READ })
}

/// Returns the times of a record that the column of times cannot hold, as text.
fn exact_text(time: DateTime<Utc>, logged: Option<DateTime<Utc>>, fits: bool) -> Option<String> {
    let text =
        |time: DateTime<Utc>| format!("{}.{:09}", time.timestamp(), time.timestamp_subsec_nanos());
    match logged {
        Some(logged) => Some(format!("{} {}", text(time), text(logged))),
        None => (!fits).then(|| text(time)),
    }
}

/// Parses the text that [`exact_text`] returns: a record's time, and that of System/TimeCreated.
fn parse_exact(text: &str) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let time = |text: &str| {
        let (seconds, nanos) = text.split_once('.')?;
        DateTime::from_timestamp(seconds.parse().ok()?, nanos.parse().ok()?)
    };
    let (first, second) = text.split_once(' ').unwrap_or((text, text));
    Some((time(first)?, time(second)?))
}

/// Reads a file of observations and passes its records, in order, to `each` as records of this
/// input.
///
/// # Errors
/// When the file cannot be read, or was changed after it was written.
pub(super) fn read_records(
    folder: &Path,
    entry: &TableEntry,
    input: InputIdx,
    each: impl FnMut(&Record),
) -> io::Result<()> {
    let observations = ObservationColumns::from_columns(read_columns(folder, entry)?);
    let observations = observations.filter(ObservationColumns::are_records);
    let observations =
        observations.ok_or_else(|| io::Error::other("its rows are not observations"))?;
    observations.for_each_record(input, each);
    Ok(())
}

impl ObservationColumns {
    fn len(&self) -> usize {
        self.times.len()
    }

    fn push(&mut self, time: DateTime<Utc>, row: &RecordRow<'_>) {
        let nanos = time.timestamp_nanos_opt();
        self.times.push(nanos);
        self.exact_times.push(exact_text(time, row.logged(), nanos.is_some()).as_deref());
        self.computers.push(Some(row.computer));
        self.channels.push(Some(row.channel));
        self.providers.push(Some(row.provider));
        self.event_ids.push(Some(row.event_id));
        self.record_ids.push(Some(row.record_id));
        self.levels.push(Some(row.level.into()));
        self.keywords.push(Some(row.keywords));
        self.user_sids.push(row.user_sid);
        self.activity_ids.push(row.activity_id.as_deref());
        self.process_ids.push(row.process_id);
        self.thread_ids.push(row.thread_id);
        self.names.push(Some(row.data.iter().map(|(name, _)| *name)));
        self.values.push(Some(row.data.iter().map(|(_, value)| *value)));
        self.forms.push(FORMS.iter().find(|(_, form)| *form == row.form).map(|(name, _)| *name));
        self.offsets.push(Some(row.source.offset));
        self.numbers.push(Some(row.source.number));
    }

    fn into_columns(self) -> Vec<ColumnValues> {
        use ColumnValues::{Text, Texts, Time, U32, U64};
        vec![
            Time(self.times),
            Text(self.exact_times),
            Text(self.computers),
            Text(self.channels),
            Text(self.providers),
            U32(self.event_ids),
            U64(self.record_ids),
            U32(self.levels),
            U64(self.keywords),
            Text(self.user_sids),
            Text(self.activity_ids),
            U32(self.process_ids),
            U32(self.thread_ids),
            Texts(self.names),
            Texts(self.values),
            Text(self.forms),
            U64(self.offsets),
            U64(self.numbers),
        ]
    }

    /// Creates them from columns. Returns `None` if the columns are different ones.
    fn from_columns(columns: Vec<ColumnValues>) -> Option<ObservationColumns> {
        use ColumnValues::{Text, Texts, Time, U32, U64};
        let Ok(
            [
                Time(times),
                Text(exact_times),
                Text(computers),
                Text(channels),
                Text(providers),
                U32(event_ids),
                U64(record_ids),
                U32(levels),
                U64(keywords),
                Text(user_sids),
                Text(activity_ids),
                U32(process_ids),
                U32(thread_ids),
                Texts(names),
                Texts(values),
                Text(forms),
                U64(offsets),
                U64(numbers),
            ],
        ) = <[ColumnValues; COLUMNS.len()]>::try_from(columns)
        else {
            return None;
        };
        Some(ObservationColumns {
            times,
            exact_times,
            computers,
            channels,
            providers,
            event_ids,
            record_ids,
            levels,
            keywords,
            user_sids,
            activity_ids,
            process_ids,
            thread_ids,
            names,
            values,
            forms,
            offsets,
            numbers,
        })
    }

    /// Returns whether each row is a record: it has a value where every record has one, as many
    /// values as names, and a valid time, format and level.
    fn are_records(&self) -> bool {
        let texts = [&self.computers, &self.channels, &self.providers, &self.forms];
        let numbers = [&self.record_ids, &self.keywords, &self.offsets, &self.numbers];
        let small = [&self.event_ids, &self.levels];
        let lists = [&self.names, &self.values];
        let has_nulls = texts.into_iter().any(TextValues::has_nulls)
            || numbers.into_iter().any(PrimitiveValues::has_nulls)
            || small.into_iter().any(PrimitiveValues::has_nulls)
            || lists.into_iter().any(ListValues::has_nulls);
        !has_nulls
            && self.names.is_as_long_as(&self.values)
            && (0..self.len()).all(|row| {
                self.time(row).is_some() && self.form(row).is_some() && self.level(row).is_some()
            })
    }

    /// Returns a row's time, and that of System/TimeCreated.
    fn time(&self, row: usize) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        match self.exact_times.get(row) {
            Some(exact) => parse_exact(exact),
            None => self.times.time(row).map(|time| (time, time)),
        }
    }

    fn form(&self, row: usize) -> Option<Form> {
        let form = self.forms.get(row)?;
        FORMS.iter().find(|(name, _)| *name == form).map(|&(_, form)| form)
    }

    fn level(&self, row: usize) -> Option<u8> {
        self.levels.get(row)?.try_into().ok()
    }

    /// Passes each row to `each` as a record of an input.
    fn for_each_record(&self, input: InputIdx, mut each: impl FnMut(&Record)) {
        let mut record = Record::default();
        for row in 0..self.len() {
            self.fill_record(&mut record, row);
            record.source.input = input;
            each(&record);
        }
    }

    /// Fills a record with a row. Texts that it already has are not allocated again.
    fn fill_record<'o>(&'o self, record: &mut Record, row: usize) {
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
        // Rows of records have a value in each column that is read in this way.
        let text = |column: &'o TextValues| column.get(row).unwrap_or_default();
        let names = (text(&self.channels), text(&self.providers));
        if (&**channel, &**provider) != names || row == 0 {
            *known_channel = Channel::of(names.0, names.1);
        }
        replace_text(channel, names.0);
        replace_text(provider, names.1);
        replace_text(computer, text(&self.computers));
        *event_id = self.event_ids.get(row).unwrap_or_default();
        *level = self.level(row).unwrap_or_default();
        *keywords = self.keywords.get(row).unwrap_or_default();
        *record_id = self.record_ids.get(row).unwrap_or_default();
        replace_optional_text(user_sid, self.user_sids.get(row));
        *activity_id = self.activity_ids.get(row).and_then(LoggedId::parse);
        *process_id = self.process_ids.get(row);
        *thread_id = self.thread_ids.get(row);
        source.offset = self.offsets.get(row).unwrap_or_default();
        source.number = self.numbers.get(row).unwrap_or_default();
        data.clear();
        if let (Some(names), Some(values)) = (self.names.get(row), self.values.get(row)) {
            iter::zip(names, values).for_each(|(name, value)| data.push(name, value));
        }
    }
}

fn replace_text(known: &mut Str, text: &str) {
    if **known != *text {
        *known = text.into();
    }
}

fn replace_optional_text(known: &mut Option<Str>, text: Option<&str>) {
    match (known.as_mut(), text) {
        (Some(known), Some(text)) => replace_text(known, text),
        _ => *known = text.map(Into::into),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RecordRef;

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

    fn table(records: &[Record]) -> ObservationTable {
        let mut table = ObservationTable::default();
        for record in records {
            table.add(record.time, &RecordRow::from_record(record));
        }
        table
    }

    /// Reads a file that a journal lists with its hash and this number of rows.
    fn forged(bytes: &[u8], rows: u64) -> io::Result<Vec<Record>> {
        let folder = tempfile::tempdir().unwrap();
        let name = "forged.parquet".to_owned();
        fs::write(folder.path().join(&name), bytes).unwrap();
        let sha256 = hex(&Sha256::digest(bytes));
        let size = bytes.len() as u64;
        let entry = TableEntry { name, rows, first: 0, last: u64::MAX, size, sha256 };
        let mut found = Vec::new();
        let read = read_records(folder.path(), &entry, InputIdx::default(), |record| {
            found.push(record.clone())
        });
        assert!(read.is_ok() || found.is_empty(), "all or none");
        read.map(|()| found)
    }

    #[test]
    fn a_table_is_read_as_it_was_written() {
        let records = [record(1), record(2)];
        let folder = tempfile::tempdir().unwrap();
        let entry = table(&records).write(folder.path(), "a.parquet".into()).unwrap();
        let mut found = Vec::new();
        read_records(folder.path(), &entry, InputIdx::default(), |record| {
            found.push(record.clone())
        })
        .unwrap();
        assert_eq!(found, records);
        let bytes = fs::read(folder.path().join("a.parquet")).unwrap();
        assert_eq!(forged(&bytes, 2).unwrap(), records);
        assert!(forged(&bytes, 3).is_err(), "the journal says otherwise");
    }

    #[test]
    fn what_is_no_table_of_observations_is_an_error_and_no_record() {
        let columns = || columns(&[record(1), record(2)]);
        let written = |fields: &[ParquetField], columns: Vec<ColumnValues>| {
            forged(&parquet::write_single_group(Vec::new(), fields, columns).unwrap(), 2)
        };
        assert_eq!(written(&FIELDS, columns()).unwrap().len(), 2);
        let place = |name: &str| FIELDS.iter().position(|field| field.name == name).unwrap();
        let with = |name: &str, values: ColumnValues| {
            let mut columns = columns();
            columns[place(name)] = values;
            written(&FIELDS, columns)
        };
        let small = |values: [Option<u32>; 2]| {
            let mut column = PrimitiveValues::default();
            values.into_iter().for_each(|value| column.push(value));
            ColumnValues::U32(column)
        };
        let texts = |values: [Option<&str>; 2]| {
            let mut column = TextValues::default();
            values.into_iter().for_each(|value| column.push(value));
            ColumnValues::Text(column)
        };
        let lists = |values: [Option<Vec<&'static str>>; 2]| {
            let mut column = ListValues::default();
            values.into_iter().for_each(|value| column.push(value));
            ColumnValues::Texts(column)
        };
        let with_type = |name: &str, column_type: ColumnType, values: ColumnValues| {
            let (mut fields, mut columns) = (FIELDS.to_vec(), columns());
            fields[place(name)].column_type = column_type;
            columns[place(name)] = values;
            written(&fields, columns)
        };
        let without = |name: &str| {
            let (mut fields, mut columns) = (FIELDS.to_vec(), columns());
            fields.remove(place(name));
            columns.remove(place(name));
            written(&fields, columns)
        };
        let refused = [
            with("level", small([Some(4), None])),
            with("level", small([Some(4), Some(256)])),
            with_type("level", ColumnType::Text, texts([Some("4"), Some("4")])),
            with("form", texts([Some("binary"), Some("other")])),
            with("exact_time", texts([None, Some("no time")])),
            with_type("names", ColumnType::Text, texts([Some("a"), Some("b")])),
            without("keywords"),
            with("values", lists([Some(vec!["a", "b"]), Some(vec!["c"])])),
            with("values", lists([Some(vec!["a"]), None])),
        ];
        for (index, read) in refused.into_iter().enumerate() {
            assert!(read.is_err(), "{index}: {read:?}");
        }
    }

    #[test]
    fn a_table_is_full_of_what_is_long_or_many() {
        let long = "x".repeat(MOST_BYTES / 2);
        let mut providers = table(&[]);
        for number in 0..2 {
            assert!(!providers.is_full());
            let record = Record { provider: format!("{long}{number}").into(), ..record(1) };
            providers.add(record.time, &RecordRow::from_record(&record));
        }
        assert!(providers.is_full());
        let mut record = record(1);
        (0..MOST_BYTES / FIELD_BYTES).for_each(|_| record.data.push("", ""));
        assert!(table(&[record]).is_full());
    }
}
