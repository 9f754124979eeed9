//! The tables as Parquet files: one for each table, or one for each host.

pub(super) mod rows;

use std::borrow::Cow;
use std::io::{self, BufWriter};
use std::path::PathBuf;

#[cfg(feature = "sql")]
pub(crate) use self::rows::fields;
use self::rows::{HostSorter, RowSink, TableFile, host_of};
use super::names::{PARQUET_EXTENSION, PARQUET_FOLDER};
use super::output::{Output, Summed};
use super::schema::{parquet_name, stem};
use super::tables::{TABLES, Table};
use crate::analysis::Analysis;
use crate::error::Error;
use crate::rows::{Value, Values};
use crate::sorted::Sorter;
use crate::table::file_name;

/// Files that a table is parted into: a log may be written to have ever new hosts.
const MOST_FILES: usize = 1024;

/// Writes all tables, those that name a host as a file per host if so wanted.
pub(super) fn write(analysis: &Analysis, by_host: bool, output: &mut Output) -> Result<(), Error> {
    for table in &TABLES {
        let host = table.columns.iter().position(|column| {
            by_host && table.file != "hosts.csv" && matches!(column.name, "host" | "target_host")
        });
        match host {
            Some(host) => by_hosts(table, analysis, host, output)?,
            None => {
                let name = parquet_name(table);
                let path = output.path(&name);
                let file = output.create(&name)?;
                whole(table, analysis, file).map_err(Error::write(&path))?;
            }
        }
    }
    Ok(())
}

fn whole(table: &Table, analysis: &Analysis, file: BufWriter<Summed>) -> io::Result<()> {
    let mut sink = RowSink::File(Box::new(TableFile::new(table.columns, file)?));
    (table.parquet)(analysis, &mut sink)?;
    match sink {
        RowSink::File(file) => file.finish(),
        RowSink::ByHost(_) => Ok(()),
    }
}

/// Writes a table as a file per host, in the order of hosts: one file is open at a time.
fn by_hosts(
    table: &Table,
    analysis: &Analysis,
    host: usize,
    output: &mut Output,
) -> Result<(), Error> {
    let folder = output.folder().to_owned();
    let sorter = Sorter::new(folder.clone());
    let mut sink = RowSink::ByHost(HostSorter::new(host, sorter));
    (table.parquet)(analysis, &mut sink).map_err(Error::write(&folder))?;
    let RowSink::ByHost(HostSorter { mut rows, sorter, .. }) = sink else { return Ok(()) };
    sorter.add(&mut rows).map_err(Error::write(&folder))?;
    let sorted = sorter.finish();
    let mut open: Option<(String, PathBuf, TableFile)> = None;
    let mut files = 0;
    for row in sorted.rows().map_err(Error::write(&folder))? {
        let row = row.map_err(Error::write(&folder))?;
        let values: Vec<Value<'_>> = postcard::from_bytes(row.content())
            .map_err(|error| Error::write(&folder)(io::Error::other(error)))?;
        let name_of_host = host_of(&values, host);
        let is_new = open.as_ref().is_none_or(|(known, ..)| *known != name_of_host);
        if is_new && files < MOST_FILES {
            if let Some((_, path, table)) = open.take() {
                table.finish().map_err(Error::write(&path))?;
            }
            files += 1;
            // All hosts past the most files go into one file.
            let part = match files == MOST_FILES {
                true => Cow::Borrowed("_more"),
                false => file_name(&name_of_host),
            };
            let name = format!("{PARQUET_FOLDER}/{}/{part}{PARQUET_EXTENSION}", stem(table));
            let path = output.path(&name);
            let file = output.create(&name)?;
            let table = TableFile::new(table.columns, file).map_err(Error::write(&path))?;
            open = Some((name_of_host, path, table));
        }
        if let Some((_, path, table)) = &mut open {
            values.into_iter().for_each(|value| table.put(value));
            table.end_row().map_err(Error::write(path))?;
        }
    }
    match open {
        Some((_, path, table)) => table.finish().map_err(Error::write(&path)),
        // A table without rows is one empty file.
        None => {
            let name = format!("{PARQUET_FOLDER}/{}/_none{PARQUET_EXTENSION}", stem(table));
            let path = output.path(&name);
            let file = output.create(&name)?;
            let written = TableFile::new(table.columns, file).and_then(TableFile::finish);
            written.map_err(Error::write(&path))
        }
    }
}
