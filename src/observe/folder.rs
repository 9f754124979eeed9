//! A case folder: what was extracted of which files, by its journal.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use itertools::Itertools;
use serde::Serialize;
use walkdir::WalkDir;

use super::journal::{FileEntry, Line, Settings, TableEntry};
use super::table::UNFINISHED;
use super::writer::OBSERVATIONS;
use super::{SCHEMA, table};
use crate::detect::EventFilter;
use crate::error::Error;
use crate::input::Extent;
use crate::input::FileState;
use crate::model::{InputIdx, Record};

/// The journal's name.
const JOURNAL: &str = "journal.jsonl";
/// The name of the file that the process has locked which writes to the folder.
const LOCK: &str = ".lock";

/// What a case folder holds.
#[derive(Default)]
pub struct Known {
    /// The files, by their paths, and what rules asked for when they were extracted.
    pub files: BTreeMap<PathBuf, (Arc<EventFilter>, FileEntry)>,
    /// Files that were to be extracted, and are not: a run was killed.
    pub begun: BTreeSet<PathBuf>,
}

/// What another case folder had for this one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Merged {
    /// Files that were not in it.
    pub new: usize,
    /// Files that were, as another extraction left them.
    pub replaced: usize,
    /// Files that were, just so.
    pub same: usize,
    /// Files that neither has, and one was to have.
    pub unfinished: usize,
}

/// A case folder that files are extracted to, by one process at a time.
pub struct CaseFolder {
    root: PathBuf,
    known: Known,
    journal: Mutex<File>,
    /// As long as it is open, it is locked.
    _lock: File,
}

impl CaseFolder {
    /// Opens a case folder, making it where there is none.
    ///
    /// # Errors
    /// [`Error::Case`] when it holds something else, or another process has it open;
    /// [`Error::Write`] when it cannot be written.
    pub fn open(root: &Path) -> Result<CaseFolder, Error> {
        let path = root.join(JOURNAL);
        let occupied = || fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_some());
        if !path.exists() && (root.is_file() || occupied()) {
            let reason = "holds something that is no case: name another folder";
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
        let (known, whole) = parse(&path, &text)?;
        // What a killed process left of a line would be in the way of the next one.
        let cut = journal.set_len(whole as u64).and_then(|()| journal.seek(SeekFrom::End(0)));
        cut.map_err(Error::write(&path))?;
        if whole == 0 {
            put(&mut journal, &Line::head()).map_err(Error::write(&path))?;
        }
        Ok(CaseFolder { root: root.to_owned(), known, journal: Mutex::new(journal), _lock: lock })
    }

    /// Reads what a case folder holds.
    ///
    /// # Errors
    /// [`Error::Case`] when it is none, or of another version.
    pub fn read(root: &Path) -> Result<Known, Error> {
        let path = root.join(JOURNAL);
        let text = fs::read(&path).map_err(|error| Error::Case {
            path: root.to_owned(),
            reason: format!("no case folder, which 'extract' makes ({JOURNAL}: {error})"),
        })?;
        Ok(parse(&path, &text)?.0)
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Takes out what the folder has of a file, if that is all of what would be extracted of it now.
    pub fn take_finished(
        &mut self,
        path: &Path,
        state: Option<&FileState>,
        settings: &Settings,
        asks: &EventFilter,
    ) -> Option<(Arc<EventFilter>, FileEntry)> {
        let (known, entry) = self.known.files.get(path)?;
        let same = match (entry.state(), state) {
            (Some(then), Some(now)) => then.is_as(now),
            _ => false,
        };
        let whole =
            entry.inputs.iter().all(|input| !input.kind.is_log() || input.extent == Extent::Whole);
        let is_finished = same
            && whole
            && entry.settings == *settings
            && known.includes(asks)
            && entry.tables().all(|table| is_there(&self.root, table));
        is_finished.then(|| self.known.files.remove(path)).flatten()
    }

    /// Notes that these files are to be extracted for what rules ask.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub fn begin(&self, asks: &EventFilter, paths: &[&Path]) -> io::Result<()> {
        self.put(&Line::EventFilter(asks.clone()))?;
        self.put(&Line::Begun(paths.iter().map(|&path| path.into()).collect()))
    }

    /// Notes that a file was extracted.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub fn add(&self, entry: &FileEntry) -> io::Result<()> {
        self.put(&FileLine { file: entry })
    }

    /// Writes the journal anew, in the order of the files' paths, with these files in it, and removes
    /// tables that no line names: of files that were extracted anew, or not to the end.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn settle(&mut self, entries: &[(Arc<EventFilter>, FileEntry)]) -> io::Result<()> {
        for (_, entry) in entries {
            let path = PathBuf::from(&entry.path);
            self.known.begun.remove(&path);
            self.known.files.remove(&path);
        }
        let others = self.known.files.values();
        let mut files: Vec<&(Arc<EventFilter>, FileEntry)> = others.chain(entries).collect();
        files.sort_by(|(_, a), (_, b)| a.path.cmp(&b.path));
        let mut lines = Lines::default();
        lines.add(&Line::head())?;
        let mut latest = None;
        for (asks, entry) in &files {
            if latest != Some(asks) {
                lines.add(&Line::EventFilter(EventFilter::clone(asks)))?;
                latest = Some(asks);
            }
            lines.add(&FileLine { file: entry })?;
        }
        if !self.known.begun.is_empty() {
            let begun = self.known.begun.iter().map(|path| path.as_path().into());
            lines.add(&Line::Begun(begun.collect()))?;
        }
        let mut file = tempfile::NamedTempFile::new_in(&self.root)?;
        file.write_all(&lines.0)?;
        file.as_file().sync_data()?;
        let journal = file.persist(self.root.join(JOURNAL)).map_err(|error| error.error)?;
        self.journal = Mutex::new(journal);
        let tables = files.iter().flat_map(|(_, entry)| entry.tables());
        let named: BTreeSet<&str> = tables.map(|table| &*table.name).collect();
        self.sweep(&named);
        Ok(())
    }

    /// Takes in what another case folder has, which is left as it is. Of a file that both have, the
    /// other's counts.
    ///
    /// # Errors
    /// [`Error::Write`] when something cannot be copied; what was copied until then does not count.
    pub fn take_in(&mut self, other: &Path, known: Known) -> Result<Merged, Error> {
        let mut merged = Merged::default();
        for (path, (asks, entry)) in known.files {
            match self.known.files.get(&path) {
                None => merged.new += 1,
                Some((then, mine)) if *then == asks && mine.has_tables_of(&entry) => {
                    merged.same += 1;
                    continue;
                }
                Some(_) => merged.replaced += 1,
            }
            for table in entry.tables() {
                let to = self.root.join(&table.name);
                copy(&other.join(&table.name), &to).map_err(Error::write(&to))?;
            }
            self.known.files.insert(path, (asks, entry));
        }
        self.known.begun.extend(known.begun);
        let Known { files, begun } = &mut self.known;
        begun.retain(|path| !files.contains_key(path));
        merged.unfinished = begun.len();
        let root = self.root.clone();
        self.settle(&[]).map_err(Error::write(&root))?;
        Ok(merged)
    }

    /// Removes the files of observations but these. What cannot be removed is in no one's way.
    fn sweep(&self, named: &BTreeSet<&str>) {
        let found = WalkDir::new(self.root.join(OBSERVATIONS)).contents_first(true);
        for entry in found.into_iter().flatten() {
            let below = entry.path().strip_prefix(&self.root).unwrap_or(entry.path());
            let name = below.components().map(|part| part.as_os_str().to_string_lossy()).join("/");
            if entry.file_type().is_dir() {
                // Stays where it holds something.
                let _ = fs::remove_dir(entry.path());
            } else if !named.contains(&*name) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn put(&self, line: &impl Serialize) -> io::Result<()> {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        put(&mut journal, line)
    }
}

/// [`Line::File`], borrowed.
#[derive(Serialize)]
struct FileLine<'e> {
    file: &'e FileEntry,
}

/// Lines of a journal as bytes.
#[derive(Default)]
struct Lines(Vec<u8>);

impl Lines {
    fn add(&mut self, line: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.0, line)?;
        self.0.push(b'\n');
        Ok(())
    }
}

/// Adds a line, which is on the disk then.
fn put(journal: &mut File, line: &impl Serialize) -> io::Result<()> {
    let mut lines = Lines::default();
    lines.add(line)?;
    journal.write_all(&lines.0)?;
    journal.sync_data()
}

/// What the lines of a journal say, and how much of it is whole lines.
fn parse(path: &Path, text: &[u8]) -> Result<(Known, usize), Error> {
    let mut known = Known::default();
    let mut asks = Arc::new(EventFilter::default());
    let mut whole = 0;
    for (number, line) in (1..).zip(text.split_inclusive(|&byte| byte == b'\n')) {
        // A line that is not whole is what a killed process left.
        if !line.ends_with(b"\n") {
            break;
        }
        let fail = |reason: String| Error::Case {
            path: path.to_owned(),
            reason: format!("line {number}: {reason}"),
        };
        match serde_json::from_slice(line) {
            Err(error) => return Err(fail(format!("not as it was written: {error}"))),
            Ok(Line::Case { schema: SCHEMA, .. }) => {}
            Ok(Line::Case { version, .. }) => {
                return Err(fail(format!(
                    "written by version {version}: extract anew with this one"
                )));
            }
            Ok(Line::EventFilter(now)) => asks = Arc::new(now),
            Ok(Line::Begun(paths)) => known.begun.extend(paths.iter().map(PathBuf::from)),
            Ok(Line::File(entry)) => {
                if let Some(table) = entry.tables().find(|table| !is_below(&table.name)) {
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

/// Whether a table's name leads into the folder of observations and not out of it again: who sends a
/// case may have written its journal by hand.
fn is_below(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    parts.next() == Some(Component::Normal(OBSERVATIONS.as_ref()))
        && parts.all(|part| matches!(part, Component::Normal(_)))
        && !name.contains(['\\', ':'])
}

/// Gives the records of a file of observations, in its order, as records of this input: all of them
/// or none.
///
/// # Errors
/// When it cannot be read, or is not as it was written.
pub fn records(
    root: &Path,
    entry: &TableEntry,
    input: InputIdx,
    each: impl FnMut(&Record),
) -> io::Result<()> {
    table::read(root, entry, input, each)
}

/// Copies a file, which has its name when it is whole.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let parent = to.parent().unwrap_or(to);
    fs::create_dir_all(parent)?;
    let mut file = tempfile::Builder::new().prefix(".").suffix(UNFINISHED).tempfile_in(parent)?;
    io::copy(&mut File::open(from)?, &mut file)?;
    file.as_file().sync_data()?;
    file.persist(to).map_err(|error| error.error)?;
    Ok(())
}

fn is_there(root: &Path, table: &TableEntry) -> bool {
    fs::metadata(root.join(&table.name)).is_ok_and(|found| found.len() == table.size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_lie_below_their_folder() {
        for name in ["observations/host=a/day=2026-03-14/0-0.parquet", "observations/x"] {
            assert!(is_below(name), "{name}");
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
            assert!(!is_below(name), "{name}");
        }
    }
}
