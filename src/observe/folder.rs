//! A case folder and the files that were extracted to it, as listed by its journal.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use itertools::Itertools;
use serde::Serialize;
use walkdir::WalkDir;

use super::journal::{ExtractSettings, FileEntry, JournalLine, TableEntry};
use super::table::UNFINISHED;
use super::writer::OBSERVATIONS;
use super::{SCHEMA, table};
use crate::detect::EventFilter;
use crate::error::Error;
use crate::input::FileState;
use crate::input::ReadExtent;
use crate::model::{InputIdx, Record};

/// The journal's name.
const JOURNAL: &str = "journal.jsonl";
/// The name of the lock file. The process that writes to the folder holds its lock.
const LOCK: &str = ".lock";

/// The contents of a case folder.
#[derive(Default)]
pub struct CaseContents {
    /// The files, by path, and the event filter of the rules when they were extracted.
    pub files: BTreeMap<PathBuf, (Arc<EventFilter>, FileEntry)>,
    /// Files whose extraction was begun but not finished, because the run was killed.
    pub begun: BTreeSet<PathBuf>,
}

/// The counts of merging another case folder into this one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MergeCounts {
    /// Files that this folder did not have.
    pub new: usize,
    /// Files that this folder had from a different extraction.
    pub replaced: usize,
    /// Files that this folder already had, unchanged.
    pub same: usize,
    /// Files that neither folder has finished.
    pub unfinished: usize,
}

/// A case folder that is open for writing, by one process at a time.
pub struct CaseFolder {
    root: PathBuf,
    known: CaseContents,
    journal: Mutex<File>,
    /// The lock is held while this file is open.
    _lock: File,
}

impl CaseFolder {
    /// Opens a case folder, or creates it if it does not exist.
    ///
    /// # Errors
    /// [`Error::Case`] when the folder holds something else, or another process has it open;
    /// [`Error::Write`] when it cannot be written.
    pub fn open(root: &Path) -> Result<CaseFolder, Error> {
        let path = root.join(JOURNAL);
        let occupied = || fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_some());
        if !path.exists() && (root.is_file() || occupied()) {
            let reason = "holds something that is not a case: name another folder";
            return Err(Error::Case { path: root.to_owned(), reason: reason.to_owned() });
        }
        fs::create_dir_all(root).map_err(Error::write(root))?;
        let lock = File::create(root.join(LOCK)).map_err(Error::write(root))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let reason = "another run is writing to it".to_owned();
                return Err(Error::Case { path: root.to_owned(), reason });
            }
            Err(TryLockError::Error(error)) => return Err(Error::write(root)(error)),
        }
        let mut options = OpenOptions::new();
        let journal = options.read(true).write(true).create(true).truncate(false).open(&path);
        let mut journal = journal.map_err(Error::write(&path))?;
        let mut text = Vec::new();
        journal.read_to_end(&mut text).map_err(Error::write(&path))?;
        let (known, whole) = parse_journal(&path, &text)?;
        // The incomplete line of a killed process would disturb the next one.
        let cut = journal.set_len(whole as u64).and_then(|()| journal.seek(SeekFrom::End(0)));
        cut.map_err(Error::write(&path))?;
        if whole == 0 {
            append_line(&mut journal, &JournalLine::first()).map_err(Error::write(&path))?;
        }
        Ok(CaseFolder { root: root.to_owned(), known, journal: Mutex::new(journal), _lock: lock })
    }

    /// Reads the contents of a case folder.
    ///
    /// # Errors
    /// [`Error::Case`] when the folder is not a case folder, or is of another version.
    pub fn read(root: &Path) -> Result<CaseContents, Error> {
        let path = root.join(JOURNAL);
        let text = fs::read(&path).map_err(|error| Error::Case {
            path: root.to_owned(),
            reason: format!("no case folder, which 'extract' makes ({JOURNAL}: {error})"),
        })?;
        Ok(parse_journal(&path, &text)?.0)
    }

    /// Returns the path of the folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Removes and returns the entry of a file, if it holds everything that would be extracted now.
    pub fn take_finished(
        &mut self,
        path: &Path,
        state: Option<&FileState>,
        settings: &ExtractSettings,
        asks: &EventFilter,
    ) -> Option<(Arc<EventFilter>, FileEntry)> {
        let (known, entry) = self.known.files.get(path)?;
        let same = match (entry.state(), state) {
            (Some(then), Some(now)) => then.is_unchanged_in(now),
            _ => false,
        };
        let whole = entry
            .inputs
            .iter()
            .all(|input| !input.kind.is_log() || input.extent == ReadExtent::Whole);
        let is_finished = same
            && whole
            && entry.settings == *settings
            && known.includes(asks)
            && entry.tables().all(|table| is_present(&self.root, table));
        is_finished.then(|| self.known.files.remove(path)).flatten()
    }

    /// Records in the journal that these files are about to be extracted for rules with this
    /// filter.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub fn begin(&self, asks: &EventFilter, paths: &[&Path]) -> io::Result<()> {
        self.append(&JournalLine::EventFilter(asks.clone()))?;
        self.append(&JournalLine::Begun(paths.iter().map(|&path| path.into()).collect()))
    }

    /// Records in the journal that a file was extracted.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub fn add(&self, entry: &FileEntry) -> io::Result<()> {
        self.append(&FileLine { file: entry })
    }

    /// Rewrites the journal with these files, in the order of the files' paths. Removes tables that
    /// no line names: those of files that were extracted again or not finished.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub fn rewrite(&mut self, entries: &[(Arc<EventFilter>, FileEntry)]) -> io::Result<()> {
        for (_, entry) in entries {
            let path = PathBuf::from(&entry.path);
            self.known.begun.remove(&path);
            self.known.files.remove(&path);
        }
        let others = self.known.files.values();
        let mut files: Vec<&(Arc<EventFilter>, FileEntry)> = others.chain(entries).collect();
        files.sort_by(|(_, a), (_, b)| a.path.cmp(&b.path));
        let mut lines = JournalLines::default();
        lines.add(&JournalLine::first())?;
        let mut latest = None;
        for (asks, entry) in &files {
            if latest != Some(asks) {
                lines.add(&JournalLine::EventFilter(EventFilter::clone(asks)))?;
                latest = Some(asks);
            }
            lines.add(&FileLine { file: entry })?;
        }
        if !self.known.begun.is_empty() {
            let begun = self.known.begun.iter().map(|path| path.as_path().into());
            lines.add(&JournalLine::Begun(begun.collect()))?;
        }
        let mut file = tempfile::NamedTempFile::new_in(&self.root)?;
        file.write_all(&lines.0)?;
        file.as_file().sync_data()?;
        let journal = file.persist(self.root.join(JOURNAL)).map_err(|error| error.error)?;
        self.journal = Mutex::new(journal);
        let tables = files.iter().flat_map(|(_, entry)| entry.tables());
        let named: BTreeSet<&str> = tables.map(|table| &*table.name).collect();
        self.remove_unlisted(&named);
        Ok(())
    }

    /// Copies the contents of another case folder, which stays unchanged. If both have a file, the
    /// other folder's counts.
    ///
    /// # Errors
    /// [`Error::Write`] when something cannot be copied. Files copied before the error do not
    /// count.
    pub fn merge(&mut self, other: &Path, known: CaseContents) -> Result<MergeCounts, Error> {
        let mut merged = MergeCounts::default();
        for (path, (asks, entry)) in known.files {
            match self.known.files.get(&path) {
                None => merged.new += 1,
                Some((then, mine)) if *then == asks && mine.has_same_tables(&entry) => {
                    merged.same += 1;
                    continue;
                }
                Some(_) => merged.replaced += 1,
            }
            for table in entry.tables() {
                let to = self.root.join(&table.name);
                copy_file(&other.join(&table.name), &to).map_err(Error::write(&to))?;
            }
            self.known.files.insert(path, (asks, entry));
        }
        self.known.begun.extend(known.begun);
        let CaseContents { files, begun } = &mut self.known;
        begun.retain(|path| !files.contains_key(path));
        merged.unfinished = begun.len();
        let root = self.root.clone();
        self.rewrite(&[]).map_err(Error::write(&root))?;
        Ok(merged)
    }

    /// Removes all files of observations except these. Files that cannot be removed do no harm.
    fn remove_unlisted(&self, named: &BTreeSet<&str>) {
        let found = WalkDir::new(self.root.join(OBSERVATIONS)).contents_first(true);
        for entry in found.into_iter().flatten() {
            let below = entry.path().strip_prefix(&self.root).unwrap_or(entry.path());
            let name = below.components().map(|part| part.as_os_str().to_string_lossy()).join("/");
            if entry.file_type().is_dir() {
                // A folder that is not empty stays.
                let _ = fs::remove_dir(entry.path());
            } else if !named.contains(&*name) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn append(&self, line: &impl Serialize) -> io::Result<()> {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        append_line(&mut journal, line)
    }
}

/// [`JournalLine::File`], borrowed.
#[derive(Serialize)]
struct FileLine<'e> {
    file: &'e FileEntry,
}

/// Journal lines as bytes.
#[derive(Default)]
struct JournalLines(Vec<u8>);

impl JournalLines {
    fn add(&mut self, line: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.0, line)?;
        self.0.push(b'\n');
        Ok(())
    }
}

/// Adds a line and waits until it is on the disk.
fn append_line(journal: &mut File, line: &impl Serialize) -> io::Result<()> {
    let mut lines = JournalLines::default();
    lines.add(line)?;
    journal.write_all(&lines.0)?;
    journal.sync_data()
}

/// Parses a journal. Returns its contents and the length of its complete lines.
fn parse_journal(path: &Path, text: &[u8]) -> Result<(CaseContents, usize), Error> {
    let mut known = CaseContents::default();
    let mut asks = Arc::new(EventFilter::default());
    let mut whole = 0;
    for (number, line) in (1..).zip(text.split_inclusive(|&byte| byte == b'\n')) {
        // An incomplete line was left by a killed process.
        if !line.ends_with(b"\n") {
            break;
        }
        let fail = |reason: String| Error::Case {
            path: path.to_owned(),
            reason: format!("line {number}: {reason}"),
        };
        match serde_json::from_slice(line) {
            Err(error) => return Err(fail(format!("not as it was written: {error}"))),
            Ok(JournalLine::Case { schema: SCHEMA, .. }) => {}
            Ok(JournalLine::Case { version, .. }) => {
                return Err(fail(format!(
                    "written by version {version}: extract anew with this one"
                )));
            }
            Ok(JournalLine::EventFilter(now)) => asks = Arc::new(now),
            Ok(JournalLine::Begun(paths)) => known.begun.extend(paths.iter().map(PathBuf::from)),
            Ok(JournalLine::File(entry)) => {
                if let Some(table) = entry.tables().find(|table| !is_in_observations(&table.name)) {
                    return Err(fail(format!("names a table elsewhere: {}", table.name)));
                }
                let path = PathBuf::from(&entry.path);
                known.files.insert(path, (asks.clone(), *entry));
            }
        }
        whole += line.len();
    }
    known.begun.retain(|path| !known.files.contains_key(path));
    Ok((known, whole))
}

/// Returns whether a table's name leads into the folder of observations and stays there. The sender
/// of a case may have written its journal by hand.
fn is_in_observations(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    parts.next() == Some(Component::Normal(OBSERVATIONS.as_ref()))
        && parts.all(|part| matches!(part, Component::Normal(_)))
        && !name.contains(['\\', ':'])
}

/// Passes the records of a file of observations, in order, to `each` as records of this input: all
/// of them or none.
///
/// # Errors
/// When the file cannot be read, or was changed after it was written.
pub fn read_records(
    root: &Path,
    entry: &TableEntry,
    input: InputIdx,
    each: impl FnMut(&Record),
) -> io::Result<()> {
    table::read_records(root, entry, input, each)
}

/// Copies a file, which gets its name when it is complete.
fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let parent = to.parent().unwrap_or(to);
    fs::create_dir_all(parent)?;
    let mut file = tempfile::Builder::new().prefix(".").suffix(UNFINISHED).tempfile_in(parent)?;
    io::copy(&mut File::open(from)?, &mut file)?;
    file.as_file().sync_data()?;
    file.persist(to).map_err(|error| error.error)?;
    Ok(())
}

fn is_present(root: &Path, table: &TableEntry) -> bool {
    fs::metadata(root.join(&table.name)).is_ok_and(|found| found.len() == table.size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_lie_below_their_folder() {
        for name in ["observations/host=a/day=2026-03-14/0-0.parquet", "observations/x"] {
            assert!(is_in_observations(name), "{name}");
        }
        for name in [
            "",
            "x",
            "/observations/x",
            "../observations/x",
            "observations/../x",
            "observations/../../x",
            "observations\\..\\x",
            "observations/c:x",
        ] {
            assert!(!is_in_observations(name), "{name}");
        }
    }
}
