//! The tables as Parquet files: the cells of the CSV files, typed. An empty cell is null.
//!
//! A table's lines are cut into cells as they are written, and a row group is put down before it
//! grows large, so that memory does not grow with the table.

use std::borrow::Cow;
use std::io::{self, BufWriter, Write};

use polars::prelude::{DataType, Field, Schema, TimeUnit, TimeZone};
use polars_arrow::array::MutablePrimitiveArray;

use super::output::Summed;
use super::{Kind, Output, TABLES, Table};
use crate::analysis::Analysis;
use crate::error::Error;
use crate::model::parse_csv_time;
use crate::parquet::{Column, File, MOST_BYTES, MOST_ROWS, Texts};
use crate::sorted::{Rows, Sorter};
use crate::table::file_name;

/// The folder of the files.
pub(crate) const FOLDER: &str = "parquet";
/// How their names end.
pub(crate) const EXTENSION: &str = ".parquet";

/// Bytes of lines that are cut into cells at a time.
const AT_ONCE: usize = 1 << 20;
/// Files that a table is parted into: a log may be written to have ever new hosts.
const MOST_FILES: usize = 1024;

/// A table's file.
pub(super) fn name(table: &Table) -> String {
    format!("{FOLDER}/{}{EXTENSION}", stem(table))
}

fn stem(table: &Table) -> &'static str {
    table.file.trim_end_matches(".csv")
}

/// Writes all tables, those that name a host as a file per host if so wanted.
pub(super) fn write(analysis: &Analysis, by_host: bool, output: &mut Output) -> Result<(), Error> {
    for table in &TABLES {
        let host = table.columns.iter().position(|column| {
            by_host && table.file != "hosts.csv" && matches!(column.name, "host" | "target_host")
        });
        match host {
            Some(host) => parted(table, analysis, host, output)?,
            None => {
                let name = name(table);
                let path = output.path(&name);
                let file = output.create(&name)?;
                whole(table, analysis, file).map_err(Error::write(&path))?;
            }
        }
    }
    Ok(())
}

fn whole(table: &Table, analysis: &Analysis, file: BufWriter<Summed>) -> io::Result<()> {
    let mut to = Tables::new(table.columns, file)?;
    cells(table, analysis, |row| to.add(row.iter()))?;
    to.finish()
}

/// Writes a table as a file per host, in the order of hosts: one file is open at a time.
fn parted(
    table: &Table,
    analysis: &Analysis,
    host: usize,
    output: &mut Output,
) -> Result<(), Error> {
    let folder = output.folder().to_owned();
    let sorter = Sorter::new(folder.clone());
    let mut number = 0_u64;
    let mut rows = Rows::default();
    let sorted = cells(table, analysis, |row| {
        number += 1;
        let key = |key: &mut Vec<u8>| {
            key.extend(row[host].to_lowercase().bytes());
            key.push(0);
            key.extend(number.to_be_bytes());
        };
        rows.push(key, &row.iter().collect::<Vec<&str>>())?;
        if rows.size() < AT_ONCE { Ok(()) } else { sorter.add(&mut rows) }
    });
    sorted.and_then(|()| sorter.add(&mut rows)).map_err(Error::write(&folder))?;
    let sorted = sorter.finish();
    let mut open: Option<(String, std::path::PathBuf, Tables)> = None;
    let mut files = 0;
    for row in sorted.rows().map_err(Error::write(&folder))? {
        let row = row.map_err(Error::write(&folder))?;
        let cells: Vec<&str> = postcard::from_bytes(row.content())
            .map_err(|error| Error::write(&folder)(io::Error::other(error)))?;
        let of = cells[host].to_lowercase();
        let is_new = open.as_ref().is_none_or(|(known, ..)| *known != of);
        if is_new && files < MOST_FILES {
            if let Some((_, path, table)) = open.take() {
                table.finish().map_err(Error::write(&path))?;
            }
            files += 1;
            // What is past the most hosts goes into one file.
            let part = if files == MOST_FILES { Cow::Borrowed("_more") } else { file_name(&of) };
            let name = format!("{FOLDER}/{}/{part}{EXTENSION}", stem(table));
            let path = output.path(&name);
            let file = output.create(&name)?;
            let table = Tables::new(table.columns, file).map_err(Error::write(&path))?;
            open = Some((of, path, table));
        }
        if let Some((_, path, table)) = &mut open {
            table.add(cells.into_iter()).map_err(Error::write(path))?;
        }
    }
    match open {
        Some((_, path, table)) => table.finish().map_err(Error::write(&path)),
        // A table of no rows is one empty file.
        None => {
            let name = format!("{FOLDER}/{}/_none{EXTENSION}", stem(table));
            let path = output.path(&name);
            let file = output.create(&name)?;
            Tables::new(table.columns, file).and_then(Tables::finish).map_err(Error::write(&path))
        }
    }
}

/// Calls `each` with the cells of each row of a table.
fn cells(
    table: &Table,
    analysis: &Analysis,
    each: impl FnMut(&csv::StringRecord) -> io::Result<()> + Send,
) -> io::Result<()> {
    let mut lines = Lines { open: Vec::new(), each };
    (table.write)(analysis, &mut lines)?;
    lines.cut(lines.open.len())
}

/// Takes lines of CSV, in any pieces. A cell has no line end in it, so a line is a row.
struct Lines<F> {
    open: Vec<u8>,
    each: F,
}

impl<F: FnMut(&csv::StringRecord) -> io::Result<()>> Lines<F> {
    fn cut(&mut self, end: usize) -> io::Result<()> {
        let mut csv = csv::ReaderBuilder::new().has_headers(false).from_reader(&self.open[..end]);
        let mut row = csv::StringRecord::new();
        while csv.read_record(&mut row).map_err(io::Error::other)? {
            (self.each)(&row)?;
        }
        self.open.drain(..end);
        Ok(())
    }
}

impl<F: FnMut(&csv::StringRecord) -> io::Result<()>> Write for Lines<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.open.extend_from_slice(bytes);
        if self.open.len() >= AT_ONCE
            && let Some(last) = memchr::memrchr(b'\n', &self.open)
        {
            self.cut(last + 1)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A column of this kind.
fn column(kind: Kind) -> Column {
    match kind {
        Kind::Time => Column::Times(MutablePrimitiveArray::new()),
        Kind::Integer => Column::Integers(MutablePrimitiveArray::new()),
        Kind::Number => Column::Numbers(MutablePrimitiveArray::new()),
        _ => Column::Texts(Texts::default()),
    }
}

fn add(column: &mut Column, cell: &str) {
    match column {
        // 64 bits of nanoseconds reach from 1677 to 2262.
        Column::Times(values) => {
            values.push(parse_csv_time(cell).and_then(|time| time.timestamp_nanos_opt()));
        }
        Column::Integers(values) => values.push(cell.parse().ok()),
        Column::Numbers(values) => values.push(cell.parse().ok()),
        Column::Texts(values) => values.push((!cell.is_empty()).then_some(cell)),
        // No kind of a table's columns is one of these.
        Column::Repeated(_) | Column::Small(_) | Column::Lists(_) => {}
    }
}

/// The Parquet type of a column.
fn data_type(kind: Kind) -> DataType {
    match kind {
        Kind::Time => DataType::Datetime(TimeUnit::Nanoseconds, Some(TimeZone::UTC)),
        Kind::Integer => DataType::UInt64,
        Kind::Number => DataType::Float64,
        _ => DataType::String,
    }
}

/// The types of a table's columns.
pub(crate) fn schema(columns: &[super::Column]) -> Schema {
    columns.iter().map(|column| Field::new(column.name.into(), data_type(column.kind))).collect()
}

/// A Parquet file in the making.
struct Tables {
    columns: &'static [super::Column],
    values: Vec<Column>,
    rows: usize,
    bytes: usize,
    file: File<BufWriter<Summed>>,
}

impl Tables {
    fn new(columns: &'static [super::Column], file: BufWriter<Summed>) -> io::Result<Tables> {
        let file = File::new(file, &schema(columns), 0).map_err(io::Error::other)?;
        Ok(Tables { columns, values: Self::values(columns), rows: 0, bytes: 0, file })
    }

    fn values(columns: &[super::Column]) -> Vec<Column> {
        columns.iter().map(|of| column(of.kind)).collect()
    }

    fn add<'c>(&mut self, cells: impl Iterator<Item = &'c str>) -> io::Result<()> {
        for (values, cell) in self.values.iter_mut().zip(cells) {
            self.bytes += cell.len();
            add(values, cell);
        }
        self.rows += 1;
        if self.rows < MOST_ROWS && self.bytes < MOST_BYTES {
            return Ok(());
        }
        self.put()
    }

    /// Puts down a row group.
    fn put(&mut self) -> io::Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let values = std::mem::replace(&mut self.values, Self::values(self.columns));
        self.file.group(self.rows, values).map_err(io::Error::other)?;
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        self.put()?;
        self.file.finish().map_err(io::Error::other)?;
        Ok(())
    }
}
