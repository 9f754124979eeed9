//! Rows as the values of Parquet columns: of their own types, whole texts, lists as lists, and null
//! where there is nothing.
//!
//! A row group is written before it grows large, so that memory does not grow with the table.

use std::borrow::Cow;
use std::io::{self, BufWriter};

use super::super::output::Summed;
use super::super::table_rows::TableRows;
use crate::analysis::Analysis;
use crate::parquet::{ColumnType, ColumnValues, MOST_BYTES, MOST_ROWS, ParquetField, ParquetFile};
use crate::rows::{Row, Value, Values};
use crate::sorted::{SortBuffer, Sorter};
use crate::table::{Column, Kind};

/// Bytes of rows that are sorted at a time.
const AT_ONCE: usize = 1 << 20;
/// Gives a table's rows to what takes them.
pub(in crate::report) type WriteTable = fn(&Analysis, &mut RowSink) -> io::Result<()>;

/// Gives the rows of a table to what takes them.
pub(in crate::report) fn write_rows<T: TableRows>(
    analysis: &Analysis,
    to: &mut RowSink,
) -> io::Result<()> {
    T::each(analysis, &mut |row| match to {
        RowSink::File(file) => file.row(row),
        RowSink::ByHost(hosts) => hosts.row(row),
    })
}

/// Takes the rows of a table.
pub(in crate::report) enum RowSink {
    /// Writes them to one file.
    File(Box<TableFile>),
    /// Sorts them by host.
    ByHost(HostSorter),
}

/// A table's rows by host.
pub(in crate::report) struct HostSorter {
    /// Which column names the host.
    host: usize,
    number: u64,
    pub(super) rows: SortBuffer,
    pub(super) sorter: Sorter,
}

/// The values of a row, to be kept for later.
#[derive(Default)]
struct KeptValues(Vec<Value<'static>>);

impl Values for KeptValues {
    fn put(&mut self, value: Value<'_>) {
        let text = |text: Cow<'_, str>| Value::Text(Cow::Owned(text.into_owned()));
        let texts = |texts: Vec<String>| Value::Texts(texts.into_iter().map(Cow::Owned).collect());
        self.0.push(match value {
            Value::Null => Value::Null,
            Value::Text(whole) | Value::Excerpt { whole, .. } => text(whole),
            Value::Shared(_, shared) => text(Cow::Borrowed(shared)),
            Value::Time(time) => Value::Time(time),
            Value::Integer(number) => Value::Integer(number),
            Value::Number(number) => Value::Number(number),
            Value::Boolean(is) => Value::Boolean(is),
            Value::Flag(is) => Value::Flag(is),
            Value::Texts(list) => texts(list.into_iter().map(Cow::into_owned).collect()),
            Value::Records(pointers) => texts(pointers.all().collect()),
        });
    }
}

/// The host that a row names, in lower case.
pub(super) fn host_of(values: &[Value<'_>], host: usize) -> String {
    match values.get(host) {
        Some(Value::Text(host)) => host.to_lowercase(),
        _ => String::new(),
    }
}

impl HostSorter {
    /// Sorts the rows of a table, in which this column names the host.
    pub(super) fn new(host: usize, sorter: Sorter) -> HostSorter {
        HostSorter { host, number: 0, rows: SortBuffer::default(), sorter }
    }

    fn row(&mut self, row: &impl Row) -> io::Result<()> {
        let mut values = KeptValues::default();
        row.values(&mut values);
        self.number += 1;
        let key = |key: &mut Vec<u8>| {
            key.extend(host_of(&values.0, self.host).bytes());
            key.push(0);
            key.extend(self.number.to_be_bytes());
        };
        self.rows.push(key, &values.0)?;
        if self.rows.size() < AT_ONCE { Ok(()) } else { self.sorter.add(&mut self.rows) }
    }
}

/// A table's columns as those of a Parquet file.
pub(crate) fn fields(columns: &[Column]) -> Vec<ParquetField> {
    let column_type = |kind: Kind| match kind {
        Kind::Time => ColumnType::Time,
        Kind::Integer => ColumnType::U64,
        Kind::Number => ColumnType::F64,
        Kind::Boolean => ColumnType::Bool,
        Kind::Texts => ColumnType::Texts,
        Kind::Text | Kind::Object | Kind::Address => ColumnType::Text,
    };
    let field = |column: &Column| ParquetField {
        name: column.name,
        column_type: column_type(column.kind),
        repeats: false,
    };
    columns.iter().map(field).collect()
}

/// A table's Parquet file in the making.
pub(in crate::report) struct TableFile {
    fields: Vec<ParquetField>,
    values: Vec<ColumnValues>,
    /// The column of the next value.
    next: usize,
    rows: usize,
    file: ParquetFile<BufWriter<Summed>>,
}

impl Values for TableFile {
    fn put(&mut self, value: Value<'_>) {
        let Some(column) = self.values.get_mut(self.next) else { return };
        self.next += 1;
        // `row!` has each value of its column's type.
        match column {
            ColumnValues::Time(times) => times.push_time(match value {
                Value::Time(time) => Some(time),
                _ => None,
            }),
            ColumnValues::U64(numbers) => numbers.push(match value {
                Value::Integer(number) => Some(number),
                _ => None,
            }),
            ColumnValues::U32(numbers) => numbers.push(match value {
                Value::Integer(number) => number.try_into().ok(),
                _ => None,
            }),
            ColumnValues::F64(numbers) => numbers.push(match value {
                Value::Number(number) => Some(number),
                _ => None,
            }),
            ColumnValues::Bool(values) => values.push(match value {
                Value::Boolean(is) | Value::Flag(is) => Some(is),
                _ => None,
            }),
            ColumnValues::Text(texts) => texts.push(match &value {
                Value::Text(text) | Value::Excerpt { whole: text, .. } => Some(text),
                Value::Shared(_, text) => Some(text),
                _ => None,
            }),
            ColumnValues::Texts(lists) => match value {
                Value::Texts(texts) => lists.push(Some(texts.iter().map(|text| &**text))),
                Value::Records(pointers) => {
                    let texts: Vec<String> = pointers.all().collect();
                    lists.push(Some(texts.iter().map(String::as_str)));
                }
                _ => lists.push(None::<[&str; 0]>),
            },
        }
    }
}

impl TableFile {
    pub(super) fn new(columns: &[Column], file: BufWriter<Summed>) -> io::Result<TableFile> {
        let fields = fields(columns);
        let file = ParquetFile::new(file, &fields)?;
        Ok(TableFile { values: Self::empty(&fields), fields, next: 0, rows: 0, file })
    }

    fn empty(fields: &[ParquetField]) -> Vec<ColumnValues> {
        fields.iter().map(|field| ColumnValues::new(field.column_type)).collect()
    }

    fn row(&mut self, row: &impl Row) -> io::Result<()> {
        row.values(self);
        self.end_row()
    }

    pub(super) fn end_row(&mut self) -> io::Result<()> {
        self.next = 0;
        self.rows += 1;
        let bytes = || self.values.iter().map(ColumnValues::text_bytes).sum::<usize>();
        if self.rows < MOST_ROWS && bytes() < MOST_BYTES { Ok(()) } else { self.write_group() }
    }

    fn write_group(&mut self) -> io::Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let values = std::mem::replace(&mut self.values, Self::empty(&self.fields));
        self.rows = 0;
        self.file.write_row_group(values)
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.write_group()?;
        self.file.finish()?;
        Ok(())
    }
}
