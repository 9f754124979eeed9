//! Sorts rows by key. Rows move to disk once they are many, so memory use stays flat.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use itertools::Itertools;
use postcard::ser_flavors::Flavor;
use serde::Serialize;

use crate::model::{Idx, RecordRef};

/// Bytes of rows kept in memory before any are written to disk: 64 MiB. A quarter of a GiB of busy
/// logs needs no disk.
const DEFAULT_MEMORY_LIMIT: usize = 64 << 20;
/// Sorted runs on disk before they are merged into one.
const MAX_RUNS: usize = 128;
/// Bytes read from a run at a time.
const READ_AHEAD: usize = 1 << 17;

/// Collects the rows of one task, in any order, until a [`Sorter`] takes them.
#[derive(Default)]
pub struct SortBuffer {
    entries: Vec<u8>,
    starts: Vec<usize>,
}

/// Appends a row's serialized content to a buffer. Most writes are numbers of a few bytes.
struct EntryWriter<'v>(&'v mut Vec<u8>);

impl Flavor for EntryWriter<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        // Calling the general copy costs more than these short cases.
        match *bytes {
            [] => {}
            [a] => self.0.push(a),
            [a, b] => self.0.extend_from_slice(&[a, b]),
            [a, b, c] => self.0.extend_from_slice(&[a, b, c]),
            [a, b, c, d] => self.0.extend_from_slice(&[a, b, c, d]),
            _ => self.0.extend_from_slice(bytes),
        }
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Bytes at the start of an entry: the length of its key and the length of its content.
const LENGTHS_SIZE: usize = 8;

impl SortBuffer {
    /// Adds a row with its key. Each key must be unique.
    ///
    /// # Errors
    /// When the content cannot be serialized.
    pub fn push(
        &mut self,
        key: impl FnOnce(&mut Vec<u8>),
        content: &impl Serialize,
    ) -> io::Result<()> {
        let entries = &mut self.entries;
        let start = entries.len();
        entries.extend([0; LENGTHS_SIZE]);
        key(entries);
        let middle = entries.len();
        postcard::serialize_with_flavor(content, EntryWriter(entries)).map_err(io::Error::other)?;
        let lengths = [middle - start - LENGTHS_SIZE, entries.len() - middle];
        for (to, length) in entries[start..].as_chunks_mut().0.iter_mut().zip(lengths) {
            *to = (length as u32).to_le_bytes();
        }
        self.starts.push(start);
        Ok(())
    }

    /// Returns the size of the collected rows in bytes.
    pub fn size(&self) -> usize {
        self.entries.len()
    }

    /// Returns how many leading bytes all keys share.
    fn shared_prefix_length(&self) -> usize {
        let mut entries =
            self.starts.iter().filter_map(|&start| RowEntry::first(&self.entries[start..]));
        let Some(first) = entries.next() else { return 0 };
        let first = first.key();
        entries.fold(first.len(), |same, entry| {
            let pairs = first[..same].iter().zip(entry.key());
            pairs.take_while(|(a, b)| a == b).count()
        })
    }

    /// Removes the rows and returns their entries sorted by key, in one buffer no larger than their
    /// size.
    fn take_sorted(&mut self) -> Vec<u8> {
        let entry = |start: usize| RowEntry::first(&self.entries[start..]);
        let same = self.shared_prefix_length();
        let mut order: Vec<(KeyPrefix, usize)> = Vec::with_capacity(self.starts.len());
        order.extend(self.starts.iter().map(|&start| {
            // Most keys differ in the first bytes after the shared prefix. Then the entries need
            // not be looked up.
            (
                entry(start)
                    .map_or_else(KeyPrefix::default, |entry| key_prefix(&entry.key()[same..])),
                start,
            )
        }));
        order.sort_unstable_by(|&(a, at), &(b, bt)| {
            let whole = || {
                let (a, b) = (entry(at), entry(bt));
                a.as_ref().map(RowEntry::key).cmp(&b.as_ref().map(RowEntry::key))
            };
            a.cmp(&b).then_with(whole)
        });
        let mut sorted = Vec::with_capacity(self.entries.len());
        for entry in order.iter().filter_map(|&(_, start)| entry(start)) {
            sorted.extend_from_slice(&entry.bytes);
        }
        self.entries.clear();
        self.starts.clear();
        sorted
    }
}

/// A serialized row with its key.
pub struct RowEntry<'b> {
    bytes: Cow<'b, [u8]>,
    key_length: usize,
}

impl<'b> RowEntry<'b> {
    /// Reads the entry at the start of some bytes.
    fn first(bytes: &'b [u8]) -> Option<RowEntry<'b>> {
        let (lengths, _) = bytes.split_first_chunk::<LENGTHS_SIZE>()?;
        let (key, size) = entry_sizes(lengths);
        Some(RowEntry { bytes: Cow::Borrowed(bytes.get(..size)?), key_length: key })
    }

    /// Returns the row's key.
    pub fn key(&self) -> &[u8] {
        &self.bytes[LENGTHS_SIZE..LENGTHS_SIZE + self.key_length]
    }

    /// Returns the row's serialized content.
    pub fn content(&self) -> &[u8] {
        &self.bytes[LENGTHS_SIZE + self.key_length..]
    }
}

/// The first 24 bytes of a key: a time and a place, in which most keys differ.
type KeyPrefix = [u64; 3];

/// Returns the first bytes of a key as numbers that sort in the same order. A shorter key is padded
/// with zeroes.
fn key_prefix(key: &[u8]) -> KeyPrefix {
    let mut head = [[0; 8]; 3];
    match key.first_chunk::<24>() {
        Some(chunk) => head.as_flattened_mut().copy_from_slice(chunk),
        None => head.as_flattened_mut()[..key.len()].copy_from_slice(key),
    }
    head.map(u64::from_be_bytes)
}

/// Returns the size of an entry's key and the size of the whole entry.
fn entry_sizes(lengths: &[u8; LENGTHS_SIZE]) -> (usize, usize) {
    let [a, b, c, d, e, f, g, h] = *lengths;
    let (key, content) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
    (key as usize, LENGTHS_SIZE + key as usize + content as usize)
}

/// Appends a time to a key.
pub(crate) fn push_time(key: &mut Vec<u8>, time: DateTime<Utc>) {
    // Flipping the sign bit makes times before 1970 sort first.
    let seconds = time.timestamp() as u64 ^ 1 << 63;
    key.extend_from_slice(&seconds.to_be_bytes());
    key.extend_from_slice(&time.timestamp_subsec_nanos().to_be_bytes());
}

/// Returns the time at the start of a key.
pub(crate) fn read_time(key: &[u8]) -> Option<DateTime<Utc>> {
    let (seconds, rest) = key.split_first_chunk()?;
    let seconds = (u64::from_be_bytes(*seconds) ^ 1 << 63) as i64;
    DateTime::from_timestamp(seconds, u32::from_be_bytes(*rest.first_chunk()?))
}

/// Appends a record's input and offset to a key.
pub(crate) fn push_place(key: &mut Vec<u8>, source: RecordRef) {
    key.extend_from_slice(&source.input.to_be_bytes());
    key.extend_from_slice(&source.offset.to_be_bytes());
}

/// Collects the rows of all tasks and sorts them.
pub struct Sorter {
    folder: PathBuf,
    memory_limit: usize,
    state: Mutex<SortedRows>,
}

/// The rows of all tasks: sorted blocks in memory and sorted runs on disk.
#[derive(Default)]
pub struct SortedRows {
    blocks: Vec<Vec<u8>>,
    size: usize,
    runs: Vec<File>,
}

impl Sorter {
    /// Creates a sorter that moves rows beyond the memory limit to unlinked temporary files in
    /// `folder`.
    pub fn new(folder: PathBuf) -> Sorter {
        Sorter::with_memory_limit(folder, DEFAULT_MEMORY_LIMIT)
    }

    /// Creates a sorter that keeps at most `memory_limit` bytes of rows in memory.
    pub fn with_memory_limit(folder: PathBuf, memory_limit: usize) -> Sorter {
        Sorter { folder, memory_limit, state: Mutex::default() }
    }

    /// Takes the rows of a task and leaves its buffer empty.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn add(&self, rows: &mut SortBuffer) -> io::Result<()> {
        let block = rows.take_sorted();
        if block.is_empty() {
            return Ok(());
        }
        let full = {
            let mut state = self.lock();
            state.size += block.len();
            state.blocks.push(block);
            if state.size <= self.memory_limit {
                return Ok(());
            }
            state.size = 0;
            std::mem::take(&mut state.blocks)
        };
        // Other tasks continue while this one writes.
        let run = self.write_run(merge(&full, &[], |_| true))?;
        let mut state = self.lock();
        state.runs.push(run);
        if state.runs.len() == MAX_RUNS {
            let merged = self.write_run(merge(&[], &state.runs, |_| true))?;
            state.runs = vec![merged];
        }
        Ok(())
    }

    /// Returns all rows.
    pub fn finish(self) -> SortedRows {
        self.take()
    }

    /// Returns all rows added so far and starts again with none.
    pub fn take(&self) -> SortedRows {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, SortedRows> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_run<'b>(
        &self,
        entries: impl Iterator<Item = io::Result<RowEntry<'b>>>,
    ) -> io::Result<File> {
        let mut run = BufWriter::with_capacity(1 << 20, tempfile::tempfile_in(&self.folder)?);
        for entry in entries {
            run.write_all(&entry?.bytes)?;
        }
        let mut run = run.into_inner().map_err(|error| error.into_error())?;
        run.rewind()?;
        Ok(run)
    }
}

impl SortedRows {
    /// Returns these rows together with others.
    pub fn merged_with(mut self, others: SortedRows) -> SortedRows {
        self.blocks.extend(others.blocks);
        self.runs.extend(others.runs);
        self.size += others.size;
        self
    }

    /// Returns all rows by key, from the first on. Only one iterator may be used at a time.
    ///
    /// # Errors
    /// When a run cannot be read back.
    pub fn rows(&self) -> io::Result<impl Iterator<Item = io::Result<RowEntry<'_>>>> {
        self.rows_where(|_| true)
    }

    /// Returns the rows for which `keep` is true, by key.
    ///
    /// # Errors
    /// When a run cannot be read back.
    pub fn rows_where(
        &self,
        keep: impl Fn(&RowEntry<'_>) -> bool + Copy,
    ) -> io::Result<impl Iterator<Item = io::Result<RowEntry<'_>>>> {
        self.runs.iter().try_for_each(|mut run| run.rewind())?;
        Ok(merge(&self.blocks, &self.runs, keep))
    }
}

/// Merges the entries of blocks and runs for which `keep` is true, in key order. An error is
/// returned at once.
fn merge<'b>(
    blocks: &'b [Vec<u8>],
    runs: &'b [File],
    keep: impl Fn(&RowEntry<'_>) -> bool + Copy,
) -> impl Iterator<Item = io::Result<RowEntry<'b>>> {
    let blocks = blocks.iter().map(|block| EntrySource::Block(block));
    let runs = runs.iter().map(|run| EntrySource::Run(BufReader::with_capacity(READ_AHEAD, run)));
    let kept = move |entry: &io::Result<RowEntry<'_>>| entry.as_ref().map_or(true, keep);
    // Most keys differ in their first bytes. Then the entries need not be looked up.
    let with_prefix =
        |entry: io::Result<RowEntry<'b>>| entry.map(|entry| (key_prefix(entry.key()), entry));
    let entries = blocks.chain(runs).map(move |entries| entries.filter(kept).map(with_prefix));
    let merged = entries.kmerge_by(|a: &io::Result<(KeyPrefix, RowEntry<'_>)>, b| match (a, b) {
        (Ok((head, a)), Ok((other, b))) => head < other || head == other && a.key() < b.key(),
        (a, _) => a.is_err(),
    });
    merged.map(|entry| entry.map(|(_, entry)| entry))
}

/// A source of entries in key order.
enum EntrySource<'b> {
    Block(&'b [u8]),
    Run(BufReader<&'b File>),
}

impl<'b> Iterator for EntrySource<'b> {
    type Item = io::Result<RowEntry<'b>>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            EntrySource::Block(rest) => {
                let entry = RowEntry::first(rest)?;
                *rest = &rest[entry.bytes.len()..];
                Some(Ok(entry))
            }
            EntrySource::Run(run) => read_entry(run).transpose(),
        }
    }
}

/// Reads the next entry of a run. Returns `None` at its end.
fn read_entry<'b>(run: &mut impl Read) -> io::Result<Option<RowEntry<'b>>> {
    let mut lengths = [0; LENGTHS_SIZE];
    match run.read(&mut lengths)? {
        0 => return Ok(None),
        read => run.read_exact(&mut lengths[read..])?,
    }
    let (key, size) = entry_sizes(&lengths);
    let mut bytes = Vec::with_capacity(size);
    bytes.extend(lengths);
    bytes.resize(size, 0);
    run.read_exact(&mut bytes[LENGTHS_SIZE..])?;
    Ok(Some(RowEntry { bytes: Cow::Owned(bytes), key_length: key }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers below `count`, `step` apart and wrapped around, in blocks of `size`.
    fn sort(count: u32, size: usize, memory_limit: usize) -> (Vec<u32>, usize) {
        let sorter = Sorter::with_memory_limit(std::env::temp_dir(), memory_limit);
        let numbers: Vec<u32> = (0..count).map(|n| n * 7919 % count).collect();
        for block in numbers.chunks(size) {
            let mut rows = SortBuffer::default();
            for &number in block {
                rows.push(|key| key.extend(number.to_be_bytes()), &number).unwrap();
            }
            sorter.add(&mut rows).unwrap();
        }
        let sorted = sorter.finish();
        let read = || {
            let mut found = Vec::new();
            for row in sorted.rows().unwrap() {
                found.push(postcard::from_bytes::<u32>(row.unwrap().content()).unwrap());
            }
            found
        };
        let first = read();
        assert_eq!(first, read(), "rows can be read again");
        (first, sorted.runs.len())
    }

    #[test]
    fn rows_come_in_order_from_memory_and_from_disk() {
        let expected: Vec<u32> = (0..1000).collect();
        assert_eq!(sort(1000, 10, usize::MAX), (expected.clone(), 0));
        let (found, runs) = sort(1000, 10, 500);
        assert!(runs > 1, "{runs} runs");
        assert_eq!(found, expected);
        // More runs than may be open: they are merged on the way.
        let (found, runs) = sort(1000, 1, 0);
        assert!(runs < MAX_RUNS);
        assert_eq!(found, expected);
    }

    #[test]
    fn rows_are_in_the_order_of_their_whole_keys() {
        // All begin the same, and some go on the same for longer than is compared at first.
        let long = "of-one-host-and-one-day";
        let ends = ["", "\0", "\0b", "a", "ab", &format!("{long}1"), &format!("{long}2"), long];
        let mut expected: Vec<String> = ends.iter().map(|end| format!("{long}/{end}")).collect();
        let mut rows = SortBuffer::default();
        for key in expected.iter().rev() {
            rows.push(|to| to.extend(key.bytes()), &()).unwrap();
        }
        let sorter = Sorter::new(std::env::temp_dir());
        sorter.add(&mut rows).unwrap();
        let sorted = sorter.finish();
        let key = |row: io::Result<RowEntry<'_>>| String::from_utf8(row.unwrap().key().to_vec());
        let found: Vec<String> = sorted.rows().unwrap().map(|row| key(row).unwrap()).collect();
        expected.sort();
        assert_eq!(found, expected);
    }
}
