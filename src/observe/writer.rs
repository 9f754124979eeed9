//! Writes an input's observations to files by host and day.

use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDate, Utc};

use super::journal::TableEntry;
use super::table::ObservationTable;
use crate::model::Record;
use crate::record_row::RecordRow;
use crate::sorted::{self, SortBuffer, Sorter};
use crate::table::file_name;

/// The folder of the files.
pub(crate) const OBSERVATIONS: &str = "observations";
/// The most files by host and day for one input. A hostile log may name ever more hosts and days.
const MOST_PARTS: usize = 1024;
/// The folder of the observations beyond this limit.
const MORE: &str = "host=_more/day=_more";

/// Writes an input's records to files. It takes them in any order and from any thread.
pub(crate) struct ObservationWriter {
    folder: PathBuf,
    stem: String,
    sorter: Sorter,
}

impl ObservationWriter {
    /// Creates a writer for the observations of an input in a case folder. The files' names begin
    /// with `stem`.
    pub fn new(folder: &Path, stem: String) -> ObservationWriter {
        ObservationWriter {
            folder: folder.to_owned(),
            stem,
            sorter: Sorter::new(folder.to_owned()),
        }
    }

    /// Adds a record to the records of a task.
    ///
    /// # Errors
    /// When the record cannot be serialized.
    pub fn push(rows: &mut SortBuffer, record: &Record) -> io::Result<()> {
        let key = |key: &mut Vec<u8>| {
            key.extend(record.computer.to_lowercase().bytes());
            key.push(0);
            sorted::push_time(key, record.time);
            key.extend(record.source.offset.to_be_bytes());
        };
        rows.push(key, &RecordRow::from_record(record))
    }

    /// Takes the records of a task and leaves its buffer empty.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn add(&self, rows: &mut SortBuffer) -> io::Result<()> {
        self.sorter.add(rows)
    }

    /// Writes the files of all records that were added.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn finish(&self) -> io::Result<Vec<TableEntry>> {
        let ObservationWriter { folder, stem, sorter } = self;
        let (folder, stem) = (folder.clone(), stem.clone());
        let rows = sorter.take();
        let mut parts = ObservationFiles { folder, stem, ..ObservationFiles::default() };
        for frame in rows.rows()? {
            let frame = frame?;
            let (host, time) =
                split_key(frame.key()).ok_or_else(|| io::Error::other("no row's key"))?;
            let row: RecordRow<'_> =
                postcard::from_bytes(frame.content()).map_err(io::Error::other)?;
            parts.add(host, time, &row)?;
        }
        parts.finish()
    }
}

/// Returns the host, in lower case, and the time of a row's key.
fn split_key(key: &[u8]) -> Option<(&str, DateTime<Utc>)> {
    let (rest, _offset) = key.split_last_chunk::<8>()?;
    let (host, time) = rest.split_last_chunk::<12>()?;
    Some((str::from_utf8(host.strip_suffix(&[0])?).ok()?, sorted::read_time(time)?))
}

/// Writes the files of an input. Records come by host and time, so only one file is open at a time.
#[derive(Default)]
struct ObservationFiles {
    folder: PathBuf,
    stem: String,
    /// The host and day of the latest record, and the open file of its part.
    latest: Option<(String, NaiveDate)>,
    part: String,
    open: Option<ObservationTable>,
    /// The number of parts that were begun.
    begun: usize,
    entries: Vec<TableEntry>,
}

impl ObservationFiles {
    fn add(&mut self, host: &str, time: DateTime<Utc>, row: &RecordRow<'_>) -> io::Result<()> {
        let day = time.date_naive();
        let is_same = |(of, on): &(String, NaiveDate)| of == host && *on == day;
        if !self.latest.as_ref().is_some_and(is_same) {
            self.latest = Some((host.to_owned(), day));
            let is_one_more = self.begun < MOST_PARTS;
            let part = if is_one_more { part_folder(host, day) } else { MORE.to_owned() };
            if self.part != part {
                self.write_open()?;
                self.part = part;
                self.begun += 1;
            }
        }
        let table = self.open.get_or_insert_default();
        table.add(time, row);
        if table.is_full() { self.write_open() } else { Ok(()) }
    }

    /// Writes the open file.
    fn write_open(&mut self) -> io::Result<()> {
        let Some(table) = self.open.take() else { return Ok(()) };
        let (part, number) = (&self.part, self.entries.len());
        let name = format!("{OBSERVATIONS}/{part}/{}-{number}.parquet", self.stem);
        self.entries.push(table.write(&self.folder, name)?);
        Ok(())
    }

    fn finish(mut self) -> io::Result<Vec<TableEntry>> {
        self.write_open()?;
        Ok(self.entries)
    }
}

/// Returns the folder of a host's day.
fn part_folder(host: &str, day: NaiveDate) -> String {
    format!("host={}/day={}", file_name(host), day.format("%Y-%m-%d"))
}
